//! The journal's one writer: decides, appends one batch, syncs, and only then tells.
//!
//! Identity and acceptance are one step: while a batch is being decided nothing else is, so a
//! duplicate of a record in the same batch meets an id that is in the window already, and is answered
//! after the same sync.

use super::idlog::IdLog;
use super::idtable::IdEntry;
use super::ledger::LaneLedger;
use super::records;
use super::settlements::SettlementGroup;
use super::snapshot::{ExactlyOnceId, Snapshot};
use super::state::{LaneState, Shared, Space};
use super::window::{Entry, Running, Window};
use super::{DOOR_LANE, SettleGroup, Submission};
use crate::clock::{Clock, Mono};
use crate::faults::Faults;
use crate::log::{AppendError, Batch, Cursor, Log, Record, Stamp, Urgency};
use crate::message::{
    self, Delivery, DeliveryId, Epoch, LaneId, LogUuid, MessageId, Ordinal, Position, Refusal,
    RouteId,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A batch ends when it has this much: what queues meanwhile is the next one.
pub const MAX_BATCH_BYTES: u64 = 2 * 1024 * 1024;
/// Ids that leave the window are removed a few at a time.
const EXPIRE_A_STEP: usize = 4096;

/// What a submission came to.
pub type Answer = Result<Accepted, Refusal>;

/// An envelope that is durable in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub id: String,
    pub position: Position,
    pub duplicate: bool,
    /// (route, lane) for each ordinal.
    pub targets: Vec<(RouteId, LaneId)>,
}

pub struct Journal {
    pub(super) log: Log,
    pub(super) window: Window,
    pub(super) ids: IdLog,
    pub(super) shared: Arc<Shared>,
    /// By lane number; only this thread adds lanes.
    lanes: Vec<Arc<LaneState>>,
    clock: Clock,
    /// Running time = monotone time + this.
    running_base_ms: u64,
    started: Mono,
    last_wall_ms: u64,
    buffer: Vec<u8>,
    /// Of the batch in the making, by lane.
    charged: Vec<u64>,
    /// Catalog entries that wait for a batch.
    pub(super) notices: Vec<Record>,
    faults: Faults,
    epochs: u32,
    secret: [u8; 16],
    /// Only for the planted fault: what was acknowledged and not yet written.
    unwritten: Option<Pending>,
}

/// The batch in the making.
struct Pending {
    batch: Batch,
    fresh: Vec<Fresh>,
    settled: Vec<SettleGroup>,
    urgency: Urgency,
}

/// A record of the batch that is accepted once the batch is durable.
struct Fresh {
    position: Position,
    submission: Submission,
    shape: u32,
    /// Ordinals whose lane was full, with what the dead letter will say.
    diverted: Vec<(Ordinal, Arc<str>)>,
}

/// Everything of one `Journal` that recovery found.
pub(super) struct Parts {
    pub log: Log,
    pub window: Window,
    pub ids: IdLog,
    pub shared: Arc<Shared>,
    pub clock: Clock,
    pub running_ms: u64,
    pub wall_ms: u64,
    pub faults: Faults,
    pub epochs: u32,
    pub secret: [u8; 16],
}

/// What one step did.
#[derive(Default)]
pub struct Step {
    /// For the submissions taken from the front of the queue, in order.
    pub answers: Vec<Answer>,
    /// The log has no room for what is left until the housekeeper made some.
    pub stalled: bool,
    /// A segment was filled: the housekeeper has work.
    pub sealed: bool,
}

