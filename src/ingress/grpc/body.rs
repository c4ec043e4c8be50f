//! A request's body whose bytes are charged to what is in flight as they come, until the call that they
//! are for takes them over.
//!
//! Where nothing is free the client is held back for a moment by HTTP/2's flow control, then refused. What
//! is begun and doesn't go on is given up, so that halves of messages can't take all room.

use super::desk::PREFIX_BYTES;
use super::fault::Fault;
use super::reason::Reason;
use crate::ingress::in_flight::InFlight;
use crate::message::TraceContext;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Code, Status};

/// For room among the bytes in flight.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
/// For the next byte of what is begun.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// A message under way takes about so much besides its bytes: its envelope, its plan, who waits for it. A short
/// one is charged as much.
const MESSAGE_COST_BYTES: usize = 1 << 10;

/// The share of what came and wasn't taken over yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrived(Arc<Mutex<Untaken>>);

#[derive(Debug, Default)]
struct Untaken {
    share: Option<OwnedSemaphorePermit>,
    messages: Lengths,
}

impl Arrived {
    /// The share of so many messages that came whole in one: of their bytes, or of what they cost.
    pub(super) fn take_messages(
        &self,
        count: usize,
        bytes: usize,
        in_flight: &InFlight,
    ) -> Result<OwnedSemaphorePermit, Fault> {
        // Under a small limit what they cost must not be more than there can ever be.
        let cost = (count * MESSAGE_COST_BYTES).min(in_flight.limit_bytes() / 2);
        self.take(bytes.max(cost), in_flight)
    }

    /// The share of a message that came whole: what it took on the way is given back for what it is now, which
    /// may be more or less if it was compressed.
    pub(super) fn take(
        &self,
        message_bytes: usize,
        in_flight: &InFlight,
    ) -> Result<OwnedSemaphorePermit, Fault> {
        let needed = message_bytes + PREFIX_BYTES;
        let mut came = self.untaken().take_first();
        let surplus = came.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if surplus > needed {
            drop(came.as_mut().and_then(|came| came.split(surplus - needed)));
        }
        let missing = needed.saturating_sub(surplus);
        match came {
            Some(came) if missing == 0 => Ok(came),
            came => {
                let mut share = in_flight.take(missing).ok_or_else(Fault::in_flight_full)?;
                came.into_iter().for_each(|came| share.merge(came));
                Ok(share)
            }
        }
    }

    /// How many messages began, ever.
    fn add(&self, data: &[u8], share: OwnedSemaphorePermit) -> usize {
        let mut untaken = self.untaken();
        untaken.messages.see(data);
        match untaken.share.as_mut() {
            Some(all) => all.merge(share),
            None => untaken.share = Some(share),
        }
        untaken.messages.count
    }

    fn is_empty(&self) -> bool {
        self.untaken().share.is_none()
    }

    fn untaken(&self) -> MutexGuard<'_, Untaken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Untaken {
    /// All that the first message took.
    fn take_first(&mut self) -> Option<OwnedSemaphorePermit> {
        let length = self.messages.take_first();
        match self.share.as_mut() {
            Some(all) if all.num_permits() > length => all.split(length),
            _ => self.share.take(),
        }
    }
}

/// How long messages are on the wire, told from their prefixes as they pass.
#[derive(Debug, Default)]
struct Lengths {
    /// Of those that began and weren't taken.
    begun: VecDeque<usize>,
    /// What came of the next prefix.
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Still to come of the last one that began.
    missing: usize,
    /// That began, ever.
    count: usize,
}

