//! Publishes over gRPC: the gateway beside the same gRPC front with a journal that does nothing, and
//! beside tonic with nothing but receipts.
//!
//! Servers and load are processes on the same machine, which share its cores. Each row takes the servers
//! turn about. The gateway does all of its work, and its time ends when all it took is delivered to the
//! stream. Two variables help to look at one row: `CAUSEWAY_BENCH_ONLY`, a part of its name, and
//! `CAUSEWAY_BENCH_ALONE`, which leaves out all servers but the gateway.

pub mod bare;
pub mod client;
pub mod null;

use self::client::{Shape, Text, publish};
use super::bare::{Bare, noise};
use super::child::Server;
use super::http::{cpu_seconds, percentile, plain};
use super::report::{Row, Size};
use super::support::metrics::{self, Sample};
use super::support::process::Gateway;
use super::support::ratio::median;
use std::env;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const BATCH: u64 = 100;
const TEXT: Text = Text {
    topic: "all/x",
    keys: 0,
};
const WARM_MS: u64 = 15_000;
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);
/// What the journal writes for a message of the load.
const RECORD_BYTES: usize = 345;
const DISK_SYNCS: u64 = 2_000;

pub fn grpc(size: Size) -> Vec<Row> {
    let only = env::var("CAUSEWAY_BENCH_ONLY").unwrap_or_default();
    let mut chosen = rows();
    chosen.retain(|(name, _)| name.contains(&only));
    if chosen.is_empty() {
        eprintln!("no row of `grpc` has {only:?} in its name");
        return Vec::new();
    }
    let gateway = plain();
    warm(&gateway, size);
    let alone = env::var_os("CAUSEWAY_BENCH_ALONE").is_some();
    let others = [("null", null::SERVE), ("bare tonic", bare::SERVE)];
    let others = others.into_iter().filter(|_| !alone);
    let others: Vec<_> = others.map(|(n, word)| (n, Server::start(word))).collect();
    let rows = chosen.into_iter();
    rows.map(|(name, shape)| row(name, shape, &gateway, &others, size))
        .collect()
}

/// Until the window is full and the logs turn over in files that they have, as after a day.
fn warm(gateway: &Gateway, size: Size) {
    let shape = Shape::Stream {
        connections: 16,
        window: 256,
    };
    let time = Duration::from_millis(size.of(WARM_MS));
    let _ = run_gateway(gateway, Load { shape, time });
}

fn rows() -> Vec<(String, Shape)> {
    let stream = |connections| Shape::Stream {
        connections,
        window: 256,
    };
    let unary = Shape::Unary {
        connections: 8,
        calls: 8,
    };
    let batch = Shape::Batch {
        connections: 8,
        messages: BATCH,
    };
    let row = |name: &str, shape| (name.to_owned(), shape);
    vec![
        row("unary, 8 connections with 8 in flight each", unary),
        row("PublishStream, 1 stream, 256 in flight", stream(1)),
        row("PublishStream, 4 streams, 256 in flight each", stream(4)),
        row("PublishStream, 16 streams, 256 in flight each", stream(16)),
        row("PublishBatch of 100, 8 connections", batch),
    ]
}

/// What one run of the load came to.
struct Run {
    rate: f64,
    server_cpu_a_million: f64,
    load_cpu_a_million: f64,
    latencies: Vec<f64>,
}

fn run(address: SocketAddr, pid: u32, load: Load, settled: impl FnOnce(u64)) -> Run {
    let this = std::process::id();
    let before = (cpu_seconds(pid), cpu_seconds(this));
    let done = publish(address, load.shape, TEXT, load.time);
    let load_cpu = cpu_seconds(this) - before.1;
    settled(done.messages);
    let took = done.started.elapsed().as_secs_f64();
    let messages = done.messages as f64;
    Run {
        rate: messages / took,
        server_cpu_a_million: (cpu_seconds(pid) - before.0) * 1e6 / messages,
        load_cpu_a_million: load_cpu * 1e6 / messages,
        latencies: done.latencies,
    }
}

#[derive(Clone, Copy)]
struct Load {
    shape: Shape,
    time: Duration,
}

/// The rounds of a row.
struct Rounds {
    gateway: Vec<Run>,
    messages_a_sync: Vec<f64>,
    /// Records a second of the disk alone, at as many a sync.
    disk: Vec<f64>,
    others: Vec<Vec<Run>>,
}

fn row(
    name: String,
    shape: Shape,
    gateway: &Gateway,
    others: &[(&str, Server)],
    size: Size,
) -> Row {
    let time = Duration::from_millis(size.of(2_000));
    let rounds = rounds(Load { shape, time }, gateway, others, size);
    let mut parts = Vec::new();
    for ((name, _), runs) in others.iter().zip(&rounds.others) {
        parts.push(format!("{} of {name}", ratio(&rounds.gateway, rates(runs))));
    }
    if let (Shape::Batch { .. }, Some(bare)) = (shape, rounds.others.last()) {
        let lower = rates(bare).zip(&rounds.disk).map(|(b, d)| b.min(*d));
        let disk = median(rounds.disk.clone()) / 1e3;
        let of_lower = ratio(&rounds.gateway, lower);
        parts.push(format!(
            "{of_lower} of the lower of bare tonic and a disk loop of {disk:.0} k/s"
        ));
    }
    parts.push(figures(&rounds));
    Row {
        what: name,
        figure: parts.join(", "),
        aim: match shape {
            Shape::Batch { .. } => "≥ 0.7 of null, ≥ 0.5 of the lower",
            Shape::Unary { .. } | Shape::Stream { .. } => "≥ 0.7 of null, ≥ 0.5 of bare tonic",
        },
    }
}

