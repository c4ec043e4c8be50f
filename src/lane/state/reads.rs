//! Deliveries that are positions only and are wanted again.

use super::skips::SKIPPED;
use super::{Cause, Key, Lane, Phase, Turn, Want, Why, is_expired};
use crate::clock::{Mono, Wall};
use crate::egress::KeyOrder;
use crate::lane::settings::Limits;
use crate::message::{Delivery, DeliveryId, DiscardReason};

/// What a lane wants to be read again: the first of `ids` (ascending), up to `max_bytes`, at least
/// one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub ids: Vec<DeliveryId>,
    pub max_bytes: u64,
}

impl Lane {
    /// What is wanted again now. Each is answered by `reload`, the rest of them by `unread`;
    /// until then nothing more is wanted.
    pub fn wanted(&mut self, now: Mono, wall: Wall) -> Wanted {
        self.fire_timers(now);
        if !self.reading.is_empty() {
            return Wanted::default();
        }
        let limits = &self.settings.limits;
        let count = limits.memory_count.saturating_sub(self.memory_count);
        let count = count.min((limits.memory_count / Limits::REREAD_SHARE).max(1));
        let bytes = limits.memory_bytes.saturating_sub(self.memory_bytes);
        let max_bytes = bytes.min(limits.memory_bytes / Limits::REREAD_SHARE as u64);
        if count == 0 || max_bytes == 0 {
            return Wanted::default();
        }
        let mut ids = Vec::new();
        if self.control.dropping.is_some() {
            self.want_dropped(&mut ids, count);
        } else if !self.skips.is_empty() {
            self.want_skipped(&mut ids, count);
        } else if self.may_try() {
            self.want_due(&mut ids, count, wall);
        }
        ids.sort_unstable();
        self.reading_bytes = if ids.is_empty() { 0 } else { max_bytes };
        Wanted { ids, max_bytes }
    }

    /// A delivery that was wanted.
    pub fn reload(&mut self, delivery: Delivery, wall: Wall) {
        let Some(why) = self.read_ended(delivery.at) else {
            return;
        };
        self.enter_memory(&delivery);
        match why {
            Why::Drop => self.drop_one(delivery),
            Why::Skip => self.skip_read(delivery),
            Why::Due
                if self.retrying.contains_key(&delivery.at) && !is_expired(&delivery, wall) =>
            {
                if self.skips.take_mark(delivery.at) {
                    let retry = self.retrying.remove(&delivery.at);
                    let cause = Cause::Operator;
                    self.bury(delivery, cause, SKIPPED.into(), retry.as_ref(), None);
                } else {
                    self.ready.insert(delivery.at, Turn::Free(delivery));
                }
            }
            Why::Due => self.admit(delivery, wall),
            Why::Key(hash) => self.reload_of_key(hash, delivery, wall),
        }
        self.open_beyond(wall);
    }

    /// These were wanted and not read: they are wanted again later.
    pub fn unread(&mut self, ids: &[DeliveryId]) {
        for at in ids {
            match self.read_ended(*at) {
                Some(Why::Due) => self.wants.push_back(Want::Free(*at)),
                Some(Why::Drop) => self.drop_position(*at),
                // It is wanted until it is read.
                Some(Why::Skip) => {}
                Some(Why::Key(hash)) => {
                    if let Some(key) = self.keys.get_mut(&hash) {
                        key.reading -= 1;
                        self.refresh(hash);
                    }
                }
                None => {}
            }
        }
    }

    fn read_ended(&mut self, at: DeliveryId) -> Option<Why> {
        let why = self.reading.remove(&at);
        if self.reading.is_empty() {
            self.reading_bytes = 0;
        }
        why
    }

    fn reload_of_key(&mut self, hash: u64, delivery: Delivery, wall: Wall) {
        let Some(key) = self.keys.get_mut(&hash) else {
            return;
        };
        key.reading -= 1;
        // An earlier one failed while this one was being read: its turn is after that one's.
        if key
            .retry
            .as_ref()
            .is_some_and(|retry| retry.at < delivery.at)
        {
            self.leave_memory(delivery.size_bytes);
            return self.refresh(hash);
        }
        let before = key.held.cost_bytes();
        key.held.remove(delivery.at);
        self.parked_bytes -= before - key.held.cost_bytes();
        if is_expired(&delivery, wall) {
            key.retry = key.retry.take().filter(|retry| retry.at != delivery.at);
            self.discard(&delivery, DiscardReason::Expired);
        } else if self.skips.take_mark(delivery.at) {
            key.phase = Phase::Dying;
            let retry = key.retry.take_if(|retry| retry.at == delivery.at);
            let (cause, why) = (Cause::Operator, SKIPPED.into());
            return self.bury(delivery, cause, why, retry.as_deref(), Some(hash));
        } else {
            let place = key.queue.partition_point(|queued| queued.at < delivery.at);
            key.queue.insert(place, delivery);
        }
        self.refresh(hash);
    }

    /// In journal order, and only when nothing is in flight any more.
    fn want_dropped(&mut self, ids: &mut Vec<DeliveryId>, count: usize) {
        if !self.flights.is_empty() {
            return;
        }
        for at in self.dropping.page(count) {
            let before = self.dropping.cost_bytes();
            self.dropping.remove(at);
            self.parked_bytes -= before - self.dropping.cost_bytes();
            self.reading.insert(at, Why::Drop);
            ids.push(at);
        }
    }

    fn want_due(&mut self, ids: &mut Vec<DeliveryId>, count: usize, wall: Wall) {
        while ids.len() < count
            && let Some(want) = self.wants.pop_front()
        {
            match want {
                Want::Free(at) => {
                    self.reading.insert(at, Why::Due);
                    ids.push(at);
                }
                Want::Key(hash) => {
                    let most = match self.settings.key_order {
                        KeyOrder::OneAtATime => Limits::QUEUE_PER_KEY.min(count - ids.len()),
                        _ => count - ids.len(),
                    };
                    let Some(key) = self.keys.get_mut(&hash) else {
                        continue;
                    };
                    key.wanted = false;
                    // One that was in flight failed since.
                    if key.phase != Phase::Open || (key.retry.is_some() && key.in_flight > 0) {
                        continue;
                    }
                    let page = page_of(key, most);
                    // What it was wanted for was skipped since.
                    if page.is_empty() {
                        self.refresh(hash);
                        continue;
                    }
                    key.reading = page.len();
                    self.reading
                        .extend(page.iter().map(|at| (*at, Why::Key(hash))));
                    ids.extend(page);
                }
            }
        }
        // Any of them may fail, and those that wait for a retry are bounded. What is behind a
        // barrier fails only after these are settled.
        let may_fail = self.retrying.len() + self.memory_count - self.beyond.len() + ids.len();
        let room = self.settings.limits.retrying.saturating_sub(may_fail);
        let (due, freed) = self.delayed.take_due(wall, (count - ids.len()).min(room));
        self.parked_bytes -= freed;
        self.reading.extend(due.iter().map(|at| (*at, Why::Due)));
        ids.extend(due);
    }
}

/// The first alone while it fails, else a page.
fn page_of(key: &Key, max: usize) -> Vec<DeliveryId> {
    let one = key.retry.is_some();
    key.held.page(if one { 1 } else { max })
}
