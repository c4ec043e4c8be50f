//! What the gateway has promised so far, as plain lists. What it says and does is judged by the
//! sub-modules, each of its own part of a message's way.

mod answers;
mod lanes;
mod logs;
mod recovery;

use super::publisher::{Ident, Sent};
use super::shape::{LANES, STRICT, Shape};
use bytes::Bytes;
use causeway::clock::Wall;
use causeway::journal::Targets;
use causeway::message::{DeliveryId, Epoch, LaneId, LogUuid, Message, Outcome, Target};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub type Check<T = ()> = Result<T, String>;

/// The two logs of a lane.
pub const STREAM_LOG: usize = 0;
pub const DEAD_LETTER_LOG: usize = 1;

macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}
pub(super) use ensure;

/// An accepted envelope.
#[derive(Clone, Debug)]
pub struct Stored {
    pub sent: Sent,
    /// Somebody was told that it is stored.
    pub acked: bool,
    /// What it was told to be called.
    id: Option<String>,
    /// When and by which run, as its deliveries say.
    stamp: Option<(Wall, Epoch)>,
    accepted_at: u64,
    /// When its last delivery was settled.
    settled_at: Option<u64>,
    /// Ids that were admitted before.
    admissions_before: u64,
    pub deliveries: Vec<Planned>,
}

impl Stored {
    /// When and by which run it was accepted is the same wherever one of its deliveries turns up.
    fn check_stamp(&self, at: DeliveryId, stamp: (Wall, Epoch)) -> Check {
        ensure!(
            self.stamp.is_none_or(|known| known == stamp),
            "{at} was accepted at {:?}, and now at {stamp:?}",
            self.stamp
        );
        Ok(())
    }
}

/// One delivery of it.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// The one that owes it: the plan's or, for what was diverted, the door's.
    pub lane: LaneId,
    /// Durably.
    pub settled: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LaneTotals {
    pub planned: u64,
    pub delivered: u64,
    pub dead_lettered: u64,
    pub discarded: u64,
    pub pending: u64,
    pub owed_bytes: u64,
}

pub struct Model {
    window_ms: u64,
    max_entries: u64,
    backlog_bytes: [u64; LANES],
    /// How long the gateway has run in all.
    pub alive_ms: u64,
    /// When the last step of the journal looked at its submissions; what it accepted is durable
    /// since `alive_ms`.
    pub decided_at: u64,
    pub uuid: Option<LogUuid>,
    pub stored: Vec<Stored>,
    latest: BTreeMap<Ident, u64>,
    admissions: u64,
    exactly_once_admissions: u64,
    /// Submissions of the batch whose write failed: each is stored or not.
    doubt: Vec<Sent>,
    doubt_at: u64,
    /// Settlements of that batch.
    settle_doubt: BTreeMap<DeliveryId, Outcome>,
    pub lanes: [LaneTotals; LANES],
    /// Ordered deliveries by lane and key, in journal order.
    orders: HashMap<(LaneId, Option<Bytes>), Vec<DeliveryId>>,
    /// What the destinations have, and how often.
    pub received: [BTreeMap<DeliveryId, u32>; LANES],
    /// What the dead-letter logs have.
    pub graves: [BTreeSet<DeliveryId>; LANES],
    /// What streams and dead-letter logs hold, by offset, with what was trimmed since.
    logs: [[Vec<DeliveryId>; 2]; LANES],
    /// Lanes that an operator lets discard what they owe.
    pub dropping: [bool; LANES],
    /// A lane said of these that they are dropped. A crash may have undone it: their order is gone.
    dropped: BTreeSet<DeliveryId>,
    /// A destination that is sent many of a key at once rejected these: later ones went on.
    pub passed: BTreeSet<DeliveryId>,
}

impl Model {
    pub fn new(shape: &Shape) -> Self {
        Self {
            window_ms: shape.window.window.as_millis() as u64,
            max_entries: shape.window.max_entries as u64,
            backlog_bytes: shape.backlog_bytes,
            alive_ms: 0,
            decided_at: 0,
            uuid: None,
            stored: Vec::new(),
            latest: BTreeMap::new(),
            admissions: 0,
            exactly_once_admissions: 0,
            doubt: Vec::new(),
            doubt_at: 0,
            settle_doubt: BTreeMap::new(),
            lanes: [LaneTotals::default(); LANES],
            orders: HashMap::new(),
            received: std::array::from_fn(|_| BTreeMap::new()),
            graves: std::array::from_fn(|_| BTreeSet::new()),
            logs: std::array::from_fn(|_| [Vec::new(), Vec::new()]),
            dropping: [false; LANES],
            dropped: BTreeSet::new(),
            passed: BTreeSet::new(),
        }
    }

    pub fn next_position(&self) -> u64 {
        self.stored.len() as u64
    }

