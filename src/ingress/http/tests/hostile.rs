//! HTTP/1 as nobody should send it, and the corners of it that are legal.

use super::harness::{
    Answer, HEAD_BYTES, HEAD_LINES, PATIENCE, PAYLOAD_LIMIT, Running, answer, begun, request, send,
    start,
};
use super::*;
use crate::ingress::listener::{self, Ended};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const POST: &str = "POST /v1/topics/a HTTP/1.1\r\nhost: g\r\n";

async fn raw(running: &Running, bytes: &[u8]) -> Answer {
    answer(send(running.address, bytes).await).await
}

/// Connections that the listener ended, when it had time to count them.
fn ended(running: &Running, why: Ended) -> u64 {
    running.counters.connections.ended()[why as usize].1
}

fn published(running: &Running) -> usize {
    running.script.envelopes.lock().expect("no panic").len()
}

/// Several answers of one connection: the status of each, and its body.
fn split(mut bytes: &[u8]) -> Vec<(u16, serde_json::Value)> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let end = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .expect("a head")
            + 4;
        let head = std::str::from_utf8(&bytes[..end])
            .expect("text")
            .to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let length: usize = length.and_then(|l| l.parse().ok()).expect("a length");
        let body = &bytes[end..end + length];
        let json = serde_json::from_slice(body).unwrap_or_default();
        answers.push((status.expect("a status"), json));
        bytes = &bytes[end + length..];
    }
    answers
}

#[tokio::test]
async fn broken_chunks_publish_nothing() {
    let running = start().await;
    for chunks in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello, world\r\n0\r\n\r\n",
        "5hello\r\n0\r\n\r\n",
        "\r\n\r\n",
    ] {
        let head = format!("{POST}transfer-encoding: chunked\r\nconnection: close\r\n\r\n");
        let got = raw(&running, format!("{head}{chunks}").as_bytes()).await;
        assert_eq!(got.status, 400, "{chunks:?}");
        assert_eq!(got.problem(), "malformed");
    }
    // The sender goes in the middle of a chunk, or of an announced length.
    for cut in [
        "transfer-encoding: chunked\r\n\r\n5\r\nhel",
        "content-length: 5\r\n\r\nhel",
    ] {
        let mut socket = send(running.address, format!("{POST}{cut}").as_bytes()).await;
        socket.shutdown().await.expect("connected");
        assert_eq!(answer(socket).await.status, 400, "{cut:?}");
    }
    assert_eq!(published(&running), 0);
}

#[tokio::test]
async fn one_length_and_one_only() {
    let running = start().await;
    for lengths in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: -5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: gzip\r\n",
    ] {
        let got = raw(&running, format!("{POST}{lengths}\r\nhello!").as_bytes()).await;
        assert_eq!(got.status, 400, "{lengths:?}");
    }
    assert_eq!(published(&running), 0);
    // By chunks if there are both, and whatever stands behind them is no request.
    let behind = "POST /v1/topics/smuggled HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\n\r\n";
    for lengths in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ] {
        let both = format!("{POST}{lengths}\r\n2\r\nhi\r\n0\r\n\r\n{behind}");
        assert_eq!(raw(&running, both.as_bytes()).await.status, 202);
    }
    let envelopes = running.script.envelopes.lock().expect("no panic");
    let seen: Vec<_> = envelopes
        .iter()
        .map(|e| (e.topic.as_str(), e.payload.as_deref().expect("a payload")))
        .collect();
    assert_eq!(seen, [("a", &b"hi"[..]), ("a", b"hi")]);
}

#[tokio::test]
async fn heads_are_text_and_have_an_end() {
    let running = start().await;
    for head in [
        "causeway-key: a\0b\r\n",
        "causeway-key: a\x01b\r\n",
        "bad name: x\r\n",
        ": x\r\n",
        "causeway-key: a\r\n folded\r\n",
    ] {
        let request = format!("{POST}{head}content-length: 0\r\n\r\n");
        let got = raw(&running, request.as_bytes()).await;
        assert_eq!(got.status, 400, "{head:?}");
    }
    let not_utf8 = [
        POST.as_bytes(),
        b"content-type: \xff\r\nconnection: close\r\n\r\n",
    ]
    .concat();
    let got = raw(&running, &not_utf8).await;
    assert_eq!((got.status, got.problem().as_str()), (400, "malformed"));
    assert_eq!(got.json()["header"], "content-type");

    let many = |lines: usize| {
        format!(
            "{POST}{}connection: close\r\n\r\n",
            "x: y\r\n".repeat(lines)
        )
    };
    assert_eq!(
        raw(&running, many(HEAD_LINES - 2).as_bytes()).await.status,
        202
    );
    assert_eq!(
        raw(&running, many(HEAD_LINES - 1).as_bytes()).await.status,
        431
    );
    let long = format!("{POST}x: {}\r\n\r\n", "y".repeat(HEAD_BYTES));
    assert_eq!(raw(&running, long.as_bytes()).await.status, 431);
    assert_eq!(published(&running), 1);
}

