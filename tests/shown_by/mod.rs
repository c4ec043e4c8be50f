//! The big scenarios that a release is shown by: at a small size in every test run, at full size
//! with the release build in `cargo xtask torture --shown-by`.

mod foreign_pages;
mod fsync_fails;
mod full_disk;
mod hanging;
mod kill_nine;
mod rabbitmq_stopped;

use crate::support::client::{Client, Response};
use crate::support::metrics::{self, CountsByDestination};
use crate::support::process::Gateway;
use crate::support::streams::stream_ids;
use std::env;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a client goes on with one message before the scenario counts as stuck.
const INSIST_LIMIT: Duration = Duration::from_secs(120);

/// Whether to run at the size that the release is shown at.
fn full_size() -> bool {
    env::var("CAUSEWAY_TEST_SCALE").is_ok_and(|scale| scale == "full")
}

fn publish(client: &mut Client, topic: &str, id: &str, body: &[u8]) -> Option<Response> {
    let headers = [("idempotency-key", id), ("content-type", "text/plain")];
    client
        .post(&format!("/v1/topics/{topic}"), &headers, body)
        .ok()
}

/// Publishes with the same id until it is acknowledged.
///
/// # Panics
/// If it is refused for good, or for too long.
fn insist(client: &mut Client, topic: &str, id: &str, body: &[u8]) {
    let deadline = Instant::now() + INSIST_LIMIT;
    loop {
        match publish(client, topic, id, body) {
            Some(response) if matches!(response.status, 200 | 202) => return,
            Some(response) if response.status == 503 => {}
            Some(response) => panic!("publish of {id}: {response}"),
            None => {}
        }
        assert!(
            Instant::now() < deadline,
            "publish of {id}: no answer for {INSIST_LIMIT:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// What `/metrics` says now.
fn counts(gateway: &Gateway) -> CountsByDestination {
    let response = gateway
        .health_client()
        .get("/metrics")
        .expect("health goes on answering");
    assert_eq!(response.status, 200, "/metrics: {response}");
    metrics::counts(&String::from_utf8_lossy(&response.body)).unwrap()
}

fn pending(counts: &CountsByDestination) -> u64 {
    counts.values().map(|counts| counts.pending).sum()
}

/// Past the test harness, which swallows what a passing test prints.
fn say(line: &str) {
    // Nothing better can be done if standard error is closed.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
