//! The state of one lane, pure: time and randomness are handed in, what is to be done is handed out.
//!
//! A delivery is, at any time, in exactly one of these places: `ready` or a key's queue (in
//! memory), a flight, `dying`/`graves` (on its way to the dead letters), `beyond` (waits for a
//! change of mode); or as a position only: in a key's held set, behind a timer, in `delayed`, in
//! `dropping`, or among those being read again.

mod attempts;
mod circuit;
mod control;
mod reads;
mod ready;
mod skips;
#[cfg(test)]
mod tests;

use super::breaker::{Breaker, Bucket};
use super::delay::Delayed;
use super::positions::Positions;
use super::retry::Retry;
use super::settings::{LaneSettings, Limits, Mode};
use super::view::{LaneCounts, LaneError, LaneTimes};
use crate::clock::{Mono, Wall};
use crate::egress::KeyOrder;
use crate::faults::Faults;
use crate::message::{Ack, Delivery, DeliveryId, DiscardReason, Outcome, Position, Settlement};
use ready::Ready;
use skips::Skips;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use reads::Wanted;
pub use skips::{SkipError, Skipped};

/// The one key of a strict lane.
const STRICT_KEY: u64 = 0;
/// While deliveries are delayed the wall clock is looked at this often: it may be set.
const WALL_CHECK: Duration = Duration::from_secs(10);
/// A longer reason is cut: thousands of them may be kept.
const MAX_REASON_BYTES: usize = 256;

#[derive(Debug)]
pub struct Lane {
    settings: LaneSettings,
    faults: Faults,
    rng: fastrand::Rng,
    hash_seed: u64,
    mode: Mode,
    /// Changes of mode to come, each with the first position that is under it.
    changes: VecDeque<(Position, Mode)>,
    control: Control,

    ready: Ready,
    keys: HashMap<u64, Key>,
    /// Deliveries without order that failed, until they are settled.
    retrying: HashMap<DeliveryId, Retry>,
    timers: BTreeSet<(Mono, Timer)>,
    wants: VecDeque<Want>,
    reading: HashMap<DeliveryId, Why>,
    /// Memory that the outstanding read may fill.
    reading_bytes: u64,
    delayed: Delayed,
    dropping: Positions,
    beyond: VecDeque<Delivery>,
    flights: HashMap<BatchId, Flight>,
    last_batch: u64,
    dying: Vec<DeadLetter>,
    /// Dead letters that aren't durable yet, with the key that waits for it.
    graves: HashMap<DeliveryId, Grave>,
    settlements: Vec<Settlement>,
    breaker: Breaker,
    bucket: Bucket,
    /// Since when something could be tried that waits for its batch to grow.
    gathering: Option<Mono>,
    /// Somebody waits for the outcome of one that is to be tried.
    is_awaited: bool,
    skips: Skips,
    /// When it was last asked for a batch.
    looked_at: Mono,

    memory_count: usize,
    memory_bytes: u64,
    parked_bytes: u64,
    pending: u64,
    counts: LaneCounts,
    times: Arc<LaneTimes>,
    last_error: Option<LaneError>,
    /// Why the last one was sent to the dead letters: some were never tried.
    last_dead_letter: Option<Arc<str>>,
}

/// A group of deliveries to be tried together.
#[derive(Clone, Debug)]
pub struct Batch {
    pub id: BatchId,
    pub deliveries: Arc<[Delivery]>,
    /// After the first that isn't delivered none of the rest may be applied, whatever its key.
    pub strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId(pub(super) u64);

/// A delivery that is given up, to be written to the dead-letter log.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub delivery: Delivery,
    pub reason: Arc<str>,
    /// In this run.
    pub attempts: u32,
    pub first_attempt: Option<Wall>,
    pub last_attempt: Option<Wall>,
}

/// How much a lane wants from its feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub count: usize,
    /// One delivery may be larger.
    pub bytes: u64,
}

#[derive(Debug)]
struct Flight {
    deliveries: Arc<[Delivery]>,
    started: Wall,
}

#[derive(Debug)]
struct Grave {
    key: Option<u64>,
    size_bytes: u32,
}

