//! Batches sent to the real program: killed and stopped in the middle, in a coding, sent again.

use crate::support::batch::{self, Framing, Results};
use crate::support::metrics;
use crate::support::process::{Gateway, program};
use crate::support::streams::stream_ids;
use crate::support::wait::wait_for;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const LINES: usize = 20_000;
const KEYS: usize = 50;
/// With so many results read it is killed.
const BEFORE_KILL: usize = LINES / 4;
const BEFORE_STOP: usize = 2_000;
/// As on a slow disk: what waits for a sync is lost with a kill, and must not be acknowledged yet.
const SYNC_DELAY_MS: &str = "20";
const CHUNK_BYTES: usize = 16 << 10;
/// For one piece to go or come, on a machine under load.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// For all to come so far.
const PATIENCE: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(30);

const SETTINGS: &str = "[destinations.inbox]\ntype = \"stream\"\n\n\
    [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"inbox\"]\n";

fn started() -> Gateway {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.variable("CAUSEWAY_SYNC_DELAY_MS", SYNC_DELAY_MS);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

fn line(number: usize) -> String {
    let key = number % KEYS;
    format!(
        "{{\"topic\":\"a/b\",\"id\":\"{number}\",\"key\":\"{key}\",\"data\":{{\"n\":{number}}}}}\n"
    )
}

/// All results that came, and whether the answer came to its end.
struct Answer {
    results: Vec<Value>,
    end: io::Result<()>,
}

/// Sends chunks until they or the answer end, and reads results meanwhile, counted in `seen`.
fn exchange(
    http: SocketAddr,
    headers: &str,
    chunks: impl Iterator<Item = Vec<u8>>,
    seen: &AtomicUsize,
) -> Answer {
    let opened = batch::open(http, headers, Framing::Chunked, ANSWER_LIMIT);
    let (mut sender, mut results) = opened.expect("it listens");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let answer = read(&mut results, seen);
            is_over.store(true, Ordering::Relaxed);
            answer
        });
        let mut broken = false;
        for chunk in chunks {
            broken = broken || is_over.load(Ordering::Relaxed) || sender.send(&chunk).is_err();
            if broken {
                break;
            }
        }
        if !broken {
            // An error shows in the answer.
            let _ = sender.finish();
        }
        reader.join().expect("the reader panicked")
    })
}

fn read(results: &mut Results, seen: &AtomicUsize) -> Answer {
    let mut all = Vec::new();
    let mut read = || -> io::Result<()> {
        let head = results.head()?;
        assert_eq!(head.status, 200, "{head}");
        while let Some(result) = results.next()? {
            all.push(result);
            seen.store(all.len(), Ordering::SeqCst);
        }
        Ok(())
    };
    let end = read();
    Answer { results: all, end }
}

fn wait_for_results(seen: &AtomicUsize, count: usize) {
    wait_for(PATIENCE, || match seen.load(Ordering::SeqCst) {
        now if now < count => Err(format!("{count} results, not {now}")),
        _ => Ok(()),
    });
}

/// The positions that the results give, which are those of the lines from the first on.
fn positions(results: &[Value]) -> Vec<u64> {
    let position = |(number, result): (usize, &Value)| {
        let status = result["status"].as_u64();
        assert!(matches!(status, Some(200 | 202)), "line {number}: {result}");
        assert_eq!(result["id"], number.to_string(), "results in order");
        result["position"].as_u64().expect("a position")
    };
    results.iter().enumerate().map(position).collect()
}

/// The numbers of the lines in the stream, once nothing is pending.
fn settled(gateway: &Gateway) -> Vec<usize> {
    wait_for(PATIENCE, || {
        let page = gateway.health_client().get("/metrics").expect("an answer");
        let counts = metrics::counts(&String::from_utf8_lossy(&page.body)).expect("metrics");
        match counts["inbox"].pending {
            0 => Ok(()),
            _ => Err(format!("nothing pending, not {counts:?}")),
        }
    });
    let ids = stream_ids(gateway, "inbox");
    ids.iter().map(|id| id.parse().expect("our id")).collect()
}

