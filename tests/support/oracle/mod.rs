//! The oracle: the real process under seeded kills and pauses, publishers that insist, readers
//! that don't trust them, and a judgement of everything that they saw.
//!
//! `run` is one such history. It returns what was violated; whether that is a failure is for the
//! caller to say, since planted faults must be found.

mod batcher;
mod caller;
mod checks;
mod content;
mod publisher;
mod reader;
mod record;
mod schedule;
mod violation;

pub use violation::{Kind, Violation};

use super::client::Client;
use super::metrics::{self, CountsByDestination};
use super::process::{Gateway, START_LIMIT, program};
use batcher::Batcher;
use caller::Caller;
use checks::{Arrived, Doubles};
use content::{FAULTY, FIRST_BATCHER, FIRST_CALLER, Name, STREAMS, message, record_file};
use publisher::{Acked, Published, Publisher, Shared};
use reader::Read;
use rustix::process::Signal;
use schedule::{Action, Again, schedule};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long everything may take to be settled once nobody publishes any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a sync takes, by seed: a memory's time, and those of disks. The slower, the more is in
/// doubt when a kill comes.
const SYNC_DELAYS_MS: [u64; 3] = [0, 4, 1];
/// A kill waits so long for deliveries to be pending, then comes all the same.
const BIAS_LIMIT: Duration = Duration::from_millis(250);
/// How long a kill waits to be told what is pending: in recovery nobody answers.
const SAMPLE_LIMIT: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    /// How long publishers and disturbances go on.
    pub duration: Duration,
    pub publishers: u32,
    /// Publishers of many messages at once, besides.
    pub batchers: u32,
    /// Publishers over gRPC, besides: in turn an ordered stream, an unordered one, batches, single calls.
    pub callers: u32,
    pub kills: u32,
    pub pauses: u32,
    /// None: publishers go on for the whole `duration`.
    pub messages_each: Option<u32>,
    /// A fault planted in the cores.
    pub fault: Option<&'static str>,
}

#[derive(Debug, Default)]
pub struct Report {
    pub violations: Vec<Violation>,
    pub acked: usize,
    pub repeated: usize,
    pub conflicts: usize,
    pub looked_up: usize,
    pub refusals: usize,
    /// Lines that had to wait for an earlier one of their key.
    pub held_back: usize,
    pub batches: usize,
    /// Batches of which a kill left some lines with a result and some without.
    pub batches_cut: usize,
    /// Connections of the reader of events that had fewest.
    pub event_connections: usize,
    pub kills: usize,
    /// Kills right before which the gateway itself said that deliveries were pending.
    pub kills_pending: usize,
    /// Kills before which it gave no answer, because it was still starting: not among the former.
    pub kills_starting: usize,
    pub pauses: usize,
    pub restarts: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acked,
            repeated,
            conflicts,
            looked_up,
            refusals,
            held_back,
            batches,
            batches_cut,
            event_connections,
            ..
        } = self;
        let Self {
            kills,
            kills_pending,
            kills_starting,
            pauses,
            restarts,
            ..
        } = self;
        write!(
            f,
            "{acked} acknowledged, {repeated} repeated, {conflicts} contradicted, "
        )?;
        write!(f, "{looked_up} looked up, {refusals} told to wait; ")?;
        write!(f, "{batches} batches, {batches_cut} cut by a kill, ")?;
        write!(f, "{held_back} lines held back by their key; ")?;
        write!(f, "{event_connections} connections for events; ")?;
        write!(f, "{kills} kills, ")?;
        write!(f, "{kills_pending} of them with deliveries pending ")?;
        write!(f, "({kills_starting} while it started), ")?;
        write!(f, "{pauses} pauses, {restarts} restarts; ")?;
        write!(f, "{} violations", self.violations.len())?;
        self.violations
            .iter()
            .try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// One history. Everything that is done follows from the seed; when it lands does not.
