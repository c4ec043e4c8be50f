//! The time that a client gives a call (`grpc-timeout`), and the end that every call comes to: counted
//! once, by its code.

use super::counters::{Counters, Method};
use super::fault::Fault;
use super::reason::Reason;
use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tonic::{Code, Status};

const TIMEOUT: &str = "grpc-timeout";
const STATUS: &str = "grpc-status";
/// The specification's.
const TIMEOUT_DIGITS: usize = 8;

/// None: the client gave none. One that can't be read is refused.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let timeout = value.to_str().ok().and_then(parse);
    let why = "up to 8 digits and one of H, M, S, m, u, n";
    timeout
        .map(Some)
        .ok_or_else(|| Fault::malformed(TIMEOUT, why))
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.bytes().last()?;
    let digits = text.get(..text.len() - 1)?;
    let is_number =
        (1..=TIMEOUT_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = is_number.then(|| digits.parse().ok())??;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

pub(super) fn exceeded() -> Status {
    let text = "the time that the call was given is over; what became of its messages isn't known to \
                it: send them again under the same ids";
    Fault::new(Code::DeadlineExceeded, Reason::Deadline, text).status()
}

/// Counts a call: as begun at once, and as ended when its status is known. One that is dropped before
/// was cancelled.
pub(super) struct Count {
    counters: Arc<Counters>,
    method: Method,
    code: Code,
}

impl Count {
    pub(super) fn begin(counters: Arc<Counters>, method: Method) -> Self {
        counters.begin(method);
        Self {
            counters,
            method,
            code: Code::Cancelled,
        }
    }

    /// Answered in HTTP, as what isn't gRPC is; else its status says more.
    pub(super) const fn refuse(&mut self) {
        self.code = Code::Unimplemented;
    }

    /// The status, if these headers or trailers have it.
    pub(super) fn see(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(STATUS) {
            self.code = Code::from_bytes(code.as_bytes());
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.counters.end(self.method, self.code);
    }
}

/// An answer's body until its end, or the deadline.
pub(super) struct Limited {
    body: Body,
    deadline: Option<Pin<Box<Sleep>>>,
    count: Count,
    is_over: bool,
    _held: Option<Held>,
}

/// A share of the bytes in flight that is given back with the answer.
pub(super) type Held = Arc<OwnedSemaphorePermit>;

impl Limited {
    pub(super) fn new(body: Body, deadline: Option<Pin<Box<Sleep>>>, count: Count) -> Self {
        Self {
            body,
            deadline,
            count,
            is_over: false,
            _held: None,
        }
    }

    pub(super) fn holding(self, held: Option<Held>) -> Self {
        Self {
            _held: held,
            ..self
        }
    }
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        // First, because a body that always has something would go on for ever.
        let deadline = this.deadline.as_mut();
        let frame = match deadline.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            false => ready!(Pin::new(&mut this.body).poll_frame(cx)),
            true => {
                let mut trailers = HeaderMap::new();
                // A text of ASCII and our own details always are headers.
                let _ = exceeded().add_header(&mut trailers);
                Some(Ok(Frame::trailers(trailers)))
            }
        };
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.count.see(trailers);
            this.is_over = true;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
