//! What listeners are given: the door, and the streams by name.

use super::lanes::Lanes;
use super::news::shortage;
use crate::door::{self, Door, Published};
use crate::egress::stream::{self, StreamReader};
use crate::ingress::front::{Front, Group, Page, ReadError, Start, StreamRead, StreamRecord};
use crate::message::{Chain, Envelope, Position, Receipt, Refusal};
use std::sync::Arc;
use std::task::{Context, Poll};

#[derive(Clone)]
pub struct Reception {
    door: Arc<Door>,
    lanes: Arc<Lanes>,
}

impl Reception {
    pub const fn new(door: Arc<Door>, lanes: Arc<Lanes>) -> Self {
        Self { door, lanes }
    }

    fn stream(&self, name: &str) -> Result<StreamReader, ReadError> {
        self.lanes
            .stream(name)
            .ok_or_else(|| ReadError::UnknownStream(name.to_owned()))
    }
}

impl Front for Reception {
    fn publish(
        &self,
        envelope: Envelope,
        chain: Option<Chain>,
    ) -> impl Future<Output = Result<Published, Refusal>> + Send + 'static + use<> {
        Arc::clone(&self.door).publish(envelope, chain)
    }

    type Group<T: Send + Unpin + 'static> = door::Group<T>;

    fn group<T: Send + Unpin + 'static>(&self) -> door::Group<T> {
        door::Group::new(Arc::clone(&self.door))
    }

    async fn message_at(&self, principal: &str, position: Position) -> Option<Receipt> {
        logged(self.door.message_at(principal, position).await)
    }

    async fn message_by_id(&self, principal: &str, id: &str, topic: &str) -> Option<Receipt> {
        logged(self.door.message_by_id(principal, id, topic).await)
    }

    fn takes_publishes(&self) -> bool {
        let shared = self.door.journal.shared();
        shared.failure().is_none() && shortage(shared.space()).is_none()
    }

    async fn read_stream(&self, name: &str, read: StreamRead) -> Result<Page, ReadError> {
        let reader = self.stream(name)?;
        let page = tokio::task::spawn_blocking(move || {
            let from = match read.from {
                Start::Earliest => stream::From::Earliest,
                Start::Latest => stream::From::Latest,
                Start::Offset(offset) => stream::From::Offset(offset),
            };
            reader.read(from, read.max_records, read.max_bytes)
        });
        match page.await {
            Ok(Ok(page)) => Ok(page_of(page)),
            Ok(Err(stream::ReadError::Gone { earliest })) => Err(ReadError::Gone { earliest }),
            // Nothing is there yet: the reader waits where it asked for.
            Ok(Err(stream::ReadError::Beyond { .. })) => Ok(Page {
                records: Vec::new(),
                next: match read.from {
                    Start::Offset(offset) => offset,
                    Start::Earliest | Start::Latest => 0,
                },
            }),
            Ok(Err(e)) => Err(ReadError::Failed(e.to_string())),
            Err(e) => Err(ReadError::Failed(e.to_string())),
        }
    }

    async fn stream_reaches(&self, name: &str, offset: u64) {
        if let Ok(reader) = self.stream(name) {
            // Closed: the gateway is stopping, or a reload took the stream away. The reader looks
            // once more.
            let _ = reader.wait_for(offset).await;
        }
    }
}

impl<T: Send + Unpin + 'static> Group<T> for door::Group<T> {
    fn hand_over(&mut self, came: impl IntoIterator<Item = (T, Envelope, Option<Chain>)>) {
        Self::hand_over(self, came);
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(T, Result<Published, Refusal>)> {
        Self::poll_next(self, cx)
    }
}

fn logged(found: std::io::Result<Option<Receipt>>) -> Option<Receipt> {
    found.unwrap_or_else(|e| {
        tracing::error!("a look-up failed: {e}");
        None
    })
}

fn page_of(page: stream::Page) -> Page {
    let record = |(offset, record): (u64, stream::StreamRecord)| StreamRecord {
        offset,
        id: record.id,
        delivery_id: record.delivery_id,
        topic: record.topic,
        key: record.key,
        headers: record.headers,
        content_type: record.content_type,
        time: record.accepted,
        payload: record.payload,
    };
    Page {
        records: page.records.into_iter().map(record).collect(),
        next: page.next,
    }
}