    pub fn pending(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.pending).sum()
    }

    pub fn owed_bytes(&self) -> u64 {
        // A record that several lanes owe is there once.
        let owed = |s: &&Stored| s.deliveries.iter().any(|d| d.settled.is_none());
        let owed = self.stored.iter().filter(owed);
        owed.map(|s| u64::from(s.sent.size_bytes)).sum()
    }

    pub fn delivery(&self, at: DeliveryId) -> Check<(&Stored, &Planned)> {
        let stored = self.stored.get(at.position.0 as usize);
        let found = stored.and_then(|s| Some((s, s.deliveries.get(usize::from(at.ordinal.0))?)));
        found.ok_or_else(|| format!("delivery {at} was never planned"))
    }

    fn store(&mut self, sent: Sent, lanes: Vec<LaneId>, now: u64) {
        let position = self.next_position();
        for (ordinal, lane) in lanes.iter().enumerate() {
            let totals = &mut self.lanes[lane.0 as usize];
            totals.planned += 1;
            totals.pending += 1;
            totals.owed_bytes += u64::from(sent.size_bytes);
            let target = &sent.message.plan.targets[ordinal];
            if target.lane == *lane
                && let Some(order) = order_of(&sent.message, target)
            {
                let at = DeliveryId::new(position, ordinal as u16);
                self.orders.entry((*lane, order)).or_default().push(at);
            }
        }
        if let Some(ident) = sent.ident {
            self.latest.insert(ident, position);
        }
        let planned = |lane| Planned {
            lane,
            settled: None,
        };
        let admitted = sent.ident.is_some();
        let exactly_once = admitted && sent.is_exactly_once();
        self.stored.push(Stored {
            sent,
            acked: false,
            id: None,
            stamp: None,
            accepted_at: now,
            settled_at: None,
            admissions_before: self.admissions,
            deliveries: lanes.into_iter().map(planned).collect(),
        });
        self.admissions += u64::from(admitted);
        self.exactly_once_admissions += u64::from(exactly_once);
    }

    /// A settlement is durable.
    fn settle(&mut self, at: DeliveryId, outcome: Outcome) -> Check {
        self.delivery(at)?;
        let now = self.alive_ms;
        let stored = &mut self.stored[at.position.0 as usize];
        let size_bytes = u64::from(stored.sent.size_bytes);
        let planned = &mut stored.deliveries[usize::from(at.ordinal.0)];
        ensure!(planned.settled.is_none(), "{at} is settled twice");
        planned.settled = Some(outcome);
        let totals = &mut self.lanes[planned.lane.0 as usize];
        if stored.deliveries.iter().all(|d| d.settled.is_some()) {
            stored.settled_at = Some(now);
        }
        totals.pending -= 1;
        totals.owed_bytes -= size_bytes;
        match outcome {
            Outcome::Delivered => totals.delivered += 1,
            Outcome::DeadLettered => totals.dead_lettered += 1,
            Outcome::Discarded(_) => totals.discarded += 1,
        }
        Ok(())
    }

    /// When the id's window started; `None` if it has not.
    fn window_start(&self, position: u64) -> Option<u64> {
        let stored = &self.stored[position as usize];
        if stored.sent.is_exactly_once() {
            stored.settled_at
        } else {
            Some(stored.accepted_at)
        }
    }

    /// Whether the window may by `now` have lost an id: it is over, or others have pushed it out.
    fn may_be_forgotten(&self, position: u64, now: u64) -> bool {
        let stored = &self.stored[position as usize];
        let start = self.window_start(position);
        if start.is_some_and(|start| now.saturating_sub(start) >= self.window_ms) {
            return true;
        }
        // Normal ids that came later, and exactly-once ones whenever they came.
        let others = self.admissions - stored.admissions_before + self.exactly_once_admissions;
        !stored.sent.is_exactly_once() && others >= self.max_entries
    }
}

/// The gateway's process that answers.
#[derive(Clone, Copy)]
pub struct Run {
    pub uuid: LogUuid,
    pub epoch: Epoch,
    /// Whether refusals for want of space are in order.
    pub may_be_full: bool,
}

pub fn targets_of(message: &Message) -> Targets {
    message
        .plan
        .targets
        .iter()
        .map(|t| (t.route, t.lane))
        .collect()
}

/// What a delivery is ordered by on its lane; `None` if it is outside of any order.
fn order_of(message: &Message, target: &Target) -> Option<Option<Bytes>> {
    if target.dead_letter.is_some() {
        return None;
    }
    if target.lane == STRICT {
        return Some(None);
    }
    let unordered = target.not_before.is_some() || target.priority.is_some();
    let key = target.key.as_ref().or(message.envelope.key.as_ref());
    key.filter(|_| !unordered).map(|key| Some(key.clone()))
}
