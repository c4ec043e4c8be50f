//! The bytes of a record to its message.

use super::{
    ENVELOPE_V1, Fingerprint, MAX_TARGETS, Peek, RecordError, TRUSTED_COUNT, TargetHead, detail,
    envelope, head, names, tag, target,
};
use crate::clock::Wall;
use crate::message::wire::{Problem, Reader, WireError};
use crate::message::{
    Ack, DeliveryId, Envelope, Extension, Guarantee, Header, LaneId, Message, MessageId, Ordinal,
    Plan, Position, RedriveNames, RouteId, Target, Tombstone, TraceContext,
};
use bytes::Bytes;
use std::time::Duration;

/// Reads a whole record. Payloads, keys and header values share `record`.
pub fn decode(record: &Bytes) -> Result<(Message, Option<Fingerprint>), RecordError> {
    let mut input = Input {
        reader: Reader::new(record),
        record,
    };
    let front = read_front(&mut input.reader)?;
    let mut targets = Vec::with_capacity(front.heads.len());
    for (head, has_details) in front.heads {
        targets.push(input.target(head, has_details)?);
    }
    let envelope = input.envelope()?;
    input.reader.finish("record")?;
    let plan = Plan {
        ack: front.ack,
        ack_timeout: front.ack_timeout,
        targets,
    };
    Ok((Message { envelope, plan }, front.fingerprint))
}

/// Reads the front of a record, which may be cut after it.
pub fn peek(record: &[u8]) -> Result<Peek, RecordError> {
    let front = read_front(&mut Reader::new(record))?;
    Ok(Peek {
        fingerprint: front.fingerprint,
        targets: front.heads.into_iter().map(|(head, _)| head).collect(),
    })
}

struct Front {
    fingerprint: Option<Fingerprint>,
    ack: Ack,
    ack_timeout: Duration,
    /// With whether details follow.
    heads: Vec<(TargetHead, bool)>,
}

fn read_front(reader: &mut Reader) -> Result<Front, RecordError> {
    let found = reader.u8("version")?;
    if found != ENVELOPE_V1 {
        return Err(RecordError::Version { found });
    }
    let fingerprint = read_fingerprint(reader)?;
    let before_ack = reader.clone();
    let ack = match reader.u8("ack")? {
        0 => Ack::Received,
        1 => Ack::Stored,
        2 => Ack::Delivered,
        _ => return Err(before_ack.error("ack", Problem::OutOfRange).into()),
    };
    let seconds = reader.varint("ack timeout")?;
    let before_nanos = reader.clone();
    let nanos: u32 = reader.varint_as("ack timeout")?;
    if nanos >= 1_000_000_000 {
        return Err(before_nanos
            .error("ack timeout", Problem::OutOfRange)
            .into());
    }
    let before_count = reader.clone();
    let count = reader.count("targets", 3)?;
    if count == 0 || count > MAX_TARGETS {
        return Err(before_count.error("targets", Problem::OutOfRange).into());
    }
    let mut heads = Vec::with_capacity(count.min(TRUSTED_COUNT));
    for _ in 0..count {
        heads.push(read_target_head(reader)?);
    }
    Ok(Front {
        fingerprint,
        ack,
        ack_timeout: Duration::new(seconds, nanos),
        heads,
    })
}

fn read_fingerprint(reader: &mut Reader) -> Result<Option<Fingerprint>, WireError> {
    let before = reader.clone();
    let flags = reader.u8("flags")?;
    let derived = flags & head::DERIVED != 0;
    let is_present = flags & head::FINGERPRINT != 0;
    if flags & !head::ALL != 0 || (derived && !is_present) {
        return Err(before.error("flags", Problem::OutOfRange));
    }
    if !is_present {
        return Ok(None);
    }
    Ok(Some(Fingerprint {
        key: reader.u128("fingerprint")?,
        content: reader.u64("fingerprint")?,
        derived,
    }))
}

