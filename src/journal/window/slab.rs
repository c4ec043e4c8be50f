//! The window's entries: 48 bytes each, in chunks, linked into queues.
//!
//! Chunks are made one at a time, when the last one is full, and kept when their slots are free
//! again: what was needed once will be needed again, and `max_entries` bounds it.

use super::{Entry, Running};
use crate::message::Position;

const CHUNK_SLOTS: usize = 1024;
/// The end of a list of slots.
const NONE: u32 = u32::MAX;
/// Slots are numbered by u32 below `NONE`.
pub const MAX_SLOTS: usize = NONE as usize;

const START_BITS: u32 = 56;
const MAX_START: u64 = (1 << START_BITS) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    /// In the queue of normal ids.
    Normal,
    /// An exactly-once id that isn't settled yet: in no queue.
    Held,
    /// An exactly-once id that is settled: in the queue of those.
    Released,
    /// In a queue still, but its key is gone or has a younger entry.
    Ghost,
}

/// Packed by hand: `u128` would align it to 16 bytes, and state and start share a word.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    key: [u64; 2],
    content: u64,
    position: u64,
    state_and_start: u64,
    next: u32,
    shape: u32,
}

const _: () = assert!(size_of::<Slot>() == 48);

impl Slot {
    const FREE: Self = Self {
        key: [0; 2],
        content: 0,
        position: 0,
        state_and_start: 0,
        next: NONE,
        shape: 0,
    };

    pub fn new(entry: &Entry, state: State, start: Running) -> Self {
        let mut slot = Self {
            key: [entry.key as u64, (entry.key >> 64) as u64],
            content: entry.content,
            position: entry.position.0,
            shape: entry.shape,
            ..Self::FREE
        };
        slot.set(state, start);
        slot
    }

    pub fn set(&mut self, state: State, start: Running) {
        self.state_and_start = (state as u64) << START_BITS | start.0.min(MAX_START);
    }

    pub fn entry(&self) -> Entry {
        Entry {
            key: self.key(),
            content: self.content,
            position: self.position(),
            shape: self.shape,
            exactly_once: matches!(self.state(), State::Held | State::Released),
        }
    }

    pub fn key(&self) -> u128 {
        u128::from(self.key[1]) << 64 | u128::from(self.key[0])
    }

    pub fn position(&self) -> Position {
        Position(self.position)
    }

    pub fn start(&self) -> Running {
        Running(self.state_and_start & MAX_START)
    }

    /// The one behind it in its queue.
    pub fn next(&self) -> Option<u32> {
        (self.next != NONE).then_some(self.next)
    }

    pub fn state(&self) -> State {
        match self.state_and_start >> START_BITS {
            1 => State::Normal,
            2 => State::Held,
            3 => State::Released,
            4 => State::Ghost,
            _ => State::Free,
        }
    }
}

pub struct Slab {
    chunks: Vec<Box<[Slot]>>,
    /// The first of the slots that were used before, linked by `next`.
    free: u32,
    /// Slots from here on were never used.
    unused: u32,
    len: usize,
}

impl Slab {
    pub const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: NONE,
            unused: 0,
            len: 0,
        }
    }

    /// Slots in use.
    pub const fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, at: u32) -> &Slot {
        &self.chunks[at as usize / CHUNK_SLOTS][at as usize % CHUNK_SLOTS]
    }

    pub fn get_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.chunks[at as usize / CHUNK_SLOTS][at as usize % CHUNK_SLOTS]
    }

    /// The caller keeps `len` at or below `MAX_SLOTS`.
    pub fn insert(&mut self, slot: Slot) -> u32 {
        let at = if self.free == NONE {
            let at = self.unused;
            if at as usize == self.chunks.len() * CHUNK_SLOTS {
                self.chunks.push(vec![Slot::FREE; CHUNK_SLOTS].into());
            }
            self.unused += 1;
            at
        } else {
            let at = self.free;
            self.free = self.get(at).next;
            at
        };
        *self.get_mut(at) = slot;
        self.len += 1;
        at
    }

    pub fn remove(&mut self, at: u32) {
        *self.get_mut(at) = Slot {
            next: self.free,
            ..Slot::FREE
        };
        self.free = at;
        self.len -= 1;
    }

    pub fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK_SLOTS * size_of::<Slot>()
            + self.chunks.capacity() * size_of::<Box<[Slot]>>()
    }
}

/// Slots in the order of their start.
#[derive(Clone, Copy)]
pub struct Queue {
    first: u32,
    last: u32,
}

impl Queue {
    pub const fn new() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    pub fn front<'a>(&self, slab: &'a Slab) -> Option<&'a Slot> {
        (self.first != NONE).then(|| slab.get(self.first))
    }

    /// Appends a slot, which starts no earlier than the last one: with a clock that went back it
    /// is remembered longer, never shorter.
    pub fn push(&mut self, slab: &mut Slab, at: u32, state: State, start: Running) {
        let mut start = start;
        if self.last == NONE {
            self.first = at;
        } else {
            let last = slab.get_mut(self.last);
            last.next = at;
            start = start.max(last.start());
        }
        let slot = slab.get_mut(at);
        slot.set(state, start);
        slot.next = NONE;
        self.last = at;
    }

    pub fn pop(&mut self, slab: &Slab) -> Option<u32> {
        if self.first == NONE {
            return None;
        }
        let at = self.first;
        self.first = slab.get(at).next;
        if self.first == NONE {
            self.last = NONE;
        }
        Some(at)
    }

    pub fn iter<'a>(&self, slab: &'a Slab) -> impl Iterator<Item = &'a Slot> + use<'a> {
        std::iter::successors(self.front(slab), |slot| {
            (slot.next != NONE).then(|| slab.get(slot.next))
        })
    }
}
