//! The requests of one connection: which are under way, and which answers its peer doesn't take.
//!
//! An answer is given in pieces. Each counts until its bytes are written to the socket, so that
//! one that waits for the peer's window, or for its turn, isn't forgotten with its body.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A peer that takes so much now and then isn't given up.
const PIECE_BYTES: usize = 16 << 10;

pub(super) struct Requests(Mutex<Table>);

struct Table {
    open: HashMap<u64, State>,
    next: u64,
    /// Since when none is open.
    idle_since: Instant,
}

/// One request that isn't answered in full.
struct State {
    /// Pieces of its answer that aren't written yet.
    pieces: usize,
    /// More of the answer is to come from us.
    ours: bool,
    /// When the peer took something last, or got something to take.
    progress: Instant,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Table {
            open: HashMap::new(),
            next: 0,
            idle_since: Instant::now(),
        }))
    }

    /// A request came. It is open until all parts of its answer are written or dropped.
    pub(super) fn begin(self: &Arc<Self>, place: Option<OwnedSemaphorePermit>) -> Open {
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        let state = State {
            pieces: 0,
            ours: true,
            progress: Instant::now(),
        };
        table.open.insert(number, state);
        Open(Arc::new(Held {
            requests: Arc::clone(self),
            number,
            _place: place,
        }))
    }

    /// None while a request is open.
    pub(super) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let table = self.table();
        let idle = table.open.is_empty();
        idle.then(|| now.saturating_duration_since(table.idle_since))
    }

    /// For how long the peer has taken nothing of an answer that is there for it.
    pub(super) fn longest_stall(&self, now: Instant) -> Duration {
        let table = self.table();
        let waiting = table.open.values().filter(|s| s.pieces > 0 || !s.ours);
        let stalls = waiting.map(|s| now.saturating_duration_since(s.progress));
        stalls.max().unwrap_or_default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way.
pub(super) struct Open(Arc<Held>);

impl Open {
    /// From now on it is the peer's turn.
    pub(super) fn answer(self, response: Response) -> Response<Answer> {
        self.0.update(|state| state.ours = false);
        response.map(|body| Answer {
            body,
            rest: Bytes::new(),
            held: self.0,
        })
    }
}

struct Held {
    requests: Arc<Requests>,
    number: u64,
    _place: Option<OwnedSemaphorePermit>,
}

impl Held {
    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut table = self.requests.table();
        let state = table
            .open
            .get_mut(&self.number)
            .expect("open until dropped");
        change(state);
        state.progress = Instant::now();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.requests.table();
        table.open.remove(&self.number);
        table.idle_since = Instant::now();
    }
}

/// Bytes that tell when they are written, or given up: when they are dropped.
struct Piece {
    bytes: Bytes,
    held: Arc<Held>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.held.update(|state| state.pieces -= 1);
    }
}

/// An answer's body, in pieces that are counted.
pub(super) struct Answer {
    body: Body,
    /// Of a frame that is larger than a piece.
    rest: Bytes,
    held: Arc<Held>,
}

impl Answer {
    fn next_piece(&mut self) -> Bytes {
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.held.update(|state| state.pieces += 1);
        Bytes::from_owner(Piece {
            bytes,
            held: Arc::clone(&self.held),
        })
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            // Only a peer that can take more makes us ask for more.
            self.held.update(|state| state.ours = true);
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            self.held.update(|state| state.ours = false);
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
