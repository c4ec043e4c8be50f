//! `[limits]`, and what a topic must look like to be published to. Pure.

use super::identity::too_long;
use crate::message::{Envelope, MAX_ID_BYTES, MAX_KEY_BYTES, MessageId, Refusal};
use crate::routing::PlanLimits;

/// Fixed: room for the longest registered media type with parameters.
pub const MAX_CONTENT_TYPE_BYTES: usize = 256;

/// How large things may be. Every one has a default and a setting of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub payload_bytes: usize,
    /// How many headers.
    pub headers: usize,
    /// Names and values of all headers together.
    pub header_bytes: usize,
    pub topic_bytes: usize,
    pub topic_levels: usize,
    /// Open connections of one listener.
    pub connections: usize,
    /// Payloads that are received and not answered yet, together.
    pub in_flight_bytes: u64,
}

impl Limits {
    /// What they are for all that routes make of an envelope.
    #[must_use]
    pub fn of_plans(&self) -> PlanLimits {
        PlanLimits {
            payload_bytes: self.payload_bytes,
            headers: self.headers,
            header_bytes: self.header_bytes,
        }
    }
}

/// Whether a topic may have levels without a character: MQTT's may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyLevels {
    Refused,
    Legal,
}

/// Whether an envelope, as received, may come in.
pub fn check(envelope: &Envelope, limits: &Limits, empty: EmptyLevels) -> Result<(), Refusal> {
    check_topic(&envelope.topic, limits, empty)?;
    check_id(&envelope.id)?;
    if let Some(key) = &envelope.key {
        at_most("the key", key.len(), MAX_KEY_BYTES, "fixed")?;
    }
    if let Some(content_type) = &envelope.content_type {
        at_most(
            "the content type",
            content_type.len(),
            MAX_CONTENT_TYPE_BYTES,
            "fixed",
        )?;
    }
    let headers = &envelope.headers;
    no_more("headers", headers.len(), limits.headers, "limits.headers")?;
    let header_bytes = headers.iter().map(|h| h.name.len() + h.value.len()).sum();
    at_most(
        "the headers",
        header_bytes,
        limits.header_bytes,
        "limits.header_bytes",
    )?;
    let payload_bytes = envelope.payload.as_ref().map_or(0, |payload| payload.len());
    at_most(
        "the payload",
        payload_bytes,
        limits.payload_bytes,
        "limits.payload",
    )
}

/// Whether clients may publish to a topic.
pub fn check_topic(topic: &str, limits: &Limits, empty: EmptyLevels) -> Result<(), Refusal> {
    let malformed = |words: &str| Err(Refusal::Malformed(words.to_owned()));
    if topic.is_empty() {
        return malformed("the topic is empty");
    }
    at_most(
        "the topic",
        topic.len(),
        limits.topic_bytes,
        "limits.topic_bytes",
    )?;
    if topic.contains('\0') {
        return malformed("the topic has a NUL character in it");
    }
    if topic.contains(['+', '#']) {
        return malformed("the topic has a wildcard in it, `+` or `#`: these are for patterns");
    }
    if topic.starts_with('$') {
        return malformed("the topic begins with `$`: such topics are the gateway's own");
    }
    let levels = topic.split('/');
    if empty == EmptyLevels::Refused && levels.clone().any(str::is_empty) {
        return malformed("the topic has an empty level");
    }
    no_more(
        "topic levels",
        levels.count(),
        limits.topic_levels,
        "limits.topic_levels",
    )
}

fn check_id(id: &MessageId) -> Result<(), Refusal> {
    match id.as_str() {
        Some("") => Err(Refusal::Malformed("the id is empty".to_owned())),
        Some(id) if id.len() > MAX_ID_BYTES => Err(too_long(id.len())),
        _ => Ok(()),
    }
}

fn at_most(
    what: &'static str,
    actual: usize,
    limit: usize,
    setting: &'static str,
) -> Result<(), Refusal> {
    if actual <= limit {
        return Ok(());
    }
    Err(Refusal::TooLarge {
        what,
        actual,
        limit,
        setting,
    })
}