pub fn run(setup: &Setup) -> Report {
    let mut gateway = Gateway::new(&program(), &content::settings(setup.seed));
    if let Some(fault) = setup.fault {
        gateway.variable("CAUSEWAY_FAULT", fault);
    }
    let delay_ms = SYNC_DELAYS_MS[(setup.seed % 3) as usize];
    gateway.variable("CAUSEWAY_SYNC_DELAY_MS", &delay_ms.to_string());
    let messages_each = setup.messages_each.unwrap_or(u32::MAX);
    let shared = Shared::new(setup.seed, gateway.http, gateway.grpc, messages_each);
    let mut report = Report::default();
    if let Err(why) = gateway.start() {
        report.violations.push(Violation::new(Kind::Process, why));
        return report;
    }
    let readers_stop = AtomicBool::new(false);
    let (published, mut read) = thread::scope(|scope| {
        let publishers = (0..setup.publishers).map(|number| Publisher::new(&shared, number));
        let mut publishers: Vec<_> = publishers.map(|p| scope.spawn(|| p.run())).collect();
        let batchers = (0..setup.batchers).map(|n| Batcher::new(&shared, FIRST_BATCHER + n));
        publishers.extend(batchers.map(|b| scope.spawn(|| b.run())));
        let callers = (0..setup.callers).map(|n| Caller::new(&shared, FIRST_CALLER + n));
        publishers.extend(callers.map(|c| scope.spawn(|| c.run())));
        let readers = STREAMS.map(|stream| {
            let client = gateway.client(ANSWER_LIMIT);
            scope.spawn(|| reader::follow(client, stream, setup.seed, &readers_stop))
        });
        let listeners = STREAMS.map(|stream| {
            scope.spawn(|| reader::follow_events(shared.http, stream, setup.seed, &readers_stop))
        });
        let disturbed = disturb(&mut gateway, setup, &shared.kills, &mut report);
        shared.stop.store(true, Ordering::Relaxed);
        let published: Vec<Published> = publishers
            .into_iter()
            .map(|p| p.join().expect("a publisher panicked"))
            .collect();
        readers_stop.store(true, Ordering::Relaxed);
        let followed = readers.map(|r| r.join().expect("a reader panicked"));
        let listened = listeners.map(|r| r.join().expect("a reader panicked"));
        report.violations.extend(disturbed.err());
        (published, Followed { followed, listened })
    });
    let history = collect(setup.seed, published, &mut report);
    if gateway.pid().is_some()
        && let Err(violation) = judge(&mut gateway, &history, &mut read, &mut report)
    {
        report.violations.push(violation);
    }
    if !report.violations.is_empty() {
        eprintln!("{}", gateway.log_tail());
    }
    report.violations = checks::shorten(std::mem::take(&mut report.violations));
    report
}

/// What was read while it went on.
struct Followed {
    /// The pages of each of `STREAMS`.
    followed: [Read; STREAMS.len()],
    /// The events of each.
    listened: [Read; STREAMS.len()],
}

/// What all publishers did, together.
struct History {
    seed: u64,
    acked: Vec<Acked>,
    unanswered: Vec<Name>,
}

fn collect(seed: u64, published: Vec<Published>, report: &mut Report) -> History {
    let mut history = History {
        seed,
        acked: Vec::new(),
        unanswered: Vec::new(),
    };
    for mut one in published {
        history.acked.append(&mut one.acked);
        history.unanswered.extend(one.unanswered);
        report.repeated += one.repeated;
        report.conflicts += one.conflicts;
        report.looked_up += one.looked_up;
        report.refusals += one.refusals;
        report.held_back += one.held_back;
        report.batches += one.batches;
        report.batches_cut += one.batches_cut;
        report.violations.append(&mut one.violations);
    }
    report.acked = history.acked.len();
    history
}

