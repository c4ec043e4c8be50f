//! Subscribe: a stream from an offset on. A page is read only when the last one is gone, so that a reader
//! who doesn't read holds that one, and nobody else.

use super::desk::{Desk, SUBSCRIBERS};
use super::fault::Fault;
use super::reason::Reason;
use super::v1;
use super::v1::subscribe_request::From;
use crate::ingress::front::{Front, Page, Start, StreamRead, StreamRecord};
use crate::ingress::listener;
use futures_util::Stream;
use futures_util::stream::unfold;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::Status;

/// Of one answer; but always one record.
const PAGE_BYTES: usize = 128 << 10;
const PAGE_RECORDS: u64 = 1_000;

/// The first page is read before the answer begins, so that what can't be read is the call's own status.
pub(super) async fn subscribe<F: Front>(
    desk: Arc<Desk<F>>,
    request: v1::SubscribeRequest,
) -> Result<impl Stream<Item = Result<v1::SubscribeResponse, Status>> + Send + use<F>, Fault> {
    let Ok(place) = Arc::clone(&desk.subscribers).try_acquire_owned() else {
        let text = format!("all {SUBSCRIBERS} subscribers are there");
        let fault = Fault::exhausted(Reason::Subscribers, text, "subscribers", 5);
        return Err(fault.with("limit", SUBSCRIBERS));
    };
    let mut reader = Reader {
        stop: desk.stop.clone(),
        desk,
        name: request.stream,
        from: start(request.from)?,
        left: match request.limit {
            0 => u64::MAX,
            limit => limit,
        },
        _place: place,
    };
    let first = reader.read().await?;
    let state = (Some(reader), Some(first));
    Ok(unfold(state, |(reader, ready)| async {
        let mut reader = reader?;
        if let Some(ready) = ready {
            return Some((Ok(ready), (Some(reader), None)));
        }
        match reader.next().await? {
            Ok(page) => Some((Ok(page), (Some(reader), None))),
            Err(fault) => Some((Err(fault.status()), (None, None))),
        }
    }))
}

fn start(from: Option<From>) -> Result<Start, Fault> {
    match from {
        None => Ok(Start::Earliest),
        Some(From::Offset(offset)) => Ok(Start::Offset(offset)),
        Some(From::Start(start)) => match v1::Start::try_from(start) {
            Ok(v1::Start::Unspecified | v1::Start::Earliest) => Ok(Start::Earliest),
            Ok(v1::Start::Latest) => Ok(Start::Latest),
            Err(_) => Err(Fault::malformed("start", "no such start")),
        },
    }
}

/// One subscriber, between two of its pages.
struct Reader<F> {
    desk: Arc<Desk<F>>,
    stop: watch::Receiver<bool>,
    name: String,
    from: Start,
    /// How many records are still to come.
    left: u64,
    _place: OwnedSemaphorePermit,
}

impl<F: Front> Reader<F> {
    /// What to send next, as soon as there is something; none at the end that was asked for.
    async fn next(&mut self) -> Option<Result<v1::SubscribeResponse, Fault>> {
        let mut grown = false;
        loop {
            if self.left == 0 {
                return None;
            }
            match self.read().await {
                Ok(page) if !page.messages.is_empty() => return Some(Ok(page)),
                // It grew, and has nothing here: its writer is gone.
                Ok(_) if grown => return Some(Err(Fault::stopping())),
                Ok(_) => {}
                Err(fault) => return Some(Err(fault)),
            }
            let Start::Offset(offset) = self.from else {
                return Some(Err(Fault::stopping()));
            };
            tokio::select! {
                () = self.desk.front.stream_reaches(&self.name, offset) => grown = true,
                () = listener::stopped(&mut self.stop) => return Some(Err(Fault::stopping())),
            }
        }
    }

    /// The records that are there now. It holds one of the few turns at the disk.
    async fn read(&mut self) -> Result<v1::SubscribeResponse, Fault> {
        let turn = self.desk.reads.acquire().await;
        let _turn = turn.expect("the semaphore is never closed");
        let max_records = usize::try_from(self.left.min(PAGE_RECORDS)).expect("a small number");
        let read = StreamRead {
            from: self.from,
            max_records,
            max_bytes: PAGE_BYTES,
        };
        let page = self.desk.front.read_stream(&self.name, read).await?;
        self.from = Start::Offset(page.next);
        self.left -= page.records.len() as u64;
        Ok(shown(page))
    }
}

fn shown(page: Page) -> v1::SubscribeResponse {
    v1::SubscribeResponse {
        messages: page.records.into_iter().map(message).collect(),
        next: page.next,
    }
}

fn message(record: StreamRecord) -> v1::StreamMessage {
    let headers = record.headers.into_iter().map(|header| v1::Header {
        name: header.name,
        value: header.value,
    });
    v1::StreamMessage {
        offset: record.offset,
        id: record.id,
        topic: record.topic,
        key: record.key.unwrap_or_default(),
        headers: headers.collect(),
        content_type: record.content_type.unwrap_or_default(),
        payload: record.payload.ok(),
        time: Some(prost_types::Timestamp {
            seconds: i64::try_from(record.time.0 / 1_000).unwrap_or(i64::MAX),
            nanos: i32::try_from(record.time.0 % 1_000 * 1_000_000).expect("below a second"),
        }),
    }
}
