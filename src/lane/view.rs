//! What a lane shows of itself.

use super::Mode;
use crate::clock::{Mono, Wall};
use crate::histogram::{Histogram, LONG, SHORT};
use crate::message::Position;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    pub mode: Mode,
    /// The mode that it goes to when what it owes in this one is settled.
    pub changing_to: Option<Mode>,
    pub state: LaneState,
    /// Owed deliveries that the lane has been fed.
    pub pending: u64,
    pub in_memory: usize,
    pub in_memory_bytes: u64,
    pub in_flight: usize,
    /// Keys whose first delivery waits for a retry or for its dead letter.
    pub held_keys: usize,
    /// Keys and single deliveries that a reject blocks (`on_reject = "block"`).
    pub blocked: usize,
    /// Deliveries without order that wait for a retry.
    pub retrying: usize,
    pub delayed: u64,
    /// When one that waits is tried next: a probe, the next by the rate, or a retry.
    pub next_try: Option<Mono>,
    pub counts: LaneCounts,
    pub last_error: Option<LaneError>,
    /// Why the last one was sent to the dead letters, also if it was never tried.
    pub last_dead_letter: Option<Arc<str>>,
}

/// How long things took in this run, counted as they happen.
#[derive(Debug)]
pub struct LaneTimes {
    /// From a message's acceptance until the destination confirmed it.
    pub delivery: Histogram,
    /// From handing a batch to the destination until its verdicts.
    pub attempt: Histogram,
}

impl Default for LaneTimes {
    fn default() -> Self {
        Self {
            delivery: Histogram::new(LONG),
            attempt: Histogram::new(SHORT),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneState {
    Running,
    /// A strict lane whose first delivery waits for a retry or for its dead letter.
    Holding,
    Paused,
    /// It tries nothing more until it is resumed, or until there is room for dead letters; or, where
    /// there is a next try, until a probe shows that the destination takes deliveries again.
    Stopped {
        reason: Arc<str>,
    },
    /// The destination failed again and again: nothing is tried until the next probe.
    Open {
        reason: Arc<str>,
    },
    /// That probe is under way.
    HalfOpen {
        reason: Arc<str>,
    },
    /// What is ready waits for the destination's `rate`.
    RateLimited,
    Dropping,
}

impl LaneState {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Holding => "holding",
            Self::Paused => "paused",
            Self::Stopped { .. } => "stopped",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
            Self::RateLimited => "rate_limited",
            Self::Dropping => "dropping",
        }
    }
}

/// Since the start of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    pub attempts: u64,
    pub delivered: u64,
    pub dead_lettered: u64,
    pub dropped: u64,
    pub expired: u64,
    /// Attempts that failed and are tried again.
    pub retries: u64,
    /// Attempts whose outcome nobody knows.
    pub unknown: u64,
    pub rejected: u64,
    /// How often the circuit opened.
    pub circuit_opened: u64,
}

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneError {
    /// Of the delivery that failed: by the time that this is read it may be settled.
    pub position: Position,
    pub reason: Arc<str>,
    pub at: Wall,
}
