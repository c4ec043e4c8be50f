//! Forming batches, and what verdicts do.

use super::skips::SKIPPED;
use super::{
    Batch, BatchId, Flight, Lane, LaneError, MAX_REASON_BYTES, Phase, Timer, Turn, is_expired,
};
use crate::clock::{Mono, Wall};
use crate::egress::{KeyOrder, Verdict};
use crate::lane::breaker::{Call, Leave};
use crate::lane::retry::Retry;
use crate::lane::settings::{Mode, OnReject};
use crate::message::{Delivery, DeliveryId, DiscardReason, Outcome, RouteId};
use std::sync::Arc;

/// When an attempt was made and judged.
#[derive(Clone, Copy)]
struct Times {
    started: Wall,
    now: Mono,
    wall: Wall,
}

/// What a failure means for its delivery.
enum After {
    Retry(Mono),
    Bury,
}

impl Lane {
    /// The next group to be tried, if any may be now.
    pub fn next_batch(&mut self, now: Mono, wall: Wall) -> Option<Batch> {
        self.looked_at = now;
        self.fire_timers(now);
        if !self.may_try() || self.flights.len() >= self.max_flights() {
            return None;
        }
        let leave = self.breaker.leave(now);
        let most = self.most_now(leave, now);
        let mut batch: Vec<Delivery> = Vec::new();
        let mut bytes = 0;
        while batch.len() < most {
            let Some((next, size)) = self.next_turn(leave) else {
                break;
            };
            if !batch.is_empty() && bytes + size > self.settings.limits.batch_bytes {
                break;
            }
            let Some((delivery, key)) = self.take_turn(next) else {
                break;
            };
            if is_expired(&delivery, wall) {
                self.discard(&delivery, DiscardReason::Expired);
                self.forget_retry(key, &delivery);
            } else {
                self.started(&delivery, key);
                batch.push(delivery);
                bytes += size;
            }
            if let Some(hash) = key {
                self.refresh(hash);
            }
        }
        self.open_beyond(wall);
        if batch.is_empty() {
            return None;
        }
        let batch = self.take_off(batch, wall);
        self.has_begun(&batch, leave);
        Some(batch)
    }

