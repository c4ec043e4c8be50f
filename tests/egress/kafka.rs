//! Apache Kafka itself. Scenarios that do it no harm share one server; one that freezes or kills has its own.

use super::harness::{Cannot, Harness, Message, Mood, Taken, hash};
use crate::support::brokers::{Own, done, own_kafka};
use crate::support::kafka::{Record, create_topic, read_topic};
use crate::support::process::Gateway;
use causeway_brokers::kafka;
use std::ops::Deref;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Of a topic here: what is larger is refused.
const MAX_BATCH_BYTES: &str = "20000";
/// Scenarios after which the server isn't as it was.
const HARMFUL: [&str; 4] = ["order", "reconnect", "shutdown", "start"];
/// The scenario whose topic isn't there at first.
const LATE: &str = "retry";

pub struct Kafka {
    server: Server,
    topic: String,
    is_there: bool,
    mood: Mood,
    secrets: TempDir,
}

enum Server {
    Shared(&'static Own<kafka::Kafka>),
    Own(Box<Own<kafka::Kafka>>),
}

impl Deref for Server {
    type Target = Own<kafka::Kafka>;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }
}

/// The one that nobody harms. It ends with the process.
pub fn shared(test: &str) -> Option<&'static Own<kafka::Kafka>> {
    static SHARED: OnceLock<Option<Own<kafka::Kafka>>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| own_kafka(test)).as_ref();
    if shared.is_none() {
        crate::support::skip::skipped(test, "there is no Kafka");
    }
    shared
}

impl Harness for Kafka {
    fn start(scenario: &str) -> Result<Self, String> {
        let name = scenario.rsplit("::").next().unwrap_or_default();
        let server = match HARMFUL.contains(&name) {
            true => own_kafka(scenario).map(Box::new).map(Server::Own),
            false => shared(scenario).map(Server::Shared),
        };
        let mut kafka = Self {
            server: server.ok_or("there is no Kafka")?,
            topic: format!("contract-{name}"),
            is_there: false,
            mood: Mood::Well,
            secrets: tempfile::tempdir().map_err(|e| e.to_string())?,
        };
        let password = kafka.secrets.path().join("password");
        std::fs::write(password, "hunter2").map_err(|e| e.to_string())?;
        if name != LATE {
            kafka.create();
        }
        Ok(kafka)
    }

    fn settings(&self) -> String {
        let ports = self.server.ports();
        let (address, sasl) = match self.mood {
            Mood::Locked => {
                let (user, _) = kafka::USER;
                let sasl = format!(
                    "sasl = {{ mechanism = \"PLAIN\", username = \"{user}\", password = {{ file = {:?} }} }}\n",
                    self.secrets.path().join("password")
                );
                (ports.sasl(), sasl)
            }
            _ => (ports.plain(), String::new()),
        };
        let topic = &self.topic;
        format!("type = \"kafka\"\nbrokers = [\"{address}\"]\ntopic = \"{topic}\"\n{sasl}")
    }

    fn be(&mut self, mood: Mood) -> Result<(), Cannot> {
        const HARMLESS: Cannot = Cannot("others use this server, too");
        match (mood, &mut self.server) {
            (Mood::Well, _) if !self.is_there => self.create(),
            (Mood::Well, Server::Own(server)) => match self.mood {
                Mood::Hangs => done(server.resume()),
                Mood::Gone => done(server.start()),
                _ => {}
            },
            (Mood::Well | Mood::Locked, _) => {}
            (Mood::Fails, _) if !self.is_there => {}
            (Mood::Fails, _) => {
                return Err(Cannot(
                    "what Kafka can't take now its client tries again by itself; a topic that has gone doesn't \
                     come back with what it held",
                ));
            }
            (Mood::Hangs, Server::Own(server)) => done(server.freeze()),
            (Mood::Gone, Server::Own(server)) => server.kill(),
            (Mood::Hangs | Mood::Gone, Server::Shared(_)) => return Err(HARMLESS),
            (Mood::Forgets, _) => {
                return Err(Cannot(
                    "an idempotent producer asks until it knows, and the broker drops its doubles",
                ));
            }
        }
        self.mood = mood;
        Ok(())
    }

    fn took(&mut self, _: &Gateway) -> Vec<Taken> {
        let records = read_topic(&self.address(), &self.topic);
        records.into_iter().map(of_record).collect()
    }

    fn poison(&self, message: Message) -> Result<(Message, &'static str), Cannot> {
        Ok((enlarged(message, 25_000), "Message size too large"))
    }

    fn oversize(&self, message: Message) -> Result<Message, Cannot> {
        Ok(enlarged(message, 2_000_000))
    }

    fn waits_in_its_client(&self) -> bool {
        true
    }
}

impl Kafka {
    fn address(&self) -> String {
        self.server.ports().plain().to_string()
    }

    fn create(&mut self) {
        let set = [("max.message.bytes", MAX_BATCH_BYTES)];
        create_topic(&self.address(), &self.topic, 2, 1, &set);
        self.is_there = true;
    }
}

/// Each still has a payload of its own.
fn enlarged(mut message: Message, bytes: usize) -> Message {
    message.payload.resize(bytes, b'x');
    message
}

fn of_record(record: Record) -> Taken {
    let content_type = record.header("content-type");
    Taken {
        delivery_id: record.text("message-id"),
        id: record.text("publisher-id"),
        content_type: content_type.map(|_| record.text("content-type")),
        payload_hash: hash(record.payload.as_deref().unwrap_or_default()),
        key: record.key,
        headers: Some(record.headers),
    }
}
