//! Which of its two forms a client wants a stream in, by `Accept` (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

const EVENTS: &str = "text/event-stream";
/// What stands for a page, the most specific first.
const PAGE: [&str; 3] = ["application/json", "application/*", "*/*"];

/// A quality in thousandths.
type Quality = u16;

/// True if `text/event-stream` is named and a page isn't wanted more. A wildcard alone means a page.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(range)
        .collect();
    let quality_of = |wanted: &str| {
        let named = ranges.iter().find(|(name, _)| name == wanted);
        named.map(|(_, quality)| *quality)
    };
    let events = quality_of(EVENTS).unwrap_or(0);
    let page = PAGE.into_iter().find_map(quality_of).unwrap_or(0);
    events > 0 && events >= page
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

    fn wanted(accept: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            let value = HeaderValue::from_str(value).expect("plain text");
            headers.append(header::ACCEPT, value);
        }
        wants_events(&headers)
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
