//! `tap` from outside: what it shows, and that nobody waits for one that isn't read.

use crate::support::client::encoded;
use crate::support::process::{Gateway, program};
use crate::support::running::Running;
use crate::support::wait::{wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// As `door::taps` has it.
const MAX_TAPS: usize = 8;

const SETTINGS: &str = r#"
[destinations.inbox]
type = "stream"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]
"#;

fn started() -> Gateway {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap();
    gateway
}

/// A tap with `--json` that is there when this returns: its first line says so.
fn tap(gateway: &Gateway, args: &[&str]) -> (Running, Receiver<String>) {
    let mut tap = Running::start(gateway.other(&[&["tap", "--json"], args].concat()));
    let lines = tap.lines();
    let first = next(&lines);
    assert_eq!(
        (&first["event"], &first["matched"]),
        (&json!("counts"), &json!(0))
    );
    (tap, lines)
}

fn next(lines: &Receiver<String>) -> Value {
    let line = lines.recv_timeout(PATIENCE).expect("a line in time");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"))
}

/// The next that isn't a count of what came so far.
fn next_message(lines: &Receiver<String>) -> Value {
    loop {
        let line = next(lines);
        if line["event"] != "counts" {
            return line;
        }
    }
}

fn publish(gateway: &Gateway, topic: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
    let mut client = gateway.client(PATIENCE);
    let answer = client.post(&format!("/v1/topics/{topic}"), headers, body);
    answer.expect("an answer").status
}

/// So many lines in one request, all taken.
fn publish_many(gateway: &Gateway, messages: usize, payload_bytes: usize) {
    let data = "x".repeat(payload_bytes);
    let line = format!("{{\"topic\":\"all/many\",\"data\":\"{data}\"}}\n");
    let body = line.repeat(messages);
    let headers = [("content-type", "application/x-ndjson")];
    let mut client = gateway.client(PATIENCE);
    let answer = client.post("/v1/batch", &headers, body.as_bytes());
    let answer = answer.expect("an answer");
    let results = String::from_utf8(answer.body).expect("text");
    let stored = results
        .lines()
        .filter(|line| line.contains("\"status\":20"));
    assert_eq!(stored.count(), messages);
}

fn publish_all(gateway: &Gateway, messages: usize, payload_bytes: usize) {
    for _ in 0..messages / 20 {
        publish_many(gateway, 20, payload_bytes);
    }
}

#[test]
fn it_shows_what_the_door_takes_and_refuses() {
    let gateway = started();
    let (mut tap, lines) = tap(&gateway, &["#", "--refused", "-n", "4", "--max-bytes", "5"]);
    let id = [
        ("idempotency-key", "i-1"),
        ("causeway-key", "k"),
        ("causeway-header-kind", "x"),
    ];
    let text = [&id[..], &[("content-type", "text/plain")]].concat();
    assert_eq!(publish(&gateway, "all/a", &text, b"short"), 202);
    let first = next_message(&lines);
    let expected = json!({
        "event": "message", "time": first["time"], "outcome": "stored", "position": 0,
        "source": "http", "principal": "anonymous", "topic": "all/a", "id": "i-1", "key": "k",
        "headers": {"kind": "x"}, "content_type": "text/plain", "payload_bytes": 5, "data": "short",
    });
    assert_eq!(first, expected);
    let again = publish(&gateway, "all/a", &text, b"short");
    assert!(matches!(again, 200 | 202), "{again}");
    assert_eq!(publish(&gateway, "all/a", &text, b"other"), 422);
    assert_eq!(publish(&gateway, "nowhere", &[], b"too long"), 404);
    let outcomes: Vec<Value> = (0..3).map(|_| next_message(&lines)).collect();
    assert_eq!(outcomes[0]["outcome"], "duplicate");
    assert_eq!(outcomes[0]["position"], 0);
    assert_eq!(
        (&outcomes[1]["outcome"], &outcomes[1]["reason"]),
        (&json!("refused"), &json!("conflict"))
    );
    assert_eq!(outcomes[2]["reason"], "no_route");
    assert_eq!(
        (&outcomes[2]["data"], &outcomes[2]["data_start"]),
        (&Value::Null, &json!("too l"))
    );
    let end = next(&lines);
    assert_eq!(
        (&end["event"], &end["why"]),
        (&json!("end"), &json!("limit"))
    );
    assert_eq!((&end["matched"], &end["shown"]), (&json!(4), &json!(4)));
    assert_eq!(tap.wait(PATIENCE), 0);
}

#[test]
fn only_what_matches_is_shown_and_payloads_can_be_kept_out() {
    let gateway = started();
    let mut tap = Running::start(gateway.other(&["tap", "all/{who}/x", "--no-payload", "-n", "2"]));
    let lines = tap.lines();
    wait_until(PATIENCE, "the tap is there", || {
        publish(&gateway, "all/probe/x", &[], b"secret");
        lines.try_recv().is_ok()
    });
    publish(&gateway, "all/a/y", &[], b"secret");
    publish(
        &gateway,
        "all/last/x",
        &[("idempotency-key", "i")],
        b"secret",
    );
    assert_eq!(tap.wait(PATIENCE), 0);
    let rest: Vec<String> = lines.iter().collect();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert!(
        !rest[0].contains("secret") && rest[0].contains("(6 bytes)"),
        "{rest:?}"
    );
    let notes = tap.read_stderr();
    assert!(notes.ends_with("2 shown, none left out\n"), "{notes}");
}

