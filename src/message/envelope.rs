//! One message inside Causeway.

use super::trace::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::clock::Wall;
use bytes::Bytes;
use std::sync::Arc;

/// Fixed: a longer key partitions nothing better.
pub const MAX_KEY_BYTES: usize = 4096;

/// An id is at most this long, in bytes, whoever gave it: the dedup window keeps millions.
pub const MAX_ID_BYTES: usize = 256;

/// What was received, as every ingress hands it to the door.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// An account name, never a credential; `anonymous` without authentication.
    pub principal: Arc<str>,
    /// The ingress kind (`http`, `grpc`, …) or `source:NAME`.
    pub source: Arc<str>,
    pub topic: String,
    pub id: MessageId,
    pub key: Option<Bytes>,
    /// Ordered pairs, names as received, values are bytes; a name may stand twice.
    pub headers: Vec<Header>,
    pub content_type: Option<String>,
    /// `Err(Tombstone)` is a message without payload, which is not an empty one.
    pub payload: Result<Bytes, Tombstone>,
    pub priority: Option<u8>,
    /// Not to be delivered before this time.
    pub deliver_at: Option<Wall>,
    /// Worthless after this time.
    pub expires_at: Option<Wall>,
    /// What only some ingresses have: room from the start, so that the record need not change.
    pub extensions: Vec<Extension>,
}

/// A message without payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: Bytes,
}

/// The identity of an envelope, fixed before routing. Its scope is (principal, topic) unless an
/// `[[identity]]` rule says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageId {
    /// None was given: the journal makes one from its uuid, epoch and the position; no dedup.
    None,
    /// The publisher said it: another content under it is a conflict.
    Publisher(String),
    /// An `[[identity]]` rule found it: another content under it is a duplicate.
    Derived(String),
}

/// What a redriven message is called: what it was called when it was dead-lettered, so that whoever
/// drops doubles by these knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedriveNames {
    /// What readers know the message by.
    pub id: String,
    /// The hash of its identity, if it had one: new targets' delivery ids hang on it.
    pub identity: Option<u128>,
    /// Of the plan's only target; none if it was routed anew.
    pub delivery_id: Option<String>,
}

impl MessageId {
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Publisher(id) | Self::Derived(id) => Some(id),
        }
    }
}

impl Envelope {
    /// The first value of a header, whose name counts in any case of ASCII letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        let mut named = self
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        named.next().map(|header| &header.value)
    }
}

impl Envelope {
    /// Notes whose request it came with. A message that says that in a header of its own is left alone.
    pub fn came_with(&mut self, context: Option<TraceContext>) {
        if let Some(context) = context
            && self.header(TRACEPARENT).is_none()
        {
            self.extensions.push(Extension::TraceContext(context));
        }
    }

    /// Whose request it is part of, also if a header of its own says so.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        let came = self.trace_context().cloned();
        let own = || {
            let state = self.header(TRACESTATE).map(|state| &state[..]);
            TraceContext::read(self.header(TRACEPARENT)?, state)
        };
        came.or_else(own)
    }

    /// From now on it is part of this. A header of its own stays as it is.
    pub fn belongs_to(&mut self, context: TraceContext) {
        let is_other = |extension: &Extension| !matches!(extension, Extension::TraceContext(_));
        self.extensions.retain(is_other);
        self.came_with(Some(context));
    }

    /// The dead letter that it was made of, if it was.
    #[must_use]
    pub fn redrive_of(&self) -> Option<super::DeliveryId> {
        self.extensions
            .iter()
            .find_map(|extension| match extension {
                Extension::RedriveOf(at) => Some(*at),
                _ => None,
            })
    }

    /// What it was called as that one, if it goes on to be called so.
    #[must_use]
    pub fn redrive_names(&self) -> Option<&RedriveNames> {
        self.extensions
            .iter()
            .find_map(|extension| match extension {
                Extension::RedriveNames(names) => Some(&**names),
                _ => None,
            })
    }

    /// From now on it redrives this delivery, and no other.
    pub fn redrives(&mut self, of: super::DeliveryId, names: Option<RedriveNames>) {
        self.extensions.retain(|extension| {
            !matches!(
                extension,
                Extension::RedriveOf(_) | Extension::RedriveNames(_)
            )
        });
        self.extensions.push(Extension::RedriveOf(of));
        let names = names.map(|names| Extension::RedriveNames(Box::new(names)));
        self.extensions.extend(names);
    }

    /// What its caller sent as such, beside its headers.
    #[must_use]
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.extensions
            .iter()
            .find_map(|extension| match extension {
                Extension::TraceContext(context) => Some(context),
                _ => None,
            })
    }
}

/// Typed extras of a record. Readers skip a tag that they don't know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Opaque: what a source needs to commit or resume (for Kafka: topic uuid, partition, offset).
    SourcePosition(Bytes),
    /// Opaque: QoS 2 handshake state of the MQTT ingress.
    MqttPacket(Bytes),
    /// This envelope is part `index` of what one received message was split into.
    SplitIndex(u32),
    /// This plan redrives the delivery (position, ordinal).
    RedriveOf(super::DeliveryId),
    /// With `RedriveOf`: what it was called then, and goes on to be.
    RedriveNames(Box<RedriveNames>),
    /// Whose request it belongs to, as its caller said.
    TraceContext(TraceContext),
    /// A tag from a newer version, kept as it is.
    Other(u16, Bytes),
}
