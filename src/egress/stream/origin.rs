//! What a dead letter keeps of the message as the journal had it, so that it can be redriven as it was
//! planned, or routed anew: the journal's record of the envelope with the letter's target alone.
//!
//! The payload that was to be delivered stands in the letter already: where it came from (the
//! target's own, else the envelope's) the origin has an empty one in its place.

use super::StreamRecord;
use crate::message::record::{self, RecordError};
use crate::message::{Delivery, Fingerprint, Message, Plan, Target};
use bytes::Bytes;

/// A message as it was accepted, with one of its targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub message: Message,
    /// The hash of its identity, if it had one.
    pub identity: Option<u128>,
}

impl Origin {
    /// The plan's only target.
    ///
    /// # Panics
    /// Never: a record has at least one target.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.message
            .plan
            .targets
            .first()
            .expect("a record has a target")
    }
}

/// The bytes of a delivery's origin.
#[must_use]
pub fn encode(delivery: &Delivery) -> Bytes {
    let mut envelope = delivery.message.envelope.clone();
    let mut target = delivery.target().clone();
    if let Some(own) = &mut target.payload {
        *own = Bytes::new();
    } else if let Ok(received) = &mut envelope.payload {
        *received = Bytes::new();
    }
    let plan = Plan {
        targets: vec![target],
        ..delivery.message.plan.clone()
    };
    let fingerprint = delivery.identity.map(|key| Fingerprint {
        key,
        content: 0,
        derived: true,
    });
    let mut out = Vec::new();
    record::encode(&Message { envelope, plan }, fingerprint.as_ref(), &mut out);
    out.into()
}

/// What was encoded, from the letter that has it; none in letters without.
#[must_use]
pub fn decode(letter: &StreamRecord) -> Option<Result<Origin, RecordError>> {
    let bytes = letter.dead_letter.as_ref()?.origin.as_ref()?;
    Some(record::decode(bytes).map(|(mut message, fingerprint)| {
        for target in &mut message.plan.targets {
            if let (Some(own), Ok(payload)) = (&mut target.payload, &letter.payload) {
                *own = payload.clone();
            } else if message.envelope.payload.is_ok() {
                message.envelope.payload = letter.payload.clone();
            }
        }
        Origin {
            message,
            identity: fingerprint.map(|print| print.key),
        }
    }))
}
