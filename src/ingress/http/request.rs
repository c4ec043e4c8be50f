//! A publish request's head → an envelope that lacks its payload. Pure and strict: what can't be
//! read is refused with the name of the header, never guessed.

use super::problem::Problem;
use super::time::parse_duration;
use crate::clock::{Wall, parse_rfc3339};
use crate::ingress::trace;
use crate::message::{Envelope, Header, MessageId};
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// Where topics stand in the path of a publish.
pub(super) const TOPICS: &str = "/v1/topics/";

pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
const KEY: &str = "causeway-key";
const PRIORITY: &str = "causeway-priority";
const DELAY: &str = "causeway-delay";
const DELIVER_AT: &str = "causeway-deliver-at";
const TTL: &str = "causeway-ttl";
const OWN_PREFIX: &str = "causeway-";
const HEADER_PREFIX: &str = "causeway-header-";

/// The envelope of a request that came now; its payload is empty until the body was read.
pub(super) fn envelope(
    path: &str,
    headers: &HeaderMap,
    principal: &Arc<str>,
    source: &Arc<str>,
    now: Wall,
) -> Result<Envelope, Problem> {
    let mut envelope = Envelope {
        principal: Arc::clone(principal),
        source: Arc::clone(source),
        topic: topic(path)?,
        id: message_id(headers)?,
        key: key(headers)?,
        headers: message_headers(headers)?,
        content_type: text(headers, header::CONTENT_TYPE.as_str())?.map(str::to_owned),
        payload: Ok(Bytes::new()),
        priority: priority(headers)?,
        deliver_at: deliver_at(headers, now)?,
        expires_at: duration(headers, TTL)?.map(|ttl| now.plus(ttl)),
        extensions: Vec::new(),
    };
    envelope.came_with(trace::context(headers));
    Ok(envelope)
}

/// The levels of the path, each percent-decoded by itself: an encoded '/' would make two of one.
fn topic(path: &str) -> Result<String, Problem> {
    let encoded = path.strip_prefix(TOPICS).unwrap_or_default();
    let mut topic = String::with_capacity(encoded.len());
    for (i, level) in encoded.split('/').enumerate() {
        let level = percent_decode_str(level)
            .decode_utf8()
            .map_err(|_| Problem::malformed("the topic in the path isn't UTF-8"))?;
        if level.contains('/') {
            return Err(Problem::malformed(
                "a level of the topic holds an encoded '/'",
            ));
        }
        if i > 0 {
            topic.push('/');
        }
        topic.push_str(&level);
    }
    Ok(topic)
}

fn message_id(headers: &HeaderMap) -> Result<MessageId, Problem> {
    let Some(value) = text(headers, IDEMPOTENCY_KEY)? else {
        return Ok(MessageId::None);
    };
    let id = match value.strip_prefix('"') {
        Some(rest) => unquote(rest)
            .ok_or_else(|| Problem::bad_header(IDEMPOTENCY_KEY, "the quoted string is damaged"))?,
        None => value.to_owned(),
    };
    if id.is_empty() {
        return Err(Problem::bad_header(IDEMPOTENCY_KEY, "it is empty"));
    }
    Ok(MessageId::Publisher(id))
}

/// The content of an RFC 8941 string whose opening quote is gone.
fn unquote(rest: &str) -> Option<String> {
    let mut content = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(content),
            '\\' => match chars.next()? {
                escaped @ ('"' | '\\') => content.push(escaped),
                _ => return None,
            },
            plain @ ' '..='~' => content.push(plain),
            _ => return None,
        }
    }
}

/// The key's bytes as they stand in the header.
fn key(headers: &HeaderMap) -> Result<Option<Bytes>, Problem> {
    let value = single(headers, KEY)?;
    match value.map(HeaderValue::as_bytes) {
        Some([]) => Err(Problem::bad_header(
            KEY,
            "it is empty; leave it out for no key",
        )),
        value => Ok(value.map(Bytes::copy_from_slice)),
    }
}

