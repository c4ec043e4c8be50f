//! The small records of the journal. Envelopes are in `message::record`, settlements in `ledger`,
//! names in `catalog`, tables of ids in `ids`. The high half of a record's first byte is its kind.

use crate::log::Record;
use crate::message::wire::{Reader, WireError, put_u16, put_u64};
use crate::message::{DeliveryId, Ordinal, Position};
use std::sync::Arc;

pub const DIVERT_V1: u8 = 0x41;
/// A divert record in a batch.
pub const DIVERT_DISK_BYTES: usize = crate::log::RECORD_HEADER_BYTES + 1 + 8 + 2;

/// Says that the door's lane owes this delivery in place of the lane that the plan names.
#[must_use]
pub fn divert(at: DeliveryId) -> Record {
    let mut body = vec![DIVERT_V1];
    put_u64(&mut body, at.position.0);
    put_u16(&mut body, at.ordinal.0);
    Record::new(body)
}

pub fn decode_divert(body: &[u8]) -> Result<DeliveryId, WireError> {
    let mut reader = Reader::new(&body[1..]);
    let position = Position(reader.u64("position of a divert")?);
    Ok(DeliveryId {
        position,
        ordinal: Ordinal(reader.u16("ordinal of a divert")?),
    })
}

/// What the dead letter of a diverted delivery says.
#[must_use]
pub fn diverted_reason(lane: &str) -> Arc<str> {
    format!("the backlog of destination {lane} was full").into()
}
