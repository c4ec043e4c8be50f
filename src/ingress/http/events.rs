//! A stream as server-sent events: each record one event, its offset the event's id, so that a
//! client that reconnects goes on behind the last one it saw.
//!
//! The connection pulls: a page is read only when it has room for it, and whoever doesn't read
//! holds that one page and the connection's own buffer. Nobody holds a turn at reading while
//! somebody's socket is slow, so no reader waits for another one's network.
//!
//! The body is written by hand: axum's `Sse` wants a `Stream`, which takes one more crate, has an
//! event for each item, where one write can carry a page of them, and would not end at the stop.

use super::kind::Kind;
use super::page::{self, Shape};
use super::problem::Problem;
use super::{Counters, Http};
use crate::ingress::front::{Front, Page, ReadError, Start, StreamRead};
use crate::ingress::listener;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

/// Readers at one time, whatever they do.
pub(super) const EVENT_READERS: usize = 256;
/// Of them, so many read from the disk and encode at one time. They share the threads that block
/// on the disk with the lanes, which must not wait for them.
const READS_AT_ONCE: usize = 4;
/// Of the records that one reader has in memory, before they are written as JSON; but always one.
const PAGE_BYTES: usize = 128 << 10;
const PAGE_RECORDS: u64 = 1_000;
/// A comment comes where nothing else does for so long: proxies keep the connection, and a peer
/// that is gone is noticed.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// For a client that is refused.
const RETRY_SECONDS: u32 = 5;

/// At once, so that the client sees that the stream is open; and how long it waits, in
/// milliseconds, before it comes back after the connection ended.
const OPENING: &[u8] = b":\n\nretry: 1000\n\n";
const COMMENT: &[u8] = b":\n\n";

const LAST_EVENT_ID: &str = "last-event-id";

/// What all readers share.
pub(super) struct EventReaders {
    places: Arc<Semaphore>,
    reads: Semaphore,
}

impl EventReaders {
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(EVENT_READERS)),
            reads: Semaphore::new(READS_AT_ONCE),
        }
    }
}

/// What one client asked for.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) from: Start,
    /// So many events, then the end.
    pub(super) limit: Option<u64>,
    /// Their data are CloudEvents.
    pub(super) as_cloud_events: bool,
}

/// Where a client that comes back goes on: behind `Last-Event-ID`, if it has one.
pub(super) fn resumes_at(headers: &HeaderMap) -> Result<Option<Start>, Problem> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let (Some(value), repeated) = (values.next(), values.next().is_some()) else {
        return Ok(None);
    };
    if repeated {
        return Err(Problem::bad_header(LAST_EVENT_ID, "it stands there twice"));
    }
    let digits = value.to_str().unwrap_or_default();
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    let seen: Option<u64> = is_number.then(|| digits.parse().ok()).flatten();
    match seen.and_then(|seen| seen.checked_add(1)) {
        Some(next) => Ok(Some(Start::Offset(next))),
        None => Err(Problem::bad_header(
            LAST_EVENT_ID,
            "it is the offset of the last event that was seen",
        )),
    }
}

/// The first page is read before the answer begins, so that what can't be read has a status.
pub(super) async fn open<F: Front>(
    http: Arc<Http<F>>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let place = Place::take(&http)?;
    let mut events = Events::new(http, wanted, place);
    let first = events.read().await?;
    events.ready = Some([OPENING, &first].concat().into());
    Ok(answer(EventBody {
        step: Some(events.step()),
    }))
}

/// The answer to HEAD: the status that GET would have, and nobody who reads.
pub(super) async fn head<F: Front>(
    http: Arc<Http<F>>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let shape = http.shape(wanted.as_cloud_events);
    read(&http, &wanted.name, wanted.from, 1, shape).await?;
    Ok(answer(EventBody::<F> { step: None }))
}

fn answer<F: Front>(body: EventBody<F>) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-store"),
        // nginx and its like would collect events for a while.
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::new(body)).into_response()
}

