//! An event as an envelope, and a message as an event.
//!
//! In an envelope attributes are headers `ce-NAME`, their values UTF-8 as it is; `datacontenttype` is the
//! content type, the data the payload. Which attributes aren't texts stands in one header more.

use super::event::{ID, PARTITIONKEY, SOURCE, SPECVERSION, TIME, TYPE, VERSION, is_media_type};
use super::headers::{HEADER_PREFIX, Quoting, attribute_of, is_event};
use super::value::{is_legal, legal};
use super::{Attribute, Event, EventError, Mode, Value, message_id};
use crate::clock::{Wall, show_rfc3339};
use crate::message::{Envelope, Header, MessageId, Tombstone};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The names of those attributes that aren't texts, with spaces between them.
const TYPED: &str = "causeway-ce-typed";

/// What a URI reference has plainly anywhere.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What any ingress received, with its event unpacked if it is one: in one piece (its content type says so), or
/// in headers of the message (if it has no id of its own). Anything else is as it came.
///
/// # Errors
/// If it should be an event and isn't, or is several of them.
pub fn take_in(mut envelope: Envelope) -> Result<Envelope, EventError> {
    let content_type = envelope.content_type.as_deref().unwrap_or_default();
    match Mode::of(content_type)? {
        Some(Mode::Structured) => {
            let json = envelope.payload.clone().unwrap_or_default();
            Event::read(&json)?.into_envelope(envelope)
        }
        Some(Mode::Batch) => Err(EventError::ContentType {
            content_type: content_type.chars().take(100).collect(),
            why: "one message is one event".to_owned(),
        }),
        None if envelope.id == MessageId::None
            && is_event(envelope.headers.iter().map(|h| h.name.as_str())) =>
        {
            let event = Event::of_headers(
                plain(&envelope.headers),
                Quoting::Plain,
                envelope.content_type.clone(),
            )?;
            envelope.headers.retain(|h| attribute_of(&h.name).is_none());
            let data = envelope.payload.clone().ok();
            event.with_data(data).into_envelope(envelope)
        }
        None => Ok(envelope),
    }
}

fn plain(headers: &[Header]) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|h| (h.name.as_str(), &h.value[..]))
}

impl Event {
    /// Its envelope: of `rest` its content type and payload don't count.
    ///
    /// # Errors
    /// If the rest says something that is the event's to say.
    pub fn into_envelope(self, rest: Envelope) -> Result<Envelope, EventError> {
        let named = |name| self.text(name).unwrap_or_default();
        let id = message_id(named(SOURCE), named(ID));
        if rest.id.as_str().is_some_and(|other| other != id) {
            let why = "the message has an id beside it; an event's is made of its source and id";
            return Err(EventError::attribute(ID, why));
        }
        if let Some(name) = rest.headers.iter().find_map(|h| attribute_of(&h.name)) {
            let why = "a header of the message says it too";
            return Err(EventError::attribute(name, why));
        }
        let key = self
            .text(PARTITIONKEY)
            .map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let (attributes, content_type, data) = self.into_parts();
        let mut headers = rest.headers;
        headers.extend(headers_of(&attributes));
        Ok(Envelope {
            id: MessageId::Publisher(id),
            key: rest.key.or(key),
            headers,
            content_type,
            payload: data.ok_or(Tombstone),
            ..rest
        })
    }
}

fn headers_of(attributes: &[Attribute]) -> impl Iterator<Item = Header> {
    let is_typed = |a: &&Attribute| !matches!(a.value, Value::Text(_));
    let typed: Vec<&str> = attributes
        .iter()
        .filter(is_typed)
        .map(|a| a.name.as_str())
        .collect();
    let typed = (!typed.is_empty()).then(|| Header {
        name: TYPED.to_owned(),
        value: typed.join(" ").into(),
    });
    let of_attribute = |a: &Attribute| Header {
        name: format!("{HEADER_PREFIX}{}", a.name),
        value: a.value.to_string().into(),
    };
    attributes.iter().map(of_attribute).chain(typed)
}

/// A message of which an event is made.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// Unlike any other event's of this source: the delivery id.
    pub id: &'a str,
    /// The gateway's name.
    pub gateway: &'a str,
    pub topic: &'a str,
    pub time: Wall,
    pub key: Option<&'a [u8]>,
    pub headers: &'a [Header],
    pub content_type: Option<&'a str>,
    pub payload: Option<&'a Bytes>,
}

/// The event that a message came as, or one made of it.
#[must_use]
pub fn of_record(record: &Made<'_>) -> Event {
    let event = received(record).unwrap_or_else(|| made(record));
    event.with_data(record.payload.cloned())
}

/// None if its headers aren't those of an event.
fn received(record: &Made<'_>) -> Option<Event> {
    if !is_event(record.headers.iter().map(|h| h.name.as_str())) {
        return None;
    }
    let content_type = content_type(record);
    let event =
        Event::of_headers(plain(record.headers), Quoting::Plain, content_type.clone()).ok()?;
    let Some(typed) = record.headers.iter().find(|h| h.name == TYPED) else {
        return Some(event);
    };
    let typed = std::str::from_utf8(&typed.value).unwrap_or_default();
    let (mut attributes, ..) = event.clone().into_parts();
    for attribute in &mut attributes {
        if typed.split(' ').any(|name| name == attribute.name)
            && let Some(value) = Value::typed(&attribute.value.text())
        {
            attribute.value = value;
        }
    }
    // Somebody else's header may name what is a text in any case.
    Some(Event::new(attributes, content_type).unwrap_or(event))
}

/// What can't be an event's is left away.
fn content_type(record: &Made<'_>) -> Option<String> {
    let is_data = |of: &&str| is_media_type(of) && Mode::of(of) == Ok(None);
    record.content_type.filter(is_data).map(str::to_owned)
}

fn made(record: &Made<'_>) -> Event {
    let text = |name: &str, value: String| Attribute {
        name: name.to_owned(),
        value: Value::Text(value),
    };
    let source = utf8_percent_encode(record.gateway, UNRESERVED).to_string();
    let mut attributes = vec![
        text(SPECVERSION, VERSION.to_owned()),
        text(ID, filled(legal(record.id))),
        text(SOURCE, filled(source)),
        text(TYPE, filled(legal(record.topic))),
        text(TIME, show_rfc3339(record.time)),
    ];
    let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
    let is_text = |key: &&str| !key.is_empty() && key.chars().all(is_legal);
    attributes.extend(
        key.filter(is_text)
            .map(|key| text(PARTITIONKEY, key.to_owned())),
    );
    Event::trusted(attributes, content_type(record))
}

/// None of these is ever empty by itself, and an event's must not be.
fn filled(text: String) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}
