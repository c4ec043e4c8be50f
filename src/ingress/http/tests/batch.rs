//! `POST /v1/batch` over a socket: lines of all kinds, cut bodies, limits.

use super::super::batch::{BATCHES_AT_ONCE, CODED_BATCHES_AT_ONCE, Results};
use super::super::*;
use super::harness::{
    Answer, House, PATIENCE, PAYLOAD_LIMIT, Running, answer, finished, house, request, send, start,
};
use crate::ingress::listener::App as _;
use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

async fn post(running: &Running, headers: &str, body: &[u8]) -> Answer {
    let request = request("POST", "/v1/batch", headers, body);
    answer(send(running.address, &request).await).await
}

/// The result lines; the answer as a whole is always 200.
pub(super) fn results(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.head.contains("content-type: application/x-ndjson"));
    let lines = unchunked(&answer.body);
    let lines = lines.strip_suffix(b"\n").unwrap_or(&lines);
    let each = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    each.map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect()
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body
            .windows(2)
            .position(|w| w == b"\r\n")
            .expect("a chunk's size");
        let size = std::str::from_utf8(&body[..end]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("digits");
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
}

pub(super) fn statuses(results: &[Value]) -> Vec<u64> {
    results
        .iter()
        .map(|r| r["status"].as_u64().expect("a number"))
        .collect()
}

fn line(topic: &str, id: &str, more: &str) -> String {
    format!("{{\"topic\":\"{topic}\",\"id\":\"{id}\",\"data\":1{more}}}\n")
}

fn ids(running: &Running) -> Vec<String> {
    let envelopes = running.script.envelopes.lock().expect("no panic");
    let id = |e: &Envelope| e.id.as_str().unwrap_or_default().to_owned();
    envelopes.iter().map(id).collect()
}

#[tokio::test]
async fn each_line_has_its_result_in_order() {
    let running = start().await;
    let body = [
        line("a", "1", ""),
        "\n".into(),
        line("nowhere", "2", ""),
        "nonsense\n".into(),
        format!(
            "{{\"topic\":\"a\",\"data\":\"{}\"}}\r\n",
            "x".repeat(3 * PAYLOAD_LIMIT + (16 << 10))
        ),
        line("a", "5", "").trim_end().into(),
    ]
    .concat();
    let got = results(&post(&running, "", body.as_bytes()).await);
    assert_eq!(statuses(&got), [202, 404, 400, 413, 202]);
    assert_eq!(
        got[0],
        json!({"status": 202, "id": "1", "position": 7, "duplicate": false, "state": "stored",
               "targets": [{"route": "all", "destination": "inbox", "state": "stored"}]})
    );
    assert_eq!(got[1]["type"], "urn:causeway:problem:no-route");
    assert_eq!(got[2]["type"], "urn:causeway:problem:malformed");
    assert_eq!(
        (&got[3]["what"], &got[3]["setting"]),
        (&"the line".into(), &"limits.payload".into())
    );
    assert_eq!(ids(&running), ["1", "2", "5"]);
    let counted = running.counters.answered();
    assert!(
        counted
            .iter()
            .any(|c| c.endpoint == Endpoint::Batch && c.status == 200)
    );
}

#[tokio::test]
async fn after_a_refusal_later_lines_of_the_key_are_refused() {
    let running = start().await;
    let body = [
        line("a", "1", ",\"key\":\"k\""),
        line("nowhere", "2", ",\"key\":\"k\""),
        line("a", "3", ",\"key\":\"k\""),
        line("a", "4", ",\"key\":\"other\""),
        line("a", "5", ""),
        line("a", "", ",\"key\":\"other\""),
        line("a", "7", ",\"key_base64\":\"b3RoZXI=\""),
    ]
    .concat();
    let got = results(&post(&running, "", body.as_bytes()).await);
    assert_eq!(statuses(&got), [202, 404, 422, 202, 202, 400, 422]);
    for later in [2, 6] {
        assert_eq!(got[later]["type"], "urn:causeway:problem:earlier-refused");
    }
}

#[tokio::test]
async fn a_cut_body_leaves_its_complete_lines() {
    let running = start().await;
    let lines = [line("a", "1", ""), line("a", "2", "")].concat();
    let head = format!(
        "POST /v1/batch HTTP/1.1\r\nhost: g\r\ncontent-length: {}\r\n\r\n",
        lines.len() + 100
    );
    let cut = [head.as_bytes(), lines.as_bytes(), b"{\"topic\":\"a\","].concat();
    drop(send(running.address, &cut).await);
    finished(&running, 2).await;
    assert_eq!(ids(&running), ["1", "2"]);

    // A coding that breaks off: what it gave is taken, and the answer says why there is no more.
    let mut coder = GzEncoder::new(Vec::new(), Compression::fast());
    coder.write_all(lines.as_bytes()).expect("into memory");
    coder.flush().expect("into memory");
    let broken = coder.get_ref().clone();
    let got = results(&post(&running, "Content-Encoding: gzip\r\n", &broken).await);
    assert_eq!(statuses(&got), [202, 202, 400]);

    let whole = coder.finish().expect("into memory");
    let got = results(&post(&running, "Content-Encoding: gzip\r\n", &whole).await);
    assert_eq!(statuses(&got), [202, 202]);
    let got = post(&running, "Content-Encoding: br\r\n", b"x").await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (415, "content-encoding")
    );
}

