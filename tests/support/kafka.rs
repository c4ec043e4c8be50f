//! What tests ask a Kafka cluster by themselves: topics, and what is in them.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub timestamp: Option<i64>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The last of a name, as Kafka's clients have it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter().rev();
        let (_, value) = headers.find(|(key, _)| key == name)?;
        Some(value)
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.header(name).unwrap_or_default()).into_owned()
    }
}

/// A topic with settings of its own.
pub fn create_topic(address: &str, name: &str, partitions: i32, copies: i32, set: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()
        .expect("a client");
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
    for (key, value) in set {
        topic = topic.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let made = runtime.block_on(admin.create_topics([&topic], &options));
    for made in made.expect("the cluster answers") {
        made.unwrap_or_else(|(name, code)| panic!("{name}: {code}"));
    }
}

/// All that a topic holds now, partition by partition.
pub fn read_topic(address: &str, topic: &str) -> Vec<Record> {
    let mut records = Vec::new();
    each_record(address, topic, |record| records.push(record));
    records
}

/// The same, one after the other: there may be more than fit into memory.
pub fn each_record(address: &str, topic: &str, mut take: impl FnMut(Record)) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "a test")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .expect("a client");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE);
    let metadata = metadata.unwrap_or_else(|e| panic!("{topic}: {e}"));
    for partition in metadata.topics()[0].partitions() {
        read_partition(&consumer, topic, partition.id(), &mut take);
    }
}

fn read_partition(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    take: &mut impl FnMut(Record),
) {
    let marks = consumer.fetch_watermarks(topic, partition, PATIENCE);
    let (mut next, end) = marks.unwrap_or_else(|e| panic!("{topic} {partition}: {e}"));
    let mut list = TopicPartitionList::new();
    let at = list.add_partition_offset(topic, partition, Offset::Beginning);
    at.expect("an offset");
    consumer.assign(&list).expect("an assignment");
    let deadline = Instant::now() + PATIENCE;
    while next < end {
        assert!(
            Instant::now() < deadline,
            "{topic} {partition}: {next} of {end}"
        );
        let Some(read) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let Ok(message) = read else { continue };
        next = message.offset() + 1;
        let headers = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter());
        let headers = headers.map(|header| {
            let value = header.value.unwrap_or_default();
            (header.key.to_owned(), value.to_vec())
        });
        take(Record {
            partition,
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            timestamp: message.timestamp().to_millis(),
            headers: headers.collect(),
        });
    }
}
