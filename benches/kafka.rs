//! What the gateway brings to Kafka, beside a bare rdkafka producer that writes the same records: headers, keys,
//! sizes, batching, acks. How: `broker`.

use super::broker::{self, Broker, Meter, PAYLOAD_BYTES, Run};
use super::report::{Row, Size};
use super::support::brokers::{Own, fast_kafka};
use super::support::kafka::create_topic;
use causeway_brokers::kafka::Kafka;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use std::thread;
use std::time::Duration;

const TOPIC: &str = "bench";
const PARTITIONS: i32 = 6;
const MESSAGES: u64 = 500_000;
const LOAD: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(300);
const FULL_QUEUE_REST: Duration = Duration::from_millis(1);
/// As the gateway sets them; all else is librdkafka's own default for both, but for the queue: the gateway never
/// has more than 8 batches of 1,024 in it.
const PRODUCER: [(&str, &str); 6] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    ("message.timeout.ms", "0"),
    ("message.max.bytes", "100000000"),
    ("batch.size", "1000000"),
];
const SHOWN: [&str; 8] = [
    "linger.ms",
    "batch.num.messages",
    "batch.size",
    "max.in.flight",
    "compression.codec",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "socket.nagle.disable",
];

type Producer = ThreadedProducer<DefaultProducerContext>;

pub fn kafka(size: Size) -> Vec<Row> {
    let Some(server) = fast_kafka("the bench `kafka`") else {
        return Vec::new();
    };
    let kafka = OneTopic {
        address: server.ports().plain().to_string(),
        server,
    };
    create_topic(&kafka.address, TOPIC, PARTITIONS, 1, &[]);
    let native = kafka.config().create_native_config().expect("settings");
    let shown = SHOWN.map(|name| format!("{name} {}", native.get(name).expect("a setting")));
    println!(
        "<!-- kafka: one node, {PARTITIONS} partitions, {PAYLOAD_BYTES} bytes, 4 headers; both: {PRODUCER:?}; bare: {} -->",
        shown.join(", ")
    );
    broker::rows(&kafka, size)
}

struct OneTopic {
    address: String,
    server: Own<Kafka>,
}

impl OneTopic {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        for (name, value) in PRODUCER {
            config.set(name, value);
        }
        config
    }
}

impl Broker for OneTopic {
    const CLIENT: &'static str = "bare rdkafka";
    const AIM_DRAINED: &'static str = "≥ 0.8 of bare rdkafka";
    const AIM_PEERS: &'static str =
        "≥ 40.2 k/s, 1.6 × Bento's 25.1 (taken elsewhere, by wrk); ≤ 21 CPU-s a million (Bento 54)";
    const ROUNDS: usize = 5;

    fn destination(&self) -> String {
        let address = &self.address;
        format!("type = \"kafka\"\nbrokers = [{address:?}]\ntopic = \"{TOPIC}\"\n")
    }

    fn pid(&self) -> u32 {
        self.server.pid().expect("it runs")
    }

    fn messages(&self, _: u64) -> u64 {
        MESSAGES
    }

    fn load(&self, _: u64) -> Option<Duration> {
        Some(LOAD)
    }

    /// With the topic known, and the producer's own number had.
    fn bare(&self, keys: u64, messages: u64) -> Run {
        let producer: Producer = self.config().create().expect("a producer");
        let payload = "x".repeat(PAYLOAD_BYTES);
        send(&producer, 0, keys, &payload);
        producer.flush(PATIENCE).expect("it is confirmed");
        let meter = Meter::start(std::process::id(), self.pid());
        for n in 0..messages {
            send(&producer, n, keys, &payload);
        }
        producer.flush(PATIENCE).expect("all are confirmed");
        meter.stop(messages, Vec::new())
    }

    fn clear(&self) {}
}

fn send(producer: &Producer, n: u64, keys: u64, payload: &str) {
    let (key, id) = (format!("k{}", n % keys), format!("id-{n}"));
    let delivery_id = format!("{n:032x}");
    let mut record = BaseRecord::to(TOPIC)
        .key(&key)
        .payload(payload)
        .timestamp(1_790_000_000_000)
        .headers(headers(&delivery_id, &id));
    // The queue is full: as everybody does, it waits a moment.
    while let Err((_, again)) = producer.send(record) {
        record = again;
        thread::sleep(FULL_QUEUE_REST);
    }
}

/// What the gateway sends.
fn headers(delivery_id: &str, id: &str) -> OwnedHeaders {
    let all = [
        ("causeway-topic", "stored/x"),
        ("message-id", delivery_id),
        ("publisher-id", id),
        ("content-type", "text/plain"),
    ];
    let headers = OwnedHeaders::new_with_capacity(all.len());
    all.into_iter().fold(headers, |headers, (key, value)| {
        let value = Some(value.as_bytes());
        headers.insert(Header { key, value })
    })
}
