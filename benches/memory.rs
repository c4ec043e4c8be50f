//! How much memory the real process takes.

use super::house::{House, Sort};
use super::report::{Row, Size, mib};
use super::support::load::{Load, load};
use super::support::metrics;
use super::support::process::{Gateway, START_LIMIT, program};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How long the gateway may work off what it was given before a figure is taken.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);
/// Memory is read when it has not changed for this long.
const STEADY: Duration = Duration::from_secs(2);
const STEADY_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const MAX_IDS: usize = 2_000_000;

const STREAM: &str = r#"
[journal]
max_bytes = "64GiB"

[dedup]
window = "24h"
max_entries = 2_000_000

[destinations.inbox]
type = "stream"
retention = { max_bytes = "64MiB" }

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]
"#;

/// Nothing that it is given is ever delivered.
const HUNG: &str = r#"
[journal]
max_bytes = "64GiB"

[destinations.inbox]
type = "faulty"
script = "hang"
record = "hung.record"
backlog = "32GiB"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]
"#;

/// Memory at rest, and for each id in the window: over HTTP, and after a restart.
pub fn ids(size: Size) -> Vec<Row> {
    let mut gateway = Gateway::new(&program(), STREAM);
    gateway.start().expect("it starts");
    let idle = steady_rss(&gateway);
    let ids = size.of(1_000_000);
    // What traffic costs by itself is not to be charged to the ids.
    let plain = Load {
        messages: ids,
        ..Load::new("all/x")
    };
    let with_ids = Load {
        with_ids: true,
        ..plain
    };
    load(&gateway, &plain);
    wait_until_settled(&gateway);
    let before = steady_rss(&gateway);
    load(&gateway, &with_ids);
    wait_until_settled(&gateway);
    let after = steady_rss(&gateway);
    gateway.terminate(START_LIMIT).expect("it stops");
    gateway.start().expect("it starts again");
    let again = steady_rss(&gateway);
    let each = |more: u64| format!("{:.0} bytes", more as f64 / ids as f64);
    let row = |what: String, figure, aim| Row { what, figure, aim };
    vec![
        row("RSS, idle".into(), mib(idle), "< 20 MiB"),
        row(
            format!("RSS above idle after {ids} messages without ids"),
            mib(before.saturating_sub(idle)),
            "",
        ),
        row(
            format!("RSS for each of {ids} ids more"),
            each(after.saturating_sub(before)),
            "≤ 90 bytes",
        ),
        row(
            format!("RSS for each of {ids} ids, after a restart, above idle"),
            each(again.saturating_sub(idle)),
            "≤ 90 bytes",
        ),
    ]
}

/// Ten million messages of one key, none of which is ever delivered: made through the library. A
/// tenth of them over HTTP as well, because traffic leaves other traces than a start.
pub fn stuck_key(size: Size) -> Vec<Row> {
    let Some(program) = faults_program() else {
        eprintln!(
            "left out: it needs the faults build's hanging destination; run it by `cargo xtask bench`"
        );
        return Vec::new();
    };
    let mut gateway = Gateway::new(&program, HUNG);
    gateway.start().expect("it starts");
    let idle = steady_rss(&gateway);
    let live = size.of(1_000_000);
    let stuck = Load {
        messages: live,
        payload_bytes: 16,
        key: Some("stuck"),
        ..Load::new("all/x")
    };
    load(&gateway, &stuck);
    let more = steady_rss(&gateway).saturating_sub(idle);
    gateway.kill();
    let messages = size.of(10_000_000) - live;
    let mut house = House::new(&gateway.data(), MAX_IDS);
    house.publish(&Sort::of(16).key("stuck"), 0, messages);
    drop(house);
    gateway.start().expect("it starts again");
    let again = steady_rss(&gateway).saturating_sub(idle);
    let row = |count: u64, how: &str, bytes| Row {
        what: format!("RSS above idle, {count} messages behind one stuck key, {how}"),
        figure: mib(bytes),
        aim: "≤ 64 MiB",
    };
    vec![
        row(live, "just given over HTTP", more),
        row(messages + live, "after a start", again),
    ]
}

/// Built by `cargo xtask bench`.
pub(super) fn faults_program() -> Option<PathBuf> {
    env::var_os("CAUSEWAY_BENCH_FAULTS_BIN").map(PathBuf::from)
}

fn wait_until_settled(gateway: &Gateway) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let response = gateway.health_client().get("/metrics").expect("it answers");
        let counts = metrics::counts(&String::from_utf8_lossy(&response.body)).expect("metrics");
        if counts.values().all(|counts| counts.pending == 0) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "pending after {SETTLE_LIMIT:?}: {counts:?}"
        );
        thread::sleep(POLL);
    }
}

/// Resident memory of the running process, once it doesn't change any more.
fn steady_rss(gateway: &Gateway) -> u64 {
    let deadline = Instant::now() + STEADY_LIMIT;
    let (mut last, mut since) = (rss_bytes(gateway), Instant::now());
    while since.elapsed() < STEADY && Instant::now() < deadline {
        thread::sleep(POLL);
        let now = rss_bytes(gateway);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

fn rss_bytes(gateway: &Gateway) -> u64 {
    let pid = gateway.pid().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("Linux");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("Linux");
    kib * 1024
}
