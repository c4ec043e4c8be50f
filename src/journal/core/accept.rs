//! The journal's decision on each submission: duplicate, conflict, refused, or accepted.
//!
//! Pure but for the window and the batch in the making, which both know of a fresh id or neither.

use super::{Accepted, Answer, Fresh, Journal, MAX_BATCH_BYTES, Pending, Step};
use crate::journal::letters::{self, GoneLetters};
use crate::journal::state::Space;
use crate::journal::window::Entry;
use crate::journal::{DOOR_LANE, Submission, records};
use crate::log::Urgency;
use crate::message::{Chain, DeliveryId, LaneId, MessageId, Ordinal, Refusal, RouteId};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Few enough to be warm still when their turn comes.
const WARMED_AHEAD: usize = 32;

impl Journal {
    /// Decides as many as fit into the batch; they stay in the queue.
    pub(super) fn decide(
        &mut self,
        publishes: &VecDeque<Submission>,
        pending: &mut Pending,
        step: &mut Step,
    ) {
        self.measure_backlogs();
        let room = self.log.room(Urgency::Normal);
        pending.answers.reserve(publishes.len());
        for (number, submission) in publishes.iter().enumerate() {
            if number.is_multiple_of(WARMED_AHEAD) {
                self.warm(publishes.range(number..));
            }
            let needed = pending.batch.disk_bytes() + submission.batch_bytes();
            let over = needed > MAX_BATCH_BYTES && !pending.batch.is_empty();
            if over {
                break;
            }
            let gone = self.letter_is_gone(submission, &pending.redriven);
            let told = gone.map(Err).or_else(|| self.told_before(submission));
            let answer = match told {
                Some(answer) => answer,
                None if needed > room => match self.no_room(submission) {
                    Some(refusal) => Err(refusal),
                    None => {
                        step.stalled = pending.batch.is_empty() && number == 0;
                        break;
                    }
                },
                None => match self.admit(submission) {
                    Ok(diverted) => Ok(self.accept(submission, diverted, pending)),
                    Err(refusal) => Err(refusal),
                },
            };
            if let (Err(refusal), Some(chain)) = (&answer, &submission.chain) {
                chain.break_in_journal(refusal);
            }
            pending.answers.push(answer);
        }
    }

    /// What each lane's backlog has left. Only this thread changes what a lane owes.
    fn measure_backlogs(&mut self) {
        let left = self.lanes.iter().map(|lane| {
            let backlog = lane.backlog_bytes.load(Ordering::Relaxed);
            backlog.saturating_sub(lane.ledger().owed_bytes())
        });
        self.left.clear();
        self.left.extend(left);
    }

