//! Brokers are killed, frozen and made leaders while publishers go on.

use super::{
    PATIENCE, assert_whole, gateway, publish_during, settings, wait_delivered, wait_delivered_in,
};
use crate::support::brokers::{done, kcat, own_kafka, second_node};
use crate::support::kafka::create_topic;
use std::collections::BTreeSet;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

const TOPIC: &str = "six";
const PARTITIONS: i32 = 6;
const PUBLISHERS: usize = 50;
/// Longer than `SOCKET_TIMEOUT`: requests in flight are given up and sent again.
const FREEZES: [Duration; 2] = [Duration::from_secs(20); 2];
const SOCKET_TIMEOUT: &str = "topic = \"six\"\nproperties = { \"socket.timeout.ms\" = 10_000 }";
/// A node goes on before the next thing happens to it.
const CALM: Duration = Duration::from_secs(2);

/// How long the broker is frozen each time: once for the seconds that `cargo xtask torture --freeze` asks
/// for, else as often and long as in every run.
fn freezes() -> Vec<Duration> {
    match env::var("CAUSEWAY_TEST_FREEZE_SECONDS") {
        Ok(seconds) => {
            let seconds = seconds.parse().expect("CAUSEWAY_TEST_FREEZE_SECONDS");
            vec![Duration::from_secs(seconds)]
        }
        Err(_) => FREEZES.to_vec(),
    }
}

#[test]
fn order_holds_while_the_broker_is_killed_and_frozen() {
    let test = "kafka::cluster::order_holds_while_the_broker_is_killed_and_frozen";
    let Some(mut kafka) = own_kafka(test) else {
        return;
    };
    let address = kafka.ports().plain().to_string();
    create_topic(&address, TOPIC, PARTITIONS, 1, &[]);
    let gateway = gateway(&settings(&format!("{address:?}"), SOCKET_TIMEOUT));
    let freezes = freezes();
    let published = publish_during(&gateway, PUBLISHERS, || {
        for freeze in &freezes {
            thread::sleep(CALM);
            kafka.kill();
            done(kafka.start());
            thread::sleep(CALM);
            done(kafka.freeze());
            thread::sleep(*freeze);
            done(kafka.resume());
        }
    });
    let (messages, begun) = (published.values().sum(), Instant::now());
    // What was accepted while it was frozen takes as long again at most.
    let patience = PATIENCE + freezes.iter().sum();
    wait_delivered_in(patience, &gateway, messages);
    eprintln!(
        "frozen for {freezes:?}: {messages} messages accepted, all delivered {:.1?} after the last of them",
        begun.elapsed()
    );
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
