//! What a lane is told when it is made.

use super::{BreakerPolicy, RatePolicy, RetryPolicy};
use crate::egress::{KeyOrder, Shape};
use crate::message::{LaneId, RouteId};
use std::collections::HashMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct LaneSettings {
    pub lane: LaneId,
    pub mode: Mode,
    pub key_order: KeyOrder,
    /// What the destination says: of deliveries whose route isn't below.
    pub on_reject: OnReject,
    /// What the routes that lead here say, each for its own deliveries.
    pub on_reject_of: HashMap<RouteId, OnReject>,
    pub retry: RetryPolicy,
    pub breaker: BreakerPolicy,
    pub rate: Option<RatePolicy>,
    /// A batch that isn't full waits so long for more, unless somebody waits for it.
    pub batch_time: Duration,
    pub limits: Limits,
    /// Of deliveries that live in memory: an attempt whose outcome is unknown is the last, and
    /// nothing waits for an operator.
    pub volatile: bool,
}

impl LaneSettings {
    /// What a reject of a delivery of this route does.
    #[must_use]
    pub fn on_reject(&self, route: RouteId) -> OnReject {
        if self.volatile {
            return OnReject::Skip;
        }
        let of_route = self.on_reject_of.get(&route);
        of_route.copied().unwrap_or(self.on_reject)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Order within a key; keys are independent.
    Keyed,
    /// Journal order for everything, one batch in flight, no delay.
    Strict,
}

impl Mode {
    #[must_use]
    pub const fn of(is_strict: bool) -> Self {
        match is_strict {
            true => Self::Strict,
            false => Self::Keyed,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReject {
    /// The rejected one is dead-lettered, then its key goes on.
    Skip,
    /// The rejected one holds its key and is tried again at the longest interval.
    Block,
}

/// Bounds of what a lane keeps. At one it takes no more from its feed until there is room.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub batch_count: usize,
    pub batch_bytes: u64,
    /// Batches in flight at once; one where order needs it.
    pub flights: usize,
    /// Deliveries in memory: ready, in flight, or on their way to the dead letters.
    pub memory_count: usize,
    pub memory_bytes: u64,
    /// Keys that have state: with a delivery in memory, or held.
    pub keys: usize,
    /// Deliveries without order that failed and wait for their next try.
    pub retrying: usize,
    /// Estimated bytes of the sets of positions that are held or delayed.
    pub parked_bytes: u64,
}

impl Limits {
    pub const MAX_MEMORY_COUNT: usize = 32_768;
    pub const MAX_KEYS: usize = 16_384;
    pub const MAX_RETRYING: usize = 16_384;
    pub const MAX_PARKED_BYTES: u64 = 24 * 1024 * 1024;
    /// Of the memory limits, the part that only deliveries that are read again may use.
    pub(super) const REREAD_SHARE: usize = 4;
    /// Deliveries of one key in memory where only one of them may be in flight: more would keep
    /// other keys out.
    pub(super) const QUEUE_PER_KEY: usize = 64;
}

impl Limits {
    /// Those of a lane whose destination likes its batches so. There is room for one batch more
    /// than can be in flight, and for what is read again.
    #[must_use]
    pub fn of(shape: Shape) -> Self {
        let batches = shape.flights.saturating_add(1);
        let memory = shape.batch_count.saturating_mul(batches);
        Self {
            batch_count: shape.batch_count,
            batch_bytes: shape.batch_bytes,
            flights: shape.flights,
            memory_count: (memory + memory / 3).clamp(8192, Self::MAX_MEMORY_COUNT),
            memory_bytes: 16 * 1024 * 1024,
            keys: Self::MAX_KEYS,
            retrying: Self::MAX_RETRYING,
            parked_bytes: Self::MAX_PARKED_BYTES,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(Shape::BULK)
    }
}
