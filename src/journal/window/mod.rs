//! The dedup window: which ids were accepted, and for how long they are remembered (promise 3).
//!
//! What lives here: the memory of ids, pure, on a time that is passed in. What must not: disk,
//! clocks, what an answer to a duplicate looks like.
//!
//! An id starts when it is accepted and ends a window later. An id with an exactly-once target is
//! *held* until that is settled and starts only then. At `max_entries` a new id of either kind
//! takes the place of the oldest normal one; exactly-once ids stay until their end, and where
//! nothing else is left the new id is refused.
//!
//! Memory is 48 bytes an id, and for each index that it is in 6 to 15 more: all are in the one
//! by key, held ones also in the one by position. Nothing is made ahead of need but the last
//! chunk (48 KiB); what is free again is kept.

use crate::faults::Faults;
use crate::message::Position;
use index::Index;
use slab::{Queue, Slab, Slot, State};
use std::time::Duration;

mod index;
mod slab;
#[cfg(test)]
mod tests;

/// Ended entries that each `admit` drops from each queue. More than the one that it adds, so that
/// entries whose end came never take room from a new one.
const DROPPED_BY_ADMIT: usize = 2;

const NORMAL: usize = 0;
const RELEASED: usize = 1;

/// Under the planted fault `forget_id` one of so many ids is forgotten.
const FORGOTTEN_OF: u64 = 7;

/// Milliseconds that the gateway has run, over all its runs: an outage doesn't count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Running(pub u64);

impl Running {
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    pub window: Duration,
    pub max_entries: usize,
}

/// An accepted id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: u128,
    pub content: u64,
    pub position: Position,
    /// Which targets it has (`journal::catalog::Shapes`).
    pub shape: u32,
    pub exactly_once: bool,
}

/// What is remembered of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub position: Position,
    pub content: u64,
    pub shape: u32,
    pub exactly_once: bool,
    /// An exactly-once target of it isn't settled yet.
    pub is_held: bool,
}

/// An exactly-once id for the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactlyOnce {
    pub entry: Entry,
    /// `None`: held.
    pub started: Option<Running>,
}

/// Exactly-once ids fill the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entries} ids of exactly-once messages fill the dedup window")]
pub struct WindowFull {
    pub entries: usize,
}

pub struct Window {
    limits: WindowLimits,
    faults: Faults,
    slab: Slab,
    by_key: Index,
    /// The held ones.
    by_position: Index,
    /// `NORMAL` and `RELEASED`, each in the order of starts: every slot but the held ones is in one.
    queues: [Queue; 2],
    /// The first normal id that `durable` has yet to hear of; those behind it in the queue follow.
    undurable: Option<u32>,
    evictions: u64,
    youngest_evicted: Option<Running>,
    admitted: u64,
}

impl Window {
    #[must_use]
    pub fn new(limits: WindowLimits, faults: Faults) -> Self {
        let max_entries = limits.max_entries.min(slab::MAX_SLOTS);
        Self {
            limits: WindowLimits {
                max_entries,
                ..limits
            },
            faults,
            slab: Slab::new(),
            by_key: Index::new(),
            by_position: Index::new(),
            queues: [Queue::new(); 2],
            undurable: None,
            evictions: 0,
            youngest_evicted: None,
            admitted: 0,
        }
    }

    /// What is remembered under the key. An entry whose end came is not seen, removed or not.
    #[must_use]
    pub fn get(&self, key: u128, now: Running) -> Option<Seen> {
        let slot = self.slab.get(self.find(key)?);
        if self.is_gone(slot, now) {
            return None;
        }
        let entry = slot.entry();
        Some(Seen {
            position: entry.position,
            content: entry.content,
            shape: entry.shape,
            exactly_once: entry.exactly_once,
            is_held: slot.state() == State::Held,
        })
    }

    /// Whether `admit` would take an id of either kind.
    #[must_use]
    pub fn has_room(&self, now: Running) -> bool {
        let front = self.queues[RELEASED].front(&self.slab);
        self.slab.len() < self.limits.max_entries
            || (self.limits.max_entries > 0
                && (!self.queues[NORMAL].is_empty() || front.is_some_and(|s| self.is_gone(s, now))))
    }

