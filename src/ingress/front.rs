//! What every protocol needs of the house.

use crate::clock::Wall;
use crate::door::Published;
use crate::message::{Chain, Envelope, Header, Position, Receipt, Refusal, Tombstone};
use bytes::Bytes;
use std::future::Future;
use std::task::{Context, Poll};

/// The door and the streams, as clients reach them.
pub trait Front: Send + Sync + 'static {
    /// Hands an envelope over before it returns, in the order of the calls. The future is ready as
    /// soon as the ack can be given.
    fn publish(
        &self,
        envelope: Envelope,
        chain: Option<Chain>,
    ) -> impl Future<Output = Result<Published, Refusal>> + Send + 'static + use<Self>;

    /// For publishes that come together.
    type Group<T: Send + Unpin + 'static>: Group<T>;

    fn group<T: Send + Unpin + 'static>(&self) -> Self::Group<T>;

    fn message_at(
        &self,
        principal: &str,
        position: Position,
    ) -> impl Future<Output = Option<Receipt>> + Send;

    fn message_by_id(
        &self,
        principal: &str,
        id: &str,
        topic: &str,
    ) -> impl Future<Output = Option<Receipt>> + Send;

    /// Whether a publish might be taken now: the journal takes writes, and the gateway isn't stopping.
    fn takes_publishes(&self) -> bool;

    /// Records that are there now, fsynced ones only; none is no error.
    fn read_stream(
        &self,
        name: &str,
        read: StreamRead,
    ) -> impl Future<Output = Result<Page, ReadError>> + Send;

    /// Returns when the stream may hold a record at or after the offset, or is gone.
    fn stream_reaches(&self, name: &str, offset: u64) -> impl Future<Output = ()> + Send;
}

/// Publishes of one caller that are under way, each known by a tag.
pub trait Group<T>: Send + Unpin + 'static {
    /// Hands all over before it returns, in their order.
    fn hand_over(&mut self, came: impl IntoIterator<Item = (T, Envelope, Option<Chain>)>);

    /// That were handed over, and whose outcome wasn't taken.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next of them whose ack can be given; pending also where there is none.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(T, Result<Published, Refusal>)>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRead {
    pub from: Start,
    pub max_records: usize,
    /// Of all records of the page together; the first record is given whatever its size.
    pub max_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    /// After the last record.
    Latest,
    Offset(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<StreamRecord>,
    /// Where to read on.
    pub next: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    pub offset: u64,
    pub id: String,
    /// Of this one delivery: what it travels under where ids must not meet.
    pub delivery_id: String,
    pub topic: String,
    pub key: Option<Bytes>,
    pub headers: Vec<Header>,
    pub content_type: Option<String>,
    pub time: Wall,
    pub payload: Result<Bytes, Tombstone>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("there is no stream {0:?}")]
    UnknownStream(String),
    #[error("the records before offset {earliest} are gone")]
    Gone { earliest: u64 },
    /// May succeed later.
    #[error("the stream can't be read: {0}")]
    Failed(String),
}
