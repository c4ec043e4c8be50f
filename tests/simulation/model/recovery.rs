//! Judges what a start finds: nothing lost, nothing twice, and all that was in doubt decided; and
//! the ledgers and look-ups of a journal that runs.

use super::{Check, Model, ensure, targets_of};
use crate::simulation::publisher::number_of;
use crate::simulation::shape::DOOR;
use crate::simulation::stats::Stats;
use causeway::journal::{Shared, Targets};
use causeway::message::{DeliveryId, DeliveryState, LaneId, Message, Outcome, Position, record};

impl Model {
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
            self.latest.get(&ident) == Some(&position)
                && !self.may_be_forgotten(position, self.alive_ms)
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
}

fn owes(shared: &Shared, lane: LaneId, at: DeliveryId) -> bool {
    shared
        .lane(lane)
        .is_some_and(|l| l.ledger().owed().contains(at))
}

fn read_message(shared: &Shared, position: u64) -> Check<Option<Message>> {
    let stored = shared
        .reader
        .read(Position(position))
        .map_err(|e| e.to_string())?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let (message, _) = record::decode(&stored.body).map_err(|e| e.to_string())?;
    Ok(Some(message))
}
