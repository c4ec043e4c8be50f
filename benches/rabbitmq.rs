//! What the gateway brings to RabbitMQ beside a bare confirm publisher: the same server, client library,
//! headers, payloads and number of messages in flight, turn about in one run.
//!
//! "Drained": a backlog that waited while no server could be reached, from the moment that it can. "Through":
//! from the first HTTP request to the last confirm. With one key the bare publisher, too, waits for each confirm.

use super::http::cpu_seconds;
use super::report::{Row, Size};
use super::support::brokers::own_rabbitmq;
use super::support::metrics;
use super::support::process::{Gateway, program};
use super::support::ratio::median;
use causeway_brokers::rabbitmq::Rabbitmq;
use futures_util::future::{join_all, try_join_all};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const QUEUE: &str = "bench";
const PAYLOAD_BYTES: usize = 256;
const BATCH_LINES: usize = 500;
/// Messages of a row, by its number of keys: one key waits for each confirm.
const ROWS: [(usize, u64); 2] = [(1_000, 200_000), (1, 10_000)];
/// Of the bare publisher: with 1,000 keys 4 × 250 are unconfirmed at once.
const CHANNELS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(2);
/// Nobody listens there.
const NOWHERE: &str = "amqp://127.0.0.1:1/%2f";

pub fn rabbitmq(size: Size) -> Vec<Row> {
    let Some(server) = own_rabbitmq("the bench `rabbitmq`") else {
        return Vec::new();
    };
    println!(
        "<!-- rabbitmq: classic durable queue, persistent, mandatory, {PAYLOAD_BYTES} bytes, 4 headers; gateway: \
         batches of 256 × 16 in flight; bare: lapin, {CHANNELS} channels, as many unconfirmed as there are keys -->"
    );
    let rows = ROWS.iter();
    rows.flat_map(|(keys, messages)| row(&server, *keys, size.of(*messages), size))
        .collect()
}

/// Messages a second, and CPU seconds of the publishing process for a million of them.
struct Run {
    rate: f64,
    cpu_a_million: f64,
}

fn row(server: &Rabbitmq, keys: usize, messages: u64, size: Size) -> [Row; 2] {
    let (mut bare, mut drained, mut through) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..size.rounds(ROUNDS) {
        bare.push(publish_bare(server, keys, messages));
        drained.push(drain(server, keys, messages));
        through.push(pass(server, keys, messages));
    }
    let figure = |runs: &[Run]| {
        let parts = runs
            .iter()
            .zip(&bare)
            .map(|(run, bare)| run.rate / bare.rate);
        let of = |of: fn(&Run) -> f64, runs: &[Run]| median(runs.iter().map(of).collect());
        format!(
            "{:.2} of bare: {:.1} k/s against {:.1} k/s; {:.1} CPU s a million against {:.1}",
            median(parts.collect()),
            of(|run| run.rate, runs) / 1e3,
            of(|run| run.rate, &bare) / 1e3,
            of(|run| run.cpu_a_million, runs),
            of(|run| run.cpu_a_million, &bare),
        )
    };
    let keys = if keys == 1 {
        "1 key".to_owned()
    } else {
        format!("{keys} keys")
    };
    [
        Row {
            what: format!("a backlog of {messages} drained, {keys}"),
            figure: figure(&drained),
            aim: "≥ 0.9 of bare",
        },
        Row {
            what: format!("{messages} by HTTP batches, through, {keys}"),
            figure: figure(&through),
            aim: "≥ 0.7 of the lower of bare and null front",
        },
    ]
}

fn settings(url: &str) -> String {
    format!(
        "[journal]\nmax_bytes = \"16GiB\"\n\n[destinations.sink]\ntype = \"rabbitmq\"\nurl = \"{url}\"\n\
         backlog = \"8GiB\"\nqueues = [{{ name = \"{QUEUE}\" }}]\n\n\
         [[routes]]\nname = \"all\"\ntopic = \"{QUEUE}\"\nto = [\"sink\"]\n"
    )
}

fn started(url: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), &settings(url));
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

