//! The door: every ingress hands envelopes over here and waits for receipts.
//!
//! What lives here: identity, limits, permission, back-pressure. What must not: protocols.

pub mod identity;
pub mod limits;

use crate::message::{Ack, Receipt};

/// A publish that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub receipt: Receipt,
    /// What the matched routes ask for.
    pub ack: Ack,
    pub outcome: Awaited,
}

/// Whether the wait that the ack asks for came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// `Ack::Delivered` was asked for, and `ack_timeout` passed first: stored, outcome pending.
    Pending,
    Settled,
}
