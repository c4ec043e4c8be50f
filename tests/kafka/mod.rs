//! Kafka beyond the contract of destinations: what a record looks like and where it lands, topics that aren't
//! there or aren't ours, and that nothing is lost, doubled or out of order whatever becomes of brokers.

mod cluster;
mod records;
#[cfg(feature = "kafka-tls")]
mod secure;
mod settings;
mod topics;

use crate::support::asked::{counts_of, lane_of};
use crate::support::kafka::{Record, read_topic};
use crate::support::metrics::Counts;
use crate::support::process::{Gateway, program};
use crate::support::wait::wait_for;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// Between two batches of a publisher.
const PACE: Duration = Duration::from_millis(100);
const BATCH: usize = 2;

/// A gateway whose routes are of this file.
fn gateway(settings: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

/// One destination, to which all goes.
fn settings(brokers: &str, more: &str) -> String {
    format!(
        "[destinations.sink]\ntype = \"kafka\"\nbrokers = [{brokers}]\n\
         retry = {{ initial = \"10ms\", max = \"200ms\" }}\n{more}\n\
         [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"sink\"]\n"
    )
}

fn counts(gateway: &Gateway) -> Counts {
    counts_of(gateway, "sink")
}

fn lane(gateway: &Gateway) -> Value {
    lane_of(gateway, "sink")
}

fn wait_error(gateway: &Gateway, words: &str) {
    wait_for(PATIENCE, || {
        let lane = lane(gateway);
        let error = lane["last_error"].as_str().unwrap_or_default();
        error.contains(words).then_some(()).ok_or(lane.to_string())
    });
}

/// Waits until so many are delivered and nothing is owed.
fn wait_delivered(gateway: &Gateway, messages: u64) -> Counts {
    wait_delivered_in(PATIENCE, gateway, messages)
}

fn wait_delivered_in(patience: Duration, gateway: &Gateway, messages: u64) -> Counts {
    wait_for(patience, || {
        let counts = counts(gateway);
        match (counts.pending, counts.delivered) {
            (0, delivered) if delivered == messages => Ok(counts),
            _ => Err(format!("{counts}: {}", lane(gateway))),
        }
    })
}

/// Publishers, each of a key of its own, until `upset` has returned. How many messages of each key were
/// acknowledged: `KEY-NUMBER`, from 0 on.
fn publish_during(
    gateway: &Gateway,
    publishers: usize,
    upset: impl FnOnce(),
) -> BTreeMap<String, u64> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let publish = |n: usize| {
            let (key, is_over) = (format!("k{n}"), &is_over);
            scope.spawn(move || {
                let (mut client, mut next) = (gateway.client(PATIENCE), 0);
                while !is_over.load(Ordering::Relaxed) {
                    let lines = (0..BATCH).map(|i| line(&key, next + i as u64));
                    let body: String = lines.collect();
                    let response = client.post("/v1/batch", &[], body.as_bytes());
                    let response = response.unwrap_or_else(|t| panic!("a batch: {t}"));
                    let said = String::from_utf8_lossy(&response.body);
                    assert_eq!(said.matches("\"status\":202").count(), BATCH, "{said}");
                    next += BATCH as u64;
                    thread::sleep(PACE);
                }
                (key, next)
            })
        };
        let all: Vec<_> = (0..publishers).map(publish).collect();
        upset();
        is_over.store(true, Ordering::Relaxed);
        let published = all.into_iter().map(|one| one.join().expect("a publisher"));
        published.collect()
    })
}

fn line(key: &str, number: u64) -> String {
    format!(
        "{{\"topic\":\"t/{key}\",\"id\":\"{key}-{number}\",\"key\":\"{key}\",\"content_type\":\"text/plain\",\
         \"data\":\"{key}-{number}\"}}\n"
    )
}

/// Each that was published is there, once, in its key's order; and nothing else.
fn assert_whole(address: &str, topic: &str, published: &BTreeMap<String, u64>) -> Vec<Record> {
    let records = read_topic(address, topic);
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    let mut places: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for record in &records {
        let payload = String::from_utf8_lossy(record.payload.as_deref().unwrap_or_default());
        let (key, number) = payload.split_once('-').expect("one of ours");
        let expected = next.entry(key.to_owned()).or_default();
        assert_eq!(
            number,
            expected.to_string(),
            "{key}: lost, doubled or out of order"
        );
        *expected += 1;
        places
            .entry(key.to_owned())
            .or_default()
            .insert(record.partition);
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
    }
    assert_eq!(&next, published);
    assert!(
        places.values().all(|places| places.len() == 1),
        "{places:?}"
    );
    records
}
