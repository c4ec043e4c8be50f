//! Promise 14 of the real process: what is at_most_once lives in memory, is never sent again after an
//! unknown outcome, never refuses and is never awaited; what is kept beside it holds. And promise 1's
//! `ack = "delivered"`, with a destination that hangs beside one that doesn't.

use crate::support::client::{Client, Response};
use crate::support::process::{Gateway, program};
use crate::support::streams::stream_ids;
use crate::support::wait::wait_until;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const INBOX: &str = "[destinations.inbox]\ntype = \"stream\"\n";

fn hook(script: &str, more: &str) -> String {
    format!(
        "{INBOX}[destinations.hook]\ntype = \"faulty\"\nscript = \"{script}\"\nrecord = \"hook.record\"\n\
         retry = {{ initial = \"5ms\", max = \"20ms\" }}\n{more}\n"
    )
}

const ONCE: &str = "[[routes]]\nname = \"once\"\ntopic = \"once/#\"\nguarantee = \"at_most_once\"\n\
                    ack = \"received\"\nto = [\"inbox\", \"hook\"]\n";
const MIXED: &str = "[[routes]]\nname = \"mixed\"\ntopic = \"mixed/#\"\n\
                     to = [\"inbox\", { destination = \"hook\", guarantee = \"at_most_once\" }]\n";

fn started(settings: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), settings);
    gateway.start().unwrap();
    gateway
}

fn publish(gateway: &Gateway, topic: &str, id: Option<&str>, payload: &str) -> Response {
    let mut headers = vec![("content-type", "text/plain"), ("causeway-key", "k")];
    headers.extend(id.map(|id| ("idempotency-key", id)));
    let path = format!("/v1/topics/{topic}");
    let answer = gateway
        .client(PATIENCE)
        .post(&path, &headers, payload.as_bytes());
    answer.unwrap_or_else(|trouble| panic!("publish: {trouble}"))
}

fn taken(gateway: &Gateway, topic: &str, id: Option<&str>, payload: &str) -> Value {
    let answer = publish(gateway, topic, id, payload);
    assert_eq!(answer.status, 202, "{answer}");
    answer.json().expect("JSON")
}

fn found(gateway: &Gateway, query: &str) -> Response {
    let path = format!("/v1/messages{query}");
    gateway.client(PATIENCE).get(&path).expect("an answer")
}

fn status(gateway: &Gateway) -> Value {
    let answer = Client::new(gateway.admin, PATIENCE).get("/api/v1/status");
    answer.expect("an answer").json().expect("JSON")
}

fn lane(gateway: &Gateway, name: &str) -> Value {
    let status = status(gateway);
    let lanes = status["lanes"].as_array().expect("lanes");
    let found = lanes.iter().find(|lane| lane["name"] == name);
    found.expect("it is configured").clone()
}

fn memory(gateway: &Gateway, name: &str) -> Value {
    lane(gateway, name)["memory"].clone()
}

/// Nothing is in memory; the counts, which add up.
fn emptied(gateway: &Gateway, name: &str) -> Value {
    wait_until(PATIENCE, "the memory is empty", || {
        memory(gateway, name)["pending"] == 0
    });
    let counts = memory(gateway, name);
    let discarded = counts["discarded"].as_object().expect("reasons").values();
    let discarded: u64 = discarded.filter_map(Value::as_u64).sum();
    let delivered = counts["delivered"].as_u64().expect("a number");
    assert_eq!(counts["planned"], delivered + discarded, "{counts}");
    counts
}

/// The hashes of the payloads that it took, in order.
fn received(gateway: &Gateway) -> Vec<String> {
    let record = fs::read_to_string(gateway.folder().join("hook.record")).unwrap_or_default();
    let payload = |line: &str| line.split('\t').nth(5).map(str::to_owned);
    record.lines().filter_map(payload).collect()
}

