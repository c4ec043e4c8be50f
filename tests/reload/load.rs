//! Fifty reloads under load: nothing is lost, doubled, reordered or refused.

use super::{PATIENCE, counts, ends_well, pending, reload, route, started, stream, wait_until};
use crate::support::client::Client;
use crate::support::process::Gateway;
use crate::support::streams::stream_ids;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 64;
const RELOADS: u64 = 50;
/// So many publishes of each client without a reload, to compare with.
const QUIET_EACH: usize = 20;
/// Between two reloads, so that the load meets each generation.
const BETWEEN: Duration = Duration::from_millis(20);

/// All goes to `inbox`, whatever else the file says.
fn keyed() -> String {
    stream("inbox") + &stream("second") + &route("all", "load/#", "\"inbox\"")
}

/// The lane of `inbox` is strict, `second` gets a copy of each, `third` is there.
fn strict() -> String {
    let to = "{ destination = \"inbox\", guarantee = \"exactly_once\" }, \"second\"";
    stream("inbox")
        + &stream("second")
        + &stream("third")
        + &route("also", "never/#", "\"inbox\"")
        + &route("all", "load/#", to)
}

/// What one client was told.
#[derive(Default)]
struct Told {
    ids: Vec<String>,
    /// Of these the plan had the second stream too.
    twice: Vec<String>,
    quiet: Vec<Duration>,
    reloading: Vec<Duration>,
}

#[test]
fn fifty_reloads_under_load_lose_and_refuse_nothing() {
    let gateway = started(&keyed());
    let (quiet, stop) = (AtomicBool::new(true), AtomicBool::new(false));
    let told: Vec<Told> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = gateway.client(PATIENCE);
                let (quiet, stop) = (&quiet, &stop);
                scope.spawn(move || publish_on(client, number, Trouble::Fails, quiet, stop))
            })
            .collect();
        wait_until("the quiet part", || {
            let planned = counts(&gateway).get("inbox").map_or(0, |c| c.planned);
            planned >= (CLIENTS * QUIET_EACH) as u64
        });
        quiet.store(false, Ordering::Relaxed);
        for number in 0..RELOADS {
            let file = if number % 2 == 0 { strict() } else { keyed() };
            reload_to(&gateway, &file, number + 2);
            thread::sleep(BETWEEN);
        }
        stop.store(true, Ordering::Relaxed);
        let join = |client: thread::ScopedJoinHandle<'_, Told>| client.join();
        clients
            .into_iter()
            .map(|c| join(c).expect("no publish failed"))
            .collect()
    });
    judge(&gateway, &told);
    print_latencies(told);
    ends_well(gateway);
}

/// A kill in the middle of a reload, at another moment each time: whichever of the two files the
/// start finds, what was acknowledged is there once, in order, and goes where its receipt says.
#[test]
fn a_kill_in_a_reload_loses_nothing() {
    const SEED: u64 = 11;
    const KILLS: u64 = 8;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut gateway = started(&keyed());
    let (quiet, stop) = (AtomicBool::new(true), AtomicBool::new(false));
    let told: Vec<Told> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let client = Client::new(gateway.http, PATIENCE);
                let (quiet, stop) = (&quiet, &stop);
                scope.spawn(move || publish_on(client, number, Trouble::IsOvercome, quiet, stop))
            })
            .collect();
        for number in 0..KILLS {
            thread::sleep(Duration::from_millis(random.u64(20..100)));
            gateway.configure(&if number % 2 == 0 { strict() } else { keyed() });
            let mut admin = Client::new(gateway.admin, PATIENCE);
            // It may end before the kill, or not.
            let asked = scope.spawn(move || {
                let json = [("content-type", "application/json")];
                admin
                    .post("/api/v1/reload", &json, b"{}")
                    .map(|answer| answer.status)
            });
            thread::sleep(Duration::from_micros(random.u64(..20_000)));
            gateway.kill();
            drop(asked.join());
            gateway
                .start()
                .unwrap_or_else(|why| panic!("seed {SEED}, kill {number}: {why}"));
        }
        stop.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|c| c.join().expect("all is acknowledged"))
            .collect()
    });
    judge(&gateway, &told);
    ends_well(gateway);
}

/// What a publisher makes of a refusal, or of no answer.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Fails,
    /// It sends the same again.
    IsOvercome,
}

