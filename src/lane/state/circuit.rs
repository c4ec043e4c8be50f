//! What keeps a lane from trying what is ready: an open circuit, its rate, a batch that grows.

use super::{Batch, BatchId, Lane, Mode, Phase, Turn};
use crate::clock::Mono;
use crate::egress::KeyOrder;
use crate::lane::breaker::{Call, Leave};
use crate::lane::retry::Retry;
use crate::message::DeliveryId;
use std::time::Duration;

impl Lane {
    /// How many deliveries may be tried in one batch now.
    pub(super) fn most_now(&mut self, leave: Leave, now: Mono) -> usize {
        if self.ready.is_empty() {
            self.gathering = None;
        }
        if self.ready.is_empty() || leave == Leave::None {
            return 0;
        }
        let count = match leave {
            Leave::All => self.settings.limits.batch_count,
            _ => 1,
        };
        let count = match self.settings.rate {
            Some(rate) => count.min(self.bucket.tokens(rate, now)),
            None => count,
        };
        if leave == Leave::All && self.gathers() {
            let since = *self.gathering.get_or_insert(now);
            if now < since.plus(self.settings.batch_time) {
                return 0;
            }
        }
        count
    }

    pub(super) fn has_begun(&mut self, batch: &Batch, leave: Leave) {
        if self.settings.rate.is_some() {
            self.bucket.take(batch.deliveries.len());
        }
        if leave != Leave::All {
            self.breaker.probes(batch.id, batch.deliveries[0].at);
        }
        self.gathering = None;
        self.is_awaited &= !self.ready.is_empty();
    }

    /// A call has ended.
    pub(super) fn heard(&mut self, batch: BatchId, call: Call, now: Mono) {
        let policies = (&self.settings.breaker, &self.settings.retry);
        if self
            .breaker
            .heard(batch, call, now, policies, &mut self.rng)
        {
            self.give_up_overdue(now);
        }
    }

    /// When what is ready may be tried, if something keeps it back that time ends.
    pub(super) fn ready_wake(&self, now: Mono) -> Option<Duration> {
        if self.ready.is_empty() || self.flights.len() >= self.max_flights() {
            return None;
        }
        if self.breaker.is_open() && self.breaker.next_probe().is_none() {
            return None;
        }
        let probe = self.breaker.next_probe().map(|due| due.since(now));
        let rate = self.rate_wait(now);
        let grown = (!self.breaker.is_open() && self.gathers()).then(|| {
            let since = self.gathering.unwrap_or(now);
            since.plus(self.settings.batch_time).since(now)
        });
        [probe, rate, grown].into_iter().flatten().max()
    }

    /// How long until the rate lets one through, if it doesn't now.
    pub(super) fn rate_wait(&self, now: Mono) -> Option<Duration> {
        let wait = self.bucket.wait(self.settings.rate?, now);
        (!wait.is_zero()).then_some(wait)
    }

    /// Whether the next batch is to grow: it isn't full, and nobody waits for it.
    fn gathers(&self) -> bool {
        if self.settings.batch_time.is_zero() || self.is_awaited {
            return false;
        }
        !self.has_full_batch()
    }

    /// Whether the next batch can't grow any more.
    #[must_use]
    pub fn has_full_batch(&self) -> bool {
        let in_flight = || self.flights.values().map(|f| f.deliveries.len()).sum();
        let one_of_a_key =
            self.mode == Mode::Keyed && self.settings.key_order == KeyOrder::OneAtATime;
        let waiting = match one_of_a_key {
            true => self.ready.len(),
            false => (self.memory_count - self.beyond.len() - self.graves.len())
                .saturating_sub(in_flight()),
        };
        let limits = &self.settings.limits;
        waiting >= limits.batch_count || self.memory_bytes >= limits.batch_bytes
    }

    /// While the circuit is open nothing but probes is tried, and the time to give up passes for
    /// those that failed: they aren't tried once more for it.
    fn give_up_overdue(&mut self, now: Mono) {
        let policy = self.settings.retry;
        let strict = self.mode == Mode::Strict;
        let is_over = |retry: &Retry| {
            let first = retry.first_failure;
            let over = first.is_some_and(|first| first.plus(policy.give_up_after) <= now);
            over && !(strict && retry.in_doubt)
        };
        let mut over: Vec<(DeliveryId, Option<u64>)> = Vec::new();
        for (at, turn) in self.ready.iter() {
            let (retry, key) = match turn {
                Turn::Free(_) => (self.retrying.get(&at), None),
                Turn::Key(hash) => {
                    let key = self.keys.get(hash);
                    (key.and_then(|key| key.retry.as_deref()), Some(*hash))
                }
            };
            if retry.is_some_and(|retry| retry.at == at && is_over(retry)) {
                over.push((at, key));
            }
        }
        for (at, key) in over {
            self.bury_ready(at, key, None);
        }
    }

    /// Sends one that is ready to the dead letters; for its last failure if nothing else is said.
    pub(super) fn bury_ready(&mut self, at: DeliveryId, key: Option<u64>, why: Option<&str>) {
        let Some((delivery, _)) = self.take_turn(at) else {
            return;
        };
        let retry = match key {
            Some(hash) => {
                let key = self.key_mut(hash);
                key.phase = Phase::Dying;
                key.retry.take().map(|retry| *retry)
            }
            None => self.retrying.remove(&at),
        };
        let last = || retry.as_ref().map(|retry| retry.reason.clone());
        let reason = why.map(Into::into).or_else(last);
        let reason = reason.unwrap_or_else(|| "given up".into());
        self.bury(delivery, reason, retry.as_ref(), key);
    }
}
