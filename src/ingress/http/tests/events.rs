//! Streams as events, and pages that wait.

use super::super::events::{EVENT_READERS, KEEP_ALIVE};
use super::super::stream::{MAX_WAIT, PAGES_AT_ONCE};
use super::harness::{House, PATIENCE, Running, answer, ask, house, request, send, start};
use crate::ingress::http::App;
use crate::ingress::listener::App as _;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const INBOX: &str = "/v1/streams/inbox";

/// As `HTTP/1.0`, so that the body comes without chunks, and ends with the connection.
async fn listen(running: &Running, target: &str, headers: &str) -> TcpStream {
    let request =
        format!("GET {target} HTTP/1.0\r\nhost: g\r\naccept: text/event-stream\r\n{headers}\r\n");
    send(running.address, request.as_bytes()).await
}

/// What comes up to the needle, which it ends with.
async fn until(socket: &mut TcpStream, needle: &str) -> String {
    let mut got = Vec::new();
    while !got.ends_with(needle.as_bytes()) {
        let byte = timeout(PATIENCE, socket.read_u8()).await;
        let byte = byte.unwrap_or_else(|_| panic!("{needle:?} in time; {}", text(&got)));
        got.push(byte.unwrap_or_else(|e| panic!("{needle:?}: {e}; {}", text(&got))));
    }
    text(&got)
}

async fn to_the_end(socket: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut got)).await;
    read.expect("the end in time").expect("a clean end");
    text(&got)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn event(offset: u64) -> String {
    format!(
        "id: {offset}\ndata: {{\"offset\":{offset},\"id\":\"m{offset}\",\"topic\":\"a\",\"headers\":{{}},\
         \"time\":\"1970-01-01T00:16:40.000Z\",\"data\":\"hello\"}}\n\n"
    )
}

