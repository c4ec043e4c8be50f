//! Independent readers of the streams: pages and events over HTTP, each message compared with what
//! was published.

use super::content::{Message, Name, POISON, message};
use super::violation::{Kind, Violation};
use crate::support::client::{Client, Response, encoded};
use crate::support::events::{Event, EventStream, Next, NotOpened};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PAGE: usize = 500;
const POLL: Duration = Duration::from_millis(10);
/// For the last events to come, when all is settled.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(10);

/// The messages of one stream as one reader saw them: the first has offset 0, and none is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub names: Vec<Name>,
    /// Event streams that were opened for it.
    pub connections: usize,
    pub violations: Vec<Violation>,
}

/// Reads behind the publishers, across kills, until `stop`.
pub fn follow(mut client: Client, stream: &str, seed: u64, stop: &AtomicBool) -> Read {
    let mut read = Read::default();
    while !stop.load(Ordering::Relaxed) {
        // No answer: it is down, and the next page tries again.
        match next_page(&mut client, stream, &mut read, seed) {
            Ok(n) if n > 0 => {}
            Ok(_) | Err(_) => thread::sleep(POLL),
        }
    }
    read
}

/// Reads as server-sent events behind the publishers, from connection to connection, until `stop`.
pub fn follow_events(http: SocketAddr, stream: &str, seed: u64, stop: &AtomicBool) -> Read {
    let mut read = Read::default();
    while !stop.load(Ordering::Relaxed) {
        if !listen(http, stream, "", seed, &mut read, || {
            stop.load(Ordering::Relaxed)
        }) {
            thread::sleep(POLL);
        }
    }
    read
}

/// The events that are still missing of `count`, in the end.
pub fn catch_up(http: SocketAddr, stream: &str, seed: u64, read: &mut Read, count: usize) {
    let deadline = Instant::now() + CATCH_UP_LIMIT;
    let query = match count - count.min(read.names.len()) {
        0 => return,
        missing => format!("?limit={missing}"),
    };
    listen(http, stream, &query, seed, read, || {
        Instant::now() > deadline
    });
    if read.names.len() != count {
        let detail = format!("stream {stream}: {} events of {count}", read.names.len());
        read.violations.push(Violation::new(Kind::Lost, detail));
    }
}

/// One connection to its end; false if there was none.
fn listen(
    http: SocketAddr,
    stream: &str,
    query: &str,
    seed: u64,
    read: &mut Read,
    enough: impl Fn() -> bool,
) -> bool {
    let last = read.names.len().checked_sub(1).map(|last| last as u64);
    let mut events = match EventStream::open(http, stream, query, last, CATCH_UP_LIMIT) {
        Ok(events) => events,
        // It is down, or going down.
        Err(NotOpened::Trouble(_)) => return false,
        Err(NotOpened::Refused(response)) => {
            let detail = format!("stream {stream}: events behind {last:?}: {response}");
            read.violations.push(Violation::new(Kind::Answer, detail));
            return false;
        }
    };
    read.connections += 1;
    while !enough() {
        match events.next() {
            Next::Event(event) => take_event(stream, &event, read, seed),
            Next::Nothing => {}
            Next::End | Next::Broken(_) => break,
        }
    }
    true
}

fn take_event(stream: &str, event: &Event, read: &mut Read, seed: u64) {
    let got: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let offset = got["offset"].to_string();
    if event.kind != "message" || event.id.as_deref() != Some(&offset) {
        let detail = format!("stream {stream}: not an event of a record: {event:?}");
        read.violations.push(Violation::new(Kind::Answer, detail));
        return;
    }
    take(stream, &got, read, seed);
}

/// Everything from the earliest to the end.
///
/// # Errors
/// If a page can't be read.
pub fn read_all(mut client: Client, stream: &str, seed: u64) -> Result<Read, String> {
    let mut read = Read::default();
    while next_page(&mut client, stream, &mut read, seed)? > 0 {}
    Ok(read)
}

fn next_page(
    client: &mut Client,
    stream: &str,
    read: &mut Read,
    seed: u64,
) -> Result<usize, String> {
    let from = match read.names.len() {
        0 => "earliest".to_owned(),
        n => n.to_string(),
    };
    let target = format!("/v1/streams/{}?from={from}&limit={PAGE}", encoded(stream));
    let response = client.get(&target).map_err(|trouble| trouble.to_string())?;
    if response.status != 200 {
        return Err(format!("{target}: {response}"));
    }
    let messages = page(&response).map_err(|why| format!("{target}: {why}"))?;
    let count = messages.len();
    for got in messages {
        take(stream, &got, read, seed);
    }
    Ok(count)
}