/// Results come while the body does, and lines in flight are bounded by their bytes: the next one
/// waits for its own, and isn't refused.
#[tokio::test]
async fn results_come_while_the_body_does() {
    let running = start().await;
    let mut socket = send(
        running.address,
        b"POST /v1/batch HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await;
    let mut seen = Vec::new();
    for id in ["1", "2"] {
        let line = line("a", id, "");
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        socket
            .write_all(chunk.as_bytes())
            .await
            .expect("it is taken");
        let found = format!("\"id\":\"{id}\"");
        while !String::from_utf8_lossy(&seen).contains(&found) {
            let read = timeout(PATIENCE, socket.read_buf(&mut seen)).await;
            assert!(
                read.expect("in time").expect("it is sound") > 0,
                "it ended early"
            );
        }
    }
    // Three of them are more than all bytes in flight.
    let data = "x".repeat(600);
    let long = |id: &str| format!("{{\"topic\":\"held/a\",\"id\":\"{id}\",\"data\":\"{data}\"}}\n");
    let lines = [long("3"), long("4"), long("5")].concat();
    let rest = format!("{:x}\r\n{lines}\r\n0\r\n\r\n", lines.len());
    socket
        .write_all(rest.as_bytes())
        .await
        .expect("it is taken");
    running.script.gate.add_permits(3);
    let read = timeout(PATIENCE, async {
        while !seen.ends_with(b"0\r\n\r\n") {
            socket.read_buf(&mut seen).await.expect("it is sound");
        }
    });
    read.await.expect("in time");
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert_eq!(text.matches("\"status\":202").count(), 5, "{text}");
    assert_eq!(ids(&running), ["1", "2", "3", "4", "5"]);
}

/// Others hold most of the bytes in flight: a line that finds no room, whole or begun, is refused for
/// now, and holds back its key; of a begun one, whose key isn't read, every key.
#[tokio::test]
async fn a_line_without_room_is_refused_for_now() {
    let data = "y".repeat(600);
    let long = format!("{{\"topic\":\"a\",\"key\":\"k\",\"id\":\"1\",\"data\":\"{data}\"}}\n");
    let rest = [
        line("a", "2", ",\"key\":\"k\""),
        line("a", "3", ",\"key\":\"other\""),
        line("a", "4", ""),
    ]
    .concat();
    let whole = [long.as_str(), &rest].concat();
    for (first, expected) in [
        (long.len(), [503, 503, 202, 202]),
        (long.len() - 20, [503, 503, 503, 202]),
    ] {
        let House {
            app,
            script,
            stop: _running,
            ..
        } = house();
        let call = |request| app.clone().answer(request);
        let held = Request::post("/v1/topics/held/1").body(Body::from(vec![b'x'; PAYLOAD_LIMIT]));
        let held = tokio::spawn(call(held.expect("legal")));
        while script.envelopes.lock().expect("no panic").is_empty() {
            tokio::task::yield_now().await;
        }
        let (pieces, chunks) = tokio::sync::mpsc::channel(2);
        let request = Request::post("/v1/batch").body(Body::new(Results(chunks)));
        let answer = call(request.expect("legal")).await;
        for piece in [&whole[..first], &whole[first..]] {
            let piece = Bytes::copy_from_slice(piece.as_bytes());
            pieces.send(piece).await.expect("it is read");
        }
        drop(pieces);
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("it ends")
            .to_bytes();
        let got: Vec<Value> = body
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
            .collect();
        assert_eq!(statuses(&got), expected, "{got:?}");
        assert_eq!(got[0]["type"], "urn:causeway:problem:in-flight-full");
        assert_eq!(got[1]["type"], "urn:causeway:problem:earlier-refused");
        held.abort();
    }
}

#[tokio::test]
async fn a_stop_ends_an_endless_batch() {
    let running = start().await;
    let begun = line("a", "1", "");
    let open = format!(
        "POST /v1/batch HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{begun}\r\n",
        begun.len()
    );
    let mut socket = send(running.address, open.as_bytes()).await;
    finished(&running, 1).await;
    running.stop.send_replace(true);
    let mut seen = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut seen)).await;
    read.expect("in time").expect("it is sound");
    let text = String::from_utf8_lossy(&seen);
    assert!(
        text.contains("\"status\":202") && text.contains("problem:stopping"),
        "{text}"
    );
    timeout(PATIENCE, running.served)
        .await
        .expect("in time")
        .expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn batches_at_one_time_are_limited() {
    for (coding, limit) in [
        ("identity", BATCHES_AT_ONCE),
        ("gzip", CODED_BATCHES_AT_ONCE),
    ] {
        let House {
            app,
            stop,
            counters,
            ..
        } = house();
        let open = || {
            let (sender, chunks) = tokio::sync::mpsc::channel(1);
            let request = Request::post("/v1/batch")
                .header("content-encoding", coding)
                .body(Body::new(Results(chunks)))
                .expect("legal");
            let answer = app.clone().answer(request);
            async move { (answer.await, sender) }
        };
        let mut taken = Vec::new();
        for _ in 0..limit {
            taken.push(open().await);
            assert_eq!(taken.last().expect("one").0.status(), 200);
        }
        let (refused, _) = open().await;
        assert_eq!(refused.status(), 503, "{coding}");
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(counters.problems()[Kind::Batches as usize].1, 1);

        // One that ends gives its place back.
        let (answer, sender) = taken.pop().expect("one");
        drop(sender);
        answer.into_body().collect().await.expect("it ends");
        while open().await.0.status() != 200 {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
    }
}
