//! Publishes over HTTP: the gateway beside the same HTTP front with a journal that does nothing.
//!
//! Server and load are two processes on the same machine, which share its cores. Each row takes both
//! servers turn about. The gateway does all of its work: it journals, delivers to a stream and syncs both.

pub mod client;
pub mod null;

use self::client::{Shape, closed, open};
use super::bare::{Bare, noise};
use super::child::Server;
use super::log::Writer;
use super::report::{Row, Size, rate};
use super::support::process::{Gateway, program};
use super::support::ratio::{interleaved, median};
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const CONNECTIONS: [usize; 4] = [1, 64, 256, 1024];
const BODIES: [usize; 2] = [256, 4096];
const BATCH_LINES: usize = 100;
const BATCH_CONNECTIONS: usize = 8;
/// Of utime and stime in /proc/PID/stat.
const TICKS_A_SECOND: f64 = 100.0;
const SLOW_SYNC_MS: u64 = 5;
const SLOW_SYNC: &str = "fsync of 5 ms more";
/// What the journal writes for a publish of 256 bytes, about.
const RECORD_BYTES: usize = 512;

const SETTINGS: &str = r#"
[journal]
max_bytes = "64GiB"

[destinations.inbox]
type = "stream"
retention = { max_bytes = "256MiB" }

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]
"#;

pub fn http(size: Size) -> Vec<Row> {
    let time = Duration::from_millis(size.of(2_000));
    let null = Server::start(null::SERVE);
    let mut rows = Vec::new();
    let plain = plain();
    for body in BODIES {
        for connections in CONNECTIONS {
            let shape = Shape::publish(body, connections);
            rows.push(beside(&plain, &null, &shape, size, time, "fsync"));
        }
    }
    rows.push(tail(&plain, &null, size, time));
    rows.push(batches(&plain, size, time));
    if let Some(slow) = slow() {
        for connections in [1, 256] {
            let shape = Shape::publish(256, connections);
            rows.push(beside(&slow, &null, &shape, size, time, SLOW_SYNC));
        }
    }
    rows
}

/// Everything on: routed, known by their ids, durable in the journal and in a stream.
pub(super) fn plain() -> Gateway {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().expect("it starts");
    gateway
}

/// None without the faults build, whose disk can be slowed down.
fn slow() -> Option<Gateway> {
    let Some(program) = super::memory::faults_program() else {
        eprintln!("left out: a slow fsync needs the faults build; run it by `cargo xtask bench`");
        return None;
    };
    let mut gateway = Gateway::new(&program, SETTINGS);
    gateway.variable("CAUSEWAY_SYNC_DELAY_MS", &SLOW_SYNC_MS.to_string());
    gateway.start().expect("it starts");
    Some(gateway)
}

/// What one run of the load came to.
struct Run {
    rate: f64,
    cpu_a_million: f64,
}

fn run(address: SocketAddr, pid: u32, shape: &Shape, time: Duration) -> Run {
    let before = cpu_seconds(pid);
    let started = Instant::now();
    let done = closed(address, shape, time).len();
    let took = started.elapsed().as_secs_f64();
    Run {
        rate: done as f64 / took,
        cpu_a_million: (cpu_seconds(pid) - before) * 1e6 / done as f64,
    }
}