impl Lengths {
    fn see(&mut self, mut data: &[u8]) {
        loop {
            let rest = self.missing.min(data.len());
            self.missing -= rest;
            data = &data[rest..];
            if data.is_empty() {
                return;
            }
            let part = (PREFIX_BYTES - self.prefix_bytes).min(data.len());
            let at = self.prefix_bytes..self.prefix_bytes + part;
            self.prefix[at].copy_from_slice(&data[..part]);
            self.prefix_bytes += part;
            data = &data[part..];
            if self.prefix_bytes == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                // More than a message may have is refused by who reads it.
                self.missing = u32::from_be_bytes(length) as usize;
                self.begun.push_back(PREFIX_BYTES + self.missing);
                self.count += 1;
                self.prefix_bytes = 0;
            }
        }
    }

    fn take_first(&mut self) -> usize {
        self.begun.pop_front().unwrap_or_default()
    }
}

/// What a call is given beside its messages.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub arrived: Arrived,
    /// Of its messages that have none of their own.
    pub trace: Option<TraceContext>,
}

/// Whether a client may be silent between two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// All of the request is wanted now.
    Never,
    BetweenMessages,
}

pub(super) struct Charged {
    body: Body,
    arrived: Arrived,
    in_flight: InFlight,
    silence: Silence,
    /// Data that is there, and waits for room.
    waiting: Option<Waiting>,
    /// Runs from the last data on.
    idle: Pin<Box<Sleep>>,
}

struct Waiting {
    data: Bytes,
    room: Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>,
}

impl Charged {
    pub(super) fn new(body: Body, arrived: Arrived, in_flight: InFlight, silence: Silence) -> Self {
        Self {
            body,
            arrived,
            in_flight,
            silence,
            waiting: None,
            idle: Box::pin(sleep(IDLE_LIMIT)),
        }
    }

    fn wait_for_room(&mut self, data: Bytes) {
        let semaphore = Arc::clone(self.in_flight.semaphore());
        let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let room = async move {
            let room = semaphore.acquire_many_owned(bytes);
            tokio::time::timeout(ROOM_PATIENCE, room).await.ok()?.ok()
        };
        self.waiting = Some(Waiting {
            data,
            room: Box::pin(room),
        });
    }

    /// A second message would be read away, and be charged, for nothing.
    fn allowed(&self, messages: usize) -> Result<(), Status> {
        if self.silence == Silence::Never && messages > 1 {
            return Err(Fault::unreadable("a call of this method has one message").status());
        }
        Ok(())
    }

    /// Data that came, once it is charged.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let Some(waiting) = self.waiting.as_mut() else {
            return Poll::Ready(None);
        };
        let room = ready!(waiting.room.as_mut().poll(cx));
        let data = self.waiting.take().map(|waiting| waiting.data);
        Poll::Ready(match (room, data) {
            (Some(share), Some(data)) => {
                let count = self.arrived.add(&data, share);
                Some(self.allowed(count).map(|()| data))
            }
            _ => Some(Err(Fault::in_flight_full().status())),
        })
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if self.silence == Silence::BetweenMessages && self.arrived.is_empty() {
            return Poll::Pending;
        }
        ready!(self.idle.as_mut().poll(cx));
        let text = format!("no byte of the message came for {} s", IDLE_LIMIT.as_secs());
        Poll::Ready(Fault::new(Code::DeadlineExceeded, Reason::BodyTimeout, text).status())
    }
}

impl HttpBody for Charged {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(data) = ready!(this.poll_room(cx)) {
            return Poll::Ready(Some(data.map(Frame::data)));
        }
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return this.poll_idle(cx).map(|status| Some(Err(status))),
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            // The client took the request back, or went away.
            Some(Err(_)) => return Poll::Ready(Some(Err(Status::cancelled("the request ended")))),
            None => return Poll::Ready(None),
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        this.idle.as_mut().reset(Instant::now() + IDLE_LIMIT);
        match this.in_flight.take(data.len()) {
            Some(share) => {
                let count = this.arrived.add(&data, share);
                let data = this.allowed(count).map(|()| Frame::data(data));
                Poll::Ready(Some(data))
            }
            None => {
                this.wait_for_room(data);
                self.poll_frame(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