fn page(response: &Response) -> Result<Vec<Value>, String> {
    match response.json()? {
        Value::Object(mut page) => match page.remove("messages") {
            Some(Value::Array(messages)) => Ok(messages),
            _ => Err("no messages".to_owned()),
        },
        _ => Err("not an object".to_owned()),
    }
}

fn take(stream: &str, got: &Value, read: &mut Read, seed: u64) {
    let mut wrong = |kind, why: &str| {
        read.violations.push(Violation::new(
            kind,
            format!("stream {stream}: {why}: {got:.300}"),
        ));
    };
    let expected_offset = read.names.len() as u64;
    if got["offset"].as_u64() != Some(expected_offset) {
        wrong(
            Kind::Numbering,
            &format!("offset {expected_offset} was to come"),
        );
    }
    let id = got["id"].as_str().unwrap_or_default();
    let Some(name) = Name::parse(id) else {
        wrong(Kind::Foreign, "no id of ours");
        return;
    };
    if let Err(field) = compare(&message(seed, name), got) {
        wrong(
            Kind::Altered,
            &format!("another {field} than was published"),
        );
    }
    read.names.push(name);
}

/// # Errors
/// The field that differs.
fn compare(published: &Message, got: &Value) -> Result<(), &'static str> {
    if got["topic"].as_str() != Some(&published.topic) {
        return Err("topic");
    }
    if got["key"].as_str() != published.key.as_deref() {
        return Err("key");
    }
    if got["content_type"].as_str() != Some(published.content_type) {
        return Err("content_type");
    }
    if got["headers"][POISON].is_string() != published.poisoned {
        return Err("headers");
    }
    let same = match published.content_type {
        "application/json" => {
            serde_json::from_slice::<Value>(&published.payload).is_ok_and(|p| p == got["data"])
        }
        _ => bytes(got).is_some_and(|data| data == published.payload),
    };
    if same { Ok(()) } else { Err("payload") }
}

/// Text stands in `data`, other bytes in `data_base64`.
fn bytes(got: &Value) -> Option<Vec<u8>> {
    match (got["data"].as_str(), got["data_base64"].as_str()) {
        (Some(text), None) => Some(text.as_bytes().to_vec()),
        (None, Some(base64)) => from_base64(base64),
        _ => None,
    }
}

/// The standard alphabet, padded.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let (mut bits, mut held) = (0_u32, 0);
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == digit)?;
        bits = (bits << 6) | u32::try_from(value).expect("below 64");
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).expect("masked"));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn base64_is_decoded() {
        assert_eq!(from_base64("").unwrap(), b"");
        assert_eq!(from_base64("Zg==").unwrap(), b"f");
        assert_eq!(from_base64("Zm8=").unwrap(), b"fo");
        assert_eq!(from_base64("Zm9v/+8A").unwrap(), b"foo\xff\xef\x00");
        assert_eq!(from_base64("Zm9"), None);
        assert_eq!(from_base64("Zm9*"), None);
    }

    #[test]
    fn each_difference_is_seen() {
        let name = (0..).map(|number| Name {
            publisher: 1,
            number,
        });
        let mut name = name.filter(|n| message(5, *n).content_type == "text/plain");
        let name = name.find(|n| message(5, *n).key.is_some()).expect("soon");
        let published = message(5, name);
        let text = String::from_utf8(published.payload.clone()).unwrap();
        let good = json!({
            "offset": 0, "id": published.id, "topic": published.topic, "key": published.key,
            "content_type": "text/plain", "data": text,
        });
        let kinds = |change: &dyn Fn(&mut Value)| {
            let mut got = good.clone();
            change(&mut got);
            let mut read = Read::default();
            take("s", &got, &mut read, 5);
            read.violations.iter().map(|v| v.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&|_| {}), []);
        assert_eq!(kinds(&|got| got["offset"] = 1.into()), [Kind::Numbering]);
        assert_eq!(kinds(&|got| got["id"] = "who".into()), [Kind::Foreign]);
        assert_eq!(kinds(&|got| got["id"] = "1-99999".into()), [Kind::Altered]);
        assert_eq!(kinds(&|got| got["data"] = "x".into()), [Kind::Altered]);
        assert_eq!(kinds(&|got| got["key"] = Value::Null), [Kind::Altered]);
        assert_eq!(
            kinds(&|got| got["headers"] = json!({POISON: "1"})),
            [Kind::Altered]
        );
        assert_eq!(kinds(&|got| got["topic"] = "x".into()), [Kind::Altered]);
        assert_eq!(
            kinds(&|got| got["content_type"] = Value::Null),
            [Kind::Altered]
        );
    }
}
