//! `GET /api/v1/tap`: live copies of what passes the door, a JSON object a line, until the client goes,
//! the limit is reached or the gateway stops. docs/HTTP.md describes the lines.
//!
//! The connection pulls: copies are written only when it has room for them. What waits longer is
//! bounded by the door's queue, which drops and counts.

use super::Control;
use crate::clock::show_rfc3339;
use crate::door::taps::{
    self, Became, Counts, DEFAULT_RATE, End, MAX_RATE, Passed, Share, TapReader,
};
use crate::ingress::http::{Base64, Headers, Kind, Problem, write_data};
use crate::message::Envelope;
use crate::routing::Pattern;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Of a payload, unless the client says otherwise.
const SHOWN_BYTES: usize = 4 << 10;
/// One write to the connection, but always one line.
const CHUNK_BYTES: usize = 64 << 10;
/// What comes within so long is written at once: a busy door wakes a tap fifty times a second.
const LINGER: Duration = Duration::from_millis(20);
/// How often the counts are told while they change, and else.
const COUNTS_EVERY: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// For a client that is refused.
const RETRY_SECONDS: u32 = 5;

/// The query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pattern: String,
    sample: Option<String>,
    limit: Option<u64>,
    rate: Option<u32>,
    max_bytes: Option<usize>,
    #[serde(default = "yes")]
    payload: bool,
    #[serde(default)]
    refused: bool,
}

const fn yes() -> bool {
    true
}

pub(super) async fn open(
    State(control): State<Control>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked.map_err(|rejection| Problem::malformed(rejection.body_text()))?;
    let shown_bytes = match asked.payload {
        true => Some(asked.max_bytes.unwrap_or(SHOWN_BYTES)),
        false => None,
    };
    let reader = control.tap(wanted(&asked)?).await??;
    let feed = Feed::new(reader, shown_bytes);
    let lines = unfold(feed, |mut feed| async {
        let chunk = feed.next().await?;
        Some((Ok::<_, Infallible>(chunk), feed))
    });
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/x-ndjson"),
        (header::CACHE_CONTROL.as_str(), "no-store"),
        // nginx and its like would collect lines for a while.
        ("x-accel-buffering", "no"),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

fn wanted(asked: &Asked) -> Result<taps::Wanted, Problem> {
    let bad = |what: &str, why: &dyn std::fmt::Display| {
        Problem::malformed(format!("{what}: {why}")).with("parameter", what)
    };
    let pattern = Pattern::parse(&asked.pattern).map_err(|e| bad("pattern", &e))?;
    let share = match &asked.sample {
        None => Share::ALL,
        Some(text) => Share::parse(text)
            .ok_or_else(|| bad("sample", &"write 1/N, or a part of 1 such as 0.01"))?,
    };
    let rate = asked.rate.unwrap_or(DEFAULT_RATE);
    if rate == 0 || rate > MAX_RATE {
        return Err(bad("rate", &format!("write 1 to {MAX_RATE} a second")));
    }
    Ok(taps::Wanted {
        pattern,
        refused: asked.refused,
        share,
        rate,
        limit: asked.limit,
        seed: fastrand::u64(..),
    })
}

impl From<taps::OpenError> for Problem {
    fn from(error: taps::OpenError) -> Self {
        let detail = error.to_string();
        match error {
            taps::OpenError::Full => {
                Self::unavailable(Kind::Taps, detail, RETRY_SECONDS).with("limit", taps::MAX_TAPS)
            }
            taps::OpenError::Stopping => Self::unavailable(Kind::Stopping, detail, RETRY_SECONDS),
        }
    }
}

/// One client.
struct Feed {
    reader: TapReader,
    /// Of each payload; none is shown without.
    shown_bytes: Option<usize>,
    /// What was told last, and when; nothing yet: the client is to see that the tap is open.
    told: Option<(Counts, Instant)>,
    has_ended: bool,
}

impl Feed {
    const fn new(reader: TapReader, shown_bytes: Option<usize>) -> Self {
        Self {
            reader,
            shown_bytes,
            told: None,
            has_ended: false,
        }
    }

    /// The next lines, as soon as there are some; none after the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        loop {
            let mut lines = Vec::new();
            while lines.len() < CHUNK_BYTES
                && let Some(passed) = self.reader.next()
            {
                let shown_bytes = self.shown_bytes;
                write_line(
                    &mut lines,
                    &MessageLine {
                        passed,
                        shown_bytes,
                    },
                );
            }
            if let Some(end) = self.reader.end() {
                self.has_ended = true;
                write_line(&mut lines, &CountsLine::of(self.reader.counts(), Some(end)));
            } else if self.are_counts_due() {
                let counts = self.reader.counts();
                self.told = Some((counts, Instant::now()));
                write_line(&mut lines, &CountsLine::of(counts, None));
            }
            if !lines.is_empty() {
                return Some(lines.into());
            }
            tokio::select! {
                () = self.reader.news() => self.linger().await,
                () = sleep_until(self.looks_again()) => {}
            }
        }
    }

    async fn linger(&self) {
        if !self.reader.is_ending() {
            sleep(LINGER).await;
        }
    }

    fn are_counts_due(&self) -> bool {
        let Some((counts, at)) = self.told else {
            return true;
        };
        let since = at.elapsed();
        since >= KEEP_ALIVE || (since >= COUNTS_EVERY && counts != self.reader.counts())
    }

    fn looks_again(&self) -> Instant {
        Instant::now() + COUNTS_EVERY
    }
}

