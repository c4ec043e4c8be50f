//! What a history is held against.

use super::world::{Check, LANE, LARGEST, World};
use crate::egress::KeyOrder;
use crate::faults::Faults;
use crate::lane::state::is_expired;
use crate::lane::{Mode, OnReject};
use crate::message::{Delivery, DeliveryId, DiscardReason, Outcome, Position};
use std::collections::HashSet;

macro_rules! ensure {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(format!($($what)*));
        }
    };
}

pub(super) use ensure;

impl World {
    pub(super) fn check_attempt(
        &self,
        delivery: &Delivery,
        strict: bool,
        earlier: &[Delivery],
    ) -> Check {
        let at = delivery.at;
        ensure!(
            !self.is_settled(at),
            "{at} is attempted after it was settled"
        );
        ensure!(
            !self.is_marked_dead(delivery),
            "{at} is attempted, though for the dead letters"
        );
        ensure!(
            !is_expired(delivery, self.wall),
            "{at} is attempted after its end"
        );
        ensure!(
            strict == (self.mode_at(at) == Mode::Strict),
            "{at} is attempted in another mode"
        );
        let due = delivery
            .target()
            .not_before
            .is_none_or(|due| due <= self.wall);
        ensure!(due || strict, "{at} is attempted before its time");
        let barrier = self
            .modes
            .iter()
            .rev()
            .find(|(from, _)| *from <= at.position);
        let barrier = barrier.map_or(Position(0), |(from, _)| *from);
        for old in self
            .journal
            .iter()
            .take_while(|old| old.at.position < barrier)
        {
            ensure!(
                self.is_settled(old.at),
                "{at} is attempted, {} of the old mode waits",
                old.at
            );
        }
        let sent = |elder: DeliveryId| {
            let flying = self.flying.iter().flat_map(|f| f.batch.deliveries.iter());
            flying.chain(earlier).any(|other| other.at == elder)
        };
        let overtaken = self.failed.iter().find(|elder| {
            let waits = **elder < at && !self.is_settled(**elder) && !sent(**elder);
            waits && self.is_elder(**elder, delivery)
        });
        ensure!(
            overtaken.is_none() || self.faults != Faults::none(),
            "{at} is attempted before its elder {overtaken:?} is tried again"
        );
        if self.shape.key_order == KeyOrder::OneAtATime {
            let flying = self.flying.iter().flat_map(|f| f.batch.deliveries.iter());
            let elder = flying
                .chain(earlier)
                .find(|other| self.are_ordered(other, delivery));
            ensure!(
                elder.is_none(),
                "{at} is attempted while {elder:?} is unconfirmed"
            );
        }
        Ok(())
    }

    /// Takes the lane's settlements, and holds each against the truth.
    pub(super) fn collect(&mut self) -> Check {
        for settlement in self.lane.take_settlements() {
            let at = settlement.at;
            ensure!(settlement.lane == LANE, "a settlement of another lane");
            ensure!(!self.is_settled(at), "{at} is settled twice");
            let found = self.journal.iter().find(|delivery| delivery.at == at);
            let Some(delivery) = found else {
                return Err(format!("{at} was never offered"));
            };
            ensure!(
                delivery.size_bytes == settlement.size_bytes,
                "{at} gives back another size"
            );
            let true_word = match settlement.outcome {
                Outcome::Delivered => self.applied.contains_key(&at),
                Outcome::DeadLettered => self.dead.contains(&at),
                Outcome::Discarded(DiscardReason::Expired) => is_expired(delivery, self.wall),
                Outcome::Discarded(DiscardReason::Dropped) => self.dropping == Some(true),
                Outcome::Discarded(DiscardReason::Lost) => false,
            };
            ensure!(
                true_word,
                "{at} is settled as {:?}, but not delivered (or not so)",
                settlement.outcome
            );
            self.trace.push(format!("{:?}", settlement.outcome));
            self.unsynced.push(settlement);
        }
        Ok(())
    }