    /// The destination's verdicts on a batch, in the batch's order.
    pub fn outcome(&mut self, id: BatchId, verdicts: Vec<Verdict>, now: Mono, wall: Wall) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        let times = Times {
            started: flight.started,
            now,
            wall,
        };
        let call = call_of(&flight.deliveries, &verdicts);
        let mut verdicts = verdicts.into_iter();
        let mut touched = Vec::new();
        let mut delivered = self.times.delivery.tally();
        for delivery in flight.deliveries.iter() {
            let missing = || Verdict::unknown("the destination gave no verdict");
            let verdict = verdicts.next().unwrap_or_else(missing);
            if verdict == Verdict::Delivered {
                let took_ms = wall.0.saturating_sub(delivery.accepted.0);
                delivered.record(took_ms.saturating_mul(1000));
            }
            let key = self
                .order(delivery)
                .filter(|hash| self.keys.contains_key(hash));
            if let Some(hash) = key {
                self.key_mut(hash).in_flight -= 1;
                if touched.last() != Some(&hash) {
                    touched.push(hash);
                }
            }
            self.judge(delivery, verdict, key, times);
        }
        self.times.delivery.add(&delivered);
        for hash in touched {
            self.refresh(hash);
        }
        if let Some(call) = call {
            self.heard(id, call, now);
        }
        self.open_beyond(wall);
    }

    fn judge(&mut self, delivery: &Delivery, verdict: Verdict, key: Option<u64>, times: Times) {
        if self.faults.settle_before_delivery() {
            self.leave_memory(delivery.size_bytes);
        } else if verdict == Verdict::Delivered {
            self.skips.take_mark(delivery.at);
            self.forget_retry(key, delivery);
            self.leave_memory(delivery.size_bytes);
            self.settle(delivery.at, delivery.size_bytes, Outcome::Delivered);
        } else if self.control.dropping.is_some() {
            self.judge_while_dropping(delivery, verdict, times);
        } else if let Some(hash) = key.filter(|hash| self.follows_a_failure(*hash, delivery)) {
            self.judge_follower(hash, delivery, verdict, times);
        } else {
            self.failed(delivery, verdict, key, times);
        }
    }

    /// Whether another one of its key failed before this one's verdict came.
    fn follows_a_failure(&mut self, hash: u64, delivery: &Delivery) -> bool {
        let pipelined = self.is_pipelined();
        let key = self.key_mut(hash);
        match &key.retry {
            Some(retry) if pipelined => retry.at != delivery.at,
            _ => key.phase != Phase::Open,
        }
    }

    /// Where only one batch is in flight the destination didn't apply this one, as an earlier one
    /// of its batch failed. Where there are several it may even have been before the other.
    fn judge_follower(&mut self, hash: u64, delivery: &Delivery, verdict: Verdict, times: Times) {
        if self.is_pipelined() {
            let reason = match &verdict {
                // As a rule: not tried, because the other failed.
                Verdict::Retry { reason, .. } => shorten(reason),
                _ => self.note_error(delivery, &verdict, times.wall),
            };
            let mut retry = Retry::new(delivery.at, times.started, reason.clone());
            retry.attempts = 1;
            let skips = self.settings.on_reject(delivery.target().route) == OnReject::Skip;
            if matches!(verdict, Verdict::Reject { .. }) && skips {
                return self.bury(delivery.clone(), reason, Some(&retry), None);
            }
            let key = self.key_mut(hash);
            if key.retry.as_ref().is_none_or(|r| delivery.at < r.at) {
                retry.first_failure = Some(times.now);
                key.retry = Some(Box::new(retry));
            }
        }
        self.put_back(hash, delivery);
    }

    /// The first delivery of a key, or one without order, was not delivered.
    fn failed(&mut self, delivery: &Delivery, verdict: Verdict, key: Option<u64>, times: Times) {
        let reason = self.note_error(delivery, &verdict, times.wall);
        let before = match key {
            Some(hash) => self.key_mut(hash).retry.take().map(|retry| *retry),
            None => self.retrying.remove(&delivery.at),
        };
        let mut retry = before
            .filter(|retry| retry.at == delivery.at)
            .unwrap_or_else(|| Retry::new(delivery.at, times.started, reason.clone()));
        retry.attempts = retry.attempts.saturating_add(1);
        retry.last_attempt = times.started;
        retry.reason = reason;
        let route = delivery.target().route;
        let after = match self.skips.take_mark(delivery.at) {
            true => {
                retry.reason = Arc::from(SKIPPED);
                After::Bury
            }
            false => self.after(&mut retry, &verdict, route, times.now),
        };
        match after {
            After::Bury => {
                // Where many are in flight a reject holds nothing: later ones are on their way.
                let holds = !self.is_pipelined() || !matches!(verdict, Verdict::Reject { .. });
                let key = key.filter(|_| holds);
                if let Some(hash) = key {
                    self.withdraw(hash);
                    self.key_mut(hash).phase = Phase::Dying;
                }
                self.bury(delivery.clone(), retry.reason.clone(), Some(&retry), key);
            }
            After::Retry(due) => self.wait_until(due, delivery, retry, key),
        }
    }

    fn after(&mut self, retry: &mut Retry, verdict: &Verdict, route: RouteId, now: Mono) -> After {
        let policy = self.settings.retry;
        retry.blocked = false;
        match verdict {
            Verdict::Reject { .. } => match self.settings.on_reject(route) {
                OnReject::Skip => After::Bury,
                OnReject::Block => {
                    retry.blocked = true;
                    retry.first_failure = None;
                    After::Retry(now.plus(policy.max))
                }
            },
            // The circuit is open, or the lane has stopped: after that there is nothing to wait for.
            Verdict::Fatal { .. } | Verdict::Halt { .. } | Verdict::Pause { .. } => {
                After::Retry(now)
            }
            Verdict::Retry { .. } | Verdict::Unknown { .. } | Verdict::Delivered => {
                self.counts.retries += 1;
                retry.in_doubt |= matches!(verdict, Verdict::Unknown { .. });
                match retry.next_try(&policy, now, verdict.after(), &mut self.rng) {
                    Some(due) => After::Retry(due),
                    // Exactly once: what may have been applied is never called undelivered.
                    None if self.mode == Mode::Strict && retry.in_doubt => {
                        After::Retry(now.plus(policy.max))
                    }
                    None => After::Bury,
                }
            }
        }
    }

    fn wait_until(&mut self, due: Mono, delivery: &Delivery, retry: Retry, key: Option<u64>) {
        match key.filter(|_| !self.faults.reorder_on_retry()) {
            Some(hash) => {
                let key = self.key_mut(hash);
                key.phase = Phase::BackOff;
                key.retry = Some(Box::new(retry));
                self.timers.insert((due, Timer::Key(hash)));
                self.put_back(hash, delivery);
            }
            None => {
                self.leave_memory(delivery.size_bytes);
                self.retrying.insert(delivery.at, retry);
                self.timers.insert((due, Timer::Free(delivery.at)));
            }
        }
    }

    /// While everything is dropped a verdict only says whether this one was delivered first.
    fn judge_while_dropping(&mut self, delivery: &Delivery, verdict: Verdict, times: Times) {
        let reason = self.note_error(delivery, &verdict, times.wall);
        let mut retry = self
            .retrying
            .remove(&delivery.at)
            .unwrap_or_else(|| Retry::new(delivery.at, times.started, reason.clone()));
        retry.attempts = retry.attempts.saturating_add(1);
        retry.last_attempt = times.started;
        if matches!(verdict, Verdict::Reject { .. }) {
            self.bury(delivery.clone(), reason, Some(&retry), None);
        } else {
            self.retrying.insert(delivery.at, retry);
            self.leave_memory(delivery.size_bytes);
            self.drop_position(delivery.at);
        }
    }

    /// The key's delivery and all in its queue wait as positions; the least goes first again.
    fn put_back(&mut self, hash: u64, delivery: &Delivery) {
        self.withdraw(hash);
        self.leave_memory(delivery.size_bytes);
        self.hold(hash, delivery.at);
        for queued in std::mem::take(&mut self.key_mut(hash).queue) {
            self.leave_memory(queued.size_bytes);
            self.hold(hash, queued.at);
        }
    }

    /// Takes a key from among the ready.
    fn withdraw(&mut self, hash: u64) {
        if let Some(first) = self.key_mut(hash).queue.front().map(|first| first.at) {
            self.ready.remove(first);
        }
    }

    pub(super) fn key_mut(&mut self, hash: u64) -> &mut super::Key {
        self.keys
            .get_mut(&hash)
            .expect("a key with a delivery in memory has state")
    }

    pub(super) fn fire_timers(&mut self, now: Mono) {
        while let Some((_, timer)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.pop_first();
            match timer {
                Timer::Free(at) => self.wants.push_back(super::Want::Free(at)),
                Timer::Key(hash) => {
                    if let Some(key) = self.keys.get_mut(&hash) {
                        key.phase = Phase::Open;
                        self.refresh(hash);
                    }
                }
            }
        }
    }

    pub(super) fn max_flights(&self) -> usize {
        match (self.mode, self.settings.key_order) {
            (Mode::Keyed, KeyOrder::OneAtATime | KeyOrder::Pipelined) => {
                self.settings.limits.flights
            }
            _ => 1,
        }
    }

    /// Whose turn it is, and its size.
    fn next_turn(&self, leave: Leave) -> Option<(DeliveryId, u64)> {
        let (at, turn) = match leave {
            Leave::All => self.ready.first(),
            Leave::Probe(last) => last
                .and_then(|last| self.ready.first_behind(last))
                .or_else(|| self.ready.first()),
            Leave::Other(not) => self.ready.iter().find(|(at, _)| *at != not),
            Leave::None => None,
        }?;
        let delivery = match turn {
            Turn::Free(delivery) => delivery,
            Turn::Key(hash) => self.keys.get(hash)?.queue.front()?,
        };
        Some((at, u64::from(delivery.size_bytes)))
    }

    pub(super) fn take_turn(&mut self, at: DeliveryId) -> Option<(Delivery, Option<u64>)> {
        match self.ready.remove(at)? {
            Turn::Free(delivery) => Some((delivery, None)),
            Turn::Key(hash) => Some((self.key_mut(hash).queue.pop_front()?, Some(hash))),
        }
    }

    fn started(&mut self, delivery: &Delivery, key: Option<u64>) {
        self.counts.attempts += 1;
        if let Some(hash) = key {
            self.key_mut(hash).in_flight += 1;
        }
        if self.faults.settle_before_delivery() {
            self.settle(delivery.at, delivery.size_bytes, Outcome::Delivered);
        }
    }

    fn take_off(&mut self, batch: Vec<Delivery>, started: Wall) -> Batch {
        self.last_batch += 1;
        let id = BatchId(self.last_batch);
        let deliveries: Arc<[Delivery]> = batch.into();
        self.flights.insert(
            id,
            Flight {
                deliveries: deliveries.clone(),
                started,
            },
        );
        Batch {
            id,
            deliveries,
            strict: self.mode == Mode::Strict,
        }
    }

    fn forget_retry(&mut self, key: Option<u64>, delivery: &Delivery) {
        if let Some(hash) = key {
            let key = self.key_mut(hash);
            if key
                .retry
                .as_ref()
                .is_some_and(|retry| retry.at == delivery.at)
            {
                key.retry = None;
            }
        }
    }

    /// Counts and remembers what went wrong; the reason, shared with the last one if it is the same.
    fn note_error(&mut self, of: &Delivery, verdict: &Verdict, wall: Wall) -> Arc<str> {
        let reason: &Arc<str> = match verdict {
            Verdict::Delivered => return Arc::from(""),
            Verdict::Retry { reason, .. } => reason,
            Verdict::Reject { reason } => {
                self.counts.rejected += 1;
                reason
            }
            Verdict::Unknown { reason } => {
                self.counts.unknown += 1;
                reason
            }
            Verdict::Fatal { reason } => reason,
            Verdict::Halt { reason } => {
                self.control.stopped = Some(shorten(reason));
                reason
            }
            Verdict::Pause { reason } => {
                self.control.paused = true;
                reason
            }
        };
        let reason = match &self.last_error {
            Some(last) if last.reason == *reason => last.reason.clone(),
            _ => shorten(reason),
        };
        self.last_error = Some(LaneError {
            position: of.at.position,
            reason: reason.clone(),
            at: wall,
        });
        reason
    }
}

