//! The real gateway before one server, and what scenarios ask of both.

use super::harness::{Cannot, Harness, Message, Mood, Taken, hash};
use crate::support::asked::{counts_of, lane_of};
use crate::support::metrics::Counts;
use crate::support::process::{Gateway, program};
use crate::support::skip::skipped;
use crate::support::wait::wait_for;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

/// Of everything that must come true.
pub const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

pub struct World<H> {
    pub gateway: Gateway,
    pub harness: H,
    /// In force.
    settings: String,
    /// All that was acknowledged, by id.
    published: BTreeMap<String, Message>,
}

/// Runs one scenario of one harness.
pub fn hold<H: Harness>(scenario: &str, run: fn(&mut World<H>) -> Result<(), Cannot>) {
    let harness = match H::start(scenario) {
        Ok(harness) => harness,
        Err(why) => return skipped(scenario, &why),
    };
    let mut world = World::new(harness);
    if let Err(Cannot(why)) = run(&mut world) {
        // Past the test harness, which swallows what a passing test prints; nothing better can be done
        // if standard error is closed.
        let line = format!("not asked: {scenario}: {why}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn settings<H: Harness>(harness: &H) -> String {
    let target = harness.target();
    let mut text = String::from("[limits]\npayload = \"4MiB\"\n\n");
    text.push_str(&harness.more_settings());
    text.push_str(
        "\n[destinations.sink]\nretry = { initial = \"10ms\", max = \"200ms\" }\ntimeout = \"1s\"\n",
    );
    text.push_str(&harness.settings());
    for (name, ack) in [("t", "stored"), ("sure", "delivered")] {
        text.push_str(&format!(
            "\n[[routes]]\nname = \"{name}\"\ntopic = \"{name}/#\"\nack = \"{ack}\"\nto = [{target}]\n"
        ));
    }
    text
}

impl<H: Harness> World<H> {
    pub fn new(harness: H) -> Self {
        let settings = settings(&harness);
        Self {
            gateway: Gateway::new(&program(), &settings),
            harness,
            settings,
            published: BTreeMap::new(),
        }
    }

    pub fn start(&mut self) {
        self.gateway.start().unwrap_or_else(|why| panic!("{why}"));
    }

    /// The server's mood, and if that changes what the file says a reload.
    pub fn be(&mut self, mood: Mood) -> Result<(), Cannot> {
        self.harness.be(mood)?;
        let settings = settings(&self.harness);
        if settings == self.settings {
            return Ok(());
        }
        self.gateway.configure(&settings);
        self.settings = settings;
        if self.gateway.pid().is_some() {
            let reload = self.gateway.run(&["reload"]);
            assert!(reload.status.success(), "{mood:?}: {reload:?}");
        }
        Ok(())
    }

    /// Publishes them in one batch; the answers, a line each.
    pub fn try_publish(&self, messages: &[Message]) -> Vec<Value> {
        let body: String = messages.iter().map(line).collect();
        let mut client = self.gateway.client(ANSWER_LIMIT);
        let response = client.post("/v1/batch", &[], body.as_bytes());
        let response = response.unwrap_or_else(|t| panic!("a batch: {t}"));
        assert_eq!(response.status, 200, "{response}");
        let lines = String::from_utf8(response.body).expect("answers are UTF-8");
        let answers: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("an answer is JSON"))
            .collect();
        assert_eq!(answers.len(), messages.len(), "{lines}");
        answers
    }

    /// All of them are taken by the gateway.
    pub fn publish(&mut self, messages: &[Message]) {
        for (message, answer) in messages.iter().zip(self.try_publish(messages)) {
            let status = answer["status"].as_u64();
            assert!(
                matches!(status, Some(200 | 202 | 422)) && answer["state"].is_string(),
                "{message:?}: {answer}"
            );
            self.owe(message);
        }
    }

    /// It was acknowledged: from now on it must not be lost.
    pub fn owe(&mut self, message: &Message) {
        let before = self.published.insert(message.id.clone(), message.clone());
        assert_eq!(before, None, "scenarios give each its own id");
    }

    /// What publishers are told of a message.
    pub fn state(&self, message: &Message) -> String {
        let target = format!("/v1/messages?id={}&topic={}", message.id, message.topic);
        let mut client = self.gateway.client(ANSWER_LIMIT);
        let response = client.get(&target);
        let response = response.unwrap_or_else(|t| panic!("{target}: {t}"));
        let body = response.json().unwrap_or_else(|why| panic!("{why}"));
        body["state"].as_str().unwrap_or_default().to_owned()
    }

    pub fn wait_state(&self, message: &Message, state: &str) {
        wait_for(PATIENCE, || match self.state(message) {
            now if now == state => Ok(()),
            now => Err(format!("{} is {now}, not {state}", message.id)),
        });
    }

    pub fn counts(&self) -> Counts {
        counts_of(&self.gateway, "sink")
    }

    /// The lane, as `causeway status --json` has it.
    pub fn lane(&self) -> Value {
        lane_of(&self.gateway, "sink")
    }

    /// Waits until the lane's last error has these words.
    pub fn wait_error(&self, words: &str) {
        wait_for(PATIENCE, || {
            let lane = self.lane();
            let error = lane["last_error"].as_str().unwrap_or_default().to_owned();
            match !error.is_empty() && error.contains(words) {
                true => Ok(()),
                false => Err(format!("no error with {words:?} in {lane}")),
            }
        });
    }

    /// Waits until something failed and is tried again.
    pub fn wait_retry(&self) {
        wait_for(PATIENCE, || {
            let lane = self.lane();
            let waits = self.harness.waits_in_its_client() && self.counts().pending > 0;
            match lane["retries"].as_u64() {
                Some(1..) => Ok(()),
                _ if waits => Ok(()),
                _ => Err(format!("nothing is tried again: {lane}")),
            }
        });
    }

    /// Waits until something was tried again, by a probe too.
    pub fn wait_tried_again(&self) {
        wait_for(PATIENCE, || {
            let lane = self.lane();
            match lane["attempts"].as_u64() {
                Some(2..) => Ok(()),
                _ => Err(format!("nothing is tried again: {lane}")),
            }
        });
    }

    /// Waits until the lane is shown as one that needs mending.
    pub fn wait_stopped(&self) {
        wait_for(PATIENCE, || {
            let lane = self.lane();
            let is_stopped = lane["state"] == "stopped";
            is_stopped.then_some(()).ok_or(lane.to_string())
        });
    }

    /// Waits until nothing is owed any more.
    pub fn wait_settled(&self) {
        wait_for(PATIENCE, || {
            let counts = self.counts();
            let owed =
                self.published.len() as u64 - counts.planned.min(self.published.len() as u64);
            match (counts.pending, owed) {
                (0, 0) => Ok(()),
                _ => Err(format!("{counts}: {}", self.lane())),
            }
        });
    }

    pub fn took(&mut self) -> Vec<Taken> {
        self.harness.took(&self.gateway)
    }

    /// Promises 2 and 12, after everything is settled: each acknowledged message was taken, whole, or is
    /// among so many dead letters; nothing else was taken; one delivery has one id.
    pub fn account(&mut self, dead_letters: u64) -> Vec<Taken> {
        self.wait_settled();
        let counts = self.counts();
        assert_eq!(counts.accounted(), counts.planned, "{counts}");
        assert_eq!(counts.planned, self.published.len() as u64, "{counts}");
        assert_eq!(
            counts.dead_lettered,
            dead_letters,
            "{counts}: {}",
            self.lane()
        );
        let took = self.took();
        let mut deliveries = BTreeMap::new();
        for taken in &took {
            let message = self.published.get(&taken.id);
            let message = message.unwrap_or_else(|| panic!("nobody published {taken:?}"));
            assert_same(message, taken, &self.harness);
            let delivery = deliveries.entry(taken.id.clone()).or_insert(taken);
            assert_eq!(
                delivery.delivery_id, taken.delivery_id,
                "{}: a delivery has one id",
                taken.id
            );
        }
        let ids: BTreeSet<&str> = deliveries.values().map(|t| &*t.delivery_id).collect();
        assert_eq!(
            ids.len(),
            deliveries.len(),
            "two deliveries have the same id"
        );
        let missing: Vec<&String> = self
            .published
            .keys()
            .filter(|id| !deliveries.contains_key(*id))
            .collect();
        // In doubt, then given up: such a one may be there although it is among the dead letters.
        assert!(missing.len() as u64 <= dead_letters, "lost: {missing:?}");
        took
    }
}

fn assert_same<H: Harness>(message: &Message, taken: &Taken, harness: &H) {
    assert_eq!(hash(&message.payload), taken.payload_hash, "{}", message.id);
    if let Some(key) = &taken.key {
        assert_eq!(message.key.as_ref(), Some(key), "{}", message.id);
    }
    if let Some(content_type) = &taken.content_type {
        assert_eq!(message.content_type.as_ref(), Some(content_type));
    }
    if let Some(headers) = &taken.headers {
        let travelling = message.headers.iter();
        for header in travelling.filter(|(name, _)| harness.travels(name)) {
            assert!(
                headers.contains(header),
                "{}: no {header:?} in {headers:?}",
                message.id
            );
        }
    }
}

/// Of a batch.
fn line(message: &Message) -> String {
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    let mut object = json!({
        "topic": message.topic,
        "id": message.id,
        "data_base64": base64(&message.payload),
    });
    if let Some(key) = &message.key {
        object["key_base64"] = base64(key).into();
    }
    if let Some(content_type) = &message.content_type {
        object["content_type"] = content_type.as_str().into();
    }
    let mut headers = serde_json::Map::new();
    for (name, value) in &message.headers {
        headers.insert(name.clone(), json!({ "base64": base64(value) }));
    }
    object["headers"] = headers.into();
    format!("{object}\n")
}
