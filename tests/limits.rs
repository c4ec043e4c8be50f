//! The limits that the door and the lanes keep, met on the real process: the refusal that a client
//! sees, the metric that counts it, and that others go on. docs/LIMITS.md has them all.

use crate::support::client::{Client, Response};
use crate::support::metrics::{self, Sample};
use crate::support::process::{Gateway, program};
use crate::support::wait::wait_until;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const TAKEN: [u16; 2] = [200, 202];

const SETTINGS: &str = r##"
[dedup]
max_entries = 8

[journal]
max_bytes = "32MiB"

[destinations.inbox]
type = "stream"

[destinations.once]
type = "stream"

[destinations.small]
type = "faulty"
script = "hang"
record = "small.record"
backlog = "64KiB"

[destinations.hung]
type = "faulty"
script = "hang"
record = "hung.record"

[destinations.picky]
type = "faulty"
script = "reject"
record = "picky.record"
dead_letters = { max_bytes = "1MiB" }

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]

[[routes]]
name = "once"
topic = "once"
to = [{ destination = "once", guarantee = "exactly_once" }]

[[routes]]
name = "small"
topic = "small"
to = ["small", "inbox"]

[[routes]]
name = "hung"
topic = "hung"
to = ["hung"]

[[routes]]
name = "picky"
topic = "picky"
to = ["picky"]
"##;

fn started() -> Gateway {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap();
    gateway
}

fn post(client: &mut Client, topic: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let got = client.post(&format!("/v1/topics/{topic}"), headers, body);
    got.unwrap_or_else(|e| panic!("{topic}: {e}"))
}

/// The value of the sample with this label; 0 where it isn't there.
fn metric(gateway: &Gateway, name: &str, (label, value): (&str, &str)) -> f64 {
    let page = gateway.health_client().get("/metrics").expect("health");
    let samples = metrics::parse(&String::from_utf8_lossy(&page.body)).expect("metrics");
    let is_it =
        |s: &&Sample| s.name == name && s.labels.get(label).is_some_and(|found| found == value);
    samples.iter().find(is_it).map_or(0.0, |s| s.value)
}

/// It is what clients and metrics say of it.
fn assert_refused(gateway: &Gateway, got: &Response, status: u16, kind: &str, reason: &str) {
    assert_eq!(got.status, status, "{got}");
    let body = got.json().expect("a problem");
    assert_eq!(body["type"], format!("urn:causeway:problem:{kind}"));
    assert_eq!(got.header("retry-after").is_some(), status == 503, "{got}");
    let by_door = metric(gateway, "causeway_refusals_total", ("reason", reason));
    let by_http = metric(gateway, "causeway_http_problems_total", ("type", kind));
    assert!(by_door >= 1.0, "{reason} isn't counted by the door");
    assert_eq!(by_http, by_door, "{kind}");
}

/// Publishes until it is refused; how many it took, and the refusal.
fn fill(client: &mut Client, topic: &str, body: &[u8], most: usize) -> (usize, Response) {
    for taken in 0..most {
        let id = format!("{topic}-{taken}");
        let got = post(client, topic, &[("idempotency-key", &id)], body);
        if !TAKEN.contains(&got.status) {
            return (taken, got);
        }
    }
    panic!("{topic} took {most} publishes");
}

