//! What a delivery sends as headers.

use super::Header;
use super::trace::{TRACEPARENT, TRACESTATE, TraceParent};

/// Headers of a message, and behind them its trace context. Every egress gets them from
/// `Delivery::headers`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Headers<'a> {
    own: &'a [Header],
    parent: Option<TraceParent>,
    /// Empty: none.
    state: &'a [u8],
}

impl<'a> Headers<'a> {
    /// These and no more.
    #[must_use]
    pub const fn of(own: &'a [Header]) -> Self {
        Self {
            own,
            parent: None,
            state: &[],
        }
    }

    /// What stands there already under one of its names is left alone.
    #[must_use]
    pub fn traced(self, parent: TraceParent, state: &'a [u8]) -> Self {
        if self.has(TRACEPARENT) {
            return self;
        }
        Self {
            parent: Some(parent),
            state: if self.has(TRACESTATE) { &[] } else { state },
            ..self
        }
    }

    fn has(&self, name: &str) -> bool {
        self.own.iter().any(|h| h.name.eq_ignore_ascii_case(name))
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.own.len() + usize::from(self.parent.is_some()) + usize::from(!self.state.is_empty())
    }

    /// Names and values, in the order in which they are sent.
    pub fn each(&self, mut take: impl FnMut(&str, &[u8])) {
        for header in self.own {
            take(&header.name, &header.value);
        }
        if let Some(parent) = &self.parent {
            take(TRACEPARENT, &parent.text());
        }
        if !self.state.is_empty() {
            take(TRACESTATE, self.state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::TraceContext;
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_the_message_has_itself_is_not_written_again() {
        let context = TraceContext::read(PARENT.as_bytes(), [&b"a=1"[..]]).expect("valid");
        for (own, expected) in [
            (&["x"][..], &["x", "traceparent", "tracestate"][..]),
            (&[], &["traceparent", "tracestate"]),
            (&["TraceParent"], &["TraceParent"]),
            (&["Tracestate"], &["Tracestate", "traceparent"]),
        ] {
            let own: Vec<Header> = own
                .iter()
                .map(|name| Header {
                    name: (*name).to_owned(),
                    value: "own".into(),
                })
                .collect();
            let headers = Headers::of(&own).traced(context.parent, context.state());
            let mut sent = Vec::new();
            headers.each(|name, value| {
                let is_own = value == b"own";
                assert_eq!(is_own, own.iter().any(|h| h.name == name));
                sent.push(name.to_owned());
            });
            assert_eq!(sent, expected);
            assert_eq!(headers.count(), expected.len());
        }
    }
}
