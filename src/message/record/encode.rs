//! A message to the bytes of its record.

use super::{ENVELOPE_V1, Fingerprint, detail, envelope, head, names, tag, target};
use crate::message::wire::{put_bytes, put_str, put_u64, put_u128, put_varint};
use crate::message::{
    Ack, Envelope, Extension, Guarantee, Header, Message, MessageId, Plan, RedriveNames, Target,
};

/// What a record has beside its texts, with a target or two and short names.
const USUAL_FRAME_BYTES: usize = 160;

/// About what the record takes, rather more: for its buffer to be made at once.
#[must_use]
pub fn usual_bytes(message: &Message) -> usize {
    let Message { envelope, plan } = message;
    let header = |h: &Header| h.name.len() + h.value.len() + 4;
    let own = |t: &Target| t.payload.as_ref().map_or(0, |payload| payload.len());
    USUAL_FRAME_BYTES
        + envelope.topic.len()
        + envelope.headers.iter().map(header).sum::<usize>()
        + envelope.payload.as_ref().map_or(0, |payload| payload.len())
        + plan.targets.iter().map(own).sum::<usize>()
}

/// Appends the record.
pub fn encode(message: &Message, fingerprint: Option<&Fingerprint>, out: &mut Vec<u8>) {
    let Message { envelope, plan } = message;
    encode_front(plan, fingerprint, out);
    for target in &plan.targets {
        let which = details_of(target);
        if which != 0 {
            encode_details(target, which, out);
        }
    }
    encode_envelope(envelope, out);
    if let Ok(payload) = &envelope.payload {
        put_bytes(out, payload);
    }
}

fn encode_front(plan: &Plan, fingerprint: Option<&Fingerprint>, out: &mut Vec<u8>) {
    out.push(ENVELOPE_V1);
    out.push(match fingerprint {
        None => 0,
        Some(f) => head::FINGERPRINT | if f.derived { head::DERIVED } else { 0 },
    });
    if let Some(f) = fingerprint {
        put_u128(out, f.key);
        put_u64(out, f.content);
    }
    out.push(match plan.ack {
        Ack::Received => 0,
        Ack::Stored => 1,
        Ack::Delivered => 2,
    });
    put_varint(out, plan.ack_timeout.as_secs());
    put_varint(out, plan.ack_timeout.subsec_nanos().into());
    put_varint(out, plan.targets.len() as u64);
    for t in &plan.targets {
        put_varint(out, t.route.0.into());
        put_varint(out, t.lane.0.into());
        let guarantee = match t.guarantee {
            Guarantee::AtMostOnce => 0,
            Guarantee::AtLeastOnce => 1,
            Guarantee::ExactlyOnce => 2,
        };
        out.push(
            guarantee
                | flag(t.dead_letter.is_some(), target::DEAD_LETTER)
                | flag(details_of(t) != 0, target::DETAILS),
        );
    }
}

fn details_of(target: &Target) -> u8 {
    flag(target.topic.is_some(), detail::TOPIC)
        | flag(target.key.is_some(), detail::KEY)
        | flag(target.headers.is_some(), detail::HEADERS)
        | flag(target.payload.is_some(), detail::PAYLOAD)
        | flag(target.priority.is_some(), detail::PRIORITY)
        | flag(target.not_before.is_some(), detail::NOT_BEFORE)
        | flag(target.expires_at.is_some(), detail::EXPIRES_AT)
        | flag(target.dead_letter.is_some(), detail::DEAD_LETTER)
}

fn encode_details(target: &Target, which: u8, out: &mut Vec<u8>) {
    out.push(which);
    if let Some(topic) = &target.topic {
        put_str(out, topic);
    }
    if let Some(key) = &target.key {
        put_bytes(out, key);
    }
    if let Some(headers) = &target.headers {
        encode_headers(headers, out);
    }
    if let Some(payload) = &target.payload {
        put_bytes(out, payload);
    }
    out.extend(target.priority);
    for time in [target.not_before, target.expires_at].into_iter().flatten() {
        put_varint(out, time.0);
    }
    if let Some(reason) = &target.dead_letter {
        put_str(out, reason);
    }
}

fn encode_envelope(e: &Envelope, out: &mut Vec<u8>) {
    let id_kind = match &e.id {
        MessageId::None => 0,
        MessageId::Publisher(_) => 1,
        MessageId::Derived(_) => 2,
    };
    out.push(
        id_kind
            | flag(e.key.is_some(), envelope::KEY)
            | flag(e.content_type.is_some(), envelope::CONTENT_TYPE)
            | flag(e.payload.is_ok(), envelope::PAYLOAD)
            | flag(e.priority.is_some(), envelope::PRIORITY)
            | flag(e.deliver_at.is_some(), envelope::DELIVER_AT)
            | flag(e.expires_at.is_some(), envelope::EXPIRES_AT),
    );
    put_str(out, &e.principal);
    put_str(out, &e.source);
    put_str(out, &e.topic);
    if let Some(id) = e.id.as_str() {
        put_str(out, id);
    }
    if let Some(key) = &e.key {
        put_bytes(out, key);
    }
    encode_headers(&e.headers, out);
    if let Some(content_type) = &e.content_type {
        put_str(out, content_type);
    }
    out.extend(e.priority);
    for time in [e.deliver_at, e.expires_at].into_iter().flatten() {
        put_varint(out, time.0);
    }
    put_varint(out, e.extensions.len() as u64);
    for extension in &e.extensions {
        encode_extension(extension, out);
    }
}

fn encode_headers(headers: &[Header], out: &mut Vec<u8>) {
    put_varint(out, headers.len() as u64);
    for header in headers {
        put_str(out, &header.name);
        put_bytes(out, &header.value);
    }
}

fn encode_extension(extension: &Extension, out: &mut Vec<u8>) {
    let mut put = |tag: u16, bytes: &[u8]| {
        put_varint(out, tag.into());
        put_bytes(out, bytes);
    };
    let mut number = Vec::new();
    match extension {
        Extension::SourcePosition(bytes) => put(tag::SOURCE_POSITION, bytes),
        Extension::MqttPacket(bytes) => put(tag::MQTT_PACKET, bytes),
        Extension::SplitIndex(index) => {
            put_varint(&mut number, (*index).into());
            put(tag::SPLIT_INDEX, &number);
        }
        Extension::RedriveOf(at) => {
            put_varint(&mut number, at.position.0);
            put_varint(&mut number, at.ordinal.0.into());
            put(tag::REDRIVE_OF, &number);
        }
        Extension::RedriveNames(names) => {
            encode_names(names, &mut number);
            put(tag::REDRIVE_NAMES, &number);
        }
        Extension::TraceContext(context) => {
            context.encode(&mut number);
            put(tag::TRACE_CONTEXT, &number);
        }
        // Made by `decode` only, so never with a tag that is known here.
        Extension::Other(tag, bytes) => put(*tag, bytes),
    }
}

fn encode_names(redriven: &RedriveNames, out: &mut Vec<u8>) {
    out.push(
        flag(redriven.identity.is_some(), names::IDENTITY)
            | flag(redriven.delivery_id.is_some(), names::DELIVERY_ID),
    );
    put_str(out, &redriven.id);
    if let Some(identity) = redriven.identity {
        put_u128(out, identity);
    }
    if let Some(delivery_id) = &redriven.delivery_id {
        put_str(out, delivery_id);
    }
}

const fn flag(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}
