//! CloudEvents over a socket: in and out in each mode, and what is refused.

use super::super::*;
use super::batch::{results, statuses};
use super::harness::{Answer, PAYLOAD_LIMIT, Running, answer, ask, request, send, start};
use crate::cloudevents::Event;
use crate::message::{MessageId, Tombstone};
use bytes::Bytes;
use serde_json::json;

const LEAST: &str = r#"{"specversion":"1.0","id":"i","source":"/s","type":"t"}"#;
const STRUCTURED: &str = "Content-Type: application/cloudevents+json; charset=UTF-8\r\n";
const BATCH: &str = "Content-Type: application/cloudevents-batch+json\r\n";
const BINARY: &str = "ce-specversion: 1.0\r\nCE-ID: a%20b\r\nce-source: /s\r\nce-type: t\r\n";

async fn post(running: &Running, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    let request = request("POST", "/v1/topics/a", headers, body.as_ref());
    answer(send(running.address, &request).await).await
}

fn taken(running: &Running) -> Vec<Envelope> {
    running.script.envelopes.lock().expect("no panic").clone()
}

fn names(envelope: &Envelope) -> Vec<&str> {
    envelope.headers.iter().map(|h| h.name.as_str()).collect()
}

fn with(members: &str) -> String {
    format!("{},{members}}}", &LEAST[..LEAST.len() - 1])
}