/// Does what the schedule says; afterwards the gateway runs and is ready.
fn disturb(
    gateway: &mut Gateway,
    setup: &Setup,
    kills: &AtomicUsize,
    report: &mut Report,
) -> Result<(), Violation> {
    let started = Instant::now();
    let process = |why| Violation::new(Kind::Process, why);
    for step in schedule(setup.seed, setup.duration, setup.kills, setup.pauses) {
        thread::sleep(step.after);
        if let Some(status) = gateway.ended() {
            return Err(process(format!("ended by itself: {status}")));
        }
        match step.action {
            Action::Kill { down, again } => {
                kill_pending(gateway, kills, report);
                thread::sleep(down);
                match again {
                    Some(Again::InRecovery(after)) => {
                        gateway.spawn();
                        thread::sleep(after);
                        let pending = sample_pending(gateway);
                        kill(gateway, pending, kills, report);
                    }
                    Some(Again::Serving(after)) => {
                        gateway.start().map_err(process)?;
                        thread::sleep(after);
                        kill_pending(gateway, kills, report);
                    }
                    None => {}
                }
                gateway.start().map_err(process)?;
            }
            Action::Pause { still } => {
                gateway.signal(Signal::STOP);
                thread::sleep(still);
                gateway.signal(Signal::CONT);
                report.pauses += 1;
            }
            Action::Restart => {
                gateway.terminate(STOP_LIMIT).map_err(process)?;
                gateway.start().map_err(process)?;
                report.restarts += 1;
            }
        }
    }
    // The last stretch without a disturbance: what is forgotten now, no recovery brings back.
    let rest = setup
        .duration
        .saturating_sub(started.elapsed())
        .max(setup.duration / 8);
    thread::sleep(rest);
    Ok(())
}

/// SIGKILL at a moment when deliveries are pending, if such a moment comes soon.
fn kill_pending(gateway: &mut Gateway, kills: &AtomicUsize, report: &mut Report) {
    let deadline = Instant::now() + BIAS_LIMIT;
    loop {
        let pending = sample_pending(gateway);
        if pending.is_some_and(|pending| pending > 0) || Instant::now() > deadline {
            kill(gateway, pending, kills, report);
            return;
        }
    }
}

/// `pending`: what the gateway said just now, if it answered.
fn kill(gateway: &mut Gateway, pending: Option<u64>, kills: &AtomicUsize, report: &mut Report) {
    kills.fetch_add(1, Ordering::SeqCst);
    gateway.kill();
    report.kills += 1;
    report.kills_pending += usize::from(pending.is_some_and(|pending| pending > 0));
    report.kills_starting += usize::from(pending.is_none());
}

fn sample_pending(gateway: &Gateway) -> Option<u64> {
    let client = Client::new(gateway.health, SAMPLE_LIMIT);
    let counts = counts_from(client).ok()?;
    Some(pending(&counts))
}

fn pending(counts: &CountsByDestination) -> u64 {
    counts.values().map(|counts| counts.pending).sum()
}

fn counts(gateway: &Gateway) -> Result<CountsByDestination, String> {
    counts_from(gateway.health_client())
}

fn counts_from(mut client: Client) -> Result<CountsByDestination, String> {
    match client.get("/metrics") {
        Ok(r) if r.status == 200 => metrics::counts(&String::from_utf8_lossy(&r.body)),
        Ok(response) => Err(format!("/metrics: {response}")),
        Err(trouble) => Err(format!("/metrics: {trouble}")),
    }
}

/// The end: everything settles, and then all accounts are compared.
fn judge(
    gateway: &mut Gateway,
    history: &History,
    read: &mut Followed,
    report: &mut Report,
) -> Result<(), Violation> {
    let counted = settle(gateway, report)?;
    let violations = &mut report.violations;
    violations.extend(checks::positions(&history.acked));
    let Followed { followed, listened } = read;
    let readers = followed.iter().zip(listened);
    let mut event_connections = usize::MAX;
    for (stream, (followed, listened)) in STREAMS.iter().zip(readers) {
        let read = reader::read_all(gateway.client(ANSWER_LIMIT), stream, history.seed)
            .map_err(|why| Violation::new(Kind::Answer, why))?;
        let arrived = Arrived {
            seed: history.seed,
            destination: stream,
            names: &read.names,
            doubles: Doubles::Never,
        };
        violations.extend(checks::arrivals(arrived, &history.acked));
        let count = read.names.len();
        reader::catch_up(gateway.http, stream, history.seed, listened, count);
        event_connections = event_connections.min(listened.connections);
        for live in [followed, &*listened] {
            violations.extend(checks::prefix(stream, &live.names, &read.names));
            violations.extend(live.violations.iter().cloned());
        }
        violations.extend(read.violations);
    }
    report.event_connections = event_connections;
    for destination in FAULTY {
        violations.extend(judge_record(gateway, destination, history)?);
    }
    look_up_all(gateway, history, violations);
    violations.extend(checks::equation("/metrics", &counted));
    let History {
        seed,
        acked,
        unanswered,
    } = history;
    violations.extend(checks::planned(*seed, &counted, acked, unanswered));
    violations.extend(checks::dead_lettered(*seed, &counted, acked, unanswered));
    compare_with_logs(gateway, &counted, violations)
}

