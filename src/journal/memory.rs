//! What at_most_once has (promise 14): one destination's deliveries in bounded memory, never on the
//! disk. It feeds a lane of its own, and takes what that gives up.
//!
//! A delivery is kept here until it is settled, so that a retry finds it again. What is taken is
//! counted, and planned = delivered + discarded by reason + pending at every look.

use crate::lane::{Cause, DeadLetter, DeadLetterSink, Feed, FeedError, Fresh, Room, SinkError};
use crate::lane::{SinkMarks, Written};
use crate::message::{Delivery, DeliveryId, DiscardReason, Outcome, Position, Settlement};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What one costs beside its message: however small they are, their number is bounded, too.
const DELIVERY_BYTES: u64 = 512;

/// Why a delivery is given up. There are no dead letters of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// There was no room for it; or not enough of the disk, where its destination writes to that.
    Full,
    /// Nobody knows whether the destination has it.
    Unknown,
    Rejected,
    /// Its retries are over.
    Exhausted,
    Expired,
    Dropped,
    /// The gateway stopped first, or its destination went.
    Stopped,
}

impl Discard {
    pub const ALL: [Self; 7] = [
        Self::Full,
        Self::Unknown,
        Self::Rejected,
        Self::Exhausted,
        Self::Expired,
        Self::Dropped,
        Self::Stopped,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
            Self::Stopped => "stopped",
        }
    }
}

impl From<Cause> for Discard {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Rejected => Self::Rejected,
            Cause::Exhausted => Self::Exhausted,
            Cause::Unknown => Self::Unknown,
            Cause::Operator => Self::Dropped,
        }
    }
}

/// Since the start of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryCounts {
    pub planned: u64,
    pub delivered: u64,
    /// As `Discard::ALL`.
    discarded: [u64; Discard::ALL.len()],
    pub pending: u64,
    pub pending_bytes: u64,
}

impl MemoryCounts {
    #[must_use]
    pub const fn discarded_as(&self, why: Discard) -> u64 {
        self.discarded[why as usize]
    }
}

pub struct Memory {
    held: Mutex<Held>,
    more: Notify,
    max_bytes: AtomicU64,
    /// What its destination takes lies on the journal's disk.
    on_disk: AtomicBool,
}

#[derive(Default)]
struct Held {
    /// How many were taken in.
    turns: u64,
    kept: HashMap<DeliveryId, Delivery>,
    /// Of these, what the lane wasn't given yet.
    fresh: VecDeque<DeliveryId>,
    counts: MemoryCounts,
    /// There is a lane that takes it.
    is_open: bool,
}

impl Held {
    fn settle(&mut self, at: DeliveryId) -> bool {
        let Some(delivery) = self.kept.remove(&at) else {
            return false;
        };
        self.counts.pending -= 1;
        self.counts.pending_bytes -= cost(&delivery);
        true
    }

    fn discard(&mut self, at: DeliveryId, why: Discard) {
        if self.settle(at) {
            self.counts.discarded[why as usize] += 1;
        }
    }

    /// Why there is no place for it.
    fn refuses(&self, cost: u64, max_bytes: u64) -> Option<Discard> {
        // One of any size.
        let fits = self.kept.is_empty() || self.counts.pending_bytes + cost <= max_bytes;
        match (self.is_open, fits) {
            (false, _) => Some(Discard::Stopped),
            (true, false) => Some(Discard::Full),
            (true, true) => None,
        }
    }

    fn take_in(&mut self, mut delivery: Delivery, max_bytes: u64) -> bool {
        self.counts.planned += 1;
        let cost = cost(&delivery);
        if let Some(why) = self.refuses(cost, max_bytes) {
            self.counts.discarded[why as usize] += 1;
            return false;
        }
        delivery.known_as = Some(delivery.position());
        delivery.at.position = Position(Position::IN_MEMORY.0 + self.turns);
        self.turns += 1;
        self.counts.pending += 1;
        self.counts.pending_bytes += cost;
        self.fresh.push_back(delivery.at);
        self.kept.insert(delivery.at, delivery);
        true
    }
}

fn cost(delivery: &Delivery) -> u64 {
    DELIVERY_BYTES + u64::from(delivery.size_bytes)
}