/// `third` goes only when it owes nothing, which it never does.
fn reload_to(gateway: &Gateway, file: &str, generation: u64) {
    gateway.configure(file);
    let answer = reload(gateway);
    assert_eq!(answer.status, 200, "{answer}");
    let answer = answer.json().expect("JSON");
    assert_eq!(answer["generation"], generation);
    assert!(!answer["changed"].as_array().expect("a list").is_empty());
}

/// One after the other under one key, until it is told to stop.
fn publish_on(
    mut client: Client,
    number: usize,
    trouble: Trouble,
    quiet: &AtomicBool,
    stop: &AtomicBool,
) -> Told {
    let mut told = Told::default();
    let key = format!("key-{number}");
    while !stop.load(Ordering::Relaxed) {
        let id = format!("{number}-{:06}", told.ids.len());
        let headers = [
            ("idempotency-key", id.as_str()),
            ("causeway-key", key.as_str()),
            ("content-type", "text/plain"),
        ];
        let is_quiet = quiet.load(Ordering::Relaxed);
        let before = Instant::now();
        let answer = loop {
            let answer = client.post("/v1/topics/load/x", &headers, id.as_bytes());
            match answer {
                Ok(answer) if matches!(answer.status, 200 | 202) => break answer,
                Ok(answer) if answer.status != 503 => panic!("{id}: {answer}"),
                _ if trouble == Trouble::IsOvercome => thread::sleep(BETWEEN),
                Ok(answer) => panic!("{id}: {answer}"),
                Err(why) => panic!("{id}: {why}"),
            }
            assert!(before.elapsed() < PATIENCE, "{id}: not in {PATIENCE:?}");
        };
        let took = before.elapsed();
        let receipt = answer.json().expect("a receipt");
        if destinations(&receipt).contains(&"second") {
            told.twice.push(id.clone());
        }
        let times = if is_quiet {
            &mut told.quiet
        } else {
            &mut told.reloading
        };
        times.push(took);
        told.ids.push(id);
    }
    told
}

fn destinations(receipt: &Value) -> Vec<&str> {
    let targets = receipt["targets"].as_array().expect("a list").iter();
    targets
        .filter_map(|target| target["destination"].as_str())
        .collect()
}

/// Each stream holds what the receipts said, once, and each client's in the order it was sent.
fn judge(gateway: &Gateway, told: &[Told]) {
    for lane in ["inbox", "second"] {
        wait_until("all is settled", || pending(gateway, lane) == 0);
    }
    let all = |ids: fn(&Told) -> &Vec<String>| -> BTreeSet<String> {
        told.iter().flat_map(ids).cloned().collect()
    };
    for (name, expected) in [("inbox", all(|t| &t.ids)), ("second", all(|t| &t.twice))] {
        let ids = stream_ids(gateway, name);
        let held: BTreeSet<String> = ids.iter().cloned().collect();
        assert_eq!(held.len(), ids.len(), "{name} holds one twice");
        assert!(
            held == expected,
            "{name}: {} of {}",
            held.len(),
            expected.len()
        );
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        for id in &ids {
            let client = id.split('-').next().expect("an id has a client");
            let before = last.insert(client, id).unwrap_or_default();
            assert!(before < id.as_str(), "{name}: {id} after {before}");
        }
        let counts = &counts(gateway)[name];
        assert_eq!(
            (counts.planned, counts.delivered),
            (ids.len() as u64, ids.len() as u64)
        );
    }
    assert!(!all(|t| &t.twice).is_empty() && all(|t| &t.twice) != all(|t| &t.ids));
}

fn print_latencies(told: Vec<Told>) {
    let (mut quiet, mut reloading) = (Vec::new(), Vec::new());
    for one in told {
        quiet.extend(one.quiet);
        reloading.extend(one.reloading);
    }
    let line = format!(
        "reload: {CLIENTS} clients: quiet {}; during {RELOADS} reloads {}\n",
        shown(quiet),
        shown(reloading)
    );
    // Past the harness, which swallows what a passing test prints.
    drop(io::stderr().write_all(line.as_bytes()));
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| {
        let index = (times.len() as f64 * part) as usize;
        times
            .get(index.min(times.len() - 1))
            .copied()
            .unwrap_or_default()
    };
    format!(
        "{} publishes, p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    )
}
