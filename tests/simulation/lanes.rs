//! One lane of the gateway's process: its state, its feed, its way out, its dead letters; driven by
//! single steps.

use super::model::{Check, Model};
use super::shape::Shape;
use super::stats::Stats;
use causeway::clock::Clock;
use causeway::egress::DeadLetterLog;
use causeway::egress::stream::StreamDestination;
use causeway::egress::{KeyOrder, Verdict};
use causeway::journal::{LaneFeed, SettleGroup, SinkMarks};
use causeway::lane::{Batch, DeadLetterSink, Lane, SinkError, Written};
use causeway::message::{
    Delivery, DeliveryId, DiscardReason, LaneId, Outcome, Position, Settlement,
};
use std::collections::VecDeque;
use std::time::Duration;

/// Where a lane delivers to.
pub enum Exit {
    /// The door's: all that it gets is dead-lettered.
    Nowhere,
    Stream(StreamDestination),
    /// Another machine: `Destination`.
    Machine,
}

/// A destination that outlives the gateway's crashes. What it has is in the model.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    pub hangs: bool,
    /// Percent of the attempts.
    pub failures: u8,
}

struct Flight {
    batch: Batch,
    /// Of a machine that keeps the order of what it is sent: what it did, and whether that holds
    /// later ones.
    decided: Option<Vec<(Verdict, bool)>>,
}

pub struct SimLane {
    pub id: LaneId,
    pub lane: Lane,
    pub feed: LaneFeed,
    pub exit: Exit,
    pub dead_letters: DeadLetterLog,
    /// In the order in which they began.
    flights: Vec<Flight>,
    settlements: Vec<Settlement>,
    marks: SinkMarks,
    /// It ended until the next start, and why.
    pub ended: Option<String>,
}

/// What a lane's step touches besides the lane.
pub struct Around<'a> {
    pub model: &'a mut Model,
    pub rng: &'a mut fastrand::Rng,
    pub clock: &'a Clock,
    pub stats: &'a mut Stats,
    pub shape: &'a Shape,
    pub destination: Destination,
    pub settlements: &'a mut VecDeque<SettleGroup>,
    /// What went wrong, to be excused by a scripted fault.
    pub wrong: &'a mut Vec<String>,
    pub trace: &'a mut Option<Vec<String>>,
}

impl Around<'_> {
    fn note(&mut self, lane: LaneId, what: &str, ids: impl IntoIterator<Item = DeliveryId>) {
        if let Some(trace) = self.trace {
            let ids: Vec<String> = ids.into_iter().map(|at| at.to_string()).collect();
            let now = self.clock.mono().0;
            trace.push(format!(
                "      {now:>7} ms lane {} {what} {}",
                lane.0,
                ids.join(" ")
            ));
        }
    }
}

impl SimLane {
    pub fn new(
        id: LaneId,
        lane: Lane,
        feed: LaneFeed,
        exit: Exit,
        dead_letters: DeadLetterLog,
    ) -> Self {
        Self {
            id,
            lane,
            feed,
            exit,
            dead_letters,
            flights: Vec::new(),
            settlements: Vec::new(),
            marks: SinkMarks::default(),
            ended: None,
        }
    }

    /// One step at random.
    pub fn step(&mut self, around: &mut Around<'_>) -> Check {
        if self.ended.is_some() {
            return Ok(());
        }
        match around.rng.u8(..32) {
            0..=7 => self.feed(around),
            8..=10 => self.read(around),
            11..=18 => self.launch(around),
            19..=25 => self.land(around),
            26 | 27 => self.bury(around),
            28 => {
                self.lane.retry_dead_letters();
                self.lane.resume();
                self.housekeep(around);
                Ok(())
            }
            29 if around.rng.u8(..40) == 0 => {
                self.drop_all(around);
                Ok(())
            }
            _ => self.settle(around),
        }
    }

    /// An operator gives up what is owed.
    fn drop_all(&mut self, around: &mut Around<'_>) {
        let discard = around.rng.bool();
        around.stats.drops += 1;
        around.model.dropping[self.id.0 as usize] |= discard;
        around.note(self.id, "is to drop all", []);
        let until = Position(around.model.next_position());
        self.lane.drop_all(discard, until);
    }

