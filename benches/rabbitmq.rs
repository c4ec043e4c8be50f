//! What the gateway brings to RabbitMQ, beside a bare confirm publisher: the same client library, headers,
//! payloads, options. As many are unconfirmed as there are keys; with one key each waits for its confirm. How: `broker`.

use super::broker::{self, Broker, Meter, PAYLOAD_BYTES, Run};
use super::report::{Row, Size};
use super::support::brokers::{Own, own_rabbitmq};
use causeway_brokers::rabbitmq::Rabbitmq;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use std::time::Duration;
use tokio::runtime::Runtime;

const QUEUE: &str = "bench";
/// Of a run with many keys, and with one.
const MESSAGES: [u64; 2] = [50_000, 3_000];
const LOAD: Duration = Duration::from_millis(300);
/// Of the bare publisher: with 1,000 keys 4 × 250 are unconfirmed at once.
const CHANNELS: u64 = 4;
const PERSISTENT: u8 = 2;

pub fn rabbitmq(size: Size) -> Vec<Row> {
    let Some(server) = own_rabbitmq("the bench `rabbitmq`") else {
        return Vec::new();
    };
    println!(
        "<!-- rabbitmq {}: one node, classic durable queue, default exchange, persistent, mandatory, \
         {PAYLOAD_BYTES} bytes, 3 headers; gateway: up to 16 batches of 256 in flight, one of a key; bare: lapin, \
         one connection, {CHANNELS} channels, as many unconfirmed as there are keys -->",
        causeway_brokers::rabbitmq::VERSION
    );
    broker::rows(&OneQueue { server }, size)
}

struct OneQueue {
    server: Own<Rabbitmq>,
}

impl OneQueue {
    fn with_channels<T>(&self, channels: u64, work: impl AsyncFnOnce(&[Channel]) -> T) -> T {
        Runtime::new().expect("a runtime").block_on(async {
            let url = self.server.ports().url();
            let connection = Connection::connect(&url, ConnectionProperties::default()).await;
            let connection = connection.expect("it takes us");
            let mut open = Vec::new();
            for _ in 0..channels {
                open.push(channel(&connection).await);
            }
            work(&open).await
        })
    }
}

impl Broker for OneQueue {
    const CLIENT: &'static str = "bare lapin";
    const AIM_DRAINED: &'static str = "≥ 0.9 of bare lapin";
    const AIM_PEERS: &'static str =
        "none; Bento, taken elsewhere by wrk: 8.6 k/s, 82 CPU-s a million (broker 93)";
    /// It is slow.
    const ROUNDS: usize = 3;

    fn destination(&self) -> String {
        let url = self.server.ports().url();
        format!(
            "type = \"rabbitmq\"\nurl = {url:?}\ntopic = \"{QUEUE}\"\nqueues = [{{ name = \"{QUEUE}\" }}]\n"
        )
    }

    fn pid(&self) -> u32 {
        self.server.pid().expect("it runs")
    }

    fn messages(&self, keys: u64) -> u64 {
        MESSAGES[usize::from(keys == 1)]
    }

    fn load(&self, keys: u64) -> Option<Duration> {
        (keys > 1).then_some(LOAD)
    }

    fn bare(&self, keys: u64, messages: u64) -> Run {
        let channels = CHANNELS.min(keys);
        self.with_channels(channels, async |open| {
            let meter = Meter::start(std::process::id(), self.pid());
            let each = messages.div_ceil(channels);
            let work = open.iter().zip(0..);
            let all = work.map(|(channel, part)| publish(channel, part, keys / channels, each));
            join_all(all).await;
            meter.stop(each * channels, Vec::new())
        })
    }

    /// What stays in the queue costs the server memory.
    fn clear(&self) {
        self.with_channels(1, async |open| {
            let options = QueuePurgeOptions::default();
            let purged = open[0].queue_purge(QUEUE.into(), options).await;
            purged.expect("the next round begins with an empty queue");
        });
    }
}

async fn channel(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.expect("a channel");
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(QUEUE.into(), durable, FieldTable::default());
    declared.await.expect("a queue");
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.expect("it confirms");
    channel
}

/// As many unconfirmed at once as the channel has keys.
async fn publish(channel: &Channel, part: u64, keys: u64, messages: u64) {
    let payload = vec![b'x'; PAYLOAD_BYTES];
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
    let window = usize::try_from(keys).expect("a few");
    let mut confirms = stream::iter((0..messages).map(one)).buffer_unordered(window);
    while let Some(confirm) = confirms.next().await {
        assert!(confirm.expect("it is sent").is_ack());
    }
}

/// What the gateway sends.
fn properties(part: u64, n: u64, keys: u64) -> BasicProperties {
    let text = |text: String| AMQPValue::LongString(text.into());
    let mut headers = FieldTable::default();
    headers.insert("causeway-topic".into(), text("stored/x".to_owned()));
    headers.insert("publisher-id".into(), text(format!("id-{n}")));
    let key = n % keys;
    headers.insert("causeway-key".into(), text(format!("k{part}-{key}")));
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("text/plain".into())
        .with_timestamp(1_700_000_000)
        .with_message_id(format!("{part:016x}{n:016x}").into())
        .with_headers(headers)
}
