//! HTTP → Kafka: a backlog that waits for its topic, drained, beside a bare rdkafka producer that writes the
//! same records (headers, keys, sizes, batching, acks), turn about in one run.

use super::report::{Row, Size, rate};
use super::support::brokers::own_kafka;
use super::support::kafka::create_topic;
use super::support::metrics::counts;
use super::support::process::Gateway;
use super::support::ratio::median;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const MESSAGES: u64 = 300_000;
const PAYLOAD_BYTES: usize = 256;
const PARTITIONS: i32 = 6;
const PUBLISHERS: u64 = 8;
const BATCH: u64 = 500;
const LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(1);
/// As the gateway sets them.
const PRODUCER: [(&str, &str); 5] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    ("message.timeout.ms", "0"),
    ("batch.size", "1000000"),
];

pub fn kafka(size: Size) -> Vec<Row> {
    let Some(kafka) = own_kafka("bench kafka") else {
        return Vec::new();
    };
    let address = kafka.ports().plain().to_string();
    let messages = size.of(MESSAGES);
    println!(
        "settings of both: {PRODUCER:?}, {PARTITIONS} partitions, {PAYLOAD_BYTES} bytes, 4 headers"
    );
    [1_000, 1]
        .into_iter()
        .map(|keys| row(&address, keys, messages, size))
        .collect()
}

fn row(address: &str, keys: u64, messages: u64, size: Size) -> Row {
    let (mut drained, mut bare) = (Vec::new(), Vec::new());
    for round in 0..size.rounds(ROUNDS) {
        let topic = |who: &str| format!("{who}-{keys}-{round}");
        drained.push(drain(address, &topic("gateway"), keys, messages));
        bare.push(produce(address, &topic("bare"), keys, messages));
    }
    let seconds =
        |all: &[Duration]| -> f64 { median(all.iter().map(Duration::as_secs_f64).collect()) };
    let (ours, theirs) = (seconds(&drained), seconds(&bare));
    Row {
        what: format!("a backlog of {messages} drained, {keys} keys"),
        figure: format!(
            "{}; bare rdkafka {}; ratio {:.2}",
            rate(messages, Duration::from_secs_f64(ours)),
            rate(messages, Duration::from_secs_f64(theirs)),
            theirs / ours
        ),
        aim: "ratio ≥ 0.8",
    }
}

/// From the topic's creation, for which all of it waits, to the last confirm.
fn drain(address: &str, topic: &str, keys: u64, messages: u64) -> Duration {
    let settings = format!(
        "[limits]\nin_flight_bytes = \"256MiB\"\n[destinations.sink]\ntype = \"kafka\"\nbrokers = [{address:?}]\n\
         topic = \"{topic}\"\nretry = {{ initial = \"5ms\", max = \"10ms\" }}\n\
         [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"sink\"]\n"
    );
    let gateway = gateway(&settings);
    thread::scope(|scope| {
        for first in 0..PUBLISHERS {
            let gateway = &gateway;
            scope.spawn(move || publish(gateway, first, keys, messages));
        }
    });
    let started = Instant::now();
    create_topic(address, topic, PARTITIONS, 1, &[]);
    while delivered(&gateway) < messages {
        assert!(started.elapsed() < LIMIT, "{}", gateway.log_tail());
        thread::sleep(POLL);
    }
    started.elapsed()
}

fn gateway(settings: &str) -> Gateway {
    let program = super::support::process::program();
    let mut gateway = Gateway::new(&program, settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

/// Every `PUBLISHERS`-th batch.
fn publish(gateway: &Gateway, first: u64, keys: u64, messages: u64) {
    let (mut client, payload) = (gateway.client(LIMIT), "x".repeat(PAYLOAD_BYTES));
    let mut next = first * BATCH;
    while next < messages {
        let lines = (next..(next + BATCH).min(messages)).map(|n| {
            format!(
                "{{\"topic\":\"t\",\"id\":\"id-{n}\",\"key\":\"k{}\",\"content_type\":\"text/plain\",\"data\":\"{payload}\"}}\n",
                n % keys
            )
        });
        let body: String = lines.collect();
        let response = client.post("/v1/batch", &[], body.as_bytes());
        let response = response.unwrap_or_else(|t| panic!("a batch: {t}"));
        let refused = String::from_utf8_lossy(&response.body).contains("\"status\":5");
        assert!(response.status == 200 && !refused, "{response}");
        next += PUBLISHERS * BATCH;
    }
}

fn delivered(gateway: &Gateway) -> u64 {
    let response = gateway.health_client().get("/metrics");
    let response = response.expect("health goes on answering");
    let all = counts(&String::from_utf8_lossy(&response.body)).expect("metrics");
    all.get("sink").map_or(0, |counts| counts.delivered)
}

/// From the first record to the last confirm, with the topic there and known.
fn produce(address: &str, topic: &str, keys: u64, messages: u64) -> Duration {
    create_topic(address, topic, PARTITIONS, 1, &[]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    for (name, value) in PRODUCER {
        config.set(name, value);
    }
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    let known = producer.client().fetch_metadata(Some(topic), LIMIT);
    known.expect("the topic is there");
    let payload = "x".repeat(PAYLOAD_BYTES);
    let started = Instant::now();
    for n in 0..messages {
        let (key, id) = (format!("k{}", n % keys), format!("id-{n}"));
        let mut record = BaseRecord::to(topic)
            .key(&key)
            .payload(&payload)
            .timestamp(1_790_000_000_000)
            .headers(headers(&id));
        // The queue is full: as everybody does, it waits a moment.
        while let Err((_, again)) = producer.send(record) {
            record = again;
            thread::sleep(POLL);
        }
    }
    producer.flush(LIMIT).expect("all is confirmed");
    started.elapsed()
}

fn headers(id: &str) -> OwnedHeaders {
    let header = |headers: OwnedHeaders, key, value: &str| {
        let value = Some(value.as_bytes());
        headers.insert(Header { key, value })
    };
    let headers = header(OwnedHeaders::new_with_capacity(4), "causeway-topic", "t");
    let headers = header(headers, "message-id", "0123456789abcdef0123456789abcdef");
    header(
        header(headers, "publisher-id", id),
        "content-type",
        "text/plain",
    )
}