fn beside(
    gateway: &Gateway,
    null: &Server,
    shape: &Shape,
    size: Size,
    time: Duration,
    sync: &str,
) -> Row {
    let (mut real, mut nothing, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let pid = gateway.pid().expect("it runs");
    let mut one = || {
        real.push(run(gateway.http, pid, shape, time));
        Duration::from_secs_f64(1.0 / real.last().expect("pushed").rate)
    };
    let mut two = || {
        syncs.push(sync_time(size));
        nothing.push(run(null.address, null.pid(), shape, time));
        Duration::from_secs_f64(1.0 / nothing.last().expect("pushed").rate)
    };
    let ratio = interleaved(size.rounds(ROUNDS), &mut one, &mut two);
    let of = |all: &[Run], figure: fn(&Run) -> f64| median(all.iter().map(figure).collect());
    let (real_rate, null_rate) = (of(&real, |r| r.rate), of(&nothing, |r| r.rate));
    let sync_seconds = median(syncs)
        + if sync == SLOW_SYNC {
            SLOW_SYNC_MS as f64 / 1e3
        } else {
            0.0
        };
    let possible = 1.0 / (1.0 / null_rate + sync_seconds);
    let (least, most) = ratio.spread();
    let (aim, compared) = if shape.connections == 1 {
        let of_possible = real_rate / possible;
        (
            "≥ 0.8 of 1 / (null latency + fsync)",
            format!("{of_possible:.2} of what null and {sync} make possible"),
        )
    } else {
        (
            "≥ 0.7; ≤ 20 CPU-s a million",
            format!("{:.2} ({least:.2}–{most:.2}) of null", ratio.rate()),
        )
    };
    Row {
        what: format!(
            "publishes of {} bytes, {} connections, {sync}",
            shape.body_bytes, shape.connections
        ),
        figure: format!(
            "{compared}: {:.1} k/s against {:.1} k/s; CPU-s a million {:.1} against {:.1}; fsync {:.2} ms",
            real_rate / 1e3,
            null_rate / 1e3,
            of(&real, |r| r.cpu_a_million),
            of(&nothing, |r| r.cpu_a_million),
            sync_seconds * 1e3,
        ),
        aim,
    }
}

/// One `pwrite` and `fdatasync` of a record, the median of some.
fn sync_time(size: Size) -> f64 {
    median(sync_times(size.of(300) as usize))
}

fn sync_times(count: usize) -> Vec<f64> {
    let dir = tempfile::tempdir().expect("a folder");
    let mut bare = Bare::new(dir.path());
    let bytes = noise(RECORD_BYTES);
    (0..count)
        .map(|_| bare.run(&bytes, 1).total.as_secs_f64())
        .collect()
}

/// Open loop: publishes at set times, half as many as the gateway could take; how long after its
/// time the slowest hundredth has its answer.
fn tail(gateway: &Gateway, null: &Server, size: Size, time: Duration) -> Row {
    let shape = Shape::publish(256, 256);
    let most = run(gateway.http, gateway.pid().expect("it runs"), &shape, time).rate;
    let half = most / 2.0;
    let long = time * 3;
    let real = open(gateway.http, &shape, half, long);
    let nothing = open(null.address, &shape, half, long);
    let sync = percentile(&mut sync_times(size.of(2_000) as usize), 0.99);
    let (mut real, mut nothing) = (real, nothing);
    let (p50, p99) = (percentile(&mut real, 0.5), percentile(&mut real, 0.99));
    let null_p99 = percentile(&mut nothing, 0.99);
    Row {
        what: format!(
            "p99 at {:.1} k/s, half of the most, 256 connections, open loop",
            half / 1e3
        ),
        figure: format!(
            "{:.2} ms (p50 {:.2} ms) against 2 × {:.2} ms (p99 of fsync) + {:.2} ms (p99 of null) = {:.2} ms",
            p99 * 1e3,
            p50 * 1e3,
            sync * 1e3,
            null_p99 * 1e3,
            (2.0 * sync + null_p99) * 1e3
        ),
        aim: "no more",
    }
}

pub(super) fn percentile(all: &mut [f64], part: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    let at = (all.len() as f64 * part) as usize;
    all.get(at.min(all.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Lines of batches, beside the log alone at batches of as many records.
fn batches(gateway: &Gateway, size: Size, time: Duration) -> Row {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = Writer::new(&dir.path().join("log"));
    let shape = Shape::batch(256, BATCH_LINES, BATCH_CONNECTIONS);
    let pid = gateway.pid().expect("it runs");
    let mut cpu = Vec::new();
    let log_batches = size.of(4_000);
    let ratio = interleaved(
        size.rounds(ROUNDS),
        || {
            let got = run(gateway.http, pid, &shape, time);
            cpu.push(got.cpu_a_million / BATCH_LINES as f64);
            Duration::from_secs_f64(1.0 / (got.rate * BATCH_LINES as f64))
        },
        || {
            log.run(BATCH_LINES as u64, log_batches).total
                / (log_batches * BATCH_LINES as u64) as u32
        },
    );
    let (least, most) = ratio.spread();
    let (lines, records) = ratio.medians();
    Row {
        what: format!(
            "lines in batches of {BATCH_LINES}, {BATCH_CONNECTIONS} connections, against the log alone"
        ),
        figure: format!(
            "{:.2} ({least:.2}–{most:.2}): {} against {}; CPU-s a million {:.1}",
            ratio.rate(),
            rate(1_000_000, lines * 1_000_000),
            rate(1_000_000, records * 1_000_000),
            median(cpu),
        ),
        aim: "≥ 0.4",
    }
}

pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    cpu_seconds_of(&stat)
}

/// By what stands in `/proc/PID/stat`.
pub(super) fn cpu_seconds_of(stat: &str) -> f64 {
    // Behind the name, which may hold anything: state is the first, utime and stime are the 12th and 13th.
    let fields = stat.rsplit(") ").next().expect("it has a name");
    let ticks = fields.split(' ').skip(11).take(2);
    ticks
        .map(|t| t.parse::<f64>().expect("a number"))
        .sum::<f64>()
        / TICKS_A_SECOND
}
