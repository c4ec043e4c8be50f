//! The record of one delivery in a stream or dead-letter log: what the envelope became for it.
//!
//! What lives here: its values and its bytes. What must not: where they are kept.
//!
//! Version 1, integers as varints unless said otherwise, `string` is a length and its bytes:
//!
//! ```text
//! u8    0x41: a delivered record (high half), version 1 (low half)
//! u8    which: id kind (2 bits: publisher's, derived, generated), 4 key, 8 content type,
//!       16 payload, 32 route, 64 dead letter
//! u128  uuid of the journal, little-endian
//! position, ordinal                        up to here `peek` reads. A position of 2^63 or more is no
//!                                          position in a journal: an at_most_once delivery, numbered
//!                                          in one run (`epoch`) of one destination
//! accepted (milliseconds since 1970)
//! u64   epoch, little-endian
//! id, delivery id, [route], topic, [key]: strings
//! count of headers, then each: name, value: strings
//! [content type: string]
//! [dead letter: destination, reason: strings; attempts; u8 which: 1 first, 2 last, 4 origin;
//!       [first attempt], [last attempt], [origin: string]]
//! [payload: string]
//! ```

use crate::clock::Wall;
use crate::egress::Names;
use crate::message::wire::{
    Problem, Reader, WireError, put_bytes, put_str, put_u64, put_u128, put_varint,
};
use crate::message::{
    Delivery, DeliveryId, Epoch, Header, Headers, LogUuid, MessageId, Ordinal, Position, Tombstone,
};
use bytes::Bytes;

#[cfg(test)]
pub(super) mod tests;

/// The first byte: see `message::record::ENVELOPE_V1` for the other kinds of records.
pub const RECORD_V1: u8 = 0x41;

/// No list is given room for more items than this before they are read.
const TRUSTED_COUNT: usize = 64;

mod which {
    pub const ID: u8 = 3;
    pub const KEY: u8 = 4;
    pub const CONTENT_TYPE: u8 = 8;
    pub const PAYLOAD: u8 = 16;
    pub const ROUTE: u8 = 32;
    pub const DEAD_LETTER: u8 = 64;
    pub const ALL: u8 = ID | KEY | CONTENT_TYPE | PAYLOAD | ROUTE | DEAD_LETTER;
}

mod attempt {
    pub const FIRST: u8 = 1;
    pub const LAST: u8 = 2;
    pub const ORIGIN: u8 = 4;
    pub const ALL: u8 = FIRST | LAST | ORIGIN;
}

/// Where a record's public id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdKind {
    Publisher,
    Derived,
    /// Made by the journal for a message that came without.
    Generated,
}

impl From<&MessageId> for IdKind {
    fn from(id: &MessageId) -> Self {
        match id {
            MessageId::None => Self::Generated,
            MessageId::Publisher(_) => Self::Publisher,
            MessageId::Derived(_) => Self::Derived,
        }
    }
}

/// What a dead letter says besides the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The destination that didn't get it.
    pub destination: String,
    pub reason: String,
    pub attempts: u32,
    /// None if it was never attempted.
    pub first_attempt: Option<Wall>,
    pub last_attempt: Option<Wall>,
    /// What a redrive is made of: see `origin`. None in logs of before, and of a message so large
    /// that it doesn't fit.
    pub origin: Option<Bytes>,
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRecord {
    pub journal: LogUuid,
    pub at: DeliveryId,
    /// When the envelope was accepted, and by which run.
    pub accepted: Wall,
    pub epoch: Epoch,
    pub id_kind: IdKind,
    /// What readers know the message by.
    pub id: String,
    pub delivery_id: String,
    pub route: Option<String>,
    pub topic: String,
    pub key: Option<Bytes>,
    pub headers: Vec<Header>,
    pub content_type: Option<String>,
    pub payload: Result<Bytes, Tombstone>,
    /// Only in dead-letter logs.
    pub dead_letter: Option<DeadLetter>,
}

/// A record as it is written: borrowed from what the lane has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewRecord<'a> {
    pub journal: LogUuid,
    pub at: DeliveryId,
    pub accepted: Wall,
    pub epoch: Epoch,
    pub id_kind: IdKind,
    pub id: &'a str,
    pub delivery_id: &'a str,
    pub route: Option<&'a str>,
    pub topic: &'a str,
    pub key: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    pub content_type: Option<&'a str>,
    /// `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
    pub dead_letter: Option<&'a DeadLetter>,
}

