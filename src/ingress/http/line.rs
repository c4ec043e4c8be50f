//! A line of a batch → an envelope. Pure and strict, as the heads of single publishes are. A line's message may be
//! an event.
//!
//! What a stream's page shows of a record can be sent as a line: `key_base64`, and headers whose value
//! is `{"base64": …}` or a list, are read as `page` writes them.

use super::problem::Problem;
use crate::cloudevents::{self, Draft, Mode};
use crate::message::{Envelope, Header, MessageId, is_json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// What `data` is without a content type: JSON, as it stands there.
const DEFAULT_CONTENT_TYPE: &str = "application/json";

/// The members of a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line<'a> {
    topic: String,
    id: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(default)]
    headers: Headers,
    content_type: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    /// What an export of dead letters says besides the message.
    #[serde(default, rename = "dead_letter")]
    _dead_letter: Option<IgnoredAny>,
}

/// `null` is data, too.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Line<'a> {
    pub(super) fn read(json: &'a [u8]) -> Result<Self, Problem> {
        if json.trim_ascii_start().first() != Some(&b'{') {
            // serde would take a list of values in the order of the members.
            return Err(Problem::malformed("a line is a JSON object"));
        }
        serde_json::from_slice(json).map_err(|error| {
            // Its line is 1 always: a line of the batch has no other.
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            Problem::malformed(format!("column {}: {text}", error.column()))
        })
    }

    /// Its key, as far as it can be read.
    pub(super) fn key(&self) -> Result<Option<Bytes>, Problem> {
        let key = match (&self.key, &self.key_base64) {
            (Some(_), Some(_)) => return Err(bad("key_base64", "give this or key, not both")),
            (Some(text), None) => Some(Bytes::copy_from_slice(text.as_bytes())),
            (None, Some(text)) => Some(decoded("key_base64", text)?),
            (None, None) => None,
        };
        match key {
            Some(key) if key.is_empty() => Err(bad("key", "it is empty; leave it out for no key")),
            key => Ok(key),
        }
    }

    /// Its key, or that of the event in it, as far as they can be read.
    pub(super) fn key_of_all(&self) -> Option<Bytes> {
        if let Ok(Some(key)) = self.key() {
            return Some(key);
        }
        let is_event = Mode::of(self.content_type.as_deref()?) == Ok(Some(Mode::Structured));
        let data = self.data.filter(|_| is_event)?;
        let draft = Draft::read(data.get().as_bytes()).ok()?;
        draft.key().map(Bytes::from)
    }

    /// The envelope of a line that came from this principal.
    pub(super) fn envelope(
        self,
        principal: &Arc<str>,
        source: &Arc<str>,
    ) -> Result<Envelope, Problem> {
        let key = self.key()?;
        let (payload, content_type) = self.payload()?;
        let id = match self.id {
            Some(id) if id.is_empty() => return Err(bad("id", "it is empty")),
            Some(id) => MessageId::Publisher(id),
            None => MessageId::None,
        };
        let envelope = Envelope {
            principal: Arc::clone(principal),
            source: Arc::clone(source),
            topic: self.topic,
            id,
            key,
            headers: self.headers.0,
            content_type,
            payload: Ok(payload),
            priority: None,
            deliver_at: None,
            expires_at: None,
            extensions: Vec::new(),
        };
        Ok(cloudevents::take_in(envelope)?)
    }

    fn payload(&self) -> Result<(Bytes, Option<String>), Problem> {
        let content_type = self.content_type.clone();
        let data = match (self.data, &self.data_base64) {
            (Some(_), Some(_)) => return Err(bad("data_base64", "give this or data, not both")),
            (None, None) => return Err(bad("data", "it is missing, and so is data_base64")),
            (None, Some(text)) => return Ok((decoded("data_base64", text)?, content_type)),
            (Some(data), None) => data.get(),
        };
        let is_text = content_type.as_deref().is_some_and(|t| !is_json(t)) && data.starts_with('"');
        let payload = if is_text {
            let text: String = serde_json::from_str(data)
                .map_err(|_| bad("data", "the string holds what is no Unicode"))?;
            Bytes::from(text)
        } else {
            Bytes::copy_from_slice(data.as_bytes())
        };
        let content_type = content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned());
        Ok((payload, Some(content_type)))
    }
}

