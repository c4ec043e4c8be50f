//! Against librdkafka's own mock cluster, which fails as it is told. What a real one does: tests/kafka/.

use super::*;
use crate::egress::Egress;
use crate::message::{
    Ack, DeliveryId, Envelope, Epoch, Guarantee, LaneId, LogUuid, Message, MessageId, Plan,
    RouteId, Target,
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::time::Instant;

type Cluster = MockCluster<'static, DefaultProducerContext>;

const TOPIC: &str = "t";
const PATIENCE: Duration = Duration::from_secs(60);

/// One broker, one partition.
fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic(TOPIC, 1, 1).expect("a topic");
    cluster
}

fn kafka(cluster: &Cluster) -> Kafka {
    let options = KafkaOptions {
        brokers: vec![cluster.bootstrap_servers()],
        client_id: "test".to_owned(),
        properties: Vec::new(),
        tls: None,
        sasl: None,
        topic: Some(TOPIC.to_owned()),
        create: None,
        partition_header: None,
        timeout: PATIENCE,
    };
    let names = Arc::new(NameBook::new(LogUuid(7), vec!["route".into()]));
    Kafka::new(options, names, "sink".into()).expect("a thread")
}

fn deliveries(positions: std::ops::Range<u64>) -> Vec<Delivery> {
    positions.map(delivery).collect()
}

fn delivery(position: u64) -> Delivery {
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "jobs".into(),
        id: MessageId::Publisher(format!("id-{position}")),
        key: Some(Bytes::from_static(b"k")),
        headers: Vec::new(),
        content_type: None,
        payload: Ok(Bytes::from(position.to_string())),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    };
    let targets = vec![Target::to(RouteId(0), LaneId(1), Guarantee::AtLeastOnce)];
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::ZERO,
        targets,
    };
    Delivery {
        at: DeliveryId::new(position, 0),
        accepted: crate::clock::Wall(1),
        epoch: Epoch(9),
        identity: None,
        known_as: None,
        size_bytes: 10,
        dead_letter: None,
        message: Arc::new(Message { envelope, plan }),
    }
}

/// As a lane does it: what isn't delivered is tried again. What was said of it, each once.
async fn deliver(kafka: &Kafka, mut left: Vec<Delivery>) -> Vec<Verdict> {
    let (mut said, end) = (Vec::new(), Instant::now() + PATIENCE);
    while !left.is_empty() {
        assert!(Instant::now() < end, "{said:?}");
        let verdicts = kafka.deliver(&left, false).await.verdicts;
        let mut verdicts = verdicts.into_iter();
        left.retain(|_| {
            let verdict = verdicts.next().expect("one of each");
            let is_left = verdict != Verdict::Delivered;
            if is_left && !said.contains(&verdict) {
                said.push(verdict);
            }
            is_left
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    said
}

/// The payloads of all that it holds.
fn read(cluster: &Cluster) -> Vec<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .expect("a client");
    let (_, end) = consumer
        .fetch_watermarks(TOPIC, 0, PATIENCE)
        .expect("it answers");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Beginning)
        .expect("an offset");
    consumer.assign(&list).expect("an assignment");
    let (mut payloads, limit) = (Vec::new(), Instant::now() + PATIENCE);
    while i64::try_from(payloads.len()) != Ok(end) {
        assert!(Instant::now() < limit, "{} of {end}", payloads.len());
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let payload = String::from_utf8_lossy(message.payload().unwrap_or_default());
            payloads.push(payload.parse().expect("one of ours"));
        }
    }
    payloads
}

fn unknown(said: &[Verdict]) -> Option<&str> {
    let mut reasons = said.iter().filter_map(|verdict| match verdict {
        Verdict::Unknown { reason } => Some(&**reason),
        _ => None,
    });
    reasons.next()
}

/// The broker says that it lost count: an idempotent producer can't go on.
#[tokio::test]
async fn after_a_fatal_error_another_producer_goes_on() {
    let cluster = cluster();
    let kafka = kafka(&cluster);
    deliver(&kafka, deliveries(0..50)).await;
    let lost_count = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[lost_count]);
    let said = deliver(&kafka, deliveries(50..100)).await;
    let why = unknown(&said).unwrap_or_else(|| panic!("{said:?}"));
    assert!(why.contains("out of order sequence number"), "{why}");
    deliver(&kafka, deliveries(100..150)).await;
    // What the broker refused it hasn't: so no double either.
    assert_eq!(read(&cluster), (0..150).collect::<Vec<_>>());
}