#[tokio::test]
async fn an_event_comes_in_binary_and_structured_mode() {
    let running = start().await;
    let headers = format!(
        "{BINARY}ce-partitionkey: k\r\nContent-Type: text/plain\r\nCauseway-Header-X: 1\r\n"
    );
    let got = post(&running, &headers, "hello").await;
    assert_eq!((got.status, &got.json()["id"]), (202, &json!("/s a b")));
    let event = with(r#""partitionkey":"its","datacontenttype":"text/plain","data":"hello""#);
    let headers = format!("{STRUCTURED}Causeway-Key: mine\r\nCauseway-Priority: 9\r\n");
    let got = post(&running, &headers, &event).await;
    assert_eq!((got.status, &got.json()["id"]), (202, &json!("/s i")));
    // What doesn't look into an event may find its attributes in headers.
    let headers = format!("{STRUCTURED}ce-id: i\r\nce-type: t\r\n");
    assert_eq!(post(&running, &headers, LEAST).await.status, 202);

    let taken = taken(&running);
    let hello = Ok(Bytes::from_static(b"hello"));
    assert_eq!(taken[0].id, MessageId::Publisher("/s a b".into()));
    assert_eq!(taken[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(taken[0].content_type.as_deref(), Some("text/plain"));
    assert_eq!(taken[0].payload, hello);
    assert_eq!(
        names(&taken[0]),
        [
            "x",
            "ce-specversion",
            "ce-id",
            "ce-source",
            "ce-type",
            "ce-partitionkey"
        ]
    );
    assert_eq!(taken[1].id, MessageId::Publisher("/s i".into()));
    assert_eq!(taken[1].key.as_deref(), Some(&b"mine"[..]));
    assert_eq!(taken[1].priority, Some(9));
    assert_eq!(taken[1].content_type.as_deref(), Some("text/plain"));
    assert_eq!(taken[1].payload, hello);
    assert_eq!(
        (&taken[2].payload, &taken[2].content_type),
        (&Err(Tombstone), &None)
    );
}

#[tokio::test]
async fn a_body_without_content_type_and_bytes_is_no_data() {
    let running = start().await;
    for headers in [BINARY, &format!("{BINARY}Content-Type: text/plain\r\n")] {
        assert_eq!(post(&running, headers, "").await.status, 202);
    }
    assert_eq!(post(&running, BINARY, "x").await.status, 202);
    let payloads: Vec<_> = taken(&running).into_iter().map(|e| e.payload).collect();
    let empty = Ok(Bytes::new());
    assert_eq!(
        payloads,
        [Err(Tombstone), empty, Ok(Bytes::from_static(b"x"))]
    );
}

#[tokio::test]
async fn what_is_no_event_is_refused_by_the_name_of_its_attribute() {
    let running = start().await;
    let binary = |more: &str| format!("{BINARY}{more}\r\n");
    let structured = |more: &str| format!("{STRUCTURED}{more}\r\n");
    for (headers, body, member, value) in [
        ("ce-id: i\r\n".into(), "", "attribute", "specversion"),
        (BINARY.replace("1.0", "0.3"), "", "attribute", "specversion"),
        (binary("ce-id: j"), "", "attribute", "id"),
        (binary("ce-subject:"), "", "attribute", "subject"),
        (binary("ce-x: %ff"), "", "attribute", "x"),
        (binary("ce-data: x"), "", "attribute", "data"),
        (binary("ce-a_b: x"), "", "attribute", "a_b"),
        (
            binary("ce-datacontenttype: text/plain"),
            "",
            "attribute",
            "datacontenttype",
        ),
        (
            binary("Content-Type: text"),
            "",
            "attribute",
            "datacontenttype",
        ),
        (
            binary("Idempotency-Key: o-1"),
            "",
            "header",
            "idempotency-key",
        ),
        (
            binary("Causeway-Header-Ce-Subject: x"),
            "",
            "attribute",
            "subject",
        ),
        (
            structured("Idempotency-Key: o-1"),
            LEAST,
            "header",
            "idempotency-key",
        ),
        (structured("ce-id: j"), LEAST, "attribute", "id"),
        (structured("ce-subject: x"), LEAST, "attribute", "subject"),
        (
            STRUCTURED.into(),
            r#"{"specversion":"1.0","source":"/s","type":"t"}"#,
            "attribute",
            "id",
        ),
        (
            STRUCTURED.into(),
            &with(r#""data":1,"data_base64":"""#),
            "attribute",
            "data_base64",
        ),
        (format!("{BATCH}ce-id: i\r\n"), "[]", "attribute", "id"),
        (
            format!("{BATCH}Idempotency-Key: i\r\n"),
            "[]",
            "header",
            "idempotency-key",
        ),
    ] {
        let got = post(&running, &headers, body).await;
        assert_eq!(got.problem(), "malformed", "{headers}{body}");
        assert_eq!(got.json()[member], value, "{headers}{body}: {}", got.json());
    }
    for body in ["", "{", "[]", "{\"id\":\"\u{0}\"}"] {
        let got = post(&running, STRUCTURED, body).await;
        assert_eq!(got.problem(), "malformed", "{body}");
    }
    for kind in [
        "+avro",
        "+protobuf",
        "+xml",
        "",
        "-batch+avro",
        "+json; charset=utf-16",
    ] {
        let headers = format!("Content-Type: application/cloudevents{kind}\r\n");
        let got = post(&running, &headers, LEAST).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (415, "content-type"),
            "{kind}"
        );
        let head = got.head.to_ascii_lowercase();
        assert!(
            head.contains("\r\naccept: application/cloudevents+json, "),
            "{head}"
        );
    }
    assert!(taken(&running).is_empty());
    // Such headers alone make no event.
    assert_eq!(post(&running, "ce-subject: x\r\n", "").await.status, 202);
    assert_eq!(taken(&running)[0].payload, Ok(Bytes::new()));
}

#[tokio::test]
async fn an_event_may_be_larger_than_its_data() {
    let running = start().await;
    let data = "x".repeat(PAYLOAD_LIMIT);
    let event = with(&format!(
        r#""datacontenttype":"text/plain","data":"{data}""#
    ));
    assert_eq!(post(&running, STRUCTURED, &event).await.status, 202);
    assert_eq!(taken(&running)[0].payload, Ok(data.into()));
    let larger = with(&format!(r#""data":"{}""#, "x".repeat(2 * PAYLOAD_LIMIT)));
    let got = post(&running, STRUCTURED, &larger).await;
    assert_eq!((got.status, got.problem().as_str()), (413, "too-large"));
}

#[tokio::test]
async fn a_list_of_events_is_answered_as_a_batch() {
    let running = start().await;
    let event = |id: &str, key: &str| {
        LEAST.replace("\"i\"", &format!("\"{id}\",\"partitionkey\":\"{key}\""))
    };
    let list = format!(
        "[{},\n {}, {}, 7, {{\"a\" 1}},{}]\n",
        event("1", "k"),
        event("2", "k").replace("1.0", "0.3"),
        event("3", "k"),
        event("4", "other"),
    );
    let headers = format!("{BATCH}Causeway-Ttl: 1s\r\n");
    let results = results(&post(&running, &headers, list).await);
    assert_eq!(statuses(&results), [202, 400, 422, 400, 400, 202]);
    assert_eq!(results[0]["id"], "/s 1");
    assert_eq!(results[1]["attribute"], "specversion");
    assert_eq!(results[2]["type"], "urn:causeway:problem:earlier-refused");
    let taken = taken(&running);
    assert!(
        taken
            .iter()
            .all(|e| e.topic == "a" && e.expires_at.is_some())
    );
}

#[tokio::test]
async fn what_is_no_list_ends_with_its_problem() {
    let running = start().await;
    for (body, expected, words) in [
        ("[]", &[][..], ""),
        ("{}", &[400], "begins with ["),
        ("", &[400], "ends before"),
        (&format!("[{LEAST}"), &[202, 400], "ends before"),
        (&format!("[{LEAST},]"), &[202, 400], "is missing"),
        (
            &format!("[{LEAST}] [{LEAST}]"),
            &[202, 400],
            "behind the list",
        ),
    ] {
        let results = results(&post(&running, BATCH, body).await);
        assert_eq!(statuses(&results), expected, "{body}");
        let detail = results
            .last()
            .map_or("", |r| r["detail"].as_str().unwrap_or(""));
        assert!(detail.contains(words), "{body}: {detail}");
    }
    let long = format!(
        "[{},{LEAST}]",
        with(&format!("\"data\":\"{}\"", "x".repeat(20_000)))
    );
    let results = results(&post(&running, BATCH, long).await);
    assert_eq!(statuses(&results), [413, 202]);
    assert_eq!(results[0]["what"], "the event");
}

#[tokio::test]
async fn a_line_of_a_batch_may_be_an_event() {
    let running = start().await;
    let line = |id: &str, version: &str| {
        let event = format!(
            r#"{{"specversion":"{version}","id":"{id}","source":"/s","type":"t","partitionkey":"k"}}"#
        );
        format!(r#"{{"topic":"a","content_type":"application/cloudevents+json","data":{event}}}"#)
    };
    let body = [line("1", "1.0"), line("2", "0.3"), line("3", "1.0")].join("\n");
    let request = request("POST", "/v1/batch", "", body.as_bytes());
    let results = results(&answer(send(running.address, &request).await).await);
    assert_eq!(statuses(&results), [202, 400, 422]);
    assert_eq!(results[1]["attribute"], "specversion");
    let taken = taken(&running);
    assert_eq!(taken[0].id, MessageId::Publisher("/s 1".into()));
    assert_eq!(taken[0].key.as_deref(), Some(&b"k"[..]));
}

/// The event made of the script's records.
fn made(offset: u64) -> serde_json::Value {
    json!({"specversion": "1.0", "id": format!("d{offset}"), "source": "edge-1", "type": "a",
           "time": "1970-01-01T00:16:40.000Z", "data_base64": "aGVsbG8="})
}

async fn get(running: &Running, target: &str, accept: &str) -> Answer {
    let request = request("GET", target, &format!("Accept: {accept}\r\n"), b"");
    answer(send(running.address, &request).await).await
}

#[tokio::test]
async fn a_stream_is_read_as_events() {
    let running = start().await;
    let batch = "application/cloudevents-batch+json";
    for (target, accept) in [
        ("/v1/streams/inbox", batch),
        ("/v1/streams/inbox?format=cloudevents", "*/*"),
    ] {
        let got = get(&running, target, accept).await;
        assert_eq!((got.status, got.json()), (200, json!([made(2), made(3)])));
        assert!(
            got.head.contains(&format!("content-type: {batch}")),
            "{}",
            got.head
        );
        assert!(got.head.contains("causeway-next: 4"), "{}", got.head);
    }
    let target = "/v1/streams/inbox?format=cloudevents&limit=1";
    let got = get(&running, target, "text/event-stream").await;
    let text = String::from_utf8(got.body).expect("text");
    let data = text
        .split("id: 2\ndata: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let event = serde_json::from_str::<serde_json::Value>(data.expect("an event"));
    assert_eq!(event.expect("JSON"), made(2));
}

#[tokio::test]
async fn one_record_is_read_in_each_form() {
    let running = start().await;
    let structured = "application/cloudevents+json";
    for (target, accept) in [
        ("/v1/streams/inbox/3", structured),
        ("/v1/streams/inbox/3?format=cloudevents", "*/*"),
    ] {
        let got = get(&running, target, accept).await;
        assert_eq!((got.status, got.json()), (200, made(3)));
        assert!(
            got.head.contains(&format!("content-type: {structured}")),
            "{}",
            got.head
        );
    }
    let got = get(&running, "/v1/streams/inbox/3", "*/*").await;
    assert_eq!(
        (&got.json()["offset"], &got.json()["id"]),
        (&json!(3), &json!("m3"))
    );

    let got = get(
        &running,
        "/v1/streams/inbox/2?format=cloudevents-binary",
        "*/*",
    )
    .await;
    assert_eq!((got.status, &got.body[..]), (200, &b"hello"[..]));
    for header in [
        "ce-id: d2",
        "ce-type: a",
        "ce-source: edge-1",
        "ce-specversion: 1.0",
        "x-content-type-options: nosniff",
        "content-security-policy: sandbox",
    ] {
        assert!(got.head.contains(header), "{header}: {}", got.head);
    }
    assert!(!got.head.contains("content-type:"), "{}", got.head);

    for (target, status, kind) in [
        ("/v1/streams/inbox/4", 404, "unknown-message"),
        ("/v1/streams/inbox/1", 410, "offset-gone"),
        ("/v1/streams/outbox/1", 404, "unknown-stream"),
        ("/v1/streams/inbox/x", 400, "malformed"),
        ("/v1/streams/inbox/-1", 400, "malformed"),
        ("/v1/streams/inbox/3?format=avro", 400, "malformed"),
        (
            "/v1/streams/inbox?format=cloudevents-binary",
            400,
            "malformed",
        ),
    ] {
        let got = ask(&running, "GET", target, b"").await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (status, kind),
            "{target}"
        );
    }
}

/// What the page shows of a record that came as an event is that event.
#[tokio::test]
async fn what_was_taken_is_shown_as_it_came() {
    let running = start().await;
    let json = with(r#""n":5,"datacontenttype":"application/json","data":{"a": 1.0}"#);
    assert_eq!(post(&running, STRUCTURED, &json).await.status, 202);
    let taken = taken(&running).remove(0);
    let record = crate::ingress::front::StreamRecord {
        offset: 0,
        id: "i".into(),
        delivery_id: "d".into(),
        topic: taken.topic,
        key: taken.key,
        headers: taken.headers,
        content_type: taken.content_type,
        time: super::harness::NOW,
        payload: taken.payload,
    };
    let mut shown = Vec::new();
    page::to_event(&record, "edge-1").write(&mut shown);
    assert_eq!(String::from_utf8_lossy(&shown), json);
    assert_eq!(Event::read(&shown), Event::read(json.as_bytes()));
}
