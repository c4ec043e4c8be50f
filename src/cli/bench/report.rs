//! What a bench tells at its end.

use super::tally::Tally;
use crate::cli::exit::{Code, Reply};
use crate::cli::table::bytes;
use crate::cli::text::escaped;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) struct Report {
    pub url: String,
    pub topic: String,
    pub way: &'static str,
    pub connections: usize,
    pub batch: u64,
    pub payload_bytes: usize,
    /// Messages a second that were asked for: the open loop.
    pub wanted_rate: Option<f64>,
    pub warm_up: Tally,
    pub measured: Tally,
    /// Of the measured part, to its last answer.
    pub elapsed: Duration,
    /// They were due, and no connection was free in time.
    pub unsent: u64,
    pub interrupted: bool,
    pub allow_refusals: bool,
}

impl Report {
    pub fn reply(&self) -> Reply {
        Reply {
            code: self.code(),
            text: self.text(),
            json: self.json(),
        }
    }

    fn code(&self) -> Code {
        let without_answer = self.warm_up.without_answer() + self.measured.without_answer();
        let refused = self.warm_up.refused() + self.measured.refused();
        let is_allowed = self.allow_refusals || refused == 0;
        match without_answer == 0 && self.unsent == 0 && is_allowed {
            true => Code::Done,
            false => Code::Failed,
        }
    }

    fn rate(&self) -> f64 {
        self.measured.settled as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }

    fn bytes_rate(&self) -> f64 {
        self.measured.payload_bytes as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }

    fn text(&self) -> String {
        let measured = &self.measured;
        let mut lines = vec![format!(
            "{} of {} messages settled in {:.2} s: {:.0}/s, {}/s of payload",
            measured.settled,
            measured.sent + self.unsent,
            self.elapsed.as_secs_f64(),
            self.rate(),
            bytes(self.bytes_rate() as u64),
        )];
        if !measured.latency.is_empty() {
            let from = match self.wanted_rate {
                Some(_) => "from when it was due",
                None => "from when it was sent",
            };
            let quantile = |part| millis(measured.latency.quantile(part));
            lines.push(format!(
                "latency, {from}: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
                quantile(0.5),
                quantile(0.9),
                quantile(0.99),
                quantile(0.999),
                millis(measured.latency.max()),
            ));
        }
        lines.push(named("settled", &measured.states));
        if measured.duplicates > 0 {
            lines.push(format!("  {} of them duplicates", measured.duplicates));
        }
        if self.unsent > 0 {
            lines.push(format!(
                "due and not sent in time: {}; their wait counts as latency",
                self.unsent
            ));
        }
        for (what, tally) in [("", measured), (" in the warm-up", &self.warm_up)] {
            if !tally.refused.is_empty() {
                lines.push(named(&format!("refused{what}"), &tally.refused));
            }
            if !tally.failed.is_empty() {
                lines.push(named(&format!("without an answer{what}"), &tally.failed));
            }
        }
        if self.interrupted {
            lines.push("interrupted: this is what was measured until then".to_owned());
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let measured = &self.measured;
        json!({
            "url": self.url,
            "topic": self.topic,
            "way": self.way,
            "connections": self.connections,
            "batch": self.batch,
            "size": self.payload_bytes,
            "wanted_rate": self.wanted_rate,
            "seconds": self.elapsed.as_secs_f64(),
            "sent": measured.sent,
            "settled": measured.settled,
            "duplicates": measured.duplicates,
            "states": measured.states,
            "refused": measured.refused,
            "failed": measured.failed,
            "unsent": self.unsent,
            "rate": self.rate(),
            "payload_bytes": measured.payload_bytes,
            "payload_bytes_per_second": self.bytes_rate(),
            "latency_ms": self.latency_json(),
            "warm_up": {
                "sent": self.warm_up.sent,
                "settled": self.warm_up.settled,
                "refused": self.warm_up.refused,
                "failed": self.warm_up.failed,
            },
            "interrupted": self.interrupted,
        })
    }

    fn latency_json(&self) -> Value {
        let latency = &self.measured.latency;
        if latency.is_empty() {
            return Value::Null;
        }
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        json!({
            "min": ms(latency.min()),
            "mean": ms(latency.mean()),
            "p50": ms(latency.quantile(0.5)),
            "p90": ms(latency.quantile(0.9)),
            "p99": ms(latency.quantile(0.99)),
            "p999": ms(latency.quantile(0.999)),
            "max": ms(latency.max()),
        })
    }
}

/// `refused: 3 no-route, 1 busy`
fn named(what: &str, counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return format!("{what}: none");
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{count} {}", escaped(name)))
        .collect();
    format!("{what}: {}", counts.join(", "))
}

fn millis(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        10.0..1_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut measured = Tally::new();
        measured.sent = 3;
        for _ in 0..2 {
            let body = br#"{"state":"stored","duplicate":false}"#;
            measured.answered(202, body, Duration::from_micros(1_500), 100);
        }
        Report {
            url: "http://x:1".into(),
            topic: "a".into(),
            way: "publish",
            connections: 1,
            batch: 1,
            payload_bytes: 100,
            wanted_rate: None,
            warm_up: Tally::new(),
            measured,
            elapsed: Duration::from_secs(2),
            unsent: 0,
            interrupted: false,
            allow_refusals: false,
        }
    }

    #[test]
    fn it_tells_what_settled_and_how_fast() {
        let reply = report().reply();
        assert_eq!(reply.code, Code::Done);
        assert_eq!(
            reply.text,
            "2 of 3 messages settled in 2.00 s: 1/s, 100 B/s of payload\n\
             latency, from when it was sent: p50 1.50 ms, p90 1.50 ms, p99 1.50 ms, p99.9 1.50 ms, \
             max 1.50 ms\n\
             settled: 2 stored"
        );
        assert_eq!(reply.json["latency_ms"]["max"], 1.5);
    }

    #[test]
    fn what_went_wrong_is_told_and_fails() {
        let refusal = br#"{"type":"urn:causeway:problem:no-route"}"#;
        let refused = |mut report: Report| {
            report.measured.answered(404, refusal, Duration::ZERO, 1);
            report
        };
        let reply = refused(report()).reply();
        assert_eq!(reply.code, Code::Failed);
        assert!(
            reply.text.ends_with("\nrefused: 1 no-route"),
            "{}",
            reply.text
        );
        let allowed = refused(Report {
            allow_refusals: true,
            ..report()
        });
        assert_eq!(allowed.reply().code, Code::Done);

        let mut in_warm_up = report();
        in_warm_up.warm_up.answered(404, refusal, Duration::ZERO, 1);
        assert_eq!(in_warm_up.reply().code, Code::Failed);
        let mut broken = Report {
            allow_refusals: true,
            ..report()
        };
        broken.measured.failed("broken", 2);
        assert_eq!(broken.reply().code, Code::Failed);
        let unsent = Report {
            allow_refusals: true,
            unsent: 5,
            wanted_rate: Some(10.0),
            ..report()
        };
        assert_eq!(unsent.reply().code, Code::Failed);
        assert!(unsent.reply().text.contains("not sent in time: 5"));
    }

    #[test]
    fn nothing_measured_has_no_latency() {
        let nothing = Report {
            measured: Tally::new(),
            ..report()
        };
        assert_eq!(nothing.reply().json["latency_ms"], Value::Null);
    }
}
