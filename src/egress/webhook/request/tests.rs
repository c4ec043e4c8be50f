use super::super::tests::{delivery, names, with};
use super::*;
use crate::message::Tombstone;
use http_body_util::BodyExt as _;

const NOW: Wall = Wall(1_614_265_330_999);

fn form(format: WebhookFormat, secrets: &[&str]) -> Form {
    let secrets: Vec<String> = secrets.iter().map(|s| (*s).to_owned()).collect();
    Form {
        format,
        headers: vec![
            HeaderName::from_static("kind"),
            HeaderName::from_static("x-two"),
        ],
        signer: Signer::new(&secrets).expect("good secrets"),
        gateway: "edge-1".to_owned(),
    }
}

fn made(form: &Form, delivery: &Delivery) -> Result<Request<Body>, String> {
    let place = Place::of("https://user:pass@hook.test:8443/a?b=c").expect("an address");
    form.request(&place, delivery, &names().of(delivery, "hook"), NOW)
}

fn good(form: &Form, delivery: &Delivery) -> Request<Body> {
    made(form, delivery).expect("it can be a request")
}

/// The headers by name, those of every request apart.
fn own(request: &Request<Body>) -> Vec<(String, String)> {
    const ALWAYS: [&str; 5] = [
        "webhook-id",
        "webhook-timestamp",
        "user-agent",
        "host",
        "authorization",
    ];
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = request.headers().iter();
    let own = headers.filter(|(name, _)| !ALWAYS.contains(&name.as_str()));
    let mut own: Vec<_> = own.map(|(n, v)| (n.to_string(), text(v))).collect();
    own.sort();
    own
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    expected.iter().map(pair).collect()
}

async fn body(request: Request<Body>) -> Bytes {
    let collected = request.into_body().collect().await;
    collected.expect("it is in memory").to_bytes()
}

#[tokio::test]
async fn every_request_says_what_it_is() {
    let delivery = delivery(7);
    let form = form(WebhookFormat::Raw, &["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    let request = good(&form, &delivery);
    assert_eq!(
        (request.method().as_str(), request.uri().to_string()),
        ("POST", "/a?b=c".into())
    );
    let headers = request.headers();
    let id = names()
        .of(&delivery, "hook")
        .borrowed()
        .delivery_id
        .to_owned();
    assert_eq!(headers["webhook-id"], id);
    assert_eq!(headers["webhook-timestamp"], "1614265330");
    let signature = form.signer.sign(&id, 1_614_265_330, b"payload 7");
    assert_eq!(headers["webhook-signature"], signature.expect("a secret"));
    assert_eq!(headers["host"], "hook.test:8443");
    // user:pass
    assert_eq!(headers["authorization"], "Basic dXNlcjpwYXNz");
    assert!(headers["authorization"].is_sensitive());
    assert_eq!(body(request).await, "payload 7");
}

#[tokio::test]
async fn raw_is_the_payload_with_topic_and_key_beside_it() {
    let delivery = with(delivery(7), |envelope| {
        envelope.topic = "a b/é".to_owned();
        envelope.id = MessageId::Publisher("50%\n".to_owned());
        envelope.key = Some(Bytes::from_static(b"k \xff"));
        envelope.content_type = Some("text/plain".to_owned());
        envelope.headers.push(header("ce-id", b"x"));
    });
    let request = good(&form(WebhookFormat::Raw, &[]), &delivery);
    let expected = [
        ("causeway-key", "k%20%FF"),
        ("causeway-publisher-id", "50%25%0A"),
        ("causeway-topic", "a%20b/%C3%A9"),
        ("content-type", "text/plain"),
        ("kind", "pdf"),
    ];
    assert_eq!(own(&request), pairs(&expected));
}

#[tokio::test]
async fn binary_and_structured_are_events() {
    let delivery = with(delivery(7), |envelope| {
        envelope.key = Some(Bytes::from_static(b"eu 1"));
        envelope.content_type = Some("application/json".to_owned());
        envelope.payload = Ok(Bytes::from_static(b"{\"n\":1}"));
    });
    let id = names()
        .of(&delivery, "hook")
        .borrowed()
        .delivery_id
        .to_owned();
    let request = good(&form(WebhookFormat::Binary, &[]), &delivery);
    let expected = [
        ("causeway-publisher-id", "id-7"),
        ("ce-id", &id),
        ("ce-partitionkey", "eu%201"),
        ("ce-source", "edge-1"),
        ("ce-specversion", "1.0"),
        ("ce-time", "1970-01-01T00:00:00.001Z"),
        ("ce-type", "jobs/small"),
        ("content-type", "application/json"),
        ("kind", "pdf"),
    ];
    assert_eq!(own(&request), pairs(&expected));
    assert_eq!(body(request).await, "{\"n\":1}");

    let request = good(&form(WebhookFormat::Structured, &[]), &delivery);
    assert_eq!(request.headers()["content-type"], STRUCTURED);
    let json: serde_json::Value = serde_json::from_slice(&body(request).await).expect("JSON");
    assert_eq!(json["id"], id);
    assert_eq!(json["type"], "jobs/small");
    assert_eq!(json["partitionkey"], "eu 1");
    assert_eq!(json["data"]["n"], 1);
}

#[tokio::test]
async fn headers_travel_by_the_list_and_trace_context_always() {
    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let delivery = with(delivery(7), |envelope| {
        envelope.id = MessageId::None;
        envelope.headers = vec![
            header("X-Two", b"1"),
            header("secret", b"not on the list"),
            header("x-two", b"\xc3\xa9"),
            header("Traceparent", PARENT),
        ];
    });
    let request = good(&form(WebhookFormat::Structured, &[]), &delivery);
    let two: Vec<&[u8]> = request
        .headers()
        .get_all("x-two")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    assert_eq!(two, [&b"1"[..], b"\xc3\xa9"]);
    assert_eq!(request.headers()["traceparent"].as_bytes(), PARENT);
    assert!(!request.headers().contains_key("secret"));
    assert!(!request.headers().contains_key("causeway-publisher-id"));
}

#[tokio::test]
async fn a_tombstone_is_an_empty_body() {
    let delivery = with(delivery(7), |envelope| envelope.payload = Err(Tombstone));
    for format in [WebhookFormat::Binary, WebhookFormat::Raw] {
        assert!(body(good(&form(format, &[]), &delivery)).await.is_empty());
    }
    let request = good(&form(WebhookFormat::Structured, &[]), &delivery);
    let json: serde_json::Value = serde_json::from_slice(&body(request).await).expect("JSON");
    assert!(json.get("data").is_none(), "{json}");
}

#[test]
fn what_no_request_can_carry_is_refused_by_name() {
    for value in [&b"a\r\nx: y"[..], b"\0", b" a", b"a\t"] {
        let delivery = with(delivery(7), |envelope| {
            envelope.headers = vec![header("Kind", value)];
        });
        let why = made(&form(WebhookFormat::Binary, &[]), &delivery).expect_err("it can't");
        assert_eq!(
            why,
            "the value of its header \"Kind\" can't stand in an HTTP request"
        );
    }
    let delivery = with(delivery(7), |envelope| {
        envelope.content_type = Some("a\nb".to_owned());
    });
    let why = made(&form(WebhookFormat::Raw, &[]), &delivery).expect_err("it can't");
    assert!(why.contains("content-type"), "{why}");
    // An event simply has none then.
    good(&form(WebhookFormat::Binary, &[]), &delivery);
}

fn header(name: &str, value: &[u8]) -> Header {
    Header {
        name: name.to_owned(),
        value: Bytes::copy_from_slice(value),
    }
}
