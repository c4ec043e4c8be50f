//! One lane of the gateway's process: its state, its feed, its way out, its dead letters; driven by
//! single steps.

use super::model::{Check, Model};
use super::shape::Shape;
use super::sink::{Sink, Stop};
use super::stats::Stats;
use causeway::clock::{Clock, Wall};
use causeway::egress::{KeyOrder, Verdict};
use causeway::journal::{LaneFeed, SettleGroup, SinkMarks};
use causeway::lane::{Batch, Lane};
use causeway::message::{Delivery, DiscardReason, LaneId, Outcome};
use std::collections::VecDeque;
use std::time::Duration;

/// Where a lane delivers to.
pub enum Exit {
    /// The door's: all that it gets is dead-lettered.
    Nowhere,
    Stream(Box<Sink>),
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

pub struct SimLane {
    pub id: LaneId,
    pub lane: Lane,
    pub feed: LaneFeed,
    pub exit: Exit,
    pub dead_letters: Sink,
    flights: Vec<Batch>,
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
}

impl SimLane {
    pub fn new(id: LaneId, lane: Lane, feed: LaneFeed, exit: Exit, dead_letters: Sink) -> Self {
        Self {
            id,
            lane,
            feed,
            exit,
            dead_letters,
            flights: Vec::new(),
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
                Ok(())
            }
            _ => self.settle(around),
        }
    }

    /// Everything that can be done now. True if something was.
    pub fn work(&mut self, around: &mut Around<'_>) -> Check<bool> {
        if self.ended.is_some() {
            return Ok(false);
        }
        let before = self.mark_of_progress();
        self.lane.resume();
        self.lane.retry_dead_letters();
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
            self.flights.push(batch);
        }
        Ok(())
    }

    /// A batch in flight comes to its end.
    fn land(&mut self, around: &mut Around<'_>) -> Check {
        let hangs = matches!(self.exit, Exit::Machine) && around.destination.hangs;
        if self.flights.is_empty() || hangs {
            around.stats.hung += u64::from(!self.flights.is_empty());
            return Ok(());
        }
        let i = around.rng.usize(..self.flights.len());
        let batch = self.flights.swap_remove(i);
        let verdicts = match &mut self.exit {
            Exit::Nowhere => return Err("the door's lane tries to deliver".into()),
            Exit::Machine => attempt(self.id, &batch, around)?,
            Exit::Stream(_) => self.append(&batch, around)?,
        };
        for verdict in &verdicts {
            match verdict {
                Verdict::Delivered => around.stats.delivered += 1,
                Verdict::Retry { .. } => around.stats.retries += 1,
                Verdict::Reject { .. } => around.stats.rejected += 1,
                Verdict::Unknown { .. } => around.stats.unknown += 1,
                Verdict::Fatal { .. } => around.stats.fatal += 1,
            }
        }
        let (mono, wall) = (around.clock.mono(), around.clock.wall());
        self.lane.outcome(batch.id, verdicts, mono, wall);
        Ok(())
    }

    /// A batch to the stream. Now and then a record is called too large.
    fn append(&mut self, batch: &Batch, around: &mut Around<'_>) -> Check<Vec<Verdict>> {
        let Exit::Stream(sink) = &mut self.exit else {
            return Err("a lane without a stream appends".into());
        };
        let wall = around.clock.wall();
        let all = &batch.deliveries;
        let odds = around.destination.failures;
        let is_too_large = odds > 0 && around.rng.u8(..12) == 0;
        let fits = if is_too_large {
            around.rng.usize(..all.len())
        } else {
            all.len()
        };
        let fitting: Vec<&Delivery> = all[..fits].iter().collect();
        let appended = sink.append(&fitting, wall);
        for delivery in &fitting[..appended.done] {
            around.model.receive(self.id, delivery, wall)?;
        }
        self.marks.sink = sink.next_offset();
        let mut verdicts = vec![Verdict::Delivered; appended.done];
        let first = match appended.stopped {
            Some(Stop::NoRoom) => Verdict::retry("no room"),
            Some(Stop::Failed(reason)) => {
                around
                    .wrong
                    .push(format!("stream of lane {}: {reason}", self.id.0));
                Verdict::fatal(reason)
            }
            None => Verdict::reject("too large"),
        };
        if verdicts.len() < all.len() {
            let rest = match &first {
                Verdict::Fatal { .. } => first.clone(),
                _ => Verdict::retry("not tried"),
            };
            verdicts.push(first);
            verdicts.resize(all.len(), rest);
        }
        Ok(verdicts)
    }

    fn bury(&mut self, around: &mut Around<'_>) -> Check {
        let mut letters = self.lane.take_dead_letters();
        if letters.is_empty() {
            return Ok(());
        }
        let wall = around.clock.wall();
        let part = around.rng.usize(1..=letters.len());
        let first: Vec<&Delivery> = letters[..part].iter().map(|l| &l.delivery).collect();
        let appended = self.dead_letters.append(&first, wall);
        match appended.stopped {
            Some(Stop::NoRoom) => {
                self.lane.dead_letters_refused(letters, "no room".into());
                return Ok(());
            }
            Some(Stop::Failed(reason)) => {
                self.end(reason, around);
                return Ok(());
            }
            None => {}
        }
        let rest = letters.split_off(part);
        let ids: Vec<_> = letters.iter().map(|l| l.delivery.at).collect();
        around.stats.dead_letters += ids.len() as u64;
        around.model.graves[self.id.0 as usize].extend(&ids);
        self.marks.dead_letters = self.dead_letters.next_offset();
        self.lane.dead_lettered(&ids, wall);
        self.lane.put_back_dead_letters(rest);
        Ok(())
    }

    fn settle(&mut self, around: &mut Around<'_>) -> Check {
        let settlements = self.lane.take_settlements();
        if settlements.is_empty() {
            return Ok(());
        }
        for settlement in &settlements {
            around
                .model
                .check_settlement(settlement, around.clock.wall())?;
            let expired = Outcome::Discarded(DiscardReason::Expired);
            around.stats.expired += u64::from(settlement.outcome == expired);
        }
        around.settlements.push_back(SettleGroup {
            lane: self.id,
            settlements,
            marks: std::mem::take(&mut self.marks),
        });
        Ok(())
    }

    /// The gateway's process dies; what was sent may arrive all the same.
    pub fn crash(&mut self, around: &mut Around<'_>) -> Check {
        if matches!(self.exit, Exit::Machine) && !around.destination.hangs {
            for batch in std::mem::take(&mut self.flights) {
                if around.rng.bool() {
                    attempt(self.id, &batch, around)?;
                }
            }
        }
        Ok(())
    }
}

/// What another machine does with a batch.
fn attempt(lane: LaneId, batch: &Batch, around: &mut Around<'_>) -> Check<Vec<Verdict>> {
    let wall = around.clock.wall();
    let mut failed: Vec<&Delivery> = Vec::new();
    let mut verdicts = Vec::new();
    for delivery in batch.deliveries.iter() {
        let follows = match around.shape.key_order {
            _ if batch.strict => !failed.is_empty(),
            KeyOrder::PrefixPerKey => failed.iter().any(|f| same_order(f, delivery)),
            KeyOrder::OneAtATime => false,
        };
        let verdict = if follows {
            Verdict::retry("not tried")
        } else {
            judge(lane, delivery, wall, around)?
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

fn judge(lane: LaneId, delivery: &Delivery, wall: Wall, around: &mut Around<'_>) -> Check<Verdict> {
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
    Ok(verdict)
}
