//! What operators and reloads do to a lane, and what it shows.

use super::{Control, Dropping, Lane, Mode, Phase, STRICT_KEY, Timer, Turn, Want};
use crate::clock::{Mono, Wall};
use crate::lane::breaker::{Bucket, OpenCircuit};
use crate::lane::retry::Retry;
use crate::lane::settings::LaneSettings;
use crate::lane::view::{LaneCounts, LaneState, LaneView};
use crate::message::{Delivery, DeliveryId, DiscardReason, Position};
use std::sync::Arc;

const DROPPED: &str = "dropped by an operator";

impl Lane {
    /// Nothing is tried until `resume`; what is in flight ends by its verdict.
    pub fn pause(&mut self) {
        self.control.paused = true;
    }

    /// Ends a pause, and a stop after a verdict that asks for it; an open circuit is closed.
    pub fn resume(&mut self) {
        self.control.paused = false;
        self.control.stopped = None;
        self.breaker.close();
    }

    /// The dead-letter log has no room: the lane tries nothing, and gives these out again, after
    /// `retry_dead_letters`.
    pub fn dead_letters_refused(&mut self, letters: Vec<super::DeadLetter>, reason: Arc<str>) {
        self.put_back_dead_letters(letters);
        self.control.dead_letters_full = Some(reason);
    }

    /// These were taken and not written: they are given out again, before others.
    pub fn put_back_dead_letters(&mut self, letters: Vec<super::DeadLetter>) {
        self.dying.splice(0..0, letters);
    }

    pub fn retry_dead_letters(&mut self) {
        self.control.dead_letters_full = None;
    }

    /// From `barrier` on the lane runs in another mode. Deliveries before it are settled first.
    pub fn change_mode(&mut self, mode: Mode, barrier: Position) {
        // Nothing was accepted between two changes at one position: the first is taken back.
        if self.changes.back().is_some_and(|(at, _)| *at == barrier) {
            self.changes.pop_back();
        }
        let last = self.changes.back().map_or(self.mode, |(_, mode)| *mode);
        if last != mode {
            self.changes.push_back((barrier, mode));
        }
    }

    /// The settings that change while running: the rest of `settings` is of no effect.
    pub fn tune(&mut self, settings: &LaneSettings) {
        self.settings.retry = settings.retry;
        self.settings.on_reject = settings.on_reject;
        self.settings.on_reject_of = settings.on_reject_of.clone();
        self.settings.limits = settings.limits;
        self.settings.breaker = settings.breaker;
        self.settings.batch_time = settings.batch_time;
        if let (None, Some(rate)) = (self.settings.rate, settings.rate) {
            self.bucket = Bucket::full(rate);
        }
        self.settings.rate = settings.rate;
    }

    /// Dead-letters (or discards) without a try all that the lane knows and what it will be fed
    /// before `until`, in journal order, after what is in flight has its verdict.
    pub fn drop_all(&mut self, discard: bool, until: Position) {
        self.control.dropping = Some(Dropping { discard, until });
        let mut known: Vec<DeliveryId> = Vec::new();
        for turn in std::mem::take(&mut self.ready).into_turns() {
            if let Turn::Free(delivery) = turn {
                self.leave_memory(delivery.size_bytes);
                known.push(delivery.at);
            }
        }
        for (_, timer) in std::mem::take(&mut self.timers) {
            if let Timer::Free(at) = timer {
                known.push(at);
            }
        }
        for want in std::mem::take(&mut self.wants) {
            if let Want::Free(at) = want {
                known.push(at);
            }
        }
        known.extend(std::mem::take(&mut self.reading).into_keys());
        self.reading_bytes = 0;
        known.extend(std::mem::take(&mut self.delayed).iter());
        known.extend(self.give_back_skips());
        for at in known {
            self.dropping.insert(at);
        }
        self.drop_keys();
        self.drop_beyond(until);
        self.parked_bytes = self.dropping.cost_bytes();
    }

    fn drop_keys(&mut self) {
        for key in std::mem::take(&mut self.keys).into_values() {
            if let Some(retry) = key.retry {
                self.retrying.insert(retry.at, *retry);
            }
            for delivery in key.queue {
                self.leave_memory(delivery.size_bytes);
                self.dropping.insert(delivery.at);
            }
            for at in key.held.iter() {
                self.dropping.insert(at);
            }
        }
    }

    fn drop_beyond(&mut self, until: Position) {
        let open = self
            .beyond
            .partition_point(|delivery| delivery.at.position < until);
        let dropped: Vec<Delivery> = self.beyond.drain(..open).collect();
        for delivery in dropped {
            self.leave_memory(delivery.size_bytes);
            self.dropping.insert(delivery.at);
        }
    }

    pub(super) fn drop_position(&mut self, at: DeliveryId) {
        let before = self.dropping.cost_bytes();
        self.dropping.insert(at);
        self.parked_bytes += self.dropping.cost_bytes() - before;
    }