fn write_line(lines: &mut Vec<u8>, line: &impl Serialize) {
    let start = lines.len();
    serde_json::to_writer(&mut *lines, line).expect("keys are text, and memory takes all");
    // Only between the tokens of a payload that is JSON: a space means the same.
    for byte in &mut lines[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    lines.push(b'\n');
}

/// What came until now, or at the end.
#[derive(Serialize)]
struct CountsLine {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    matched: u64,
    shown: u64,
    left_out: LeftOut,
}

#[derive(Serialize)]
struct LeftOut {
    sample: u64,
    rate: u64,
    queue: u64,
}

impl CountsLine {
    fn of(counts: Counts, end: Option<End>) -> Self {
        Self {
            event: if end.is_some() { "end" } else { "counts" },
            why: end.map(|end| match end {
                End::Limit => "limit",
                End::Stopping => "stopping",
            }),
            matched: counts.matched,
            shown: counts.shown,
            left_out: LeftOut {
                sample: counts.by_sample,
                rate: counts.by_rate,
                queue: counts.by_queue,
            },
        }
    }
}

struct MessageLine {
    passed: Passed,
    shown_bytes: Option<usize>,
}

impl Serialize for MessageLine {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let envelope = self.passed.envelope();
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("event", "message")?;
        map.serialize_entry("time", &show_rfc3339(self.passed.at))?;
        write_outcome(&mut map, &self.passed.became)?;
        map.serialize_entry("source", &*envelope.source)?;
        map.serialize_entry("principal", &*envelope.principal)?;
        map.serialize_entry("topic", &envelope.topic)?;
        if let Some(id) = &self.passed.id {
            map.serialize_entry("id", &**id)?;
        }
        if let Some(key) = &envelope.key {
            match std::str::from_utf8(key) {
                Ok(text) => map.serialize_entry("key", text)?,
                Err(_) => map.serialize_entry("key_base64", &Base64(key))?,
            }
        }
        map.serialize_entry("headers", &Headers(&envelope.headers))?;
        if let Some(content_type) = &envelope.content_type {
            map.serialize_entry("content_type", content_type)?;
        }
        if let Some(context) = envelope.trace_context() {
            let text = context.parent.text();
            map.serialize_entry("traceparent", &*String::from_utf8_lossy(&text))?;
        }
        write_payload(&mut map, envelope, self.shown_bytes)?;
        map.end()
    }
}

fn write_outcome<M: SerializeMap>(map: &mut M, became: &Became) -> Result<(), M::Error> {
    match became {
        Became::Stored {
            position,
            duplicate,
        } => {
            let outcome = if *duplicate { "duplicate" } else { "stored" };
            map.serialize_entry("outcome", outcome)?;
            map.serialize_entry("position", &position.0)
        }
        Became::Received => map.serialize_entry("outcome", "received"),
        Became::Dropped => map.serialize_entry("outcome", "dropped"),
        Became::Refused(refusal) => {
            map.serialize_entry("outcome", "refused")?;
            map.serialize_entry("reason", refusal.reason())?;
            map.serialize_entry("detail", &refusal.to_string())
        }
    }
}

