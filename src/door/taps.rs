//! Live copies of what passes the door, for those who watch (`causeway tap`).
//!
//! A publish never waits for a watcher. With nobody there it pays one relaxed load; with some, the
//! match of their patterns and a short lock for each that wants it. A copy shares the message's
//! bytes, so a watcher holds memory: at most `QUEUE_COPIES` and `QUEUE_BYTES` (or one copy, if that
//! is larger). What doesn't fit there, or in the rate that was asked for, is left out and counted.
//!
//! What must not live here: how copies are shown, and to whom.

#[cfg(test)]
mod tests;

use crate::clock::{Mono, Wall};
use crate::message::{Envelope, Header, Message, Position, Refusal, Target};
use crate::routing::Pattern;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::Notify;

/// Watchers at one time.
pub const MAX_TAPS: usize = 8;
/// Copies that wait for one watcher.
pub const QUEUE_COPIES: usize = 1_024;
/// Their bytes, but always one copy.
pub const QUEUE_BYTES: usize = 4 << 20;
/// A watcher asks for at most so many copies a second.
pub const MAX_RATE: u32 = 10_000;
/// And for so many if it doesn't say.
pub const DEFAULT_RATE: u32 = 1_000;
/// What a copy costs beside the bytes of its message; a target of its plan; a header.
const COPY_BYTES: usize = 512;
const TARGET_BYTES: usize = 256;
const HEADER_BYTES: usize = 64;

/// What a watcher asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub pattern: Pattern,
    /// Also what the door refuses.
    pub refused: bool,
    pub share: Share,
    /// Copies a second.
    pub rate: u32,
    /// The tap ends after so many copies.
    pub limit: Option<u64>,
    /// For the choice of samples.
    pub seed: u64,
}

/// Which part of what matches is copied: chosen at random, one message at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    pub const ALL: Self = Self(1.0);

    /// `1/10` or `0.1`; more than nothing, at most all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let share = match text.split_once('/') {
            Some((part, of)) => {
                f64::from(part.parse::<u32>().ok()?) / f64::from(of.parse::<u32>().ok()?)
            }
            None => text.parse().ok()?,
        };
        (share > 0.0 && share <= 1.0).then_some(Self(share))
    }
}

/// What became of a message at the door.
#[derive(Clone, Debug, PartialEq)]
pub enum Became {
    Stored {
        position: Position,
        duplicate: bool,
    },
    /// It was not journalled: all its targets are at_most_once.
    Received,
    /// `[unrouted] action = "drop"`: taken, and nothing is kept of it.
    Dropped,
    Refused(Refusal),
}

/// One copy.
#[derive(Clone, Debug)]
pub struct Passed {
    pub at: Wall,
    pub became: Became,
    /// The publisher's, a derived one, or that which its position makes.
    pub id: Option<Arc<str>>,
    pub body: Body,
}

/// Shared with whoever else has the message.
#[derive(Clone, Debug)]
pub enum Body {
    Planned(Arc<Message>),
    /// It was not routed, or not taken.
    Bare(Arc<Envelope>),
}

impl Passed {
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        match &self.body {
            Body::Planned(message) => &message.envelope,
            Body::Bare(envelope) => envelope,
        }
    }

    /// Of all that it keeps in memory: the plan too, though no watcher sees that.
    fn bytes(&self) -> usize {
        let envelope = self.envelope();
        let plan = match &self.body {
            Body::Planned(message) => message.plan.targets.iter().map(target_bytes).sum(),
            Body::Bare(_) => 0,
        };
        COPY_BYTES
            + envelope.topic.len()
            + envelope.key.as_ref().map_or(0, |key| key.len())
            + headers_bytes(&envelope.headers)
            + envelope.payload.as_ref().map_or(0, |payload| payload.len())
            + plan
    }
}

/// Targets may share what is counted for each: rather too much than too little.
fn target_bytes(target: &Target) -> usize {
    TARGET_BYTES
        + target.topic.as_ref().map_or(0, String::len)
        + target.key.as_ref().map_or(0, |key| key.len())
        + target.headers.as_deref().map_or(0, headers_bytes)
        + target.payload.as_ref().map_or(0, |payload| payload.len())
        + target.dead_letter.as_ref().map_or(0, String::len)
}

fn headers_bytes(headers: &[Header]) -> usize {
    let of_one = |h: &Header| HEADER_BYTES + h.name.len() + h.value.len();
    headers.iter().map(of_one).sum()
}

/// Since the tap was opened. What matched was shown, was left out, or waits to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub matched: u64,
    pub shown: u64,
    /// Not chosen as a sample.
    pub by_sample: u64,
    /// Beyond the rate.
    pub by_rate: u64,
    /// The watcher hadn't taken what was there already.
    pub by_queue: u64,
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As many as were asked for.
    Limit,
    /// The gateway stops.
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("all {MAX_TAPS} taps are in use")]
    Full,
    #[error("the gateway is stopping")]
    Stopping,
}

#[derive(Default)]
pub struct Taps {
    /// How many there are: all that a publish looks at if there are none.
    count: AtomicUsize,
    open: RwLock<Open>,
    /// A watcher went.
    gone: Notify,
}