/// The head of the answer and the opening of the stream.
async fn opened(socket: &mut TcpStream) -> String {
    let head = until(socket, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    until(socket, ":\n\nretry: 1000\n\n").await;
    head
}

async fn call(app: &App, method: &str, target: &str, accept: &str) -> Response {
    let request = Request::builder().method(method).uri(target);
    let request = request.header("accept", accept).body(Body::empty());
    let request = request.expect("a request");
    let answered = timeout(MAX_WAIT, app.clone().answer(request)).await;
    answered.expect("in time")
}

async fn frame(response: &mut Response) -> Option<String> {
    let frame = timeout(MAX_WAIT, response.body_mut().frame()).await;
    let frame = frame.expect("in time")?.expect("no error");
    Some(text(&frame.into_data().expect("data")))
}

async fn json_of(response: Response) -> Value {
    let body = response.into_body().collect().await.expect("a body");
    serde_json::from_slice(&body.to_bytes()).expect("JSON")
}

#[tokio::test]
async fn a_stream_is_read_as_events_and_goes_on_until_the_stop() {
    let running = start().await;
    let mut socket = listen(&running, INBOX, "").await;
    let head = opened(&mut socket).await;
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store\r\n",
        "x-accel-buffering: no\r\n",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    for offset in 2..4 {
        assert_eq!(until(&mut socket, "\n\n").await, event(offset));
    }
    running.script.stream_end.send_replace(5);
    assert_eq!(until(&mut socket, "\n\n").await, event(4));
    assert_eq!(running.counters.event_readers().now, 1);
    running.stop.send_replace(true);
    assert_eq!(to_the_end(&mut socket).await, "");
    timeout(PATIENCE, running.served)
        .await
        .expect("nobody keeps it from stopping")
        .expect("no panic");
    assert_eq!(running.counters.event_readers().now, 0);
}

#[tokio::test]
async fn a_limit_ends_the_stream_and_the_connection_is_kept() {
    let running = start().await;
    let events =
        format!("GET {INBOX}?limit=1 HTTP/1.1\r\nhost: g\r\naccept: text/event-stream\r\n\r\n");
    let page = request("GET", "/v1/streams/inbox?limit=1", "", b"");
    let both = [events.as_bytes(), &page].concat();
    let got = answer(send(running.address, &both).await).await;
    let body = text(&got.body);
    let (events, page) = body.split_once("\r\n0\r\n\r\n").expect("a last chunk");
    assert!(events.ends_with(&event(2)), "{events}");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.ends_with(r#""next":3}"#), "{page}");
}

#[tokio::test]
async fn a_client_goes_on_behind_the_last_event_that_it_saw() {
    let running = start().await;
    let mut socket = listen(
        &running,
        "/v1/streams/inbox?from=latest",
        "Last-Event-ID: 2\r\n",
    )
    .await;
    opened(&mut socket).await;
    assert_eq!(until(&mut socket, "\n\n").await, event(3));

    // Beyond the end it waits, as a page does.
    let mut beyond = listen(&running, INBOX, "Last-Event-ID: 9\r\n").await;
    opened(&mut beyond).await;
    running.script.stream_end.send_replace(8);
    for offset in 4..8 {
        assert_eq!(until(&mut socket, "\n\n").await, event(offset));
    }
    running.script.stream_end.send_replace(11);
    assert_eq!(until(&mut beyond, "\n\n").await, event(10));
}

#[tokio::test]
async fn what_cannot_be_read_as_events_is_a_problem() {
    let running = start().await;
    let accept = "Accept: text/event-stream\r\n";
    let ask = async |target: &str, headers: &str| {
        let request = request("GET", target, &format!("{accept}{headers}"), b"");
        answer(send(running.address, &request).await).await
    };
    for id in [
        "",
        "x",
        "+1",
        "-1",
        "1 2",
        "18446744073709551615",
        "1\r\nLast-Event-ID: 1",
    ] {
        let got = ask(INBOX, &format!("Last-Event-ID: {id}\r\n")).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (400, "malformed"),
            "{id}"
        );
        assert_eq!(got.json()["header"], "last-event-id", "{id}");
    }
    for target in [
        "?wait=10s",
        "?wait=",
        "?limit=0",
        "?limit=x",
        "?from=x",
        "?form=3",
    ] {
        let got = ask(&format!("{INBOX}{target}"), "").await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (400, "malformed"),
            "{target}"
        );
    }
    let got = ask("/v1/streams/outbox", "").await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (404, "unknown-stream")
    );
    for (target, header) in [("?from=1", ""), ("?from=latest", "Last-Event-ID: 0\r\n")] {
        let got = ask(&format!("{INBOX}{target}"), header).await;
        assert_eq!((got.status, got.problem().as_str()), (410, "offset-gone"));
        assert_eq!(got.json()["earliest"], 2);
    }
    assert_eq!(running.counters.event_readers().now, 0);
}

