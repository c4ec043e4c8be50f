//! Judges lanes: what they are fed, what destinations get and in which order, and what they call
//! settled.

use super::{Check, DEAD_LETTER_LOG, Model, STREAM_LOG, ensure, order_of};
use causeway::clock::Wall;
use causeway::message::{
    Delivery, DeliveryId, DiscardReason, LaneId, Outcome, Settlement, generated_id,
};

impl Model {
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
        stored.check_stamp(at, stamp)?;
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
            || self.passed.contains(&at)
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
}
