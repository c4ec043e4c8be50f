//! Many messages from many connections, as fast as they are taken.

use super::client::Client;
use super::process::Gateway;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 64;
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long one message may be told to wait.
const REFUSED_LIMIT: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    pub topic: &'a str,
    pub messages: u64,
    pub payload_bytes: u64,
    /// Each with an id of its own, or none.
    pub with_ids: bool,
    pub key: Option<&'a str>,
}

impl<'a> Load<'a> {
    pub fn new(topic: &'a str) -> Self {
        Self {
            topic,
            messages: 0,
            payload_bytes: 256,
            with_ids: false,
            key: None,
        }
    }
}

/// Returns when all are acknowledged, and what that took.
///
/// # Panics
/// If one is refused for good, or for too long.
pub fn load(gateway: &Gateway, load: &Load<'_>) -> Duration {
    let started = Instant::now();
    thread::scope(|scope| {
        for first in 0..CLIENTS {
            let client = gateway.client(ANSWER_LIMIT);
            scope.spawn(move || publish_share(client, load, first));
        }
    });
    started.elapsed()
}

/// Every `CLIENTS`-th message, from `first` on.
fn publish_share(mut client: Client, load: &Load<'_>, first: u64) {
    let payload = vec![b'x'; usize::try_from(load.payload_bytes).expect("fits in memory")];
    let mut number = first;
    while number < load.messages {
        let id = format!("{}-{number}", load.topic);
        let mut headers = vec![("content-type", "text/plain")];
        if load.with_ids {
            headers.push(("idempotency-key", id.as_str()));
        }
        headers.extend(load.key.map(|key| ("causeway-key", key)));
        publish(&mut client, load.topic, &headers, &payload);
        number += CLIENTS;
    }
}

fn publish(client: &mut Client, topic: &str, headers: &[(&str, &str)], payload: &[u8]) {
    let deadline = Instant::now() + REFUSED_LIMIT;
    loop {
        let response = client.post(&format!("/v1/topics/{topic}"), headers, payload);
        let response = response.unwrap_or_else(|trouble| panic!("publish: {trouble}"));
        match response.status {
            200 | 202 => return,
            503 if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            _ => panic!("publish: {response}"),
        }
    }
}
