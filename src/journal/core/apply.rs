//! The journal's batch on its way to the disk, and what follows once it is there.

use super::{Answer, Fresh, Journal, Pending, Step};
use crate::journal::idtable::IdEntry;
use crate::journal::settlements::SettlementGroup;
use crate::journal::{DOOR_LANE, SettleGroup};
use crate::log::{AppendError, Stamp};
use crate::message::{Delivery, DeliveryId, Ordinal, Position, Refusal};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Journal {
    /// Makes the batch durable, then applies it. On failure nobody is told "stored".
    pub(super) fn write(&mut self, mut pending: Pending, answers: Vec<Answer>, step: &mut Step) {
        let stamp = self.stamp();
        let count = u64::from(pending.batch.count());
        let before = self.clock.micros();
        match self.log.append(&mut pending.batch, stamp, pending.urgency) {
            Ok(appended) => {
                let counters = &self.shared.counters;
                counters
                    .sync_micros
                    .fetch_add(self.clock.micros() - before, Ordering::Relaxed);
                counters.batches.fetch_add(1, Ordering::Relaxed);
                counters.records.fetch_add(count, Ordering::Relaxed);
                if let Some(sealed) = appended.sealed {
                    self.ids.seal(&sealed);
                    step.sealed = true;
                }
                self.apply(pending, stamp);
                step.answers.extend(answers);
            }
            Err(AppendError::NoRoom) => {
                // Room was checked before; the batch is lost to a bug, which must not pass for success.
                self.poison(
                    "the log had no room for a batch that it had promised to take",
                    answers,
                    step,
                );
            }
            Err(AppendError::Failed(reason)) => self.poison(&reason, answers, step),
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
    pub(super) fn apply(&mut self, pending: Pending, stamp: Stamp) {
        let Pending {
            batch,
            fresh,
            settled,
            ..
        } = pending;
        self.buffer = batch.into_buffer();
        for group in settled {
            self.settle(&group);
        }
        let mut fed: Vec<Vec<Delivery>> = Vec::new();
        fed.resize_with(self.lanes.len(), Vec::new);
        for fresh in fresh {
            self.owe(fresh, stamp, &mut fed);
        }
        for (lane, deliveries) in fed.into_iter().enumerate() {
            if !deliveries.is_empty() {
                self.lanes[lane].inbox.push(deliveries);
            }
        }
    }

    pub(super) fn owe(&mut self, fresh: Fresh, stamp: Stamp, fed: &mut [Vec<Delivery>]) {
        let Fresh {
            position,
            submission,
            shape,
            diverted,
        } = fresh;
        let size_bytes = submission.size_bytes();
        if let Some(print) = &submission.fingerprint {
            self.ids.add(IdEntry {
                key: print.key,
                content: print.content,
                position,
                running_ms: stamp.running_ms,
                shape,
                exactly_once: submission.message.plan.is_exactly_once(),
            });
        }
        for (ordinal, target) in submission.message.plan.targets.iter().enumerate() {
            let at = DeliveryId {
                position,
                ordinal: Ordinal(ordinal as u16),
            };
            let diverted = diverted
                .iter()
                .find(|(o, _)| *o == at.ordinal)
                .map(|(_, why)| Arc::clone(why));
            let lane = if diverted.is_some() {
                DOOR_LANE
            } else {
                target.lane
            };
            let dropped = self.faults.drop_when_full() && self.is_full(lane, u64::from(size_bytes));
            if dropped {
                continue;
            }
            let owed = self.lanes[lane.0 as usize]
                .ledger()
                .owe(at, size_bytes.into());
            owed.expect("a position is given once, and an ordinal stands once in a plan");
            let dead_letter = diverted.or_else(|| target.dead_letter.as_deref().map(Arc::from));
            fed[lane.0 as usize].push(Delivery {
                at,
                accepted: stamp.wall,
                epoch: stamp.epoch,
                identity: submission.fingerprint.map(|print| print.key),
                size_bytes,
                dead_letter,
                message: Arc::clone(&submission.message),
            });
        }
        self.shared
            .counters
            .accepted
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Applies durable settlements; an exactly-once plan that is settled starts its window.
    pub(super) fn settle(&mut self, group: &SettleGroup) {
        let lane = Arc::clone(&self.lanes[group.lane.0 as usize]);
        let runs = SettlementGroup::of(group.lane, group.marks, &group.settlements);
        if let Err(e) = lane.ledger().apply(&runs) {
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
