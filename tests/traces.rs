//! W3C trace context through the real process: from the request through the journal to the delivery.

use crate::support::client::Client;
use crate::support::process::{Gateway, START_LIMIT, program};
use crate::support::wait::wait_for;
use crate::support::{skip, tools};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

const SETTINGS: &str = r##"
[destinations.inbox]
type = "stream"

[destinations.picky]
type = "faulty"
script = "reject"
record = "picky.record"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]

[[routes]]
name = "rendered"
topic = "rendered"
to = [{ destination = "inbox", headers = { only = "this" } }]

[[routes]]
name = "later"
topic = "later"
to = [{ destination = "inbox", delay = "3s" }]
"##;

fn started() -> Gateway {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap();
    gateway
}

fn publish(client: &mut Client, topic: &str, id: &str, headers: &[(&str, &str)]) {
    let id = [("idempotency-key", id), ("content-type", "text/plain")];
    let headers = [&id[..], headers].concat();
    let answer = client.post(&format!("/v1/topics/{topic}"), &headers, b"x");
    let answer = answer.unwrap_or_else(|t| panic!("{topic}: {t}"));
    assert_eq!(answer.status, 202, "{answer}");
}

/// Headers of each message in the stream, by id, once there are so many.
fn delivered(gateway: &Gateway, count: usize) -> serde_json::Map<String, Value> {
    let mut client = gateway.client(PATIENCE);
    wait_for(PATIENCE, || {
        let page = client
            .get("/v1/streams/inbox?from=0")
            .map_err(|t| t.to_string())?;
        let page = page.json()?;
        let messages = page["messages"].as_array().ok_or(page.to_string())?;
        if messages.len() < count {
            return Err(format!("{} of {count} messages", messages.len()));
        }
        let pair = |m: &Value| Some((m["id"].as_str()?.to_owned(), m["headers"].clone()));
        Ok(messages.iter().filter_map(pair).collect())
    })
}

#[test]
fn the_callers_context_is_the_deliverys() {
    let gateway = started();
    let mut client = gateway.client(PATIENCE);
    let mut publish =
        |topic, id, headers: &[(&str, &str)]| publish(&mut client, topic, id, headers);
    publish("all/x", "none", &[]);
    publish("all/x", "parent", &[("traceparent", PARENT)]);
    publish(
        "all/x",
        "both",
        &[
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ],
    );
    publish("all/x", "state", &[("tracestate", "a=1")]);
    publish(
        "all/x",
        "broken",
        &[("traceparent", "00-nonsense-01"), ("tracestate", "a=1")],
    );
    publish(
        "all/x",
        "bad state",
        &[("traceparent", PARENT), ("tracestate", "A")],
    );
    publish(
        "all/x",
        "own",
        &[
            ("traceparent", PARENT),
            ("causeway-header-traceparent", "mine"),
        ],
    );
    publish(
        "rendered",
        "rendered",
        &[("traceparent", PARENT), ("causeway-header-x", "1")],
    );
    let found = delivered(&gateway, 8);
    for (id, headers) in [
        ("none", json!({})),
        ("parent", json!({"traceparent": PARENT})),
        (
            "both",
            json!({"traceparent": PARENT, "tracestate": "a=1,b=2"}),
        ),
        ("state", json!({})),
        ("broken", json!({})),
        ("bad state", json!({"traceparent": PARENT})),
        ("own", json!({"traceparent": "mine"})),
        ("rendered", json!({"only": "this", "traceparent": PARENT})),
    ] {
        assert_eq!(found[id], headers, "{id}");
    }
}

#[test]
fn a_batchs_context_is_that_of_each_line_without_its_own() {
    let gateway = started();
    let mut client = gateway.client(PATIENCE);
    let own = format!(
        "{{\"topic\":\"all/x\",\"id\":\"1\",\"data\":1}}\n\
         {{\"topic\":\"all/x\",\"id\":\"2\",\"data\":1,\"headers\":{{\"traceparent\":\"{OTHER}\"}}}}\n"
    );
    let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
    let answer = client
        .post("/v1/batch", &headers, own.as_bytes())
        .expect("it answers");
    assert_eq!(answer.status, 200, "{answer}");
    let found = delivered(&gateway, 2);
    assert_eq!(
        found["1"],
        json!({"traceparent": PARENT, "tracestate": "a=1"})
    );
    assert_eq!(found["2"], json!({"traceparent": OTHER}));
}

/// A call's metadata is what a request's headers are.
#[test]
fn a_calls_context_is_that_of_its_messages() {
    let Some(grpcurl) = tools::bin("grpcurl") else {
        return skip::skipped("traces over gRPC", tools::MISSING);
    };
    let gateway = started();
    let address = gateway.grpc.to_string();
    let message = |id: &str, headers: &str| {
        format!(
            "{{\"topic\":\"all/x\",\"id\":\"{id}\",\"payload\":\"eA==\",\"headers\":[{headers}]}}"
        )
    };
    let own = format!(
        "{{\"name\":\"traceparent\",\"value\":\"{}\"}}",
        STANDARD.encode(OTHER)
    );
    let (one, two) = (message("two", ""), message("three", &own));
    for (method, request) in [
        ("Publish", format!("{{\"message\":{}}}", message("one", ""))),
        ("PublishBatch", format!("{{\"messages\":[{one},{two}]}}")),
        (
            "PublishStream",
            format!("{{\"sequence\":1,\"message\":{}}}", message("four", "")),
        ),
    ] {
        let mut call = Command::new(&grpcurl);
        call.args(["-plaintext", "-H", &format!("traceparent: {PARENT}")]);
        call.args(["-H", "tracestate: a=1", "-d", &request, &address]);
        let output = call.arg(format!("causeway.v1.Gateway/{method}")).output();
        let output = output.expect("grpcurl runs");
        assert!(output.status.success(), "{method}: {output:?}");
    }
    let found = delivered(&gateway, 4);
    for id in ["one", "two", "four"] {
        assert_eq!(
            found[id],
            json!({"traceparent": PARENT, "tracestate": "a=1"}),
            "{id}"
        );
    }
    assert_eq!(found["three"], json!({"traceparent": OTHER}));
}

#[test]
fn a_context_survives_kill_nine() {
    let mut gateway = started();
    let mut client = gateway.client(PATIENCE);
    let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
    publish(&mut client, "later", "one", &headers);
    publish(&mut client, "later", "other", &[]);
    gateway.kill();
    gateway.start().unwrap();
    let found = delivered(&gateway, 2);
    assert_eq!(
        found["one"],
        json!({"traceparent": PARENT, "tracestate": "a=1"})
    );
    assert_eq!(found["other"], json!({}));
    // Another context is no other message: it is the same publish, tried again.
    let again = [
        ("idempotency-key", "one"),
        ("content-type", "text/plain"),
        ("traceparent", OTHER),
    ];
    let mut client = gateway.client(PATIENCE);
    let answer = client
        .post("/v1/topics/later", &again, b"x")
        .expect("it answers");
    assert_eq!(answer.json().expect("JSON")["duplicate"], true, "{answer}");
    gateway.terminate(START_LIMIT).unwrap();
}
