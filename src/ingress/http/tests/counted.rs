//! What is refused before the door is counted by the type of its problem.

use super::harness::{
    CONNECTION_LIMIT, HEAD_BYTES, House, PATIENCE, PAYLOAD_LIMIT, Running, answer, ask, begun,
    finished, house, request, send, start, start_guarded,
};
use super::*;
use crate::ingress::listener::{App as _, Ended};
use axum::body::Body;
use http_body_util::BodyExt;

/// Those that aren't zero.
fn counted(counters: &Counters) -> Vec<(&'static str, u64)> {
    let some = counters.problems().into_iter().filter(|(_, n)| *n > 0);
    some.map(|(kind, n)| (kind.as_str(), n)).collect()
}

#[tokio::test]
async fn what_is_refused_by_its_body_is_counted() {
    let running = start().await;
    let full = vec![b'x'; PAYLOAD_LIMIT];
    let held = send(
        running.address,
        &request("POST", "/v1/topics/held/1", "", &full),
    )
    .await;
    begun(&running, 1).await;
    assert_eq!(
        ask(&running, "POST", "/v1/topics/a", &full).await.status,
        503
    );
    let over = vec![b'x'; PAYLOAD_LIMIT + 1];
    assert_eq!(
        ask(&running, "POST", "/v1/topics/a", &over).await.status,
        413
    );
    let coded = request("POST", "/v1/topics/a", "content-encoding: br\r\n", b"x");
    assert_eq!(
        answer(send(running.address, &coded).await).await.status,
        415
    );
    running.script.gate.add_permits(1);
    finished(&running, 1).await;
    assert_eq!(answer(held).await.status, 202);
    assert_eq!(
        counted(&running.counters),
        [
            ("content-encoding", 1),
            ("in-flight-full", 1),
            ("too-large", 1)
        ]
    );
}

#[tokio::test]
async fn what_the_door_refuses_is_counted_with_it_and_so_are_lines() {
    let running = start().await;
    assert_eq!(
        ask(&running, "POST", "/v1/topics/nowhere", b"x")
            .await
            .status,
        404
    );
    let lines = b"{\"topic\":\"nowhere\",\"data\":1}\nnonsense\n{\"topic\":\"a\",\"data\":1}\n";
    let got = ask(&running, "POST", "/v1/batch", lines).await;
    assert_eq!(got.status, 200);
    assert_eq!(
        counted(&running.counters),
        [("malformed", 1), ("no-route", 2)]
    );
}

#[tokio::test]
async fn foreign_requests_and_connections_above_the_limit_are_counted() {
    let running = start_guarded().await;
    let foreign = b"GET /v1/messages/7 HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(
        answer(send(running.address, foreign).await).await.status,
        403
    );
    assert_eq!(counted(&running.counters), [("foreign-host", 1)]);

    let running = start().await;
    let mut kept = Vec::new();
    for i in 0..CONNECTION_LIMIT {
        let held = request("POST", &format!("/v1/topics/held/{i}"), "", b"x");
        kept.push(send(running.address, &held).await);
    }
    begun(&running, CONNECTION_LIMIT).await;
    assert_eq!(
        ask(&running, "POST", "/v1/topics/a", b"x").await.status,
        503
    );
    assert_eq!(counted(&running.counters), [("connections", 1)]);
    running.script.gate.add_permits(CONNECTION_LIMIT);
    for socket in kept {
        assert_eq!(answer(socket).await.status, 202);
    }
}

async fn get(app: &App, target: &str) -> Response {
    let request = Request::get(target).body(Body::empty()).expect("legal");
    app.clone().answer(request).await
}

#[tokio::test(start_paused = true)]
async fn pages_in_memory_are_limited() {
    let House { app, counters, .. } = house();
    let mut unread = Vec::new();
    for _ in 0..stream::PAGES_AT_ONCE {
        let page = get(&app, "/v1/streams/inbox").await;
        assert_eq!(page.status(), 200);
        unread.push(page);
    }
    let refused = get(&app, "/v1/streams/inbox").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(counted(&counters), [("stream-pages", 1)]);

    // One that is read, or given up, gives its place back.
    let read = unread.pop().expect("one").into_body().collect().await;
    drop(read.expect("in memory"));
    assert_eq!(get(&app, "/v1/streams/inbox").await.status(), 200);
}

/// Bare answers, and none at all, have no problem: the connection that is ended is counted.
#[tokio::test]
async fn connections_that_are_ended_are_counted() {
    let running = start().await;
    let nonsense = answer(send(running.address, b"HELLO\r\n\r\n").await).await;
    assert_eq!(nonsense.status, 400);
    let head = format!(
        "POST /v1/topics/a HTTP/1.1\r\nhost: g\r\nx: {}\r\n\r\n",
        "y".repeat(HEAD_BYTES)
    );
    let long = answer(send(running.address, head.as_bytes()).await).await;
    assert_eq!(long.status, 431);
    let expected = [
        (Ended::Malformed, 1),
        (Ended::HeadTooLarge, 1),
        (Ended::Silent, 0),
        (Ended::NotTaking, 0),
    ];
    wait_for_ended(&running, expected).await;
    assert_eq!(counted(&running.counters), []);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_counted() {
    let running = start().await;
    // More events than its buffers hold.
    running.script.stream_end.send_replace(10_000_000);
    let events = request(
        "GET",
        "/v1/streams/inbox",
        "accept: text/event-stream\r\n",
        b"",
    );
    let socket = send(running.address, &events).await;
    let counted = async {
        while running.counters.connections.ended()[Ended::NotTaking as usize].1 == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    // Hours of this clock.
    let found = timeout(Duration::from_secs(10_000), counted).await;
    assert!(found.is_ok(), "{:?}", running.counters.connections.ended());
    drop(socket);
}

/// They are counted just after the peer saw the end.
async fn wait_for_ended(running: &Running, expected: [(Ended, u64); 4]) {
    let wait = async {
        while running.counters.connections.ended() != expected {
            tokio::task::yield_now().await;
        }
    };
    let found = timeout(PATIENCE, wait).await;
    assert!(found.is_ok(), "{:?}", running.counters.connections.ended());
}
