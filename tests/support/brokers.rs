//! Real servers: the shared ones of `cargo xtask brokers`, and a test's own, which it may freeze and kill.
//!
//! Where one can't be had the test is skipped, with the reason, and fails where `CI=true`: each function
//! here takes the test's name and gives `None` then. A server that is there and doesn't start is a failure.

use super::skip::skipped;
use causeway_brokers::debian::Debian;
use causeway_brokers::kafka::{self, Kafka};
use causeway_brokers::rabbitmq::{self, Rabbitmq};
use causeway_brokers::{Place, Trouble};
use std::env;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::thread;
use tempfile::TempDir;

/// `host:port` of a Kafka that other tests use, too: topics of names of your own, and no harm to it.
pub fn shared_kafka(test: &str) -> Option<String> {
    named(test, "CAUSEWAY_TEST_KAFKA")
}

/// The URL of a RabbitMQ that other tests use, too: names of your own, and no harm to it.
pub fn shared_rabbitmq(test: &str) -> Option<String> {
    named(test, "CAUSEWAY_TEST_RABBITMQ")
}

/// A Kafka of the test's own: a cluster of one node, empty, ready.
pub fn own_kafka(test: &str) -> Option<Own<Kafka>> {
    let dist = had(test, kafka::Dist::find(&place()))?;
    let folder = folder();
    let node = done(Kafka::start_in(folder.path(), &dist));
    Some(Own { node, folder })
}

/// The same, not kept small: for load.
#[allow(dead_code, reason = "for benches")]
pub fn fast_kafka(test: &str) -> Option<Own<Kafka>> {
    let dist = had(test, kafka::Dist::find(&place()))?;
    let folder = folder();
    let node = done(Kafka::start_fast_in(folder.path(), &dist));
    Some(Own { node, folder })
}

/// A second, broker-only node for a cluster of the test's own.
pub fn second_node(first: &Kafka) -> Own<Kafka> {
    let folder = folder();
    let node = done(first.start_second_in(folder.path()));
    Own { node, folder }
}

/// A RabbitMQ of the test's own, empty, ready; it takes some eight seconds.
pub fn own_rabbitmq(test: &str) -> Option<Own<Rabbitmq>> {
    let dist = had(test, rabbitmq::Dist::find(&place()))?;
    let folder = folder();
    let node = done(Rabbitmq::start_in(folder.path(), &dist));
    Some(Own { node, folder })
}

/// kcat, for its arguments. Its librdkafka, 2.0.2, is refused by Kafka 4.1 when it uses SCRAM.
pub fn kcat(test: &str) -> Option<Command> {
    had(test, Debian::find(&place())).map(|debian| debian.kcat())
}

/// Kafka's own clients and commands: `java` with their jars, for a class or a source file and its arguments.
pub fn kafka_java(test: &str) -> Option<Command> {
    had(test, kafka::Dist::find(&place())).map(|dist| dist.java())
}

/// What an operation on a server gave.
///
/// # Panics
/// With what was said, if it failed.
#[track_caller]
pub fn done<T>(result: Result<T, Trouble>) -> T {
    result.unwrap_or_else(|trouble| panic!("{trouble}"))
}

/// A server of a test's own: it and its folder go with the test. `CAUSEWAY_TEST_KEEP` keeps the folder.
#[derive(Debug)]
pub struct Own<S: Deref<Target = causeway_brokers::Server>> {
    /// Before its folder: fields are dropped in order.
    node: S,
    folder: TempDir,
}

impl<S: Deref<Target = causeway_brokers::Server>> Deref for Own<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.node
    }
}

impl<S: Deref<Target = causeway_brokers::Server>> DerefMut for Own<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.node
    }
}

impl<S: Deref<Target = causeway_brokers::Server>> Drop for Own<S> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.node.log_tail());
        }
        if env::var_os("CAUSEWAY_TEST_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("kept: {}", self.folder.path().display());
        }
    }
}

fn place() -> Place {
    Place::of_workspace(Path::new(env!("CARGO_MANIFEST_DIR")))
}

fn named(test: &str, variable: &str) -> Option<String> {
    let address = env::var(variable)
        .ok()
        .filter(|address| !address.is_empty());
    if address.is_none() {
        let why = "isn't set: `cargo xtask test` sets it, where the server can be had";
        skipped(test, &format!("{variable} {why}"));
    }
    address
}

fn had<T>(test: &str, found: Result<T, Trouble>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(Trouble::Absent(why)) => {
            skipped(test, &why);
            None
        }
        Err(Trouble::Failed(why)) => panic!("{test}: {why}"),
    }
}

fn folder() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("causeway-broker-")
        .tempdir();
    folder.expect("a folder")
}
