//! The log of the real process: lines of JSON that tell operators what happened, and never what
//! publishers sent.

use crate::support::client::Client;
use crate::support::metrics;
use crate::support::process::{Gateway, program};
use crate::support::wait::wait_until;
use axum::body::Body;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// In every payload, and in nothing else.
const MARKER: &str = "Zq7-what-publishers-send-Zq7";

const SETTINGS: &str = r##"
[limits]
payload = "1KiB"

[[identity]]
topic = "named/#"
id = "payload.id"

[destinations.inbox]
type = "stream"

[destinations.flaky]
type = "faulty"
script = "retry first 2"
record = "flaky.record"

[destinations.picky]
type = "faulty"
script = "reject"
record = "picky.record"

[destinations.broken]
type = "faulty"
script = "fatal"
record = "broken.record"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]

[[routes]]
name = "named"
topic = "named/#"
to = ["inbox"]

[[routes]]
name = "flaky"
topic = "flaky"
to = ["flaky"]

[[routes]]
name = "picky"
topic = "picky"
to = ["picky"]

[[routes]]
name = "broken"
topic = "broken"
to = ["broken"]
"##;

fn post(client: &mut Client, path: &str, headers: &[(&str, &str)], body: &str, status: &[u16]) {
    let got = client.post(path, headers, body.as_bytes());
    let got = got.unwrap_or_else(|e| panic!("{path}: {e}"));
    assert!(status.contains(&got.status), "{path}: {got}");
}

/// Every way that a payload can go, and every way that it can't.
fn publish_all(gateway: &Gateway) {
    const TAKEN: &[u16] = &[200, 202];
    let mut client = gateway.client(PATIENCE);
    let id = [("idempotency-key", "one")];
    post(&mut client, "/v1/topics/all/x", &id, MARKER, TAKEN);
    post(&mut client, "/v1/topics/all/x", &id, MARKER, TAKEN);
    let other = format!("{MARKER} and more");
    post(&mut client, "/v1/topics/all/x", &id, &other, &[422]);
    post(&mut client, "/v1/topics/nowhere", &[], MARKER, &[404]);
    post(&mut client, "/v1/topics/all//x", &[], MARKER, &[400]);
    let large = MARKER.repeat(100);
    post(&mut client, "/v1/topics/all/x", &[], &large, &[413]);
    let coded = [("content-encoding", "gzip")];
    post(&mut client, "/v1/topics/all/x", &coded, MARKER, &[400]);
    let json = [("content-type", "application/json")];
    let odd = format!("{{\"id\":{{\"{MARKER}\":1}}}}");
    for (body, status) in [
        (MARKER, &[400][..]),
        (&odd, &[400]),
        (&format!("{{\"{MARKER}\":1}}"), &[400]),
        (&format!("{{\"id\":\"2\",\"{MARKER}\":1}}"), TAKEN),
    ] {
        post(&mut client, "/v1/topics/named/x", &json, body, status);
    }
    let lines = format!(
        "{{\"topic\":\"all/x\",\"data\":\"{MARKER}\"}}\n{{\"topic\":\"all/x\",\"{MARKER}\":1}}\n\
         {MARKER}\n{{\"topic\":\"nowhere\",\"data\":\"{MARKER}\"}}\n"
    );
    post(&mut client, "/v1/batch", &[], &lines, &[200]);
    for topic in ["flaky", "picky", "broken"] {
        let path = format!("/v1/topics/{topic}");
        post(
            &mut client,
            &path,
            &[("content-type", "text/plain")],
            MARKER,
            TAKEN,
        );
    }
    for target in ["/v1/streams/inbox", "/v1/messages/0"] {
        assert_eq!(client.get(target).expect("an answer").status, 200);
    }
}

/// The one library here that logs by itself is HTTP/2's.
fn publish_by_http2(gateway: &Gateway) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let address = gateway.http;
    let published = async {
        let socket = tokio::net::TcpStream::connect(address)
            .await
            .expect("there");
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let shaken = builder.handshake(TokioIo::new(socket)).await;
        let (mut requests, connection) = shaken.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let request = Request::post(format!("http://{address}/v1/topics/all/h2"));
        let request = request.body(Body::from(MARKER)).expect("legal");
        let answer = requests.send_request(request).await.expect("an answer");
        connection.abort();
        answer.status().as_u16()
    };
    assert!(matches!(runtime.block_on(published), 200 | 202));
}

/// What no HTTP is made of, and half of a request.
fn send_nonsense(gateway: &Gateway) {
    for (bytes, is_answered) in [
        (format!("{MARKER}\r\n\r\n"), true),
        (
            format!(
                "POST /v1/topics/all/x HTTP/1.1\r\nhost: {}\r\ncontent-length: 99\r\n\r\n{MARKER}",
                gateway.http
            ),
            false,
        ),
    ] {
        let mut socket = TcpStream::connect(gateway.http).expect("it listens");
        socket.write_all(bytes.as_bytes()).expect("it takes it");
        if is_answered {
            // However it ends.
            let _ = socket.read_to_end(&mut Vec::new());
        }
    }
}

