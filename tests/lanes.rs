//! What operators do to the lanes of a running gateway, and what the lanes do by themselves: by the
//! command line, with a destination that fails as it is told.

use crate::support::client::Client;
use crate::support::process::{Gateway, program};
use crate::support::wait;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(script: &str, more: &str) -> String {
    format!(
        "[destinations.hook]\ntype = \"faulty\"\nscript = \"{script}\"\nrecord = \"hook.record\"\n\
         timeout = \"200ms\"\nretry = {{ initial = \"20ms\", max = \"50ms\" }}\n{more}\n\
         [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"hook\"]\n"
    )
}

fn started(script: &str, more: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), &settings(script, more));
    gateway.start().unwrap();
    gateway
}

/// The file with another script, taken by the running gateway.
fn follow(gateway: &Gateway, script: &str, more: &str) {
    gateway.configure(&settings(script, more));
    said(gateway, &["reload"], 0);
}

fn publish(gateway: &Gateway, key: &str, payload: &str) -> u64 {
    let headers = [("causeway-key", key), ("content-type", "text/plain")];
    let mut client = gateway.client(PATIENCE);
    let answer = client.post("/v1/topics/a", &headers, payload.as_bytes());
    let answer = answer.unwrap_or_else(|trouble| panic!("publish: {trouble}"));
    assert_eq!(answer.status, 202, "{answer}");
    answer.json().expect("JSON")["position"]
        .as_u64()
        .expect("a number")
}

/// What a command says in JSON, and that it ends so.
fn said(gateway: &Gateway, words: &[&str], code: i32) -> Value {
    let output = gateway.run(&[words, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{words:?}: {e}: {text}"))
}

fn lane(gateway: &Gateway) -> Value {
    let answer = Client::new(gateway.admin, PATIENCE).get("/api/v1/status");
    let status = answer.expect("an answer").json().expect("JSON");
    let lanes = status["lanes"].as_array().expect("lanes");
    let found = lanes.iter().find(|lane| lane["name"] == "hook");
    found.expect("it is configured").clone()
}

fn wait_for(gateway: &Gateway, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait::wait_until(PATIENCE, what, || is_so(&lane(gateway)));
    lane(gateway)
}

/// The positions that it took, in order.
fn received(gateway: &Gateway) -> Vec<u64> {
    let record = fs::read_to_string(gateway.folder().join("hook.record")).unwrap_or_default();
    let position = |line: &str| line.split('\t').next()?.parse().ok();
    record.lines().filter_map(position).collect()
}

#[test]
fn a_paused_lane_holds_what_it_owes_until_it_is_resumed_or_dropped() {
    let gateway = started("confirm", "");
    let told = said(&gateway, &["lane", "pause", "hook"], 0);
    assert_eq!(
        (&told["lane"], &told["order"]),
        (&json!("hook"), &json!("pause"))
    );
    wait_for(&gateway, "it is paused", |lane| lane["state"] == "paused");
    let held: Vec<u64> = (0..3)
        .map(|n| publish(&gateway, "a", &n.to_string()))
        .collect();
    wait_for(&gateway, "it owes them", |lane| lane["pending"] == 3);
    assert_eq!(received(&gateway), [0; 0]);
    said(&gateway, &["lane", "resume", "hook"], 0);
    wait_for(&gateway, "all is delivered", |lane| lane["delivered"] == 3);
    assert_eq!(received(&gateway), held);

    said(&gateway, &["lane", "pause", "hook"], 0);
    wait_for(&gateway, "it is paused", |lane| lane["state"] == "paused");
    publish(&gateway, "a", "dropped");
    said(&gateway, &["lane", "drop", "hook", "--discard"], 0);
    let lane = wait_for(&gateway, "it is dropped", |lane| lane["pending"] == 0);
    assert_eq!(lane["discarded"]["dropped"], 1);
    assert_eq!(received(&gateway), held);
    for order in ["pause", "resume", "skip"] {
        said(&gateway, &["lane", order, "nowhere"], 4);
    }
}

#[test]
fn one_that_fails_is_skipped_and_its_key_goes_on() {
    let gateway = started("payload=bad retry", "breaker = { failures = 1_000_000 }");
    let nothing = said(&gateway, &["lane", "skip", "hook"], 1);
    assert!(nothing.to_string().contains("no delivery"), "{nothing}");
    let bad = publish(&gateway, "a", "bad");
    let good = publish(&gateway, "a", "good");
    wait_for(&gateway, "it fails", |lane| {
        lane["retries"].as_u64() > Some(2)
    });
    let told = said(&gateway, &["lane", "skip", "hook"], 0);
    assert_eq!(told["skipped"]["position"], bad);
    let lane = wait_for(&gateway, "its key goes on", |lane| lane["pending"] == 0);
    assert_eq!(
        (&lane["dead_lettered"], &lane["delivered"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(received(&gateway), [good]);
    let named = publish(&gateway, "a", "bad again");
    wait_for(&gateway, "it fails", |lane| lane["held_keys"] == 1);
    said(
        &gateway,
        &["lane", "skip", "hook", "--at", &named.to_string()],
        0,
    );
    wait_for(&gateway, "it is skipped", |lane| lane["dead_lettered"] == 2);
}

#[test]
fn a_dead_destination_is_probed_and_comes_back_by_itself() {
    let more = "breaker = { failures = 3, probe_every = \"50ms\" }";
    for (script, state) in [("retry", "open"), ("fatal", "stopped")] {
        let gateway = started(script, more);
        let all: Vec<u64> = (0..50)
            .map(|n| publish(&gateway, &n.to_string(), "x"))
            .collect();
        let lane = wait_for(&gateway, state, |lane| {
            lane["state"] == state && lane["next_try_seconds"].is_number()
        });
        assert!(
            lane["stopped_by"]
                .as_str()
                .is_some_and(|why| why.contains(script)),
            "{lane}"
        );
        assert_eq!(lane["circuit_opened"], 1);
        follow(&gateway, "confirm", more);
        let lane = wait_for(&gateway, "all is delivered", |lane| lane["delivered"] == 50);
        assert_eq!(lane["state"], "running");
        let mut received = received(&gateway);
        received.sort_unstable();
        assert_eq!(received, all);
    }
}

/// `halt` is for an operator alone.
#[test]
fn a_halted_lane_waits_for_its_operator() {
    let more = "breaker = { probe_every = \"1ms\" }";
    let gateway = started("halt", more);
    publish(&gateway, "a", "x");
    let lane = wait_for(&gateway, "it has stopped", |lane| {
        lane["state"] == "stopped"
    });
    assert_eq!(lane["next_try_seconds"], Value::Null);
    follow(&gateway, "confirm", more);
    assert_eq!(self::lane(&gateway)["attempts"], lane["attempts"]);
    said(&gateway, &["lane", "resume", "hook"], 0);
    wait_for(&gateway, "it is delivered", |lane| lane["delivered"] == 1);
}

#[test]
fn a_rate_is_kept_and_changes_with_a_reload() {
    let slow = "rate = { per_second = 1, burst = 2 }";
    let gateway = started("confirm", slow);
    for n in 0..40 {
        publish(&gateway, &n.to_string(), "x");
    }
    let lane = wait_for(&gateway, "it waits", |lane| lane["state"] == "rate_limited");
    assert!(lane["next_try_seconds"].as_f64() <= Some(1.0), "{lane}");
    assert!(lane["attempts"].as_u64() < Some(40), "{lane}");
    follow(&gateway, "confirm", "rate = { per_second = 1_000 }");
    wait_for(&gateway, "all is delivered", |lane| lane["delivered"] == 40);
}
