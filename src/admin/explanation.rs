//! What would become of a message, as `explain` shows it and the control API answers it.
//!
//! Names and units are for people outside: docs/routes.md.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub topic: String,
    /// The one that counts; none: it will get one of its own, and no duplicate of it is known.
    pub id: Option<String>,
    pub id_from: IdFrom,
    /// Set: the publish is refused whole, and nothing of it is kept.
    pub refused: Option<Refused>,
    /// Set: no route takes it, and this becomes of it.
    pub unrouted: Option<Unrouted>,
    /// `received`, `stored` or `delivered`; none if it is refused.
    pub ack: Option<String>,
    /// How long HTTP and gRPC wait, if the ack is `delivered`.
    pub ack_timeout_ms: Option<u64>,
    /// The plan, in its order.
    pub targets: Vec<PlannedTarget>,
    /// All routes that were looked at, in the order of the file.
    pub routes: Vec<RouteAnswer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdFrom {
    Publisher,
    /// An `[[identity]]` rule.
    Rule,
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unrouted {
    Reject,
    DeadLetter,
    Drop,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The end of the problem's `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Over HTTP.
    pub status: u16,
    pub detail: String,
}

/// One delivery as it would be planned: everything rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarget {
    /// None: the door's own, for what no route takes.
    pub route: Option<String>,
    pub destination: String,
    pub guarantee: String,
    /// When the publisher is told: the whole plan's, since the strongest of its routes wins.
    pub ack: String,
    pub topic: String,
    pub key: Option<Content>,
    pub headers: Vec<(String, Content)>,
    pub content_type: Option<String>,
    /// None: a message without payload.
    pub payload: Option<Content>,
    pub priority: Option<u8>,
    /// From now on.
    pub delay_ms: Option<u64>,
    /// From now on.
    pub ttl_ms: Option<u64>,
    pub delivery_id: DeliveryIdAnswer,
    /// Set: it goes straight to the dead letters, for this reason.
    pub dead_letter: Option<String>,
}

/// It is made with a secret of the journal, so not everybody can tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryIdAnswer {
    Is(String),
    /// The message has no id: each publish of it gets another.
    New,
    /// There is no journal to be asked here.
    Unknown,
}

/// Text as it stands, or bytes that aren't text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    Text(String),
    Bytes { base64: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteAnswer {
    pub route: String,
    pub matched: bool,
    /// The first reason why it didn't match, or why one that did sends nothing.
    pub reason: Option<String>,
    /// How far it was from matching: small is near. For who shows only some.
    #[serde(default)]
    pub distance: u32,
}

impl Content {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes {
                base64: STANDARD.encode(bytes),
            },
        }
    }

    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes { .. } => None,
        }
    }
}

/// Of a gateway without rules: for tests of what carries it.
#[cfg(test)]
#[must_use]
pub fn of_nothing(envelope: &crate::message::Envelope) -> Explanation {
    Explanation {
        topic: envelope.topic.clone(),
        id: envelope.id.as_str().map(str::to_owned),
        id_from: IdFrom::Nobody,
        refused: None,
        unrouted: Some(Unrouted::Drop),
        ack: None,
        ack_timeout_ms: None,
        targets: Vec::new(),
        routes: vec![RouteAnswer {
            route: envelope.source.to_string(),
            matched: false,
            reason: None,
            distance: 0,
        }],
    }
}
