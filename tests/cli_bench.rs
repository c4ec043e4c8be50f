//! `bench` against the real gateway: what it says settled is what the stream has.

use crate::support::process::{Gateway, program};
use crate::support::wait::wait_for;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

const SETTINGS: &str = r#"
[destinations.inbox]
type = "stream"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]
"#;

fn bench(gateway: &Gateway, words: &str) -> (i32, Value, String) {
    let mut args = vec!["bench", "--json"];
    args.extend(words.split_whitespace());
    let output = gateway.run(&args);
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (
        output.status.code().expect("it ends by itself"),
        report,
        notes,
    )
}

/// All ids of the stream, once it has so many messages.
fn ids(gateway: &Gateway, messages: u64) -> BTreeSet<String> {
    wait_for(PATIENCE, || {
        let output = gateway.run(&["tail", "inbox", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().map(|line| {
            let message: Value = serde_json::from_str(line).expect("JSON");
            message["id"].as_str().expect("an id").to_owned()
        });
        let ids: Vec<String> = lines.collect();
        match ids.len() as u64 == messages {
            true => Ok(ids.into_iter().collect()),
            false => Err(format!("{messages} messages, not {}", ids.len())),
        }
    })
}

#[test]
fn what_settled_is_what_the_stream_has() {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap();
    let words =
        "--topic all/b --messages 500 --connections 3 --warm-up 0ms --size 100 --id-prefix p";
    let (code, report, notes) = bench(&gateway, words);
    assert_eq!(code, 0, "{report} {notes}");
    assert!(
        notes.starts_with("warning: this publishes real messages"),
        "{notes}"
    );
    assert_eq!(
        (&report["settled"], &report["duplicates"]),
        (&json!(500), &json!(0))
    );
    assert_eq!(report["payload_bytes"], 50_000);
    let expected: BTreeSet<String> = (1..=500).map(|n| format!("p-{n}")).collect();
    assert_eq!(ids(&gateway, 500), expected);

    // The same ids in batches: all are there already.
    let (code, report, _) = bench(&gateway, &format!("{words} --batch 100"));
    assert_eq!((code, &report["duplicates"]), (0, &json!(500)), "{report}");
    assert_eq!(report["way"], "batch");

    // Ids of its own, a warm-up, the open loop.
    let words = "--topic all/b --duration 300ms --rate 200 --warm-up 100ms";
    let (code, report, _) = bench(&gateway, words);
    let number = |name: &str| report[name].as_u64().expect("a number");
    // A machine that is busy with other tests may not keep up: then it must say so.
    assert_eq!(code == 0, number("unsent") == 0, "{report}");
    assert_eq!(number("settled") + number("unsent"), 60, "{report}");
    let all = 500 + number("settled") + report["warm_up"]["settled"].as_u64().expect("a number");
    assert_eq!(ids(&gateway, all).len() as u64, all);
}

#[test]
fn what_is_refused_is_told_by_its_type() {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap();
    let words = "--topic nowhere --messages 40 --connections 2 --warm-up 0ms";
    let (code, report, _) = bench(&gateway, words);
    assert_eq!((code, &report["refused"]), (1, &json!({"no-route": 40})));
    let (code, report, _) = bench(&gateway, &format!("{words} --batch 20 --allow-refusals"));
    assert_eq!((code, &report["refused"]), (0, &json!({"no-route": 40})));
    gateway.kill();
    let (code, report, notes) = bench(&gateway, words);
    assert_eq!(
        (code, &report["error"]["kind"]),
        (3, &json!("unreachable")),
        "{notes}"
    );
}
