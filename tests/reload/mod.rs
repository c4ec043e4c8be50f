//! Reloads of a running gateway: by whom, of what, refused when and how; and that they lose, double,
//! reorder and refuse nothing.

mod destinations;
mod files;
mod load;
mod orders;

use crate::support::client::{Client, Response};
use crate::support::metrics::{self, CountsByDestination};
use crate::support::process::{Gateway, program};
use crate::support::wait;
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn started(settings: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), settings);
    gateway.start().unwrap();
    gateway
}

fn stream(name: &str) -> String {
    format!("[destinations.{name}]\ntype = \"stream\"\n\n")
}

fn faulty(name: &str, script: &str) -> String {
    format!(
        "[destinations.{name}]\ntype = \"faulty\"\nscript = \"{script}\"\n\
         record = \"{name}.record\"\ntimeout = \"200ms\"\n\
         retry = {{ initial = \"20ms\", max = \"50ms\" }}\n\n"
    )
}

fn route(name: &str, topic: &str, to: &str) -> String {
    format!("[[routes]]\nname = \"{name}\"\ntopic = \"{topic}\"\nto = [{to}]\n\n")
}

/// A small file in which `topic` goes to the stream `inbox`.
fn to_inbox(topic: &str) -> String {
    stream("inbox") + &route("all", topic, "\"inbox\"")
}

/// Over the admin API.
fn reload(gateway: &Gateway) -> Response {
    let json = [("content-type", "application/json")];
    let mut admin = Client::new(gateway.admin, PATIENCE);
    let answer = admin.post("/api/v1/reload", &json, b"{}");
    answer.unwrap_or_else(|trouble| panic!("reload: {trouble}"))
}

/// Writes the file anew, and has it taken.
fn taken(gateway: &Gateway, settings: &str) -> Value {
    gateway.configure(settings);
    let answer = reload(gateway);
    assert_eq!(answer.status, 200, "{answer}");
    answer.json().expect("JSON")
}

/// Writes the file anew, and has it refused: what the gateway says.
fn refused(gateway: &Gateway, settings: &str) -> String {
    gateway.configure(settings);
    let answer = reload(gateway);
    assert_eq!(answer.status, 422, "{answer}");
    let problem = answer.json().expect("JSON");
    assert_eq!(problem["type"], "urn:causeway:problem:reload-refused");
    assert!(
        problem["problems"]
            .as_array()
            .is_some_and(|p| !p.is_empty())
    );
    problem["detail"].as_str().expect("text").to_owned()
}

fn publish(gateway: &Gateway, topic: &str, id: &str) -> u16 {
    let headers = [("idempotency-key", id), ("content-type", "text/plain")];
    let mut client = gateway.client(PATIENCE);
    let answer = client.post(&format!("/v1/topics/{topic}"), &headers, id.as_bytes());
    answer.unwrap_or_else(|t| panic!("publish: {t}")).status
}

fn status(gateway: &Gateway) -> Value {
    let answer = Client::new(gateway.admin, PATIENCE).get("/api/v1/status");
    let answer = answer.unwrap_or_else(|t| panic!("status: {t}"));
    answer.json().expect("JSON")
}

/// What the gateway says of its configuration.
fn config(gateway: &Gateway) -> Value {
    status(gateway)["config"].clone()
}

fn metrics_page(gateway: &Gateway) -> String {
    let answer = gateway.health_client().get("/metrics");
    let answer = answer.unwrap_or_else(|t| panic!("metrics: {t}"));
    String::from_utf8(answer.body).expect("text")
}

fn counts(gateway: &Gateway) -> CountsByDestination {
    metrics::counts(&metrics_page(gateway)).expect("metrics")
}

fn pending(gateway: &Gateway, lane: &str) -> u64 {
    counts(gateway).get(lane).map_or(0, |counts| counts.pending)
}

fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait::wait_until(PATIENCE, what, is_so);
}

/// All that is owed is settled, and the logs and the counts agree.
fn ends_well(mut gateway: Gateway) {
    wait_until("all is settled", || {
        counts(&gateway).values().all(|counts| counts.pending == 0)
    });
    gateway.terminate(PATIENCE).unwrap();
    let walked = gateway.run(&["journal", "verify", "--json"]);
    let said = String::from_utf8_lossy(&walked.stdout);
    assert!(walked.status.success(), "{said}");
}

/// The words of a file that can't be read.
fn broken() -> String {
    to_inbox("#") + "[destinations.other]\ntype = \"strem\"\n"
}

fn lines(value: &Value) -> Vec<&str> {
    let lines = value.as_array().expect("a list").iter();
    lines.map(|line| line.as_str().expect("text")).collect()
}

