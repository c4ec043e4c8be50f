//! A letter as JSON: in a list, by itself, and as a line that `POST /v1/batch` takes.

use crate::clock::show_rfc3339;
use crate::egress::stream::{DeadLetter, StreamRecord};
use crate::ingress::http::{Base64, Headers, write_data};
use crate::message::{DeliveryId, Header};
use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// What `[dead_letters]` hides of what is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hide {
    /// In small letters.
    pub headers: Arc<[String]>,
    pub payload: bool,
}

/// A dead letter, and what is known of the message beside what was to be delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    pub offset: u64,
    pub record: StreamRecord,
    pub received: Option<Received>,
    /// It can't go where it was planned, because it wasn't planned to go anywhere.
    pub reroute_only: bool,
    /// The delivery that it redrove.
    pub redrive_of: Option<DeliveryId>,
}

/// As it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub principal: Arc<str>,
    pub source: Arc<str>,
    pub topic: String,
    pub key: Option<Bytes>,
    pub headers: Vec<Header>,
    pub content_type: Option<String>,
    pub payload: Option<Bytes>,
}

/// How a letter is shown.
#[derive(Clone, Copy)]
pub enum Show<'a> {
    /// Without headers and payload.
    Summary(&'a Letter),
    Whole(&'a Letter, &'a Hide),
    /// A line of a batch.
    Export(&'a Letter, &'a Hide),
}

impl Serialize for Show<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        match self {
            Self::Summary(letter) => letter.write_facts(&mut map)?,
            Self::Whole(letter, hide) => {
                letter.write_facts(&mut map)?;
                let record = &letter.record;
                let content = Content {
                    key: None,
                    headers: &record.headers,
                    content_type: record.content_type.as_deref(),
                    payload: record.payload.as_ref().ok(),
                };
                content.write(&mut map, hide)?;
                if let Some(received) = &letter.received {
                    map.serialize_entry("source", &*received.source)?;
                    map.serialize_entry("principal", &*received.principal)?;
                }
            }
            Self::Export(letter, hide) => letter.write_line(&mut map, hide)?,
        }
        map.end()
    }
}

impl Letter {
    /// What lists and the letter itself have.
    fn write_facts<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let record = &self.record;
        map.serialize_entry("offset", &self.offset)?;
        map.serialize_entry("id", &record.id)?;
        map.serialize_entry("topic", &record.topic)?;
        if let Some(received) = &self.received
            && received.topic != record.topic
        {
            map.serialize_entry("received_topic", &received.topic)?;
        }
        write_key(map, record.key.as_ref())?;
        if let Ok(payload) = &record.payload {
            map.serialize_entry("payload_bytes", &payload.len())?;
        }
        map.serialize_entry("dead_letter", &Facts(self))
    }

    /// As it came, where that is known, so that it can take its way again.
    fn write_line<M: SerializeMap>(&self, map: &mut M, hide: &Hide) -> Result<(), M::Error> {
        let record = &self.record;
        let planned = Content {
            key: record.key.as_ref(),
            headers: &record.headers,
            content_type: record.content_type.as_deref(),
            payload: record.payload.as_ref().ok(),
        };
        let (topic, content) = match &self.received {
            Some(received) => (&received.topic, received.content()),
            None => (&record.topic, planned),
        };
        map.serialize_entry("topic", topic)?;
        map.serialize_entry("id", &record.id)?;
        content.write(map, hide)?;
        map.serialize_entry("dead_letter", &Facts(self))
    }
}

impl Received {
    fn content(&self) -> Content<'_> {
        Content {
            key: self.key.as_ref(),
            headers: &self.headers,
            content_type: self.content_type.as_deref(),
            payload: self.payload.as_ref(),
        }
    }
}

/// What a letter says besides the message.
struct Facts<'a>(&'a Letter);

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Letter { record, .. } = self.0;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("offset", &self.0.offset)?;
        map.serialize_entry("position", &record.at.position.0)?;
        map.serialize_entry("ordinal", &record.at.ordinal.0)?;
        map.serialize_entry("delivery_id", &record.delivery_id)?;
        map.serialize_entry("route", &record.route)?;
        let letter = record.dead_letter.as_ref();
        map.serialize_entry("destination", &letter.map(|l| &l.destination))?;
        map.serialize_entry("reason", &letter.map(|l| &l.reason))?;
        map.serialize_entry("attempts", &letter.map_or(0, |l| l.attempts))?;
        map.serialize_entry("accepted", &show_rfc3339(record.accepted))?;
        let time = |of: fn(&DeadLetter) -> Option<crate::clock::Wall>| {
            letter.and_then(of).map(show_rfc3339)
        };
        map.serialize_entry("first_attempt", &time(|l| l.first_attempt))?;
        map.serialize_entry("last_attempt", &time(|l| l.last_attempt))?;
        map.serialize_entry("reroute_only", &self.0.reroute_only)?;
        let of = self.0.redrive_of.map(|at| Of {
            position: at.position.0,
            ordinal: at.ordinal.0,
        });
        map.serialize_entry("redrive_of", &of)?;
        map.end()
    }
}

#[derive(Serialize)]
struct Of {
    position: u64,
    ordinal: u16,
}

struct Content<'a> {
    key: Option<&'a Bytes>,
    headers: &'a [Header],
    content_type: Option<&'a str>,
    payload: Option<&'a Bytes>,
}

impl Content<'_> {
    fn write<M: SerializeMap>(&self, map: &mut M, hide: &Hide) -> Result<(), M::Error> {
        write_key(map, self.key)?;
        let is_hidden = |header: &Header| {
            let mut names = hide.headers.iter();
            names.any(|name| name.eq_ignore_ascii_case(&header.name))
        };
        let (hidden, shown): (Vec<Header>, Vec<Header>) =
            self.headers.iter().cloned().partition(is_hidden);
        map.serialize_entry("headers", &Headers(&shown))?;
        if !hidden.is_empty() {
            let names: Vec<&String> = hidden.iter().map(|header| &header.name).collect();
            map.serialize_entry("hidden_headers", &names)?;
        }
        if let Some(content_type) = self.content_type {
            map.serialize_entry("content_type", content_type)?;
        }
        match self.payload {
            Some(_) if hide.payload => map.serialize_entry("payload_hidden", &true),
            Some(payload) => write_data(map, payload, self.content_type),
            None => Ok(()),
        }
    }
}

fn write_key<M: SerializeMap>(map: &mut M, key: Option<&Bytes>) -> Result<(), M::Error> {
    match key.map(|key| (key, std::str::from_utf8(key))) {
        None => Ok(()),
        Some((_, Ok(text))) => map.serialize_entry("key", text),
        Some((key, Err(_))) => map.serialize_entry("key_base64", &Base64(key)),
    }
}
