//! `type = "grpc"` beyond the contract of tests/egress/: calls that break in the middle, answers out of order or to
//! nothing, slow services, messages that break their receiver, TLS, another address, somebody else's server.

mod broken;
mod python;
mod tls;

use crate::support::asked::lane_of;
use crate::support::process::{Gateway, program};
use crate::support::sink::Sink;
use crate::support::wait::wait_for;
use causeway::egress::grpc::v1;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(keys: &str) -> String {
    format!(
        "[limits]\npayload = \"4MiB\"\n[destinations.sink]\ntype = \"grpc\"\n\
         retry = {{ initial = \"10ms\", max = \"100ms\" }}\n{keys}\n\
         [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"sink\"]\n"
    )
}

fn at(sink: &Sink) -> String {
    format!("url = \"http://{}\"\n", sink.address())
}

fn started(keys: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), &settings(keys));
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

/// Messages `n` of a range, each of its own key, in one batch.
fn publish(gateway: &Gateway, range: std::ops::Range<usize>) {
    let line = |n: usize| {
        let line = json!({ "topic": "jobs/new", "id": format!("id-{n}"), "key": format!("k{n}"), "data": n });
        format!("{line}\n")
    };
    let body: String = range.map(line).collect();
    publish_lines(gateway, &body);
}

fn publish_lines(gateway: &Gateway, lines: &str) {
    let mut client = gateway.client(ANSWER_LIMIT);
    let answer = client.post("/v1/batch", &[], lines.as_bytes());
    let answer = answer.unwrap_or_else(|t| panic!("{t}"));
    assert_eq!(answer.status, 200, "{answer}");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let taken = body.lines().filter(|line| line.contains("\"status\":202"));
    assert_eq!(taken.count(), lines.lines().count(), "{body}");
}

fn lane(gateway: &Gateway) -> Value {
    lane_of(gateway, "sink")
}

/// Waits until the lane's last error has these words.
fn wait_error(gateway: &Gateway, words: &str) -> Value {
    let mut shown = Value::Null;
    wait_for(PATIENCE, || {
        shown = lane(gateway);
        match shown["last_error"].to_string().contains(words) {
            true => Ok(()),
            false => Err(format!("no {words:?}: {shown}")),
        }
    });
    shown
}

/// Waits until so many were delivered and dead-lettered, and nothing is owed.
fn wait_settled(gateway: &Gateway, delivered: usize, dead_lettered: usize) -> Value {
    let mut settled = Value::Null;
    wait_for(PATIENCE, || {
        let lane = lane(gateway);
        let is = |name: &str, count: usize| lane[name].as_u64() == Some(count as u64);
        if is("pending", 0) && is("delivered", delivered) && is("dead_lettered", dead_lettered) {
            settled = lane;
            return Ok(());
        }
        Err(format!("not settled: {lane}"))
    });
    settled
}

/// How often each message was taken, by its publisher's id; one delivery has one delivery id.
fn times(took: &[v1::Delivery]) -> BTreeMap<String, usize> {
    let (mut times, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for delivery in took {
        *times.entry(delivery.publisher_id.clone()).or_default() += 1;
        let id = ids.entry(delivery.publisher_id.clone());
        assert_eq!(id.or_insert(delivery.id.clone()), &delivery.id);
    }
    times
}
