//! The embedded stream: no server, so there is little that it can be made to do.

use super::harness::{Cannot, Harness, Message, Mood, Taken, hash};
use crate::support::process::Gateway;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const OWN_DISK: Cannot = Cannot("a stream is on the gateway's own disk: nobody else can fail");

pub struct Stream;

impl Harness for Stream {
    fn start(_: &str) -> Result<Self, String> {
        Ok(Self)
    }

    fn settings(&self) -> String {
        "type = \"stream\"\n".to_owned()
    }

    fn be(&mut self, mood: Mood) -> Result<(), Cannot> {
        match mood {
            Mood::Well => Ok(()),
            _ => Err(OWN_DISK),
        }
    }

    fn took(&mut self, gateway: &Gateway) -> Vec<Taken> {
        let mut client = gateway.client(ANSWER_LIMIT);
        let (mut next, mut taken) = (0, Vec::new());
        loop {
            let target = format!("/v1/streams/sink?from={next}&limit=1000");
            let response = client.get(&target).expect("it answers");
            assert_eq!(response.status, 200, "{response}");
            let page = response.json().expect("a page is JSON");
            let messages = page["messages"].as_array().expect("messages");
            if messages.is_empty() {
                return taken;
            }
            taken.extend(messages.iter().map(of_record));
            next = page["next"].as_u64().expect("an offset");
        }
    }

    fn poison(&self, _: Message) -> Result<(Message, &'static str), Cannot> {
        Err(Cannot("a stream takes all that the door takes"))
    }

    fn oversize(&self, _: Message) -> Result<Message, Cannot> {
        Err(Cannot("a stream takes all that the door takes"))
    }
}

fn of_record(record: &Value) -> Taken {
    let headers = record["headers"].as_object().expect("headers");
    let header = |(name, value): (&String, &Value)| (name.clone(), bytes(value));
    // Each delivery is there once: its offset tells it from others.
    Taken {
        delivery_id: record["offset"].to_string(),
        id: record["id"].as_str().expect("an id").to_owned(),
        key: either(record, "key"),
        payload_hash: hash(&payload(record)),
        headers: Some(headers.iter().map(header).collect()),
        content_type: record["content_type"].as_str().map(str::to_owned),
    }
}

fn payload(record: &Value) -> Vec<u8> {
    match either(record, "data") {
        Some(data) => data,
        // The JSON itself.
        None => record["data"].to_string().into_bytes(),
    }
}

/// Text, or what stands there in base64.
fn either(record: &Value, name: &str) -> Option<Vec<u8>> {
    match record[name].as_str() {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => {
            let base64 = record[format!("{name}_base64")].as_str()?;
            Some(STANDARD.decode(base64).expect("base64"))
        }
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match (value.as_str(), value["base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(base64)) => STANDARD.decode(base64).expect("base64"),
        (None, None) => panic!("no header's value: {value}"),
    }
}
