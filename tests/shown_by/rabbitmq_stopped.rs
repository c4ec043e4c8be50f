//! RabbitMQ is stopped under load, with its process: Kafka's lane goes on with what is accepted, the journal
//! holds what is owed and a few segments more, and after RabbitMQ's return everything arrives.

use super::{ANSWER_LIMIT, counts, full_size, say};
use crate::support::brokers::{done, own_kafka, own_rabbitmq};
use crate::support::kafka::{create_topic, each_record};
use crate::support::metrics;
use crate::support::process::{Gateway, folder_bytes, program};
use crate::support::rabbit::{Rabbit, ids};
use crate::support::wait::wait_for;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// For how long RabbitMQ is stopped at least.
const FULL_STOP: Duration = Duration::from_secs(60);
const SMALL_STOP: Duration = Duration::from_secs(15);
/// Under load, before the stop and after it.
const CALM: Duration = Duration::from_secs(2);
const PUBLISHERS: usize = 8;
const BATCH: u64 = 20;
/// Between two batches of a publisher: no client takes all of a machine.
const PACE: Duration = Duration::from_millis(40);
const PAYLOAD_BYTES: usize = 4 * 1024;
/// One of so many is for RabbitMQ, too.
const FOR_BOTH: u64 = 10;
/// So many are accepted while it is stopped, then Kafka has them, and so on.
const ROUND: u64 = 1_000;
/// What the journal may hold beyond what is owed: as beside a destination that hangs (`hanging`).
const SLACK_SEGMENTS: u64 = 8;
/// What is accepted during the stop comes to at least so many times what the journal may hold.
const THROUGH: u64 = 2;
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

fn settings(kafka: &str, rabbitmq: &str) -> String {
    format!(
        r#"
[destinations.bus]
type = "kafka"
brokers = ["{kafka}"]
topic = "work"

[destinations.tasks]
type = "rabbitmq"
url = "{rabbitmq}"
topic = "work"
queues = [{{ name = "work" }}]
retry = {{ initial = "10ms", max = "1s" }}

[[routes]]
name = "both"
topic = "both"
to = ["bus", "tasks"]

[[routes]]
name = "kafka"
topic = "kafka"
to = ["bus"]
"#
    )
}

