//! `bench`: publishes to a running gateway, and tells how many messages settled, how fast, and what
//! didn't. Its figures are those of a client: the machine that it runs on is in them.

mod histogram;
mod load;
mod payload;
mod report;
mod schedule;
mod tally;

use super::ServerArg;
use super::client::{Connection, Server};
use super::exit::{EXIT_CODES, Failure, Reply, say};
use super::no_threads;
use clap::Args;
use load::{GRACE, Load, Parts};
use payload::{Messages, Way};
use report::Report;
use schedule::{Schedule, Until};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Of one request.
const MAX_BATCH: u64 = 10_000;
const MAX_CONNECTIONS: i64 = 1_024;
/// Of all requests on their way, about: connections × batch × size.
const MAX_IN_FLIGHT_BYTES: u64 = 1 << 30;
/// Requests a second: what one process can time.
const MAX_RATE: f64 = 1e6;
const DEFAULT_SECONDS: u64 = 10;
const TICK: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = "\
It publishes real messages: their routes deliver them. Give it a topic of its own.

Without --rate each connection sends as soon as its last request is answered, and latency counts from
when a request was sent. With --rate requests are due by the clock, and latency counts from when a
request was due, so that what waited behind a stall is slow, as it is for a publisher; what was due and not sent
a second after the end is told, and its wait counts. The warm-up is in no figure; what went wrong in
it is told.

It ends with 1 where anything was refused (unless --allow-refusals), had no answer, or wasn't sent in
time.";

#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub(super) struct Bench {
    /// Where to: levels parted by '/'
    #[arg(long)]
    topic: String,
    /// How many connections send at one time
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    connections: u32,
    /// How long it measures [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Measure so many messages, however long it takes
    #[arg(long, value_name = "COUNT", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// How long it sends before it measures
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Bytes of a payload, which is text
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 256,
        conflicts_with = "data"
    )]
    size: u32,
    /// The payload of every message: as it stands here, a file's content (@FILE), or stdin's (-)
    #[arg(short, long, value_name = "DATA", allow_negative_numbers = true)]
    data: Option<String>,
    /// Messages a second, due by the clock (open loop)
    #[arg(long, value_name = "COUNT", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Send so many messages a request, by /v1/batch
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=MAX_BATCH))]
    batch: Option<u64>,
    /// Ids are PREFIX-NUMBER, counted from 1; else they are new in each run
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix)]
    id_prefix: Option<String>,
    /// End with 0 though messages were refused
    #[arg(long)]
    allow_refusals: bool,
    #[command(flatten)]
    pub server: ServerArg,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text).ok_or_else(|| "write 500ms, 30s or 10m".to_owned())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| *rate >= 0.001 && *rate <= MAX_RATE)
        .ok_or_else(|| format!("write a number from 0.001 to {MAX_RATE}"))
}

/// What can stand in a header as it is.
fn parse_prefix(text: &str) -> Result<String, String> {
    let is_plain = |c: char| matches!(c, '!'..='~') && !matches!(c, '"' | '\\');
    match !text.is_empty() && text.len() <= 200 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("write up to 200 letters, digits and signs of ASCII".to_owned()),
    }
}

/// On threads of its own: the load must not wait for one core.
pub(super) fn run(bench: &Bench, server: &Server) -> Result<Reply, Failure> {
    let messages = bench.checked_messages()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("bench")
        .build();
    let runtime = runtime.map_err(|error| no_threads(&error))?;
    runtime.block_on(measure(bench, server, messages))
}

async fn measure(bench: &Bench, server: &Server, messages: Messages) -> Result<Reply, Failure> {
    let mut connections: Vec<Connection> = Vec::new();
    for _ in 0..bench.connections {
        connections.push(server.open().await?);
    }
    say(&format!(
        "warning: this publishes real messages to {:?} at {}; its routes deliver them",
        bench.topic,
        server.url()
    ));
    let payload_bytes = messages.payload_bytes();
    let load = Load::new(server.clone(), messages, bench.way(), bench.schedule());
    let load = Arc::new(load);
    let watching = tokio::spawn(watch(Arc::clone(&load)));
    let parts = load.run(connections).await;
    watching.abort();
    let stopped_at = Instant::now();
    let report = finished(bench, &load, parts, stopped_at);
    Ok(Report {
        url: server.url(),
        payload_bytes,
        ..report
    }
    .reply())
}

