//! What a content type says: no event, one event, or a list of them.

use super::EventError;

/// One event in the JSON format.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// A list of them.
pub const BATCH: &str = "application/cloudevents-batch+json";

const ALL_EVENTS: &str = "application/cloudevents";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Structured,
    Batch,
}

impl Mode {
    /// None if the content is no event, or an event's data.
    ///
    /// # Errors
    /// If these are events in a form that can't be read.
    pub fn of(content_type: &str) -> Result<Option<Self>, EventError> {
        let Some(start) = content_type.trim_start().get(..ALL_EVENTS.len()) else {
            return Ok(None);
        };
        if !start.eq_ignore_ascii_case(ALL_EVENTS) {
            return Ok(None);
        }
        let mut parts = content_type.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let bad = |why: &str| {
            Err(EventError::ContentType {
                content_type: content_type.chars().take(100).collect(),
                why: why.to_owned(),
            })
        };
        let mode = match essence.as_str() {
            STRUCTURED => Self::Structured,
            BATCH => Self::Batch,
            _ if is_of_events(&essence) => {
                return bad(&format!(
                    "of the forms of events only JSON is built in: send {STRUCTURED}, \
                     {BATCH}, or the attributes as headers"
                ));
            }
            // Another type that begins so.
            _ => return Ok(None),
        };
        let mut charsets = parts.filter_map(charset);
        match charsets.all(|name| ["utf-8", "utf8", "us-ascii"].contains(&name.as_str())) {
            true => Ok(Some(mode)),
            false => bad("JSON is UTF-8"),
        }
    }
}

/// `application/cloudevents`, or with `+FORMAT` or `-batch+FORMAT` behind it.
fn is_of_events(essence: &str) -> bool {
    let rest = essence.strip_prefix(ALL_EVENTS).unwrap_or_default();
    rest.is_empty() || rest.starts_with('+') || rest.starts_with("-batch")
}

fn charset(parameter: &str) -> Option<String> {
    let (name, value) = parameter.split_once('=')?;
    let is_charset = name.trim().eq_ignore_ascii_case("charset");
    is_charset.then(|| value.trim().trim_matches('"').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_the_mode() {
        for (content_type, mode) in [
            ("application/cloudevents+json", Some(Mode::Structured)),
            (
                "Application/CloudEvents+JSON; charset=UTF-8",
                Some(Mode::Structured),
            ),
            (
                " application/cloudevents+json;charset=\"utf-8\";v=1",
                Some(Mode::Structured),
            ),
            ("application/cloudevents-batch+json", Some(Mode::Batch)),
            ("application/json", None),
            ("application/cloudeventsx", None),
            ("application/cloudéevents+json", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(Mode::of(content_type), Ok(mode), "{content_type}");
        }
    }

    #[test]
    fn forms_that_cannot_be_read_are_named() {
        for (content_type, word) in [
            ("application/cloudevents+avro", "only JSON"),
            ("application/cloudevents+protobuf", "only JSON"),
            ("application/cloudevents+xml; charset=utf-8", "only JSON"),
            ("application/cloudevents", "only JSON"),
            ("application/cloudevents-batch+protobuf", "only JSON"),
            (
                "application/cloudevents+json; charset=utf-16",
                "JSON is UTF-8",
            ),
        ] {
            let error = Mode::of(content_type).expect_err(content_type);
            assert!(matches!(error, EventError::ContentType { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(word) && text.contains(content_type), "{text}");
        }
    }
}
