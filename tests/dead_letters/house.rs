//! A gateway with a destination whose mind can be changed, and its commands.

use crate::support::client::Client;
use crate::support::process::{Gateway, program};
use crate::support::wait::wait_until;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(60);
/// Of one batch.
const BATCH: u64 = 500;

/// A destination that does as its script says, and where its lane keeps dead letters.
pub fn settings(script: &str, more: &str) -> String {
    format!(
        r##"
[destinations.shop]
type = "faulty"
script = "{script}"
record = "shop.record"
{more}

[destinations.inbox]
type = "stream"

[[routes]]
name = "orders"
topic = "orders/#"
to = ["shop"]
"##
    )
}

pub struct House {
    pub gateway: Gateway,
}

/// What the destination wrote down of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub position: u64,
    pub id: String,
}

impl House {
    pub fn start(settings: &str) -> Self {
        let mut gateway = Gateway::new(&program(), settings);
        gateway.start().unwrap_or_else(|why| panic!("{why}"));
        Self { gateway }
    }

    pub fn client(&self) -> Client {
        self.gateway.client(PATIENCE)
    }

    pub fn admin(&self) -> Client {
        Client::new(self.gateway.admin, PATIENCE)
    }

    /// So many messages `m-N` to a topic, each with a payload of this many bytes.
    pub fn publish(&self, topic: &str, count: u64, payload_bytes: usize) {
        let payload = "x".repeat(payload_bytes);
        let mut client = self.client();
        for first in (0..count).step_by(BATCH as usize) {
            let line = |n| {
                json!({"topic": topic, "id": format!("m-{n}"), "key": format!("k-{}", n % 7),
                    "headers": {"authorization": "hunter2", "kind": "test"},
                    "content_type": "text/plain", "data": format!("{n} {payload}")})
                .to_string()
            };
            let lines: Vec<String> = (first..count.min(first + BATCH)).map(line).collect();
            let got = client.post(
                "/v1/batch",
                &[("content-type", "application/x-ndjson")],
                (lines.join("\n") + "\n").as_bytes(),
            );
            let got = got.unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(got.status, 200, "{got}");
            let body = String::from_utf8_lossy(&got.body).into_owned();
            assert!(!body.contains("\"type\""), "{body:.500}");
        }
    }

    pub fn get(&self, path: &str) -> Value {
        let got = self.admin().get(path);
        let got = got.unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(got.status, 200, "{path}: {got}");
        got.json().unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// The status and what it says.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let headers = [("content-type", "application/json")];
        let got = self
            .admin()
            .post(path, &headers, body.to_string().as_bytes());
        let got = got.unwrap_or_else(|why| panic!("{path}: {why}"));
        let said = got.json().unwrap_or_else(|why| panic!("{path}: {why}"));
        (got.status, said)
    }

    /// A command's exit code and its JSON.
    pub fn dlq(&self, args: &[&str]) -> (i32, Value) {
        let args = [&["--json", "dlq"], args].concat();
        let output = self.gateway.run(&args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let json = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {text:.500} {output:?}"));
        (output.status.code().expect("it ends by itself"), json)
    }

    /// The same; it must be done.
    pub fn done(&self, args: &[&str]) -> Value {
        let (code, json) = self.dlq(args);
        assert_eq!(code, 0, "{args:?}: {json:#}");
        json
    }

    pub fn lane(&self, name: &str) -> Value {
        let status = self.get("/api/v1/status");
        let lanes = status["lanes"].as_array().expect("a list");
        let lane = lanes.iter().find(|lane| lane["name"] == name);
        lane.unwrap_or_else(|| panic!("no lane {name}: {status:#}"))
            .clone()
    }

    pub fn wait_letters(&self, lane: &str, count: u64) {
        let what = format!("{count} dead letters of {lane}");
        wait_until(PATIENCE, &what, || {
            self.lane(lane)["dead_letters"] == json!(count)
        });
    }

    pub fn wait_idle(&self, lane: &str) {
        wait_until(PATIENCE, "nothing is pending", || {
            self.lane(lane)["pending"] == json!(0)
        });
    }

    /// The offsets of all that are listed.
    pub fn offsets(&self, lane: &str) -> Vec<u64> {
        let list = self.done(&["list", lane, "--limit", "1000000"]);
        let letters = list["letters"].as_array().expect("a list");
        let offset = |letter: &Value| letter["offset"].as_u64().expect("a number");
        letters.iter().map(offset).collect()
    }

    /// Another script from now on.
    pub fn tell(&self, settings: &str) {
        self.gateway.configure(settings);
        let (status, said) = self.post("/api/v1/reload", &json!({}));
        assert_eq!(status, 200, "{said:#}");
    }

    /// What the destination received, in order.
    pub fn received(&self) -> Vec<Got> {
        let text = fs::read_to_string(self.gateway.folder().join("shop.record"));
        let line = |line: &str| {
            let fields: Vec<&str> = line.split('\t').collect();
            let id = fields[3].trim_start_matches('=');
            let bytes: Vec<u8> = (0..id.len() / 2)
                .filter_map(|i| u8::from_str_radix(&id[2 * i..2 * i + 2], 16).ok())
                .collect();
            Got {
                position: fields[0].parse().expect("a position"),
                id: String::from_utf8_lossy(&bytes).into_owned(),
            }
        };
        text.unwrap_or_default().lines().map(line).collect()
    }

    pub fn times_received(&self) -> BTreeMap<String, u64> {
        let mut times = BTreeMap::new();
        for got in self.received() {
            *times.entry(got.id).or_default() += 1;
        }
        times
    }

    /// Stops it, and sees that the journal adds up.
    pub fn verify(&mut self) -> Value {
        let stopped = self.gateway.terminate(PATIENCE);
        stopped.unwrap_or_else(|why| panic!("{why}"));
        let output = self.gateway.run(&["journal", "verify", "--json"]);
        let walk: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(output.status.success(), "{walk:#}");
        assert_eq!(walk["problems"], json!([]), "{walk:#}");
        walk
    }
}