#[derive(Default)]
struct Open {
    taps: Vec<Arc<Tap>>,
    closed: bool,
}

struct Tap {
    wanted: Wanted,
    state: Mutex<State>,
    /// The queue was empty and isn't, or the end came.
    news: Notify,
}

struct State {
    queue: VecDeque<Passed>,
    bytes: usize,
    counts: Counts,
    /// Of copies that were queued, for the limit.
    taken: u64,
    rng: fastrand::Rng,
    /// Which second of the clock this is, and how many copies it had.
    second: (u64, u32),
    end: Option<End>,
}

impl Taps {
    /// Without order: a tap that is being opened may miss what passes meanwhile.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// Gives a copy to every tap that wants it and has room; `copy` is made if one wants it.
    pub fn offer(&self, now: Mono, topic: &str, is_refused: bool, copy: impl FnOnce() -> Passed) {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let wants = |tap: &&Arc<Tap>| {
            (tap.wanted.refused || !is_refused) && tap.wanted.pattern.matches(topic)
        };
        let mut wanting = open.taps.iter().filter(wants).peekable();
        if wanting.peek().is_none() {
            return;
        }
        let passed = copy();
        for tap in wanting {
            tap.offer(now, &passed);
        }
    }

    /// # Errors
    /// When there are as many as there may be, or after `close`.
    pub fn open(self: &Arc<Self>, wanted: Wanted) -> Result<TapReader, OpenError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.closed {
            return Err(OpenError::Stopping);
        }
        if open.taps.len() == MAX_TAPS {
            return Err(OpenError::Full);
        }
        let tap = Arc::new(Tap::new(wanted));
        open.taps.push(Arc::clone(&tap));
        self.count.store(open.taps.len(), Ordering::Relaxed);
        drop(open);
        Ok(TapReader {
            taps: Arc::clone(self),
            tap,
        })
    }

    /// Ends all of them, once they have given what they have.
    pub fn close(&self) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.closed = true;
        for tap in &open.taps {
            tap.state().end.get_or_insert(End::Stopping);
            tap.news.notify_one();
        }
    }

    /// Returns when all watchers have gone, which `close` asks them to.
    pub async fn all_gone(&self) {
        while self.is_watched() {
            self.gone.notified().await;
        }
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn remove(&self, tap: &Arc<Tap>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.taps.retain(|other| !Arc::ptr_eq(other, tap));
        self.count.store(open.taps.len(), Ordering::Relaxed);
        self.gone.notify_one();
    }
}

impl Tap {
    fn new(wanted: Wanted) -> Self {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            counts: Counts::default(),
            taken: 0,
            rng: fastrand::Rng::with_seed(wanted.seed),
            second: (0, 0),
            end: (wanted.limit == Some(0)).then_some(End::Limit),
        };
        Self {
            wanted,
            state: Mutex::new(state),
            news: Notify::new(),
        }
    }

    /// Held for a few steps, by nobody who waits for anything.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, now: Mono, passed: &Passed) {
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        state.counts.matched += 1;
        if self.wanted.share != Share::ALL && state.rng.f64() >= self.wanted.share.0 {
            state.counts.by_sample += 1;
            return;
        }
        if !state.is_within_rate(now, self.wanted.rate) {
            state.counts.by_rate += 1;
            return;
        }
        let bytes = passed.bytes();
        if !state.has_room(bytes) {
            state.counts.by_queue += 1;
            return;
        }
        let was_empty = state.queue.is_empty();
        state.bytes += bytes;
        state.queue.push_back(passed.clone());
        state.taken += 1;
        if Some(state.taken) == self.wanted.limit {
            state.end = Some(End::Limit);
        }
        drop(state);
        // Once for all that comes until the watcher has taken it.
        if was_empty {
            self.news.notify_one();
        }
    }
}

impl State {
    fn is_within_rate(&mut self, now: Mono, rate: u32) -> bool {
        let second = now.0 / 1_000;
        if self.second.0 != second {
            self.second = (second, 0);
        }
        if self.second.1 >= rate {
            return false;
        }
        self.second.1 += 1;
        true
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < QUEUE_COPIES && self.bytes + bytes <= QUEUE_BYTES)
    }
}

/// The watcher's end. With it the tap goes.
pub struct TapReader {
    taps: Arc<Taps>,
    tap: Arc<Tap>,
}

impl TapReader {
    /// The oldest copy that waits.
    #[must_use]
    pub fn next(&self) -> Option<Passed> {
        let mut state = self.tap.state();
        let passed = state.queue.pop_front()?;
        state.bytes -= passed.bytes();
        state.counts.shown += 1;
        Some(passed)
    }

    /// Returns when there is a copy to take, or the end, if there was none when `next` was asked.
    pub async fn news(&self) {
        self.tap.news.notified().await;
    }

    /// `None`: more may come.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        let state = self.tap.state();
        state.end.filter(|_| state.queue.is_empty())
    }

    /// Nothing more comes beside what waits.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.tap.state().end.is_some()
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tap.state().counts
    }
}

impl Drop for TapReader {
    fn drop(&mut self) {
        self.taps.remove(&self.tap);
    }
}
