//! Settings change while records are in flight.

use super::{assert_whole, gateway, lane, publish_during, settings, wait_delivered, wait_error};
use crate::egress::kafka::shared;
use crate::support::kafka::{create_topic, read_topic};
use crate::support::wait::wait_for;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const PUBLISHERS: usize = 8;
/// In which something is in flight.
const WHILE: Duration = Duration::from_millis(500);

#[test]
fn order_holds_when_a_reload_makes_a_new_producer() {
    let test = "kafka::settings::order_holds_when_a_reload_makes_a_new_producer";
    let Some(kafka) = shared(test) else { return };
    let address = kafka.ports().plain().to_string();
    create_topic(&address, "reloads", 3, 1, &[]);
    let file = |broker: &str, linger: u32| {
        let more = format!(
            "topic = \"reloads\"\ntimeout = \"2s\"\nproperties = {{ \"linger.ms\" = {linger} }}"
        );
        settings(&format!("{broker:?}"), &more)
    };
    let gateway = gateway(&file(&address, 5));
    let reload = |text: &str| {
        gateway.configure(text);
        let output = gateway.run(&["reload"]);
        assert!(output.status.success(), "{output:?}");
    };
    let published = publish_during(&gateway, PUBLISHERS, || {
        for linger in [50, 0, 20] {
            thread::sleep(WHILE);
            reload(&file(&address, linger));
        }
        thread::sleep(WHILE);
        // Nobody is there.
        reload(&file("127.0.0.1:1", 5));
        wait_for(PATIENCE, || {
            let lane = lane(&gateway);
            let error = lane["last_error"].as_str().unwrap_or_default();
            error
                .contains("127.0.0.1:1")
                .then_some(())
                .ok_or(lane.to_string())
        });
        thread::sleep(WHILE);
        reload(&file(&address, 5));
        thread::sleep(WHILE);
    });
    wait_delivered(&gateway, published.values().sum());
    assert_whole(&address, "reloads", &published);
}

/// What was accepted goes where the file said then.
#[test]
fn another_topic_is_for_what_comes_next() {
    let test = "kafka::settings::another_topic_is_for_what_comes_next";
    let Some(kafka) = shared(test) else { return };
    let address = kafka.ports().plain().to_string();
    let file = |topic: &str| settings(&format!("{address:?}"), &format!("topic = {topic:?}"));
    let gateway = gateway(&file("topic-before"));
    let publish = |id: &str| {
        let headers = [("idempotency-key", id)];
        let response = gateway
            .client(PATIENCE)
            .post("/v1/topics/a", &headers, b"x");
        assert_eq!(response.expect("it answers").status, 202);
    };
    publish("before");
    // It isn't there: owed.
    wait_error(&gateway, "topic-before");
    gateway.configure(&file("topic-after"));
    let output = gateway.run(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    publish("after");
    for topic in ["topic-after", "topic-before"] {
        create_topic(&address, topic, 1, 1, &[]);
    }
    wait_delivered(&gateway, 2);
    for (topic, id) in [("topic-before", "before"), ("topic-after", "after")] {
        let records = read_topic(&address, topic);
        let ids: Vec<String> = records.iter().map(|r| r.text("publisher-id")).collect();
        assert_eq!(ids, [id], "{topic}");
    }
}
