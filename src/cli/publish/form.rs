//! A line of the input as a line of a batch.

use super::Publish;
use super::input::Line;
use crate::cli::exit::Failure;
use crate::message::is_json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

const DEFAULT_CONTENT_TYPE: &str = "text/plain";

/// What all lines have in common.
pub(super) struct Form {
    pub topic: String,
    pub id_prefix: Option<String>,
    pub key: Option<String>,
    pub headers: Map<String, Value>,
    pub content_type: String,
    pub is_json: bool,
}

/// A line of the request; docs/HTTP.md.
#[derive(Serialize)]
struct Request<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    headers: &'a Map<String, Value>,
    content_type: &'a str,
    #[serde(flatten)]
    data: Data<'a>,
}

#[derive(Serialize)]
enum Data<'a> {
    #[serde(rename = "data")]
    Text(&'a str),
    #[serde(rename = "data")]
    Json(&'a RawValue),
    #[serde(rename = "data_base64")]
    Base64(String),
}

/// A line that isn't settled.
pub(super) struct Open {
    pub number: u64,
    /// Its bytes in the input.
    pub taken: u64,
    pub json: Vec<u8>,
    /// It was sent, and nobody knows what became of it.
    pub in_doubt: bool,
}

impl Form {
    pub fn of(publish: &Publish) -> Result<Self, Failure> {
        let mut headers = Map::new();
        for (name, value) in &publish.headers {
            if headers.insert(name.clone(), value.clone().into()).is_some() {
                let why = format!("-H: {name:?} stands there twice; lines can't have that");
                return Err(Failure::usage(why, "give each name once"));
            }
        }
        let content_type = publish
            .content_type
            .as_deref()
            .unwrap_or(DEFAULT_CONTENT_TYPE);
        Ok(Self {
            topic: publish.topic.clone(),
            id_prefix: publish.id_prefix.clone(),
            key: publish.key.clone(),
            headers,
            is_json: is_json(content_type),
            content_type: content_type.to_owned(),
        })
    }

    pub fn open(&self, line: &Line) -> Open {
        let request = Request {
            topic: &self.topic,
            id: self
                .id_prefix
                .as_ref()
                .map(|prefix| format!("{prefix}-{}", line.number)),
            key: self.key.as_deref(),
            headers: &self.headers,
            content_type: &self.content_type,
            data: self.data(&line.bytes),
        };
        let mut json = serde_json::to_vec(&request).expect("text keys and nothing fails by itself");
        json.push(b'\n');
        Open {
            number: line.number,
            taken: line.taken,
            json,
            in_doubt: false,
        }
    }

    /// The payload's bytes as they are, whichever way they go.
    fn data<'a>(&self, bytes: &'a [u8]) -> Data<'a> {
        if self.is_json {
            if let Ok(json) = serde_json::from_slice(bytes)
                && is_exact(json, bytes)
            {
                return Data::Json(json);
            }
        } else if let Ok(text) = std::str::from_utf8(bytes) {
            return Data::Text(text);
        }
        Data::Base64(STANDARD.encode(bytes))
    }
}

/// White space around the value would be lost, and a CR may be a line's end to somebody.
fn is_exact(json: &RawValue, bytes: &[u8]) -> bool {
    json.get().len() == bytes.len() && !bytes.contains(&b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(form: &Form, bytes: &[u8]) -> String {
        let open = form.open(&Line {
            number: 7,
            bytes: bytes.to_vec(),
            taken: 0,
        });
        let mut json = String::from_utf8(open.json).expect("JSON is UTF-8");
        assert_eq!(json.pop(), Some('\n'));
        assert!(!json.contains('\n'), "{json}");
        json
    }

    fn form(content_type: &str) -> Form {
        Form {
            topic: "a/b".into(),
            id_prefix: None,
            key: None,
            headers: Map::new(),
            content_type: content_type.into(),
            is_json: is_json(content_type),
        }
    }

    #[test]
    fn a_payload_keeps_its_bytes() {
        let text = form("text/plain");
        let start = r#"{"topic":"a/b","content_type":"text/plain","#;
        for (bytes, data) in [
            (&b"x \"y\""[..], r#""data":"x \"y\""}"#),
            (b"", r#""data":""}"#),
            (b"\xff", r#""data_base64":"/w=="}"#),
        ] {
            assert_eq!(line(&text, bytes), format!("{start}{data}"));
        }
        let json = form("application/json");
        let start = r#"{"topic":"a/b","content_type":"application/json","#;
        for (bytes, data) in [
            (&b"{\"n\": 1.00}"[..], r#""data":{"n": 1.00}}"#),
            (b" 1", r#""data_base64":"IDE="}"#),
            (b"{", r#""data_base64":"ew=="}"#),
            (b"", r#""data_base64":""}"#),
        ] {
            assert_eq!(line(&json, bytes), format!("{start}{data}"));
        }
    }

    #[test]
    fn ids_are_the_prefix_and_the_number() {
        let form = Form {
            id_prefix: Some("file".into()),
            key: Some("k".into()),
            headers: Map::from_iter([("kind".to_owned(), "x".into())]),
            ..form("text/plain")
        };
        assert_eq!(
            line(&form, b"x"),
            r#"{"topic":"a/b","id":"file-7","key":"k","headers":{"kind":"x"},"content_type":"text/plain","data":"x"}"#
        );
    }
}