#[tokio::test]
async fn a_reader_that_retention_overtakes_is_told_so() {
    let running = start().await;
    let mut socket = listen(&running, "/v1/streams/inbox?from=3", "").await;
    opened(&mut socket).await;
    assert_eq!(until(&mut socket, "\n\n").await, event(3));
    running.script.stream_start.store(10, Ordering::Relaxed);
    running.script.stream_end.send_replace(12);
    let gone = "event: gone\ndata: {\"earliest\":10}\n\n";
    assert_eq!(to_the_end(&mut socket).await, gone);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_place() {
    let running = start().await;
    let mut socket = listen(&running, INBOX, "").await;
    opened(&mut socket).await;
    assert_eq!(running.counters.event_readers().now, 1);
    drop(socket);
    // Who closes may only have closed its half: a comment that it doesn't take tells.
    tokio::time::pause();
    for _ in 0..2 {
        tokio::time::advance(KEEP_ALIVE).await;
        for _ in 0..10_000 {
            if running.counters.event_readers().now == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(running.counters.event_readers().now, 0);
    assert_eq!(running.counters.event_readers().opened, 1);
}

#[tokio::test]
async fn above_the_limit_of_readers_one_is_refused_and_pages_go_on() {
    let House {
        app,
        counters,
        script: _script,
        stop: _stop,
    } = house();
    let mut readers = Vec::new();
    for _ in 0..EVENT_READERS {
        let reader = call(&app, "GET", INBOX, "text/event-stream").await;
        assert_eq!(reader.status(), StatusCode::OK);
        readers.push(reader);
    }
    let refused = call(&app, "GET", INBOX, "text/event-stream").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "5");
    let body = json_of(refused).await;
    assert_eq!(body["type"], "urn:causeway:problem:event-readers");
    assert_eq!(body["limit"], EVENT_READERS);

    // Neither takes a reader's place.
    let head = call(&app, "HEAD", INBOX, "text/event-stream").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    let page = call(&app, "GET", INBOX, "*/*").await;
    assert_eq!(json_of(page).await["next"], 4);

    let counted = counters.event_readers();
    let full = EVENT_READERS as u64;
    assert_eq!(
        (counted.now, counted.opened, counted.refused),
        (full, full, 1)
    );
    readers.pop();
    let next = call(&app, "GET", INBOX, "text/event-stream").await;
    assert_eq!(next.status(), StatusCode::OK);
}

/// Only what the connection takes is read: a reader's memory is one page.
#[tokio::test]
async fn a_page_is_read_when_the_one_before_it_is_taken() {
    let House {
        app,
        script,
        stop: _stop,
        ..
    } = house();
    script.stream_end.send_replace(5_000);
    let reads = || script.stream_reads.load(Ordering::Relaxed);
    let mut reader = call(&app, "GET", INBOX, "text/event-stream").await;
    let mut offset = 2;
    for taken in 1..=5 {
        tokio::task::yield_now().await;
        assert_eq!(reads(), (taken - 1).max(1));
        let frame = frame(&mut reader).await.expect("more");
        assert!(frame.contains(&event(offset)), "{offset}: {frame:.80}");
        offset += 1_000;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_is_kept_alive() {
    let House {
        app, script, stop, ..
    } = house();
    let mut reader = call(
        &app,
        "GET",
        "/v1/streams/inbox?from=latest",
        "text/event-stream",
    )
    .await;
    assert_eq!(
        frame(&mut reader).await.as_deref(),
        Some(":\n\nretry: 1000\n\n")
    );
    for _ in 0..3 {
        let before = Instant::now();
        assert_eq!(frame(&mut reader).await.as_deref(), Some(":\n\n"));
        let waited = before.elapsed();
        assert!((KEEP_ALIVE..KEEP_ALIVE * 2).contains(&waited), "{waited:?}");
    }
    script.stream_end.send_replace(5);
    assert_eq!(frame(&mut reader).await, Some(event(4)));
    stop.send_replace(true);
    assert_eq!(frame(&mut reader).await, None);
}

#[tokio::test]
async fn pages_that_wait_hold_no_place_and_are_all_woken_by_a_record() {
    let House {
        app,
        script,
        stop: _stop,
        ..
    } = house();
    let waiting: Vec<_> = (0..PAGES_AT_ONCE + 8)
        .map(|_| {
            let app = app.clone();
            let target = "/v1/streams/inbox?from=latest&wait=60s&limit=1";
            tokio::spawn(async move { json_of(call(&app, "GET", target, "*/*").await).await })
        })
        .collect();
    let all_wait = async {
        while script.stream_end.receiver_count() < waiting.len() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, all_wait)
        .await
        .expect("none holds up the others");
    let page = call(&app, "GET", INBOX, "*/*").await;
    assert_eq!(json_of(page).await["next"], 4);

    let before = Instant::now();
    script.stream_end.send_replace(6);
    for page in waiting {
        let page = page.await.expect("no panic");
        let offsets: Vec<_> = page["messages"]
            .as_array()
            .expect("a page")
            .iter()
            .map(|m| &m["offset"])
            .collect();
        assert_eq!((offsets, &page["next"]), (vec![&json!(4)], &json!(5)));
    }
    assert!(
        before.elapsed() < PATIENCE,
        "the record woke them, not the 60 s"
    );
}

#[tokio::test]
async fn a_client_that_likes_pages_more_gets_a_page() {
    let running = start().await;
    let headers = "Accept: text/event-stream;q=0.2, application/json\r\n";
    let page = request("GET", INBOX, headers, b"");
    let got = answer(send(running.address, &page).await).await;
    assert_eq!(got.json()["next"], 4);
    let got = ask(&running, "GET", INBOX, b"").await;
    assert_eq!(got.json()["next"], 4);
}