#[test]
fn an_envelope_has_limits() {
    let gateway = started();
    let mut client = gateway.client(PATIENCE);
    let long = |length: usize| "x".repeat(length);
    let names: Vec<String> = (0..65).map(|n| format!("causeway-header-h{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let (id, key, content_type) = (long(257), long(4_097), long(257));
    let halves = [long(8_192), long(8_192)];
    let large = [
        ("causeway-header-a", halves[0].as_str()),
        ("causeway-header-b", halves[1].as_str()),
    ];
    for (headers, status, kind, setting) in [
        (
            &[("idempotency-key", id.as_str())][..],
            413,
            "too-large",
            "fixed",
        ),
        (&[("causeway-key", key.as_str())], 413, "too-large", "fixed"),
        (
            &[("content-type", content_type.as_str())],
            413,
            "too-large",
            "fixed",
        ),
        (&large, 413, "too-large", "limits.header_bytes"),
        (&many, 400, "too-many", "limits.headers"),
    ] {
        let got = post(&mut client, "all/x", headers, b"x");
        assert_refused(&gateway, &got, status, kind, &kind.replace('-', "_"));
        assert_eq!(got.json().expect("a problem")["setting"], setting);
    }
    // One less of each.
    let full = [
        ("idempotency-key", &id[1..]),
        ("causeway-key", &key[1..]),
        ("content-type", &content_type[1..]),
    ];
    let headers: Vec<_> = full
        .iter()
        .copied()
        .chain(many[1..].iter().copied())
        .collect();
    let got = post(&mut client, "all/x", &headers, b"x");
    assert!(TAKEN.contains(&got.status), "{got}");
}

#[test]
fn a_full_backlog_refuses_what_goes_there_and_nothing_else() {
    let gateway = started();
    let mut client = gateway.client(PATIENCE);
    let (taken, refused) = fill(&mut client, "small", &[b'x'; 8 << 10], 100);
    assert!((6..=8).contains(&taken), "64 KiB took {taken} times 8 KiB");
    assert_refused(&gateway, &refused, 503, "backlog-full", "backlog_full");
    assert_eq!(refused.json().expect("a problem")["destination"], "small");
    let owed = metric(&gateway, "causeway_lane_owed_bytes", ("lane", "small"));
    let limit = metric(&gateway, "causeway_lane_backlog_bytes", ("lane", "small"));
    assert_eq!(limit, f64::from(64 << 10));
    assert!(owed <= limit && owed > limit / 2.0, "{owed}");
    assert!(TAKEN.contains(&post(&mut client, "all/x", &[], b"x").status));
}

#[test]
fn ids_of_exactly_once_messages_fill_the_window() {
    let gateway = started();
    let mut client = gateway.client(PATIENCE);
    let (taken, refused) = fill(&mut client, "once", b"x", 100);
    assert_eq!(taken, 8);
    assert_refused(&gateway, &refused, 503, "dedup-full", "dedup_full");
    // What needs no id is taken, and what is known is known.
    assert!(TAKEN.contains(&post(&mut client, "all/x", &[], b"x").status));
    let again = post(&mut client, "once", &[("idempotency-key", "once-0")], b"x");
    assert_eq!(
        again.json().expect("a receipt")["duplicate"],
        true,
        "{again}"
    );
}

#[test]
fn ids_of_others_go_before_their_time() {
    let gateway = started();
    let mut client = gateway.client(PATIENCE);
    for n in 0..10 {
        let id = format!("id-{n}");
        let got = post(&mut client, "all/x", &[("idempotency-key", &id)], b"x");
        assert!(TAKEN.contains(&got.status), "{got}");
    }
    let value = |name: &str| {
        let page = gateway.health_client().get("/metrics").expect("health");
        let samples = metrics::parse(&String::from_utf8_lossy(&page.body)).expect("metrics");
        let found = samples.iter().find(|s| s.name == name);
        found.expect("it is there").value
    };
    // It is told with the journal's next step: here that of the last settlement.
    wait_until(PATIENCE, "two evictions", || {
        value("causeway_dedup_evictions_total") >= 2.0
    });
    assert_eq!(value("causeway_dedup_evictions_total"), 2.0);
    assert_eq!(value("causeway_dedup_max_entries"), 8.0);
    assert!(value("causeway_dedup_true_window_seconds") < 600.0);
}

#[test]
fn a_full_journal_refuses() {
    let gateway = started();
    let mut client = gateway.client(PATIENCE);
    let (taken, refused) = fill(&mut client, "hung", &vec![b'x'; 1 << 20], 64);
    // Whole segments, of which some are kept for settlements and for compaction.
    assert!((8..32).contains(&taken), "32 MiB took {taken} times 1 MiB");
    assert_refused(&gateway, &refused, 503, "journal-full", "journal_full");
    let detail = refused.json().expect("a problem")["detail"].to_string();
    assert!(detail.contains("[journal] max_bytes"), "{detail}");
    let reasons = gateway.unready().unwrap();
    let reason = "[journal] max_bytes is reached";
    assert!(reasons.contains(reason), "{reasons}");
    let words = "publishes are refused: [journal] max_bytes is reached";
    wait_until(PATIENCE, words, || gateway.log_tail().contains(words));
}

#[test]
fn full_dead_letters_stop_their_lane_alone() {
    let gateway = started();
    let mut client = gateway.client(PATIENCE);
    for _ in 0..16 {
        let got = post(&mut client, "picky", &[], &vec![b'x'; 256 << 10]);
        assert!(TAKEN.contains(&got.status), "{got}");
    }
    let is_stopped = || {
        let page = gateway.health_client().get("/metrics").expect("health");
        let page = String::from_utf8_lossy(&page.body).into_owned();
        page.contains("causeway_lane_state{lane=\"picky\",state=\"stopped\"} 1\n")
    };
    wait_until(PATIENCE, "the lane stops", is_stopped);
    let limit = metric(
        &gateway,
        "causeway_lane_dead_letter_max_bytes",
        ("lane", "picky"),
    );
    assert_eq!(limit, f64::from(1 << 20));
    assert!(metric(&gateway, "causeway_lane_pending", ("lane", "picky")) > 0.0);
    assert!(TAKEN.contains(&post(&mut client, "all/x", &[], b"x").status));
}
