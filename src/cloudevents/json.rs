//! The JSON format: one event, or a list of them to write. Lists are read element by element by who reads them.

use super::event::{DATA, DATA_BASE64, DATACONTENTTYPE, MAX_ATTRIBUTES, PARTITIONKEY};
use super::{Attribute, Event, EventError, Value};
use crate::message::{JSON, is_json, text};
use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;

const NEVER_FAILS: &str = "keys are text, nothing fails by itself, and memory takes all";

/// The members of an event as they stand there, none of them looked at.
pub struct Draft<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Draft<'a> {
    /// # Errors
    /// If it isn't a JSON object, or one name stands there twice.
    pub fn read(json: &'a [u8]) -> Result<Self, EventError> {
        serde_json::from_slice(json).map_err(|error| {
            let text = error.to_string();
            // Names of attributes that stand there twice travel through serde's error.
            match text
                .strip_prefix(TWICE)
                .and_then(|rest| rest.rsplit_once(" at line "))
            {
                Some((name, _)) => EventError::attribute(name, "it is there twice"),
                None => EventError::Malformed(text::shown(text)),
            }
        })
    }

    /// Its `partitionkey`, whatever else it holds.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        let raw = self.member(PARTITIONKEY)?;
        let key: String = serde_json::from_str(raw.get()).ok()?;
        (!key.is_empty()).then_some(key)
    }

    fn member(&self, name: &str) -> Option<&'a RawValue> {
        let named = self.0.iter().find(|(n, _)| n == name);
        named.map(|(_, raw)| *raw)
    }

    /// # Errors
    /// If an attribute is missing or isn't what it has to be, or the data can't be read.
    pub fn event(self) -> Result<Event, EventError> {
        let mut attributes = Vec::with_capacity(self.0.len());
        for (name, raw) in &self.0 {
            // An attribute that isn't set may stand there as null.
            if raw.get() == "null" || [DATA, DATA_BASE64, DATACONTENTTYPE].contains(&name.as_str())
            {
                continue;
            }
            let value = value_of(name, raw)?;
            let name = name.clone();
            attributes.push(Attribute { name, value });
        }
        let mut content_type = self.text(DATACONTENTTYPE)?;
        let encoded = self.text(DATA_BASE64)?;
        let data = match (self.member(DATA), encoded) {
            (Some(_), Some(_)) => {
                return Err(EventError::attribute(
                    DATA_BASE64,
                    "give this or data, not both",
                ));
            }
            (None, None) => None,
            (None, Some(text)) => match STANDARD.decode(text) {
                Ok(bytes) => Some(bytes.into()),
                Err(e) => {
                    let why = format!("it isn't base64: {e}");
                    return Err(EventError::attribute(DATA_BASE64, why));
                }
            },
            (Some(raw), None) => {
                // The format says so: what it leaves out is JSON's.
                let of = content_type.get_or_insert_with(|| JSON.to_owned());
                data_of(raw.get(), of)?
            }
        };
        Ok(Event::new(attributes, content_type)?.with_data(data))
    }

    /// A member that is a text if it is there.
    fn text(&self, name: &str) -> Result<Option<String>, EventError> {
        match self.member(name).map(RawValue::get) {
            None | Some("null") => Ok(None),
            Some(raw) if raw.starts_with('"') => unescaped(name, raw).map(Some),
            Some(_) => Err(EventError::attribute(name, "it is a text")),
        }
    }
}

impl Event {
    /// # Errors
    /// If it isn't JSON, or not an event.
    pub fn read(json: &[u8]) -> Result<Self, EventError> {
        Draft::read(json)?.event()
    }
}

/// JSON as it stands there; under another content type a string is the data's text.
fn data_of(raw: &str, content_type: &str) -> Result<Option<Bytes>, EventError> {
    if is_json(content_type) {
        return Ok(Some(Bytes::copy_from_slice(raw.as_bytes())));
    }
    match raw {
        "null" => Ok(None),
        raw if raw.starts_with('"') => Ok(Some(unescaped(DATA, raw)?.into())),
        raw => Ok(Some(Bytes::copy_from_slice(raw.as_bytes()))),
    }
}

fn value_of(name: &str, raw: &RawValue) -> Result<Value, EventError> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => unescaped(name, text).map(Value::Text),
        Some(b't') => Ok(Value::Boolean(true)),
        Some(b'f') => Ok(Value::Boolean(false)),
        Some(b'{' | b'[') => Err(EventError::attribute(
            name,
            "it is neither text, number, true nor false",
        )),
        _ => {
            let number = text.parse().map(Value::Integer);
            let why = "a number is whole, and of 32 bits; write others as text";
            number.map_err(|_| EventError::attribute(name, why))
        }
    }
}

fn unescaped(name: &str, raw: &str) -> Result<String, EventError> {
    let text = serde_json::from_str(raw);
    text.map_err(|_| EventError::attribute(name, "the string holds what is no Unicode"))
}

const TWICE: &str = "twice: ";

impl<'de: 'a, 'a> Deserialize<'de> for Draft<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Draft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        use serde::de::Error;
        let mut members: Vec<(String, &'de RawValue)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("{TWICE}{name}")));
            }
            members.push((name, map.next_value()?));
            // And the content type and the data.
            if members.len() > MAX_ATTRIBUTES + 2 {
                let words = format!("it has more than {MAX_ATTRIBUTES} attributes");
                return Err(A::Error::custom(words));
            }
        }
        Ok(Draft(members))
    }
}

impl Event {
    /// In the JSON format.
    pub fn write(&self, to: &mut Vec<u8>) {
        serde_json::to_writer(to, self).expect(NEVER_FAILS);
    }
}

/// A list of events in the JSON format.
pub fn write_batch(events: &[Event], to: &mut Vec<u8>) {
    serde_json::to_writer(to, events).expect(NEVER_FAILS);
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for attribute in self.attributes() {
            match &attribute.value {
                Value::Text(text) => map.serialize_entry(&attribute.name, text)?,
                Value::Integer(number) => map.serialize_entry(&attribute.name, number)?,
                Value::Boolean(truth) => map.serialize_entry(&attribute.name, truth)?,
            }
        }
        if let Some(content_type) = self.content_type() {
            map.serialize_entry(DATACONTENTTYPE, content_type)?;
        }
        if let Some(data) = self.data() {
            write_data(&mut map, data, self.content_type())?;
        }
        map.end()
    }
}

/// Without a content type `data` would be JSON: there it is base64, which leaves open what it is.
fn write_data<M: SerializeMap>(
    map: &mut M,
    data: &[u8],
    content_type: Option<&str>,
) -> Result<(), M::Error> {
    match content_type {
        Some(of) if is_json(of) => {
            if let Ok(value) = serde_json::from_slice::<&RawValue>(data) {
                return map.serialize_entry(DATA, value);
            }
        }
        Some(_) => {
            if let Ok(text) = std::str::from_utf8(data) {
                return map.serialize_entry(DATA, text);
            }
        }
        None => {}
    }
    map.serialize_entry(DATA_BASE64, &Base64(data))
}

struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}
