//! The requests of a bench: messages of one topic, each with an id of its own.

use crate::cli::client::Ask;
use crate::cli::exit::Failure;
use crate::cli::publish::{path, read_data};
use crate::message::{guess_content_type, is_json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use std::time::Duration;

/// Longer than a route's `ack_timeout` usually is.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// How messages are sent. A door of another protocol is one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// HTTP, a message a request.
    Publish,
    /// HTTP, so many lines a request.
    Batch(u64),
}

impl Way {
    pub const fn batch(self) -> u64 {
        match self {
            Self::Publish => 1,
            Self::Batch(lines) => lines,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Batch(_) => "batch",
        }
    }
}

/// What each message has.
pub(super) struct Messages {
    topic: String,
    path: String,
    id_prefix: String,
    content: Content,
    content_type: HeaderValue,
    /// `"data":…` or `"data_base64":…` of the same payload for each; else it is made.
    member: Option<String>,
}

enum Content {
    /// The number of the message, and letters up to so many bytes.
    Made(usize),
    Given(Bytes),
}

impl Messages {
    pub fn made(topic: &str, id_prefix: String, bytes: usize) -> Self {
        Self {
            topic: topic.to_owned(),
            path: path(topic),
            id_prefix,
            content: Content::Made(bytes),
            content_type: HeaderValue::from_static("text/plain"),
            member: None,
        }
    }

    pub fn given(topic: &str, id_prefix: String, data: &str) -> Result<Self, Failure> {
        let data = read_data(data)?;
        let content_type = guess_content_type(&data);
        Ok(Self {
            member: Some(member(&data, content_type)),
            content: Content::Given(data),
            content_type: HeaderValue::from_static(content_type),
            ..Self::made(topic, id_prefix, 0)
        })
    }

    pub fn payload_bytes(&self) -> usize {
        match &self.content {
            Content::Made(bytes) => *bytes,
            Content::Given(data) => data.len(),
        }
    }

    /// The messages from that number on, as one request.
    pub fn ask(&self, way: Way, first: u64, messages: u64) -> Ask {
        match way {
            Way::Publish => self.publish(first),
            Way::Batch(_) => self.lines(first, messages),
        }
    }

    fn publish(&self, number: u64) -> Ask {
        let id = HeaderValue::from_str(&format!("\"{}-{number}\"", self.id_prefix));
        let id = id.expect("the prefix was checked, digits are legal");
        Ask {
            method: Method::POST,
            headers: vec![
                (CONTENT_TYPE, self.content_type.clone()),
                (HeaderName::from_static("idempotency-key"), id),
            ],
            body: self.payload(number),
            patience: ANSWER_PATIENCE,
            ..Ask::get(self.path.clone())
        }
    }

    fn lines(&self, first: u64, messages: u64) -> Ask {
        let topic = serde_json::Value::from(self.topic.as_str());
        let content_type = self.content_type.to_str().unwrap_or_default();
        let mut body = String::new();
        for number in first..first + messages {
            let id = serde_json::Value::from(format!("{}-{number}", self.id_prefix));
            let made;
            let member = match &self.member {
                Some(member) => member,
                None => {
                    made = member(&self.payload(number), content_type);
                    &made
                }
            };
            body.push_str(&format!(
                "{{\"topic\":{topic},\"id\":{id},\"content_type\":\"{content_type}\",{member}}}\n"
            ));
        }
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        Ask {
            method: Method::POST,
            headers: vec![(CONTENT_TYPE, ndjson)],
            body: body.into(),
            patience: ANSWER_PATIENCE,
            ..Ask::get("/v1/batch".to_owned())
        }
    }

    fn payload(&self, number: u64) -> Bytes {
        match &self.content {
            Content::Given(data) => data.clone(),
            Content::Made(bytes) => {
                let mut text = format!("{number} ").into_bytes();
                let letters = (b'a'..=b'z').cycle();
                let missing = bytes.saturating_sub(text.len());
                text.extend(letters.take(missing));
                text.truncate(*bytes);
                text.into()
            }
        }
    }
}

/// The member of a batch's line that has these bytes, without line breaks.
fn member(data: &[u8], content_type: &str) -> String {
    if is_json(content_type)
        && let Ok(raw) = serde_json::from_slice::<&RawValue>(data)
    {
        // They stand between tokens only, where a space means the same.
        return format!("\"data\":{}", raw.get().replace(['\n', '\r'], " "));
    }
    match std::str::from_utf8(data) {
        Ok(text) if !is_json(content_type) => {
            format!("\"data\":{}", serde_json::Value::from(text))
        }
        _ => format!("\"data_base64\":\"{}\"", STANDARD.encode(data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn made_payloads_have_their_size_and_differ() {
        let messages = Messages::made("a", "p".into(), 8);
        assert_eq!(messages.payload(7), "7 abcdef");
        assert_eq!(messages.payload(1_234_567_890), "12345678");
        assert_eq!(Messages::made("a", "p".into(), 0).payload(7), "");
        let long = Messages::made("a", "p".into(), 1_000).payload(7);
        assert_eq!(long.len(), 1_000);
    }

    #[test]
    fn a_request_has_one_message_or_a_line_for_each() {
        let messages = Messages::made("a/ü", "p".into(), 4);
        let ask = messages.ask(Way::Publish, 7, 1);
        assert_eq!(
            (ask.path.as_str(), &ask.body[..]),
            ("/v1/topics/a/%C3%BC", &b"7 ab"[..])
        );
        assert_eq!(ask.headers[1].1, "\"p-7\"");
        let ask = messages.ask(Way::Batch(2), 7, 2);
        let lines: Vec<Value> = ask
            .body
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect();
        let line = |id: &str, data: &str| json!({"topic": "a/ü", "id": id, "content_type": "text/plain", "data": data});
        assert_eq!(lines, [line("p-7", "7 ab"), line("p-8", "8 ab")]);
    }

    #[test]
    fn given_payloads_go_as_they_are() {
        assert_eq!(
            member(b"{\"a\":\n1.0}", "application/json"),
            "\"data\":{\"a\": 1.0}"
        );
        assert_eq!(member(b"a\nb", "text/plain"), "\"data\":\"a\\nb\"");
        assert_eq!(
            member(b"\xff", "application/octet-stream"),
            "\"data_base64\":\"/w==\""
        );
    }
}