    /// Looks at what `get` and `admit` of these keys will look at, the entries that would make room
    /// included, and changes nothing. Each look is a miss of the processor's cache, and in a loop
    /// of their own many are on their way at once.
    pub fn warm(&self, keys: impl Iterator<Item = u128>) {
        let mut oldest = self.queues[NORMAL].iter(&self.slab);
        let is_full = self.slab.len() >= self.limits.max_entries;
        for key in keys {
            self.by_key.warm(key_hash(key));
            if is_full && let Some(slot) = oldest.next() {
                self.by_key.warm(key_hash(slot.key()));
            }
        }
    }

    /// Remembers an id that `get` doesn't see. Nothing is changed if it is refused. A normal one
    /// starts when `durable` is called next: until then its start is a guess that is too early.
    pub fn admit(&mut self, entry: Entry, now: Running) -> Result<(), WindowFull> {
        if !self.has_room(now) {
            return Err(WindowFull {
                entries: self.len(),
            });
        }
        self.make_room(now);
        self.admitted += 1;
        if self.faults.forget_id() && self.admitted.is_multiple_of(FORGOTTEN_OF) {
            return Ok(());
        }
        self.replace(entry.key);
        let at = self.put(entry, (!entry.exactly_once).then_some(now));
        if !entry.exactly_once {
            self.undurable.get_or_insert(at);
        }
        Ok(())
    }

    /// All that was admitted is durable since now: here the normal ids' window starts.
    pub fn durable(&mut self, now: Running) {
        let mut next = self.undurable.take();
        while let Some(at) = next {
            let slot = self.slab.get_mut(at);
            slot.set(slot.state(), now.max(slot.start()));
            next = slot.next();
        }
    }

    /// The exactly-once targets at this position are settled: its window starts.
    /// False if no held id has the position.
    pub fn settled(&mut self, position: Position, now: Running) -> bool {
        let slab = &self.slab;
        let is_it = |at| slab.get(at).position() == position;
        let Some(at) = self.by_position.find(position_hash(position), is_it) else {
            return false;
        };
        self.by_position.remove(position_hash(position), at);
        self.queues[RELEASED].push(&mut self.slab, at, State::Released, now);
        true
    }

    /// Forgets up to `budget` entries whose end came, and says how many.
    pub fn expire(&mut self, now: Running, budget: usize) -> usize {
        let dropped = self.drop_gone(NORMAL, now, budget);
        dropped + self.drop_gone(RELEASED, now, budget - dropped)
    }

    /// How long an id is surely remembered: every normal id that started less than this ago is.
    ///
    /// It is the configured window, or the age of the youngest id that was ever evicted, if that is
    /// less: ids are evicted in the order of their start, so all younger ones are still there.
    #[must_use]
    pub fn true_window(&self, now: Running) -> Duration {
        let since_evicted = self.youngest_evicted.map(|start| now.since(start));
        let window = self.limits.window;
        since_evicted.map_or(window, |since| since.min(window))
    }

    #[must_use]
    pub const fn limits(&self) -> WindowLimits {
        self.limits
    }

    /// No normal id of a lower position is remembered: they come and go in the order of positions.
    #[must_use]
    pub fn oldest_position(&self) -> Option<Position> {
        self.queues[NORMAL]
            .front(&self.slab)
            .map(slab::Slot::position)
    }

    /// Entries, with those whose end came and that weren't removed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly-once ids that aren't settled.
    #[must_use]
    pub fn held(&self) -> usize {
        self.by_position.len()
    }

    /// Normal ids that were forgotten before their end, since the start of this run.
    #[must_use]
    pub const fn evictions(&self) -> u64 {
        self.evictions
    }

