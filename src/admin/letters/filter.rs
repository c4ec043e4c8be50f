//! Which letters are meant.

use crate::routing::Pattern;
use serde::{Deserialize, Serialize};

/// All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Offsets from this one on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Offsets before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Stands somewhere in the reason, in any case of ASCII letters; `*` is any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// As in routes: of the topic that it came with, or was to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// A route's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic: {0}")]
pub struct FilterError(String);

/// A filter that was understood.
#[derive(Clone, Debug)]
pub struct Matcher {
    from: u64,
    until: u64,
    /// The reason begins with it, as it is.
    begins: &'static str,
    /// In small letters, in this order.
    reason: Vec<String>,
    topic: Option<Pattern>,
    route: Option<String>,
}

impl Filter {
    pub fn matcher(&self) -> Result<Matcher, FilterError> {
        let topic = self.topic.as_deref().map(Pattern::parse).transpose();
        let reason = self.reason.as_deref().unwrap_or_default();
        Ok(Matcher {
            from: self.from.unwrap_or(0),
            until: self.until.unwrap_or(u64::MAX),
            begins: "",
            reason: reason
                .to_ascii_lowercase()
                .split('*')
                .map(str::to_owned)
                .collect(),
            topic: topic.map_err(|e| FilterError(e.to_string()))?,
            route: self.route.clone(),
        })
    }
}

impl Matcher {
    /// Those whose reason begins so.
    #[must_use]
    pub const fn beginning(reason: &'static str) -> Self {
        Self {
            from: 0,
            until: u64::MAX,
            begins: reason,
            reason: Vec::new(),
            topic: None,
            route: None,
        }
    }

    #[must_use]
    pub const fn from(&self) -> u64 {
        self.from
    }

    /// The same of these offsets alone.
    #[must_use]
    pub fn between(&self, from: u64, until: u64) -> Self {
        Self {
            from: self.from.max(from),
            until: self.until.min(until),
            ..self.clone()
        }
    }

    #[must_use]
    pub const fn until(&self) -> u64 {
        self.until
    }

    /// Of a letter whose offset is in the range.
    #[must_use]
    pub fn takes(&self, reason: &str, topics: &[&str], route: Option<&str>) -> bool {
        let is_of = |pattern: &Pattern| topics.iter().any(|topic| pattern.matches(topic));
        self.route.as_deref().is_none_or(|name| route == Some(name))
            && self.topic.as_ref().is_none_or(is_of)
            && reason.starts_with(self.begins)
            && self.is_in(reason)
    }

    fn is_in(&self, reason: &str) -> bool {
        let reason = reason.to_ascii_lowercase();
        let mut rest = reason.as_str();
        for part in &self.reason {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(filter: Filter) -> bool {
        let matcher = filter.matcher().expect("understood");
        matcher.takes("HTTP 422: no such Shop", &["a/b", "c"], Some("orders"))
    }

    #[test]
    fn all_that_is_given_must_hold() {
        assert!(takes(Filter::default()));
        for (reason, expected) in [
            ("422", true),
            ("http", true),
            ("422*shop", true),
            ("shop*422", false),
            ("423", false),
            ("*", true),
        ] {
            let filter = Filter {
                reason: Some(reason.to_owned()),
                ..Filter::default()
            };
            assert_eq!(takes(filter), expected, "{reason}");
        }
        for (topic, expected) in [("a/+", true), ("c", true), ("#", true), ("b/#", false)] {
            let filter = Filter {
                topic: Some(topic.to_owned()),
                route: Some("orders".to_owned()),
                ..Filter::default()
            };
            assert_eq!(takes(filter), expected, "{topic}");
        }
        assert!(!takes(Filter {
            route: Some("order".to_owned()),
            ..Filter::default()
        }));
        let bad = Filter {
            topic: Some("a/#b".to_owned()),
            ..Filter::default()
        };
        assert!(bad.matcher().is_err());
    }
}
