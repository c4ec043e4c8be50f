//! The journal's decision on each submission: duplicate, conflict, refused, or accepted.
//!
//! Pure but for the window and the batch in the making, which both know of a fresh id or neither.

use super::{Accepted, Answer, Fresh, Journal, MAX_BATCH_BYTES, Pending, Step};
use crate::journal::state::Space;
use crate::journal::window::Entry;
use crate::journal::{DOOR_LANE, Submission, records};
use crate::log::Urgency;
use crate::message::{self, DeliveryId, LaneId, MessageId, Ordinal, Refusal};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Journal {
    pub(super) fn decide(
        &mut self,
        publishes: &mut VecDeque<Submission>,
        pending: &mut Pending,
        answers: &mut Vec<Answer>,
        step: &mut Step,
    ) {
        self.charged.clear();
        self.charged.resize(self.lanes.len(), 0);
        let room = self.log.room(Urgency::Normal);
        while let Some(submission) = publishes.front() {
            let needed = pending.batch.disk_bytes() + submission.batch_bytes();
            let over = needed > MAX_BATCH_BYTES && !pending.batch.is_empty();
            if over {
                break;
            }
            let answer = match self.known(submission) {
                Some(answer) => answer,
                None if needed > room => match self.no_room(submission) {
                    Some(refusal) => Err(refusal),
                    None => {
                        step.stalled = pending.batch.is_empty() && answers.is_empty();
                        break;
                    }
                },
                None => match self.admit(submission) {
                    Ok(diverted) => {
                        let submission = publishes.pop_front().expect("it is at the front");
                        answers.push(Ok(self.accept(submission, diverted, pending)));
                        continue;
                    }
                    Err(refusal) => Err(refusal),
                },
            };
            publishes.pop_front();
            answers.push(answer);
        }
    }

    /// The answer to a submission whose identity is in the window.
    pub(super) fn known(&self, submission: &Submission) -> Option<Answer> {
        let print = submission.fingerprint.as_ref()?;
        let seen = self.window.get(print.key, self.now)?;
        let counters = &self.shared.counters;
        let id = submission.id().unwrap_or_default().to_owned();
        if seen.content != print.content && !print.derived {
            counters.conflicts.fetch_add(1, Ordering::Relaxed);
            return Some(Err(Refusal::Conflict {
                id,
                position: seen.position,
            }));
        }
        counters.duplicates.fetch_add(1, Ordering::Relaxed);
        let targets = self
            .shared
            .read_shapes(|shapes| shapes.get(seen.shape).unwrap_or_default().to_vec());
        Some(Ok(Accepted {
            id,
            position: seen.position,
            duplicate: true,
            targets,
        }))
    }

    /// Why there is no room; `None` if the housekeeper is about to make some.
    pub(super) fn no_room(&self, submission: &Submission) -> Option<Refusal> {
        match self.shared.space() {
            Space::JournalFull => Some(Refusal::JournalFull(
                "[journal] max_bytes is reached".into(),
            )),
            Space::DiskShort | Space::DiskFull => {
                Some(Refusal::JournalFull("the disk is nearly full".into()))
            }
            Space::Enough => {
                let most = self.log.largest_batch_ever();
                (submission.batch_bytes() > most).then(|| {
                    Refusal::JournalFull(format!(
                        "its record is larger than a segment ({most} bytes)"
                    ))
                })
            }
        }
    }

    /// Whether a fresh submission can be accepted; if so its lanes are charged.
    pub(super) fn admit(
        &mut self,
        submission: &Submission,
    ) -> Result<Vec<(Ordinal, Arc<str>)>, Refusal> {
        if self.shared.space() == Space::DiskFull {
            return Err(Refusal::JournalFull("the disk is nearly full".into()));
        }
        if submission.fingerprint.is_some() && !self.window.has_room(self.now) {
            return Err(Refusal::DedupFull {
                entries: self.window.len(),
            });
        }
        self.charge(submission)
    }

    /// Puts a submission into the window and the batch: from here on they stand or fall together.
    pub(super) fn accept(
        &mut self,
        submission: Submission,
        diverted: Vec<(Ordinal, Arc<str>)>,
        pending: &mut Pending,
    ) -> Accepted {
        let plan = &submission.message.plan;
        let exactly_once = plan.is_exactly_once();
        let position = pending.batch.push(&submission.record);
        for (ordinal, _) in &diverted {
            pending
                .batch
                .push_unpositioned(&records::divert(DeliveryId {
                    position,
                    ordinal: *ordinal,
                }));
        }
        let targets: Vec<_> = plan.targets.iter().map(|t| (t.route, t.lane)).collect();
        let shape = self
            .shared
            .with_shapes(|shapes| shapes.intern(targets.iter().copied()));
        if let Some(print) = &submission.fingerprint {
            let entry = Entry {
                key: print.key,
                content: print.content,
                position,
                shape,
                exactly_once,
            };
            self.window
                .admit(entry, self.now)
                .expect("room was checked");
        }
        let id = match submission.id() {
            Some(id) => id.to_owned(),
            None => message::generated_id(self.log.uuid(), self.shared.epoch, position),
        };
        pending.urgency = Urgency::Normal;
        pending.fresh.push(Fresh {
            position,
            submission,
            shape,
            diverted,
        });
        Accepted {
            id,
            position,
            duplicate: false,
            targets,
        }
    }

    /// Charges every lane of the plan, or none and says which is full. Where a full lane's
    /// publishes are to be dead-lettered, the delivery is diverted to the door's lane.
    pub(super) fn charge(
        &mut self,
        submission: &Submission,
    ) -> Result<Vec<(Ordinal, Arc<str>)>, Refusal> {
        let size_bytes = submission.size_bytes();
        let mut diverted = Vec::new();
        let mut charges: Vec<LaneId> = Vec::new();
        for (ordinal, target) in submission.message.plan.targets.iter().enumerate() {
            // One more of this plan's deliveries than the lane has been given so far.
            let more = |lane| {
                let mine = charges.iter().filter(|l| **l == lane).count() as u64;
                u64::from(size_bytes) * (mine + 1)
            };
            if self.is_full(target.lane, more(target.lane)) {
                if self.faults.drop_when_full() {
                    continue;
                }
                if !submission.dead_letters_when_full(ordinal) {
                    return Err(self.full(target.lane));
                }
                if self.is_full(DOOR_LANE, more(DOOR_LANE)) {
                    return Err(self.full(DOOR_LANE));
                }
                let reason = records::diverted_reason(&self.lanes[target.lane.0 as usize].name);
                diverted.push((Ordinal(ordinal as u16), reason));
                charges.push(DOOR_LANE);
            } else {
                charges.push(target.lane);
            }
        }
        for lane in charges {
            self.charged[lane.0 as usize] += u64::from(size_bytes);
        }
        Ok(diverted)
    }

    pub(super) fn full(&self, lane: LaneId) -> Refusal {
        let lane = &self.lanes[lane.0 as usize];
        Refusal::BacklogFull {
            lane: lane.name.clone(),
            limit_bytes: lane.backlog_bytes.load(Ordering::Relaxed),
        }
    }

    pub(super) fn is_full(&self, lane: LaneId, more: u64) -> bool {
        let state = &self.lanes[lane.0 as usize];
        let owed = state.ledger().owed_bytes();
        let charged = self.charged[lane.0 as usize];
        owed + charged + more > state.backlog_bytes.load(Ordering::Relaxed)
    }
}

impl Submission {
    /// The id that it came with, if any.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match &self.message.envelope.id {
            MessageId::None => None,
            MessageId::Publisher(id) | MessageId::Derived(id) => Some(id),
        }
    }

    /// What becomes of a delivery to a lane whose backlog is full.
    pub(super) fn dead_letters_when_full(&self, ordinal: usize) -> bool {
        self.dead_letter_when_full
            .get(ordinal)
            .copied()
            .unwrap_or(false)
    }

    /// What it is charged to a lane's backlog.
    #[must_use]
    pub fn size_bytes(&self) -> u32 {
        self.record.disk_bytes() as u32
    }

    /// What it adds to a batch at most: its record, a note for each diverted target, padding.
    pub(super) fn batch_bytes(&self) -> u64 {
        let diverts = self.message.plan.targets.len() * records::DIVERT_DISK_BYTES;
        (self.record.disk_bytes() + diverts + 8) as u64
    }
}