    /// What the entries and their indexes take of the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.slab.memory_bytes() + self.by_key.memory_bytes() + self.by_position.memory_bytes()
    }

    /// The exactly-once ids, for the checkpoint: released ones in the order of their start, then
    /// held ones in no order. Normal ones are found again in the log.
    pub fn exactly_once(&self) -> impl Iterator<Item = ExactlyOnce> + '_ {
        let released = self.queues[RELEASED].iter(&self.slab);
        let held = self.by_position.iter().map(|at| self.slab.get(at));
        let kept = released
            .filter(|s| s.state() == State::Released)
            .chain(held);
        kept.map(|slot| ExactlyOnce {
            entry: slot.entry(),
            started: (slot.state() == State::Released).then(|| slot.start()),
        })
    }

    /// Takes back an id at recovery, with its own start, or held (`None`, exactly-once ids only).
    ///
    /// Call it in the order of starts; one that comes late is remembered longer for it. Of two
    /// entries of a key the one with the higher position counts, of two of a position the first.
    /// No exactly-once id is refused, even if that exceeds `max_entries`.
    pub fn restore(&mut self, entry: Entry, started: Option<Running>, now: Running) {
        let started = if entry.exactly_once {
            started
        } else {
            started.or(Some(now))
        };
        let there = self.find(entry.key).map(|at| self.slab.get(at));
        if there.is_some_and(|slot| slot.position() >= entry.position) {
            return;
        }
        // It was accepted, so the elder's end had come, wherever its start is put now.
        self.replace(entry.key);
        if started.is_some_and(|start| self.has_ended(start, now)) {
            return;
        }
        if self.has_room(now) {
            self.make_room(now);
        } else if !entry.exactly_once {
            self.count_eviction(started.unwrap_or(now));
            return;
        }
        self.put(entry, started);
    }

    fn find(&self, key: u128) -> Option<u32> {
        let is_it = |at| self.slab.get(at).key() == key;
        self.by_key.find(key_hash(key), is_it)
    }

    fn has_ended(&self, start: Running, now: Running) -> bool {
        now.since(start) >= self.limits.window
    }

    /// Whether nobody would miss the slot.
    fn is_gone(&self, slot: &Slot, now: Running) -> bool {
        match slot.state() {
            State::Normal | State::Released => self.has_ended(slot.start(), now),
            State::Held => false,
            State::Free | State::Ghost => true,
        }
    }

    /// Drops what ended, and if that isn't enough the oldest normal id.
    fn make_room(&mut self, now: Running) {
        self.drop_gone(NORMAL, now, DROPPED_BY_ADMIT);
        self.drop_gone(RELEASED, now, DROPPED_BY_ADMIT);
        if self.slab.len() < self.limits.max_entries {
            return;
        }
        if let Some(at) = self.pop(NORMAL) {
            let slot = *self.slab.get(at);
            if !self.is_gone(&slot, now) {
                self.count_eviction(slot.start());
            }
            self.remove(at);
        }
    }

    fn count_eviction(&mut self, start: Running) {
        self.evictions += 1;
        self.youngest_evicted = self.youngest_evicted.max(Some(start));
    }

    fn pop(&mut self, which: usize) -> Option<u32> {
        let at = self.queues[which].pop(&self.slab)?;
        if self.undurable == Some(at) {
            self.undurable = self.slab.get(at).next();
        }
        Some(at)
    }

    fn drop_gone(&mut self, which: usize, now: Running, budget: usize) -> usize {
        for dropped in 0..budget {
            match self.queues[which].front(&self.slab) {
                Some(slot) if self.is_gone(slot, now) => {}
                _ => return dropped,
            }
            if let Some(at) = self.pop(which) {
                self.remove(at);
            }
        }
        budget
    }

    /// Takes the entry of a key out of the index. One in a queue stays there as a ghost until it
    /// comes to the front, because the queues are linked one way only.
    fn replace(&mut self, key: u128) {
        let Some(at) = self.find(key) else {
            return;
        };
        self.by_key.remove(key_hash(key), at);
        let slot = self.slab.get_mut(at);
        if slot.state() == State::Held {
            let hash = position_hash(slot.position());
            self.by_position.remove(hash, at);
            self.slab.remove(at);
        } else {
            let start = slot.start();
            slot.set(State::Ghost, start);
        }
    }

    fn put(&mut self, entry: Entry, started: Option<Running>) -> u32 {
        let held = Slot::new(&entry, State::Held, Running::default());
        let at = self.slab.insert(held);
        match started {
            None => self.by_position.insert(position_hash(entry.position), at),
            Some(start) if entry.exactly_once => {
                self.queues[RELEASED].push(&mut self.slab, at, State::Released, start);
            }
            Some(start) => self.queues[NORMAL].push(&mut self.slab, at, State::Normal, start),
        }
        self.by_key.insert(key_hash(entry.key), at);
        at
    }

    /// Frees a slot that was popped from its queue.
    fn remove(&mut self, at: u32) {
        let slot = self.slab.get(at);
        if slot.state() != State::Ghost {
            self.by_key.remove(key_hash(slot.key()), at);
        }
        self.slab.remove(at);
    }
}

/// A key is a keyed hash already.
const fn key_hash(key: u128) -> u64 {
    key as u64
}

/// Positions are dense: multiplying spreads them over the high bits, which pick the shard.
const fn position_hash(position: Position) -> u64 {
    position.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
