//! What a record looks like, and where it lands.

use super::{gateway, lane, settings, wait_delivered};
use crate::egress::kafka::shared;
use crate::support::brokers::kafka_java;
use crate::support::grpc;
use crate::support::kafka::{Record, create_topic, read_topic};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

fn places(records: &[Record]) -> BTreeMap<Vec<u8>, i32> {
    let place = |record: &Record| (record.key.clone().unwrap_or_default(), record.partition);
    records.iter().map(place).collect()
}

#[test]
fn keys_land_where_kafkas_own_producer_puts_them() {
    let test = "kafka::records::keys_land_where_kafkas_own_producer_puts_them";
    let (Some(kafka), Some(mut java)) = (shared(test), kafka_java(test)) else {
        return;
    };
    let address = kafka.ports().plain().to_string();
    create_topic(&address, "java", 6, 1, &[]);
    create_topic(&address, "ours", 6, 1, &[]);
    let mut keys: Vec<String> = (0..500).map(|n| format!("key {n}")).collect();
    keys.extend(["é", "☃💥", "a", "ab", "abc", "abcd"].map(str::to_owned));
    keys.push("long".repeat(200));

    let gateway = gateway(&settings(&format!("{address:?}"), "topic = \"ours\""));
    let line = |key: &String| format!("{}\n", json!({ "topic": "t", "key": key, "data": 1 }));
    let body: String = keys.iter().map(line).collect();
    let mut client = gateway.client(ANSWER_LIMIT);
    let response = client
        .post("/v1/batch", &[], body.as_bytes())
        .expect("it answers");
    assert_eq!(response.status, 200, "{response}");
    wait_delivered(&gateway, keys.len() as u64);

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/Keys.java");
    let java = java.args([file, &address, "java"]);
    let mut java = java.stdin(Stdio::piped()).spawn().expect("java runs");
    let mut input = java.stdin.take().expect("it is piped");
    input
        .write_all((keys.join("\n") + "\n").as_bytes())
        .expect("java reads");
    drop(input);
    assert!(java.wait().expect("java ends").success());

    let theirs = places(&read_topic(&address, "java"));
    assert_eq!(theirs.len(), keys.len());
    assert_eq!(places(&read_topic(&address, "ours")), theirs);
}

#[test]
fn a_record_has_all_of_its_message() {
    let test = "kafka::records::a_record_has_all_of_its_message";
    let Some(kafka) = shared(test) else { return };
    let address = kafka.ports().plain().to_string();
    create_topic(&address, "look", 6, 1, &[]);
    let more = "topic = \"look\"\npartition_header = \"to\"\nproperties = { \"compression.type\" = \"zstd\" }";
    let gateway = gateway(&settings(&format!("{address:?}"), more));
    let millis = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_millis()
    };
    let before = millis();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "order-1"),
        ("causeway-key", "k"),
        ("causeway-header-type", "pdf"),
        ("causeway-header-to", "4"),
    ];
    let mut client = gateway.client(ANSWER_LIMIT);
    let response = client.post("/v1/topics/orders/eu", &headers, b"{\"n\":1}");
    assert_eq!(response.expect("it answers").status, 202);
    wait_delivered(&gateway, 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let mut tombstone = grpc::message("orders/eu", "order-2", "");
        (tombstone.payload, tombstone.key) = (None, "gone".into());
        let empty = grpc::message("orders/eu", "order-3", "");
        for message in [tombstone, empty] {
            let mut client = grpc::connect(gateway.grpc).await;
            let published = client.publish(grpc::publish(message)).await;
            published.unwrap_or_else(|e| panic!("{e}"));
        }
    });
    wait_delivered(&gateway, 3);

    let records = read_topic(&address, "look");
    let by_id = |id: &str| {
        let record = records
            .iter()
            .find(|record| record.text("publisher-id") == id);
        record.unwrap_or_else(|| panic!("no {id} in {records:?}"))
    };
    let first = by_id("order-1");
    assert_eq!(first.partition, 4);
    assert_eq!(first.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(first.payload.as_deref(), Some(&b"{\"n\":1}"[..]));
    let time = u128::try_from(first.timestamp.expect("it has one")).expect("positive");
    assert!((before..=millis()).contains(&time), "{time}");
    assert_eq!(first.text("type"), "pdf");
    assert_eq!(first.text("causeway-topic"), "orders/eu");
    assert_eq!(first.text("content-type"), "application/json");
    assert_eq!(first.text("message-id").len(), 32, "{first:?}");
    let tombstone = by_id("order-2");
    assert_eq!(
        (&tombstone.payload, tombstone.key.as_deref()),
        (&None, Some(&b"gone"[..]))
    );
    assert_eq!(by_id("order-3").payload.as_deref(), Some(&b""[..]));

    // No such partition: refused for good.
    for wrong in ["6", "-1", "x", "99999999999"] {
        let headers = [("causeway-header-to", wrong)];
        let response = client.post("/v1/topics/orders/eu", &headers, b"x");
        assert_eq!(response.expect("it answers").status, 202);
    }
    crate::support::wait::wait_for(ANSWER_LIMIT, || {
        let lane: Value = lane(&gateway);
        let counts = super::counts(&gateway);
        (counts.dead_lettered == 4)
            .then_some(())
            .ok_or(lane.to_string())
    });
}