impl<'a> NewRecord<'a> {
    /// What the delivery's target is: its own fields, else the envelope's.
    #[must_use]
    pub fn of(delivery: &'a Delivery, names: Names<'a>) -> Self {
        let (target, envelope) = (delivery.target(), &delivery.message.envelope);
        let payload = target.payload.as_ref().or(envelope.payload.as_ref().ok());
        Self {
            journal: names.journal,
            at: delivery.at,
            accepted: delivery.accepted,
            epoch: delivery.epoch,
            id_kind: (&envelope.id).into(),
            id: names.id,
            delivery_id: names.delivery_id,
            route: names.route,
            topic: target.topic.as_ref().unwrap_or(&envelope.topic),
            key: delivery.key().map(|k| &k[..]),
            headers: delivery.headers(),
            content_type: delivery.content_type(),
            payload: payload.map(|p| &p[..]),
            dead_letter: None,
        }
    }

    /// The same as a dead letter.
    #[must_use]
    pub fn dead(self, letter: &'a DeadLetter) -> Self {
        Self {
            dead_letter: Some(letter),
            ..self
        }
    }
}

impl StreamRecord {
    /// For writing it again.
    #[must_use]
    pub fn borrowed(&self) -> NewRecord<'_> {
        NewRecord {
            journal: self.journal,
            at: self.at,
            accepted: self.accepted,
            epoch: self.epoch,
            id_kind: self.id_kind,
            id: &self.id,
            delivery_id: &self.delivery_id,
            route: self.route.as_deref(),
            topic: &self.topic,
            key: self.key.as_deref(),
            headers: Headers::of(&self.headers),
            content_type: self.content_type.as_deref(),
            payload: self.payload.as_deref().ok(),
            dead_letter: self.dead_letter.as_ref(),
        }
    }

    /// The id that the publisher gave, if it gave one.
    #[must_use]
    pub fn publisher_id(&self) -> Option<&str> {
        (self.id_kind == IdKind::Publisher).then_some(&*self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record starts with {found:#04x}, which this version can't read")]
    Version { found: u8 },
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// No fewer than the record's bytes.
#[must_use]
pub fn most_bytes(record: &NewRecord<'_>) -> usize {
    /// A number or a length.
    const VARINT: usize = 10;
    const FRONT: usize = 2 + 16 + 8 + 12 * VARINT;
    let mut bytes = FRONT + record.id.len() + record.delivery_id.len() + record.topic.len();
    bytes += record.route.map_or(0, str::len) + record.content_type.map_or(0, str::len);
    bytes += record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len);
    record
        .headers
        .each(|name, value| bytes += name.len() + value.len() + 2 * VARINT);
    let letter = record.dead_letter.map_or(0, |letter| {
        let origin = letter.origin.as_ref().map_or(0, Bytes::len);
        letter.destination.len() + letter.reason.len() + origin + 6 * VARINT
    });
    bytes + letter
}

/// Appends the record's bytes.
pub fn encode(record: &NewRecord<'_>, out: &mut Vec<u8>) {
    out.push(RECORD_V1);
    out.push(which_of(record));
    put_u128(out, record.journal.0);
    put_varint(out, record.at.position.0);
    put_varint(out, record.at.ordinal.0.into());
    put_varint(out, record.accepted.0);
    put_u64(out, record.epoch.0);
    put_str(out, record.id);
    put_str(out, record.delivery_id);
    if let Some(route) = record.route {
        put_str(out, route);
    }
    put_str(out, record.topic);
    if let Some(key) = record.key {
        put_bytes(out, key);
    }
    put_varint(out, record.headers.count() as u64);
    record.headers.each(|name, value| {
        put_str(out, name);
        put_bytes(out, value);
    });
    if let Some(content_type) = record.content_type {
        put_str(out, content_type);
    }
    if let Some(letter) = record.dead_letter {
        encode_dead_letter(letter, out);
    }
    if let Some(payload) = record.payload {
        put_bytes(out, payload);
    }
}

fn which_of(record: &NewRecord<'_>) -> u8 {
    let id = match record.id_kind {
        IdKind::Publisher => 0,
        IdKind::Derived => 1,
        IdKind::Generated => 2,
    };
    id | flag(record.key.is_some(), which::KEY)
        | flag(record.content_type.is_some(), which::CONTENT_TYPE)
        | flag(record.payload.is_some(), which::PAYLOAD)
        | flag(record.route.is_some(), which::ROUTE)
        | flag(record.dead_letter.is_some(), which::DEAD_LETTER)
}

fn encode_dead_letter(letter: &DeadLetter, out: &mut Vec<u8>) {
    put_str(out, &letter.destination);
    put_str(out, &letter.reason);
    put_varint(out, letter.attempts.into());
    let times = [letter.first_attempt, letter.last_attempt];
    out.push(
        flag(times[0].is_some(), attempt::FIRST)
            | flag(times[1].is_some(), attempt::LAST)
            | flag(letter.origin.is_some(), attempt::ORIGIN),
    );
    for time in times.into_iter().flatten() {
        put_varint(out, time.0);
    }
    if let Some(origin) = &letter.origin {
        put_bytes(out, origin);
    }
}

const fn flag(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

/// Whose delivery it is, without the rest.
pub fn peek(record: &[u8]) -> Result<(LogUuid, DeliveryId), RecordError> {
    let (_, journal, at) = read_front(&mut Reader::new(record))?;
    Ok((journal, at))
}

/// Reads a whole record. Payload, key and header values share `record`.
pub fn decode(record: &Bytes) -> Result<StreamRecord, RecordError> {
    let mut reader = Reader::new(record);
    let (bits, journal, at) = read_front(&mut reader)?;
    let has = |bit| bits & bit != 0;
    let id_kind = match bits & which::ID {
        0 => IdKind::Publisher,
        1 => IdKind::Derived,
        _ => IdKind::Generated,
    };
    let mut input = Input { reader, record };
    let decoded = StreamRecord {
        journal,
        at,
        id_kind,
        accepted: Wall(input.reader.varint("accepted")?),
        epoch: Epoch(input.reader.u64("epoch")?),
        id: input.string("id")?,
        delivery_id: input.string("delivery id")?,
        route: when(has(which::ROUTE), || input.string("route"))?,
        topic: input.string("topic")?,
        key: when(has(which::KEY), || input.shared("key"))?,
        headers: input.headers()?,
        content_type: when(has(which::CONTENT_TYPE), || input.string("content type"))?,
        dead_letter: when(has(which::DEAD_LETTER), || input.dead_letter())?,
        payload: when(has(which::PAYLOAD), || input.shared("payload"))?.ok_or(Tombstone),
    };
    input.reader.finish("record")?;
    Ok(decoded)
}

fn read_front(reader: &mut Reader<'_>) -> Result<(u8, LogUuid, DeliveryId), RecordError> {
    let found = reader.u8("version")?;
    if found != RECORD_V1 {
        return Err(RecordError::Version { found });
    }
    let before = reader.clone();
    let bits = reader.u8("flags")?;
    if bits & !which::ALL != 0 || bits & which::ID == which::ID {
        return Err(before.error("flags", Problem::OutOfRange).into());
    }
    let journal = LogUuid(reader.u128("journal")?);
    let at = DeliveryId {
        position: Position(reader.varint("position")?),
        ordinal: Ordinal(reader.varint_as("ordinal")?),
    };
    Ok((bits, journal, at))
}

/// A reader that shares the record's bytes.
struct Input<'a> {
    reader: Reader<'a>,
    record: &'a Bytes,
}

impl Input<'_> {
    fn shared(&mut self, what: &'static str) -> Result<Bytes, WireError> {
        Ok(self.record.slice_ref(self.reader.bytes(what)?))
    }

    fn string(&mut self, what: &'static str) -> Result<String, WireError> {
        Ok(self.reader.str(what)?.to_owned())
    }

    fn headers(&mut self) -> Result<Vec<Header>, WireError> {
        let count = self.reader.count("headers", 2)?;
        let mut headers = Vec::with_capacity(count.min(TRUSTED_COUNT));
        for _ in 0..count {
            headers.push(Header {
                name: self.string("header's name")?,
                value: self.shared("header's value")?,
            });
        }
        Ok(headers)
    }

    fn dead_letter(&mut self) -> Result<DeadLetter, WireError> {
        let destination = self.string("destination")?;
        let reason = self.string("reason")?;
        let attempts = self.reader.varint_as("attempts")?;
        let before = self.reader.clone();
        let bits = self.reader.u8("times of attempts")?;
        if bits & !attempt::ALL != 0 {
            return Err(before.error("times of attempts", Problem::OutOfRange));
        }
        let mut time = |bit, what| when(bits & bit != 0, || self.reader.varint(what).map(Wall));
        Ok(DeadLetter {
            destination,
            reason,
            attempts,
            first_attempt: time(attempt::FIRST, "first attempt")?,
            last_attempt: time(attempt::LAST, "last attempt")?,
            origin: when(bits & attempt::ORIGIN != 0, || self.shared("origin"))?,
        })
    }
}

fn when<T>(
    is_present: bool,
    read: impl FnOnce() -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    is_present.then(read).transpose()
}