#[derive(Debug)]
enum Turn {
    Free(Delivery),
    Key(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Key(u64),
    Free(DeliveryId),
}

#[derive(Clone, Copy, Debug)]
enum Want {
    Key(u64),
    Free(DeliveryId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The next of a held key.
    Key(u64),
    /// A retry or a delay is over.
    Due,
    Drop,
    Skip,
}

/// One key's deliveries: those in flight are before `queue`, `queue` is before `held`.
///
/// With `KeyOrder::Pipelined` one that failed may be before others that are still in flight. Then
/// `retry` is of the first that failed, and until it is settled it is tried alone.
#[derive(Debug, Default)]
struct Key {
    queue: VecDeque<Delivery>,
    held: Positions,
    in_flight: usize,
    reading: usize,
    wanted: bool,
    phase: Phase,
    /// Of the first delivery.
    retry: Option<Box<Retry>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The first delivery waits for its next try.
    BackOff,
    /// A rejected delivery's dead letter isn't durable yet.
    Dying,
}

#[derive(Debug, Default)]
struct Control {
    paused: bool,
    stopped: Option<Arc<str>>,
    dead_letters_full: Option<Arc<str>>,
    dropping: Option<Dropping>,
}

#[derive(Clone, Copy, Debug)]
struct Dropping {
    discard: bool,
    until: Position,
}

impl Key {
    fn takes_in_memory(&self, max: usize) -> bool {
        self.phase != Phase::BackOff
            && self.held.is_empty()
            && self.reading == 0
            && self.queue.len() < max
    }
}

impl Lane {
    #[must_use]
    pub fn new(settings: LaneSettings, faults: Faults, mut rng: fastrand::Rng) -> Self {
        let bucket = settings.rate.map_or_else(Bucket::default, Bucket::full);
        Self {
            mode: settings.mode,
            settings,
            faults,
            hash_seed: rng.u64(..),
            rng,
            changes: VecDeque::new(),
            control: Control::default(),
            ready: Ready::default(),
            keys: HashMap::new(),
            retrying: HashMap::new(),
            timers: BTreeSet::new(),
            wants: VecDeque::new(),
            reading: HashMap::new(),
            reading_bytes: 0,
            delayed: Delayed::default(),
            dropping: Positions::default(),
            beyond: VecDeque::new(),
            flights: HashMap::new(),
            last_batch: 0,
            dying: Vec::new(),
            graves: HashMap::new(),
            settlements: Vec::new(),
            breaker: Breaker::default(),
            bucket,
            gathering: None,
            is_awaited: false,
            skips: Skips::default(),
            looked_at: Mono(0),
            memory_count: 0,
            memory_bytes: 0,
            parked_bytes: 0,
            pending: 0,
            counts: LaneCounts::default(),
            times: Arc::default(),
            last_error: None,
            last_dead_letter: None,
        }
    }

    #[must_use]
    pub const fn times(&self) -> &Arc<LaneTimes> {
        &self.times
    }

    /// How much more the lane wants from its feed; `None` when nothing.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        if !self.beyond.is_empty() || self.is_busy_dropping() || self.is_strict_and_held() {
            return None;
        }
        let limits = &self.settings.limits;
        let known = self.memory_count + self.reading.len();
        let share = Limits::REREAD_SHARE;
        let count = (limits.memory_count - limits.memory_count / share)
            .saturating_sub(known)
            .min(limits.keys.saturating_sub(self.keys.len()))
            .min(limits.retrying.saturating_sub(self.retrying.len() + known));
        let bytes = (limits.memory_bytes - limits.memory_bytes / share as u64)
            .saturating_sub(self.memory_bytes + self.reading_bytes);
        let parked = self.parked_bytes < limits.parked_bytes;
        (parked && count > 0 && bytes > 0).then_some(Room { count, bytes })
    }

    /// Takes the next delivery of the feed. They come in journal order, each once in a run.
    pub fn offer(&mut self, delivery: Delivery, wall: Wall) {
        self.pending += 1;
        self.is_awaited |= delivery.message.plan.ack == Ack::Delivered;
        self.enter_memory(&delivery);
        if !self.beyond.is_empty() || self.must_wait(delivery.at.position) {
            self.beyond.push_back(delivery);
            self.open_beyond(wall);
        } else {
            self.admit(delivery, wall);
        }
    }