/// What a call says of the destination; a halt is no matter of the circuit's.
fn call_of(deliveries: &[Delivery], verdicts: &[Verdict]) -> Option<Call> {
    let mut failed = None;
    let mut fatal = None;
    for verdict in verdicts {
        match verdict {
            Verdict::Delivered | Verdict::Reject { .. } | Verdict::Pause { .. } => {
                return Some(Call::Answered);
            }
            Verdict::Halt { .. } => return None,
            Verdict::Fatal { reason } => fatal = fatal.or(Some(reason)),
            Verdict::Retry { reason, .. } | Verdict::Unknown { reason } => {
                failed = failed.or(Some(reason));
            }
        }
    }
    let alone = || (deliveries.len() == 1).then_some(deliveries[0].at);
    let fatal = fatal.map(|reason| Call::Fatal(shorten(reason)));
    fatal.or_else(|| failed.map(|reason| Call::Failed(alone(), shorten(reason))))
}

fn shorten(reason: &Arc<str>) -> Arc<str> {
    if reason.len() <= MAX_REASON_BYTES {
        return reason.clone();
    }
    let end = (0..=MAX_REASON_BYTES)
        .rev()
        .find(|end| reason.is_char_boundary(*end));
    Arc::from(&reason[..end.unwrap_or(0)])
}
