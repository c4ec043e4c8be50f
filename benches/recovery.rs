//! How long the gateway takes to come back: from the start of its process until `/readyz` says 200,
//! and `journal::open` of the same folder alone.

use super::house::{House, Sort, options};
use super::report::{Row, Size, times};
use super::support::load::{Load, load};
use super::support::process::{Gateway, START_LIMIT, program};
use causeway::journal;
use causeway::log::disk::RealDisk;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const GIB: u64 = 1 << 30;
const ROUNDS: usize = 5;
const LARGE_BYTES: u64 = 64 * 1024;
const MAX_IDS: usize = 2_000_000;
/// After the last checkpoint: a whole segment of the largest size, which is what a kill can leave.
const TAIL_MESSAGES: u64 = 190_000;

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

/// What the journal owes to `inbox`, which is no longer in the file, is held.
const HELD: &str = r#"
[journal]
max_bytes = "64GiB"

[dedup]
window = "24h"
max_entries = 2_000_000

[destinations.other]
type = "stream"

[[routes]]
name = "all"
topic = "all/#"
to = ["other"]
"#;

/// A journal of 10 GiB, all owed, with a million ids. Its data is made through the library, the last
/// of it without a checkpoint, as SIGKILL would leave it.
pub fn after_kill(size: Size) -> Vec<Row> {
    let mut gateway = Gateway::new(&program(), HELD);
    let data = gateway.data();
    let (bytes, ids) = (size.of(10 * GIB), size.of(1_000_000));
    let mut next = bytes / LARGE_BYTES;
    let mut house = House::new(&data, MAX_IDS);
    house.publish(&Sort::of(LARGE_BYTES as usize), 0, next);
    house.publish(&small(), next, ids);
    house.checkpoint();
    next += ids;
    drop(house);
    let (mut alone, mut took) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds(ROUNDS) {
        add_tail(&data, &mut next, size);
        alone.push(open(&data));
        add_tail(&data, &mut next, size);
        took.push(start(&mut gateway));
        gateway.kill();
    }
    let what = format!(
        "after a kill: {:.1} GiB, {} ids, {} messages after the last checkpoint",
        bytes as f64 / GIB as f64,
        next - bytes / LARGE_BYTES,
        size.of(TAIL_MESSAGES),
    );
    rows(&what, "< 2 s", &took, &alone)
}

/// A clean stop with 100,000 ids, all settled.
pub fn after_stop(size: Size) -> Vec<Row> {
    let mut gateway = Gateway::new(&program(), STREAM);
    let first = start(&mut gateway);
    let ids = size.of(100_000);
    let messages = Load {
        messages: ids,
        with_ids: true,
        ..Load::new("all/x")
    };
    load(&gateway, &messages);
    let (mut alone, mut took) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds(ROUNDS) {
        gateway.terminate(START_LIMIT).expect("it stops");
        alone.push(open(&gateway.data()));
        took.push(start(&mut gateway));
    }
    let what = format!("after a clean stop: {ids} ids");
    let mut rows = rows(&what, "< 50 ms", &took, &alone);
    rows.push(Row {
        what: "start in an empty folder".into(),
        figure: times(&[first]),
        aim: "",
    });
    rows
}

fn small() -> Sort {
    Sort::of(256).with_id()
}

fn rows(what: &str, aim: &'static str, took: &[Duration], alone: &[Duration]) -> Vec<Row> {
    vec![
        Row {
            what: format!("start to ready {what}"),
            figure: times(took),
            aim,
        },
        Row {
            what: format!("`journal::open` alone {what}"),
            figure: times(alone),
            aim: "",
        },
    ]
}

/// Publishes on, and "kills" the journal before its next checkpoint.
fn add_tail(data: &Path, next: &mut u64, size: Size) {
    let mut house = House::new(data, MAX_IDS);
    let count = size.of(TAIL_MESSAGES);
    house.publish_unchecked(&small(), *next, count);
    *next += count;
}

fn open(data: &Path) -> Duration {
    let started = Instant::now();
    let opened = journal::open(Arc::new(RealDisk), options(data, MAX_IDS));
    let took = started.elapsed();
    drop(opened.expect("a journal"));
    took
}

/// From the spawn until it is ready.
fn start(gateway: &mut Gateway) -> Duration {
    let started = Instant::now();
    gateway.start().expect("it starts");
    started.elapsed()
}
