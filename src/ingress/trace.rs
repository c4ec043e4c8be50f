//! The trace context of a request, as its headers have it.

use crate::message::TraceContext;
use crate::message::trace::{TRACEPARENT, TRACESTATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// None if there is no valid one: it is ignored then, as W3C has it.
#[must_use]
pub fn context(headers: &HeaderMap) -> Option<TraceContext> {
    const PARENT: HeaderName = HeaderName::from_static(TRACEPARENT);
    const STATE: HeaderName = HeaderName::from_static(TRACESTATE);
    let mut parents = headers.get_all(PARENT).iter();
    let parent = parents.next()?;
    if parents.next().is_some() {
        return None;
    }
    let states = headers.get_all(STATE).iter().map(HeaderValue::as_bytes);
    TraceContext::read(parent.as_bytes(), states)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn one_parent_and_any_number_of_states() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let context = context(&headers)?;
            Some(String::from_utf8(context.state().to_vec()).expect("text"))
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("tracestate", "a=1")]), None);
        assert_eq!(read(&[("traceparent", ONE)]), Some(String::new()));
        let states = [
            ("traceparent", ONE),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ];
        assert_eq!(read(&states).as_deref(), Some("a=1,b=2"));
        assert_eq!(read(&[("traceparent", ONE), ("traceparent", ONE)]), None);
        assert_eq!(read(&[("traceparent", "00-0-0-0")]), None);
    }
}
