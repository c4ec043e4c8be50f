//! The journal's one writer: decides, appends one batch, syncs, and only then tells.
//!
//! Identity and acceptance are one step: while a batch is being decided nothing else is, so a
//! duplicate of a record in the same batch meets an id that is in the window already, and is answered
//! after the same sync.

mod accept;
mod apply;
mod naming;

use super::idlog::IdLog;
use super::idtable::Targets;
use super::letters::GoneLetters;
use super::settlements::SettlementGroup;
use super::shapes::ShapeMemo;
use super::snapshot::{ExactlyOnceId, Snapshot};
use super::state::{LaneState, Shared};
use super::window::{Running, Window};
use super::{SettleGroup, Submission};
use crate::clock::{Clock, Mono};
use crate::faults::Faults;
use crate::log::{Batch, Cursor, Log, Record, Stamp, Urgency};
use crate::message::{DeliveryId, Epoch, Position, Refusal};
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
    pub position: Position,
    /// Of a duplicate: where the original goes, (route, lane) for each ordinal. A fresh one goes
    /// where its own plan says.
    pub original: Option<Targets>,
}

impl Accepted {
    #[must_use]
    pub const fn is_duplicate(&self) -> bool {
        self.original.is_some()
    }
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
    /// The running time at the start of the step: one look at the clock for all of a batch.
    now: Running,
    /// Bytes that each lane's backlog has left, less what the batch in the making charges.
    left: Vec<u64>,
    shape_memo: ShapeMemo,
    buffers: Buffers,
    /// Catalog entries that wait for a batch.
    pub(super) notices: VecDeque<Record>,
    faults: Faults,
    epochs: u32,
    secret: [u8; 16],
    /// Only for the planted fault: what was acknowledged and not yet written.
    unwritten: Option<Pending>,
}

/// What one batch leaves to the next, so that nothing as large as a batch is allocated for each.
#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    fresh: Vec<Fresh>,
    queue: VecDeque<Submission>,
}

/// The batch in the making.
struct Pending {
    batch: Batch,
    /// What was decided, in order.
    taken: VecDeque<Submission>,
    answers: Vec<Answer>,
    /// Those of `taken` that are accepted once the batch is durable.
    fresh: Vec<Fresh>,
    /// Deliveries whose lane was full, in order, with what the dead letter will say.
    diverted: Vec<(DeliveryId, Arc<str>)>,
    settled: Vec<(SettleGroup, SettlementGroup)>,
    /// Dead letters that what is accepted redrives.
    redriven: Vec<GoneLetters>,
    urgency: Urgency,
}

struct Fresh {
    position: Position,
    /// Of its submission in `taken`.
    number: u32,
    shape: u32,
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
    /// Records that were written: whoever has time frees them.
    pub spent: Vec<Record>,
    /// The log has no room for what is left until the housekeeper made some.
    pub stalled: bool,
    /// A segment was filled: the housekeeper has work.
    pub sealed: bool,
}

impl Journal {
    pub(super) fn new(parts: Parts) -> Self {
        let mut journal = Self {
            started: parts.clock.mono(),
            log: parts.log,
            window: parts.window,
            ids: parts.ids,
            lanes: parts.shared.lanes(),
            shared: parts.shared,
            clock: parts.clock,
            running_base_ms: parts.running_ms,
            last_wall_ms: parts.wall_ms,
            now: Running(parts.running_ms),
            left: Vec::new(),
            shape_memo: ShapeMemo::new(),
            buffers: Buffers::default(),
            notices: VecDeque::new(),
            faults: parts.faults,
            epochs: parts.epochs,
            secret: parts.secret,
            unwritten: None,
        };
        // Metrics are right from the first moment.
        journal.housekeep_window();
        journal
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
            self.write(pending, &mut step);
        }
        let mut pending = self.begin(settlements);
        self.decide(publishes, &mut pending, &mut step);
        pending.taken = self.take(publishes, pending.answers.len());
        if pending.batch.is_empty() {
            step.stalled |= !settlements.is_empty() || !self.notices.is_empty();
            step.answer(std::mem::take(&mut pending.answers));
            self.reuse(pending);
        } else if self.faults.ack_before_fsync() && !pending.answers.is_empty() {
            step.answer(std::mem::take(&mut pending.answers));
            self.unwritten = Some(pending);
        } else {
            self.write(pending, &mut step);
        }
        step
    }

    /// The first of the queue, without a copy where that is all of it.
    fn take(&mut self, publishes: &mut VecDeque<Submission>, count: usize) -> VecDeque<Submission> {
        let rest = if count == publishes.len() {
            std::mem::take(&mut self.buffers.queue)
        } else {
            publishes.split_off(count)
        };
        std::mem::replace(publishes, rest)
    }

    fn reuse(&mut self, mut pending: Pending) {
        pending.taken.clear();
        pending.fresh.clear();
        self.buffers = Buffers {
            bytes: pending.batch.into_buffer(),
            fresh: pending.fresh,
            queue: pending.taken,
        };
    }

    fn housekeep_window(&mut self) {
        let now = self.running();
        self.now = now;
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
        let buffer = std::mem::take(&mut self.buffers.bytes);
        let mut batch = Batch::with_buffer(buffer, self.log.end().position);
        let mut settled = Vec::new();
        let room = self.log.room(Urgency::Essential).min(MAX_BATCH_BYTES);
        while let Some(notice) = self.notices.front() {
            if batch.disk_bytes() + notice.disk_bytes() as u64 + 8 > room {
                break;
            }
            batch.push_unpositioned(notice);
            self.notices.pop_front();
        }
        while let Some(group) = settlements.front() {
            let runs = SettlementGroup::of(group.lane, group.marks, &group.settlements);
            let record = settlement_record(&runs);
            if batch.disk_bytes() + record.disk_bytes() as u64 + 8 > room {
                break;
            }
            batch.push_unpositioned(&record);
            settled.extend(settlements.pop_front().map(|group| (group, runs)));
        }
        Pending {
            batch,
            taken: VecDeque::new(),
            answers: Vec::new(),
            fresh: std::mem::take(&mut self.buffers.fresh),
            diverted: Vec::new(),
            redriven: Vec::new(),
            settled,
            urgency: Urgency::Essential,
        }
    }

    /// The newest position of an identity that is in the window, or not yet indexed.
    #[must_use]
    pub fn find(&self, key: u128) -> Option<(Position, Targets)> {
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

impl Step {
    fn answer(&mut self, answers: Vec<Answer>) {
        if self.answers.is_empty() {
            self.answers = answers;
        } else {
            self.answers.extend(answers);
        }
    }
}

fn settlement_record(runs: &SettlementGroup) -> Record {
    let mut body = Vec::new();
    runs.encode(&mut body);
    Record::new(body)
}

fn refuse_all(publishes: &mut VecDeque<Submission>, step: &mut Step, refusal: &Refusal) {
    step.answers
        .extend(publishes.drain(..).map(|_| Err(refusal.clone())));
}