/// # Panics
/// If a line is there twice, or those of a key aren't in their order.
fn assert_once_in_order(there: &[usize]) {
    let distinct: HashSet<usize> = there.iter().copied().collect();
    assert_eq!(distinct.len(), there.len(), "doubles in the stream");
    let mut last_of_key = HashMap::new();
    for number in there {
        if let Some(last) = last_of_key.insert(number % KEYS, *number) {
            assert!(last < *number, "{last} before {number}");
        }
    }
}

fn kill_in_the_middle(headers: &str, body: &[u8]) {
    let mut gateway = started();
    let http = gateway.http;
    let seen = AtomicUsize::new(0);
    let chunks = || body.chunks(CHUNK_BYTES).map(<[u8]>::to_vec);
    let cut = thread::scope(|scope| {
        let sending = scope.spawn(|| exchange(http, headers, chunks(), &seen));
        wait_for_results(&seen, BEFORE_KILL);
        gateway.kill();
        sending.join().expect("the sender panicked")
    });
    assert!(cut.end.is_err(), "it came to its end");
    let acked = positions(&cut.results);
    assert!(
        (BEFORE_KILL..LINES).contains(&acked.len()),
        "{}",
        acked.len()
    );
    assert!(
        cut.results
            .iter()
            .all(|result| result["duplicate"] == false)
    );

    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let there = settled(&gateway);
    assert_once_in_order(&there);
    let found: HashSet<usize> = there.iter().copied().collect();
    let lost = (0..acked.len()).filter(|number| !found.contains(number));
    assert_eq!(lost.count(), 0, "acknowledged and not in the stream");

    let again = exchange(http, headers, chunks(), &seen);
    again.end.expect("it comes to its end");
    let all = positions(&again.results);
    assert_eq!(all.len(), LINES);
    assert_eq!(all[..acked.len()], acked, "the same positions");
    for (number, result) in again.results.iter().enumerate() {
        // What was stored and not answered is a duplicate too.
        let is_there = found.contains(&number);
        assert_eq!(result["duplicate"], is_there, "line {number}: {result}");
    }
    // Those that weren't there before the restart are remembered as well.
    let third = exchange(http, headers, chunks(), &seen);
    assert_eq!(positions(&third.results), all);
    assert!(
        third
            .results
            .iter()
            .all(|result| result["duplicate"] == true)
    );
    let there = settled(&gateway);
    assert_once_in_order(&there);
    assert_eq!(there.len(), LINES);
}

#[test]
fn kill_nine_in_a_batch_loses_no_line_with_a_result() {
    let body: String = (0..LINES).map(line).collect();
    kill_in_the_middle("", body.as_bytes());
}

#[test]
fn kill_nine_in_a_coded_batch_loses_no_line_with_a_result() {
    let mut coder = GzEncoder::new(Vec::new(), Compression::fast());
    for number in 0..LINES {
        coder.write_all(line(number).as_bytes()).expect("memory");
    }
    let body = coder.finish().expect("memory");
    kill_in_the_middle("content-encoding: gzip\r\n", &body);
}

/// A client that would send for ever learns that the gateway stops, and which lines it has.
#[test]
fn a_stop_ends_an_endless_batch_with_its_own_line() {
    let mut gateway = started();
    let http = gateway.http;
    let seen = AtomicUsize::new(0);
    let endless = (0..).map(|first| {
        let lines = first * 100..(first + 1) * 100;
        lines.map(line).collect::<String>().into_bytes()
    });
    let mut answer = thread::scope(|scope| {
        let sending = scope.spawn(|| exchange(http, "", endless, &seen));
        wait_for_results(&seen, BEFORE_STOP);
        let stopped = gateway.terminate(STOP_LIMIT);
        stopped.unwrap_or_else(|why| panic!("{why}"));
        sending.join().expect("the sender panicked")
    });
    answer.end.expect("the answer comes to its end");
    let last = answer.results.pop().expect("a last line");
    assert_eq!(last["type"], "urn:causeway:problem:stopping", "{last}");
    assert_eq!(last["status"], 503);
    let acked = positions(&answer.results);
    assert!(acked.len() >= BEFORE_STOP, "{}", acked.len());

    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let mut there = settled(&gateway);
    assert_once_in_order(&there);
    there.sort_unstable();
    assert_eq!(
        there,
        (0..acked.len()).collect::<Vec<_>>(),
        "what has a result"
    );
}
