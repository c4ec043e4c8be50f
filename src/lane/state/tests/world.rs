//! One lane among a journal, a destination and a dead-letter log that are a few collections.

use super::checks::ensure;
use crate::clock::{Mono, Wall};
use crate::egress::{KeyOrder, Verdict};
use crate::faults::Faults;
use crate::lane::state::{Batch, DeadLetter, Lane};
use crate::lane::{BreakerPolicy, LaneSettings, Limits, Mode, OnReject, RatePolicy, RetryPolicy};
use crate::message::{
    Ack, Delivery, DeliveryId, Envelope, Epoch, Guarantee, LaneId, Message, MessageId, Outcome,
    Plan, Position, RouteId, Settlement, Target,
};
use bytes::Bytes;
use fastrand::Rng;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub const LANE: LaneId = LaneId(3);
pub const LARGEST: u64 = 100;
const START: Wall = Wall(1_700_000_000_000);

pub type Check<T = ()> = Result<T, String>;

/// What a history is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    pub limits: Limits,
    pub key_order: KeyOrder,
    pub on_reject: OnReject,
    pub give_up_after: Duration,
    pub breaker: BreakerPolicy,
    pub rate: Option<RatePolicy>,
    pub batch_time: Duration,
    pub keys: u8,
    /// In percent of the verdicts.
    pub failures: u8,
    pub fatal: bool,
    pub mode_changes: bool,
    pub steps: usize,
}

impl Shape {
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            limits: Limits {
                batch_count: rng.usize(1..8),
                batch_bytes: rng.u64(20..400),
                flights: rng.usize(1..4),
                memory_count: rng.usize(4..24),
                memory_bytes: rng.u64(100..2000),
                keys: rng.usize(2..10),
                retrying: rng.usize(2..20),
                parked_bytes: rng.u64(700..8000),
            },
            key_order: [
                KeyOrder::OneAtATime,
                KeyOrder::PrefixPerKey,
                KeyOrder::Pipelined,
            ][rng.usize(..3)],
            on_reject: if rng.u8(..4) == 0 {
                OnReject::Block
            } else {
                OnReject::Skip
            },
            give_up_after: Duration::from_millis(rng.u64(200..20_000)),
            breaker: BreakerPolicy {
                failures: rng.u32(1..10),
                probe_every: Duration::from_millis(rng.u64(10..4_000)),
            },
            rate: (rng.u8(..3) == 0).then(|| RatePolicy {
                per_second: rng.u32(1..50),
                burst: rng.u32(1..10),
            }),
            batch_time: Duration::from_millis([0, rng.u64(1..3_000)][rng.usize(..2)]),
            keys: rng.u8(1..12),
            failures: rng.u8(0..70),
            fatal: rng.u8(..4) == 0,
            mode_changes: rng.u8(..2) == 0,
            steps: rng.usize(20..250),
        }
    }
}

pub struct Flying {
    pub batch: Batch,
    /// Of a destination that applies what it is sent at once: each verdict, and whether it applied
    /// it.
    pub decided: Option<Vec<(Verdict, bool)>>,
}

