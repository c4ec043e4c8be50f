//! What the gateway has promised so far, as plain lists, and the judgement of what it says and does.

use super::publisher::{Ident, Sent, number_of};
use super::shape::{DOOR, LANES, STRICT, Shape};
use super::stats::Stats;
use bytes::Bytes;
use causeway::clock::Wall;
use causeway::egress::stream::StreamRecord;
use causeway::journal::{Accepted, Answer, Shared, Targets};
use causeway::message::{
    Delivery, DeliveryId, DeliveryState, DiscardReason, Epoch, LaneId, LogUuid, Message, Outcome,
    Refusal, Settlement, Target, generated_id, record,
};
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
}

impl Model {
    pub fn new(shape: &Shape) -> Self {
        Self {
            window_ms: shape.window.window.as_millis() as u64,
            max_entries: shape.window.max_entries as u64,
            backlog_bytes: shape.backlog_bytes,
            alive_ms: 0,
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

    // --- the journal's answers ---

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
                self.may_be_forgotten(*known),
                "{:?} was accepted again at {position} though it is at {known} since {} of {} ms",
                sent.ident,
                self.alive_ms - self.window_start(*known).unwrap_or(self.alive_ms),
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
                let name = full.map(|full| super::shape::LANE_NAMES[full.0 as usize]);
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

    /// When the id's window started; `None` if it has not.
    fn window_start(&self, position: u64) -> Option<u64> {
        let stored = &self.stored[position as usize];
        if stored.sent.is_exactly_once() {
            stored.settled_at
        } else {
            Some(stored.accepted_at)
        }
    }

    /// Whether the window may have lost an id: it is over, or others have pushed it out.
    fn may_be_forgotten(&self, position: u64) -> bool {
        let stored = &self.stored[position as usize];
        let start = self.window_start(position);
        if start.is_some_and(|start| self.alive_ms - start >= self.window_ms) {
            return true;
        }
        // Normal ids that came later, and exactly-once ones whenever they came.
        let others = self.admissions - stored.admissions_before + self.exactly_once_admissions;
        !stored.sent.is_exactly_once() && others >= self.max_entries
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

    // --- recovery ---

    /// Judges what a recovery found, and adopts what was in doubt and survived.
    pub fn recovered(&mut self, shared: &Shared, next_position: u64, stats: &mut Stats) -> Check {
        let uuid = shared.reader.uuid();
        ensure!(
            self.stored.is_empty() || self.uuid == Some(uuid),
            "the journal has another uuid"
        );
        self.uuid = Some(uuid);
        ensure!(
            next_position >= self.next_position(),
            "{} positions were acknowledged, recovery found {next_position}",
            self.next_position()
        );
        self.adopt(shared, next_position, stats)?;
        for position in 0..self.stored.len() {
            for ordinal in 0..self.stored[position].deliveries.len() {
                let at = DeliveryId::new(position as u64, ordinal as u16);
                self.recovered_delivery(shared, at, stats)?;
            }
        }
        self.settle_doubt.clear();
        self.check_ledgers(shared)
    }

    /// Submissions of the last batch that are stored, though nobody was told.
    fn adopt(&mut self, shared: &Shared, next_position: u64, stats: &mut Stats) -> Check {
        let doubt = std::mem::take(&mut self.doubt);
        stats.doubts_lost += u64::from(!doubt.is_empty() && next_position == self.next_position());
        let mut doubt = doubt.into_iter();
        for position in self.next_position()..next_position {
            let message = read_message(shared, position)?
                .ok_or_else(|| format!("position {position} is counted, but not there"))?;
            let number = number_of(&message);
            let sent = doubt
                .find(|sent| Some(sent.number) == number)
                .ok_or_else(|| {
                    format!(
                        "position {position} holds submission {number:?}, which wasn't in doubt"
                    )
                })?;
            ensure!(
                *sent.message == message,
                "position {position} holds another message"
            );
            let mut lanes = Vec::new();
            for (ordinal, target) in message.plan.targets.iter().enumerate() {
                let at = DeliveryId::new(position, ordinal as u16);
                let diverted = owes(shared, DOOR, at) && target.lane != DOOR;
                let may_be = sent.dead_letter_when_full.get(ordinal) == Some(&true);
                ensure!(!diverted || may_be, "{at} was diverted without leave");
                lanes.push(if diverted { DOOR } else { target.lane });
            }
            let at = self.doubt_at;
            self.store(sent, lanes, at);
            stats.doubts_kept += 1;
        }
        Ok(())
    }

    fn recovered_delivery(&mut self, shared: &Shared, at: DeliveryId, stats: &mut Stats) -> Check {
        let (_, planned) = self.delivery(at)?;
        let planned = *planned;
        let is_owed = owes(shared, planned.lane, at);
        match (planned.settled, is_owed) {
            (Some(outcome), true) => Err(format!("{at} was settled as {outcome:?}, and is owed")),
            (None, true) | (Some(_), false) => Ok(()),
            (None, false) => {
                let Some(outcome) = self.settle_doubt.get(&at).copied() else {
                    return Err(format!("{at} is neither settled nor pending: it is lost"));
                };
                stats.settlements_kept += 1;
                self.settle(at, outcome)
            }
        }
    }

    /// Promise 12: the counts are those of what happened, and add up.
    pub fn check_ledgers(&self, shared: &Shared) -> Check {
        for (i, totals) in self.lanes.iter().enumerate() {
            let Some(lane) = shared.lane(LaneId(i as u32)) else {
                ensure!(totals.planned == 0, "lane {i} is gone");
                continue;
            };
            let ledger = lane.ledger();
            ledger.check().map_err(|e| format!("lane {i}: {e}"))?;
            let counts = ledger.counts();
            let found = [
                counts.planned,
                counts.delivered,
                counts.dead_lettered,
                counts.discarded.iter().sum(),
                ledger.pending(),
                ledger.owed_bytes(),
            ];
            let expected = [
                totals.planned,
                totals.delivered,
                totals.dead_lettered,
                totals.discarded,
                totals.pending,
                totals.owed_bytes,
            ];
            ensure!(
                found == expected,
                "lane {i}: planned, delivered, dead-lettered, discarded, pending, bytes are \
                 {found:?}; they should be {expected:?}"
            );
        }
        Ok(())
    }

    /// Promise 2: what is pending is found; what is settled says so as long as its record is there.
    pub fn check_lookup(&self, shared: &Shared, found: Option<&Targets>, position: u64) -> Check {
        let stored = &self.stored[position as usize];
        let remembered = stored.sent.ident.is_some_and(|ident| {
            self.latest.get(&ident) == Some(&position) && !self.may_be_forgotten(position)
        });
        let pending = stored.deliveries.iter().any(|d| d.settled.is_none());
        ensure!(
            found.is_some() || !(remembered || pending),
            "position {position} isn't found (pending: {pending}, in the window: {remembered})"
        );
        let Some(targets) = found else { return Ok(()) };
        let expected = targets_of(&stored.sent.message);
        ensure!(
            *targets == expected,
            "position {position} is found with other targets"
        );
        for (ordinal, planned) in stored.deliveries.iter().enumerate() {
            let at = DeliveryId::new(position, ordinal as u16);
            let state = shared.state_of(at, expected[ordinal].1);
            let wanted = match planned.settled {
                None => DeliveryState::Stored,
                Some(Outcome::Delivered) => DeliveryState::Delivered,
                Some(Outcome::DeadLettered) => DeliveryState::DeadLettered,
                Some(Outcome::Discarded(_)) => DeliveryState::Discarded,
            };
            ensure!(state == wanted, "{at} is {state:?}, not {wanted:?}");
        }
        Ok(())
    }

    // --- lanes and destinations ---

    /// What a lane was fed with: something that it owes, as it was accepted.
    pub fn check_fed(&mut self, lane: LaneId, delivery: &Delivery) -> Check {
        let at = delivery.at;
        let (stored, planned) = self.delivery(at)?;
        ensure!(
            planned.lane == lane,
            "{at} belongs to {:?}, not to {lane:?}",
            planned.lane
        );
        ensure!(
            planned.settled.is_none(),
            "{at} is settled, and is given out again"
        );
        ensure!(
            *delivery.message == *stored.sent.message,
            "{at} has another message"
        );
        ensure!(
            delivery.size_bytes == stored.sent.size_bytes,
            "{at} has another size"
        );
        let stamp = (delivery.accepted, delivery.epoch);
        ensure!(
            stored.stamp.is_none_or(|known| known == stamp),
            "{at} was accepted at {:?}, and now at {stamp:?}",
            stored.stamp
        );
        if let (None, Some(id), Some(uuid)) = (stored.sent.ident, &stored.id, self.uuid) {
            let generated = generated_id(uuid, delivery.epoch, at.position);
            ensure!(
                *id == generated,
                "{at} was called {id}, and now {generated}"
            );
        }
        let i = at.position.0 as usize;
        self.stored[i].stamp = Some(stamp);
        // Promise 13: recorded times never go back.
        let before = self.stored[..i].iter().rev().find_map(|s| s.stamp);
        ensure!(
            before.is_none_or(|before| before.0 <= stamp.0),
            "{at} was accepted at {stamp:?}, an elder one at {before:?}"
        );
        Ok(())
    }

    /// A destination applied a delivery. Promises 5 and 7: what comes before it in its order was
    /// applied, or never will be.
    pub fn receive(&mut self, lane: LaneId, delivery: &Delivery, wall: Wall) -> Check {
        let at = delivery.at;
        let target = delivery.target();
        let i = lane.0 as usize;
        ensure!(
            target.not_before.is_none_or(|due| due <= wall),
            "{at} is delivered before its time"
        );
        if !self.received[i].contains_key(&at)
            && let Some(order) = order_of(&delivery.message, target)
            && let Some(all) = self.orders.get(&(lane, order))
        {
            for elder in all.iter().take_while(|elder| **elder < at) {
                ensure!(
                    self.has_passed(lane, *elder, wall),
                    "{at} is delivered before its elder {elder}"
                );
            }
        }
        let times = self.received[i].entry(at).or_default();
        *times += 1;
        if *times == 1 {
            self.logs[i][STREAM_LOG].push(at);
        }
        Ok(())
    }

    /// Dead letters are durable.
    pub fn bury(&mut self, lane: LaneId, ids: &[DeliveryId]) -> Check {
        let i = lane.0 as usize;
        for at in ids {
            self.delivery(*at)?;
            if self.graves[i].insert(*at) {
                self.logs[i][DEAD_LETTER_LOG].push(*at);
            }
        }
        Ok(())
    }

    fn has_passed(&self, lane: LaneId, at: DeliveryId, wall: Wall) -> bool {
        let i = lane.0 as usize;
        let Ok((stored, planned)) = self.delivery(at) else {
            return false;
        };
        let target = &stored.sent.message.plan.targets[usize::from(at.ordinal.0)];
        planned.lane != lane
            || planned.settled.is_some()
            || self.received[i].contains_key(&at)
            || self.graves[i].contains(&at)
            || self.dropped.contains(&at)
            || target.expires_at.is_some_and(|end| end <= wall)
    }

    /// A lane says its last word: is it true?
    pub fn check_settlement(&mut self, settlement: &Settlement, wall: Wall) -> Check {
        let at = settlement.at;
        let (stored, planned) = self.delivery(at)?;
        let i = settlement.lane.0 as usize;
        ensure!(
            planned.lane == settlement.lane,
            "{at} is settled by {:?}",
            settlement.lane
        );
        let is_true = match settlement.outcome {
            Outcome::Delivered => self.received[i].contains_key(&at),
            Outcome::DeadLettered => self.graves[i].contains(&at),
            Outcome::Discarded(DiscardReason::Dropped) => self.dropping[i],
            Outcome::Discarded(_) => {
                let target = &stored.sent.message.plan.targets[usize::from(at.ordinal.0)];
                target.expires_at.is_some_and(|end| end <= wall)
            }
        };
        ensure!(
            is_true,
            "{at} is settled as {:?}, which it isn't",
            settlement.outcome
        );
        ensure!(
            settlement.size_bytes == stored.sent.size_bytes,
            "{at} gives back another size"
        );
        if settlement.outcome == Outcome::Discarded(DiscardReason::Dropped) {
            self.dropped.insert(at);
        }
        Ok(())
    }

    /// Judges all that one log holds, in order: no doubles, the payload as it was rendered, the
    /// order of first deliveries, and all that was ever known to be in it.
    pub fn check_log(
        &mut self,
        lane: LaneId,
        content: &[(u64, StreamRecord)],
        which: usize,
        stats: &mut Stats,
    ) -> Check {
        let i = lane.0 as usize;
        let name = super::shape::LANE_NAMES[i];
        let mut last: HashMap<Option<Bytes>, DeliveryId> = HashMap::new();
        let first = content.first().map_or(0, |(offset, _)| *offset as usize);
        let mut all: Vec<DeliveryId> = self.logs[i][which].iter().take(first).copied().collect();
        ensure!(
            all.len() == first,
            "a log of {name} begins at {first}: something is missing"
        );
        let mut seen: BTreeSet<DeliveryId> = all.iter().copied().collect();
        for (offset, record) in content {
            let at = record.at;
            ensure!(
                *offset == all.len() as u64,
                "{at} stands at {offset} of {name}"
            );
            ensure!(seen.insert(at), "{name} holds {at} twice (log {which})");
            all.push(at);
            self.check_record(lane, record)?;
            let (stored, _) = self.delivery(at)?;
            let message = &stored.sent.message;
            let target = &message.plan.targets[usize::from(at.ordinal.0)];
            if which == STREAM_LOG
                && !self.dropped.contains(&at)
                && let Some(order) = order_of(message, target)
            {
                let before = last.insert(order, at);
                ensure!(
                    before.is_none_or(|before| before < at),
                    "{name} holds {at} after {before:?}"
                );
            }
        }
        let known = &self.logs[i][which];
        ensure!(
            all.starts_with(known),
            "a log of {name} holds {all:?}; it held {known:?}"
        );
        stats.in_doubt_in_sinks += (all.len() - known.len()) as u64;
        if which == DEAD_LETTER_LOG {
            self.graves[i] = seen;
        } else {
            self.received[i] = seen.into_iter().map(|at| (at, 1)).collect();
        }
        self.logs[i][which] = all;
        Ok(())
    }

    fn check_record(&self, lane: LaneId, record: &StreamRecord) -> Check {
        let at = record.at;
        let (stored, planned) = self.delivery(at)?;
        ensure!(
            Some(record.journal) == self.uuid,
            "{at} is of another journal"
        );
        ensure!(planned.lane == lane, "{at} is in the log of {lane:?}");
        let envelope = &stored.sent.message.envelope;
        let target = &stored.sent.message.plan.targets[usize::from(at.ordinal.0)];
        let payload = target.payload.as_ref().or(envelope.payload.as_ref().ok());
        ensure!(
            payload == record.payload.as_ref().ok(),
            "{at} has another payload in a log"
        );
        let key = target.key.as_ref().or(envelope.key.as_ref());
        ensure!(key == record.key.as_ref(), "{at} has another key in a log");
        ensure!(
            envelope.headers == record.headers,
            "{at} has other headers in a log"
        );
        ensure!(
            envelope.topic == record.topic,
            "{at} has another topic in a log"
        );
        let stamp = (record.accepted, record.epoch);
        ensure!(
            stored.stamp.is_none_or(|known| known == stamp),
            "{at} was accepted at {:?}, a log says {stamp:?}",
            stored.stamp
        );
        let id = stored.id.as_ref();
        ensure!(
            id.is_none_or(|id| *id == record.id),
            "{at} is called {} in a log",
            record.id
        );
        Ok(())
    }

    /// Everything that was settled is where its outcome says.
    pub fn check_outcomes(&self) -> Check {
        for (position, stored) in self.stored.iter().enumerate() {
            for (ordinal, planned) in stored.deliveries.iter().enumerate() {
                let at = DeliveryId::new(position as u64, ordinal as u16);
                let i = planned.lane.0 as usize;
                let is_there = match planned.settled {
                    Some(Outcome::Delivered) => self.received[i].contains_key(&at),
                    Some(Outcome::DeadLettered) => self.graves[i].contains(&at),
                    Some(Outcome::Discarded(_)) | None => true,
                };
                ensure!(
                    is_there,
                    "{at} was settled as {:?}, but isn't there",
                    planned.settled
                );
            }
        }
        Ok(())
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

fn owes(shared: &Shared, lane: LaneId, at: DeliveryId) -> bool {
    shared
        .lane(lane)
        .is_some_and(|l| l.ledger().owed().contains(at))
}

fn read_message(shared: &Shared, position: u64) -> Check<Option<Message>> {
    let stored = shared
        .reader
        .read(causeway::message::Position(position))
        .map_err(|e| e.to_string())?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let (message, _) = record::decode(&stored.body).map_err(|e| e.to_string())?;
    Ok(Some(message))
}