/// One of the readers that there may be; counted as long as it is there.
struct Place {
    counters: Arc<Counters>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn take<F>(http: &Http<F>) -> Result<Self, Problem> {
        let counters = Arc::clone(&http.counters);
        let Ok(permit) = Arc::clone(&http.events.places).try_acquire_owned() else {
            counters.count_refused_event_reader();
            let detail = format!("all {EVENT_READERS} readers of events are there");
            let problem = Problem::unavailable(Kind::EventReaders, detail, RETRY_SECONDS);
            return Err(problem.with("limit", EVENT_READERS));
        };
        counters.event_reader_comes();
        Ok(Self {
            counters,
            _permit: permit,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.event_reader_goes();
    }
}

/// One reader, between two of its pages.
struct Events<F> {
    http: Arc<Http<F>>,
    stop: watch::Receiver<bool>,
    name: String,
    from: Start,
    /// How many events are still to come.
    left: u64,
    as_cloud_events: bool,
    /// Read already, and not yet sent.
    ready: Option<Bytes>,
    _place: Place,
}

impl<F: Front> Events<F> {
    fn new(http: Arc<Http<F>>, wanted: Wanted, place: Place) -> Self {
        Self {
            stop: http.stop.clone(),
            http,
            name: wanted.name,
            from: wanted.from,
            left: wanted.limit.unwrap_or(u64::MAX),
            as_cloud_events: wanted.as_cloud_events,
            ready: None,
            _place: place,
        }
    }

    fn step(mut self) -> Step<F> {
        Box::pin(async move {
            let chunk = self.next().await;
            (self, chunk)
        })
    }

    /// What to send next, as soon as there is something; none at the end.
    async fn next(&mut self) -> Chunk {
        if let Some(ready) = self.ready.take() {
            return Ok(Some(ready));
        }
        let mut grown = false;
        loop {
            if self.left == 0 || *self.stop.borrow() {
                return Ok(None);
            }
            match self.read().await {
                Ok(events) if !events.is_empty() => return Ok(Some(events)),
                // It grew, and has nothing here: its writer is gone.
                Ok(_) if grown => return Ok(None),
                Ok(_) => {}
                Err(ReadError::Gone { earliest }) => {
                    self.left = 0;
                    return Ok(Some(gone(earliest)));
                }
                Err(e) => return Err(e),
            }
            tokio::select! {
                () = reaches(&self.http.front, &self.name, self.from) => grown = true,
                () = listener::stopped(&mut self.stop) => return Ok(None),
                () = sleep(KEEP_ALIVE) => return Ok(Some(Bytes::from_static(COMMENT))),
            }
        }
    }

    /// The events that are there now; empty if none is.
    async fn read(&mut self) -> Result<Bytes, ReadError> {
        let shape = self.http.shape(self.as_cloud_events);
        let read = read(&self.http, &self.name, self.from, self.left, shape).await?;
        self.from = Start::Offset(read.next);
        self.left -= read.count;
        Ok(read.events)
    }
}

/// One page, written as events.
struct Read {
    events: Bytes,
    count: u64,
    /// Where to read on.
    next: u64,
}

/// Holds one of the few turns from the disk to the JSON, and not while anybody sends.
async fn read<F: Front>(
    http: &Http<F>,
    name: &str,
    from: Start,
    left: u64,
    shape: Shape<'_>,
) -> Result<Read, ReadError> {
    let turn = http.events.reads.acquire().await;
    let _turn = turn.expect("the semaphore is never closed");
    let max_records = usize::try_from(left.min(PAGE_RECORDS)).expect("a small number");
    let read = StreamRead {
        from,
        max_records,
        max_bytes: PAGE_BYTES,
    };
    let page = http.front.read_stream(name, read).await?;
    Ok(Read {
        events: written(&page, shape).into(),
        count: page.records.len() as u64,
        next: page.next,
    })
}

/// Returns when the stream may have grown to where it is read next.
async fn reaches<F: Front>(front: &F, name: &str, from: Start) {
    if let Start::Offset(offset) = from {
        front.stream_reaches(name, offset).await;
    }
}

/// A page as events. A line break in a payload's JSON can only stand between its tokens, where a
/// space means the same; in an event it would end the line.
fn written(page: &Page, shape: Shape<'_>) -> Vec<u8> {
    let mut events = Vec::new();
    for record in &page.records {
        write!(events, "id: {}\ndata: ", record.offset).expect("memory takes all");
        let start = events.len();
        page::write(record, shape, &mut events);
        for byte in &mut events[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        events.extend_from_slice(b"\n\n");
    }
    events
}

/// Retention overtook the reader. Without an id: a client that comes back asks for what is gone,
/// and is told so again.
fn gone(earliest: u64) -> Bytes {
    format!("event: gone\ndata: {{\"earliest\":{earliest}}}\n\n").into()
}

type Step<F> = Pin<Box<dyn Future<Output = (Events<F>, Chunk)> + Send>>;
type Chunk = Result<Option<Bytes>, ReadError>;

/// Asked for a frame, it makes the next step. An error cuts the connection, so that nobody takes
/// it for the end that was asked for.
struct EventBody<F> {
    step: Option<Step<F>>,
}

impl<F: Front> hyper::body::Body for EventBody<F> {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        let Some(step) = &mut self.step else {
            return Poll::Ready(None);
        };
        let (events, chunk) = ready!(step.as_mut().poll(cx));
        self.step = match &chunk {
            Ok(Some(_)) => Some(events.step()),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(stream = events.name, %error, "a reader of events is cut off");
                None
            }
        };
        Poll::Ready(chunk.transpose().map(|chunk| chunk.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::ingress::front::StreamRecord;

    #[test]
    fn a_record_is_one_line_whatever_line_breaks_its_payload_has() {
        let record = |offset, content_type: &str, payload: &'static [u8]| StreamRecord {
            offset,
            id: "i".into(),
            delivery_id: "d".into(),
            topic: "a".into(),
            key: None,
            headers: Vec::new(),
            content_type: Some(content_type.to_owned()),
            time: Wall(1_000),
            payload: Ok(Bytes::from_static(payload)),
        };
        let page = Page {
            records: vec![
                record(7, "application/json", b"{\r\n\"a\":\n1}"),
                record(8, "text/plain", b"b\nc\r"),
            ],
            next: 9,
        };
        let event = |offset: u64, content_type: &str, data: &str| {
            format!(
                "id: {offset}\ndata: {{\"offset\":{offset},\"id\":\"i\",\"topic\":\"a\",\"headers\":{{}},\
                 \"content_type\":\"{content_type}\",\"time\":\"1970-01-01T00:00:01.000Z\",\
                 \"data\":{data}}}\n\n"
            )
        };
        assert_eq!(
            String::from_utf8(written(&page, Shape::Record)).expect("JSON is UTF-8"),
            event(7, "application/json", r#"{  "a": 1}"#) + &event(8, "text/plain", r#""b\nc\r""#)
        );
    }
}