/// So large a head may be refused before it is taken: what counts is that nothing is published,
/// and that others are served.
#[tokio::test]
async fn ten_thousand_headers_are_refused() {
    let running = start().await;
    let mut socket = tokio::net::TcpStream::connect(running.address)
        .await
        .expect("there");
    let head = format!("{POST}{}\r\n", "x: y\r\n".repeat(10_000));
    let (mut read, mut write) = socket.split();
    let mut got = Vec::new();
    let (_, read) = tokio::join!(
        write.write_all(head.as_bytes()),
        timeout(PATIENCE, read.read_to_end(&mut got))
    );
    let reset = read.expect("in time").is_err();
    assert!(reset || got.starts_with(b"HTTP/1.1 431 "), "{got:?}");
    assert_eq!(published(&running), 0);
    let fine = request("POST", "/v1/topics/a", "", b"x");
    assert_eq!(raw(&running, &fine).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_ends_in_time() {
    for begun in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
        "POST /v1/topics/a HT",
        POST,
    ] {
        let running = start().await;
        let mut socket = send(running.address, begun.as_bytes()).await;
        let start = Instant::now();
        let mut got = Vec::new();
        // An hour of this clock.
        let closed = timeout(Duration::from_secs(3_600), socket.read_to_end(&mut got)).await;
        closed.expect("closed").expect("in order");
        let took = start.elapsed();
        assert!(took <= 2 * listener::HEAD_TIMEOUT, "{begun:?}: {took:?}");
        assert!(
            got.is_empty() || got.starts_with(b"HTTP/1.1 408 "),
            "{got:?}"
        );
        assert_eq!(ended(&running, Ended::Silent), 1, "{begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_ends_in_time() {
    let running = start().await;
    let begun = format!("{POST}content-length: 5\r\nconnection: close\r\n\r\nhel");
    let mut socket = send(running.address, begun.as_bytes()).await;
    let mut got = Vec::new();
    let closed = timeout(Duration::from_secs(3_600), socket.read_to_end(&mut got)).await;
    closed.expect("closed").expect("in order");
    assert!(got.starts_with(b"HTTP/1.1 408 "), "{got:?}");
    assert_eq!(published(&running), 0);
}

#[tokio::test]
async fn a_large_body_of_a_refused_head_does_not_hide_the_answer() {
    let running = start().await;
    let body = vec![b'x'; 4 << 20];
    for (header, status) in [
        ("causeway-delay: soon\r\n", 400),
        ("content-encoding: br\r\n", 415),
    ] {
        let large = request("POST", "/v1/topics/a", header, &body);
        let got = raw(&running, &large).await;
        assert_eq!(got.status, status, "{header:?}");
    }
}

#[tokio::test]
async fn a_client_that_closed_its_half_gets_its_answer() {
    let running = start().await;
    let mut socket = send(
        running.address,
        &request("POST", "/v1/topics/held/1", "", b"x"),
    )
    .await;
    socket.shutdown().await.expect("connected");
    begun(&running, 1).await;
    // Time enough to see that its half is closed.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    running.script.gate.add_permits(1);
    assert_eq!(answer(socket).await.status, 202);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let running = start().await;
    let one = |topic: &str, id: usize, headers: &str| {
        format!(
            "POST /v1/topics/{topic} HTTP/1.1\r\nhost: g\r\nidempotency-key: {id}\r\n{headers}\
             content-length: 1\r\n\r\n{id}"
        )
    };
    // The first one waits; the others mustn't overtake it.
    let mut all = one("held/1", 0, "");
    for id in 1..8 {
        all += &one("a", id, "");
    }
    all += "GET /v1/messages/8 HTTP/1.1\r\nhost: g\r\n\r\n";
    all += &one("a", 9, "connection: close\r\n");
    let mut socket = send(running.address, all.as_bytes()).await;
    begun(&running, 1).await;
    running.script.gate.add_permits(1);
    let mut got = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut got)).await;
    read.expect("in time").expect("an answer");
    let ids: Vec<_> = split(&got)
        .iter()
        .map(|(status, body)| format!("{status} {}", body["id"].as_str().unwrap_or("-")))
        .collect();
    let mut expected: Vec<_> = (0..8).map(|id| format!("202 {id}")).collect();
    expected.extend(["404 -".to_owned(), "202 9".to_owned()]);
    assert_eq!(ids, expected);
    assert_eq!(running.counters.connections.refused_connections(), 0);
}

#[tokio::test]
async fn a_refused_request_does_not_end_a_kept_connection() {
    let running = start().await;
    let body = "x".repeat(PAYLOAD_LIMIT + 1);
    let length = body.len();
    let all = format!(
        "{POST}content-length: {length}\r\n\r\n{body}{POST}causeway-delay: x\r\n\
         content-length: 1\r\n\r\nx{POST}content-length: 1\r\nconnection: close\r\n\r\nx"
    );
    let got = {
        let mut socket = send(running.address, all.as_bytes()).await;
        let mut got = Vec::new();
        let read = timeout(PATIENCE, socket.read_to_end(&mut got)).await;
        read.expect("in time").expect("an answer");
        got
    };
    let statuses: Vec<_> = split(&got).iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [413, 400, 202]);
}