    /// Everything that can be done now. True if something was.
    pub fn work(&mut self, around: &mut Around<'_>) -> Check<bool> {
        if self.ended.is_some() {
            return Ok(false);
        }
        let before = self.mark_of_progress();
        self.lane.resume();
        self.lane.retry_dead_letters();
        self.housekeep(around);
        self.feed(around)?;
        self.read(around)?;
        self.launch(around)?;
        for _ in 0..self.flights.len() {
            self.land(around)?;
        }
        self.bury(around)?;
        let settled = around.settlements.len();
        self.settle(around)?;
        Ok(self.mark_of_progress() != before || around.settlements.len() != settled)
    }

    fn mark_of_progress(&self) -> (u64, usize, u64) {
        let view = self.lane.view();
        (view.counts.attempts, view.in_memory, view.pending)
    }

    pub fn next_wake(&self, clock: &Clock) -> Option<Duration> {
        self.lane.next_wake(clock.mono(), clock.wall())
    }

    fn end(&mut self, why: String, around: &mut Around<'_>) {
        around.stats.lane_failures += 1;
        around.wrong.push(format!("lane {}: {why}", self.id.0));
        self.ended = Some(why);
    }

    fn feed(&mut self, around: &mut Around<'_>) -> Check {
        let Some(room) = self.lane.room() else {
            return Ok(());
        };
        match self.feed.take(room.count, room.bytes as usize) {
            Ok(deliveries) => {
                around.note(self.id, "is fed", deliveries.iter().map(|d| d.at));
                for delivery in deliveries {
                    around.model.check_fed(self.id, &delivery)?;
                    let not_before = delivery.target().not_before;
                    let wall = around.clock.wall();
                    around.stats.delayed += u64::from(not_before.is_some_and(|at| at > wall));
                    self.lane.offer(delivery, wall);
                }
            }
            Err(e) => self.end(e.to_string(), around),
        }
        Ok(())
    }

    fn read(&mut self, around: &mut Around<'_>) -> Check {
        let (mono, wall) = (around.clock.mono(), around.clock.wall());
        let wanted = self.lane.wanted(mono, wall);
        if wanted.ids.is_empty() {
            return Ok(());
        }
        match self.feed.read_many(&wanted.ids, wanted.max_bytes as usize) {
            Ok(read) => {
                let count = read.len();
                around.note(self.id, "reads again", read.iter().map(|d| d.at));
                for (delivery, at) in read.into_iter().zip(&wanted.ids) {
                    if delivery.at != *at {
                        return Err(format!("{} was read, {at} was wanted", delivery.at));
                    }
                    around.model.check_fed(self.id, &delivery)?;
                    self.lane.reload(delivery, wall);
                }
                around.stats.read_again += count as u64;
                self.lane.unread(&wanted.ids[count..]);
            }
            Err(e) => self.end(e.to_string(), around),
        }
        Ok(())
    }

    fn launch(&mut self, around: &mut Around<'_>) -> Check {
        if let Some(batch) = self
            .lane
            .next_batch(around.clock.mono(), around.clock.wall())
        {
            around.note(self.id, "tries", batch.deliveries.iter().map(|d| d.at));
            self.flights.push(Flight {
                batch,
                decided: None,
            });
        }
        self.listen(around)
    }

