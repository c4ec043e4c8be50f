//! All targets that an envelope will go to, rendered: made once at the door, kept in the journal.

use super::{Header, LaneId, RouteId};
use crate::clock::Wall;
use bytes::Bytes;
use std::time::Duration;

/// When the publisher is told that its message is taken. Ordered by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ack {
    Received,
    Stored,
    Delivered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarantee {
    AtMostOnce,
    AtLeastOnce,
    ExactlyOnce,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The strongest of the matched routes.
    pub ack: Ack,
    /// How long HTTP and gRPC wait for `Ack::Delivered` (the longest of the matched routes).
    pub ack_timeout: Duration,
    /// In the order of the routes, then of their `to`; an ordinal is an index in it. Never empty.
    pub targets: Vec<Target>,
}

/// One planned delivery. `None` means: as the envelope has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub route: RouteId,
    pub lane: LaneId,
    pub guarantee: Guarantee,
    pub topic: Option<String>,
    pub key: Option<Bytes>,
    pub headers: Option<Vec<Header>>,
    pub payload: Option<Bytes>,
    pub priority: Option<u8>,
    /// The later of the envelope's `deliver_at` and the target's `delay`.
    pub not_before: Option<Wall>,
    pub expires_at: Option<Wall>,
    /// Set when the door sends the delivery straight to the dead letters (unrouted): why.
    pub dead_letter: Option<String>,
}

impl Target {
    #[must_use]
    pub fn to(route: RouteId, lane: LaneId, guarantee: Guarantee) -> Self {
        Self {
            route,
            lane,
            guarantee,
            topic: None,
            key: None,
            headers: None,
            payload: None,
            priority: None,
            not_before: None,
            expires_at: None,
            dead_letter: None,
        }
    }
}

impl Plan {
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.targets
            .iter()
            .any(|t| t.guarantee == Guarantee::ExactlyOnce)
    }
}
