//! The steps of a process: publishes, the journal's, the keeper's, the lanes', and look-ups.

use super::World;
use crate::simulation::model::{Check, Run, ensure};
use crate::simulation::publisher::{Publisher, Sent};
use crate::simulation::shape::{HANGING, LANES};
use causeway::journal::fingerprint::Hasher;
use causeway::journal::{self, SettleGroup, Submission, lookup};
use causeway::message::{Position, Settlement};
use std::sync::Arc;

impl World {
    pub(super) fn step(&mut self) -> Check {
        let hits = self.disk.faults_hit();
        let mut wrong = Vec::new();
        match self.rng.u8(..100) {
            0..18 => self.publish(),
            18..38 => self.journal_step(&mut wrong)?,
            38..45 => self.keeper_step(),
            45..47 => self.checkpoint(),
            47..84 => {
                let lane = self.rng.usize(..LANES);
                self.lane_step(lane, &mut wrong)?;
            }
            84..93 => self.pass_time(),
            93..95 => self.look_up()?,
            95 => {
                let shared = Arc::clone(&self.process().shared);
                self.model.check_ledgers(&shared)?;
            }
            96 => self.destinations[HANGING.0 as usize].hangs |= self.shape.hangs,
            _ => self.script_trouble(),
        }
        if let Some(what) = wrong.into_iter().next() {
            self.note(|| format!("went wrong: {what}"));
            // A log remembers what failed when its next segment was made ready.
            let hits = if what.starts_with("journal") { hits } else { 0 };
            let excused = self.disk.faults_hit() != hits || self.disk.is_off();
            ensure!(excused, "went wrong without a cause: {what}");
        }
        Ok(())
    }

    fn publish(&mut self) {
        for _ in 0..self.rng.u8(1..=self.shape.burst) {
            self.submit(|publisher, number, hasher| publisher.make(number, hasher));
        }
    }

    /// Queues what the publisher makes under its number.
    pub(super) fn submit(
        &mut self,
        make: impl FnOnce(&mut Publisher, u64, &Hasher) -> (Submission, Sent),
    ) {
        let wall = self.clock.wall();
        let hasher = self.process().shared.hasher;
        let mut publisher = Publisher {
            shape: &self.shape,
            rng: &mut self.rng,
            wall,
        };
        let (submission, sent) = make(&mut publisher, self.numbers, &hasher);
        self.numbers += 1;
        self.note(|| {
            let lanes: Vec<u32> = sent.message.plan.targets.iter().map(|t| t.lane.0).collect();
            format!("publish {} {:?} to {lanes:?}", sent.number, sent.ident)
        });
        let process = self.process();
        process.publishes.push_back(submission);
        process.sent.push_back(sent);
    }

    pub(super) fn journal_step(&mut self, wrong: &mut Vec<String>) -> Check {
        let process = self.process.as_mut().expect("a process runs");
        let had_failed = process.shared.failure().is_some();
        let groups: Vec<SettleGroup> = process.settlements.iter().cloned().collect();
        let before = self.clock.mono();
        self.disk
            .set_sync_takes(Some((self.clock.clone(), self.shape.sync_takes)));
        let step = process
            .journal
            .step(&mut process.publishes, &mut process.settlements);
        self.disk.set_sync_takes(None);
        self.model.decided_at = self.model.alive_ms;
        self.model.alive_ms += self.clock.mono().since(before).as_millis() as u64;
        let taken: Vec<_> = process
            .sent
            .drain(..step.answers.len())
            .zip(step.answers)
            .collect();
        let gone = groups.len() - process.settlements.len();
        let settled: Vec<Settlement> = groups[..gone]
            .iter()
            .flat_map(|g| g.settlements.iter().cloned())
            .collect();
        self.stats.rolls += u64::from(step.sealed);
        self.stats.accepted += taken
            .iter()
            .filter(|(_, a)| a.as_ref().is_ok_and(|a| !a.is_duplicate()))
            .count() as u64;
        let shared = Arc::clone(&process.shared);
        let failure = shared.failure();
        self.note(|| {
            let answers: Vec<String> = taken
                .iter()
                .map(|(s, a)| format!("{}: {a:?}", s.number))
                .collect();
            let settled: Vec<String> = settled.iter().map(|s| s.at.to_string()).collect();
            format!(
                "journal: {answers:?}, settled {settled:?}, stalled {}",
                step.stalled
            )
        });
        match failure {
            None => {
                let run = Run {
                    uuid: shared.reader.uuid(),
                    epoch: shared.epoch,
                    may_be_full: shared.space() != journal::Space::Enough,
                };
                self.model.stepped(&taken, &settled, run, &mut self.stats)
            }
            Some(_) if had_failed => {
                let acked = taken.iter().find(|(_, answer)| answer.is_ok());
                ensure!(
                    acked.is_none(),
                    "{acked:?} was answered by a journal that failed"
                );
                Ok(())
            }
            Some(reason) => {
                self.stats.journal_failures += u64::from(!self.disk.is_off());
                wrong.push(format!("journal: {reason}"));
                self.model.failed(taken, &settled)
            }
        }
    }

    pub(super) fn keeper_step(&mut self) {
        self.process().keeper.step();
        self.note(|| "keeper".into());
    }

    pub(super) fn checkpoint(&mut self) {
        let process = self.process();
        let image = process.journal.checkpoint_image();
        process.keeper.checkpoint(&image);
        let cursor = image.cursor;
        self.note(|| format!("checkpoint at {cursor:?}"));
    }

    fn lane_step(&mut self, lane: usize, wrong: &mut Vec<String>) -> Check {
        for _ in 0..self.rng.u8(1..8) {
            let (lane, mut around) = self.around(lane, wrong);
            lane.step(&mut around)?;
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        let most = [20, 500, 3_000][self.rng.usize(..3)];
        let ms = self.rng.u64(0..most);
        self.advance(ms);
    }

    fn look_up(&mut self) -> Check {
        let next = self.model.next_position();
        if next == 0 {
            return Ok(());
        }
        let position = self.rng.u64(..next);
        self.check_lookup(position)
    }

    pub(super) fn check_lookup(&mut self, position: u64) -> Check {
        let shared = Arc::clone(&self.process().shared);
        match lookup::targets_at(&self.disk, &shared, Position(position)) {
            Ok(found) => {
                self.stats.lookups += 1;
                let targets = found.map(|f| f.targets);
                self.model.check_lookup(&shared, targets.as_ref(), position)
            }
            Err(e) => {
                let injected = e.to_string().contains("injected");
                ensure!(injected || self.disk.is_off(), "look-up of {position}: {e}");
                Ok(())
            }
        }
    }
}