#[test]
fn what_matched_is_shown_or_counted_as_left_out() {
    const MESSAGES: u64 = 3_000;
    let gateway = started();
    let args = ["all/#", "--rate", "50", "--sample", "1/2"];
    let (mut tap, lines) = tap(&gateway, &args);
    publish_many(&gateway, MESSAGES as usize, 10);
    let mut shown = 0;
    let counts = loop {
        let line = next(&lines);
        match line["event"].as_str() {
            Some("message") => shown += 1,
            _ if line["matched"] == MESSAGES => break line,
            _ => {}
        }
    };
    let left_out = |why: &str| counts["left_out"][why].as_u64().expect("a number");
    let (sample, rate, queue) = (left_out("sample"), left_out("rate"), left_out("queue"));
    assert_eq!(counts["shown"], shown);
    assert_eq!(shown + sample + rate + queue, MESSAGES, "{counts}");
    assert!(sample > 1_000 && rate > 500 && shown > 0, "{counts}");
    let pid = Pid::from_child(&tap.0);
    kill_process(pid, Signal::INT).expect("our own child");
    assert_eq!(tap.wait(PATIENCE), 0);
}

/// A client that opens a tap and reads nothing of it.
fn unread(gateway: &Gateway) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.admin).expect("it listens");
    let query = format!("pattern={}&rate=10000&max_bytes=1000000", encoded("#"));
    let request = format!(
        "GET /api/v1/tap?{query} HTTP/1.1\r\nhost: {}\r\n\r\n",
        gateway.admin
    );
    socket.write_all(request.as_bytes()).expect("it takes it");
    socket
}

/// The status line of a tap's answer, which is read no further.
fn status(socket: &TcpStream) -> String {
    let mut line = String::new();
    let socket = socket.try_clone().expect("a handle");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    // One byte a time: what follows stays unread.
    let mut input = BufReader::with_capacity(1, socket);
    input.read_line(&mut line).expect("an answer");
    line
}

/// All taps there may be, none of them read, while far more passes than they may hold.
#[test]
fn taps_that_are_not_read_hold_up_nobody_and_hold_little() {
    const MESSAGES: usize = 200;
    const PAYLOAD_BYTES: usize = 500_000;
    let gateway = started();
    // What the gateway itself takes for such a load.
    publish_all(&gateway, MESSAGES, PAYLOAD_BYTES);
    let before = rss_bytes(&gateway);
    let mut taps: Vec<TcpStream> = (0..MAX_TAPS).map(|_| unread(&gateway)).collect();
    for tap in &taps {
        assert!(status(tap).contains(" 200 "), "it is open");
    }
    let mut further = unread(&gateway);
    assert!(status(&further).contains(" 503 "), "no further one");
    further.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut rest = vec![0; 4_096];
    let read = further.read(&mut rest).expect("the answer's rest");
    let rest = String::from_utf8_lossy(&rest[..read]).into_owned();
    assert!(
        rest.contains("retry-after") || rest.contains("problem"),
        "{rest}"
    );

    publish_all(&gateway, MESSAGES, PAYLOAD_BYTES);
    // Each: 4 MiB that wait, what is being written of one, and its socket's buffer. The rest is what
    // the allocator keeps.
    let grown = rss_bytes(&gateway).saturating_sub(before);
    let allowed = (MAX_TAPS as u64) * (8 << 20) + (32 << 20);
    let all = (MESSAGES * PAYLOAD_BYTES * MAX_TAPS) as u64;
    assert!(
        grown < allowed && allowed < all / 4,
        "{grown} bytes more, {allowed} allowed, of {all}"
    );

    // Those who go leave their place to others.
    taps.clear();
    wait_for(PATIENCE, || {
        let again = unread(&gateway);
        let status = status(&again);
        status.contains(" 200 ").then_some(()).ok_or(status)
    });
}

fn rss_bytes(gateway: &Gateway) -> u64 {
    let pid = gateway.pid().expect("it runs");
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("Linux");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number of pages");
    pages * 4_096
}

#[test]
fn it_goes_on_after_a_restart_and_says_what_it_missed() {
    let mut gateway = started();
    let (mut tap, lines) = tap(&gateway, &["all/#"]);
    publish(&gateway, "all/before", &[], b"x");
    assert_eq!(next_message(&lines)["topic"], "all/before");
    gateway.kill();
    gateway.start().unwrap();
    wait_until(PATIENCE, "it is there again", || {
        publish(&gateway, "all/after", &[], b"x");
        let line = lines.recv_timeout(Duration::from_millis(200));
        line.is_ok_and(|line| line.contains("all/after"))
    });
    drop(tap.0.kill());
    let notes = tap.read_stderr();
    assert!(
        notes.contains("; trying again\n")
            && notes.contains("what passed meanwhile is not shown\n"),
        "{notes}"
    );
    gateway.terminate(PATIENCE).unwrap();
}

/// A gateway that stops says so to its taps, and isn't held up by them.
#[test]
fn a_stop_ends_the_taps() {
    let mut gateway = started();
    let (_tap, lines) = tap(&gateway, &["all/#"]);
    gateway.terminate(PATIENCE).unwrap();
    let end = next_message(&lines);
    assert_eq!(
        (&end["event"], &end["why"]),
        (&json!("end"), &json!("stopping"))
    );
}