/// What else was on its way when a producer failed for good is heard of before it goes.
#[tokio::test]
async fn what_was_answered_after_a_fatal_error_isnt_sent_again() {
    let cluster = MockCluster::new(2).expect("a mock cluster");
    for (topic, leader) in [(TOPIC, 1), ("slow", 2)] {
        cluster.create_topic(topic, 1, 1).expect("a topic");
        let led = cluster.partition_leader(topic, 0, Some(leader));
        led.expect("a leader");
    }
    let kafka = kafka(&cluster);
    let to_slow = |position| {
        let mut delivery = delivery(position);
        let mut message = Message::clone(&delivery.message);
        message.plan.targets[0].topic = Some("slow".to_owned());
        delivery.message = Arc::new(message);
        vec![delivery]
    };
    deliver(&kafka, deliveries(0..1)).await;
    deliver(&kafka, to_slow(1)).await;
    cluster
        .broker_round_trip_time(2, Duration::from_millis(600))
        .expect("it is slow");
    let (slow, fast) = (to_slow(2), deliveries(3..4));
    let mut slow = Box::pin(kafka.deliver(&slow, false));
    assert_eq!((&mut slow).now_or_never(), None);
    // It gets there first; else it is the one that is refused.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let lost_count = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[lost_count]);
    let (slow, fast) = tokio::join!(slow, kafka.deliver(&fast, false));
    let verdicts = [slow.verdicts, fast.verdicts].concat();
    let delivered = verdicts.iter().filter(|v| **v == Verdict::Delivered);
    assert_eq!(delivered.count(), 1, "{verdicts:?}");
    assert!(unknown(&verdicts).is_some(), "{verdicts:?}");
}

/// More than librdkafka's own queue takes, and none of it leaves it: all is handed over.
#[tokio::test]
async fn no_queue_of_the_client_is_ever_full() {
    let cluster = cluster();
    let kafka = kafka(&cluster);
    deliver(&kafka, deliveries(0..1)).await;
    cluster
        .broker_round_trip_time(1, 2 * PATIENCE)
        .expect("it is slow");
    let many = deliveries(1..110_000);
    let mut call = Box::pin(kafka.deliver(&many, false));
    assert_eq!((&mut call).now_or_never(), None);
    kafka.close().await;
    let attempted = tokio::time::timeout(PATIENCE, call).await;
    let verdicts = attempted.expect("it ends").verdicts;
    let kept = verdicts
        .iter()
        .find(|v| !matches!(v, Verdict::Unknown { .. }));
    assert_eq!(kept, None, "it wasn't handed over");
}

#[tokio::test]
async fn what_is_in_flight_when_it_closes_is_confirmed() {
    let cluster = cluster();
    let kafka = kafka(&cluster);
    deliver(&kafka, deliveries(0..1)).await;
    cluster
        .broker_round_trip_time(1, Duration::from_millis(300))
        .expect("it is slow");
    let batch = deliveries(1..10);
    let mut call = Box::pin(kafka.deliver(&batch, false));
    assert_eq!((&mut call).now_or_never(), None);
    kafka.close().await;
    let attempted = call.now_or_never().expect("each has its verdict");
    assert_eq!(attempted.verdicts, vec![Verdict::Delivered; 9]);
    let late = kafka.deliver(&deliveries(10..11), false).await.verdicts;
    assert!(matches!(late[..], [Verdict::Retry { .. }]), "{late:?}");
}

/// The last of its lanes ended by an error and closed it; then a reload opens the one for what is at_most_once.
#[tokio::test]
async fn a_lane_that_begins_later_opens_it_again() {
    let cluster = cluster();
    let egress = Egress::Kafka(kafka(&cluster));
    let Egress::Kafka(kafka) = &egress else {
        unreachable!("it was made so")
    };
    egress.enter();
    deliver(kafka, deliveries(0..10)).await;
    egress.leave().await;
    let closed = kafka.deliver(&deliveries(10..11), false).await.verdicts;
    assert_eq!(closed, [Verdict::retry("it is closed")]);
    egress.enter();
    deliver(kafka, deliveries(10..20)).await;
    egress.leave().await;
    assert_eq!(read(&cluster), (0..20).collect::<Vec<_>>());
}

/// Nobody answers any more: it closes all the same, and says that nobody knows.
#[tokio::test]
async fn it_closes_in_bounded_time() {
    let cluster = cluster();
    let kafka = kafka(&cluster);
    deliver(&kafka, deliveries(0..1)).await;
    cluster
        .broker_round_trip_time(1, 2 * PATIENCE)
        .expect("it is slow");
    let batch = deliveries(1..10);
    let mut call = Box::pin(kafka.deliver(&batch, false));
    assert_eq!((&mut call).now_or_never(), None);
    let begun = Instant::now();
    kafka.close().await;
    assert!(
        begun.elapsed() < 2 * CLOSE_PATIENCE,
        "{:?}",
        begun.elapsed()
    );
    let attempted = tokio::time::timeout(PATIENCE, call).await.expect("it ends");
    assert_eq!(
        unknown(&attempted.verdicts),
        Some("given up with its producer: it may have been written")
    );
}
