//! All targets that an envelope will go to, rendered: made once at the door, kept in the journal.

use super::{Header, LaneId, Ordinal, RouteId};
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

impl Ack {
    /// As routes.toml has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Stored => "stored",
            Self::Delivered => "delivered",
        }
    }
}

impl Guarantee {
    /// As routes.toml has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at_most_once",
            Self::AtLeastOnce => "at_least_once",
            Self::ExactlyOnce => "exactly_once",
        }
    }
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
    /// How many targets before this one have its route and lane, for its delivery id.
    #[must_use]
    pub fn nth_of_its_kind(&self, ordinal: Ordinal) -> u16 {
        let (before, rest) = self
            .targets
            .split_at(usize::from(ordinal.0).min(self.targets.len()));
        let is_alike = |t: &&Target| {
            rest.first()
                .is_some_and(|target| (t.route, t.lane) == (target.route, target.lane))
        };
        before.iter().filter(is_alike).count() as u16
    }

    /// All its targets are at_most_once: it is not journalled.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.targets
            .iter()
            .all(|t| t.guarantee == Guarantee::AtMostOnce)
    }

    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.targets
            .iter()
            .any(|t| t.guarantee == Guarantee::ExactlyOnce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_one_route_and_lane_are_counted_by_themselves() {
        let to = |route, lane| Target::to(RouteId(route), LaneId(lane), Guarantee::AtLeastOnce);
        let plan = Plan {
            ack: Ack::Stored,
            ack_timeout: Duration::from_secs(30),
            targets: vec![to(0, 0), to(1, 0), to(1, 1), to(1, 0), to(1, 0)],
        };
        let nth = [0, 1, 2, 3, 4].map(|ordinal| plan.nth_of_its_kind(Ordinal(ordinal)));
        assert_eq!(nth, [0, 0, 0, 1, 2]);
    }
}