/// What `journal verify` says of a stopped gateway's; it has no trace of what lived in memory.
fn verified(gateway: &Gateway) -> Value {
    let output = gateway.run(&["journal", "verify", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("@memory"), "{text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn terminate(gateway: &mut Gateway) {
    gateway.terminate(PATIENCE).unwrap();
}

#[test]
fn a_plan_of_such_targets_alone_is_not_journalled() {
    let mut gateway = started(&(hook("confirm", "") + ONCE));
    // No dedup: the same id twice is two messages.
    for payload in ["1", "2"] {
        let told = taken(&gateway, "once/a", Some("same"), payload);
        assert_eq!(
            told,
            json!({
                "id": "same", "position": null, "duplicate": false, "state": "received",
                "targets": [
                    {"route": "once", "destination": "inbox", "state": "received"},
                    {"route": "once", "destination": "hook", "state": "received"},
                ],
            })
        );
    }
    let made = taken(&gateway, "once/a", None, "3")["id"].clone();
    let line = "{\"topic\":\"once/b\",\"id\":\"of a batch\",\"data\":4}\n";
    let kind = [("content-type", "application/x-ndjson")];
    let answer = gateway
        .client(PATIENCE)
        .post("/v1/batch", &kind, line.as_bytes());
    let answer = answer.unwrap_or_else(|trouble| panic!("{trouble}"));
    assert_eq!(answer.status, 200, "{answer}");
    let told = answer.json().expect("one line");
    assert_eq!(
        (&told["status"], &told["state"]),
        (&json!(202), &json!("received"))
    );

    for name in ["inbox", "hook"] {
        assert_eq!(emptied(&gateway, name)["delivered"], 4, "{name}");
        assert_eq!(lane(&gateway, name)["planned"], 0, "{name}");
    }
    let made = made.as_str().expect("an id was made");
    let ids = ["same", "same", made, "of a batch"];
    assert_eq!(stream_ids(&gateway, "inbox"), ids);
    assert_eq!(received(&gateway).len(), 4);
    assert_eq!(status(&gateway)["journal"]["next_position"], 0);
    for id in ["same", made] {
        let answer = found(&gateway, &format!("?id={id}&topic=once/a"));
        assert_eq!(answer.status, 404, "{answer}");
    }
    // What the door refuses is refused of these, too.
    assert_eq!(publish(&gateway, "nowhere", None, "").status, 404);

    terminate(&mut gateway);
    assert_eq!(verified(&gateway)["records"], 0);
    // The stream takes the numbers of another run for other messages.
    gateway.start().unwrap();
    taken(&gateway, "once/a", Some("another run"), "5");
    emptied(&gateway, "inbox");
    assert_eq!(
        stream_ids(&gateway, "inbox"),
        ["same", "same", made, "of a batch", "another run"]
    );
}

#[test]
fn what_nobody_knows_of_is_never_sent_again() {
    const COUNT: u64 = 80;
    let script = "seed 7; unknown 20%; retry 20%; reject 10%";
    let gateway = started(&(hook(script, "") + ONCE));
    for n in 0..COUNT {
        taken(&gateway, "once/a", None, &n.to_string());
    }
    let counts = emptied(&gateway, "hook");
    let of = |why: &str| counts["discarded"][why].as_u64().expect("a number");
    assert_eq!(counts["planned"], COUNT);
    assert!(of("unknown") > 0 && of("rejected") > 0, "{counts}");
    // The destination applied what it was unknown about.
    let mut payloads = received(&gateway);
    let came = counts["delivered"].as_u64().expect("a number") + of("unknown");
    assert_eq!(payloads.len() as u64, came, "{counts}");
    payloads.sort_unstable();
    payloads.dedup();
    assert_eq!(payloads.len() as u64, came, "something came twice");
}

#[test]
fn a_full_memory_refuses_nobody_and_a_kill_leaves_no_trace() {
    const COUNT: u64 = 40;
    let settings = hook("hang", "timeout = \"60s\"\nmemory = \"8KiB\"") + ONCE + MIXED;
    let mut gateway = started(&settings);
    for n in 0..COUNT {
        taken(&gateway, "once/a", None, &n.to_string());
    }
    let mut kept = Vec::new();
    for n in 0..COUNT {
        let id = format!("kept-{n}");
        let told = taken(&gateway, "mixed/a", Some(&id), &n.to_string());
        let states = [&told["targets"][0]["state"], &told["targets"][1]["state"]];
        assert_eq!(states, ["stored", "received"], "{told}");
        assert_eq!(told["targets"][1]["destination"], "hook");
        kept.push(id);
    }
    let of_hook = memory(&gateway, "hook");
    assert_eq!(of_hook["planned"], 2 * COUNT);
    assert!(
        of_hook["discarded"]["full"].as_u64() > Some(COUNT),
        "{of_hook}"
    );
    assert!(of_hook["bytes"].as_u64() <= Some(8192), "{of_hook}");

    gateway.kill();
    let walked = verified(&gateway);
    assert_eq!(walked["records"], COUNT);
    let planned = |walked: &Value, name: &str| {
        let lanes = walked["lanes"].as_array().expect("lanes").iter();
        let mut found = lanes.filter(|lane| lane["name"] == name);
        found
            .next()
            .map_or(0, |lane| lane["planned"].as_u64().expect("a number"))
    };
    assert_eq!(
        (planned(&walked, "inbox"), planned(&walked, "hook")),
        (COUNT, 0)
    );
    gateway.start().unwrap();
    wait_until(PATIENCE, "what is kept is delivered", || {
        lane(&gateway, "inbox")["delivered"] == COUNT
    });
    // The memory is gone with its process; what was acked as stored is there, once.
    assert_eq!(memory(&gateway, "hook")["planned"], 0);
    let ids = stream_ids(&gateway, "inbox");
    let kept_ids: Vec<_> = ids.iter().filter(|id| id.starts_with("kept-")).collect();
    assert_eq!(kept_ids, kept.iter().collect::<Vec<_>>());
    let told = found(&gateway, "?id=kept-3&topic=mixed/a");
    let told = told.json().expect("JSON");
    assert_eq!(told["state"], "delivered");
    assert_eq!(told["targets"][1]["state"], "received");
    // A duplicate isn't handed over again.
    let told = publish(&gateway, "mixed/a", Some("kept-3"), "3");
    assert_eq!(told.json().expect("JSON")["duplicate"], true);
    assert_eq!(memory(&gateway, "hook")["planned"], 0);
    terminate(&mut gateway);
    verified(&gateway);
}

/// Promise 14 with promise 6: where one hangs, the other has all at once, in order, of both kinds.
#[test]
fn a_hanging_destination_keeps_nothing_from_a_healthy_one() {
    const COUNT: u64 = 30;
    // The hanging one comes first in the plan.
    let turned = |route: &str| {
        let turned = route.replace("to = [\"inbox\", \"hook\"]", "to = [\"hook\", \"inbox\"]");
        turned.replace(
            "to = [\"inbox\", { destination = \"hook\", guarantee = \"at_most_once\" }]",
            "to = [{ destination = \"hook\", guarantee = \"at_most_once\" }, \"inbox\"]",
        )
    };
    let routes = turned(ONCE) + &turned(MIXED);
    assert_eq!(routes.matches("\"inbox\"]").count(), 2);
    let settings = hook("hang", "timeout = \"60s\"\nmemory = \"8KiB\"") + &routes;
    let gateway = started(&settings);
    let (mut once, mut mixed) = (Vec::new(), Vec::new());
    for n in 0..COUNT {
        let (a, b) = (format!("once-{n}"), format!("mixed-{n}"));
        taken(&gateway, "once/a", Some(&a), "x");
        taken(&gateway, "mixed/a", Some(&b), "x");
        once.push(a);
        mixed.push(b);
    }
    // Long before an attempt at the other one ends.
    assert_eq!(emptied(&gateway, "inbox")["delivered"], COUNT);
    wait_until(PATIENCE, "what is stored is delivered", || {
        lane(&gateway, "inbox")["delivered"] == COUNT
    });
    let ids = stream_ids(&gateway, "inbox");
    let of = |kind: &str| {
        let ids = ids.iter().filter(|id| id.starts_with(kind));
        ids.cloned().collect::<Vec<_>>()
    };
    assert_eq!((of("once"), of("mixed")), (once, mixed));
    let of_hook = memory(&gateway, "hook");
    assert_eq!(of_hook["planned"], 2 * COUNT, "{of_hook}");
    assert_eq!(of_hook["delivered"], 0, "{of_hook}");
    assert!(of_hook["pending"].as_u64() > Some(0), "{of_hook}");
    assert!(of_hook["discarded"]["full"].as_u64() > Some(0), "{of_hook}");
}

#[test]
fn delivered_waits_for_a_hanging_destination_unless_it_is_at_most_once() {
    let both = "[[routes]]\nname = \"both\"\ntopic = \"both/#\"\nack = \"delivered\"\n\
                ack_timeout = \"300ms\"\nto = [\"inbox\", \"hook\"]\n";
    let mixed = MIXED.replace("to =", "ack = \"delivered\"\nack_timeout = \"60s\"\nto =");
    let settings = |script: &str| hook(script, "timeout = \"50ms\"") + both + &mixed;
    let gateway = started(&settings("hang"));
    let answer = publish(&gateway, "mixed/a", Some("m"), "x");
    assert_eq!(answer.status, 200, "{answer}");
    let told = answer.json().expect("JSON");
    let states = [&told["targets"][0]["state"], &told["targets"][1]["state"]];
    assert_eq!(states, ["delivered", "received"], "{told}");

    let answer = publish(&gateway, "both/a", Some("b"), "x");
    assert_eq!(answer.status, 504, "{answer}");
    let told = answer.json().expect("JSON");
    assert_eq!(told["type"], "urn:causeway:problem:outcome-pending");
    assert_eq!(told["state"], "stored");
    assert_eq!(told["targets"][1]["state"], "stored");
    // The healthy one has it, and what comes behind it, while the other hangs.
    let behind = publish(&gateway, "both/a", Some("behind"), "x");
    assert_eq!(behind.status, 504, "{behind}");
    for id in ["b", "behind"] {
        wait_until(PATIENCE, "the healthy one is settled", || {
            let found = found(&gateway, &format!("?id={id}&topic=both/a"));
            let targets = found.json().expect("JSON")["targets"].clone();
            assert_eq!(targets[1]["state"], "stored", "{targets}");
            targets[0]["state"] == "delivered"
        });
    }
    assert_eq!(stream_ids(&gateway, "inbox"), ["m", "b", "behind"]);

    gateway.configure(&settings("confirm"));
    let output = gateway.run(&["reload"]);
    assert_eq!(output.status.code(), Some(0));
    wait_until(PATIENCE, "the outcome is known", || {
        publish(&gateway, "both/a", Some("b"), "x").status == 200
    });
    let answer = publish(&gateway, "both/a", Some("c"), "x");
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.json().expect("JSON")["state"], "delivered");
}

#[test]
fn a_reload_brings_the_first_such_target_and_takes_it_away() {
    let kept = "[[routes]]\nname = \"once\"\ntopic = \"once/#\"\nto = [\"inbox\", \"hook\"]\n";
    let settings = |route: &str| hook("delay 20..30", "") + route;
    let mut gateway = started(&settings(kept));
    let reload = |gateway: &Gateway, route: &str| {
        gateway.configure(&settings(route));
        assert_eq!(gateway.run(&["reload"]).status.code(), Some(0));
    };
    assert_eq!(memory(&gateway, "hook"), Value::Null);
    taken(&gateway, "once/a", None, "0");
    reload(&gateway, ONCE);
    for n in 1..20 {
        taken(&gateway, "once/a", None, &n.to_string());
    }
    reload(&gateway, kept);
    assert_eq!(taken(&gateway, "once/a", None, "20")["position"], 1);
    for name in ["inbox", "hook"] {
        assert_eq!(emptied(&gateway, name)["delivered"], 19, "{name}");
    }
    reload(&gateway, ONCE);
    // A stop drains.
    for n in 21..40 {
        taken(&gateway, "once/a", None, &n.to_string());
    }
    terminate(&mut gateway);
    assert_eq!(received(&gateway).len(), 40);
    assert_eq!(verified(&gateway)["records"], 2);
}

/// The journal settles nothing of it, and yet a stream may forget it.
#[test]
fn a_stream_is_trimmed_of_what_lived_in_memory() {
    let stream = "retention = { max_bytes = \"8MiB\" }\n";
    let settings = hook("confirm", "").replacen(
        "type = \"stream\"\n",
        &format!("type = \"stream\"\n{stream}"),
        1,
    ) + ONCE;
    let mut gateway = started(&settings);
    let payload = "x".repeat(512 << 10);
    for _ in 0..60 {
        taken(&gateway, "once/a", None, &payload);
        emptied(&gateway, "inbox");
    }
    wait_until(PATIENCE, "the stream is trimmed", || {
        status(&gateway)["streams"][0]["earliest"].as_u64() > Some(0)
    });
    terminate(&mut gateway);
    gateway.start().unwrap();
    assert!(status(&gateway)["streams"][0]["earliest"].as_u64() > Some(0));
}
