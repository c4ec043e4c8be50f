//! What the gateway brings to a broker, beside a bare client of that broker and beside fronts that store nothing.
//!
//! "Drained": a backlog that was accepted while its lane was paused, from the resume to the last confirm.
//! "Through": single publishes, from the first request until the broker has confirmed all of them. All processes
//! share the machine's cores; each round begins with another one. Two variables help to look into it:
//! `CAUSEWAY_BENCH_ONLY`, a part of a row's name, and `CAUSEWAY_BENCH_SINK`, more settings of the destination.

mod bridge;
mod meter;
mod wrk;

pub use self::meter::{Meter, Run};

use self::bridge::{Bridge, Front};
use super::child::Server;
use super::report::{Row, Size};
use super::support::ratio::median;
use super::{grpc, http};
use std::time::Duration;

pub const PAYLOAD_BYTES: usize = 256;
const KEYS: [u64; 2] = [1_000, 1];
const LOAD_MS: u64 = 2_000;
const WARM_MS: u64 = 5_000;

/// What the rows need of a broker.
pub trait Broker {
    /// What the bare client is.
    const CLIENT: &'static str;
    const AIM_DRAINED: &'static str;
    const AIM_PEERS: &'static str;
    const ROUNDS: usize;

    /// The gateway's destination, without its name.
    fn destination(&self) -> String;
    /// The server's process.
    fn pid(&self) -> u32;
    /// How many of one run there is time for.
    fn messages(&self, keys: u64) -> u64;
    /// How long a load may go on whose end isn't waited for by its publishers. `None`: each waits until its
    /// message is delivered; all else would only be a backlog.
    fn load(&self, keys: u64) -> Option<Duration>;
    /// Publishes as the gateway does, with as many keys.
    fn bare(&self, keys: u64, messages: u64) -> Run;
    /// Takes away what runs left.
    fn clear(&self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Publishers are told once it is stored; the end is when all is delivered.
    Gateway,
    /// Publishers are told once it is delivered.
    Told,
    Null,
    Bare,
}

/// Of each side, round by round.
struct Sides(Vec<(Side, Vec<Run>)>);

impl Sides {
    /// Turn about.
    fn of(sides: &[Side], rounds: usize, mut run: impl FnMut(Side) -> Run) -> Self {
        let mut all: Vec<(Side, Vec<Run>)> = sides.iter().map(|s| (*s, Vec::new())).collect();
        for round in 0..rounds {
            for turn in 0..sides.len() {
                let (side, runs) = &mut all[(round + turn) % sides.len()];
                runs.push(run(*side));
            }
        }
        Self(all)
    }

    fn runs(&self, side: Side) -> &[Run] {
        let of_side = self.0.iter().find(|(s, _)| *s == side);
        of_side.map_or(&[], |(_, runs)| runs)
    }

    /// "350.1 k/s, CPU-s a million 2.10 (broker 1.50)".
    fn figures(&self, side: Side) -> String {
        let of = |figure: fn(&Run) -> f64| median(self.runs(side).iter().map(figure).collect());
        let broker = match side {
            Side::Null => String::new(),
            _ => format!(" (broker {:.2})", of(|run| run.broker_cpu_a_million)),
        };
        format!(
            "{:.1} k/s, CPU-s a million {:.2}{broker}",
            of(|run| run.rate / 1e3),
            of(|run| run.cpu_a_million)
        )
    }

    fn latency(&self, side: Side, part: f64) -> String {
        let all = self.runs(side).iter().flat_map(|run| &run.latencies);
        let mut all: Vec<f64> = all.copied().collect();
        format!("{:.2} ms", http::percentile(&mut all, part) * 1e3)
    }

    /// "0.53 (0.47–0.60)" of the slowest of the others: the middle, the least and the greatest of the rounds.
    fn ratio(&self, side: Side, others: &[Side]) -> String {
        let of_round = |(round, run): (usize, &Run)| {
            let others = others.iter().map(|other| self.runs(*other)[round].rate);
            run.rate / others.fold(f64::INFINITY, f64::min)
        };
        let ratios: Vec<f64> = self.runs(side).iter().enumerate().map(of_round).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        format!("{:.2} ({least:.2}–{most:.2})", median(ratios))
    }
}

pub fn rows(broker: &impl Broker, size: Size) -> Vec<Row> {
    let bridge = Bridge::start(broker);
    let nulls = [http::null::SERVE, grpc::null::SERVE].map(Server::start);
    warm(&bridge, size);
    let mut rows = Rows::new();
    for keys in KEYS {
        let name = match keys {
            1 => "1 key".to_owned(),
            _ => format!("{keys} keys"),
        };
        let messages = size.of(broker.messages(keys));
        let what = format!("drained, {messages} waiting, {name}");
        rows.add(what, || drained(&bridge, keys, messages, size));
        for (front, null) in [Front::Http, Front::Grpc].into_iter().zip(&nulls) {
            let what = format!("through, {}, {name}", front.words());
            rows.add(what, || through(&bridge, (front, null), keys, size));
        }
    }
    let what = "as the peers: HTTP, 256 connections, no keys";
    rows.add(what.to_owned(), || peers(&bridge, size));
    if wrk::is_there() {
        rows.add("as the peers, by wrk".to_owned(), || by_wrk(&bridge, size));
    }
    rows.all
}

/// Those that are asked for. Each is said as it comes, on standard error: it takes minutes.
struct Rows {
    only: String,
    all: Vec<Row>,
}

impl Rows {
    fn new() -> Self {
        let only = std::env::var("CAUSEWAY_BENCH_ONLY").unwrap_or_default();
        let all = Vec::new();
        Self { only, all }
    }

