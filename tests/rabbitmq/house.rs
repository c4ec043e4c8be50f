//! A gateway with one RabbitMQ destination, `sink`, and what tests ask of it.

use crate::support::asked::{counts_of, lane_of};
use crate::support::metrics::Counts;
use crate::support::process::{Gateway, program};
use crate::support::wait::wait_for;
use causeway_brokers::rabbitmq::Rabbitmq;
use serde_json::{Value, json};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct House {
    pub gateway: Gateway,
    /// Acknowledged.
    pub published: u64,
}

fn settings(url: &str, keys: &str) -> String {
    format!(
        "[limits]\npayload = \"4MiB\"\n\n[destinations.sink]\ntype = \"rabbitmq\"\nurl = {url}\ntimeout = \"2s\"\n\
         retry = {{ initial = \"10ms\", max = \"200ms\" }}\n{keys}\n\n\
         [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"sink\"]\n"
    )
}

impl House {
    /// `keys`: what stands in `[destinations.sink]` beside `type` and `url`. All topics lead there.
    pub fn start(server: &Rabbitmq, keys: &str) -> Self {
        Self::start_at(&format!("\"{}\"", server.ports().url()), keys)
    }

    /// `url`: as TOML.
    pub fn start_at(url: &str, keys: &str) -> Self {
        let mut gateway = Gateway::new(&program(), &settings(url, keys));
        gateway.start().unwrap_or_else(|why| panic!("{why}"));
        Self {
            gateway,
            published: 0,
        }
    }

    /// Other keys hold from now on.
    pub fn reload(&self, server: &Rabbitmq, keys: &str) {
        let url = format!("\"{}\"", server.ports().url());
        self.gateway.configure(&settings(&url, keys));
        let reload = self.gateway.run(&["reload"]);
        assert!(reload.status.success(), "{reload:?}");
    }

    /// One message each, of a topic and an id; headers as JSON.
    pub fn publish(&mut self, messages: &[(&str, &str, Value)]) {
        let line = |(topic, id, headers): &(&str, &str, Value)| {
            let message = json!({ "topic": topic, "id": id, "headers": headers, "data": id });
            format!("{message}\n")
        };
        self.publish_lines(&messages.iter().map(line).collect::<Vec<_>>());
    }

    /// Of a batch, each with its end.
    pub fn publish_lines(&mut self, messages: &[String]) {
        let body = messages.concat();
        let mut client = self.gateway.client(PATIENCE);
        let answer = client.post("/v1/batch", &[], body.as_bytes());
        let answer = answer.unwrap_or_else(|t| panic!("{t}"));
        let lines = String::from_utf8_lossy(&answer.body).into_owned();
        for line in lines.lines() {
            let answer: Value = serde_json::from_str(line).expect("an answer is JSON");
            let is_taken = matches!(answer["status"].as_u64(), Some(200 | 202));
            assert!(is_taken, "{answer}");
        }
        self.published += messages.len() as u64;
    }

    pub fn publish_plain(&mut self, topics: &[&str]) {
        let messages: Vec<_> = topics.iter().map(|t| (*t, *t, json!({}))).collect();
        self.publish(&messages);
    }

    pub fn counts(&self) -> Counts {
        counts_of(&self.gateway, "sink")
    }

    /// What `status` says of its lane.
    pub fn lane(&self) -> Value {
        lane_of(&self.gateway, "sink")
    }

    pub fn last_error(&self) -> String {
        let lane = self.lane();
        lane["last_error"].as_str().unwrap_or_default().to_owned()
    }

    pub fn wait_error(&self, words: &str) {
        wait_for(PATIENCE, || match self.last_error() {
            error if error.contains(words) => Ok(()),
            error => Err(format!("no {words:?} in {error:?}")),
        });
    }

    /// Everything was delivered but so many that are among the dead letters.
    pub fn wait_settled(&self, dead_letters: u64) {
        let counts = wait_for(PATIENCE, || {
            let counts = self.counts();
            match counts.pending == 0 && counts.planned == self.published {
                true => Ok(counts),
                false => Err(format!(
                    "{counts} of {}: {}",
                    self.published,
                    self.last_error()
                )),
            }
        });
        assert_eq!(
            counts.dead_lettered,
            dead_letters,
            "{counts}: {}",
            self.last_error()
        );
        assert_eq!(counts.delivered, self.published - dead_letters, "{counts}");
    }
}