/// Like `at_most`, for what isn't counted in bytes.
fn no_more(
    what: &'static str,
    actual: usize,
    limit: usize,
    setting: &'static str,
) -> Result<(), Refusal> {
    if actual <= limit {
        return Ok(());
    }
    Err(Refusal::TooMany {
        what,
        actual,
        limit,
        setting,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Header, Tombstone};
    use bytes::Bytes;

    fn limits() -> Limits {
        Limits {
            payload_bytes: 10,
            headers: 2,
            header_bytes: 8,
            topic_bytes: 12,
            topic_levels: 3,
            connections: 1,
            in_flight_bytes: 1,
        }
    }

    fn envelope() -> Envelope {
        Envelope {
            principal: "anonymous".into(),
            source: "http".into(),
            topic: "a/b/c".into(),
            id: MessageId::Publisher("i".repeat(MAX_ID_BYTES)),
            key: Some(Bytes::from(vec![0; MAX_KEY_BYTES])),
            headers: vec![header("ab", "cd"), header("e", "fgh")],
            content_type: Some("t".repeat(MAX_CONTENT_TYPE_BYTES)),
            payload: Ok(Bytes::from_static(b"0123456789")),
            priority: None,
            deliver_at: None,
            expires_at: None,
            extensions: Vec::new(),
        }
    }

    fn header(name: &str, value: &str) -> Header {
        Header {
            name: name.into(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        }
    }

    /// The refusal of an envelope that is at every limit but for one change.
    fn refused(change: impl FnOnce(&mut Envelope)) -> Refusal {
        let mut envelope = envelope();
        change(&mut envelope);
        check(&envelope, &limits(), EmptyLevels::Refused).expect_err("over a limit")
    }

    #[test]
    fn at_every_limit_it_is_let_in() {
        assert_eq!(check(&envelope(), &limits(), EmptyLevels::Refused), Ok(()));
        let bare = Envelope {
            payload: Err(Tombstone),
            id: MessageId::None,
            ..envelope()
        };
        assert_eq!(check(&bare, &limits(), EmptyLevels::Refused), Ok(()));
    }

    #[test]
    fn over_a_limit_the_refusal_names_the_setting() {
        let setting = |refusal| match refusal {
            Refusal::TooLarge { setting, .. } | Refusal::TooMany { setting, .. } => setting,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            setting(refused(
                |e| e.payload = Ok(Bytes::from_static(b"0123456789a"))
            )),
            "limits.payload"
        );
        assert_eq!(
            setting(refused(|e| e.headers[0] = header("abc", "cd"))),
            "limits.header_bytes"
        );
        assert_eq!(
            setting(refused(|e| e.headers.push(header("", "")))),
            "limits.headers"
        );
        assert_eq!(
            setting(refused(|e| e.topic = "0123456789abc".into())),
            "limits.topic_bytes"
        );
        assert_eq!(
            setting(refused(|e| e.topic = "a/b/c/d".into())),
            "limits.topic_levels"
        );
        assert_eq!(
            refused(|e| e.id = MessageId::Publisher("i".repeat(257))),
            too_long(257)
        );
        assert_eq!(
            setting(refused(|e| e.key = Some(Bytes::from(vec![0; 4097])))),
            "fixed"
        );
        assert_eq!(
            setting(refused(|e| e.content_type = Some("t".repeat(257)))),
            "fixed"
        );
        assert_eq!(
            refused(|e| e.id = MessageId::Publisher(String::new())),
            Refusal::Malformed("the id is empty".into())
        );
    }

    #[test]
    fn topics_that_can_not_be_published_to() {
        for topic in ["", "a\0", "a/+", "#", "a+b", "$sys", "$/a"] {
            for empty in [EmptyLevels::Refused, EmptyLevels::Legal] {
                let refused = check_topic(topic, &limits(), empty);
                assert!(
                    matches!(refused, Err(Refusal::Malformed(_))),
                    "{topic:?}: {refused:?}"
                );
            }
        }
        for topic in ["/", "a/", "/a", "a//b"] {
            let refused = check_topic(topic, &limits(), EmptyLevels::Refused);
            assert!(
                matches!(refused, Err(Refusal::Malformed(_))),
                "{topic:?}: {refused:?}"
            );
            assert_eq!(
                check_topic(topic, &limits(), EmptyLevels::Legal),
                Ok(()),
                "{topic:?}"
            );
        }
        for topic in ["a", "ä/ö", "a/$b", "{x}", " "] {
            assert_eq!(
                check_topic(topic, &limits(), EmptyLevels::Refused),
                Ok(()),
                "{topic:?}"
            );
        }
    }
}