impl Memory {
    /// Closed, until it is told how much it may keep: its lane isn't there before.
    #[must_use]
    pub fn new() -> Self {
        Self {
            held: Mutex::default(),
            more: Notify::new(),
            max_bytes: AtomicU64::new(0),
            on_disk: AtomicBool::new(false),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What doesn't fit from now on is discarded.
    pub fn open(&self, max_bytes: u64, on_disk: bool) {
        self.limit(max_bytes);
        self.on_disk.store(on_disk, Ordering::Relaxed);
        self.held().is_open = true;
    }

    pub fn limit(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Takes deliveries in for which there is room. Each gets the next turn, in this order.
    ///
    /// While the journal's disk is short what would lie there finds none: the rest of it belongs to what
    /// was stored.
    pub fn take_in(&self, deliveries: impl IntoIterator<Item = Delivery>, disk_is_short: bool) {
        let max_bytes = self.max_bytes();
        let mut held = self.held();
        if disk_is_short && self.on_disk.load(Ordering::Relaxed) {
            let count = deliveries.into_iter().count() as u64;
            held.counts.planned += count;
            held.counts.discarded[Discard::Full as usize] += count;
            return;
        }
        let mut taken = false;
        for delivery in deliveries {
            taken |= held.take_in(delivery, max_bytes);
        }
        drop(held);
        if taken {
            self.more.notify_one();
        }
    }

    /// Its lane has ended: nothing is taken in any more, and what is left is gone. Says how many
    /// that are.
    pub fn close(&self) -> u64 {
        let mut held = self.held();
        held.is_open = false;
        held.fresh.clear();
        let left: Vec<DeliveryId> = held.kept.keys().copied().collect();
        for at in &left {
            held.discard(*at, Discard::Stopped);
        }
        left.len() as u64
    }

    /// The turn that the next one gets.
    #[must_use]
    pub fn end(&self) -> Position {
        Position(Position::IN_MEMORY.0 + self.held().turns)
    }

    #[must_use]
    pub fn counts(&self) -> MemoryCounts {
        self.held().counts.clone()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Feed for Memory {
    fn take_fresh(&self, room: Room) -> Fresh {
        let mut held = self.held();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < room.count
            && bytes < room.bytes
            && let Some(at) = held.fresh.pop_front()
        {
            if let Some(delivery) = held.kept.get(&at) {
                bytes += u64::from(delivery.size_bytes);
                taken.push(delivery.clone());
            }
        }
        Fresh::Deliveries(taken)
    }

    /// It never lags.
    fn take_stored(&self, _: Room) -> Result<Vec<Delivery>, FeedError> {
        Ok(Vec::new())
    }

    fn read(&self, ids: &[DeliveryId], max_bytes: u64) -> Result<Vec<Delivery>, FeedError> {
        let held = self.held();
        let (mut read, mut bytes) = (Vec::new(), 0);
        for at in ids {
            if bytes >= max_bytes && !read.is_empty() {
                break;
            }
            let delivery = held.kept.get(at).ok_or(FeedError::Gone(*at))?;
            bytes += u64::from(delivery.size_bytes);
            read.push(delivery.clone());
        }
        Ok(read)
    }

    async fn settle(&self, settlements: Vec<Settlement>, _: SinkMarks) -> Result<(), FeedError> {
        let mut held = self.held();
        for settlement in settlements {
            match settlement.outcome {
                Outcome::Delivered => {
                    held.counts.delivered += u64::from(held.settle(settlement.at));
                }
                // Counted when it was given up.
                Outcome::DeadLettered => {}
                Outcome::Discarded(DiscardReason::Expired) => {
                    held.discard(settlement.at, Discard::Expired);
                }
                Outcome::Discarded(DiscardReason::Dropped | DiscardReason::Lost) => {
                    held.discard(settlement.at, Discard::Dropped);
                }
            }
        }
        Ok(())
    }

    async fn more(&self) {
        self.more.notified().await;
    }
}

impl DeadLetterSink for Memory {
    /// Nothing is written: what is given up is gone.
    fn write(&self, letters: &[DeadLetter]) -> Result<Written, SinkError> {
        let mut held = self.held();
        for letter in letters {
            held.discard(letter.delivery.at, letter.cause.into());
        }
        Ok(Written {
            count: letters.len(),
            next: Position(0),
        })
    }
}

#[cfg(test)]
mod tests;