/// The whole as a stream's page has it, or its start under a name of its own: a part is never
/// mistaken for the whole.
fn write_payload<M: SerializeMap>(
    map: &mut M,
    envelope: &Envelope,
    shown_bytes: Option<usize>,
) -> Result<(), M::Error> {
    let Ok(payload) = &envelope.payload else {
        return Ok(());
    };
    map.serialize_entry("payload_bytes", &payload.len())?;
    let Some(shown_bytes) = shown_bytes else {
        return Ok(());
    };
    if payload.len() <= shown_bytes {
        return write_data(map, payload, envelope.content_type.as_deref());
    }
    let start = &payload[..shown_bytes];
    match std::str::from_utf8(start) {
        Ok(text) => map.serialize_entry("data_start", text),
        // A character that the cut went through.
        Err(e) if e.error_len().is_none() => {
            let whole = String::from_utf8_lossy(&start[..e.valid_up_to()]);
            map.serialize_entry("data_start", &whole)
        }
        Err(_) => map.serialize_entry("data_start_base64", &Base64(start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::message::{Header, MessageId, Position, Refusal, Tombstone};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn line(
        became: Became,
        payload: Option<&[u8]>,
        content_type: &str,
        shown: Option<usize>,
    ) -> Value {
        let envelope = Envelope {
            principal: "ann".into(),
            source: "http".into(),
            topic: "a/b".into(),
            id: MessageId::None,
            key: Some(Bytes::from_static(b"k")),
            headers: vec![Header {
                name: "kind".into(),
                value: Bytes::from_static(b"\xff"),
            }],
            content_type: Some(content_type.into()),
            payload: payload.map(Bytes::copy_from_slice).ok_or(Tombstone),
            priority: None,
            deliver_at: None,
            expires_at: None,
            extensions: Vec::new(),
        };
        let passed = Passed {
            at: Wall(1_000),
            became,
            id: None,
            body: taps::Body::Bare(Arc::new(envelope)),
        };
        let mut lines = Vec::new();
        write_line(
            &mut lines,
            &MessageLine {
                passed,
                shown_bytes: shown,
            },
        );
        let newlines = lines.iter().filter(|b| **b == b'\n').count();
        assert_eq!((newlines, lines.last()), (1, Some(&b'\n')));
        serde_json::from_slice(&lines).expect("JSON")
    }

    fn payload(payload: Option<&[u8]>, content_type: &str, shown: Option<usize>) -> Value {
        let mut line = line(Became::Dropped, payload, content_type, shown);
        let members = line.as_object_mut().expect("an object");
        members.retain(|name, _| name.starts_with("data") || name == "payload_bytes");
        line
    }

    #[test]
    fn a_line_says_what_became_of_the_message() {
        let common = json!({
            "event": "message", "time": "1970-01-01T00:00:01.000Z", "source": "http",
            "principal": "ann", "topic": "a/b", "key": "k", "headers": {"kind": {"base64": "/w=="}},
            "content_type": "text/plain",
        });
        let refusal = Refusal::NoRoute {
            topic: "a/b".into(),
        };
        let stored = |duplicate| Became::Stored {
            position: Position(4),
            duplicate,
        };
        for (became, members) in [
            (stored(false), json!({"outcome": "stored", "position": 4})),
            (stored(true), json!({"outcome": "duplicate", "position": 4})),
            (Became::Received, json!({"outcome": "received"})),
            (Became::Dropped, json!({"outcome": "dropped"})),
            (
                Became::Refused(refusal.clone()),
                json!({"outcome": "refused", "reason": "no_route", "detail": refusal.to_string()}),
            ),
        ] {
            let mut expected = common.clone();
            for (name, value) in members.as_object().expect("an object") {
                expected[name] = value.clone();
            }
            assert_eq!(line(became, None, "text/plain", Some(10)), expected);
        }
    }

    #[test]
    fn a_payload_is_shown_whole_or_as_its_start_or_not() {
        let json_type = "application/json";
        for (bytes, content_type, shown, expected) in [
            (
                &b"{\"n\":\n1}"[..],
                json_type,
                Some(8),
                json!({"payload_bytes": 8, "data": {"n": 1}}),
            ),
            (
                b"{\"n\": 1}",
                json_type,
                Some(4),
                json!({"payload_bytes": 8, "data_start": "{\"n\""}),
            ),
            (
                "aé".as_bytes(),
                "text/plain",
                Some(2),
                json!({"payload_bytes": 3, "data_start": "a"}),
            ),
            (
                b"\xff\xfe",
                "text/plain",
                Some(1),
                json!({"payload_bytes": 2, "data_start_base64": "/w=="}),
            ),
            (b"secret", "text/plain", None, json!({"payload_bytes": 6})),
            (
                b"x",
                "text/plain",
                Some(0),
                json!({"payload_bytes": 1, "data_start": ""}),
            ),
        ] {
            assert_eq!(payload(Some(bytes), content_type, shown), expected);
        }
        assert_eq!(payload(None, "text/plain", Some(9)), json!({}));
    }
}