    /// A batch in flight comes to its end.
    fn land(&mut self, around: &mut Around<'_>) -> Check {
        let hangs = matches!(self.exit, Exit::Machine) && around.destination.hangs;
        if self.flights.is_empty() || hangs {
            around.stats.hung += u64::from(!self.flights.is_empty());
            return Ok(());
        }
        let i = around.rng.usize(..self.flights.len());
        self.decide_in_turn(self.flights.len(), around)?;
        let Flight { batch, decided } = self.flights.remove(i);
        let verdicts = match (&mut self.exit, decided) {
            (Exit::Nowhere, _) => return Err("the door's lane tries to deliver".into()),
            (Exit::Machine, Some(decided)) => decided.into_iter().map(|(v, _)| v).collect(),
            (Exit::Machine, None) => attempt(self.id, &batch, around)?,
            (Exit::Stream(_), _) => self.append(&batch, around)?,
        };
        for (verdict, delivery) in verdicts.iter().zip(batch.deliveries.iter()) {
            around.note(self.id, &format!("hears {verdict:?} of"), [delivery.at]);
            match verdict {
                Verdict::Delivered => around.stats.delivered += 1,
                Verdict::Retry { .. } => around.stats.retries += 1,
                Verdict::Reject { .. } => around.stats.rejected += 1,
                Verdict::Unknown { .. } => around.stats.unknown += 1,
                Verdict::Fatal { .. } | Verdict::Halt { .. } | Verdict::Pause { .. } => {
                    around.stats.fatal += 1
                }
            }
        }
        let (mono, wall) = (around.clock.mono(), around.clock.wall());
        self.lane.outcome(batch.id, verdicts, mono, wall);
        Ok(())
    }

    /// A machine that keeps the order of what it is sent takes the first batches that are on their
    /// way.
    fn decide_in_turn(&mut self, count: usize, around: &mut Around<'_>) -> Check {
        let keeps = around.shape.key_order == KeyOrder::Pipelined;
        if !keeps || !matches!(self.exit, Exit::Machine) {
            return Ok(());
        }
        for i in 0..count {
            let (before, rest) = self.flights.split_at_mut(i);
            let flight = &mut rest[0];
            if flight.decided.is_some() {
                continue;
            }
            let before = before
                .iter()
                .filter_map(|f| Some((&f.batch, f.decided.as_ref()?)));
            let before = before.flat_map(|(b, decided)| b.deliveries.iter().zip(decided));
            let mut failed: Vec<&Delivery> = before
                .filter(|(_, (_, holds))| *holds)
                .map(|(delivery, _)| delivery)
                .collect();
            let mut decided = Vec::new();
            for delivery in flight.batch.deliveries.iter() {
                let follows = failed.iter().any(|f| same_order(f, delivery));
                let (verdict, holds) = if follows {
                    (Verdict::retry("not tried"), true)
                } else {
                    judge(self.id, delivery, around)?
                };
                if holds {
                    failed.push(delivery);
                } else if verdict != Verdict::Delivered {
                    around.model.passed.insert(delivery.at);
                }
                decided.push((verdict, holds));
            }
            flight.decided = Some(decided);
        }
        Ok(())
    }

    /// A batch to the stream.
    fn append(&mut self, batch: &Batch, around: &mut Around<'_>) -> Check<Vec<Verdict>> {
        let Exit::Stream(stream) = &self.exit else {
            return Err("a lane without a stream appends".into());
        };
        let wall = around.clock.wall();
        let had_failed = stream.stats().failure.is_some();
        let attempted = stream.append(&batch.deliveries);
        for (delivery, verdict) in batch.deliveries.iter().zip(&attempted.verdicts) {
            match verdict {
                Verdict::Delivered => around.model.receive(self.id, delivery, wall)?,
                Verdict::Halt { reason } if !had_failed => {
                    let id = self.id.0;
                    around.wrong.push(format!("stream of lane {id}: {reason}"));
                }
                _ => {}
            }
        }
        self.marks.sink = attempted.mark.map_or(0, |mark| mark.0);
        Ok(attempted.verdicts)
    }

    fn bury(&mut self, around: &mut Around<'_>) -> Check {
        let mut letters = self.lane.take_dead_letters();
        if letters.is_empty() {
            return Ok(());
        }
        let part = around.rng.usize(1..=letters.len());
        match self.dead_letters.write(&letters[..part]) {
            Ok(Written { count, next }) => {
                let rest = letters.split_off(count);
                let ids: Vec<_> = letters.iter().map(|l| l.delivery.at).collect();
                around.stats.dead_letters += ids.len() as u64;
                around.note(self.id, "buries", ids.iter().copied());
                around.model.bury(self.id, &ids)?;
                self.marks.dead_letters = next.0;
                self.lane.dead_lettered(&ids, around.clock.wall());
                self.lane.put_back_dead_letters(rest);
            }
            Err(SinkError::Full(reason)) => {
                self.lane.dead_letters_refused(letters, reason.into());
            }
            Err(SinkError::Failed(reason)) => self.end(reason, around),
        }
        Ok(())
    }

