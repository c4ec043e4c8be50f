//! One line of a tap, as people read it.

use crate::cli::tail::shown_data;
use crate::cli::text::{CYAN, DIM, GREEN, RED, YELLOW, escaped, paint};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub(super) enum Line<'a> {
    Message(Box<Message<'a>>),
    Counts(Counts),
    End { why: String, counts: Counts },
}

/// What all lines have; `why` is that of the end.
#[derive(Deserialize)]
struct Head {
    event: String,
    #[serde(default)]
    why: String,
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    time: String,
    outcome: String,
    position: Option<u64>,
    reason: Option<String>,
    topic: String,
    id: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    content_type: Option<String>,
    payload_bytes: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    data_start: Option<String>,
    data_start_base64: Option<String>,
}

/// Of one connection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Counts {
    pub matched: u64,
    pub left_out: LeftOut,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct LeftOut {
    sample: u64,
    rate: u64,
    queue: u64,
}

impl Counts {
    pub fn words(&self, shown: u64) -> String {
        let LeftOut {
            sample,
            rate,
            queue,
        } = self.left_out;
        let mut why = Vec::new();
        for (count, reason) in [
            (sample, "not in the sample"),
            (rate, "beyond --rate"),
            (queue, "read too slowly"),
        ] {
            if count > 0 {
                why.push(format!("{count} {reason}"));
            }
        }
        match why.is_empty() {
            true => format!("{shown} shown, none left out"),
            false => format!("{shown} shown, left out: {}", why.join(", ")),
        }
    }
}

impl<'a> Line<'a> {
    pub fn read(raw: &'a str) -> Option<Self> {
        let Head { event, why } = serde_json::from_str(raw).ok()?;
        Some(match event.as_str() {
            "message" => Self::Message(serde_json::from_str(raw).ok()?),
            "counts" => Self::Counts(serde_json::from_str(raw).ok()?),
            "end" => Self::End {
                why,
                counts: serde_json::from_str(raw).ok()?,
            },
            _ => return None,
        })
    }
}

impl Message<'_> {
    /// Time, outcome, topic, id, key, headers, data.
    pub fn render(&self, colour: bool) -> String {
        let mut parts = vec![
            paint(&escaped(&self.time), DIM, colour),
            self.outcome(colour),
            paint(&escaped(&self.topic), CYAN, colour),
        ];
        if let Some(id) = &self.id {
            parts.push(paint(&format!("id={}", escaped(id)), DIM, colour));
        }
        match (&self.key, &self.key_base64) {
            (Some(key), _) => parts.push(format!("key={}", escaped(key))),
            (None, Some(base64)) => parts.push(format!("key=base64:{}", escaped(base64))),
            (None, None) => {}
        }
        for (name, value) in &self.headers {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            parts.push(format!("{}={}", escaped(name), escaped(&value)));
        }
        parts.push(self.payload(colour));
        parts.join("  ")
    }

    fn outcome(&self, colour: bool) -> String {
        let code = match self.outcome.as_str() {
            "stored" => GREEN,
            "refused" => RED,
            _ => YELLOW,
        };
        let mut words = escaped(&self.outcome);
        if let Some(position) = self.position {
            words.push_str(&format!(" {position}"));
        }
        if let Some(reason) = &self.reason {
            words.push_str(&format!(" ({})", escaped(reason)));
        }
        paint(&words, code, colour)
    }

    fn payload(&self, colour: bool) -> String {
        let Some(bytes) = self.payload_bytes else {
            return paint("(no payload)", DIM, colour);
        };
        let start = match (&self.data_start, &self.data_start_base64) {
            (Some(text), _) => escaped(text),
            (None, Some(base64)) => format!("base64:{}", escaped(base64)),
            (None, None) => {
                return match (self.data, &self.data_base64) {
                    (Some(data), _) => shown_data(data, self.content_type.as_deref()),
                    (None, Some(base64)) => format!("base64:{}", escaped(base64)),
                    (None, None) => paint(&format!("({bytes} bytes)"), DIM, colour),
                };
            }
        };
        format!(
            "{start}{}",
            paint(&format!("… ({bytes} bytes)"), DIM, colour)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(rest: Value) -> String {
        let mut line = json!({
            "event": "message", "time": "T", "outcome": "stored", "position": 4, "source": "http",
            "principal": "ann", "topic": "a/\u{1b}", "headers": {},
        });
        for (name, value) in rest.as_object().expect("an object") {
            line[name] = value.clone();
        }
        let line = line.to_string();
        let Some(Line::Message(message)) = Line::read(&line) else {
            panic!("no message: {rest}");
        };
        message.render(false)
    }

    #[test]
    fn a_copy_is_a_line() {
        for (rest, expected) in [
            (json!({}), "T  stored 4  a/\\u{1b}  (no payload)"),
            (
                json!({"id": "i\n", "key": "k", "headers": {"h": "v", "w": ["1", "2"]},
                    "payload_bytes": 3, "content_type": "text/plain", "data": "a\nb"}),
                "T  stored 4  a/\\u{1b}  id=i\\n  key=k  h=v  w=[\"1\",\"2\"]  a\\nb",
            ),
            (
                json!({"payload_bytes": 9, "data_start": "ab"}),
                "T  stored 4  a/\\u{1b}  ab… (9 bytes)",
            ),
            (
                json!({"payload_bytes": 9}),
                "T  stored 4  a/\\u{1b}  (9 bytes)",
            ),
            (
                json!({"outcome": "refused", "position": null, "reason": "no_route", "payload_bytes": 2,
                    "content_type": "application/json", "data": {"a": 1}}),
                "T  refused (no_route)  a/\\u{1b}  {\"a\":1}",
            ),
        ] {
            assert_eq!(rendered(rest), expected);
        }
    }

    #[test]
    fn what_was_left_out_is_said_by_its_reason() {
        let counts = |sample, rate, queue| Counts {
            matched: 9,
            left_out: LeftOut {
                sample,
                rate,
                queue,
            },
        };
        assert_eq!(counts(0, 0, 0).words(9), "9 shown, none left out");
        assert_eq!(
            counts(1, 2, 3).words(3),
            "3 shown, left out: 1 not in the sample, 2 beyond --rate, 3 read too slowly"
        );
    }
}