    /// Warms the window and the records of the next few.
    fn warm<'a>(&self, next: impl Iterator<Item = &'a Submission>) {
        let next = next.take(WARMED_AHEAD);
        let keys = next.filter_map(|submission| {
            black_box(submission.record.body().first());
            submission.fingerprint.as_ref().map(|print| print.key)
        });
        self.window.warm(keys);
    }

    /// The answer to a submission behind a refused one, or whose identity is in the window.
    fn told_before(&self, submission: &Submission) -> Option<Answer> {
        let broken = submission.chain.as_ref().and_then(Chain::broken_in_journal);
        broken.map(Err).or_else(|| self.known(submission))
    }

    /// The answer to a submission whose identity is in the window.
    pub(super) fn known(&self, submission: &Submission) -> Option<Answer> {
        let print = submission.fingerprint.as_ref()?;
        let seen = self.window.get(print.key, self.now)?;
        let counters = &self.shared.counters;
        if seen.content != print.content && !print.derived {
            counters.conflicts.fetch_add(1, Ordering::Relaxed);
            return Some(Err(Refusal::Conflict {
                id: submission.id().unwrap_or_default().to_owned(),
                position: seen.position,
            }));
        }
        counters.duplicates.fetch_add(1, Ordering::Relaxed);
        let targets = self
            .shared
            .read_shapes(|shapes| shapes.get(seen.shape).unwrap_or_default().to_vec());
        Some(Ok(Accepted {
            position: seen.position,
            original: Some(targets),
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
        submission: &Submission,
        diverted: Vec<(Ordinal, Arc<str>)>,
        pending: &mut Pending,
    ) -> Accepted {
        let position = pending.batch.push(&submission.record);
        for (ordinal, why) in diverted {
            let at = DeliveryId { position, ordinal };
            pending.batch.push_unpositioned(&records::divert(at));
            pending.diverted.push((at, why));
        }
        if let Some(letter) = submission.redrives {
            let gone = GoneLetters::redriven(letter);
            pending.batch.push_unpositioned(&gone.record());
            pending.redriven.push(gone);
        }
        let shared = &self.shared;
        let shape = self.shape_memo.number(submission.targets(), |targets| {
            shared.with_shapes(|shapes| shapes.intern(targets.iter().copied()))
        });
        if let Some(print) = &submission.fingerprint {
            let entry = Entry {
                key: print.key,
                content: print.content,
                position,
                shape,
                exactly_once: submission.is_exactly_once(),
            };
            self.window
                .admit(entry, self.now)
                .expect("room was checked");
        }
        pending.urgency = Urgency::Normal;
        pending.fresh.push(Fresh {
            position,
            number: pending.answers.len() as u32,
            shape,
        });
        Accepted {
            position,
            original: None,
        }
    }

    /// Charges every lane of the plan, or none and says which is full. Where a full lane's
    /// publishes are to be dead-lettered, the delivery is diverted to the door's lane. What lives in
    /// memory is never full here: the backlog of its lane has no end.
    pub(super) fn charge(
        &mut self,
        submission: &Submission,
    ) -> Result<Vec<(Ordinal, Arc<str>)>, Refusal> {
        let bytes = u64::from(submission.size_bytes());
        let mut diverted = Vec::new();
        for (ordinal, (_, lane)) in submission.targets().enumerate() {
            if self.charge_lane(lane, bytes) || self.faults.drop_when_full() {
                continue;
            }
            let may_divert = submission.dead_letters_when_full(ordinal);
            if !may_divert || !self.charge_lane(DOOR_LANE, bytes) {
                self.take_back(submission, ordinal, &diverted);
                return Err(self.full(if may_divert { DOOR_LANE } else { lane }));
            }
            let reason = records::diverted_reason(&self.lanes[lane.0 as usize].name);
            diverted.push((Ordinal(ordinal as u16), reason));
        }
        Ok(diverted)
    }

    /// False, and nothing charged, if the lane's backlog has less left.
    fn charge_lane(&mut self, lane: LaneId, bytes: u64) -> bool {
        let left = &mut self.left[lane.0 as usize];
        match left.checked_sub(bytes) {
            Some(less) => {
                *left = less;
                true
            }
            None => false,
        }
    }

    /// Undoes the charges of the targets before `end`.
    fn take_back(&mut self, submission: &Submission, end: usize, diverted: &[(Ordinal, Arc<str>)]) {
        for (ordinal, (_, lane)) in submission.targets().take(end).enumerate() {
            let is_diverted = diverted.iter().any(|(o, _)| usize::from(o.0) == ordinal);
            let lane = if is_diverted { DOOR_LANE } else { lane };
            self.left[lane.0 as usize] += u64::from(submission.size_bytes());
        }
    }

    pub(super) fn full(&self, lane: LaneId) -> Refusal {
        let lane = &self.lanes[lane.0 as usize];
        Refusal::BacklogFull {
            lane: lane.name.clone(),
            limit_bytes: lane.backlog_bytes.load(Ordering::Relaxed),
        }
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

    /// Route and lane of each ordinal.
    pub(super) fn targets(&self) -> impl Iterator<Item = (RouteId, LaneId)> + Clone + '_ {
        let rest = match self.sole {
            Some(_) => &[],
            None => &self.message.plan.targets[..],
        };
        let sole = self.sole.map(|only| (only.route, only.lane));
        sole.into_iter()
            .chain(rest.iter().map(|t| (t.route, t.lane)))
    }

    pub(super) fn is_exactly_once(&self) -> bool {
        match self.sole {
            Some(only) => only.exactly_once,
            None => self.message.plan.is_exactly_once(),
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
        let diverts = self.targets().count() * records::DIVERT_DISK_BYTES;
        let letter = self.redrives.map_or(0, |_| letters::ONE_DISK_BYTES);
        (self.record.disk_bytes() + diverts + letter + 8) as u64
    }
}