pub struct World {
    pub shape: Shape,
    pub rng: Rng,
    pub faults: Faults,
    pub now: Mono,
    pub wall: Wall,
    pub journal: Vec<Delivery>,
    pub next_position: u64,
    /// The mode from a position on.
    pub modes: Vec<(Position, Mode)>,
    pub dropping: Option<bool>,
    pub settled: HashMap<DeliveryId, Outcome>,
    /// Settlements that the lane made and a crash would lose.
    pub unsynced: Vec<Settlement>,
    pub applied: HashMap<DeliveryId, u32>,
    pub dead: HashSet<DeliveryId>,
    pub letters: Vec<DeadLetter>,
    pub flying: Vec<Flying>,
    /// Rejected by the destination: later ones of the key may go on before it is in the log.
    pub rejected: HashSet<DeliveryId>,
    /// Failed as far as the lane knows, and to be tried again.
    pub failed: HashSet<DeliveryId>,
    /// Calls that took nothing, since one that took something.
    pub failed_calls: u32,
    /// Deliveries tried since the lane began, and when that was.
    pub tried: (u64, Mono),
    pub lane: Lane,
    pub fed: usize,
    /// What happened, for reproducibility and for `Seen`.
    pub trace: Vec<String>,
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::with_seed(seed);
        let shape = Shape::random(&mut rng);
        let first = if rng.u8(..3) == 0 {
            Mode::Strict
        } else {
            Mode::Keyed
        };
        let lane = Lane::new(settings(&shape, first), faults, rng.fork());
        Self {
            shape,
            rng,
            faults,
            now: Mono(0),
            wall: START,
            journal: Vec::new(),
            next_position: 0,
            modes: vec![(Position(0), first)],
            dropping: None,
            settled: HashMap::new(),
            unsynced: Vec::new(),
            applied: HashMap::new(),
            dead: HashSet::new(),
            letters: Vec::new(),
            flying: Vec::new(),
            rejected: HashSet::new(),
            failed: HashSet::new(),
            failed_calls: 0,
            tried: (0, Mono(0)),
            lane,
            fed: 0,
            trace: Vec::new(),
        }
    }

    pub fn live(&mut self) -> Check {
        for _ in 0..self.shape.steps {
            self.step()?;
            self.collect()?;
            self.check_bounds()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Check {
        match self.rng.u8(..100) {
            0..15 => self.publish(),
            15..35 => self.feed(),
            35..55 => return self.launch(),
            55..75 => return self.land(),
            75..85 => self.read(),
            85..90 => self.pass_time(),
            90..93 => self.unsynced_become_durable(),
            93..95 => self.write_letters()?,
            95 => self.skip(),
            96 => self.restart(),
            97 => self.change_mode(),
            98 => self.pause_or_resume(),
            _ => self.maybe_drop(),
        }
        Ok(())
    }

    fn note(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
    }

    fn publish(&mut self) {
        for _ in 0..self.rng.u8(1..8) {
            let twice = self.rng.u8(..6) == 0;
            let count = if twice { 2 } else { 1 };
            let targets: Vec<Target> = (0..count).map(|_| self.target()).collect();
            let message = Arc::new(Message {
                envelope: envelope(&mut self.rng),
                plan: plan(targets),
            });
            for ordinal in 0..count {
                let dead_letter = (self.rng.u8(..40) == 0).then(|| Arc::from("backlog full"));
                self.journal.push(Delivery {
                    at: DeliveryId::new(self.next_position, ordinal),
                    known_as: None,
                    accepted: self.wall,
                    epoch: Epoch(1),
                    identity: None,
                    size_bytes: self.rng.u32(1..=LARGEST as u32),
                    dead_letter,
                    message: message.clone(),
                });
            }
            self.next_position += self.rng.u64(1..4);
        }
    }

    fn target(&mut self) -> Target {
        let rng = &mut self.rng;
        let mut target = Target::to(RouteId(1), LANE, Guarantee::AtLeastOnce);
        if rng.u8(..5) != 0 {
            target.key = Some(Bytes::from(vec![rng.u8(..self.shape.keys)]));
        }
        match rng.u8(..20) {
            0 => target.not_before = Some(Wall(self.wall.0 + rng.u64(1..100_000))),
            1 => target.expires_at = Some(Wall(self.wall.0 + rng.u64(1..5_000))),
            2 => target.priority = Some(4),
            3 => target.dead_letter = Some("unrouted".into()),
            _ => {}
        }
        target
    }

    fn feed(&mut self) {
        let Some(room) = self.lane.room() else {
            return self.note("no room");
        };
        let mut bytes = 0;
        for _ in 0..self.rng.usize(1..=room.count) {
            while self
                .journal
                .get(self.fed)
                .is_some_and(|d| self.settled.contains_key(&d.at))
            {
                self.fed += 1;
            }
            let Some(next) = self.journal.get(self.fed).cloned() else {
                return;
            };
            bytes += u64::from(next.size_bytes);
            if bytes > room.bytes && bytes > u64::from(next.size_bytes) {
                return;
            }
            self.fed += 1;
            self.lane.offer(next, self.wall);
        }
    }

    fn launch(&mut self) -> Check {
        let Some(batch) = self.lane.next_batch(self.now, self.wall) else {
            return Ok(());
        };
        self.note(format!("batch {}", batch.deliveries.len()));
        let limits = self.shape.limits;
        let bytes: u64 = batch
            .deliveries
            .iter()
            .map(|d| u64::from(d.size_bytes))
            .sum();
        let count = batch.deliveries.len();
        ensure!(count <= limits.batch_count, "a batch of {count}");
        ensure!(
            bytes <= limits.batch_bytes || count == 1,
            "a batch of {bytes} bytes"
        );
        ensure!(
            self.dropping.is_none(),
            "an attempt while everything is dropped"
        );
        self.check_circuit_and_rate(count)?;
        self.collect()?;
        for (i, delivery) in batch.deliveries.iter().enumerate() {
            self.check_attempt(delivery, batch.strict, &batch.deliveries[..i])?;
        }
        let pipelined = self.shape.key_order == KeyOrder::Pipelined && !batch.strict;
        let decided = pipelined.then(|| self.decide(&batch));
        let decided = decided.transpose()?;
        self.flying.push(Flying { batch, decided });
        let one = self.flying[0].batch.strict || self.shape.key_order == KeyOrder::PrefixPerKey;
        let most = if one { 1 } else { limits.flights };
        ensure!(
            self.flying.len() <= most,
            "{} batches in flight",
            self.flying.len()
        );
        Ok(())
    }

    /// The destination applies some of a batch, as its kind of order allows.
    fn land(&mut self) -> Check {
        if self.flying.is_empty() {
            return Ok(());
        }
        let Flying { batch, decided } =
            self.flying.swap_remove(self.rng.usize(..self.flying.len()));
        let decided = match decided {
            Some(decided) => decided,
            None => self.decide(&batch)?,
        };
        for (delivery, (verdict, _)) in batch.deliveries.iter().zip(&decided) {
            let skipped =
                matches!(verdict, Verdict::Reject { .. }) && self.shape.on_reject == OnReject::Skip;
            if *verdict == Verdict::Delivered || skipped {
                self.failed.remove(&delivery.at);
            } else {
                self.failed.insert(delivery.at);
            }
        }
        let verdicts: Vec<_> = decided.into_iter().map(|(verdict, _)| verdict).collect();
        self.count_call(&verdicts);
        self.lane.outcome(batch.id, verdicts, self.now, self.wall);
        Ok(())
    }

    fn count_call(&mut self, verdicts: &[Verdict]) {
        let answered = |v: &Verdict| matches!(v, Verdict::Delivered | Verdict::Reject { .. });
        self.failed_calls = match verdicts {
            _ if verdicts.iter().any(answered) => 0,
            _ if verdicts.iter().any(|v| matches!(v, Verdict::Fatal { .. })) => u32::MAX,
            _ => self.failed_calls.saturating_add(1),
        };
    }

    fn check_circuit_and_rate(&mut self, count: usize) -> Check {
        let is_open = self.failed_calls >= self.shape.breaker.failures;
        ensure!(
            !is_open || count == 1,
            "{count} are tried through an open circuit"
        );
        if is_open {
            self.note("probe");
        }
        self.tried.0 += count as u64;
        if let Some(rate) = self.shape.rate {
            let passed_ms = self.now.0 - self.tried.1.0;
            let most = u64::from(rate.burst) * 1000 + passed_ms * u64::from(rate.per_second);
            let tried = self.tried.0;
            ensure!(
                tried * 1000 <= most,
                "{tried} tried in {passed_ms} ms by {rate:?}"
            );
            self.note("rate");
        }
        Ok(())
    }

    fn decide(&mut self, sent: &Batch) -> Check<Vec<(Verdict, bool)>> {
        let deliveries = &sent.deliveries;
        let mut decided: Vec<(Verdict, bool)> = Vec::new();
        for (i, delivery) in deliveries.iter().enumerate() {
            let batch = deliveries[..i].iter().zip(&decided);
            let flying = self.flying.iter().filter_map(|flying| {
                let decided = flying.decided.as_ref()?;
                Some(flying.batch.deliveries.iter().zip(decided))
            });
            let after_failure = batch.chain(flying.flatten()).any(|(before, verdict)| {
                self.holds_later_ones(sent.strict, verdict) && self.are_ordered(before, delivery)
            });
            let (verdict, applied) = if after_failure {
                (Verdict::retry("after a failure"), false)
            } else {
                self.verdict()
            };
            if applied {
                self.apply(delivery)?;
            }
            if matches!(verdict, Verdict::Reject { .. }) {
                self.rejected.insert(delivery.at);
            }
            decided.push((verdict, applied));
        }
        Ok(decided)
    }

    /// What the destination says of one keeps it from applying later ones of its key.
    fn holds_later_ones(&self, strict: bool, (verdict, applied): &(Verdict, bool)) -> bool {
        match self.shape.key_order {
            _ if strict => *verdict != Verdict::Delivered,
            KeyOrder::Pipelined if matches!(verdict, Verdict::Reject { .. }) => false,
            KeyOrder::Pipelined => !applied,
            KeyOrder::OneAtATime | KeyOrder::PrefixPerKey => *verdict != Verdict::Delivered,
        }
    }

    fn verdict(&mut self) -> (Verdict, bool) {
        if self.rng.u8(..100) >= self.shape.failures {
            return (Verdict::Delivered, true);
        }
        match self.rng.u8(..10) {
            0..5 => (Verdict::retry("busy"), false),
            5..7 => (Verdict::unknown("no answer"), self.rng.bool()),
            7 if self.shape.fatal && self.rng.bool() => (Verdict::halt("gone"), false),
            7 if self.shape.fatal => (Verdict::fatal("gone"), false),
            _ => (Verdict::reject("ugly"), false),
        }
    }

    /// Promises 5 and 7: what comes before it in its order was applied, or never will be.
    fn apply(&mut self, delivery: &Delivery) -> Check {
        for before in self
            .journal
            .iter()
            .take_while(|before| before.at < delivery.at)
        {
            let passed = self.applied.contains_key(&before.at)
                || self.dead.contains(&before.at)
                || (self.shape.key_order == KeyOrder::Pipelined
                    && self.mode_at(delivery.at) == Mode::Keyed
                    && self.rejected.contains(&before.at))
                || matches!(self.outcome(before.at), Some(Outcome::Discarded(_)))
                || self.is_marked_dead(before);
            let ordered = self.are_ordered(before, delivery);
            ensure!(
                passed || !ordered,
                "{} is applied before its elder {}",
                delivery.at,
                before.at
            );
        }
        *self.applied.entry(delivery.at).or_default() += 1;
        Ok(())
    }

    fn read(&mut self) {
        let wanted = self.lane.wanted(self.now, self.wall);
        if wanted.ids.is_empty() {
            return;
        }
        self.note(format!("read {}", wanted.ids.len()));
        assert!(wanted.ids.is_sorted(), "the journal reads onwards only");
        let most = self.rng.usize(0..=wanted.ids.len());
        let mut bytes = 0;
        for (i, at) in wanted.ids.iter().enumerate() {
            let found = self.journal.iter().find(|delivery| delivery.at == *at);
            let delivery = found
                .cloned()
                .expect("a lane wants only what it was offered");
            bytes += u64::from(delivery.size_bytes);
            if i >= most || (i > 0 && bytes > wanted.max_bytes) {
                self.lane.unread(&wanted.ids[i..]);
                return;
            }
            self.lane.reload(delivery, self.wall);
        }
    }

    fn pass_time(&mut self) {
        let most = self.rng.u64(1..20_000);
        let by = Duration::from_millis(self.rng.u64(0..most));
        self.now = self.now.plus(by);
        self.wall = self.wall.plus(by);
        if self.rng.u8(..20) == 0 {
            self.wall = Wall(self.wall.0 - self.rng.u64(0..3_000));
        }
    }

    fn unsynced_become_durable(&mut self) {
        for settlement in std::mem::take(&mut self.unsynced) {
            self.settled.insert(settlement.at, settlement.outcome);
        }
    }

    fn write_letters(&mut self) -> Check {
        let letters = self.lane.take_dead_letters();
        for letter in letters {
            let at = letter.delivery.at;
            let known = self.dead.contains(&at) || self.letters.iter().any(|l| l.delivery.at == at);
            ensure!(!known, "two dead letters of {at}");
            self.letters.push(letter);
        }
        let letters = std::mem::take(&mut self.letters);
        match self.rng.u8(..6) {
            _ if letters.is_empty() => self.lane.retry_dead_letters(),
            0 => {
                self.note("no room for dead letters");
                self.lane.dead_letters_refused(letters, "full".into());
            }
            1 => self.letters = letters,
            _ => {
                self.note("dead letters");
                let ids: Vec<_> = letters.iter().map(|letter| letter.delivery.at).collect();
                self.dead.extend(&ids);
                self.lane.dead_lettered(&ids, self.wall);
            }
        }
        Ok(())
    }

    /// Everything that isn't durable is gone; the sink of dead letters is read first.
    fn restart(&mut self) {
        self.note("restart");
        self.unsynced.clear();
        self.letters.clear();
        self.flying.clear();
        self.failed.clear();
        self.failed_calls = 0;
        self.tried = (0, self.now);
        for at in &self.dead {
            self.settled.insert(*at, Outcome::DeadLettered);
        }
        let first = self
            .journal
            .iter()
            .find(|d| !self.settled.contains_key(&d.at));
        let first = first.map_or(Position(u64::MAX), |d| d.at.position);
        let past = self
            .modes
            .iter()
            .rposition(|(from, _)| *from <= first)
            .unwrap_or(0);
        let settings = settings(&self.shape, self.modes[past].1);
        self.lane = Lane::new(settings, self.faults, self.rng.fork());
        for (barrier, mode) in &self.modes[past + 1..] {
            self.lane.change_mode(*mode, *barrier);
        }
        self.fed = 0;
        self.dropping = None;
    }

    fn change_mode(&mut self) {
        let barrier = Position(self.next_position);
        let (from, mode) = *self.modes.last().expect("there is a first mode");
        if self.shape.mode_changes && from < barrier {
            let mode = if mode == Mode::Strict {
                Mode::Keyed
            } else {
                Mode::Strict
            };
            self.note(format!("to {mode:?}"));
            self.modes.push((barrier, mode));
            self.lane.change_mode(mode, barrier);
        }
    }

    fn pause_or_resume(&mut self) {
        if self.rng.u8(..3) == 0 {
            self.note("pause");
            self.lane.pause();
        } else {
            self.failed_calls = 0;
            self.lane.resume();
        }
    }

    fn skip(&mut self) {
        let some = self.rng.choice(&self.journal).map(|delivery| delivery.at);
        let which = some.filter(|_| self.rng.bool());
        if let Ok(skipped) = self.lane.skip(which) {
            self.note(if skipped.in_flight {
                "skip in flight"
            } else {
                "skip"
            });
        }
    }

    fn maybe_drop(&mut self) {
        if self.rng.u8(..4) == 0 {
            let discard = self.rng.bool();
            self.note("drop");
            self.dropping = Some(discard);
            self.lane.drop_all(discard, Position(u64::MAX));
        }
    }

    /// From now on everything succeeds: then everything is settled.
    pub fn finish(&mut self) -> Check {
        self.shape.failures = 0;
        for _ in 0..20_000 {
            // What is in flight may still end as it was decided before.
            self.failed_calls = 0;
            self.lane.resume();
            let before = (self.unsynced.len(), self.settled.len());
            self.lane.retry_dead_letters();
            self.feed();
            self.read();
            self.launch()?;
            while !self.flying.is_empty() {
                self.land()?;
            }
            self.write_letters()?;
            self.collect()?;
            self.check_bounds()?;
            if self
                .journal
                .iter()
                .all(|delivery| self.is_settled(delivery.at))
            {
                return self.check_empty();
            }
            if before == (self.unsynced.len(), self.settled.len())
                && let Some(sleep) = self.lane.next_wake(self.now, self.wall)
            {
                self.now = self.now.plus(sleep);
                self.wall = self.wall.plus(sleep);
            }
        }
        let waits = self
            .journal
            .iter()
            .find(|delivery| !self.is_settled(delivery.at));
        Err(format!(
            "{:?} is never settled: {:#?}",
            waits.map(|d| d.at),
            self.lane.view()
        ))
    }
}

fn settings(shape: &Shape, mode: Mode) -> LaneSettings {
    LaneSettings {
        lane: LANE,
        mode,
        key_order: shape.key_order,
        on_reject: shape.on_reject,
        on_reject_of: HashMap::new(),
        retry: RetryPolicy {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(3),
            give_up_after: shape.give_up_after,
        },
        breaker: shape.breaker,
        rate: shape.rate,
        batch_time: shape.batch_time,
        limits: shape.limits,
        volatile: false,
    }
}

pub fn envelope(rng: &mut Rng) -> Envelope {
    Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "a/b".into(),
        id: MessageId::None,
        key: None,
        headers: Vec::new(),
        content_type: None,
        payload: Ok(Bytes::from(vec![rng.u8(..)])),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}

pub fn plan(targets: Vec<Target>) -> Plan {
    Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::from_secs(30),
        targets,
    }
}
