//! Routes as the settings say them: names, not numbers.

use super::Pattern;
use crate::message::{Ack, Guarantee};
use std::time::Duration;

/// One `[[routes]]` with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    pub name: String,
    pub pattern: Pattern,
    pub ack: Ack,
    pub ack_timeout: Duration,
    /// In the order of `to`. Never empty.
    pub targets: Vec<TargetSpec>,
}

/// One entry of a route's `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSpec {
    pub destination: String,
    pub guarantee: Guarantee,
    /// `None`: the envelope's.
    pub topic: Option<String>,
    /// Never set on a lane that an exactly_once target makes strict.
    pub delay: Option<Duration>,
    pub on_full: OnFull,
    pub on_reject: OnReject,
}

/// What becomes of an envelope whose plan names a lane that is at its backlog limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    Refuse,
    DeadLetter,
}

/// What becomes of a key whose message a destination rejected (the message is dead-lettered).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReject {
    /// The key goes on.
    Skip,
    /// The key waits for an operator.
    Block,
}

/// What becomes of an envelope that no route matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    Reject,
    /// To the door's dead letters.
    DeadLetter,
    /// Taken and forgotten.
    Drop,
}
