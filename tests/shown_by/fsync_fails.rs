//! Every fsync fails from the n-th on, by strace: refusals, health red, no ack for what was not
//! stored, and a clean restart.

use super::{ANSWER_LIMIT, insist, publish, say, stream_ids};
use crate::support::process::{Gateway, START_LIMIT, plain_program};
use crate::support::skip::skipped;
use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const TEST: &str = "shown_by::fsync_fails";
/// Calls are counted for each thread by itself. The least that lets it start is taken: a start
/// that syncs more often than that is refused, and rightly.
const FAIL_FROM: [u32; 6] = [3, 5, 8, 12, 20, 40];
const MOST_PUBLISHES: usize = 2_000;
const AFTER_FAILURE: usize = 20;

const SETTINGS: &str = r#"
[destinations.inbox]
type = "stream"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]
"#;

#[test]
fn a_failed_fsync_is_final_until_the_restart() {
    let Some(program) = plain_program() else {
        skipped(
            TEST,
            "needs the plain build, which `cargo xtask test` makes",
        );
        return;
    };
    if !strace_works() {
        skipped(TEST, "strace --seccomp-bpf can't trace here");
        return;
    }
    let mut gateway = Gateway::new(&program, SETTINGS);
    // Its folder is made without faults: what is tried here is a running gateway.
    gateway.start().unwrap();
    insist(
        &mut gateway.client(ANSWER_LIMIT),
        "all/x",
        "before",
        b"before",
    );
    gateway.terminate(START_LIMIT).unwrap();

    let trace = start_with_faults(&mut gateway);
    let (acked, refused) = publish_until_refused(&gateway);
    wait_until_unready(&gateway);
    gateway.kill();
    let trace = fs::read_to_string(gateway.folder().join(&trace)).unwrap();
    let injected = trace
        .lines()
        .filter(|line| line.contains("(INJECTED)"))
        .count();
    assert!(injected > 0, "strace failed no call:\n{trace}");

    gateway.started_by(&[]);
    gateway.start().unwrap();
    let mut client = gateway.client(ANSWER_LIMIT);
    for id in &refused {
        insist(&mut client, "all/x", id, id.as_bytes());
    }
    let expected = 1 + acked.len() + refused.len();
    let deadline = Instant::now() + START_LIMIT;
    while stream_ids(&gateway, "inbox").len() < expected && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    for id in stream_ids(&gateway, "inbox") {
        *times.entry(id).or_default() += 1;
    }
    for id in acked
        .iter()
        .chain(&refused)
        .map(String::as_str)
        .chain(["before"])
    {
        assert_eq!(
            times.remove(id),
            Some(1),
            "{id}; acked {acked:?}, refused {refused:?}"
        );
    }
    assert!(times.is_empty(), "nobody published {times:?}");
    let (stored, told) = (acked.len(), refused.len());
    say(&format!(
        "shown by: {injected} syncs failed: {stored} stored before, {told} refused after"
    ));
}

fn strace_works() -> bool {
    let mut strace = Command::new("strace");
    strace.args([
        "-D",
        "-f",
        "--seccomp-bpf",
        "-e",
        "trace=fsync,fdatasync",
        "true",
    ]);
    strace
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Starts it under strace; the name of the trace.
fn start_with_faults(gateway: &mut Gateway) -> String {
    for from in FAIL_FROM {
        let trace = format!("trace-{from}");
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={from}+");
        // -D: the tracer is a grandchild, so that our child is the gateway itself.
        let words = [
            "strace",
            "-D",
            "-f",
            "--seccomp-bpf",
            "-o",
            &trace,
            "-e",
            "trace=fsync,fdatasync",
        ];
        gateway.started_by(&[&words[..], &["-e", &inject]].concat());
        gateway.spawn();
        match gateway.wait_ready(START_LIMIT) {
            Ok(()) => return trace,
            Err(_) => gateway.kill(),
        }
    }
    panic!(
        "it doesn't start even when only later syncs fail: {}",
        gateway.log_tail()
    );
}

/// The ids that were acknowledged, and those that were refused: from the first on, all are.
fn publish_until_refused(gateway: &Gateway) -> (Vec<String>, Vec<String>) {
    let mut client = gateway.client(ANSWER_LIMIT);
    let (mut acked, mut refused) = (Vec::new(), Vec::new());
    for number in 0..MOST_PUBLISHES {
        let id = format!("id-{number}");
        let response = publish(&mut client, "all/x", &id, id.as_bytes());
        let response = response.expect("it goes on answering");
        match response.status {
            200 | 202 if refused.is_empty() => acked.push(id),
            503 => refused.push(id),
            _ => panic!("{id}, after {} refusals: {response}", refused.len()),
        }
        if refused.len() == AFTER_FAILURE {
            return (acked, refused);
        }
    }
    panic!("{MOST_PUBLISHES} publishes and no refusal");
}

fn wait_until_unready(gateway: &Gateway) {
    let deadline = Instant::now() + ANSWER_LIMIT;
    loop {
        let response = gateway.ready().expect("health goes on answering");
        if response.status == 503 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "/readyz, after failed syncs: {response}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
