//! The journal's batch on its way to the disk, and what follows once it is there.

use super::{Answer, Fresh, Journal, Pending, Step};
use crate::journal::idtable::IdEntry;
use crate::journal::settlements::SettlementGroup;
use crate::journal::{DOOR_LANE, SettleGroup, Submission};
use crate::log::{AppendError, Record, Stamp};
use crate::message::{Delivery, DeliveryId, LaneId, Ordinal, Position, Refusal};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Journal {
    /// Makes the batch durable, then applies it. On failure nobody is told "stored".
    pub(super) fn write(&mut self, mut pending: Pending, step: &mut Step) {
        let stamp = self.stamp();
        let count = u64::from(pending.batch.count());
        let first = pending.batch.first_position();
        let before = self.clock.micros();
        match self.log.append(&mut pending.batch, stamp, pending.urgency) {
            Ok(appended) => {
                let durable = self.clock.micros();
                self.shared.sync_times.record(durable - before);
                if !pending.fresh.is_empty() {
                    self.shared.accept_times().note(first, stamp.wall);
                }
                let counters = &self.shared.counters;
                counters.batches.fetch_add(1, Ordering::Relaxed);
                counters.records.fetch_add(count, Ordering::Relaxed);
                if let Some(sealed) = appended.sealed {
                    self.ids.seal(&sealed);
                    step.sealed = true;
                }
                step.answer(std::mem::take(&mut pending.answers));
                self.apply(pending, stamp, durable, &mut step.spent);
            }
            Err(AppendError::NoRoom) => {
                // Room was checked before; the batch is lost to a bug, which must not pass for success.
                self.poison(
                    "the log had no room for a batch that it had promised to take",
                    pending.answers,
                    step,
                );
            }
            Err(AppendError::Failed(reason)) => self.poison(&reason, pending.answers, step),
        }
    }

    pub(super) fn poison(&mut self, reason: &str, answers: Vec<Answer>, step: &mut Step) {
        self.shared.fail(reason.to_owned());
        // What was refused stays refused; of the rest nothing is known.
        let unknown = || Err(Refusal::JournalFailed(reason.to_owned()));
        step.answers
            .extend(answers.into_iter().map(|answer| answer.and(unknown())));
    }

    /// The batch is durable: ledgers, lanes, window.
    pub(super) fn apply(
        &mut self,
        mut pending: Pending,
        stamp: Stamp,
        durable_micros: u64,
        spent: &mut Vec<Record>,
    ) {
        // Windows start with durability, not with the decision.
        self.now = self.running();
        self.window.durable(self.now);
        for (group, runs) in &pending.settled {
            self.settle(group, runs);
        }
        for gone in &pending.redriven {
            self.letters_gone(gone);
        }
        let counters = &self.shared.counters;
        counters
            .accepted
            .fetch_add(pending.fresh.len() as u64, Ordering::Relaxed);
        spent.reserve(pending.taken.len());
        let mut fed: Vec<Vec<Delivery>> = Vec::new();
        fed.resize_with(self.lanes.len(), Vec::new);
        let mut taken = pending.taken.drain(..);
        let mut next = 0;
        let mut stored = self.shared.store_times.tally();
        for fresh in pending.fresh.drain(..) {
            let submission = taken.nth((fresh.number - next) as usize);
            let submission = submission.expect("it was decided");
            next = fresh.number + 1;
            stored.record(durable_micros.saturating_sub(submission.handed_micros));
            spent.push(self.feed(&fresh, submission, &pending.diverted, stamp, &mut fed));
        }
        drop(taken);
        self.shared.store_times.add(&stored);
        for (lane, deliveries) in self.lanes.iter().zip(fed) {
            if deliveries.is_empty() {
                continue;
            }
            if let Some(memory) = &lane.memory {
                memory.take_in(deliveries, self.shared.is_disk_short());
                continue;
            }
            let owed = deliveries.iter().map(|d| (d.at, d.size_bytes.into()));
            let result = lane.ledger().owe_all(owed);
            result.expect("a position is given once, and an ordinal stands once in a plan");
            lane.inbox.push(deliveries);
        }
        self.reuse(pending);
    }

    /// Notes the id and makes the deliveries of one envelope; what is left is its record.
    fn feed(
        &mut self,
        fresh: &Fresh,
        submission: Submission,
        diverted: &[(DeliveryId, Arc<str>)],
        stamp: Stamp,
        fed: &mut [Vec<Delivery>],
    ) -> Record {
        let size_bytes = submission.size_bytes();
        if let Some(print) = &submission.fingerprint {
            self.ids.add(IdEntry {
                key: print.key,
                content: print.content,
                position: fresh.position,
                running_ms: self.now.0,
                shape: fresh.shape,
                exactly_once: submission.is_exactly_once(),
            });
        }
        let Submission {
            message,
            record,
            sole,
            fingerprint,
            ..
        } = submission;
        let delivery = |ordinal, message, dead_letter| Delivery {
            at: DeliveryId {
                position: fresh.position,
                ordinal,
            },
            known_as: None,
            accepted: stamp.wall,
            epoch: stamp.epoch,
            identity: fingerprint.map(|print| print.key),
            size_bytes,
            dead_letter,
            message,
        };
        let drops = self.faults.drop_when_full();
        let is_full = |lane: LaneId| self.left[lane.0 as usize] < size_bytes.into();
        if let Some(only) = sole
            && diverted.is_empty()
            && !drops
        {
            fed[only.lane.0 as usize].push(delivery(Ordinal(0), message, None));
            return record;
        }
        for (ordinal, target) in message.plan.targets.iter().enumerate() {
            let ordinal = Ordinal(ordinal as u16);
            let at = DeliveryId {
                position: fresh.position,
                ordinal,
            };
            let found = diverted.binary_search_by_key(&at, |(at, _)| *at).ok();
            let why = found.map(|found| &diverted[found].1);
            let lane = why.map_or(target.lane, |_| DOOR_LANE);
            if drops && is_full(lane) {
                continue;
            }
            let why = why.map(Arc::clone);
            let dead_letter = why.or_else(|| target.dead_letter.as_deref().map(Arc::from));
            fed[lane.0 as usize].push(delivery(ordinal, Arc::clone(&message), dead_letter));
        }
        record
    }

    /// Applies durable settlements; an exactly-once plan that is settled starts its window.
    pub(super) fn settle(&mut self, group: &SettleGroup, runs: &SettlementGroup) {
        let lane = Arc::clone(&self.lanes[group.lane.0 as usize]);
        if let Err(e) = lane.ledger().apply(runs) {
            // The log says what the ledger denies: one of them is wrong, and no count can be trusted.
            tracing::error!(lane = %lane.name, "a settlement that isn't owed: {e}");
            self.shared.fail(format!("lane {}: {e}", lane.name));
        }
        for settlement in &group.settlements {
            self.shared
                .waiters
                .settled(settlement.at, settlement.outcome.state());
            if self.window.held() > 0 {
                self.release_if_settled(settlement.at.position);
            }
        }
    }

    /// A held id is released once nothing of its plan is owed. Targets that aren't exactly-once
    /// count too: the window starts later for it, never earlier.
    pub(super) fn release_if_settled(&mut self, position: Position) {
        if !self
            .lanes
            .iter()
            .any(|l| l.ledger().owed().contains_position(position))
        {
            self.window.settled(position, self.now);
        }
    }
}