/// `Causeway-Header-NAME: VALUE` → NAME, in lower case as HTTP has it, and the value's bytes. Any
/// other `Causeway-` header that isn't known is a typing error.
fn message_headers(headers: &HeaderMap) -> Result<Vec<Header>, Problem> {
    let mut found = Vec::new();
    for (name, value) in headers {
        let name = name.as_str();
        if let Some(name) = name
            .strip_prefix(HEADER_PREFIX)
            .filter(|name| !name.is_empty())
        {
            let value = Bytes::copy_from_slice(value.as_bytes());
            found.push(Header {
                name: name.to_owned(),
                value,
            });
        } else if name.starts_with(OWN_PREFIX)
            && ![KEY, PRIORITY, DELAY, DELIVER_AT, TTL].contains(&name)
        {
            return Err(Problem::bad_header(name, "there is no such header"));
        }
    }
    Ok(found)
}

fn priority(headers: &HeaderMap) -> Result<Option<u8>, Problem> {
    let Some(value) = text(headers, PRIORITY)? else {
        return Ok(None);
    };
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    match value.parse() {
        Ok(priority) if digits => Ok(Some(priority)),
        _ => Err(Problem::bad_header(
            PRIORITY,
            "write a whole number from 0 to 255",
        )),
    }
}

fn deliver_at(headers: &HeaderMap, now: Wall) -> Result<Option<Wall>, Problem> {
    let delayed = duration(headers, DELAY)?.map(|delay| now.plus(delay));
    let Some(value) = text(headers, DELIVER_AT)? else {
        return Ok(delayed);
    };
    if delayed.is_some() {
        return Err(Problem::bad_header(
            DELIVER_AT,
            "give this or causeway-delay, not both",
        ));
    }
    let bad = || Problem::bad_header(DELIVER_AT, "write RFC 3339, as in 2026-01-31T12:00:00Z");
    parse_rfc3339(value).ok_or_else(bad).map(Some)
}