fn read_target_head(reader: &mut Reader) -> Result<(TargetHead, bool), WireError> {
    let route = RouteId(reader.varint_as("target's route")?);
    let lane = LaneId(reader.varint_as("target's lane")?);
    let before = reader.clone();
    let flags = reader.u8("target's flags")?;
    let guarantee = match flags & target::GUARANTEE {
        0 => Some(Guarantee::AtMostOnce),
        1 => Some(Guarantee::AtLeastOnce),
        2 => Some(Guarantee::ExactlyOnce),
        _ => None,
    };
    let is_dead_letter = flags & target::DEAD_LETTER != 0;
    let has_details = flags & target::DETAILS != 0;
    match guarantee {
        // The reason of a dead letter is one of the details.
        Some(guarantee) if flags & !target::ALL == 0 && (has_details || !is_dead_letter) => {
            let head = TargetHead {
                route,
                lane,
                guarantee,
                is_dead_letter,
            };
            Ok((head, has_details))
        }
        _ => Err(before.error("target's flags", Problem::OutOfRange)),
    }
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

    fn wall(&mut self, what: &'static str) -> Result<Wall, WireError> {
        Ok(Wall(self.reader.varint(what)?))
    }

    fn headers(&mut self, what: &'static str) -> Result<Vec<Header>, WireError> {
        let count = self.reader.count(what, 2)?;
        let mut headers = Vec::with_capacity(count.min(TRUSTED_COUNT));
        for _ in 0..count {
            headers.push(Header {
                name: self.string("header's name")?,
                value: self.shared("header's value")?,
            });
        }
        Ok(headers)
    }

    fn target(&mut self, head: TargetHead, has_details: bool) -> Result<Target, WireError> {
        let mut target = Target::to(head.route, head.lane, head.guarantee);
        if !has_details {
            return Ok(target);
        }
        let before = self.reader.clone();
        let which = self.reader.u8("target's details")?;
        if which == 0 || (which & detail::DEAD_LETTER != 0) != head.is_dead_letter {
            return Err(before.error("target's details", Problem::OutOfRange));
        }
        let has = |bit| which & bit != 0;
        target.topic = when(has(detail::TOPIC), || self.string("target's topic"))?;
        target.key = when(has(detail::KEY), || self.shared("target's key"))?;
        target.headers = when(has(detail::HEADERS), || self.headers("target's headers"))?;
        target.payload = when(has(detail::PAYLOAD), || self.shared("target's payload"))?;
        target.priority = when(has(detail::PRIORITY), || {
            self.reader.u8("target's priority")
        })?;
        target.not_before = when(has(detail::NOT_BEFORE), || self.wall("target's not before"))?;
        target.expires_at = when(has(detail::EXPIRES_AT), || self.wall("target's expires at"))?;
        target.dead_letter = when(has(detail::DEAD_LETTER), || {
            self.string("target's dead letter")
        })?;
        Ok(target)
    }

    fn envelope(&mut self) -> Result<Envelope, WireError> {
        let before = self.reader.clone();
        let which = self.reader.u8("envelope's flags")?;
        let has = |bit| which & bit != 0;
        let principal = self.reader.str("principal")?.into();
        let source = self.reader.str("source")?.into();
        let topic = self.string("topic")?;
        let id = match which & envelope::ID {
            0 => MessageId::None,
            1 => MessageId::Publisher(self.string("id")?),
            2 => MessageId::Derived(self.string("id")?),
            _ => return Err(before.error("envelope's flags", Problem::OutOfRange)),
        };
        Ok(Envelope {
            principal,
            source,
            topic,
            id,
            key: when(has(envelope::KEY), || self.shared("key"))?,
            headers: self.headers("headers")?,
            content_type: when(has(envelope::CONTENT_TYPE), || self.string("content type"))?,
            priority: when(has(envelope::PRIORITY), || self.reader.u8("priority"))?,
            deliver_at: when(has(envelope::DELIVER_AT), || self.wall("deliver at"))?,
            expires_at: when(has(envelope::EXPIRES_AT), || self.wall("expires at"))?,
            extensions: self.extensions()?,
            payload: when(has(envelope::PAYLOAD), || self.shared("payload"))?.ok_or(Tombstone),
        })
    }

    fn extensions(&mut self) -> Result<Vec<Extension>, WireError> {
        let count = self.reader.count("extensions", 2)?;
        let mut extensions = Vec::with_capacity(count.min(TRUSTED_COUNT));
        for _ in 0..count {
            let tag = self.reader.varint_as("extension's tag")?;
            let before = self.reader.clone();
            let bytes = self.shared("extension")?;
            let extension =
                read_extension(tag, bytes).map_err(|e| before.error("extension", e.problem))?;
            extensions.push(extension);
        }
        Ok(extensions)
    }
}

fn read_extension(tag: u16, bytes: Bytes) -> Result<Extension, WireError> {
    let mut number = Reader::new(&bytes);
    let extension = match tag {
        tag::SOURCE_POSITION => return Ok(Extension::SourcePosition(bytes)),
        tag::MQTT_PACKET => return Ok(Extension::MqttPacket(bytes)),
        tag::SPLIT_INDEX => Extension::SplitIndex(number.varint_as("split index")?),
        tag::REDRIVE_OF => Extension::RedriveOf(DeliveryId {
            position: Position(number.varint("redrive of")?),
            ordinal: Ordinal(number.varint_as("redrive of")?),
        }),
        tag::REDRIVE_NAMES => Extension::RedriveNames(Box::new(read_names(&mut number)?)),
        tag::TRACE_CONTEXT => return TraceContext::decode(&bytes).map(Extension::TraceContext),
        _ => return Ok(Extension::Other(tag, bytes)),
    };
    number.finish("extension")?;
    Ok(extension)
}

fn read_names(reader: &mut Reader<'_>) -> Result<RedriveNames, WireError> {
    let before = reader.clone();
    let which = reader.u8("redriven names")?;
    if which & !names::ALL != 0 {
        return Err(before.error("redriven names", Problem::OutOfRange));
    }
    let has = |bit| which & bit != 0;
    let id = reader.str("redriven id")?.to_owned();
    let identity = when(has(names::IDENTITY), || reader.u128("redriven identity"))?;
    let delivery_id = when(has(names::DELIVERY_ID), || {
        Ok(reader.str("redriven delivery id")?.to_owned())
    })?;
    Ok(RedriveNames {
        id,
        identity,
        delivery_id,
    })
}

fn when<T>(
    is_present: bool,
    read: impl FnOnce() -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    if is_present {
        read().map(Some)
    } else {
        Ok(None)
    }
}