    pub(super) fn drop_one(&mut self, delivery: Delivery) {
        let discard = self
            .control
            .dropping
            .is_some_and(|dropping| dropping.discard);
        let retry: Option<Retry> = self.retrying.remove(&delivery.at);
        if discard {
            return self.discard(&delivery, DiscardReason::Dropped);
        }
        let reason = super::dead_letter_reason(&delivery).unwrap_or_else(|| Arc::from(DROPPED));
        self.bury(delivery, reason, retry.as_ref(), None);
    }

    pub(super) fn may_try(&self) -> bool {
        let Control {
            paused,
            stopped,
            dead_letters_full,
            dropping,
        } = &self.control;
        !paused && stopped.is_none() && dead_letters_full.is_none() && dropping.is_none()
    }

    pub(super) fn is_busy_dropping(&self) -> bool {
        self.control.dropping.is_some()
            && !(self.dropping.is_empty() && self.reading.is_empty() && self.flights.is_empty())
    }

    /// Whether a position is behind a barrier.
    pub(super) fn must_wait(&self, position: Position) -> bool {
        let change = self
            .changes
            .front()
            .is_some_and(|(barrier, _)| *barrier <= position);
        change
            || self
                .control
                .dropping
                .is_some_and(|dropping| dropping.until <= position)
    }

    /// When all before a barrier is settled, lets what waits behind it in.
    pub(super) fn open_beyond(&mut self, wall: Wall) {
        while let Some(first) = self.beyond.front().map(|first| first.at.position)
            && self.pending == self.beyond.len() as u64
        {
            if self
                .control
                .dropping
                .is_some_and(|dropping| dropping.until <= first)
            {
                self.control.dropping = None;
            }
            while let Some((_, mode)) = self.changes.front().filter(|(at, _)| *at <= first) {
                self.mode = *mode;
                self.changes.pop_front();
            }
            let mut open = std::mem::take(&mut self.beyond);
            while let Some(delivery) = open.pop_front() {
                if self.must_wait(delivery.at.position) {
                    self.beyond.push_back(delivery);
                } else {
                    self.admit(delivery, wall);
                }
            }
        }
    }

    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending
    }

    #[must_use]
    pub fn view(&self) -> LaneView {
        let held = self
            .keys
            .values()
            .filter(|key| key.phase != Phase::Open || key.retry.is_some());
        let retries = self.keys.values().filter_map(|key| key.retry.as_deref());
        LaneView {
            mode: self.mode,
            changing_to: self.changes.back().map(|(_, mode)| *mode),
            state: self.state(),
            pending: self.pending,
            in_memory: self.memory_count,
            in_memory_bytes: self.memory_bytes,
            in_flight: self
                .flights
                .values()
                .map(|flight| flight.deliveries.len())
                .sum(),
            held_keys: held.count(),
            blocked: retries
                .chain(self.retrying.values())
                .filter(|retry| retry.blocked)
                .count(),
            retrying: self.retrying.len(),
            delayed: self.delayed.len(),
            next_try: self.next_try(),
            counts: LaneCounts {
                circuit_opened: self.breaker.opened(),
                ..self.counts
            },
            last_error: self.last_error.clone(),
            last_dead_letter: self.last_dead_letter.clone(),
        }
    }

    /// When something that waits is tried, as far as a clock decides it.
    fn next_try(&self) -> Option<Mono> {
        if !self.may_try() {
            return None;
        }
        if let Some(open) = self.breaker.view() {
            return Some(open.next_probe).filter(|_| !open.probing);
        }
        let rate = self
            .rate_wait(self.looked_at)
            .filter(|_| !self.ready.is_empty());
        let rate = rate.map(|wait| self.looked_at.plus(wait));
        rate.or_else(|| self.timers.first().map(|(due, _)| *due))
    }

    fn state(&self) -> LaneState {
        let Control {
            paused,
            stopped,
            dead_letters_full,
            dropping,
        } = &self.control;
        if dropping.is_some() {
            LaneState::Dropping
        } else if let Some(reason) = stopped.as_ref().or(dead_letters_full.as_ref()) {
            LaneState::Stopped {
                reason: reason.clone(),
            }
        } else if *paused {
            LaneState::Paused
        } else if let Some(open) = self.breaker.view() {
            let OpenCircuit { reason, .. } = open;
            match (open.fatal, open.probing) {
                (true, _) => LaneState::Stopped { reason },
                (false, true) => LaneState::HalfOpen { reason },
                (false, false) => LaneState::Open { reason },
            }
        } else if self.mode == Mode::Strict
            && self
                .keys
                .get(&STRICT_KEY)
                .is_some_and(|key| key.phase != Phase::Open)
        {
            LaneState::Holding
        } else if !self.ready.is_empty() && self.rate_wait(self.looked_at).is_some() {
            LaneState::RateLimited
        } else {
            LaneState::Running
        }
    }
}
