//! CloudEvents through the real program: conformance with another's SDK, identity over restarts, routes.

use crate::support::client::Client;
use crate::support::process::{ALL_TO_INBOX, Gateway, program};
use crate::support::wait::wait_for;
use crate::support::{skip, tools};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn started(settings: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

/// Whole stream as a batch of events, once there are so many.
fn events(client: &mut Client, stream: &str, count: usize) -> Vec<Value> {
    let target = format!("/v1/streams/{stream}?limit=1000");
    wait_for(PATIENCE, || {
        let page = client.request("GET", &target, &[("accept", BATCH)], b"");
        let page = page.expect("an answer");
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some(BATCH)),
            "{page}"
        );
        let next = page.header("causeway-next").map(str::to_owned);
        let Value::Array(events) = page.json().expect("a list") else {
            panic!("no list: {page}");
        };
        if events.len() < count {
            return Err(format!("{count} events, not {}", events.len()));
        }
        assert_eq!(next, Some(events.len().to_string()));
        Ok(events)
    })
}

fn event(id: &str, kind: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/tests/e", "type": kind,
           "subject": "an ödd \"one\" %", "time": "2026-01-31T12:00:00.123456789+01:00", "n": -7,
           "flag": true, "text": "7", "partitionkey": "k 1", "datacontenttype": "application/json",
           "data": {"id": id}})
}

/// Stored, or delivered already.
fn is_taken(status: u16) -> bool {
    matches!(status, 200 | 202)
}

fn structured(client: &mut Client, topic: &str, event: &Value) -> (u16, Value) {
    let body = event.to_string();
    let target = format!("/v1/topics/{topic}");
    let answer = client.post(&target, &[("content-type", STRUCTURED)], body.as_bytes());
    let answer = answer.expect("an answer");
    (answer.status, answer.json().expect("JSON"))
}

/// In, in each mode, through the journal and a stream, over a kill, and out in each mode.
#[test]
fn an_event_goes_out_as_it_came_in() {
    let mut gateway = started(ALL_TO_INBOX);
    let mut client = gateway.client(ANSWER_LIMIT);
    let [a, b, c] = ["a", "b", "c"].map(|id| event(id, "t"));
    assert!(is_taken(structured(&mut client, "x", &a).0));
    let list = json!([b, c]).to_string();
    let answer = client.post("/v1/topics/x", &[("content-type", BATCH)], list.as_bytes());
    let answer = String::from_utf8(answer.expect("an answer").body).expect("text");
    assert_eq!(answer.lines().count(), 2, "{answer}");
    assert_eq!(events(&mut client, "inbox", 3), [a.clone(), b, c]);

    gateway.kill();
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let mut client = gateway.client(ANSWER_LIMIT);
    // Out in binary mode, and in again: the same event, whose types headers don't tell.
    let shown = client.get("/v1/streams/inbox/0?format=cloudevents-binary");
    let shown = shown.expect("an answer");
    assert_eq!(shown.status, 200, "{shown}");
    assert_eq!(
        shown.header("ce-subject"),
        Some("an%20%C3%B6dd%20%22one%22%20%25")
    );
    assert_eq!(shown.body, b"{\"id\":\"a\"}");
    let headers: Vec<(&str, &str)> = shown
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("ce-") || name == "content-type")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(headers.len(), 11, "{headers:?}");
    let again = client
        .post("/v1/topics/x", &headers, &shown.body)
        .expect("an answer");
    let receipt = again.json().expect("JSON");
    assert_eq!(
        (&receipt["id"], &receipt["duplicate"]),
        (&json!("/tests/e a"), &json!(true))
    );
    let elsewhere = client
        .post("/v1/topics/y", &headers, &shown.body)
        .expect("an answer");
    assert_eq!(elsewhere.json().expect("JSON")["duplicate"], false);
    let mut untyped = a;
    untyped["n"] = "-7".into();
    untyped["flag"] = "true".into();
    assert_eq!(events(&mut client, "inbox", 4)[3], untyped);
    let one = client.request("GET", "/v1/streams/inbox/3", &[("accept", STRUCTURED)], b"");
    let one = one.expect("an answer");
    assert_eq!(one.header("content-type"), Some(STRUCTURED));
    assert_eq!(one.json(), Ok(untyped));
}

/// More than is ever in flight, in one request.
#[test]
fn a_long_list_is_taken_in_its_order() {
    const EVENTS: usize = 4_000;
    let gateway = started(ALL_TO_INBOX);
    let mut client = gateway.client(PATIENCE);
    let list: Vec<Value> = (0..EVENTS).map(|n| event(&n.to_string(), "t")).collect();
    let mut body = Value::Array(list).to_string().into_bytes();
    let mut taken = |body: &[u8]| -> Vec<Value> {
        let answer = client.post("/v1/topics/x", &[("content-type", BATCH)], body);
        let answer = answer.expect("an answer");
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        let lines = answer.body.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect()
    };
    let results = taken(&body);
    assert_eq!(results.len(), EVENTS);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["id"], format!("/tests/e {n}"));
        assert_eq!(
            (&result["position"], &result["duplicate"]),
            (&json!(n), &json!(false))
        );
    }
    // Cut off, its whole events are known again, and the last result says so.
    body.truncate(body.len() / 2);
    let again = taken(&body);
    let (last, whole) = again.split_last().expect("results");
    assert!(
        (EVENTS / 3..EVENTS).contains(&whole.len()),
        "{}",
        whole.len()
    );
    assert!(whole.iter().all(|result| result["duplicate"] == true));
    assert_eq!(
        (&last["status"], &last["type"]),
        (&json!(400), &json!("urn:causeway:problem:malformed"))
    );
}

