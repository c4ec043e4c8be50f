//! What a call is to send, shared by who gives it and by HTTP/2, which takes one after another as its flow
//! control allows. So it is known of each whether it may have left.

use super::v1::DeliverRequest;
use futures_util::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// Waiting to be taken: enough that neither side waits for the other's turn.
const MAX_WAITING: usize = 64;

#[derive(Clone)]
pub struct Slot {
    inner: Arc<Mutex<Inner>>,
    /// Told when there is room again.
    room: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<DeliverRequest>,
    has_taken: bool,
    closed: bool,
    waker: Option<Waker>,
}

impl Slot {
    pub fn new(room: Arc<Notify>) -> Self {
        Self {
            inner: Arc::default(),
            room,
        }
    }

    pub fn has_room(&self) -> bool {
        self.inner().waiting.len() < MAX_WAITING
    }

    pub fn put(&self, request: DeliverRequest) {
        let mut inner = self.inner();
        inner.waiting.push_back(request);
        inner.wake();
    }

    /// Whether anything may have left.
    pub fn has_taken(&self) -> bool {
        self.inner().has_taken
    }

    /// Nothing more comes: after what waits the request ends.
    pub fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        inner.wake();
    }

    /// Closed; what surely never left, in its order.
    pub fn take_back(&self) -> VecDeque<DeliverRequest> {
        self.close();
        std::mem::take(&mut self.inner().waiting)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Slot {
    type Item = DeliverRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DeliverRequest>> {
        let mut inner = self.inner();
        match inner.waiting.pop_front() {
            Some(request) => {
                inner.has_taken = true;
                drop(inner);
                self.room.notify_one();
                Poll::Ready(Some(request))
            }
            None if inner.closed => Poll::Ready(None),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