/// Each round begins with another server.
fn rounds(load: Load, gateway: &Gateway, others: &[(&str, Server)], size: Size) -> Rounds {
    let dir = tempfile::tempdir().expect("a folder");
    let mut disk = Bare::new(dir.path());
    let mut rounds = Rounds {
        gateway: Vec::new(),
        messages_a_sync: Vec::new(),
        disk: Vec::new(),
        others: others.iter().map(|_| Vec::new()).collect(),
    };
    let servers = others.len() + 1;
    for round in 0..size.rounds(ROUNDS) {
        for turn in 0..servers {
            let at = (round + turn) % servers;
            if at == others.len() {
                let (run, messages_a_sync) = run_gateway(gateway, load);
                rounds.gateway.push(run);
                rounds.messages_a_sync.push(messages_a_sync);
                let disk = disk_rate(&mut disk, messages_a_sync, size);
                rounds.disk.push(disk);
            } else {
                let server = &others[at].1;
                let run = run(server.address, server.pid(), load, |_| {});
                rounds.others[at].push(run);
            }
        }
    }
    rounds
}

fn run_gateway(gateway: &Gateway, load: Load) -> (Run, f64) {
    let pid = gateway.pid().expect("it runs");
    let before = Seen::now(gateway);
    let mut messages = 0;
    let run = run(gateway.grpc, pid, load, |taken| {
        messages = taken;
        wait_until_settled(gateway, &before, taken);
    });
    let syncs = Seen::now(gateway).syncs - before.syncs;
    (run, messages as f64 / syncs)
}

/// Of the gateway's metrics.
#[derive(Debug)]
struct Seen {
    delivered: f64,
    pending: f64,
    syncs: f64,
}

impl Seen {
    fn now(gateway: &Gateway) -> Self {
        let page = gateway.health_client().get("/metrics").expect("it answers");
        let samples = metrics::parse(&String::from_utf8_lossy(&page.body)).expect("metrics");
        let of = |name: &str| {
            let ours = |lane: Option<&String>| lane.is_none_or(|lane| lane == "inbox");
            let is = |s: &&Sample| s.name == name && ours(s.labels.get("lane"));
            let sample = samples.iter().find(is);
            sample.unwrap_or_else(|| panic!("no {name}")).value
        };
        Self {
            delivered: of("causeway_lane_delivered_total"),
            pending: of("causeway_lane_pending"),
            syncs: of("causeway_journal_batches_total"),
        }
    }
}

/// All that it took is delivered, and nothing else.
fn wait_until_settled(gateway: &Gateway, before: &Seen, taken: u64) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let seen = Seen::now(gateway);
        let delivered = seen.delivered - before.delivered;
        if seen.pending == 0.0 && delivered >= taken as f64 {
            assert_eq!(delivered, taken as f64, "more than what was sent");
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{taken} taken, but after {SETTLE_LIMIT:?} {seen:?} of {before:?}"
        );
        thread::sleep(POLL);
    }
}

/// Records a second that the disk takes at so many a sync.
fn disk_rate(disk: &mut Bare, records: f64, size: Size) -> f64 {
    let bytes = noise((records * RECORD_BYTES as f64) as usize);
    let syncs = size.of(DISK_SYNCS);
    let took = disk.run(&bytes, syncs).total;
    records * syncs as f64 / took.as_secs_f64()
}

fn rates(runs: &[Run]) -> impl Iterator<Item = f64> {
    runs.iter().map(|run| run.rate)
}

/// "0.53 (0.47–0.60)": the middle, the least and the greatest of the rounds' ratios.
fn ratio(gateway: &[Run], beside: impl Iterator<Item = f64>) -> String {
    let ratios: Vec<f64> = rates(gateway).zip(beside).map(|(a, b)| a / b).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2}–{most:.2})", median(ratios))
}

/// Of the gateway, then of the others.
fn figures(rounds: &Rounds) -> String {
    let of_each = |figure: fn(&Run) -> f64, digits: usize| {
        let all = std::iter::once(&rounds.gateway).chain(&rounds.others);
        let medians = all.map(|runs| median(runs.iter().map(figure).collect()));
        let medians: Vec<String> = medians.map(|m| format!("{m:.digits$}")).collect();
        medians.join(" / ")
    };
    let of_all = rounds.gateway.iter().flat_map(|run| &run.latencies);
    let mut latencies: Vec<f64> = of_all.copied().collect();
    format!(
        "k/s {}; CPU-s a million {}, of the load {}; p50 {:.2} ms, p99 {:.2} ms; {:.0} messages a sync",
        of_each(|run| run.rate / 1e3, 1),
        of_each(|run| run.server_cpu_a_million, 2),
        of_each(|run| run.load_cpu_a_million, 2),
        percentile(&mut latencies, 0.5) * 1e3,
        percentile(&mut latencies, 0.99) * 1e3,
        median(rounds.messages_a_sync.clone()),
    )
}
