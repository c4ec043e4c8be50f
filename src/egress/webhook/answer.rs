//! What the service answered, and what that means for the delivery. Pure.

use crate::egress::Verdict;
use crate::egress::words::printable;
use hyper::header::{HeaderMap, LOCATION, RETRY_AFTER};
use hyper::{StatusCode, http::HeaderValue};
use std::time::{Duration, SystemTime};

/// Of its body in a reason.
const MAX_WORDS_CHARS: usize = 300;
/// Nobody means more; and no sum of times overflows.
const MAX_AFTER: Duration = Duration::from_secs(30 * 86_400);

/// The answer as far as it counts.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Its beginning.
    pub body: Vec<u8>,
}

impl Answer {
    pub fn verdict(&self, now: SystemTime) -> Verdict {
        let words = self.words();
        match self.status.as_u16() {
            200..=299 => Verdict::Delivered,
            300..=399 => Verdict::reject(format!("{words}; redirects aren't followed")),
            410 => Verdict::pause(format!("{words}; it wants nothing more")),
            408 | 425 | 429 | 500..=599 => Verdict::retry_after(words, self.after(now)),
            _ => Verdict::reject(words),
        }
    }

    /// How long it wants to be left alone by everybody: such an answer isn't about one message.
    pub fn silence(&self, now: SystemTime) -> Option<Duration> {
        let is_about_us = matches!(self.status.as_u16(), 429 | 503);
        self.after(now).filter(|_| is_about_us)
    }

    /// `Retry-After`: seconds, or a time.
    fn after(&self, now: SystemTime) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let after = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => httpdate::parse_http_date(text)
                .ok()?
                .duration_since(now)
                .unwrap_or_default(),
        };
        Some(after.min(MAX_AFTER))
    }

    /// The status and its own words, fit to be shown.
    fn words(&self) -> String {
        let mut words = self.status.to_string();
        if self.status.is_redirection()
            && let Some(location) = self.headers.get(LOCATION)
        {
            words = format!("{words} to {}", place(location));
        }
        let body = printable(&String::from_utf8_lossy(&self.body), MAX_WORDS_CHARS);
        match body.is_empty() {
            true => words,
            false => format!("{words}: {body}"),
        }
    }
}

/// Without what may be secret in it.
fn place(location: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(location.as_bytes());
    let plain = text.split(['?', '#']).next().unwrap_or_default();
    let plain = match plain.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => plain.to_owned(),
    };
    printable(&plain, MAX_WORDS_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let header = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_str(value).expect("a value");
            (hyper::http::HeaderName::from_static(name), value)
        };
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: headers.iter().map(header).collect(),
            body: body.to_vec(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn each_status_means_what_the_page_says() {
        let kind = |status| match answer(status, &[], b"").verdict(at(0)).failure() {
            None => "delivered",
            Some((kind, _)) => kind,
        };
        for status in 200..300 {
            assert_eq!(kind(status), "delivered", "{status}");
        }
        for status in 300..600 {
            let expected = match status {
                408 | 425 | 429 | 500.. => "retry",
                410 => "pause",
                _ => "reject",
            };
            assert_eq!(kind(status), expected, "{status}");
        }
        assert_eq!(kind(999), "reject");
    }

    #[test]
    fn a_reason_has_its_words_fit_to_be_shown() {
        let reason = |answer: Answer| answer.verdict(at(0)).failure().unwrap().1.to_owned();
        assert_eq!(
            reason(answer(422, &[], b"{\"no\":\n\t\"total\"}\x1b[31m\xff")),
            "422 Unprocessable Entity: {\"no\": \"total\"} [31m\u{fffd}"
        );
        let long = reason(answer(400, &[], "é".repeat(5_000).as_bytes()));
        assert_eq!(long, format!("400 Bad Request: {}…", "é".repeat(300)));
        for (location, shown) in [
            (
                "https://u:hunter2@else.where/x?token=hunter2",
                "https://else.where/x",
            ),
            ("/login?x=hunter2", "/login"),
        ] {
            assert_eq!(
                reason(answer(302, &[("location", location)], b"")),
                format!("302 Found to {shown}; redirects aren't followed")
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        // 1994-11-06T08:49:37Z
        let now = at(784_111_777);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("99999999999999999", Some(30 * 86_400)),
            ("soon", None),
            ("-1", None),
        ] {
            let answer = |status| answer(status, &[("retry-after", value)], b"");
            let expected = expected.map(Duration::from_secs);
            let verdict = answer(503).verdict(now);
            assert_eq!(verdict.after(), expected.unwrap_or_default(), "{value}");
            assert_eq!(answer(429).silence(now), expected, "{value}");
            assert_eq!(answer(500).silence(now), None, "{value}");
            assert_eq!(answer(400).verdict(now).after(), Duration::ZERO);
        }
    }
}