fn judge_record(
    gateway: &Gateway,
    destination: &str,
    history: &History,
) -> Result<Vec<Violation>, Violation> {
    let path = gateway.folder().join(record_file(destination));
    let recorded = record::read_record(&path, history.seed)
        .map_err(|e| Violation::new(Kind::Process, format!("{}: {e}", path.display())))?;
    let names: Vec<Name> = recorded.deliveries.iter().map(|(name, _)| *name).collect();
    let arrived = Arrived {
        seed: history.seed,
        destination,
        names: &names,
        doubles: Doubles::Allowed,
    };
    let mut violations = checks::arrivals(arrived, &history.acked);
    violations.extend(checks::recorded_positions(
        &recorded.deliveries,
        &history.acked,
    ));
    violations.extend(recorded.violations);
    Ok(violations)
}

/// Waits until nothing is pending.
fn settle(gateway: &Gateway, report: &mut Report) -> Result<CountsByDestination, Violation> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let counts = counts(gateway).map_err(|why| Violation::new(Kind::Answer, why))?;
        if pending(&counts) == 0 {
            return Ok(counts);
        }
        if Instant::now() > deadline {
            for (name, counts) in counts.iter().filter(|(_, counts)| counts.pending > 0) {
                let detail = format!("{name}: after {SETTLE_LIMIT:?}: {counts}");
                report
                    .violations
                    .push(Violation::new(Kind::Unsettled, detail));
            }
            return Ok(counts);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Every acknowledged id is found, settled.
fn look_up_all(gateway: &Gateway, history: &History, violations: &mut Vec<Violation>) {
    let mut client = gateway.client(ANSWER_LIMIT);
    for acked in &history.acked {
        let message = message(history.seed, acked.name);
        let wrong = match publisher::look_up(&mut client, &message) {
            None => Some("no answer".to_owned()),
            Some(response) => match publisher::looked_up(&response, *acked) {
                Ok(state) if state == "stored" => Some(format!("still pending: {response}")),
                Ok(_) => None,
                Err(why) => Some(format!("{why}: {response}")),
            },
        };
        if let Some(why) = wrong {
            let detail = format!("look-up of {}: {why}", message.id);
            violations.push(Violation::new(Kind::LookUp, detail));
        }
    }
}

/// Stops it, walks the logs, starts it again: three times the same counts.
fn compare_with_logs(
    gateway: &mut Gateway,
    counted: &CountsByDestination,
    violations: &mut Vec<Violation>,
) -> Result<(), Violation> {
    let process = |why| Violation::new(Kind::Process, why);
    gateway.terminate(STOP_LIMIT).map_err(process)?;
    let output = gateway.run(&["journal", "verify", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(process(format!(
            "journal verify: {}: {text}{said}",
            output.status
        )));
    }
    let walked = serde_json::from_str(&text)
        .map_err(|e| e.to_string())
        .and_then(|report| metrics::walked_counts(&report))
        .map_err(|why| Violation::new(Kind::Counts, format!("journal verify: {why}")))?;
    violations.extend(checks::equation("journal verify", &walked));
    violations.extend(checks::same_counts(
        ("/metrics", counted),
        ("logs", &walked),
    ));
    gateway.spawn();
    gateway.wait_ready(START_LIMIT).map_err(process)?;
    let again = counts(gateway).map_err(|why| Violation::new(Kind::Answer, why))?;
    violations.extend(checks::same_counts(
        ("/metrics", counted),
        ("after a restart", &again),
    ));
    Ok(())
}