/// Waits until the log, or what the metrics say, is as wanted.
fn wait(what: &str, is_so: impl FnMut() -> bool) {
    wait_until(PATIENCE, what, is_so);
}

fn settled(gateway: &Gateway, lane: &str) -> bool {
    let page = gateway.health_client().get("/metrics").expect("health");
    let counts = metrics::counts(&String::from_utf8_lossy(&page.body)).expect("metrics");
    counts[lane].planned > 0 && counts[lane].pending == 0
}

fn log_of(gateway: &Gateway) -> String {
    fs::read_to_string(gateway.folder().join("log")).expect("it logs text")
}

fn lines(log: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    log.lines().map(parse).collect()
}

/// The only line that begins so.
fn said<'l>(lines: &'l [Value], lane: Option<&str>, words: &str) -> &'l Value {
    let is_it = |line: &&Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with(words) && lane.is_none_or(|lane| line["lane"] == lane)
    };
    let found: Vec<&Value> = lines.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{words:?} of {lane:?}: {found:?}");
    found[0]
}

#[test]
fn the_log_is_json_and_has_no_payload_in_it() {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.variable("CAUSEWAY_LOG", "trace");
    // It is no setting of this program, whatever else reads it.
    gateway.variable("RUST_LOG", "off");
    gateway.start().unwrap();
    publish_all(&gateway);
    send_nonsense(&gateway);
    publish_by_http2(&gateway);
    wait("flaky", || settled(&gateway, "flaky"));
    wait("picky", || settled(&gateway, "picky"));
    for words in [
        "the destination fails",
        "the lane has stopped",
        "put into the dead letters",
    ] {
        wait(words, || log_of(&gateway).contains(words));
    }
    let http = gateway.http.to_string();
    gateway.terminate(PATIENCE).unwrap();
    let first = log_of(&gateway);
    gateway.start().unwrap();
    gateway.kill();

    let log = log_of(&gateway);
    assert!(!log.contains(MARKER), "{}", line_with_marker(&log));
    let all = lines(&log);
    for line in &all {
        let level = line["level"].as_str().unwrap_or_default();
        let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
        assert!(levels.contains(&level), "{line}");
        assert!(
            line["target"].as_str().is_some_and(|t| !t.is_empty()),
            "{line}"
        );
        assert!(line["timestamp"].is_string(), "{line}");
    }
    let of_http2 = all.iter().any(|line| {
        line["target"]
            .as_str()
            .is_some_and(|t| t.starts_with("h2::"))
    });
    assert!(
        of_http2,
        "HTTP/2 logs nothing any more: nothing is shown of it here"
    );
    let lines = &lines(&first);
    assert_eq!(
        said(lines, None, "starting")["version"],
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(said(lines, None, "http: takes messages")["address"], http);
    let opened = said(lines, None, "journal open");
    assert_eq!(
        (&opened["new"], &opened["next_position"]),
        (&true.into(), &0.into())
    );
    let fails = said(lines, Some("flaky"), "the destination fails");
    assert_eq!(
        (&fails["level"], &fails["position"]),
        (&"WARN".into(), &3.into())
    );
    assert!(
        fails["error"].as_str().is_some_and(|e| !e.is_empty()),
        "{fails}"
    );
    said(
        lines,
        Some("picky"),
        "messages are put into the dead letters",
    );
    let stopped = said(lines, Some("broken"), "the lane has stopped");
    assert_eq!(
        (&stopped["level"], &stopped["position"]),
        (&"ERROR".into(), &5.into())
    );
    assert_eq!(said(lines, None, "stopping")["signal"], "SIGTERM");
    let end = said(lines, None, "stopped");
    assert_eq!(
        (&end["next_position"], &end["pending"]),
        (&7.into(), &1.into())
    );
    // The next start tells what it found.
    let again = all[lines.len()..].to_vec();
    let opened = said(&again, None, "journal open");
    assert_eq!(
        (&opened["next_position"], &opened["pending"]),
        (&7.into(), &1.into())
    );
}

fn line_with_marker(log: &str) -> &str {
    log.lines()
        .find(|line| line.contains(MARKER))
        .unwrap_or_default()
}

#[test]
fn how_much_is_logged_is_said_by_flag_or_variable() {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.variable("CAUSEWAY_LOG", "warn");
    gateway.start().unwrap();
    gateway.terminate(PATIENCE).unwrap();
    assert_eq!(log_of(&gateway), "");
    let refused = gateway.run(&["--log-level", "loud", "check"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
