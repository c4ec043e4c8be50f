//! Judges what streams and dead-letter logs hold.

use super::{Check, DEAD_LETTER_LOG, Model, STREAM_LOG, ensure, order_of};
use crate::simulation::shape::LANE_NAMES;
use crate::simulation::stats::Stats;
use bytes::Bytes;
use causeway::egress::stream::StreamRecord;
use causeway::message::{DeliveryId, LaneId, Outcome};
use std::collections::{BTreeSet, HashMap};

impl Model {
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
        let name = LANE_NAMES[i];
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
        stored
            .check_stamp(at, (record.accepted, record.epoch))
            .map_err(|e| format!("in a log: {e}"))?;
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