fn duration(headers: &HeaderMap, name: &str) -> Result<Option<std::time::Duration>, Problem> {
    let Some(value) = text(headers, name)? else {
        return Ok(None);
    };
    let bad = || Problem::bad_header(name, "write a duration: 100ms, 30s, 10m, 24h or 7d");
    parse_duration(value).ok_or_else(bad).map(Some)
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Problem::bad_header(name, "it stands there more than once")),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Problem::bad_header(name, "it isn't UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Wall = Wall(1_000_000);

    fn read(path: &str, pairs: &[(&str, &[u8])]) -> Result<Envelope, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = header::HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            headers.append(
                name,
                HeaderValue::from_bytes(value).expect("a header value"),
            );
        }
        envelope(path, &headers, &"anonymous".into(), &"http".into(), NOW)
    }

    fn with(name: &str, value: &str) -> Result<Envelope, Problem> {
        read("/v1/topics/a", &[(name, value.as_bytes())])
    }

    fn header_of(problem: &Problem) -> &str {
        assert_eq!(problem.status, 400);
        problem
            .detail
            .strip_prefix("header ")
            .and_then(|d| d.split(':').next())
            .expect("named")
    }

    #[test]
    fn levels_of_the_topic_are_decoded_one_by_one() {
        for (path, topic) in [
            ("/v1/topics/orders/eu/created", Some("orders/eu/created")),
            ("/v1/topics/caf%C3%A9/a%20b/c+d", Some("café/a b/c+d")),
            ("/v1/topics/a//b/", Some("a//b/")),
            ("/v1/topics/", Some("")),
            ("/v1/topics/100%", Some("100%")),
            ("/v1/topics/a%2Fb", None),
            ("/v1/topics/a%FF", None),
        ] {
            assert_eq!(
                read(path, &[]).ok().map(|e| e.topic).as_deref(),
                topic,
                "{path}"
            );
        }
    }

    #[test]
    fn an_idempotency_key_is_quoted_or_bare() {
        for (value, id) in [
            ("abc-1", Some("abc-1")),
            ("\"abc-1\"", Some("abc-1")),
            (r#""a \"b\" \\c""#, Some(r#"a "b" \c"#)),
            ("a, b", Some("a, b")),
            ("é", Some("é")),
            ("\"", None),
            ("\"\"", None),
            ("", None),
            ("\"open", None),
            (r#""bad \escape""#, None),
            (r#""a";v=1"#, None),
            (r#""a" "b""#, None),
            ("\"é\"", None),
        ] {
            match (with("Idempotency-Key", value), id) {
                (Ok(envelope), Some(id)) => assert_eq!(envelope.id.as_str(), Some(id), "{value}"),
                (Err(problem), None) => assert_eq!(header_of(&problem), "idempotency-key"),
                (read, _) => panic!("{value:?} gave {read:?}"),
            }
        }
        assert_eq!(
            read("/v1/topics/a", &[]).expect("no id is legal").id,
            MessageId::None
        );
    }

    #[test]
    fn headers_are_carried_in_lower_case_and_in_order() {
        let envelope = read(
            "/v1/topics/a",
            &[
                ("Causeway-Header-Type", b"pdf"),
                ("X-Other", b"not ours"),
                ("causeway-header-type", b"gif"),
                ("Causeway-Header-Raw", b"\xff\x80"),
                ("Content-Type", b"text/plain; charset=utf-8"),
            ],
        )
        .expect("all legal");
        let headers: Vec<_> = envelope
            .headers
            .iter()
            .map(|h| (h.name.as_str(), h.value.as_ref()))
            .collect();
        let expected: [(&str, &[u8]); 3] =
            [("type", b"pdf"), ("type", b"gif"), ("raw", b"\xff\x80")];
        assert_eq!(headers, expected);
        assert_eq!(
            envelope.content_type.as_deref(),
            Some("text/plain; charset=utf-8")
        );
    }

    #[test]
    fn times_count_from_now() {
        let read = with("Causeway-Ttl", "1h").expect("legal");
        assert_eq!(read.expires_at, Some(NOW.plus(Duration::from_secs(3_600))));
        assert_eq!(read.deliver_at, None);
        let read = with("Causeway-Delay", "5s").expect("legal");
        assert_eq!(read.deliver_at, Some(NOW.plus(Duration::from_secs(5))));
        let read = with("Causeway-Deliver-At", "1970-01-02T00:00:00Z").expect("legal");
        assert_eq!(read.deliver_at, Some(Wall(86_400_000)));
        let both: &[(&str, &[u8])] = &[
            ("causeway-delay", b"1s"),
            ("causeway-deliver-at", b"1970-01-02T00:00:00Z"),
        ];
        let problem = super::tests::read("/v1/topics/a", both).expect_err("one of them");
        assert_eq!(header_of(&problem), "causeway-deliver-at");
    }

    #[test]
    fn whatever_cannot_be_read_is_refused_by_name() {
        for (name, value) in [
            ("causeway-priority", "256"),
            ("causeway-priority", "+1"),
            ("causeway-priority", ""),
            ("causeway-delay", "5"),
            ("causeway-deliver-at", "tomorrow"),
            ("causeway-ttl", "-1s"),
            ("causeway-key", ""),
            ("causeway-header-", "x"),
            ("causeway-prioritty", "1"),
        ] {
            let problem = with(name, value).expect_err("refused");
            assert_eq!(header_of(&problem), name, "{value:?}");
        }
        for name in [
            "idempotency-key",
            "causeway-key",
            "causeway-ttl",
            "content-type",
        ] {
            let problem = read("/v1/topics/a", &[(name, b"1s"), (name, b"1s")]).expect_err("twice");
            assert_eq!(header_of(&problem), name);
        }
        let problem = read("/v1/topics/a", &[("content-type", b"\xff")]).expect_err("not text");
        assert_eq!(header_of(&problem), "content-type");
        assert_eq!(
            with("causeway-priority", "255").expect("legal").priority,
            Some(255)
        );
    }
}
