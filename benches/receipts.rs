//! What it costs to hand receipts back: many tasks of a runtime, each with one message in flight,
//! through the journal's own threads.
//!
//! Records are encoded in the tasks. A lane that delivers at once settles what is accepted.

use super::house::{House, Sort, delivered, message};
use super::report::{Row, Size, rate};
use super::support::ratio::median;
use causeway::journal::{self, Handle, LaneFeed, Submission, send_receipts};
use causeway::lane::Feed;
use causeway::log::disk::RealDisk;
use causeway::message::{LaneId, RouteId};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const IN_FLIGHT: [u64; 2] = [64, 1024];
const MESSAGES: u64 = 1_000_000;
const ROUNDS: usize = 5;
const WORKERS: usize = 2;
const PAYLOAD_BYTES: usize = 128;
const MAX_IDS: usize = 200_000;
const TAKE_BYTES: usize = 4 << 20;
/// Of utime and stime in /proc/self/stat.
const TICKS_A_SECOND: f64 = 100.0;

pub fn receipts(size: Size) -> Vec<Row> {
    IN_FLIGHT
        .iter()
        .map(|in_flight| at(*in_flight, size))
        .collect()
}

struct Round {
    took: Duration,
    cpu_seconds: f64,
    batches: u64,
}

fn at(in_flight: u64, size: Size) -> Row {
    let messages = size.of(MESSAGES);
    let rounds: Vec<Round> = (0..size.rounds(ROUNDS))
        .map(|_| round(in_flight, messages))
        .collect();
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let took = Duration::from_secs_f64(of(|r| r.took.as_secs_f64()));
    let cpu = of(|r| r.cpu_seconds) * 1e6 / messages as f64;
    let batch = messages as f64 / of(|r| r.batches as f64);
    Row {
        what: format!("`Handle::submit`, {in_flight} in flight"),
        figure: format!(
            "{} acknowledged, {cpu:.2} CPU-s a million, {batch:.0} a batch",
            rate(messages, took)
        ),
        aim: "",
    }
}

fn round(in_flight: u64, messages: u64) -> Round {
    let dir = tempfile::tempdir().expect("a folder");
    let house = House::new(dir.path(), MAX_IDS);
    let (lane, route) = (house.lane, house.route);
    let (running, handle, receipts) =
        journal::start(house.journal, house.keeper, Arc::new(RealDisk)).expect("threads");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.spawn(send_receipts(receipts));
    runtime.spawn(settle_all(handle.clone(), lane));
    let counters = handle.shared();
    let before = counters.counters.batches.load(Ordering::Relaxed);
    let (cpu, started) = (cpu_seconds(), Instant::now());
    runtime.block_on(publish_all(&handle, (lane, route), in_flight, messages));
    let took = started.elapsed();
    let cpu_seconds = cpu_seconds() - cpu;
    let batches = counters.counters.batches.load(Ordering::Relaxed) - before;
    runtime.shutdown_background();
    running.stop();
    Round {
        took,
        cpu_seconds,
        batches,
    }
}

async fn publish_all(handle: &Handle, to: (LaneId, RouteId), in_flight: u64, messages: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let sort = Sort::of(PAYLOAD_BYTES).with_id();
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (handle, next, sort) = (handle.clone(), Arc::clone(&next), sort.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        return;
                    }
                    let id = Some(format!("message-{number:010}"));
                    let (message, print) = message(handle.shared(), to.0, to.1, &sort, id);
                    let answer = handle.submit(Submission::new(message, print));
                    let answer = answer.expect("it runs").await;
                    answer.expect("the journal runs").expect("accepted");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
}

/// A lane whose destination takes everything at once.
async fn settle_all(handle: Handle, lane: LaneId) {
    let feed: LaneFeed = handle.feed(lane).expect("the lane is in the catalog");
    loop {
        let taken = feed
            .take(usize::MAX, TAKE_BYTES)
            .expect("the disk is sound");
        let (Some(first), Some(last)) = (taken.first(), taken.last()) else {
            feed.more().await;
            continue;
        };
        let (first, end, size) = (
            first.at.position.0,
            last.at.position.0 + 1,
            first.size_bytes,
        );
        drop(taken);
        if handle
            .settle(delivered(lane, first, end, size))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Of this process so far, all threads.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(") ").next().expect("Linux");
    // Fields 14 and 15 of the line are 11 and 12 after the name.
    let ticks = after_name.split(' ').skip(11).take(2);
    let ticks: f64 = ticks.map(|n| n.parse::<f64>().expect("Linux")).sum();
    ticks / TICKS_A_SECOND
}