#[test]
fn source_and_id_are_the_identity() {
    let gateway = started(ALL_TO_INBOX);
    let mut client = gateway.client(ANSWER_LIMIT);
    let first = event("1", "t");
    let (status, receipt) = structured(&mut client, "x", &first);
    assert!(is_taken(status), "{receipt}");
    assert_eq!(receipt["duplicate"], false);
    let (status, again) = structured(&mut client, "x", &first);
    assert!(is_taken(status), "{again}");
    assert_eq!(
        (&again["duplicate"], &again["position"]),
        (&json!(true), &receipt["position"])
    );

    let mut other_data = first.clone();
    other_data["data"] = json!("other");
    let (status, problem) = structured(&mut client, "x", &other_data);
    assert_eq!(
        (status, &problem["type"]),
        (422, &json!("urn:causeway:problem:id-conflict"))
    );

    let mut other_source = other_data;
    other_source["source"] = json!("/tests/f");
    assert!(is_taken(structured(&mut client, "x", &other_source).0));

    // Too long for an id: hashed, and known again.
    let mut long = first;
    long["id"] = json!("i".repeat(1_000));
    let (_, receipt) = structured(&mut client, "x", &long);
    let id = receipt["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("ce:") && id.len() == 35, "{id}");
    assert_eq!(structured(&mut client, "x", &long).1["duplicate"], true);
    let found = client
        .get(&format!("/v1/messages?id={id}&topic=x"))
        .expect("an answer");
    assert_eq!(found.status, 200, "{found}");
}

#[test]
fn routes_match_on_attributes() {
    let gateway = started(
        "[destinations.paid]\ntype = \"stream\"\n\n[destinations.rest]\ntype = \"stream\"\n\n\
         [[routes]]\nname = \"paid\"\ntopic = \"#\"\nheaders = { ce-type = \"order.paid\" }\n\
         when = \"headers['ce-subject'].startsWith('an ') && payload.id != ''\"\n\
         stop = true\nto = [\"paid\"]\n\n\
         [[routes]]\nname = \"rest\"\ntopic = \"#\"\nto = [\"rest\"]\n",
    );
    let mut client = gateway.client(ANSWER_LIMIT);
    for (id, kind) in [("1", "order.paid"), ("2", "order.made")] {
        assert!(is_taken(structured(&mut client, "x", &event(id, kind)).0));
    }
    assert_eq!(events(&mut client, "paid", 1), [event("1", "order.paid")]);
    assert_eq!(events(&mut client, "rest", 1), [event("2", "order.made")]);
}

#[test]
fn what_came_as_no_event_goes_out_as_one_made_of_it() {
    let gateway = started(ALL_TO_INBOX);
    let mut client = gateway.client(ANSWER_LIMIT);
    let headers = [
        ("causeway-key", "k"),
        ("content-type", "text/plain"),
        ("idempotency-key", "o-1"),
    ];
    let answer = client
        .post("/v1/topics/orders/new", &headers, b"hello")
        .expect("an answer");
    assert!(is_taken(answer.status), "{answer}");
    let mut made = events(&mut client, "inbox", 1).remove(0);
    let members = made.as_object_mut().expect("an object");
    let id = members.remove("id").expect("an id");
    assert_eq!(id.as_str().map(str::len), Some(32), "the delivery id");
    let time = members.remove("time").expect("a time");
    assert!(
        time.as_str().is_some_and(|time| time.ends_with('Z')),
        "{time}"
    );
    let source = members.remove("source").expect("a source");
    assert!(
        source.as_str().is_some_and(|source| !source.is_empty()),
        "{source}"
    );
    assert_eq!(
        made,
        json!({"specversion": "1.0", "type": "orders/new", "partitionkey": "k",
               "datacontenttype": "text/plain", "data": "hello"})
    );
}

/// What the SDK makes is taken, and what comes back is what the SDK reads as the same event.
#[test]
fn the_python_sdk_agrees() {
    let Some(python) = tools::python() else {
        return skip::skipped("cloudevents::the_python_sdk_agrees", tools::MISSING);
    };
    let gateway = started(ALL_TO_INBOX);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cloudevents/conformance.py");
    let seed = fastrand::u32(..);
    let output = Command::new(python)
        .arg(&script)
        .arg(format!("http://{}", gateway.http))
        .arg(seed.to_string())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "seed {seed}:\n{said}\n{failed}");
    // It can't pass by doing nothing.
    assert!(said.contains("events agree"), "{said}");
}
