//! What lanes are fed with and what they say of it.

use super::content_type::{JSON, is_json};
use super::{
    DeliveryId, DeliveryState, Envelope, Epoch, Header, Headers, LaneId, Plan, Position, Target,
};
use crate::clock::Wall;
use bytes::Bytes;
use std::sync::Arc;

/// An envelope with its plan: made once at the door, immutable, shared by the lanes.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub envelope: Envelope,
    pub plan: Plan,
}

/// One delivery, ready to be attempted.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub at: DeliveryId,
    /// Only of one that lives in memory, where `at` is its turn at its destination: the position of
    /// its message in the journal, or the number that it has instead.
    pub known_as: Option<Position>,
    /// When the envelope was accepted.
    pub accepted: Wall,
    /// The run that accepted it; with the position it makes the id of a message that came without.
    pub epoch: Epoch,
    /// The hash of the identity that its publisher or a rule gave it: what its delivery id hangs on.
    pub identity: Option<u128>,
    /// Bytes that this delivery is charged to its lane's backlog: its record's length.
    pub size_bytes: u32,
    /// Set when this delivery is not to be attempted but dead-lettered, and why.
    pub dead_letter: Option<Arc<str>>,
    pub message: Arc<Message>,
}

impl Message {
    /// What it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let envelope = &self.envelope;
        let targets = self.plan.targets.iter();
        envelope.topic.len()
            + envelope.id.as_str().map_or(0, str::len)
            + envelope.key.as_ref().map_or(0, Bytes::len)
            + headers_bytes(&envelope.headers)
            + envelope.content_type.as_ref().map_or(0, String::len)
            + envelope.payload.as_ref().map_or(0, Bytes::len)
            + targets.map(target_bytes).sum::<usize>()
    }
}

fn target_bytes(target: &Target) -> usize {
    size_of::<Target>()
        + target.topic.as_ref().map_or(0, String::len)
        + target.key.as_ref().map_or(0, Bytes::len)
        + target.headers.as_deref().map_or(0, headers_bytes)
        + target.payload.as_ref().map_or(0, Bytes::len)
        + target.dead_letter.as_ref().map_or(0, String::len)
}

fn headers_bytes(headers: &[Header]) -> usize {
    let bytes = |h: &Header| size_of::<Header>() + h.name.len() + h.value.len();
    headers.iter().map(bytes).sum()
}

impl Delivery {
    /// The position that its message is known by.
    #[must_use]
    pub fn position(&self) -> Position {
        self.known_as.unwrap_or(self.at.position)
    }

    /// The target that this delivery is for.
    ///
    /// # Panics
    /// If the ordinal isn't in the plan: the journal makes no such delivery.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.message.plan.targets[usize::from(self.at.ordinal.0)]
    }

    /// The rendered key: the target's, else the envelope's.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.target()
            .key
            .as_ref()
            .or(self.message.envelope.key.as_ref())
    }

    /// Of what is sent: a payload of the target's own is JSON, whatever came.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        let received = self.message.envelope.content_type.as_deref();
        match self.target().payload {
            None => received,
            Some(_) => received.filter(|of| is_json(of)).or(Some(JSON)),
        }
    }

    /// What is sent as headers: the target's own or those that came, and the trace context that
    /// came, unless they have one.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        let envelope = &self.message.envelope;
        let own = self.target().headers.as_ref();
        let headers = Headers::of(own.unwrap_or(&envelope.headers));
        match envelope.trace_context() {
            Some(context) => headers.traced(context.parent, context.state()),
            None => headers,
        }
    }

    /// Delayed, prioritised and redriven messages are outside the order of their key.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        let (target, envelope) = (self.target(), &self.message.envelope);
        target.not_before.is_none()
            && target.priority.or(envelope.priority).is_none()
            && envelope.redrive_of().is_none()
    }
}

/// A lane's last word on one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub lane: LaneId,
    pub at: DeliveryId,
    pub outcome: Outcome,
    /// Given back to the lane's backlog: the delivery's `size_bytes`.
    pub size_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Delivered,
    DeadLettered,
    Discarded(DiscardReason),
}

impl Outcome {
    /// What publishers are told of it.
    #[must_use]
    pub const fn state(self) -> DeliveryState {
        match self {
            Self::Delivered => DeliveryState::Delivered,
            Self::DeadLettered => DeliveryState::DeadLettered,
            Self::Discarded(_) => DeliveryState::Discarded,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiscardReason {
    /// `causeway lane drop --discard`.
    Dropped,
    /// Its ttl passed before it was delivered.
    Expired,
    /// Its record was lost and an operator accepted that (`journal repair --accept-loss`).
    Lost,
}

impl DiscardReason {
    pub const ALL: [Self; 3] = [Self::Dropped, Self::Expired, Self::Lost];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Expired => "expired",
            Self::Lost => "lost",
        }
    }
}