    pub(super) fn check_bounds(&self) -> Check {
        let limits = self.shape.limits;
        let lane = &self.lane;
        ensure!(
            lane.memory_count <= limits.memory_count,
            "{} in memory",
            lane.memory_count
        );
        let bytes = lane.memory_bytes;
        ensure!(
            bytes <= limits.memory_bytes + 2 * LARGEST,
            "{bytes} bytes in memory"
        );
        ensure!(lane.keys.len() <= limits.keys, "{} keys", lane.keys.len());
        // A fault makes ordered deliveries retry like those without order.
        let free = lane.retrying.len();
        ensure!(
            free <= limits.retrying || self.faults != Faults::none() || self.dropping.is_some(),
            "{free} retrying"
        );
        let held: u64 = lane.keys.values().map(|key| key.held.cost_bytes()).sum();
        let parked = held + lane.dropping.cost_bytes();
        ensure!(
            parked <= lane.parked_bytes,
            "{parked} bytes of held sets, {} counted",
            lane.parked_bytes
        );
        Ok(())
    }

    pub(super) fn check_empty(&self) -> Check {
        let lane = &self.lane;
        ensure!(lane.pending == 0, "{} pending of none", lane.pending);
        ensure!(
            (lane.memory_count, lane.memory_bytes) == (0, 0),
            "memory is not given back"
        );
        ensure!(
            lane.parked_bytes == 0,
            "{} parked bytes of none",
            lane.parked_bytes
        );
        ensure!(lane.keys.is_empty(), "{} keys of nothing", lane.keys.len());
        ensure!(
            lane.retrying.is_empty(),
            "{} retrying of none",
            lane.retrying.len()
        );
        ensure!(
            lane.timers.is_empty() && lane.graves.is_empty(),
            "timers or graves of nothing"
        );
        Ok(())
    }

    pub(super) fn outcome(&self, at: DeliveryId) -> Option<Outcome> {
        let unsynced = || self.unsynced.iter().find(|s| s.at == at).map(|s| s.outcome);
        self.settled.get(&at).copied().or_else(unsynced)
    }

    pub(super) fn is_settled(&self, at: DeliveryId) -> bool {
        self.outcome(at).is_some()
    }

    pub(super) fn is_marked_dead(&self, delivery: &Delivery) -> bool {
        delivery.dead_letter.is_some() || delivery.target().dead_letter.is_some()
    }

    pub(super) fn mode_at(&self, at: DeliveryId) -> Mode {
        let last = self
            .modes
            .iter()
            .rev()
            .find(|(from, _)| *from <= at.position);
        last.map_or(Mode::Keyed, |(_, mode)| *mode)
    }

    fn is_elder(&self, elder: DeliveryId, delivery: &Delivery) -> bool {
        let found = self.journal.iter().find(|other| other.at == elder);
        found.is_some_and(|elder| self.are_ordered(elder, delivery))
    }

    /// Whether one must not overtake the other.
    pub(super) fn are_ordered(&self, one: &Delivery, other: &Delivery) -> bool {
        let strict = |d: &Delivery| self.mode_at(d.at) == Mode::Strict;
        let key = |d: &Delivery| d.key().filter(|_| d.is_ordered()).cloned();
        match (strict(one), strict(other)) {
            (true, true) => true,
            (false, false) => key(one).is_some() && key(one) == key(other),
            _ => false,
        }
    }
}

/// Which kinds of things happened in any history.
#[derive(Default)]
pub struct Seen(HashSet<String>);

impl Seen {
    const WORTH: [&str; 21] = [
        "probe",
        "rate",
        "skip",
        "skip in flight",
        "no room",
        "restart",
        "pause",
        "drop",
        "to Strict",
        "to Keyed",
        "dead letters",
        "no room for dead letters",
        "Delivered",
        "DeadLettered",
        "Discarded(Expired)",
        "Discarded(Dropped)",
        "unknown",
        "blocked",
        "in doubt and strict",
        "fatal",
        "read 3",
    ];

    pub fn add(&mut self, world: &World) {
        self.0.extend(world.trace.iter().cloned());
        let counts = world.lane.counts;
        let strict = world.modes.iter().any(|(_, mode)| *mode == Mode::Strict);
        for (happened, name) in [
            (counts.unknown > 0, "unknown"),
            (
                counts.rejected > 0 && world.shape.on_reject == OnReject::Block,
                "blocked",
            ),
            (counts.unknown > 0 && strict, "in doubt and strict"),
            (world.shape.fatal && counts.attempts > 50, "fatal"),
        ] {
            if happened {
                self.0.insert(name.into());
            }
        }
    }

    pub fn never(&self) -> Vec<&'static str> {
        Self::WORTH
            .into_iter()
            .filter(|name| !self.0.contains(*name))
            .collect()
    }
}
