//! Topics that nobody may publish to, at the real door: each is refused by name and counted, and
//! nothing of it is kept.

use crate::support::client::Client;
use crate::support::metrics;
use crate::support::process::{ALL_TO_INBOX, Gateway, program};
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// The path's topic, and the status, type and a part of the words of its refusal.
fn refused() -> Vec<(String, u16, &'static str, &'static str)> {
    let long = "a".repeat(513);
    let levels = vec!["a"; 33].join("/");
    let slashes = "/".repeat(65_536);
    let some_slashes = "/".repeat(500);
    vec![
        (String::new(), 400, "malformed", "the topic is empty"),
        ("/".into(), 400, "malformed", "an empty level"),
        ("a//b".into(), 400, "malformed", "an empty level"),
        ("/a".into(), 400, "malformed", "an empty level"),
        ("a/".into(), 400, "malformed", "an empty level"),
        (some_slashes, 400, "malformed", "an empty level"),
        ("a/+/b".into(), 400, "malformed", "a wildcard"),
        ("+".into(), 400, "malformed", "a wildcard"),
        ("a/%23".into(), 400, "malformed", "a wildcard"),
        ("%23".into(), 400, "malformed", "a wildcard"),
        ("a%2Bb".into(), 400, "malformed", "a wildcard"),
        ("a%00b".into(), 400, "malformed", "a NUL"),
        ("%00".into(), 400, "malformed", "a NUL"),
        ("$sys".into(), 400, "malformed", "begins with `$`"),
        ("$door/a".into(), 400, "malformed", "begins with `$`"),
        ("%24sys".into(), 400, "malformed", "begins with `$`"),
        ("a%2Fb".into(), 400, "malformed", "an encoded '/'"),
        ("a/%FF".into(), 400, "malformed", "isn't UTF-8"),
        ("a/%C0%80".into(), 400, "malformed", "isn't UTF-8"),
        (long, 413, "too-large", "limits.topic_bytes"),
        (levels, 400, "too-many", "limits.topic_levels"),
        (slashes, 431, "", ""),
    ]
}

fn problems(gateway: &Gateway, kind: &str) -> f64 {
    let page = gateway.health_client().get("/metrics").expect("health");
    let samples = metrics::parse(&String::from_utf8_lossy(&page.body)).expect("metrics");
    let is_it = |s: &&metrics::Sample| {
        s.name == "causeway_http_problems_total" && s.labels.get("type").is_some_and(|t| t == kind)
    };
    samples.iter().find(is_it).expect("it is there").value
}

#[test]
fn bad_topics_are_refused_and_nothing_of_them_is_kept() {
    let mut gateway = Gateway::new(&program(), ALL_TO_INBOX);
    gateway.start().unwrap();
    let all = refused();
    for (topic, status, kind, words) in &all {
        let mut client = gateway.client(PATIENCE);
        let target = format!("/v1/topics/{topic}");
        let shown = &target[..target.len().min(60)];
        let got = match client.post(&target, &[], b"x") {
            // So long a head may be refused, and the connection reset, before it is taken.
            Err(_) if *status == 431 => continue,
            got => got.unwrap_or_else(|e| panic!("{shown}: {e}")),
        };
        assert_eq!(got.status, *status, "{shown}: {got}");
        if *status == 431 {
            continue;
        }
        let body = got.json().unwrap_or_else(|e| panic!("{shown}: {e}"));
        let of_type = format!("urn:causeway:problem:{kind}");
        assert_eq!(body["type"], of_type, "{shown}");
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words), "{shown}: {detail}");
    }
    lines_are_refused_alike(&mut gateway.client(PATIENCE), &all);

    let count = |kind: &str| all.iter().filter(|(_, _, k, _)| *k == kind).count() as f64;
    // Those whose encoding is at fault can't stand in a line.
    let by_encoding = 3.0;
    assert_eq!(
        problems(&gateway, "malformed"),
        2.0 * count("malformed") - by_encoding
    );
    for kind in ["too-large", "too-many"] {
        assert_eq!(problems(&gateway, kind), 2.0 * count(kind), "{kind}");
    }

    let mut client = gateway.client(PATIENCE);
    for topic in ["a", "caf%C3%A9/b%20c", "a/$b", "%7Bx%7D"] {
        let got = client.post(&format!("/v1/topics/{topic}"), &[], b"x");
        assert!(
            matches!(got.expect("an answer").status, 200 | 202),
            "{topic}"
        );
    }
    let page = client.get("/v1/messages/3").expect("an answer");
    assert_eq!(page.status, 200, "the fourth position is the last: {page}");
    let none = client.get("/v1/messages/4").expect("an answer");
    assert_eq!(none.status, 404, "{none}");
}

/// In a batch each line has its own refusal, and those around it are taken as ever.
fn lines_are_refused_alike(client: &mut Client, all: &[(String, u16, &str, &str)]) {
    let decoded = |topic: &str| -> Option<String> {
        let bytes = percent_decoded(topic);
        String::from_utf8(bytes).ok().filter(|_| topic != "a%2Fb")
    };
    let lines: Vec<_> = all
        .iter()
        .filter(|(_, status, ..)| *status != 431)
        .filter_map(|(topic, status, kind, _)| Some((decoded(topic)?, *status, *kind)))
        .collect();
    let body: String = lines
        .iter()
        .map(|(topic, ..)| format!("{}\n", json!({ "topic": topic, "data": 1 })))
        .collect();
    let got = client
        .post("/v1/batch", &[], body.as_bytes())
        .expect("an answer");
    assert_eq!(got.status, 200, "{got}");
    let results = String::from_utf8(got.body).expect("text");
    assert_eq!(results.lines().count(), lines.len(), "{results}");
    for (result, (topic, status, kind)) in results.lines().zip(&lines) {
        let result: serde_json::Value = serde_json::from_str(result).expect("JSON");
        assert_eq!(result["status"], *status, "{topic:?}: {result}");
        assert_eq!(
            result["type"],
            format!("urn:causeway:problem:{kind}"),
            "{topic:?}"
        );
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}