    /// The settlements since the last call; the caller makes them durable.
    pub fn take_settlements(&mut self) -> Vec<Settlement> {
        std::mem::take(&mut self.settlements)
    }

    /// Dead letters to be written since the last call, answered by `dead_lettered` when they are
    /// durable, or by `dead_letters_refused`.
    pub fn take_dead_letters(&mut self) -> Vec<DeadLetter> {
        if self.control.dead_letters_full.is_some() {
            return Vec::new();
        }
        std::mem::take(&mut self.dying)
    }

    /// These dead letters are durable: they are settled, and their keys go on.
    pub fn dead_lettered(&mut self, ids: &[DeliveryId], wall: Wall) {
        for at in ids {
            let Some(grave) = self.graves.remove(at) else {
                continue;
            };
            self.leave_memory(grave.size_bytes);
            self.settle(*at, grave.size_bytes, Outcome::DeadLettered);
            if let Some(hash) = grave.key
                && let Some(key) = self.keys.get_mut(&hash)
            {
                key.phase = Phase::Open;
                self.refresh(hash);
            }
        }
        self.open_beyond(wall);
    }

    /// When to call again though nothing else happened.
    #[must_use]
    pub fn next_wake(&self, now: Mono, wall: Wall) -> Option<Duration> {
        if !self.may_try() {
            return None;
        }
        let timer = self.timers.first().map(|(due, _)| due.since(now));
        // What is due already waits for room, which no clock brings.
        let delayed = self.delayed.next_wake().filter(|due| *due > wall);
        let delayed = delayed.map(|due| Duration::from_millis(due.0 - wall.0).min(WALL_CHECK));
        let ready = self.ready_wake(now);
        [timer, delayed, ready].into_iter().flatten().min()
    }

    /// Puts a delivery where it belongs now.
    fn admit(&mut self, delivery: Delivery, wall: Wall) {
        if self.control.dropping.is_some() {
            return self.drop_one(delivery);
        }
        if let Some(reason) = dead_letter_reason(&delivery) {
            return self.bury(delivery, reason, None, None);
        }
        if is_expired(&delivery, wall) {
            return self.discard(&delivery, DiscardReason::Expired);
        }
        let not_before = delivery.target().not_before;
        if let Some(due) = not_before.filter(|due| *due > wall && self.mode == Mode::Keyed) {
            self.leave_memory(delivery.size_bytes);
            self.parked_bytes += self.delayed.insert(delivery.at, due, wall);
            return;
        }
        match self.order(&delivery) {
            Some(hash) => self.join(hash, delivery),
            None => self.ready.insert(delivery.at, Turn::Free(delivery)),
        }
    }

    /// The key whose order holds for a delivery, if any.
    fn order(&self, delivery: &Delivery) -> Option<u64> {
        if self.faults.reorder_on_retry() && self.retrying.contains_key(&delivery.at) {
            return None;
        }
        match self.mode {
            Mode::Strict => Some(STRICT_KEY),
            Mode::Keyed if !delivery.is_ordered() => None,
            Mode::Keyed => delivery
                .key()
                .map(|key| xxh3_64_with_seed(key, self.hash_seed)),
        }
    }

    /// Queues a delivery behind all others of its key.
    fn join(&mut self, hash: u64, delivery: Delivery) {
        let max = match (self.mode, self.settings.key_order) {
            (Mode::Keyed, KeyOrder::OneAtATime) => Limits::QUEUE_PER_KEY,
            _ => usize::MAX,
        };
        let key = self.keys.entry(hash).or_default();
        if key.takes_in_memory(max) {
            key.queue.push_back(delivery);
            self.refresh(hash);
        } else {
            self.leave_memory(delivery.size_bytes);
            self.hold(hash, delivery.at);
        }
    }

