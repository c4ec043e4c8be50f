//! One message of a stream's page as one line.

use crate::cli::text::{CYAN, DIM, compact, escaped, paint};
use crate::message::is_json;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    offset: u64,
    id: String,
    topic: String,
    time: String,
    key: Option<String>,
    key_base64: Option<String>,
    content_type: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// As it stands in the page; only a payload that has line breaks is written without them.
pub(super) fn json(raw: &str) -> Cow<'_, str> {
    match raw.contains(['\n', '\r']) {
        true => Cow::Owned(compact(raw)),
        false => Cow::Borrowed(raw),
    }
}

impl Message<'_> {
    /// Offset, time, topic, id, key, data.
    pub fn render(&self, colour: bool) -> String {
        let key = match (&self.key, &self.key_base64) {
            (Some(key), _) => format!("  key={}", escaped(key)),
            (None, Some(base64)) => format!("  key=base64:{base64}"),
            (None, None) => String::new(),
        };
        format!(
            "{}  {}  {}  {}{key}  {}",
            self.offset,
            paint(&escaped(&self.time), DIM, colour),
            paint(&escaped(&self.topic), CYAN, colour),
            paint(&format!("id={}", escaped(&self.id)), DIM, colour),
            self.data(colour)
        )
    }

    fn data(&self, colour: bool) -> String {
        match (self.data, &self.data_base64) {
            (Some(data), _) => shown_data(data, self.content_type.as_deref()),
            (None, Some(base64)) => format!("{}{base64}", paint("base64:", DIM, colour)),
            (None, None) => paint("(no payload)", DIM, colour),
        }
    }
}

/// JSON where the content type says so; under any other it is text.
pub(in crate::cli) fn shown_data(data: &RawValue, content_type: Option<&str>) -> String {
    if !content_type.is_some_and(is_json)
        && let Ok(text) = serde_json::from_str::<String>(data.get())
    {
        return escaped(&text);
    }
    escaped(&compact(data.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(rest: &str) -> String {
        let json = format!(
            r#"{{"offset":4,"id":"i\n","topic":"a/b","headers":{{}},"time":"2026-01-31T12:00:00.000Z"{rest}}}"#
        );
        let message: Message<'_> = serde_json::from_str(&json).expect("a message");
        let line = message.render(false);
        let start = "4  2026-01-31T12:00:00.000Z  a/b  id=i\\n  ";
        line.strip_prefix(start).expect(&line).to_owned()
    }

    #[test]
    fn a_message_is_a_line() {
        for (rest, line) in [
            (
                r#","key":"ann","data":"hello\nyou\u001b[2J""#,
                "key=ann  hello\\nyou\\u{1b}[2J",
            ),
            (
                r#","content_type":"application/json","data":{"n": 1.00, "s": "a b"}"#,
                r#"{"n":1.00,"s":"a b"}"#,
            ),
            (r#","content_type":"text/json","data":"x""#, r#""x""#),
            (
                r#","key_base64":"/w==","data_base64":"AAEC""#,
                "key=base64:/w==  base64:AAEC",
            ),
            ("", "(no payload)"),
        ] {
            assert_eq!(rendered(rest), line);
        }
    }

    #[test]
    fn json_lines_are_as_they_came_but_in_one_line() {
        let raw = r#"{"offset":4,"data":{"n": 1}}"#;
        assert_eq!(json(raw), raw);
        assert_eq!(
            json("{\"offset\":4,\"data\":{\r\n  \"n\": 1.0\n}}"),
            r#"{"offset":4,"data":{"n":1.0}}"#
        );
    }
}
