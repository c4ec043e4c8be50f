//! What a lane is joined to: what feeds it, and where its dead letters go. The journal, which is
//! further left, implements the first.

use super::settings::Mode;
use super::state::{DeadLetter, Room};
use crate::egress::{DeadLetterLog, Letter};
use crate::message::{Delivery, DeliveryId, Position, Settlement};
use std::future::Future;

/// One lane's side of the journal. In one run it gives each delivery that the lane owes once, in
/// journal order, durable ones only.
pub trait Feed: Send + Sync + 'static {
    /// The next deliveries that are in memory. Never blocks.
    fn take_fresh(&self, room: Room) -> Fresh;

    /// The next deliveries, read from segments while the lane lags. Blocks. Empty when it is level
    /// again.
    fn take_stored(&self, room: Room) -> Result<Vec<Delivery>, FeedError>;

    /// Owed deliveries by their ids, which ascend: the first of them, in that order, up to
    /// `max_bytes` (the last may be over it), at least one. Blocks.
    fn read(&self, ids: &[DeliveryId], max_bytes: u64) -> Result<Vec<Delivery>, FeedError>;

    /// Hands over settlements, to be made durable with the next batch of the journal, in order.
    /// It waits while too many are on their way.
    fn settle(
        &self,
        settlements: Vec<Settlement>,
        marks: SinkMarks,
    ) -> impl Future<Output = Result<(), FeedError>> + Send;

    /// Changes of mode since the last call, each with its barrier. Whoever was given a delivery
    /// behind a barrier finds it here.
    fn turns(&self) -> Vec<(Mode, Position)> {
        Vec::new()
    }

    /// Returns when there may be more to take than when `take_fresh` was last called, also if it
    /// came in between.
    fn more(&self) -> impl Future<Output = ()> + Send;
}

#[derive(Clone, Debug)]
pub enum Fresh {
    /// Nothing when the lane is level with the journal.
    Deliveries(Vec<Delivery>),
    /// The next ones aren't in memory.
    Lagging,
}

/// For each sink that numbers its records, the offset after the last one that this group of
/// settlements, and those before it, settle; `None` if it didn't change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkMarks {
    pub stream: Option<Position>,
    pub dead_letters: Option<Position>,
}

/// Final for the lane until the gateway is restarted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    #[error("delivery {0} is owed, but the journal doesn't have it")]
    Gone(DeliveryId),
    #[error("the journal can't be read: {0}")]
    Unreadable(String),
    #[error("the journal takes no settlements: {0}")]
    Failed(String),
}

/// A lane's dead-letter log.
pub trait DeadLetterSink: Send + Sync + 'static {
    /// Makes dead letters durable: the first of them, as many as there is room for, each at most
    /// once over all runs. Blocks.
    fn write(&self, letters: &[DeadLetter]) -> Result<Written, SinkError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many of the letters are durable now: at least one.
    pub count: usize,
    /// The log's next offset.
    pub next: Position,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Nothing was written; there may be room later.
    #[error("the dead-letter log is full: {0}")]
    Full(String),
    /// Final until the gateway is restarted.
    #[error("the dead-letter log failed: {0}")]
    Failed(String),
}

impl DeadLetterSink for DeadLetterLog {
    fn write(&self, letters: &[DeadLetter]) -> Result<Written, SinkError> {
        let borrowed: Vec<_> = letters
            .iter()
            .map(|letter| Letter {
                delivery: &letter.delivery,
                reason: &letter.reason,
                attempts: letter.attempts,
                first_attempt: letter.first_attempt,
                last_attempt: letter.last_attempt,
            })
            .collect();
        let buried = self.bury(&borrowed);
        match buried.stopped {
            _ if buried.count > 0 => Ok(Written {
                count: buried.count,
                next: buried.next,
            }),
            Some(e) if e.is_retriable() => Err(SinkError::Full(e.to_string())),
            Some(e) => Err(SinkError::Failed(e.to_string())),
            None => Err(SinkError::Failed("it wrote nothing".into())),
        }
    }
}
