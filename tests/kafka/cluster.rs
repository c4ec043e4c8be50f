//! Brokers are killed, frozen and made leaders while publishers go on.

use super::{assert_whole, gateway, publish_during, settings, wait_delivered};
use crate::support::brokers::{done, kcat, own_kafka, second_node};
use crate::support::kafka::create_topic;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

const TOPIC: &str = "six";
const PARTITIONS: i32 = 6;
const PUBLISHERS: usize = 50;
/// Longer than `SOCKET_TIMEOUT`: requests in flight are given up and sent again.
const FREEZE: Duration = Duration::from_secs(20);
const SOCKET_TIMEOUT: &str = "topic = \"six\"\nproperties = { \"socket.timeout.ms\" = 10_000 }";
/// A node goes on before the next thing happens to it.
const CALM: Duration = Duration::from_secs(2);

#[test]
fn order_holds_while_the_broker_is_killed_and_frozen() {
    let test = "kafka::cluster::order_holds_while_the_broker_is_killed_and_frozen";
    let Some(mut kafka) = own_kafka(test) else {
        return;
    };
    let address = kafka.ports().plain().to_string();
    create_topic(&address, TOPIC, PARTITIONS, 1, &[]);
    let gateway = gateway(&settings(&format!("{address:?}"), SOCKET_TIMEOUT));
    let published = publish_during(&gateway, PUBLISHERS, || {
        for _ in 0..2 {
            thread::sleep(CALM);
            kafka.kill();
            done(kafka.start());
            thread::sleep(CALM);
            done(kafka.freeze());
            thread::sleep(FREEZE);
            done(kafka.resume());
        }
    });
    wait_delivered(&gateway, published.values().sum());
    assert_whole(&address, TOPIC, &published);

    // As somebody else's client has it.
    let Some(mut kcat) = kcat(test) else { return };
    kcat.args([
        "-b",
        &address,
        "-C",
        "-t",
        TOPIC,
        "-o",
        "beginning",
        "-e",
        "-q",
    ]);
    let output = kcat.args(["-f", "%s\n"]).output().expect("kcat runs");
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    let read: BTreeSet<&str> = read.lines().collect();
    for (key, count) in &published {
        for number in 0..*count {
            let id = format!("{key}-{number}");
            assert!(read.contains(&*id), "kcat doesn't read {id}");
        }
    }
}

#[test]
fn nothing_is_lost_or_doubled_when_leaders_change() {
    let test = "kafka::cluster::nothing_is_lost_or_doubled_when_leaders_change";
    let Some(kafka) = own_kafka(test) else {
        return;
    };
    let mut second = second_node(&kafka);
    let address = kafka.ports().plain().to_string();
    create_topic(&address, TOPIC, PARTITIONS, 2, &[]);
    let brokers = format!("{address:?}, \"{}\"", second.ports().plain());
    let gateway = gateway(&settings(&brokers, SOCKET_TIMEOUT));
    let published = publish_during(&gateway, 20, || {
        thread::sleep(CALM);
        second.kill();
        // Its partitions have another leader once its session is over.
        thread::sleep(2 * CALM);
        done(second.start());
        let all = ["--election-type", "preferred", "--all-topic-partitions"];
        done(kafka.tool("LeaderElectionCommand", &all));
        thread::sleep(CALM);
    });
    wait_delivered(&gateway, published.values().sum());
    assert_whole(&address, TOPIC, &published);
}