#[test]
fn the_api_answers_with_generation_and_summary() {
    let gateway = started(&to_inbox("old/#"));
    assert_eq!(config(&gateway)["generation"], 1);
    assert_eq!(publish(&gateway, "new/x", "a"), 404);
    let file = to_inbox("new/#") + &stream("events");
    let answer = taken(&gateway, &file);
    assert_eq!(
        answer,
        json!({
            "generation": 2,
            "changed": ["+destination events", "~route all"],
            "restart_needed": [],
        })
    );
    assert_eq!(publish(&gateway, "new/x", "a"), 202);
    assert_eq!(publish(&gateway, "old/x", "b"), 404);
    // The same file again is a generation without a change.
    let answer = taken(&gateway, &file);
    assert_eq!(
        (&answer["generation"], &answer["changed"]),
        (&json!(3), &json!([]))
    );
    let shown = config(&gateway);
    assert_eq!(
        (&shown["reloads_ok"], &shown["last_reload"]["ok"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(shown["last_reload"]["by"], "admin");
    ends_well(gateway);
}

#[test]
fn a_bad_file_changes_nothing_and_says_so_everywhere() {
    let gateway = started(&to_inbox("good/#"));
    taken(&gateway, &to_inbox("better/#"));
    let said = refused(&gateway, &broken());
    let report = gateway.run(&["check"]);
    let report = String::from_utf8_lossy(&report.stdout);
    assert_eq!(said.trim_end(), report.trim_end(), "the words of `check`");

    assert_eq!(publish(&gateway, "better/x", "a"), 202);
    let shown = config(&gateway);
    assert_eq!(
        (&shown["generation"], &shown["reloads_refused"]),
        (&json!(2), &json!(1))
    );
    let last = &shown["last_reload"];
    assert_eq!((&last["ok"], &last["error"]), (&json!(false), &json!(said)));
    let page = metrics_page(&gateway);
    for line in [
        "causeway_config_generation 2",
        "causeway_config_last_reload_ok 0",
        "causeway_reloads_total{result=\"ok\"} 1",
        "causeway_reloads_total{result=\"refused\"} 1",
    ] {
        assert!(page.lines().any(|l| l == line), "no {line} in\n{page}");
    }
    let log = gateway.log_tail();
    assert!(
        log.contains("the reload is refused, nothing changes"),
        "{log}"
    );
    assert!(log.contains("strem"), "{log}");
    // Commands find the gateway by the broken file.
    let table = gateway.run(&["status"]);
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(table.contains("admin) was refused:"), "{table}");
    assert!(table.contains("config:  generation 2 since"), "{table}");

    taken(&gateway, &to_inbox("good/#"));
    let page = metrics_page(&gateway);
    assert!(page.contains("causeway_config_last_reload_ok 1\n"));
    assert_eq!(publish(&gateway, "good/x", "b"), 202);
    ends_well(gateway);
}

#[test]
fn a_signal_and_the_command_are_reloads() {
    let gateway = started(&to_inbox("one"));
    gateway.configure(&to_inbox("two"));
    gateway.signal(rustix::process::Signal::HUP);
    wait_until("generation 2", || config(&gateway)["generation"] == 2);
    assert_eq!(config(&gateway)["last_reload"]["by"], "SIGHUP");
    assert_eq!(publish(&gateway, "two", "a"), 202);

    let command = |more: &[&str]| {
        let output = gateway.run(&[&["reload"], more].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    gateway.configure(&to_inbox("three"));
    let (code, out, _) = command(&[]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "generation 3\n~route all\n")
    );
    let (code, out, _) = command(&["--json"]);
    let out: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &out["generation"]), (Some(0), &json!(4)));
    gateway.configure(&broken());
    let (code, _, err) = command(&[]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("the gateway refused (422)") && err.contains("strem"),
        "{err}"
    );
    assert_eq!(publish(&gateway, "three", "b"), 202);
    gateway.configure(&to_inbox("three"));
    ends_well(gateway);
}

#[test]
fn no_web_page_can_ask_for_a_reload() {
    let gateway = started(&to_inbox("#"));
    let mut admin = Client::new(gateway.admin, PATIENCE);
    let plain = admin.post("/api/v1/reload", &[("content-type", "text/plain")], b"{}");
    assert_eq!(plain.map(|r| r.status).ok(), Some(415));
    let foreign = [
        ("content-type", "application/json"),
        ("origin", "http://evil.example"),
    ];
    let foreign = admin.post("/api/v1/reload", &foreign, b"{}");
    assert_eq!(foreign.map(|r| r.status).ok(), Some(403));
    assert_eq!(config(&gateway)["generation"], 1);
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_taken() {
    let gateway = started(&to_inbox("one"));
    let http = gateway.http;
    let file = gateway.configured(&(to_inbox("two") + "[dedup]\nwindow = \"1h\"\n"));
    let moved = file.replace(&http.to_string(), "127.0.0.1:9");
    std::fs::write(gateway.config(), moved).expect("writable");
    let answer = reload(&gateway).json().expect("JSON");
    assert_eq!(
        answer["restart_needed"],
        json!(["[listen] http", "[dedup] window"])
    );
    assert_eq!(answer["changed"], json!(["~route all"]));
    assert_eq!(
        publish(&gateway, "two", "a"),
        202,
        "where it listened before"
    );
    let shown = status(&gateway);
    assert_eq!(shown["config"]["restart_needed"], answer["restart_needed"]);
    assert_eq!(shown["dedup"]["window_seconds"], 600.0);
    let page = metrics_page(&gateway);
    assert!(page.contains("causeway_config_restart_needed 2\n"));
    // Written back, nothing waits.
    assert_eq!(
        taken(&gateway, &to_inbox("two"))["restart_needed"],
        json!([])
    );
    ends_well(gateway);
}

#[test]
fn reloads_that_meet_come_one_after_the_other() {
    let gateway = started(&to_inbox("one"));
    gateway.configure(&to_inbox("two"));
    let reloads = 8;
    let mut generations: Vec<u64> = thread::scope(|scope| {
        let asked: Vec<_> = (0..reloads)
            .map(|_| scope.spawn(|| reload(&gateway)))
            .collect();
        let answer = |asked: thread::ScopedJoinHandle<'_, Response>| {
            let answer = asked.join().expect("it asks");
            assert_eq!(answer.status, 200, "{answer}");
            answer.json().expect("JSON")["generation"]
                .as_u64()
                .expect("a number")
        };
        asked.into_iter().map(answer).collect()
    });
    generations.sort_unstable();
    let expected: Vec<u64> = (2..2 + reloads).collect();
    assert_eq!(generations, expected);
}

#[test]
fn while_it_stops_a_reload_is_refused_for_now() {
    let file = to_inbox("all") + &faulty("hung", "hang") + &route("hung", "hung", "\"hung\"");
    let mut gateway = started(&file);
    assert_eq!(publish(&gateway, "hung", "a"), 202);
    gateway.signal(rustix::process::Signal::TERM);
    wait_until("it stops", || {
        gateway.ready().is_ok_and(|r| r.status == 503)
    });
    gateway.signal(rustix::process::Signal::HUP);
    let answer = reload(&gateway);
    assert_eq!(answer.status, 503, "{answer}");
    assert_eq!(
        answer.json().expect("JSON")["type"],
        "urn:causeway:problem:stopping"
    );
    assert!(gateway.ended().is_none(), "it settles what it can");
    wait_until("its end", || {
        gateway.ended().is_some_and(|status| status.success())
    });
}

#[test]
fn limits_change_live_up_to_those_of_the_start() {
    let with = |limits: &str| to_inbox("#") + limits;
    let gateway = started(&with("[limits]\npayload = \"10B\"\ntopic_levels = 2\n"));
    let status = |topic: &str, body: &[u8]| {
        let answer = gateway
            .client(PATIENCE)
            .post(&format!("/v1/topics/{topic}"), &[], body);
        answer.unwrap_or_else(|t| panic!("publish: {t}")).status
    };
    assert_eq!(
        (status("a/b/c", b""), status("a", b"0123456789")),
        (400, 202)
    );
    let answer = taken(
        &gateway,
        &with("[limits]\npayload = \"5B\"\ntopic_levels = 3\n"),
    );
    assert_eq!(answer["restart_needed"], json!([]));
    assert_eq!(
        (status("a/b/c", b""), status("a", b"0123456789")),
        (202, 413)
    );
    let answer = taken(&gateway, &with("[limits]\npayload = \"20B\"\n"));
    assert_eq!(lines(&answer["restart_needed"]), ["[limits] payload"]);
    assert_eq!(
        (status("a", b"0123456789"), status("a", b"0123456789x")),
        (202, 413)
    );
    ends_well(gateway);
}

/// Else the page would grow by each name that a file ever had.
#[test]
fn what_a_route_passed_over_is_counted_until_the_route_goes() {
    let skipping = |name: &str| {
        let route = route(name, "#", "\"inbox\"");
        to_inbox("#") + &route + "when = \"payload.n == 1\"\non_error = \"skip\"\n"
    };
    let skipped = |name: &str| format!("causeway_route_skipped_total{{route=\"{name}\"}} 1\n");
    let gateway = started(&skipping("old"));
    assert_eq!(publish(&gateway, "x", "no JSON"), 202);
    assert!(metrics_page(&gateway).contains(&skipped("old")));
    taken(&gateway, &(skipping("old") + &stream("other")));
    assert!(
        metrics_page(&gateway).contains(&skipped("old")),
        "it stayed"
    );
    taken(&gateway, &skipping("new"));
    assert_eq!(publish(&gateway, "x", "none either"), 202);
    let page = metrics_page(&gateway);
    assert!(page.contains(&skipped("new")), "{page}");
    assert!(!page.contains("route=\"old\""), "{page}");
    ends_well(gateway);
}
