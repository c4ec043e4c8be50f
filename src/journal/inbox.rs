//! Fresh deliveries on their way from the journal's thread to one lane, in bounded memory.
//!
//! Invariant: what is queued is a run of what the lane owes, in order. When it would grow over its bound
//! the inbox *lags*: nothing more is queued behind it. Once it is empty it queues again what comes, and
//! what came in between is a *gap* before it, which the lane reads from the segments: so a lane that fell
//! behind reads what it missed, not all that comes while it reads.

use crate::message::{Delivery, DeliveryId, Position};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec;
use tokio::sync::Notify;

/// What doesn't fit is read again from the segments, which costs more than all else of a delivery: a burst
/// should fit.
const MAX_INBOX_BYTES: usize = 8 * 1024 * 1024;
const MAX_INBOX_DELIVERIES: usize = 16_384;

pub struct Inbox {
    queue: Mutex<Queue>,
    more: Notify,
}

struct Queue {
    /// As they were pushed: a batch is handed over, not copied.
    runs: VecDeque<vec::IntoIter<Delivery>>,
    count: usize,
    bytes: usize,
    /// Nothing is queued of what came after the last run.
    lags: bool,
    /// What is owed before this one and isn't taken yet is in the segments only; the runs begin with it.
    gap_until: Option<DeliveryId>,
    /// Changes of mode that the lane wasn't told yet: the first position, and whether it is strict.
    turns: Vec<(Position, bool)>,
    /// Something was pushed behind the last of them.
    is_behind_turn: bool,
}

impl Queue {
    /// How many of the deliveries there is room for, and their bytes.
    fn fit(&self, deliveries: &[Delivery]) -> (usize, usize) {
        let mut bytes = 0;
        for (number, delivery) in deliveries.iter().enumerate() {
            let more = bytes + delivery.size_bytes as usize;
            if self.bytes + more > MAX_INBOX_BYTES || self.count + number >= MAX_INBOX_DELIVERIES {
                return (number, bytes);
            }
            bytes = more;
        }
        (deliveries.len(), bytes)
    }

    fn pop(&mut self) -> Option<Delivery> {
        let run = self.runs.front_mut()?;
        let delivery = run.next();
        if run.as_slice().is_empty() {
            self.runs.pop_front();
        }
        if let Some(delivery) = &delivery {
            self.count -= 1;
            self.bytes -= delivery.size_bytes as usize;
        }
        delivery
    }
}

impl Inbox {
    /// Lags at first: what was owed before the start is in the segments.
    #[must_use]
    pub fn new() -> Self {
        let queue = Queue {
            runs: VecDeque::new(),
            count: 0,
            bytes: 0,
            lags: true,
            gap_until: None,
            turns: Vec::new(),
            is_behind_turn: false,
        };
        Self {
            queue: Mutex::new(queue),
            more: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called after the ledger owes the deliveries. They are in journal order.
    pub fn push(&self, mut deliveries: Vec<Delivery>) {
        let mut queue = self.queue();
        queue.is_behind_turn |= !deliveries.is_empty();
        if queue.lags
            && queue.count == 0
            && let Some(first) = deliveries.first()
        {
            // All that the lane owes before it is in the ledger.
            queue.gap_until = Some(first.at);
            queue.lags = false;
        }
        if !queue.lags {
            let (fit, bytes) = queue.fit(&deliveries);
            queue.lags = fit < deliveries.len();
            deliveries.truncate(fit);
            queue.bytes += bytes;
            queue.count += fit;
            if fit > 0 {
                queue.runs.push_back(deliveries.into_iter());
            }
        }
        drop(queue);
        self.more.notify_one();
    }

    /// The lane's mode changes at `barrier`. Called before anything behind it is pushed or owed, so
    /// that whoever took such a delivery finds the change in `take_turns`.
    pub fn turn(&self, barrier: Position, is_strict: bool) {
        let mut queue = self.queue();
        // The last is of no effect if nothing is behind it: a lane that nobody sends to keeps one.
        if !std::mem::take(&mut queue.is_behind_turn) {
            queue.turns.pop();
        }
        queue.turns.push((barrier, is_strict));
    }

    #[must_use]
    pub fn take_turns(&self) -> Vec<(Position, bool)> {
        std::mem::take(&mut self.queue().turns)
    }

    /// As new: another lane begins with all that is owed. Nobody takes from it meanwhile.
    pub fn restart(&self) {
        let mut queue = self.queue();
        (queue.count, queue.bytes, queue.lags) = (0, 0, true);
        queue.gap_until = None;
        queue.runs.clear();
        queue.turns.clear();
        queue.is_behind_turn = false;
    }

    /// Takes queued deliveries that aren't before `cursor`. The flag says that what is next is in the
    /// segments.
    pub fn take(
        &self,
        cursor: DeliveryId,
        max_count: usize,
        max_bytes: usize,
    ) -> (Vec<Delivery>, bool) {
        let mut queue = self.queue();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        if queue.gap_until.is_some_and(|until| cursor < until) {
            return (taken, true);
        }
        queue.gap_until = None;
        while taken.len() < max_count && bytes < max_bytes {
            let Some(delivery) = queue.pop() else {
                break;
            };
            // Read from the segments already, while it lagged.
            if delivery.at >= cursor {
                bytes += delivery.size_bytes as usize;
                taken.push(delivery);
            }
        }
        let lags = queue.lags && queue.count == 0;
        (taken, lags)
    }

    /// Where what must be read from the segments ends, if that is known yet.
    #[must_use]
    pub fn gap_until(&self) -> Option<DeliveryId> {
        self.queue().gap_until
    }

    /// Ends the lag if `level` says so under the inbox's lock, so that no push falls between; false while
    /// there is more to read from the segments.
    pub fn catch_up(&self, level: impl FnOnce() -> bool) -> bool {
        let mut queue = self.queue();
        if queue.gap_until.is_none() && level() {
            queue.lags = false;
        }
        !queue.lags && queue.gap_until.is_none()
    }

    /// Returns when something was pushed since the last call returned.
    pub async fn more(&self) {
        self.more.notified().await;
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_lane_keeps_one_turn_however_often_it_turns() {
        let inbox = Inbox::new();
        for at in 0..100 {
            inbox.turn(Position(at), at % 2 == 1);
        }
        assert_eq!(inbox.take_turns(), [(Position(99), true)]);
        // An empty push is no delivery.
        inbox.turn(Position(100), false);
        inbox.push(Vec::new());
        inbox.turn(Position(101), true);
        assert_eq!(inbox.take_turns(), [(Position(101), true)]);
    }
}