impl Journal {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            started: parts.clock.mono(),
            log: parts.log,
            window: parts.window,
            ids: parts.ids,
            lanes: parts.shared.lanes(),
            shared: parts.shared,
            clock: parts.clock,
            running_base_ms: parts.running_ms,
            last_wall_ms: parts.wall_ms,
            buffer: Vec::new(),
            charged: Vec::new(),
            notices: Vec::new(),
            faults: parts.faults,
            epochs: parts.epochs,
            secret: parts.secret,
            unwritten: None,
        }
    }

    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The gateway's cumulated running time.
    #[must_use]
    pub fn running(&self) -> Running {
        let since_start = self.clock.mono().since(self.started);
        Running(self.running_base_ms + since_start.as_millis() as u64)
    }

    /// Recorded times never go back, whatever the wall clock does.
    fn stamp(&mut self) -> Stamp {
        let wall = self.clock.wall().0.max(self.last_wall_ms);
        self.last_wall_ms = wall;
        Stamp {
            running_ms: self.running().0,
            wall: crate::clock::Wall(wall),
            epoch: self.shared.epoch,
        }
    }

    /// One round: takes what fits into one batch from the queues, makes it durable, and says what came of it.
    pub fn step(
        &mut self,
        publishes: &mut VecDeque<Submission>,
        settlements: &mut VecDeque<SettleGroup>,
    ) -> Step {
        self.housekeep_window();
        let mut step = Step::default();
        if let Some(reason) = self.shared.failure() {
            refuse_all(publishes, &mut step, &Refusal::JournalFailed(reason));
            // They can't become durable; a restart finds the deliveries pending, or in their sinks.
            settlements.clear();
            return step;
        }
        if let Some(pending) = self.unwritten.take() {
            self.write(pending, Vec::new(), &mut step);
        }
        let mut pending = self.begin(settlements);
        let mut answers = Vec::new();
        self.decide(publishes, &mut pending, &mut answers, &mut step);
        if pending.batch.is_empty() {
            self.buffer = pending.batch.into_buffer();
            step.stalled |= !settlements.is_empty();
            step.answers.extend(answers);
        } else if self.faults.ack_before_fsync() && !answers.is_empty() {
            step.answers.extend(answers);
            self.unwritten = Some(pending);
        } else {
            self.write(pending, answers, &mut step);
        }
        step
    }

    fn housekeep_window(&mut self) {
        let now = self.running();
        self.window.expire(now, EXPIRE_A_STEP);
        self.shared.set_running_ms(now.0);
        for (first, end) in self.shared.take_forgotten() {
            for lane in self.lanes.iter().filter(|_| end > first) {
                lane.ledger().forget_positions(first.0..=end.0 - 1);
            }
        }
        self.shared.set_ids_from(
            self.window
                .oldest_position()
                .unwrap_or(self.log.end().position),
        );
        let counters = &self.shared.counters;
        counters
            .dedup_entries
            .store(self.window.len() as u64, Ordering::Relaxed);
        counters
            .dedup_evictions
            .store(self.window.evictions(), Ordering::Relaxed);
        let window_ms = self.window.true_window(now).as_millis() as u64;
        counters.true_window_ms.store(window_ms, Ordering::Relaxed);
    }

    /// Starts a batch with what rides along: catalog entries and settlements.
    fn begin(&mut self, settlements: &mut VecDeque<SettleGroup>) -> Pending {
        let buffer = std::mem::take(&mut self.buffer);
        let mut batch = Batch::with_buffer(buffer, self.log.end().position);
        let mut settled = Vec::new();
        let room = self.log.room(Urgency::Essential).min(MAX_BATCH_BYTES);
        while let Some(notice) = self.notices.first() {
            if batch.disk_bytes() + notice.disk_bytes() as u64 + 8 > room {
                break;
            }
            batch.push_unpositioned(&self.notices.remove(0));
        }
        while let Some(group) = settlements.front() {
            let record = settlement_record(group);
            if batch.disk_bytes() + record.disk_bytes() as u64 + 8 > room {
                break;
            }
            batch.push_unpositioned(&record);
            settled.extend(settlements.pop_front());
        }
        Pending {
            batch,
            fresh: Vec::new(),
            settled,
            urgency: Urgency::Essential,
        }
    }

    fn decide(
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
    fn known(&self, submission: &Submission) -> Option<Answer> {
        let print = submission.fingerprint.as_ref()?;
        let seen = self.window.get(print.key, self.running())?;
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
    fn no_room(&self, submission: &Submission) -> Option<Refusal> {
        match self.shared.space() {
            Space::JournalFull => Some(Refusal::JournalFull(
                "[journal] max_bytes is reached".into(),
            )),
            Space::DiskFull => Some(Refusal::JournalFull("the disk is nearly full".into())),
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
    fn admit(&mut self, submission: &Submission) -> Result<Vec<(Ordinal, Arc<str>)>, Refusal> {
        if self.shared.space() == Space::DiskFull {
            return Err(Refusal::JournalFull("the disk is nearly full".into()));
        }
        if submission.fingerprint.is_some() && !self.window.has_room(self.running()) {
            return Err(Refusal::DedupFull {
                entries: self.window.len(),
            });
        }
        self.charge(submission)
    }

    /// Puts a submission into the window and the batch: from here on they stand or fall together.
    fn accept(
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
                .admit(entry, self.running())
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
    fn charge(&mut self, submission: &Submission) -> Result<Vec<(Ordinal, Arc<str>)>, Refusal> {
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

    fn full(&self, lane: LaneId) -> Refusal {
        let lane = &self.lanes[lane.0 as usize];
        Refusal::BacklogFull {
            lane: lane.name.clone(),
            limit_bytes: lane.backlog_bytes.load(Ordering::Relaxed),
        }
    }

    fn is_full(&self, lane: LaneId, more: u64) -> bool {
        let state = &self.lanes[lane.0 as usize];
        let owed = state.ledger().owed_bytes();
        let charged = self.charged[lane.0 as usize];
        owed + charged + more > state.backlog_bytes.load(Ordering::Relaxed)
    }

    /// Makes the batch durable, then applies it. On failure nobody is told "stored".
    fn write(&mut self, mut pending: Pending, answers: Vec<Answer>, step: &mut Step) {
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

    fn poison(&mut self, reason: &str, answers: Vec<Answer>, step: &mut Step) {
        self.shared.fail(reason.to_owned());
        // What was refused stays refused; of the rest nothing is known.
        let unknown = || Err(Refusal::JournalFailed(reason.to_owned()));
        step.answers
            .extend(answers.into_iter().map(|answer| answer.and(unknown())));
    }

    /// The batch is durable: ledgers, lanes, window.
    fn apply(&mut self, pending: Pending, stamp: Stamp) {
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

    fn owe(&mut self, fresh: Fresh, stamp: Stamp, fed: &mut [Vec<Delivery>]) {
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
    fn settle(&mut self, group: &SettleGroup) {
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
    fn release_if_settled(&mut self, position: Position) {
        if !self
            .lanes
            .iter()
            .any(|l| l.ledger().owed().contains_position(position))
        {
            self.window.settled(position, self.running());
        }
    }

    /// The newest position of an identity that is in the window, or not yet indexed.
    #[must_use]
    pub fn find(&self, key: u128) -> Option<(Position, Vec<(RouteId, LaneId)>)> {
        let (position, shape) = match self.window.get(key, self.running()) {
            Some(seen) => (seen.position, seen.shape),
            None => self.ids.find(key)?,
        };
        Some((
            position,
            self.shared
                .read_shapes(|shapes| shapes.get(shape).unwrap_or_default().to_vec()),
        ))
    }

    /// Whether there is something to write though nobody submitted anything.
    #[must_use]
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty() && self.shared.failure().is_none()
    }

    pub(super) fn snapshot(&self, cursor: Cursor) -> Snapshot {
        // Ids of a batch whose write failed are in the window, but not before the cursor.
        let durable = self
            .window
            .exactly_once()
            .filter(|kept| kept.entry.position < cursor.position);
        let exactly_once = durable.map(|kept| ExactlyOnceId {
            key: kept.entry.key,
            content: kept.entry.content,
            position: kept.entry.position,
            started: kept.started,
            targets: self
                .shared
                .read_shapes(|shapes| shapes.get(kept.entry.shape).unwrap_or_default().to_vec()),
        });
        Snapshot {
            uuid: self.log.uuid(),
            epochs: self.epochs,
            secret: self.secret,
            cursor,
            running_ms: self.running().0,
            catalog: self.shared.read_catalog(Clone::clone),
            ledgers: self.lanes.iter().map(|l| l.ledger().clone()).collect(),
            exactly_once: exactly_once.collect(),
        }
    }

    /// The number of a destination's lane. A new name rides the next batch.
    pub fn intern_lane(&mut self, name: &str) -> LaneId {
        let (id, is_new) = self
            .shared
            .with_catalog(|catalog| catalog.intern_lane(name));
        if is_new {
            self.lanes
                .push(self.shared.add_lane(name, LaneLedger::default()));
            self.note_lane(id);
        }
        id
    }

    /// Which log the lane delivers to, and in which mode: kept, because both change only with care.
    pub fn describe_lane(&mut self, id: LaneId, is_strict: bool, sink: Option<LogUuid>) {
        let changed = self.shared.with_catalog(|catalog| {
            let mode = catalog.set_strict(id, is_strict);
            catalog.set_sink(id, sink) || mode
        });
        if changed {
            self.note_lane(id);
        }
    }

    fn note_lane(&mut self, id: LaneId) {
        let mut body = Vec::new();
        self.shared.read_catalog(|catalog| {
            if let Some(entry) = catalog.lane(id) {
                entry.encode(&mut body);
            }
        });
        self.notices.push(Record::new(body));
    }

    pub fn intern_route(&mut self, name: &str) -> RouteId {
        let (id, is_new) = self
            .shared
            .with_catalog(|catalog| catalog.intern_route(name));
        if is_new {
            let mut body = Vec::new();
            self.shared.read_catalog(|catalog| {
                if let Some(entry) = catalog.route(id) {
                    entry.encode(&mut body);
                }
            });
            self.notices.push(Record::new(body));
        }
        id
    }

    #[must_use]
    pub const fn faults(&self) -> Faults {
        self.faults
    }

    /// The position that the next accepted envelope will get.
    #[must_use]
    pub fn next_position(&self) -> Position {
        self.log.end().position
    }

    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }
}

fn settlement_record(group: &SettleGroup) -> Record {
    let mut body = Vec::new();
    SettlementGroup::of(group.lane, group.marks, &group.settlements).encode(&mut body);
    Record::new(body)
}

fn refuse_all(publishes: &mut VecDeque<Submission>, step: &mut Step, refusal: &Refusal) {
    step.answers
        .extend(publishes.drain(..).map(|_| Err(refusal.clone())));
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
    fn dead_letters_when_full(&self, ordinal: usize) -> bool {
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
    fn batch_bytes(&self) -> u64 {
        let diverts = self.message.plan.targets.len() * records::DIVERT_DISK_BYTES;
        (self.record.disk_bytes() + diverts + 8) as u64
    }
}