#[test]
fn while_rabbitmq_is_stopped_kafkas_lane_goes_on() {
    let test = "shown_by::rabbitmq_stopped::while_rabbitmq_is_stopped_kafkas_lane_goes_on";
    let (Some(kafka), Some(mut rabbitmq)) = (own_kafka(test), own_rabbitmq(test)) else {
        return;
    };
    let address = kafka.ports().plain().to_string();
    create_topic(&address, "work", 6, 1, &[]);
    let settings = settings(&address, &rabbitmq.ports().url());
    let mut gateway = Gateway::new(&program(), &settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let (accepted, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let published: BTreeMap<String, u64> = thread::scope(|scope| {
        let each = (0..PUBLISHERS).map(|n| {
            let (gateway, accepted, is_over) = (&gateway, &accepted, &is_over);
            scope.spawn(move || publish(gateway, format!("k{n}"), accepted, is_over))
        });
        let each: Vec<_> = each.collect();
        // Publishers end however this ends: else a failure would wait for them for ever.
        let over = Over(&is_over);
        thread::sleep(CALM);
        done(rabbitmq.stop());
        during_the_stop(&gateway, &accepted);
        done(rabbitmq.start());
        thread::sleep(CALM);
        drop(over);
        let each = each.into_iter();
        each.map(|one| one.join().expect("a publisher")).collect()
    });
    wait_for(CATCH_UP_LIMIT, || {
        let counts = counts(&gateway);
        let pending = super::pending(&counts);
        (pending == 0).then_some(()).ok_or(format!("{counts:?}"))
    });
    assert_whole_in_kafka(&address, &published);
    assert_whole_in_rabbitmq(&Rabbit::connect(&rabbitmq), &published);
}

/// Ends the publishers when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Messages of one key, `KEY-NUMBER`, until it is over: how many. None is refused.
fn publish(
    gateway: &Gateway,
    key: String,
    accepted: &AtomicU64,
    is_over: &AtomicBool,
) -> (String, u64) {
    let (mut client, mut next) = (gateway.client(ANSWER_LIMIT), 0);
    let data = "x".repeat(PAYLOAD_BYTES);
    let line = |number: u64| {
        let topic = if is_for_both(number) { "both" } else { "kafka" };
        format!(
            "{{\"topic\":\"{topic}\",\"id\":\"{key}-{number}\",\"key\":\"{key}\",\
             \"content_type\":\"text/plain\",\"data\":\"{data}\"}}\n"
        )
    };
    while !is_over.load(Ordering::Relaxed) {
        let body: String = (next..next + BATCH).map(line).collect();
        let response = client.post("/v1/batch", &[], body.as_bytes());
        let response = response.unwrap_or_else(|t| panic!("a batch: {t}"));
        let said = String::from_utf8_lossy(&response.body);
        let taken = said.matches("\"status\":202").count();
        assert_eq!(taken as u64, BATCH, "{said}");
        next += BATCH;
        accepted.fetch_add(BATCH, Ordering::Relaxed);
        thread::sleep(PACE);
    }
    (key, next)
}

const fn is_for_both(number: u64) -> bool {
    number.is_multiple_of(FOR_BOTH)
}

/// Round by round: what was accepted by now Kafka has, and the journal holds no more than it may.
fn during_the_stop(gateway: &Gateway, accepted: &AtomicU64) {
    let stop = if full_size() { FULL_STOP } else { SMALL_STOP };
    let (begun, before) = (Instant::now(), accepted.load(Ordering::Relaxed));
    let delivered = counts(gateway)["tasks"].delivered;
    let (mut rounds, mut goal, mut most) = (0, before, Held::default());
    loop {
        goal += ROUND;
        let now = wait_for(CATCH_UP_LIMIT, || {
            let now = accepted.load(Ordering::Relaxed);
            (now >= goal).then_some(now).ok_or("no load".to_owned())
        });
        wait_for(CATCH_UP_LIMIT, || {
            let kafka = counts(gateway)["bus"].clone();
            let has_it = kafka.delivered >= now;
            has_it.then_some(()).ok_or(format!("{now}: {kafka}"))
        });
        let held = wait_for(CATCH_UP_LIMIT, || {
            let held = held(gateway);
            let is_bounded = held.journal_bytes <= held.limit_bytes();
            is_bounded.then_some(held).ok_or(format!("{held:?}"))
        });
        if held.journal_bytes > most.journal_bytes {
            most = held;
        }
        (rounds, goal) = (rounds + 1, goal.max(now));
        let through = (now - before) * PAYLOAD_BYTES as u64;
        if begun.elapsed() >= stop && through >= THROUGH * held.limit_bytes() {
            break;
        }
    }
    let tasks = counts(gateway)["tasks"].clone();
    assert_eq!(tasks.delivered, delivered, "RabbitMQ is stopped: {tasks}");
    assert_eq!(tasks.pending, tasks.planned - delivered, "{tasks}");
    say(&format!(
        "shown by: RabbitMQ stopped for {:.0?}: {} messages accepted, in {rounds} rounds after which Kafka had \
         all of them; {} owed to RabbitMQ; the journal came to {} bytes at most: {} owed, and {} segments",
        begun.elapsed(),
        accepted.load(Ordering::Relaxed) - before,
        tasks.pending,
        most.journal_bytes,
        most.owed_bytes,
        most.journal_bytes.saturating_sub(most.owed_bytes) / most.segment_bytes,
    ));
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    journal_bytes: u64,
    owed_bytes: u64,
    /// Of the largest: they grow with the load.
    segment_bytes: u64,
}

impl Held {
    const fn limit_bytes(self) -> u64 {
        self.owed_bytes + SLACK_SEGMENTS * self.segment_bytes
    }
}

fn held(gateway: &Gateway) -> Held {
    let journal = gateway.data().join("journal");
    let journal_bytes = folder_bytes(&journal);
    let files = fs::read_dir(&journal).expect("the journal's folder");
    // One that was given back meanwhile counts nothing.
    let sizes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
    let response = gateway.health_client().get("/metrics");
    let response = response.expect("health goes on answering");
    let samples = metrics::parse(&String::from_utf8_lossy(&response.body)).expect("metrics");
    let owed = samples
        .iter()
        .filter(|sample| sample.name == "causeway_lane_owed_bytes");
    Held {
        journal_bytes,
        owed_bytes: owed.map(|sample| sample.value as u64).sum(),
        segment_bytes: sizes.max().unwrap_or_default(),
    }
}

/// Each once, in its key's order, and nothing else.
fn assert_whole_in_kafka(address: &str, published: &BTreeMap<String, u64>) {
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    each_record(address, "work", |record| {
        let id = record.text("publisher-id");
        let (key, number) = id.split_once('-').expect("one of ours");
        let expected = next.entry(key.to_owned()).or_default();
        assert_eq!(
            number,
            expected.to_string(),
            "{key} in Kafka: lost, doubled or out of order"
        );
        *expected += 1;
    });
    assert_eq!(&next, published);
}

/// Each, the first time in its key's order. What was unconfirmed when it was stopped may be there twice.
fn assert_whole_in_rabbitmq(rabbit: &Rabbit, published: &BTreeMap<String, u64>) {
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    let mut doubles = 0_u64;
    for id in ids(&rabbit.drain("work")) {
        let (key, number) = id.split_once('-').expect("one of ours");
        let number: u64 = number.parse().expect("one of ours");
        let expected = next.entry(key.to_owned()).or_default();
        if number < *expected {
            doubles += 1;
            continue;
        }
        assert_eq!(number, *expected, "{key} in RabbitMQ: lost or out of order");
        *expected += FOR_BOTH;
    }
    for (key, count) in published {
        let all = count.next_multiple_of(FOR_BOTH);
        assert_eq!(next.get(key), Some(&all), "{key} in RabbitMQ: lost");
    }
    let rest = "what was unconfirmed at the stop";
    assert!(doubles <= published.len() as u64, "{doubles}, not {rest}");
    say(&format!(
        "shown by: after its return RabbitMQ had every message, {doubles} of them twice"
    ));
}