/// Hears the signal that ends it early; on a terminal says each second how far it is.
async fn watch(load: Arc<Load>) {
    let is_shown = std::io::stderr().is_terminal();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Ok(()) = tokio::signal::ctrl_c() => {
                load.stopped.store(true, Ordering::Relaxed);
                return;
            }
            _ = ticks.tick(), if is_shown => {
                let settled = load.settled.load(Ordering::Relaxed);
                let seconds = load.start.elapsed().as_secs();
                let mut err = std::io::stderr();
                // It is an ornament: whether it can be shown changes nothing.
                drop(write!(err, "\r{seconds} s: {settled} settled\x1b[K\r"));
            }
        }
    }
}

fn finished(bench: &Bench, load: &Load, mut parts: Parts, now: Instant) -> Report {
    let schedule = load.schedule;
    let begin = load.start + schedule.warm_up;
    let interrupted = load.stopped.load(Ordering::Relaxed);
    let end = match schedule.until {
        Until::After(duration) if !interrupted => Some(begin + duration),
        Until::Messages(_) if !interrupted => None,
        _ => Some(now),
    };
    let mut unsent = 0;
    if let (Some(rate), Some(end)) = (schedule.rate, end) {
        let waited_until = if interrupted { end } else { end + GRACE };
        let (end, now) = (end - load.start, waited_until - load.start);
        let waited = schedule.overdue(load.requests(), end, now, rate);
        for (wait, messages) in waited {
            parts.measured.latency.add(wait, messages);
            unsent += messages;
        }
    }
    let last = parts.measured.last_answer.unwrap_or(begin);
    // A gateway that answers nothing more doesn't shorten the time.
    let last = end.map_or(last, |end| last.max(end));
    Report {
        url: String::new(),
        topic: bench.topic.clone(),
        way: load.way.as_str(),
        connections: bench.connections as usize,
        batch: load.way.batch(),
        payload_bytes: 0,
        wanted_rate: bench.rate,
        elapsed: last.saturating_duration_since(begin),
        warm_up: parts.warm_up,
        measured: parts.measured,
        unsent,
        interrupted,
        allow_refusals: bench.allow_refusals,
    }
}

impl Bench {
    fn way(&self) -> Way {
        self.batch.map_or(Way::Publish, Way::Batch)
    }

    fn schedule(&self) -> Schedule {
        let duration = self
            .duration
            .unwrap_or(Duration::from_secs(DEFAULT_SECONDS));
        Schedule {
            warm_up: self.warm_up,
            until: self
                .messages
                .map_or(Until::After(duration), Until::Messages),
            batch: self.way().batch(),
            rate: self.rate,
        }
    }

    /// In bounded memory.
    fn checked_messages(&self) -> Result<Messages, Failure> {
        let prefix = self
            .id_prefix
            .clone()
            .unwrap_or_else(|| format!("bench-{:016x}", fastrand::u64(..)));
        let messages = match &self.data {
            Some(data) => Messages::given(&self.topic, prefix, data)?,
            None => Messages::made(&self.topic, prefix, self.size as usize),
        };
        let of_request = (messages.payload_bytes() as u64).saturating_mul(self.way().batch());
        let bytes = of_request.saturating_mul(u64::from(self.connections));
        if bytes > MAX_IN_FLIGHT_BYTES {
            return Err(Failure::usage(
                format!("{bytes} bytes on their way at one time are too many"),
                format!(
                    "choose connections × batch × size of at most {} MiB",
                    MAX_IN_FLIGHT_BYTES >> 20
                ),
            ));
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests;
