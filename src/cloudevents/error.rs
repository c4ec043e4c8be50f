//! Why something isn't an event. Sending it again can't help.

use super::event::MAX_NAME_CHARS;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// `data` and `data_base64` are named as attributes are.
    #[error("attribute {name}: {why}")]
    Attribute { name: String, why: String },
    #[error("the event can't be read: {0}")]
    Malformed(String),
    #[error("{content_type:?} can't be read: {why}")]
    ContentType { content_type: String, why: String },
}

impl EventError {
    /// The name may be anything that came: what is shown of it is bounded.
    pub(super) fn attribute(name: &str, why: impl Into<String>) -> Self {
        let mut shown: String = name.chars().take(MAX_NAME_CHARS).collect();
        if shown.len() < name.len() {
            shown.push('…');
        }
        Self::Attribute {
            name: shown,
            why: why.into(),
        }
    }

    /// Which attribute is wrong, if it is one.
    #[must_use]
    pub fn attribute_name(&self) -> Option<&str> {
        match self {
            Self::Attribute { name, .. } => Some(name),
            Self::Malformed(_) | Self::ContentType { .. } => None,
        }
    }
}
