//! Stream records as JSON.
//!
//! `data` is JSON where the content type says JSON and the payload is, text where it is UTF-8;
//! anything else is `data_base64`, so that under a JSON content type `data` is never mistaken:
//! there it is the JSON value itself. A record without payload has neither. A key is `key`
//! or `key_base64`. Headers are an object in order of first appearance: a value is text, or
//! `{"base64": …}` if it isn't UTF-8, or the list of its values where the name repeats.

use crate::clock::show_rfc3339;
use crate::cloudevents::{self, Event, Made};
use crate::ingress::front::{Page, StreamRecord};
use crate::message::{Header, is_json};
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// What records are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    Record,
    /// In the JSON format, those that are made from this gateway.
    CloudEvent {
        gateway: &'a str,
    },
}

/// The page as the body of its answer.
pub(super) fn to_json(page: &Page, shape: Shape<'_>) -> Vec<u8> {
    match shape {
        Shape::Record => {
            serde_json::to_vec(&PageBody(page)).expect("keys are text and nothing fails by itself")
        }
        Shape::CloudEvent { gateway } => {
            let records = page.records.iter();
            let events: Vec<Event> = records.map(|record| to_event(record, gateway)).collect();
            let mut json = Vec::new();
            cloudevents::write_batch(&events, &mut json);
            json
        }
    }
}

/// One of them.
pub(super) fn write(record: &StreamRecord, shape: Shape<'_>, to: &mut Vec<u8>) {
    match shape {
        Shape::Record => write_record(record, to),
        Shape::CloudEvent { gateway } => to_event(record, gateway).write(to),
    }
}

/// The event that it came as, or one made of it.
pub(super) fn to_event(record: &StreamRecord, gateway: &str) -> Event {
    cloudevents::of_record(&Made {
        id: &record.delivery_id,
        gateway,
        topic: &record.topic,
        time: record.time,
        key: record.key.as_deref(),
        headers: &record.headers,
        content_type: record.content_type.as_deref(),
        payload: record.payload.as_ref().ok(),
    })
}

/// One record, as it stands in a page.
pub(super) fn write_record(record: &StreamRecord, to: &mut Vec<u8>) {
    serde_json::to_writer(to, &RecordBody(record))
        .expect("keys are text, nothing fails by itself, and memory takes all");
}

struct PageBody<'a>(&'a Page);
struct RecordBody<'a>(&'a StreamRecord);
/// Also for who shows an envelope elsewhere, as the next two.
pub(crate) struct Headers<'a>(pub &'a [Header]);
struct Values<'a>(&'a [Header], &'a str);
struct Value<'a>(&'a [u8]);
pub(crate) struct Base64<'a>(pub &'a [u8]);

impl Serialize for PageBody<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let records: Vec<_> = self.0.records.iter().map(RecordBody).collect();
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("messages", &records)?;
        map.serialize_entry("next", &self.0.next)?;
        map.end()
    }
}

impl Serialize for RecordBody<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("offset", &record.offset)?;
        map.serialize_entry("id", &record.id)?;
        map.serialize_entry("topic", &record.topic)?;
        if let Some(key) = &record.key {
            match std::str::from_utf8(key) {
                Ok(text) => map.serialize_entry("key", text)?,
                Err(_) => map.serialize_entry("key_base64", &Base64(key))?,
            }
        }
        map.serialize_entry("headers", &Headers(&record.headers))?;
        if let Some(content_type) = &record.content_type {
            map.serialize_entry("content_type", content_type)?;
        }
        map.serialize_entry("time", &show_rfc3339(record.time))?;
        if let Ok(payload) = &record.payload {
            write_data(&mut map, payload, record.content_type.as_deref())?;
        }
        map.end()
    }
}