fn drain(server: &Rabbitmq, keys: usize, messages: u64) -> Run {
    let gateway = started(NOWHERE);
    feed(&gateway, keys, messages);
    gateway.configure(&settings(&server.ports().url()));
    let pid = gateway.pid().expect("it runs");
    let (begun, cpu) = (Instant::now(), cpu_seconds(pid));
    let reload = gateway.run(&["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    finish(&gateway, messages, begun, cpu)
}

fn pass(server: &Rabbitmq, keys: usize, messages: u64) -> Run {
    let gateway = started(&server.ports().url());
    let pid = gateway.pid().expect("it runs");
    let (begun, cpu) = (Instant::now(), cpu_seconds(pid));
    feed(&gateway, keys, messages);
    finish(&gateway, messages, begun, cpu)
}

fn finish(gateway: &Gateway, messages: u64, begun: Instant, cpu: f64) -> Run {
    while delivered(gateway) < messages as f64 {
        assert!(begun.elapsed() < PATIENCE, "not all came");
        thread::sleep(POLL);
    }
    let pid = gateway.pid().expect("it runs");
    Run {
        rate: messages as f64 / begun.elapsed().as_secs_f64(),
        cpu_a_million: (cpu_seconds(pid) - cpu) * 1e6 / messages as f64,
    }
}

fn delivered(gateway: &Gateway) -> f64 {
    let page = gateway.health_client().get("/metrics").expect("it answers");
    let samples = metrics::parse(&String::from_utf8_lossy(&page.body)).expect("metrics");
    let is = |s: &&metrics::Sample| {
        let lane = s.labels.get("lane").map(String::as_str);
        s.name == "causeway_lane_delivered_total" && lane == Some("sink")
    };
    samples.iter().find(is).map_or(0.0, |sample| sample.value)
}

/// In batches, each key in its turn.
fn feed(gateway: &Gateway, keys: usize, messages: u64) {
    let data = "x".repeat(PAYLOAD_BYTES);
    let mut client = gateway.client(PATIENCE);
    let mut n = 0;
    while n < messages {
        let lines = (messages - n).min(BATCH_LINES as u64);
        let line = |n: u64| {
            let key = n as usize % keys;
            format!(
                "{{\"topic\":\"{QUEUE}\",\"id\":\"m-{n}\",\"key\":\"k{key}\",\"headers\":{{\"type\":\"pdf\"}},\
                 \"content_type\":\"text/plain\",\"data\":\"{data}\"}}\n"
            )
        };
        let body: String = (n..n + lines).map(line).collect();
        let answer = client.post("/v1/batch", &[], body.as_bytes());
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{answer}");
        n += lines;
    }
}

/// One process, this one, whose other threads rest meanwhile.
fn publish_bare(server: &Rabbitmq, keys: usize, messages: u64) -> Run {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let this = std::process::id();
    let cpu = cpu_seconds(this);
    let took = runtime.block_on(async {
        let url = server.ports().url();
        let connection = Connection::connect(&url, ConnectionProperties::default()).await;
        let connection = connection.expect("it takes us");
        let channels = CHANNELS.min(keys);
        let mut open = Vec::new();
        for _ in 0..channels {
            open.push(channel(&connection).await);
        }
        let begun = Instant::now();
        let each = messages / channels as u64;
        let work = open.iter().enumerate();
        join_all(work.map(|(i, channel)| publish(channel, i, keys / channels, each))).await;
        let took = begun.elapsed();
        let options = QueuePurgeOptions::default();
        let purged = open[0].queue_purge(QUEUE.into(), options).await;
        purged.expect("the next round begins with an empty queue");
        took
    });
    Run {
        rate: messages as f64 / took.as_secs_f64(),
        cpu_a_million: (cpu_seconds(this) - cpu) * 1e6 / messages as f64,
    }
}

async fn channel(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.expect("a channel");
    let declared = channel.queue_declare(
        QUEUE.into(),
        lapin::options::QueueDeclareOptions {
            durable: true,
            ..lapin::options::QueueDeclareOptions::default()
        },
        FieldTable::default(),
    );
    declared.await.expect("a queue");
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.expect("it confirms");
    channel
}

/// As many at once as the channel has keys.
async fn publish(channel: &Channel, part: usize, keys: usize, messages: u64) {
    let payload = vec![b'x'; PAYLOAD_BYTES];
    let mut n = 0;
    while n < messages {
        let count = (messages - n).min(keys as u64);
        let one = |n: u64| {
            let payload = &payload;
            async move {
                let mandatory = BasicPublishOptions {
                    mandatory: true,
                    immediate: false,
                };
                let said = properties(part, n, keys);
                let sent = channel.basic_publish("".into(), QUEUE.into(), mandatory, payload, said);
                sent.await?.await
            }
        };
        let confirms = try_join_all((n..n + count).map(one)).await;
        let confirms = confirms.expect("they are sent");
        assert!(confirms.iter().all(lapin::Confirmation::is_ack));
        n += count;
    }
}

/// What the gateway sends.
fn properties(part: usize, n: u64, keys: usize) -> BasicProperties {
    let text = |text: String| AMQPValue::LongString(text.into());
    let mut headers = FieldTable::default();
    headers.insert("type".into(), text("pdf".to_owned()));
    headers.insert("causeway-topic".into(), text(QUEUE.to_owned()));
    headers.insert("publisher-id".into(), text(format!("m-{part}-{n}")));
    let key = n as usize % keys;
    headers.insert("causeway-key".into(), text(format!("k{part}-{key}")));
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("text/plain".into())
        .with_type("pdf".into())
        .with_timestamp(1_700_000_000)
        .with_message_id(format!("{part:032x}{n:032x}").into())
        .with_headers(headers)
}