fn decoded(member: &str, text: &str) -> Result<Bytes, Problem> {
    match STANDARD.decode(text) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(bad(member, &format!("it isn't base64: {error}"))),
    }
}

fn bad(member: &str, why: &str) -> Problem {
    Problem::malformed(format!("{member}: {why}")).with("member", member)
}

/// In the order in which they stand there, names in lower case as in single publishes.
#[derive(Default)]
struct Headers(Vec<Header>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(Value),
    Many(Vec<Value>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Bytes(Encoded),
}

/// `{"base64": "…"}`
#[derive(Deserialize)]
enum Encoded {
    #[serde(rename = "base64")]
    Base64(String),
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        use serde::de::Error;
        let mut headers = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.is_empty() {
                return Err(A::Error::custom("headers: a name is empty"));
            }
            let bad = |why: &dyn fmt::Display| A::Error::custom(format!("headers.{name}: {why}"));
            let values = map
                .next_value::<Values>()
                .map_err(|_| bad(&"write text, {\"base64\": …} or a list of these"))?;
            let values = match values {
                Values::One(value) => vec![value],
                Values::Many(values) => values,
            };
            for value in values {
                let value = match value {
                    Value::Text(text) => Bytes::from(text),
                    Value::Bytes(Encoded::Base64(text)) => {
                        STANDARD.decode(text).map_err(|e| bad(&e))?.into()
                    }
                };
                headers.push(Header {
                    name: name.to_ascii_lowercase(),
                    value,
                });
            }
        }
        Ok(Headers(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::super::page;
    use super::*;
    use crate::clock::Wall;
    use crate::ingress::front::StreamRecord;

    fn read(line: &str) -> Result<Envelope, Problem> {
        Line::read(line.as_bytes())?.envelope(&"anonymous".into(), &"http".into())
    }

    fn payload(line: &str) -> (Vec<u8>, Option<String>) {
        let envelope = read(line).unwrap_or_else(|problem| panic!("{line}: {problem:?}"));
        let payload = envelope.payload.expect("a line has one");
        (payload.to_vec(), envelope.content_type)
    }

    #[test]
    fn data_is_json_or_text_as_the_content_type_says() {
        for (line, bytes, content_type) in [
            (
                r#"{"topic":"a","data":{"n": 1.0}}"#,
                &br#"{"n": 1.0}"#[..],
                Some("application/json"),
            ),
            (
                r#"{"topic":"a","data":"x"}"#,
                br#""x""#,
                Some("application/json"),
            ),
            (
                r#"{"topic":"a","data":null}"#,
                b"null",
                Some("application/json"),
            ),
            (
                r#"{"topic":"a","content_type":"text/plain","data":"x\n\u00e9"}"#,
                "x\né".as_bytes(),
                Some("text/plain"),
            ),
            (
                r#"{"topic":"a","content_type":"text/plain","data":[1, 2]}"#,
                b"[1, 2]",
                Some("text/plain"),
            ),
            (
                r#"{"topic":"a","content_type":"application/vnd.x+json; v=1","data":"x"}"#,
                br#""x""#,
                Some("application/vnd.x+json; v=1"),
            ),
            (r#"{"topic":"a","data_base64":"/wA="}"#, b"\xff\0", None),
            (
                r#"{"topic":"a","content_type":"application/json","data_base64":"e30="}"#,
                b"{}",
                Some("application/json"),
            ),
        ] {
            assert_eq!(
                payload(line),
                (bytes.to_vec(), content_type.map(str::to_owned)),
                "{line}"
            );
        }
    }

    /// Data is taken as it stands there, and nothing looks into it.
    #[test]
    fn data_may_be_as_deep_as_it_likes() {
        let data = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let line = format!("{{\"topic\":\"a\",\"data\":{data}}}");
        assert_eq!(payload(&line).0, data.into_bytes());
    }

    #[test]
    fn headers_keep_their_order_and_take_every_form() {
        let line = r#"{"topic":"a","id":"i","key":"k","data":1,
            "headers":{"Z":"1","a":[{"base64":"/w=="},"2"],"b":{"base64":""}}}"#;
        let envelope = read(line).expect("legal");
        let pairs: Vec<_> = envelope
            .headers
            .iter()
            .map(|h| (h.name.as_str(), &h.value[..]))
            .collect();
        let expected: [(&str, &[u8]); 4] = [("z", b"1"), ("a", b"\xff"), ("a", b"2"), ("b", b"")];
        assert_eq!(pairs, expected);
        assert_eq!(envelope.id, MessageId::Publisher("i".into()));
        assert_eq!(envelope.key.as_deref(), Some(&b"k"[..]));
    }

    #[test]
    fn what_a_page_shows_can_be_sent_again() {
        let record = StreamRecord {
            offset: 0,
            id: "i".into(),
            delivery_id: "d".into(),
            topic: "a/b".into(),
            key: Some(Bytes::from_static(b"\xff")),
            headers: vec![
                Header {
                    name: "n".into(),
                    value: Bytes::from_static(b"1"),
                },
                Header {
                    name: "n".into(),
                    value: Bytes::from_static(b"\xfe"),
                },
            ],
            content_type: Some("image/png".into()),
            time: Wall(0),
            payload: Ok(Bytes::from_static(b"\x89P")),
        };
        let mut shown = Vec::new();
        page::write_record(&record, &mut shown);
        let mut shown: serde_json::Value = serde_json::from_slice(&shown).expect("JSON");
        let members = shown.as_object_mut().expect("an object");
        assert!(members.remove("offset").is_some() && members.remove("time").is_some());
        let envelope = read(&shown.to_string()).expect("legal");
        assert_eq!(
            (
                envelope.key,
                envelope.headers,
                envelope.payload,
                envelope.content_type
            ),
            (
                record.key,
                record.headers,
                record.payload,
                record.content_type
            )
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (line, words) in [
            ("{", "EOF"),
            ("[\"a\"]", "a line is a JSON object"),
            ("{\"topic\":\"a\"}", "data: it is missing"),
            ("{\"data\":1}", "missing field `topic`"),
            (
                "{\"topic\":\"a\",\"data\":1,\"topci\":2}",
                "unknown field `topci`",
            ),
            (
                "{\"topic\":\"a\",\"data\":1,\"data\":2}",
                "duplicate field `data`",
            ),
            ("{\"topic\":\"a\",\"data\":1} x", "trailing characters"),
            (
                "{\"topic\":\"a\",\"data\":1,\"data_base64\":\"\"}",
                "not both",
            ),
            (
                "{\"topic\":\"a\",\"data_base64\":\"!\"}",
                "data_base64: it isn't base64",
            ),
            (
                "{\"topic\":\"a\",\"data\":1,\"id\":\"\"}",
                "id: it is empty",
            ),
            (
                "{\"topic\":\"a\",\"data\":1,\"key\":\"\"}",
                "key: it is empty",
            ),
            (
                "{\"topic\":\"a\",\"data\":1,\"key\":\"a\",\"key_base64\":\"YQ==\"}",
                "not both",
            ),
            (
                "{\"topic\":\"a\",\"data\":1,\"headers\":{\"x\":1}}",
                "headers.x: write text",
            ),
            (
                "{\"topic\":\"a\",\"data\":1,\"headers\":{\"\":\"1\"}}",
                "a name is empty",
            ),
            ("{\"topic\":\"\\ud800\",\"data\":1}", "column"),
            (
                "{\"topic\":\"a\",\"content_type\":\"text/plain\",\"data\":\"\\ud800\"}",
                "data: the string",
            ),
        ] {
            let problem = read(line).expect_err(line);
            assert_eq!(problem.status, 400, "{line}");
            assert!(problem.detail.contains(words), "{line}: {}", problem.detail);
        }
        assert!(read("{\"topic\":\"a\",\"data\":1,\"id\":null,\"key\":null}").is_ok());
        assert!(Line::read(b"{\"topic\":\"\xff\",\"data\":1}").is_err());
    }
}
