//! Routes as the settings say them: names, not numbers.

use super::Pattern;
use crate::expression::{Program, Template};
use crate::message::{Ack, Guarantee, TopicNames};
use std::time::Duration;

/// One `[[routes]]` with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    pub name: String,
    pub pattern: Pattern,
    /// As `Envelope::source` has them: ingress kinds, or `source:NAME`. Empty: from anywhere.
    pub from: Vec<String>,
    /// All of them must be equal.
    pub headers: Vec<HeaderMatch>,
    /// Any of them must be; empty: none need be.
    pub headers_any: Vec<HeaderMatch>,
    pub when: Option<Program>,
    /// The payload that targets get.
    pub transform: Option<Program>,
    /// No later route is looked at when this one matched.
    pub stop: bool,
    pub on_error: OnError,
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
    /// Those that the destination knows: others are refused at the door.
    pub names: TopicNames,
    /// `None`: the envelope's. The same for key and headers.
    pub topic: Option<Template>,
    pub key: Option<Template>,
    pub headers: Option<Vec<HeaderSpec>>,
    pub priority: Option<Template>,
    /// Never set on a lane that an exactly_once target makes strict.
    pub delay: Option<Span>,
    pub ttl: Option<Span>,
    pub on_full: OnFull,
    pub on_reject: OnReject,
}

/// A header that an envelope must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// In lower case.
    pub name: String,
    pub value: String,
}

/// A header of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderSpec {
    pub name: String,
    pub value: Template,
}

/// A length of time: as written, or rendered for each envelope.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    Fixed(Duration),
    Template(Template),
}

/// What becomes of an envelope for which an expression fails, or renders what can't be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The whole publish is refused.
    Reject,
    /// The route, or the target, is passed over.
    Skip,
    DeadLetter,
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
