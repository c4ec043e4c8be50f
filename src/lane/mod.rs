//! The ordered, bounded, independent worker of one destination.
//!
//! What lives here: which delivery is tried when, order, retries, delays, dead letters: as a pure
//! state machine (`state`); the task that drives it, and what it is fed by.
//! What must not: clients of destinations, files, the journal.

mod breaker;
mod delay;
mod driver;
mod feed;
mod handle;
mod positions;
mod retry;
mod settings;
mod state;
mod view;

pub use breaker::{BreakerPolicy, OpenCircuit, RatePolicy};
pub use driver::Parts;
pub use feed::{DeadLetterSink, Feed, FeedError, Fresh, SinkError, SinkMarks, Written};
pub use handle::{Command, LaneEnded, LaneHandle, Seat};
pub use retry::RetryPolicy;
pub use settings::{LaneSettings, Limits, Mode, OnReject};
pub use state::{Batch, BatchId, Cause, DeadLetter, Lane, Room, SkipError, Skipped, Wanted};
pub use view::{LaneCounts, LaneError, LaneState, LaneTimes, LaneView};
