//! The gateway between publishers and a broker, and what is done with it.

use super::{Broker, Meter, PAYLOAD_BYTES, Run, Side};
use crate::child::Server;
use crate::grpc::client::{self as grpc, Text};
use crate::http::client as http;
use crate::support::client::Client;
use crate::support::metrics::counts;
use crate::support::process::{Gateway, program};
use std::cell::Cell;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

const CONNECTIONS: usize = 256;
const STREAMS: grpc::Shape = grpc::Shape::Stream {
    connections: 4,
    window: 256,
};
/// Of a backlog.
const FEEDERS: u64 = 4;
const BATCH_LINES: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(300);
/// Each look costs the gateway a little: a hundredth of the time so far, within these.
const POLL: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];
const STORED: &str = "stored/x";
const TOLD: &str = "told/x";

const SETTINGS: &str = r#"
[journal]
max_bytes = "32GiB"

[limits]
in_flight_bytes = "256MiB"

[[routes]]
name = "stored"
topic = "stored/#"
to = ["sink"]

[[routes]]
name = "told"
topic = "told/#"
to = ["sink"]
ack = "delivered"

[destinations.sink]
backlog = "16GiB"
"#;

#[derive(Clone, Copy)]
pub enum Front {
    Http,
    Grpc,
}

impl Front {
    pub const fn words(self) -> &'static str {
        match self {
            Self::Http => "HTTP, 256 connections",
            Self::Grpc => "gRPC, 4 streams with 256 in flight",
        }
    }
}

pub struct Bridge<'a, B> {
    pub broker: &'a B,
    gateway: Gateway,
    /// Messages that got an id.
    ids: Cell<u64>,
}

impl<'a, B: Broker> Bridge<'a, B> {
    pub fn start(broker: &'a B) -> Self {
        let more = std::env::var("CAUSEWAY_BENCH_SINK").unwrap_or_default();
        let settings = format!("{SETTINGS}{}{more}\n", broker.destination());
        let mut gateway = Gateway::new(&program(), &settings);
        gateway.start().unwrap_or_else(|why| panic!("{why}"));
        Self {
            broker,
            gateway,
            ids: Cell::new(0),
        }
    }

    /// What is accepted while its lane is paused, from the resume on.
    pub fn drain(&self, keys: u64, messages: u64) -> Run {
        let before = self.delivered();
        self.order("pause");
        self.feed(keys, messages);
        let meter = self.meter();
        self.order("resume");
        self.wait(&meter, before + messages);
        meter.stop(messages, Vec::new())
    }

    /// Until all that was taken is delivered.
    pub fn publish(&self, side: Side, front: Front, keys: u64, time: Duration) -> Run {
        let topic = match side {
            Side::Told => TOLD,
            _ => STORED,
        };
        let address = match front {
            Front::Http => self.gateway.http,
            Front::Grpc => self.gateway.grpc,
        };
        let before = self.delivered();
        let meter = self.meter();
        let (messages, latencies) = load(address, front, topic, keys, time);
        self.wait(&meter, before + messages);
        meter.stop(messages, latencies)
    }

    /// The same load.
    pub fn publish_to(&self, null: &Server, front: Front, keys: u64, time: Duration) -> Run {
        let meter = Meter::start(null.pid(), self.broker.pid());
        let (messages, latencies) = load(null.address, front, STORED, keys, time);
        meter.stop(messages, latencies)
    }

    /// Where publishers are told when their message is delivered.
    pub fn told_url(&self) -> String {
        format!("http://{}/v1/topics/{TOLD}", self.gateway.http)
    }

    pub fn meter(&self) -> Meter {
        Meter::start(self.gateway.pid().expect("it runs"), self.broker.pid())
    }

    fn order(&self, what: &str) {
        let mut client = Client::new(self.gateway.admin, PATIENCE);
        let json = [("content-type", "application/json")];
        let answer = client.post(&format!("/api/v1/lanes/sink/{what}"), &json, b"{}");
        let answer = answer.unwrap_or_else(|trouble| panic!("{what}: {trouble}"));
        assert!(answer.status < 300, "{what}: {answer}");
    }

    fn wait(&self, meter: &Meter, delivered: u64) {
        loop {
            let now = self.delivered();
            if now >= delivered {
                assert_eq!(now, delivered, "more than what was sent");
                return;
            }
            let tail = || self.gateway.log_tail();
            assert!(meter.elapsed() < PATIENCE, "{now} came\n{}", tail());
            thread::sleep((meter.elapsed() / 100).clamp(POLL[0], POLL[1]));
        }
    }

    fn delivered(&self) -> u64 {
        let page = self.gateway.health_client().get("/metrics");
        let page = page.expect("it answers");
        let all = counts(&String::from_utf8_lossy(&page.body)).expect("metrics");
        all["sink"].delivered
    }

    /// Each key in its turn, by feeders that each send every fourth batch.
    fn feed(&self, keys: u64, messages: u64) {
        let first_id = self.ids.replace(self.ids.get() + messages);
        thread::scope(|scope| {
            for feeder in 0..FEEDERS {
                let mut client = self.gateway.client(PATIENCE);
                scope.spawn(move || {
                    let mut next = feeder * BATCH_LINES;
                    while next < messages {
                        let lines = next..(next + BATCH_LINES).min(messages);
                        let body: String = lines.map(|n| line(first_id + n, keys)).collect();
                        let answer = client.post("/v1/batch", &[], body.as_bytes());
                        let answer = answer.unwrap_or_else(|trouble| panic!("{trouble}"));
                        let refused = answer.body.windows(11).any(|w| w == b"\"status\":50");
                        assert!(answer.status == 200 && !refused, "{answer}");
                        next += FEEDERS * BATCH_LINES;
                    }
                });
            }
        });
    }
}

fn line(n: u64, keys: u64) -> String {
    let data = "x".repeat(PAYLOAD_BYTES);
    let key = n % keys;
    format!(
        "{{\"topic\":\"{STORED}\",\"id\":\"id-{n}\",\"key\":\"k{key}\",\"content_type\":\"text/plain\",\"data\":\"{data}\"}}\n"
    )
}

/// How many were answered, and how long that took each, or some of them.
fn load(
    address: SocketAddr,
    front: Front,
    topic: &'static str,
    keys: u64,
    time: Duration,
) -> (u64, Vec<f64>) {
    match front {
        Front::Http if keys == 0 => {
            let shape = http::Shape::publish_to(topic, PAYLOAD_BYTES, CONNECTIONS);
            let latencies = http::closed(address, &shape, time);
            (latencies.len() as u64, latencies)
        }
        Front::Http => {
            let shape = http::Shape::keyed(topic, keys, PAYLOAD_BYTES, CONNECTIONS);
            let latencies = http::closed(address, &shape, time);
            (latencies.len() as u64, latencies)
        }
        Front::Grpc => {
            let done = grpc::publish(address, STREAMS, Text { topic, keys }, time);
            (done.messages, done.latencies)
        }
    }
}