    /// Marks are passed on, and the stream is trimmed.
    pub fn housekeep(&mut self, around: &mut Around<'_>) {
        let marks = self.feed.marks();
        self.dead_letters.advance_mark(marks.dead_letters);
        if let Exit::Stream(stream) = &self.exit {
            let earliest = stream.stats().earliest;
            stream.housekeep(marks.sink);
            around.stats.trimmed += u64::from(stream.stats().earliest > earliest);
        }
    }

    /// Listens to the lane's last words; they are handed over later.
    fn listen(&mut self, around: &mut Around<'_>) -> Check {
        for settlement in self.lane.take_settlements() {
            around
                .model
                .check_settlement(&settlement, around.clock.wall())?;
            around.note(
                self.id,
                &format!("says {:?} of", settlement.outcome),
                [settlement.at],
            );
            let expired = Outcome::Discarded(DiscardReason::Expired);
            around.stats.expired += u64::from(settlement.outcome == expired);
            self.settlements.push(settlement);
        }
        Ok(())
    }

    fn settle(&mut self, around: &mut Around<'_>) -> Check {
        self.listen(around)?;
        if self.settlements.is_empty() {
            return Ok(());
        }
        around.note(self.id, "settles", self.settlements.iter().map(|s| s.at));
        around.settlements.push_back(SettleGroup {
            lane: self.id,
            settlements: std::mem::take(&mut self.settlements),
            marks: std::mem::take(&mut self.marks),
        });
        Ok(())
    }

    /// The gateway's process dies; what was sent may arrive all the same.
    pub fn crash(&mut self, around: &mut Around<'_>) -> Check {
        if matches!(self.exit, Exit::Machine) && !around.destination.hangs {
            let arrive = around.rng.usize(..=self.flights.len());
            self.decide_in_turn(arrive, around)?;
            for flight in std::mem::take(&mut self.flights) {
                let in_turn = around.shape.key_order == KeyOrder::Pipelined;
                if !in_turn && around.rng.bool() {
                    attempt(self.id, &flight.batch, around)?;
                }
            }
        }
        Ok(())
    }
}

/// What another machine does with a batch.
fn attempt(lane: LaneId, batch: &Batch, around: &mut Around<'_>) -> Check<Vec<Verdict>> {
    let mut failed: Vec<&Delivery> = Vec::new();
    let mut verdicts = Vec::new();
    for delivery in batch.deliveries.iter() {
        let follows = match around.shape.key_order {
            _ if batch.strict => !failed.is_empty(),
            KeyOrder::PrefixPerKey => failed.iter().any(|f| same_order(f, delivery)),
            KeyOrder::OneAtATime | KeyOrder::Pipelined => false,
        };
        let verdict = if follows {
            Verdict::retry("not tried")
        } else {
            judge(lane, delivery, around)?.0
        };
        if verdict != Verdict::Delivered {
            failed.push(delivery);
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn same_order(a: &Delivery, b: &Delivery) -> bool {
    a.is_ordered() && b.is_ordered() && a.key().is_some() && a.key() == b.key()
}

/// What it says, and whether later ones of the key would overtake this one.
fn judge(lane: LaneId, delivery: &Delivery, around: &mut Around<'_>) -> Check<(Verdict, bool)> {
    let wall = around.clock.wall();
    let fails = around.rng.u8(..100) < around.destination.failures;
    let (verdict, applied) = match around.rng.u8(..20) {
        _ if !fails => (Verdict::Delivered, true),
        0..10 => (Verdict::retry("busy"), false),
        10..13 => (Verdict::unknown("no answer"), true),
        13..15 => (Verdict::unknown("no answer"), false),
        15 => (Verdict::fatal("gone"), false),
        _ => (Verdict::reject("ugly"), false),
    };
    if applied {
        let again = around.model.received[lane.0 as usize].contains_key(&delivery.at);
        around.stats.redelivered += u64::from(again);
        around.model.receive(lane, delivery, wall)?;
    }
    let holds = !applied && !matches!(verdict, Verdict::Reject { .. });
    Ok((verdict, holds))
}
