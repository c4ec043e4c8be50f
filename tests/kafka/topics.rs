//! Topics that aren't there, or aren't ours.

use super::{counts, gateway, lane, settings, wait_delivered, wait_error};
use crate::egress::kafka::shared;
use crate::support::brokers::done;
use crate::support::kafka::{create_topic, read_topic};
use crate::support::process::Gateway;
use crate::support::wait::wait_for;
use std::collections::BTreeSet;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Each message names its topic.
fn by_header(address: &str, more: &str) -> Gateway {
    let settings = settings(&format!("{address:?}"), more).replace(
        "to = [\"sink\"]",
        "to = [{ destination = \"sink\", topic = \"${headers['to']}\" }]",
    );
    gateway(&settings)
}

fn publish(gateway: &Gateway, topic: &str, id: &str) -> u16 {
    let headers = [
        ("causeway-header-to", topic),
        ("idempotency-key", id),
        ("causeway-key", "k"),
    ];
    let response = gateway
        .client(ANSWER_LIMIT)
        .post("/v1/topics/a", &headers, b"x");
    response.unwrap_or_else(|t| panic!("{id}: {t}")).status
}

fn ids(address: &str, topic: &str) -> Vec<String> {
    let records = read_topic(address, topic);
    records
        .iter()
        .map(|record| record.text("publisher-id"))
        .collect()
}

#[test]
fn a_topic_that_isnt_there_holds_up_nobody_else() {
    let test = "kafka::topics::a_topic_that_isnt_there_holds_up_nobody_else";
    let Some(kafka) = shared(test) else { return };
    let address = kafka.ports().plain().to_string();
    create_topic(&address, "is-there", 1, 1, &[]);
    let gateway = by_header(&address, "");
    for n in 0..5 {
        assert_eq!(publish(&gateway, "to-come", &format!("held-{n}")), 202);
    }
    wait_error(&gateway, "to-come");
    wait_error(&gateway, "Unknown topic or partition");
    for n in 0..5 {
        assert_eq!(publish(&gateway, "is-there", &format!("free-{n}")), 202);
    }
    // The key of the held ones is theirs: `first deliveries of one rendered key` come in order.
    wait_for(ANSWER_LIMIT, || {
        let counts = counts(&gateway);
        (counts.pending == 10)
            .then_some(())
            .ok_or(counts.to_string())
    });
    let other = [
        ("causeway-header-to", "is-there"),
        ("idempotency-key", "other"),
    ];
    let response = gateway
        .client(ANSWER_LIMIT)
        .post("/v1/topics/a", &other, b"x");
    assert_eq!(response.expect("it answers").status, 202);
    wait_for(ANSWER_LIMIT, || {
        let counts = counts(&gateway);
        (counts.delivered == 1)
            .then_some(())
            .ok_or(counts.to_string())
    });
    create_topic(&address, "to-come", 1, 1, &[]);
    wait_delivered(&gateway, 11);
    let held: Vec<String> = (0..5).map(|n| format!("held-{n}")).collect();
    assert_eq!(ids(&address, "to-come"), held);
}

#[test]
fn a_topic_is_created_if_the_file_says_so() {
    let test = "kafka::topics::a_topic_is_created_if_the_file_says_so";
    let Some(kafka) = shared(test) else { return };
    let address = kafka.ports().plain().to_string();
    let gateway = by_header(&address, "create = { partitions = 3, replication = 1 }");
    for topic in ["made-1", "made-2"] {
        assert_eq!(publish(&gateway, topic, topic), 202);
    }
    wait_delivered(&gateway, 2);
    assert_eq!(ids(&address, "made-1"), ["made-1"]);
    let keys = (0..60).map(|n| {
        format!(
            "{{\"topic\":\"a\",\"key\":\"{n}\",\"headers\":{{\"to\":\"made-2\"}},\"data\":1}}\n"
        )
    });
    let body: String = keys.collect();
    let response = gateway
        .client(ANSWER_LIMIT)
        .post("/v1/batch", &[], body.as_bytes());
    assert_eq!(response.expect("it answers").status, 200);
    wait_delivered(&gateway, 62);
    let records = read_topic(&address, "made-2");
    let partitions: BTreeSet<i32> = records.iter().map(|record| record.partition).collect();
    assert_eq!(partitions, BTreeSet::from([0, 1, 2]));
}

#[test]
fn a_topic_that_cant_be_created_is_waited_for() {
    let test = "kafka::topics::a_topic_that_cant_be_created_is_waited_for";
    let Some(kafka) = shared(test) else { return };
    let address = kafka.ports().plain().to_string();
    // There is one broker.
    let gateway = by_header(&address, "create = { partitions = 1, replication = 3 }");
    assert_eq!(publish(&gateway, "too-wide", "one"), 202);
    wait_error(&gateway, "can't be created: ");
    wait_error(&gateway, "replication factor");
    assert_eq!(counts(&gateway).pending, 1);
    create_topic(&address, "too-wide", 1, 1, &[]);
    wait_delivered(&gateway, 1);
    assert_eq!(ids(&address, "too-wide"), ["one"]);
}

#[test]
fn what_isnt_ours_goes_to_the_dead_letters() {
    let test = "kafka::topics::what_isnt_ours_goes_to_the_dead_letters";
    let Some(kafka) = shared(test) else { return };
    let address = kafka.ports().plain().to_string();
    for topic in ["theirs", "everybodys"] {
        create_topic(&address, topic, 1, 1, &[]);
    }
    done(kafka.refuse_writes("theirs"));
    let gateway = by_header(&address, "");
    for n in 0..4 {
        let topic = ["theirs", "everybodys"][n % 2];
        assert_eq!(publish(&gateway, topic, &format!("id-{n}")), 202);
    }
    wait_for(ANSWER_LIMIT, || {
        let counts = counts(&gateway);
        match (counts.delivered, counts.dead_lettered) {
            (2, 2) => Ok(()),
            _ => Err(format!("{counts}: {}", lane(&gateway))),
        }
    });
    wait_error(&gateway, "Topic authorization failed");
    assert_eq!(ids(&address, "everybodys"), ["id-1", "id-3"]);
    assert_eq!(ids(&address, "theirs"), [""; 0]);

    // What is no name is refused at the door.
    for (n, name) in ["a b", "a/b", "..", &"x".repeat(250)]
        .into_iter()
        .enumerate()
    {
        assert_eq!(publish(&gateway, name, &format!("bad-{n}")), 422, "{name}");
    }
}
