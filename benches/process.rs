//! Figures of the real process: how long it takes to come back, and how much memory it needs.

use super::support::load::{Load, load};
use super::support::metrics;
use super::support::process::{Gateway, START_LIMIT, program};
use super::{Row, Size};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const GIB: u64 = 1 << 30;
const MIB: f64 = 1_048_576.0;
const RECOVERY_ROUNDS: usize = 3;
/// How long the gateway may work off what it was given before a figure is taken.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);

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

[destinations.hung]
type = "faulty"
script = "hang"
record = "hung.record"
backlog = "32GiB"

[[routes]]
name = "hung"
topic = "all/#"
to = ["hung"]
"#;

/// A journal of 10 GiB that is owed to a destination, a million ids, SIGKILL in the middle of publishing.
pub fn recovery_after_kill(size: Size) -> Vec<Row> {
    let settings = HUNG.replace(
        "[destinations",
        "[dedup]\nwindow = \"24h\"\n\n[destinations",
    );
    let mut gateway = Gateway::new(&program(), &settings);
    gateway.start().expect("it starts");
    let (bytes, ids) = (size.of(10 * GIB), size.of(1_000_000));
    let large = 64 * 1024;
    load(
        &gateway,
        &Load {
            messages: bytes / large,
            payload_bytes: large,
            ..Load::new("all/large")
        },
    );
    load(
        &gateway,
        &Load {
            messages: ids,
            with_ids: true,
            ..Load::new("all/x")
        },
    );
    let mut took = Vec::new();
    for _ in 0..RECOVERY_ROUNDS {
        gateway.kill();
        took.push(start(&mut gateway));
    }
    let what = format!(
        "start after SIGKILL: {:.1} GiB, {ids} ids",
        bytes as f64 / GIB as f64
    );
    vec![Row {
        what,
        figure: times(&took),
        aim: "< 2 s",
    }]
}

pub fn recovery_after_stop(size: Size) -> Vec<Row> {
    let mut gateway = Gateway::new(&program(), STREAM);
    gateway.start().expect("it starts");
    let ids = size.of(100_000);
    load(
        &gateway,
        &Load {
            messages: ids,
            with_ids: true,
            ..Load::new("all/x")
        },
    );
    let mut took = Vec::new();
    for _ in 0..RECOVERY_ROUNDS {
        gateway.terminate(START_LIMIT).expect("it stops");
        took.push(start(&mut gateway));
    }
    let what = format!("start after SIGTERM: {ids} ids");
    vec![Row {
        what,
        figure: times(&took),
        aim: "< 50 ms",
    }]
}

/// Memory at rest, and for each id in the window.
pub fn rss_ids(size: Size) -> Vec<Row> {
    let mut gateway = Gateway::new(&program(), STREAM);
    gateway.start().expect("it starts");
    let idle = rss_bytes(&gateway);
    let ids = size.of(1_000_000);
    // What traffic costs by itself is not to be charged to the ids.
    load(
        &gateway,
        &Load {
            messages: ids,
            ..Load::new("all/x")
        },
    );
    wait_until_settled(&gateway);
    let before = rss_bytes(&gateway);
    load(
        &gateway,
        &Load {
            messages: ids,
            with_ids: true,
            ..Load::new("all/x")
        },
    );
    wait_until_settled(&gateway);
    let each = rss_bytes(&gateway).saturating_sub(before) as f64 / ids as f64;
    vec![
        Row {
            what: "RSS, idle".into(),
            figure: mib(idle),
            aim: "< 20 MiB",
        },
        Row {
            what: format!("RSS for each of {ids} ids"),
            figure: format!("{each:.0} bytes"),
            aim: "≤ 90 bytes",
        },
    ]
}

/// Ten million messages of one key, none of which is ever delivered.
pub fn rss_stuck_key(size: Size) -> Vec<Row> {
    let mut gateway = Gateway::new(&program(), HUNG);
    gateway.start().expect("it starts");
    let idle = rss_bytes(&gateway);
    let messages = size.of(10_000_000);
    let stuck = Load {
        messages,
        payload_bytes: 16,
        key: Some("stuck"),
        ..Load::new("all/x")
    };
    load(&gateway, &stuck);
    let more = rss_bytes(&gateway).saturating_sub(idle);
    gateway.kill();
    let took = start(&mut gateway);
    let again = rss_bytes(&gateway).saturating_sub(idle);
    let row = |what: &str, bytes| Row {
        what: format!("RSS above idle, {messages} messages behind one stuck key{what}"),
        figure: mib(bytes),
        aim: "≤ 64 MiB",
    };
    let what = format!("start after SIGKILL: {messages} messages owed");
    let start = Row {
        what,
        figure: times(&[took]),
        aim: "< 2 s",
    };
    vec![
        row("", more),
        row(", after a kill and a start", again),
        start,
    ]
}

/// From the spawn until it is ready.
fn start(gateway: &mut Gateway) -> Duration {
    let started = Instant::now();
    gateway.start().expect("it starts again");
    started.elapsed()
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
        thread::sleep(Duration::from_millis(100));
    }
}

/// Resident memory of the running process.
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

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB)
}

fn times(all: &[Duration]) -> String {
    let all: Vec<String> = all
        .iter()
        .map(|took| format!("{:.3} s", took.as_secs_f64()))
        .collect();
    all.join(", ")
}
