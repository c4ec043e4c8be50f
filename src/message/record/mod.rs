//! The record of an accepted envelope with its plan, as the journal keeps it.
//!
//! What lives here: its bytes. What must not: where they are kept, how they are checksummed.
//!
//! Version 1, integers as varints unless said otherwise, `string` is a length and its bytes:
//!
//! ```text
//! u8    0x11: an envelope's record (high half), version 1 (low half)
//! u8    flags: 1 fingerprint, 2 derived
//! [u128 key, u64 content, little-endian]                        if fingerprint
//! u8    ack; seconds and nanoseconds of the ack timeout
//! count of targets, then for each its head:
//!       route, lane, u8: guarantee (2 bits), 4 dead letter, 8 has details
//! for each target with details:
//!       u8 which: 1 topic, 2 key, 4 headers, 8 payload, 16 priority, 32 not before,
//!       64 expires at, 128 reason of the dead letter; then those, in this order
//! envelope:
//!       u8 which: id kind (2 bits: none, publisher's, derived), 4 key, 8 content type,
//!       16 payload, 32 priority, 64 deliver at, 128 expires at;
//!       principal, source, topic, [id], [key], headers, [content type], [u8 priority],
//!       [deliver at], [expires at],
//!       count of extensions, then each: tag, string
//! [payload: string]
//! ```
//!
//! Extensions: 1 position of a source, 2 MQTT packet, 3 split index, 4 the delivery that it redrives
//! (position, ordinal), 5 trace context, 6 what it was called then: u8 which (1 identity,
//! 2 delivery id), id: string, [u128 identity, little-endian], [delivery id: string].
//!
//! All that recovery needs is in front (`peek`), the payload is last.

use super::wire::WireError;
use super::{Guarantee, LaneId, RouteId};

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{decode, peek};
pub use encode::{encode, usual_bytes};

/// The first byte. Records of the journal differ in its high half (envelope 1, settlements 2,
/// catalog 3), versions of a record in its low half.
pub const ENVELOPE_V1: u8 = 0x11;

/// Ordinals are 16 bits wide.
pub const MAX_TARGETS: usize = 1 << 16;

/// No field of unknown length is given room for more items than this before they are read.
const TRUSTED_COUNT: usize = 64;

mod head {
    pub const FINGERPRINT: u8 = 1;
    pub const DERIVED: u8 = 2;
    pub const ALL: u8 = FINGERPRINT | DERIVED;
}

mod target {
    pub const GUARANTEE: u8 = 3;
    pub const DEAD_LETTER: u8 = 4;
    pub const DETAILS: u8 = 8;
    pub const ALL: u8 = GUARANTEE | DEAD_LETTER | DETAILS;
}

mod detail {
    pub const TOPIC: u8 = 1;
    pub const KEY: u8 = 2;
    pub const HEADERS: u8 = 4;
    pub const PAYLOAD: u8 = 8;
    pub const PRIORITY: u8 = 16;
    pub const NOT_BEFORE: u8 = 32;
    pub const EXPIRES_AT: u8 = 64;
    pub const DEAD_LETTER: u8 = 128;
}

mod envelope {
    pub const ID: u8 = 3;
    pub const KEY: u8 = 4;
    pub const CONTENT_TYPE: u8 = 8;
    pub const PAYLOAD: u8 = 16;
    pub const PRIORITY: u8 = 32;
    pub const DELIVER_AT: u8 = 64;
    pub const EXPIRES_AT: u8 = 128;
}

/// Which parts the names of a redriven message have.
mod names {
    pub const IDENTITY: u8 = 1;
    pub const DELIVERY_ID: u8 = 2;
    pub const ALL: u8 = IDENTITY | DELIVERY_ID;
}

mod tag {
    pub const SOURCE_POSITION: u16 = 1;
    pub const MQTT_PACKET: u16 = 2;
    pub const SPLIT_INDEX: u16 = 3;
    pub const REDRIVE_OF: u16 = 4;
    pub const TRACE_CONTEXT: u16 = 5;
    pub const REDRIVE_NAMES: u16 = 6;
}

/// What the dedup window knows an envelope by: its identity in its scope, and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pub key: u128,
    pub content: u64,
    /// An `[[identity]]` rule found the id: another content under it is a duplicate.
    pub derived: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record starts with {found:#04x}, which this version can't read")]
    Version { found: u8 },
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What recovery needs of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    pub fingerprint: Option<Fingerprint>,
    pub targets: Vec<TargetHead>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetHead {
    pub route: RouteId,
    pub lane: LaneId,
    pub guarantee: Guarantee,
    pub is_dead_letter: bool,
}

impl TargetHead {
    /// Nobody owes it: it lived in the memory of the run that accepted it.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.guarantee == Guarantee::AtMostOnce
    }
}

impl Peek {
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.targets
            .iter()
            .any(|t| t.guarantee == Guarantee::ExactlyOnce)
    }
}
