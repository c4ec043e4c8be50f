//! Messages whose targets are all at_most_once: they are not journalled (promise 14). What is refused at
//! the door is refused of these, too; from there they go straight to the lanes' memory.

use super::taps::Became;
use super::{Awaited, Door, InMemory, Published, planned_targets};
use crate::door::identity::Scope;
use crate::message::{
    self, Ack, Delivery, DeliveryId, DeliveryState, Envelope, Message, Ordinal, Receipt,
};
use crate::routing::Planned;
use std::sync::Arc;

impl Door {
    pub(super) fn in_memory(&self, envelope: Envelope, planned: Planned, scope: Scope) -> InMemory {
        let id = envelope.id.as_str();
        let identity = id.map(|id| self.key(&envelope.principal, &envelope.topic, id, scope));
        let plan = planned.plan;
        InMemory {
            message: Arc::new(Message { envelope, plan }),
            identity,
        }
    }

    /// There is no duplicate of it and no position. What finds no room is discarded and counted.
    pub(super) fn take_in_memory(&self, taken: InMemory) -> Published {
        let InMemory { message, identity } = taken;
        let shared = self.journal.shared();
        let number = shared.number_in_memory();
        let size_bytes = u32::try_from(message.bytes()).unwrap_or(u32::MAX);
        for (ordinal, target) in message.plan.targets.iter().enumerate() {
            let lane = shared.lane(target.lane);
            let Some(memory) = lane.as_ref().and_then(|lane| lane.memory.as_ref()) else {
                continue;
            };
            let delivery = Delivery {
                at: DeliveryId {
                    position: number,
                    ordinal: Ordinal(ordinal as u16),
                },
                known_as: None,
                accepted: self.clock.wall(),
                epoch: shared.epoch,
                identity,
                size_bytes,
                dead_letter: None,
                message: Arc::clone(&message),
            };
            memory.take_in([delivery], shared.is_disk_short());
        }
        let made = || message::generated_id(shared.reader.uuid(), shared.epoch, number);
        let given = message.envelope.id.as_str().map(str::to_owned);
        let receipt = Receipt {
            id: Some(given.unwrap_or_else(made)),
            position: None,
            duplicate: false,
            targets: shared.targets_in(DeliveryState::Received, &planned_targets(&message)),
        };
        self.show(&message, || Became::Received);
        Published {
            receipt,
            ack: Ack::Received,
            outcome: Awaited::Settled,
        }
    }
}