pub(crate) fn write_data<M: SerializeMap>(
    map: &mut M,
    payload: &[u8],
    content_type: Option<&str>,
) -> Result<(), M::Error> {
    if content_type.is_some_and(is_json) {
        if let Ok(value) = serde_json::from_slice::<&RawValue>(payload) {
            return map.serialize_entry("data", value);
        }
    } else if let Ok(text) = std::str::from_utf8(payload) {
        return map.serialize_entry("data", text);
    }
    map.serialize_entry("data_base64", &Base64(payload))
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (i, header) in self.0.iter().enumerate() {
            let has_name = |other: &&Header| other.name == header.name;
            if self.0[..i].iter().any(|earlier| has_name(&earlier)) {
                continue;
            }
            if self.0[i + 1..].iter().any(|later| has_name(&later)) {
                map.serialize_entry(&header.name, &Values(&self.0[i..], &header.name))?;
            } else {
                map.serialize_entry(&header.name, &Value(&header.value))?;
            }
        }
        map.end()
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(None)?;
        for header in self.0.iter().filter(|h| h.name == self.1) {
            list.serialize_element(&Value(&header.value))?;
        }
        list.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(self.0) {
            return to.serialize_str(text);
        }
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry("base64", &Base64(self.0))?;
        map.end()
    }
}

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::message::Tombstone;
    use bytes::Bytes;

    fn record(content_type: Option<&str>, payload: &'static [u8]) -> StreamRecord {
        StreamRecord {
            offset: 4,
            id: "i".into(),
            delivery_id: "d".into(),
            topic: "a/b".into(),
            key: None,
            headers: Vec::new(),
            content_type: content_type.map(str::to_owned),
            time: Wall(1_000),
            payload: Ok(Bytes::from_static(payload)),
        }
    }

    fn shown(record: StreamRecord) -> String {
        let page = Page {
            records: vec![record],
            next: 5,
        };
        let json = to_json(&page, Shape::Record);
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    fn data(content_type: Option<&str>, payload: &'static [u8]) -> String {
        let json = shown(record(content_type, payload));
        let (_, data) = json
            .split_once(r#""time":"1970-01-01T00:00:01.000Z""#)
            .expect("a time");
        data.strip_suffix("}],\"next\":5}")
            .expect("the end")
            .to_owned()
    }

    #[test]
    fn data_is_json_or_text_or_base64() {
        let json = Some("application/json");
        assert_eq!(data(json, b"{\"n\": 1.00}"), r#","data":{"n": 1.00}"#);
        assert_eq!(
            data(Some("application/X+JSON; v=1"), b"[1]"),
            r#","data":[1]"#
        );
        assert_eq!(data(json, b"\"text\""), r#","data":"text""#);
        assert_eq!(data(json, b"text"), r#","data_base64":"dGV4dA==""#);
        assert_eq!(data(json, b"{} {}"), r#","data_base64":"e30ge30=""#);
        assert_eq!(data(json, b""), r#","data_base64":"""#);
        assert_eq!(data(None, b"{\"n\": 1}"), r#","data":"{\"n\": 1}""#);
        assert_eq!(data(Some("text/plain"), b""), r#","data":"""#);
        assert_eq!(
            data(Some("text/plain"), b"\xff\x00"),
            r#","data_base64":"/wA=""#
        );
    }

    #[test]
    fn a_record_without_payload_has_no_data() {
        let tombstone = StreamRecord {
            payload: Err(Tombstone),
            ..record(None, b"")
        };
        assert_eq!(
            shown(tombstone),
            r#"{"messages":[{"offset":4,"id":"i","topic":"a/b","headers":{},"#.to_owned()
                + r#""time":"1970-01-01T00:00:01.000Z"}],"next":5}"#
        );
    }

    #[test]
    fn keys_and_headers_keep_their_bytes() {
        let header = |name: &str, value: &'static [u8]| Header {
            name: name.into(),
            value: Bytes::from_static(value),
        };
        let mut record = record(Some("text/plain"), b"x");
        record.key = Some(Bytes::from_static(b"k"));
        record.headers = vec![
            header("z", b"1"),
            header("a", b"\xff"),
            header("z", b"\x80"),
            header("b", b""),
        ];
        let json = shown(record.clone());
        assert!(json.contains(r#""key":"k""#), "{json}");
        let headers = r#""headers":{"z":["1",{"base64":"gA=="}],"a":{"base64":"/w=="},"b":""}"#;
        assert!(json.contains(headers), "{json}");
        assert!(json.contains(r#""content_type":"text/plain""#), "{json}");
        record.key = Some(Bytes::from_static(b"\xff"));
        assert!(shown(record).contains(r#""key_base64":"/w==""#));
    }
}
