//! Which of its forms a client wants a stream or a record in, by `Accept` (RFC 9110, 12.5.1).

use crate::cloudevents::{BATCH, STRUCTURED};
use axum::http::{HeaderMap, header};

const EVENTS: &str = "text/event-stream";
/// What stands for a page or a record, the most specific first.
const JSON: [&str; 3] = ["application/json", "application/*", "*/*"];

/// A quality in thousandths.
type Quality = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Page,
    /// Server-sent ones.
    Events,
    /// A page, as a list of CloudEvents.
    CloudEvents,
}

/// A page, unless another form is named and a page isn't wanted more. A wildcard alone means a page.
pub(super) fn of_stream(headers: &HeaderMap) -> Form {
    let accepted = Accepted::of(headers);
    let page = accepted.json();
    let [events, cloud_events] = [EVENTS, BATCH].map(|name| accepted.named(name).unwrap_or(0));
    if events > 0 && events >= page && events >= cloud_events {
        Form::Events
    } else if cloud_events > 0 && cloud_events >= page {
        Form::CloudEvents
    } else {
        Form::Page
    }
}

/// Whether a record is wanted as a CloudEvent.
pub(super) fn is_cloud_event(headers: &HeaderMap) -> bool {
    let accepted = Accepted::of(headers);
    let event = accepted.named(STRUCTURED).unwrap_or(0);
    event > 0 && event >= accepted.json()
}

struct Accepted(Vec<(String, Quality)>);

impl Accepted {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter();
        let ranges = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(range);
        Self(ranges.collect())
    }

    fn named(&self, wanted: &str) -> Option<Quality> {
        let named = self.0.iter().find(|(name, _)| name == wanted);
        named.map(|(_, quality)| *quality)
    }

    fn json(&self) -> Quality {
        JSON.into_iter()
            .find_map(|name| self.named(name))
            .unwrap_or(0)
    }
}

/// One media range and its quality; none if the quality can't be read. Other parameters don't matter.
fn range(text: &str) -> Option<(String, Quality)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let weight = parts.find_map(|part| {
        let (parameter, value) = part.split_once('=')?;
        parameter.eq_ignore_ascii_case("q").then_some(value)
    });
    Some((name, weight.map_or(Some(1_000), quality)?))
}

/// `0`, `1`, or one of them with up to three digits after a point; at most 1.
fn quality(text: &str) -> Option<Quality> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{digits:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn accepting(accept: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in accept {
            let value = HeaderValue::from_str(value).expect("plain text");
            headers.append(header::ACCEPT, value);
        }
        headers
    }

    fn wanted(accept: &[&str]) -> bool {
        of_stream(&accepting(accept)) == Form::Events
    }

    #[test]
    fn cloud_events_are_named_and_not_wanted_less() {
        for (accept, form) in [
            ("application/cloudevents-batch+json", Form::CloudEvents),
            (
                "Application/CloudEvents-Batch+JSON; charset=utf-8, */*;q=0.1",
                Form::CloudEvents,
            ),
            (
                "application/cloudevents-batch+json, application/json",
                Form::CloudEvents,
            ),
            (
                "application/cloudevents-batch+json;q=0.5, application/json",
                Form::Page,
            ),
            ("application/cloudevents-batch+json;q=0", Form::Page),
            (
                "application/cloudevents-batch+json, text/event-stream",
                Form::Events,
            ),
            (
                "application/cloudevents-batch+json, text/event-stream;q=0.9",
                Form::CloudEvents,
            ),
            ("application/cloudevents+json", Form::Page),
        ] {
            assert_eq!(of_stream(&accepting(&[accept])), form, "{accept}");
        }
        for (accept, is_event) in [
            ("application/cloudevents+json", true),
            ("application/cloudevents+json, application/json;q=0.9", true),
            ("application/cloudevents+json;q=0.9, */*", false),
            ("application/cloudevents-batch+json", false),
            ("*/*", false),
        ] {
            assert_eq!(is_cloud_event(&accepting(&[accept])), is_event, "{accept}");
        }
    }

    #[test]
    fn events_are_named_and_not_wanted_less_than_a_page() {
        for accept in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "text/event-stream, */*;q=0.1",
            "application/json, text/event-stream",
            "application/json;q=0.4,text/event-stream; Q=0.400",
            "text/event-stream;q=0.001",
            "text/event-stream;q=0.5, application/json;q=0, */*",
        ] {
            assert!(wanted(&[accept]), "{accept}");
        }
        assert!(wanted(&["application/json;q=0.9", "text/event-stream"]));
    }

    #[test]
    fn anything_else_is_a_page() {
        for accept in [
            "",
            "*/*",
            "text/*",
            "application/json",
            "text/event-stream;q=0",
            "text/event-stream;q=0.5, application/json",
            "text/event-stream;q=0.5, application/*;q=0.6",
            "text/event-stream;q=0.5, */*",
            "text/event-stream;q=2",
            "text/event-stream;q=1.001",
            "text/event-stream;q=nan",
            "text/event-streams",
        ] {
            assert!(!wanted(&[accept]), "{accept}");
        }
        assert!(!wanted(&[]));
    }
}
