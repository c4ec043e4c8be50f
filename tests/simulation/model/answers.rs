//! Judges the journal's answers to publishers.

use super::{Check, Model, Run, ensure, targets_of};
use crate::simulation::publisher::Sent;
use crate::simulation::shape::{DOOR, LANE_NAMES};
use crate::simulation::stats::Stats;
use causeway::journal::{Accepted, Answer};
use causeway::message::{LaneId, Refusal, Settlement, generated_id};

impl Model {
    /// Judges the answers of one step that worked, and what it settled.
    pub fn stepped(
        &mut self,
        taken: &[(Sent, Answer)],
        settled: &[Settlement],
        run: Run,
        stats: &mut Stats,
    ) -> Check {
        let first = self.next_position();
        for (sent, answer) in taken {
            match answer {
                Ok(accepted) if accepted.is_duplicate() => {
                    self.duplicate(sent, accepted, first, stats)?;
                }
                Ok(accepted) => self.fresh(sent, accepted, run, stats)?,
                Err(refusal) => self.refused(sent, refusal, run, stats)?,
            }
        }
        for settlement in settled {
            self.settle(settlement.at, settlement.outcome)?;
        }
        Ok(())
    }

    /// The step's write failed: nobody may have been told "stored", and nothing is known.
    pub fn failed(&mut self, taken: Vec<(Sent, Answer)>, settled: &[Settlement]) -> Check {
        self.doubt_at = self.alive_ms;
        for (sent, answer) in taken {
            match answer {
                Ok(accepted) => {
                    return Err(format!(
                        "{accepted:?} was acknowledged though its batch was not written"
                    ));
                }
                Err(Refusal::JournalFailed(_)) => self.doubt.push(sent),
                Err(_) => {}
            }
        }
        let settled = settled.iter().map(|s| (s.at, s.outcome));
        self.settle_doubt.extend(settled);
        Ok(())
    }

    fn fresh(&mut self, sent: &Sent, accepted: &Accepted, run: Run, stats: &mut Stats) -> Check {
        let position = accepted.position.0;
        let next = self.next_position();
        ensure!(
            position == next,
            "position {position} was given, not {next}"
        );
        if let Some(known) = sent.ident.and_then(|ident| self.latest.get(&ident)) {
            ensure!(
                self.may_be_forgotten(*known, self.decided_at),
                "{:?} was accepted again at {position} though it is at {known} since {} of {} ms",
                sent.ident,
                self.decided_at - self.window_start(*known).unwrap_or(self.decided_at),
                self.window_ms
            );
        }
        let lanes = self.lanes_of(sent).map_err(|full| {
            format!("position {position} was accepted though lane {full:?} is full")
        })?;
        let id = match sent.message.envelope.id.as_str() {
            Some(id) => id.to_owned(),
            None => generated_id(run.uuid, run.epoch, accepted.position),
        };
        let planned = sent.message.plan.targets.iter().map(|t| t.lane);
        stats.diverted += planned.zip(&lanes).filter(|(a, b)| a != *b).count() as u64;
        self.store(sent.clone(), lanes, self.alive_ms);
        let stored = self.stored.last_mut().expect("just stored");
        stored.acked = true;
        stored.id = Some(id);
        Ok(())
    }

    fn duplicate(
        &mut self,
        sent: &Sent,
        accepted: &Accepted,
        first: u64,
        stats: &mut Stats,
    ) -> Check {
        let position = accepted.position.0;
        let latest = self.latest_of(sent);
        ensure!(
            latest == Some(position),
            "{:?} is called a duplicate of {position}, not of {latest:?}",
            sent.ident
        );
        let original = &mut self.stored[position as usize];
        ensure!(
            original.sent.variant == sent.variant || sent.derived,
            "another content at {position} is called a duplicate"
        );
        let targets = targets_of(&original.sent.message);
        ensure!(
            Some(targets) == accepted.original,
            "{accepted:?} has other targets than its original"
        );
        original.acked = true;
        stats.duplicates += 1;
        stats.duplicates_in_batch += u64::from(position >= first);
        stats.duplicates_after_crash += u64::from(original.stamp.is_none());
        stats.derived_duplicates += u64::from(original.sent.variant != sent.variant);
        Ok(())
    }

    fn refused(&self, sent: &Sent, refusal: &Refusal, run: Run, stats: &mut Stats) -> Check {
        match refusal {
            Refusal::Conflict { position, .. } => {
                let latest = self.latest_of(sent);
                ensure!(
                    latest == Some(position.0),
                    "{:?} conflicts with {position}, not {latest:?}",
                    sent.ident
                );
                let original = &self.stored[position.0 as usize].sent;
                ensure!(
                    original.variant != sent.variant && !sent.derived,
                    "the same content as at {position} is called a conflict"
                );
                stats.conflicts += 1;
            }
            Refusal::BacklogFull { lane, .. } => {
                let full = self.lanes_of(sent).err();
                let name = full.map(|full| LANE_NAMES[full.0 as usize]);
                ensure!(
                    name == Some(lane),
                    "refused for lane {lane:?}; full is {name:?}"
                );
                stats.backlog_refusals += 1;
            }
            Refusal::DedupFull { .. } => {
                ensure!(
                    self.exactly_once_admissions >= self.max_entries,
                    "refused for ids of {} exactly-once messages of {}",
                    self.exactly_once_admissions,
                    self.max_entries
                );
                stats.dedup_refusals += 1;
            }
            Refusal::JournalFull(why) => {
                ensure!(run.may_be_full, "refused without need: {why}");
                stats.space_refusals += 1;
            }
            other => return Err(format!("refused: {other}")),
        }
        Ok(())
    }

    fn latest_of(&self, sent: &Sent) -> Option<u64> {
        self.latest.get(&sent.ident?).copied()
    }

    /// Which lanes it would be charged to, or the one that is full.
    fn lanes_of(&self, sent: &Sent) -> Result<Vec<LaneId>, LaneId> {
        let size = u64::from(sent.size_bytes);
        let mut lanes: Vec<LaneId> = Vec::new();
        for (ordinal, target) in sent.message.plan.targets.iter().enumerate() {
            let is_full = |lane: LaneId| {
                let mine = lanes.iter().filter(|l| **l == lane).count() as u64 + 1;
                let i = lane.0 as usize;
                self.lanes[i].owed_bytes + size * mine > self.backlog_bytes[i]
            };
            let diverts = sent.dead_letter_when_full.get(ordinal) == Some(&true);
            let lane = match is_full(target.lane) {
                false => target.lane,
                true if !diverts => return Err(target.lane),
                true if is_full(DOOR) => return Err(DOOR),
                true => DOOR,
            };
            lanes.push(lane);
        }
        Ok(lanes)
    }
}
