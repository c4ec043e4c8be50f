//! What became of messages, and how long that took.

use super::histogram::Histogram;
use crate::cli::client::ClientError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Types of refusals that are told apart: what answers may be no gateway.
const MAX_NAMES: usize = 64;
const OTHER: &str = "other";

#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub sent: u64,
    pub settled: u64,
    /// Of the settled.
    pub duplicates: u64,
    /// Of the settled.
    pub payload_bytes: u64,
    pub states: BTreeMap<String, u64>,
    pub refused: BTreeMap<String, u64>,
    /// Without an answer.
    pub failed: BTreeMap<String, u64>,
    /// Of the settled.
    pub latency: Histogram,
    pub last_answer: Option<Instant>,
}

/// A receipt, a problem, or a line of a batch's answer.
#[derive(Deserialize)]
struct Answered {
    state: Option<String>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    r#type: String,
    status: Option<u16>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            sent: 0,
            settled: 0,
            duplicates: 0,
            payload_bytes: 0,
            states: BTreeMap::new(),
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
            latency: Histogram::new(),
            last_answer: None,
        }
    }

    /// One message's answer, with the status that it has or its request has.
    pub fn answered(&mut self, status: u16, json: &[u8], latency: Duration, payload_bytes: usize) {
        let answered: Option<Answered> = serde_json::from_slice(json).ok();
        let status = answered.as_ref().and_then(|a| a.status).unwrap_or(status);
        match answered {
            Some(Answered {
                state: Some(state),
                duplicate,
                ..
            }) if (200..300).contains(&status) => {
                self.settled += 1;
                self.duplicates += u64::from(duplicate);
                self.payload_bytes += payload_bytes as u64;
                count(&mut self.states, &state, 1);
                self.latency.add(latency, 1);
            }
            Some(answered) if !(200..300).contains(&status) => {
                let kind = answered.r#type.rsplit(':').next().unwrap_or_default();
                match kind.is_empty() {
                    true => count(&mut self.refused, &status.to_string(), 1),
                    false => count(&mut self.refused, kind, 1),
                }
            }
            None if !(200..300).contains(&status) => {
                count(&mut self.refused, &status.to_string(), 1);
            }
            _ => self.failed("foreign", 1),
        }
    }

    pub fn failed(&mut self, why: &str, messages: u64) {
        if messages > 0 {
            count(&mut self.failed, why, messages);
        }
    }

    pub fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    pub fn without_answer(&self) -> u64 {
        self.failed.values().sum()
    }

    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.settled += other.settled;
        self.duplicates += other.duplicates;
        self.payload_bytes += other.payload_bytes;
        for (mine, theirs) in [
            (&mut self.states, &other.states),
            (&mut self.refused, &other.refused),
            (&mut self.failed, &other.failed),
        ] {
            for (name, messages) in theirs {
                count(mine, name, *messages);
            }
        }
        self.latency.merge(&other.latency);
        self.last_answer = self.last_answer.max(other.last_answer);
    }
}

/// As what a request without an answer is counted.
pub(super) const fn why(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unreachable { .. } => "unreachable",
        ClientError::Broken { .. } => "broken",
        ClientError::BadAddress(_) | ClientError::Foreign { .. } | ClientError::Refused(_) => {
            "foreign"
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str, messages: u64) {
    if let Some(count) = counts.get_mut(name) {
        *count += messages;
        return;
    }
    let name = if counts.len() < MAX_NAMES {
        name
    } else {
        OTHER
    };
    *counts.entry(name.to_owned()).or_default() += messages;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_counted_as_what_it_is() {
        let mut tally = Tally::new();
        let latency = Duration::from_millis(2);
        for (status, body) in [
            (202, r#"{"state":"stored","duplicate":false}"#),
            (200, r#"{"state":"delivered","duplicate":true}"#),
            (200, r#"{"status":202,"state":"stored"}"#),
            (
                200,
                r#"{"status":404,"type":"urn:causeway:problem:no-route"}"#,
            ),
            (404, r#"{"type":"urn:causeway:problem:no-route"}"#),
            (
                504,
                r#"{"type":"urn:causeway:problem:outcome-pending","state":"stored"}"#,
            ),
            (431, ""),
            (502, "{}"),
            (200, "<html>"),
            (200, "{}"),
        ] {
            tally.answered(status, body.as_bytes(), latency, 10);
        }
        tally.failed("broken", 4);
        assert_eq!(
            (tally.settled, tally.duplicates, tally.payload_bytes),
            (3, 1, 30)
        );
        let named = |counts: &BTreeMap<String, u64>| -> Vec<(String, u64)> {
            counts.iter().map(|(name, n)| (name.clone(), *n)).collect()
        };
        let expected = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
            pairs
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect()
        };
        assert_eq!(
            named(&tally.states),
            expected(&[("delivered", 1), ("stored", 2)])
        );
        assert_eq!(
            named(&tally.refused),
            expected(&[
                ("431", 1),
                ("502", 1),
                ("no-route", 2),
                ("outcome-pending", 1)
            ])
        );
        assert_eq!(
            named(&tally.failed),
            expected(&[("broken", 4), ("foreign", 2)])
        );
        let mut sum = tally.clone();
        sum.merge(&tally);
        assert_eq!(
            (sum.settled, sum.refused(), sum.without_answer()),
            (6, 10, 12)
        );
    }

    #[test]
    fn names_that_nobody_knows_take_bounded_memory() {
        let mut tally = Tally::new();
        for number in 0..10_000 {
            let body = format!("{{\"type\":\"x:{number}\"}}");
            tally.answered(400, body.as_bytes(), Duration::ZERO, 0);
        }
        assert_eq!(tally.refused.len(), MAX_NAMES + 1);
        assert_eq!(tally.refused(), 10_000);
    }
}
