//! A publisher's message → an envelope. Strict: what can't be is refused with the name of the field.

use super::desk::Desk;
use super::fault::Fault;
use super::{codec, v1};
use crate::clock::{MAX_DURATION_MS, Wall};
use crate::cloudevents;
use crate::message::{Envelope, Header, MessageId, Tombstone, TraceContext};
use bytes::Bytes;
use std::sync::Arc;

/// A part of what was received together keeps all of that in memory. It is copied out if it is less than this
/// share of it.
const KEPT_SHARE: usize = 4;

/// The envelope of a message that came now, in a buffer of about so many bytes.
pub(super) fn read<F>(
    desk: &Desk<F>,
    bytes: Bytes,
    buffer_bytes: usize,
    trace: Option<&TraceContext>,
) -> Result<Envelope, Fault> {
    let message = codec::read_message(bytes, desk.limits.headers)?;
    let now = desk.clock.wall();
    let keep = |bytes| kept(bytes, buffer_bytes);
    let mut envelope = cloudevents::take_in(Envelope {
        principal: Arc::clone(&desk.principal),
        source: Arc::clone(&desk.source),
        topic: message.topic,
        id: match message.id {
            id if id.is_empty() => MessageId::None,
            id => MessageId::Publisher(id),
        },
        key: (!message.key.is_empty()).then(|| keep(message.key)),
        headers: headers(message.headers, keep)?,
        content_type: (!message.content_type.is_empty()).then_some(message.content_type),
        payload: message.payload.map(keep).ok_or(Tombstone),
        priority: priority(message.priority)?,
        deliver_at: deliver_at(message.delay, message.deliver_at, now)?,
        expires_at: match message.ttl {
            Some(ttl) => Some(now.plus(duration("message.ttl", ttl)?)),
            None => None,
        },
        extensions: Vec::new(),
    })?;
    if trace.is_some() {
        envelope.came_with(trace.cloned());
    }
    Ok(envelope)
}

fn kept(bytes: Bytes, buffer_bytes: usize) -> Bytes {
    if bytes.len() >= buffer_bytes / KEPT_SHARE {
        bytes
    } else {
        Bytes::copy_from_slice(&bytes)
    }
}

fn headers(headers: Vec<v1::Header>, keep: impl Fn(Bytes) -> Bytes) -> Result<Vec<Header>, Fault> {
    let header = |(i, mut header): (usize, v1::Header)| {
        if header.name.is_empty() {
            let field = format!("message.headers[{i}].name");
            return Err(Fault::malformed(&field, "it is empty"));
        }
        header.name.make_ascii_lowercase();
        Ok(Header {
            name: header.name,
            value: keep(header.value),
        })
    };
    headers.into_iter().enumerate().map(header).collect()
}

fn priority(priority: Option<u32>) -> Result<Option<u8>, Fault> {
    let too_high = |_| Fault::malformed("message.priority", "it is a number from 0 to 255");
    priority.map(u8::try_from).transpose().map_err(too_high)
}

fn deliver_at(
    delay: Option<prost_types::Duration>,
    at: Option<prost_types::Timestamp>,
    now: Wall,
) -> Result<Option<Wall>, Fault> {
    match (delay, at) {
        (Some(_), Some(_)) => Err(Fault::malformed(
            "message.delay",
            "give this or deliver_at, not both",
        )),
        (Some(delay), None) => Ok(Some(now.plus(duration("message.delay", delay)?))),
        (None, Some(at)) => time("message.deliver_at", at).map(Some),
        (None, None) => Ok(None),
    }
}

/// What is finer than a millisecond is cut.
fn duration(field: &str, given: prost_types::Duration) -> Result<std::time::Duration, Fault> {
    let length = std::time::Duration::try_from(given)
        .map_err(|_| Fault::malformed(field, "it isn't a length of time from zero on"))?;
    if length.as_millis() > u128::from(MAX_DURATION_MS) {
        return Err(Fault::malformed(field, "it is longer than a hundred years"));
    }
    Ok(length)
}

/// What is before 1970 is 1970.
fn time(field: &str, given: prost_types::Timestamp) -> Result<Wall, Fault> {
    /// The last second of the year 9999, where a Timestamp ends.
    const LAST_SECOND: i64 = 253_402_300_799;
    let nanos = u64::try_from(given.nanos)
        .ok()
        .filter(|n| *n < 1_000_000_000);
    let (true, Some(nanos)) = (given.seconds <= LAST_SECOND, nanos) else {
        return Err(Fault::malformed(
            field,
            "it isn't a time up to the year 9999",
        ));
    };
    let seconds = u64::try_from(given.seconds);
    Ok(Wall(seconds.map_or(0, |s| s * 1_000 + nanos / 1_000_000)))
}
