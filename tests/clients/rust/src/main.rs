//! Publishes one message once, however often it has to be sent.
//!
//!     cargo run -- URL TOPIC ID PAYLOAD

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::{Duration, Instant};
use std::{env, error::Error, thread};
use ureq::Agent;

/// For `dedup.window` (10 min) the gateway knows an id again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(9 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

struct Answer {
    status: u16,
    body: Value,
    retry_after: Duration,
}

fn publish(url: &str, topic: &str, id: &str, payload: &str) -> Result<Value, Box<dyn Error>> {
    let encoded = |level| utf8_percent_encode(level, NON_ALPHANUMERIC).to_string();
    let levels: Vec<String> = topic.split('/').map(encoded).collect();
    let target = format!("{url}/v1/topics/{}", levels.join("/"));
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)));
    let agent = Agent::new_with_config(config.build());
    let end = Instant::now() + GIVE_UP_AFTER;
    let mut pause = Duration::from_millis(100);
    loop {
        let (why, retry_after) = match attempt(&agent, &target, id, payload) {
            // Not connected, cut off, timed out.
            Err(trouble) => (trouble.to_string(), Duration::ZERO),
            Ok(answer) => {
                let kind = answer.body["type"].as_str().unwrap_or_default();
                match (
                    answer.status,
                    kind.trim_start_matches("urn:causeway:problem:"),
                ) {
                    // With "duplicate" an earlier attempt had come through.
                    (200 | 202, _) | (_, "outcome-pending") => return Ok(answer.body),
                    (_, "dead-lettered" | "discarded") => {
                        return Err(format!("held, not sent again: {}", answer.body).into());
                    }
                    (status @ (408 | 500 | 502 | 503), kind) => {
                        (format!("{status} {kind}"), answer.retry_after)
                    }
                    (status, _) => {
                        return Err(format!("refused for good, {status}: {}", answer.body).into());
                    }
                }
            }
        };
        let wait = retry_after + pause.mul_f64(fastrand::f64());
        if Instant::now() + wait > end {
            return Err("given up; whether it is stored is unknown".into());
        }
        eprintln!("{why}: again in {wait:?}");
        thread::sleep(wait);
        pause = LONGEST_PAUSE.min(2 * pause);
    }
}

fn attempt(agent: &Agent, target: &str, id: &str, payload: &str) -> Result<Answer, ureq::Error> {
    let request = agent.post(target).header("Idempotency-Key", id);
    let mut response = request.content_type("application/json").send(payload)?;
    let retry_after = response.headers().get("retry-after");
    let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response.body_mut().read_to_string()?;
    Ok(Answer {
        status: response.status().as_u16(),
        // What isn't JSON isn't the gateway's; then the status alone tells.
        body: serde_json::from_str(&body).unwrap_or_default(),
        retry_after: Duration::from_secs(seconds.unwrap_or(0)),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [url, topic, id, payload] = args.as_slice() else {
        return Err("publish URL TOPIC ID PAYLOAD".into());
    };
    println!("{}", publish(url, topic, id, payload)?);
    Ok(())
}