    /// Adds a position to what a key holds.
    fn hold(&mut self, hash: u64, at: DeliveryId) {
        let held = &mut self.keys.entry(hash).or_default().held;
        let before = held.cost_bytes();
        held.insert(at);
        self.parked_bytes += held.cost_bytes() - before;
    }

    /// Brings a key to where it belongs after a change: among the ready, among those to be
    /// read, or away.
    fn refresh(&mut self, hash: u64) {
        let (many, pipelined) = (
            self.settings.key_order != KeyOrder::OneAtATime,
            self.is_pipelined(),
        );
        let Some(key) = self.keys.get_mut(&hash) else {
            return;
        };
        // It is looked at again when the flight ends, the read returns, or the timer fires.
        let waits = key.in_flight > 0 && (!many || (pipelined && key.retry.is_some()));
        if key.phase != Phase::Open || key.reading > 0 || key.wanted || waits {
            return;
        }
        if let Some(first) = key.queue.front() {
            self.ready.insert(first.at, Turn::Key(hash));
        } else if !key.held.is_empty() {
            if key.in_flight == 0 || pipelined {
                key.wanted = true;
                self.wants.push_back(Want::Key(hash));
            }
        } else if key.in_flight == 0 {
            self.keys.remove(&hash);
        }
    }

    /// Whether a key may have deliveries in several flights.
    fn is_pipelined(&self) -> bool {
        self.mode == Mode::Keyed && self.settings.key_order == KeyOrder::Pipelined
    }

    fn settle(&mut self, at: DeliveryId, size_bytes: u32, outcome: Outcome) {
        let counts = &mut self.counts;
        match outcome {
            Outcome::Delivered => counts.delivered += 1,
            Outcome::DeadLettered => counts.dead_lettered += 1,
            Outcome::Discarded(DiscardReason::Expired) => counts.expired += 1,
            Outcome::Discarded(DiscardReason::Dropped | DiscardReason::Lost) => counts.dropped += 1,
        }
        self.retrying.remove(&at);
        self.pending -= 1;
        let lane = self.settings.lane;
        self.settlements.push(Settlement {
            lane,
            at,
            outcome,
            size_bytes,
        });
    }

    fn discard(&mut self, delivery: &Delivery, reason: DiscardReason) {
        self.leave_memory(delivery.size_bytes);
        self.settle(delivery.at, delivery.size_bytes, Outcome::Discarded(reason));
    }

    /// Sends a delivery to the dead letters; `key` waits until that is durable.
    fn bury(
        &mut self,
        delivery: Delivery,
        reason: Arc<str>,
        retry: Option<&Retry>,
        key: Option<u64>,
    ) {
        self.graves.insert(
            delivery.at,
            Grave {
                key,
                size_bytes: delivery.size_bytes,
            },
        );
        self.last_dead_letter = Some(Arc::clone(&reason));
        self.dying.push(DeadLetter {
            delivery,
            reason,
            attempts: retry.map_or(0, |r| r.attempts),
            first_attempt: retry.map(|r| r.first_attempt),
            last_attempt: retry.map(|r| r.last_attempt),
        });
    }

    fn enter_memory(&mut self, delivery: &Delivery) {
        self.memory_count += 1;
        self.memory_bytes += u64::from(delivery.size_bytes);
    }

    fn leave_memory(&mut self, size_bytes: u32) {
        self.memory_count -= 1;
        self.memory_bytes -= u64::from(size_bytes);
    }

    fn is_strict_and_held(&self) -> bool {
        // The feed remembers what is owed; a strict lane would only keep the same again.
        self.mode == Mode::Strict
            && self
                .keys
                .get(&STRICT_KEY)
                .is_some_and(|key| !key.takes_in_memory(usize::MAX))
    }
}

fn dead_letter_reason(delivery: &Delivery) -> Option<Arc<str>> {
    let of_target = || delivery.target().dead_letter.as_deref().map(Arc::from);
    delivery.dead_letter.clone().or_else(of_target)
}

fn is_expired(delivery: &Delivery, wall: Wall) -> bool {
    let expires_at = delivery
        .target()
        .expires_at
        .or(delivery.message.envelope.expires_at);
    expires_at.is_some_and(|end| end <= wall)
}