    fn add(&mut self, what: String, row: impl FnOnce() -> Figure) {
        if what.contains(&self.only) {
            let (figure, aim) = row();
            eprintln!("{what}: {figure}");
            self.all.push(Row { what, figure, aim });
        }
    }
}

/// Until code is compiled where a broker does that at run time, and logs turn over in files that they have.
fn warm(bridge: &Bridge<'_, impl Broker>, size: Size) {
    let keys = KEYS[0];
    let time = Duration::from_millis(size.of(WARM_MS));
    bridge.publish(Side::Told, Front::Http, keys, time);
    bridge.publish(Side::Told, Front::Grpc, keys, time);
    bridge
        .broker
        .bare(keys, size.of(bridge.broker.messages(keys)));
}

type Figure = (String, &'static str);

fn drained<B: Broker>(bridge: &Bridge<'_, B>, keys: u64, messages: u64, size: Size) -> Figure {
    let sides = [Side::Gateway, Side::Bare];
    let sides = Sides::of(&sides, size.rounds(B::ROUNDS), |side| {
        bridge.broker.clear();
        match side {
            Side::Bare => bridge.broker.bare(keys, messages),
            _ => bridge.drain(keys, messages),
        }
    });
    let figure = format!(
        "{} of {}: {}; bare {}",
        sides.ratio(Side::Gateway, &[Side::Bare]),
        B::CLIENT,
        sides.figures(Side::Gateway),
        sides.figures(Side::Bare),
    );
    (figure, B::AIM_DRAINED)
}

fn through<B: Broker>(
    bridge: &Bridge<'_, B>,
    (front, null): (Front, &Server),
    keys: u64,
    size: Size,
) -> Figure {
    let broker = bridge.broker;
    let time = Duration::from_millis(size.of(LOAD_MS));
    let counted = broker.load(keys);
    let all = [Side::Gateway, Side::Told, Side::Null, Side::Bare];
    let sides = if counted.is_some() { &all } else { &all[1..] };
    let judged = sides[0];
    let sides = Sides::of(sides, size.rounds(B::ROUNDS), |side| {
        broker.clear();
        match (side, counted) {
            (Side::Bare, _) => broker.bare(keys, size.of(broker.messages(keys))),
            (Side::Null, _) => bridge.publish_to(null, front, keys, time),
            (Side::Gateway, Some(load)) => bridge.publish(side, front, keys, size.time(load)),
            (Side::Gateway | Side::Told, _) => bridge.publish(side, front, keys, time),
        }
    });
    let lower = [Side::Null, Side::Bare];
    let mut parts = vec![format!("{} of the lower", sides.ratio(judged, &lower))];
    if judged == Side::Gateway {
        parts.push(format!("gateway {}", sides.figures(judged)));
    }
    parts.push(format!("null {}", sides.figures(Side::Null)));
    parts.push(format!("bare {}", sides.figures(Side::Bare)));
    parts.push(format!("{}", Told(&sides)));
    let aim = "≥ 0.7 of the lower of null front and bare client";
    (parts.join("; "), aim)
}

/// Whose publishers wait until it is delivered.
struct Told<'a>(&'a Sides);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(sides) = self;
        let (p50, p99) = (
            sides.latency(Side::Told, 0.5),
            sides.latency(Side::Told, 0.99),
        );
        let figures = sides.figures(Side::Told);
        write!(f, "told when delivered {figures}, p50 {p50}, p99 {p99}")
    }
}

/// As the peers were measured: 256 connections, no keys, the answer comes after the broker's confirm.
fn peers<B: Broker>(bridge: &Bridge<'_, B>, size: Size) -> Figure {
    let time = Duration::from_millis(size.of(LOAD_MS));
    let sides = Sides::of(&[Side::Told], size.rounds(B::ROUNDS), |side| {
        bridge.broker.clear();
        bridge.publish(side, Front::Http, 0, time)
    });
    (Told(&sides).to_string(), B::AIM_PEERS)
}

/// What the peers were measured by.
fn by_wrk<B: Broker>(bridge: &Bridge<'_, B>, size: Size) -> Figure {
    bridge.broker.clear();
    (wrk::figure(bridge, size), B::AIM_PEERS)
}
