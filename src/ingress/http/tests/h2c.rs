//! HTTP/2 without TLS: as clients speak it, and as nobody should.

use super::harness::{
    CONNECTION_LIMIT, HEAD_BYTES, HEAD_LINES, PATIENCE, PAYLOAD_LIMIT, Running, begun, request,
    send, start, start_guarded,
};
use super::*;
use crate::ingress::listener::{self, Ended};
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HOUR: Duration = Duration::from_secs(3_600);

struct Client {
    requests: SendRequest<Body>,
    /// Ends with the connection.
    connection: JoinHandle<hyper::Result<()>>,
}

async fn connect_with(running: &Running, builder: Builder<TokioExecutor>) -> Client {
    let socket = TcpStream::connect(running.address).await.expect("there");
    let shaken = builder.handshake(TokioIo::new(socket)).await;
    let (requests, connection) = shaken.expect("HTTP/2");
    Client {
        requests,
        connection: tokio::spawn(connection),
    }
}

async fn connect(running: &Running) -> Client {
    connect_with(running, Builder::new(TokioExecutor::new())).await
}

fn post(topic: &str, body: impl Into<Body>) -> Request {
    Request::post(format!("http://localhost/v1/topics/{topic}"))
        .body(body.into())
        .expect("legal")
}

fn get(target: &str) -> Request {
    let uri = format!("http://localhost{target}");
    Request::get(uri).body(Body::empty()).expect("legal")
}

impl Client {
    async fn ask(&self, request: Request) -> (u16, Value) {
        let mut requests = self.requests.clone();
        requests.ready().await.expect("open");
        let answer = requests.send_request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn spawn(&self, request: Request) -> JoinHandle<(u16, Value)> {
        let client = Self {
            requests: self.requests.clone(),
            connection: tokio::spawn(std::future::pending()),
        };
        tokio::spawn(async move {
            let answer = client.ask(request).await;
            client.connection.abort();
            answer
        })
    }
}

/// One frame (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head, &stream.to_be_bytes()[..], content].concat()
}

/// The head of a publish, without an index into anything that was said before.
fn head() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(4, "/v1/topics/held/1"), (1, "localhost")] {
        block.extend_from_slice(&[name, value.len() as u8]);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

async fn read_frame(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut content = vec![0; length as usize];
    socket.read_exact(&mut content).await.ok()?;
    Some((head[3], content))
}

#[tokio::test]
async fn both_protocols_are_served_on_one_listener() {
    let running = start_guarded().await;
    let client = connect(&running).await;
    let (status, receipt) = client.ask(post("orders/a", "hello")).await;
    assert_eq!((status, &receipt["position"]), (202, &json!(7)));
    let (status, found) = client.ask(get("/v1/messages/7")).await;
    assert_eq!((status, &found["id"]), (200, &json!("seventh")));
    let (status, page) = client.ask(get("/v1/streams/inbox")).await;
    assert_eq!((status, &page["next"]), (200, &json!(4)));
    let (status, problem) = client.ask(post("a", vec![0; PAYLOAD_LIMIT + 1])).await;
    assert_eq!((status, &problem["limit"]), (413, &json!(PAYLOAD_LIMIT)));
    let foreign = Request::get("http://evil.example/v1/messages/7");
    let (status, _) = client
        .ask(foreign.body(Body::empty()).expect("legal"))
        .await;
    assert_eq!(status, 403);
    let bytes = request("POST", "/v1/topics/a", "", b"x").replace_host();
    let got = super::harness::answer(send(running.address, &bytes).await).await;
    assert_eq!(got.status, 202);
    let envelopes = running.script.envelopes.lock().expect("no panic");
    assert_eq!(envelopes[0].payload.as_deref(), Ok(&b"hello"[..]));
    assert_eq!(envelopes[0].topic, "orders/a");
}

trait ReplaceHost {
    fn replace_host(self) -> Self;
}

impl ReplaceHost for Vec<u8> {
    fn replace_host(self) -> Self {
        let text = String::from_utf8(self).expect("text");
        text.replace("host: gateway", "host: localhost").into()
    }
}

#[tokio::test]
async fn requests_of_a_connection_do_not_wait_for_each_other() {
    let running = start().await;
    let client = connect(&running).await;
    let held: Vec<_> = (1..CONNECTION_LIMIT)
        .map(|i| client.spawn(post(&format!("held/{i}"), "x")))
        .collect();
    begun(&running, held.len()).await;
    assert_eq!(client.ask(post("a", "x")).await.0, 202);

    // As many at a time as there may be connections: one that would be more is told so.
    let last = client.spawn(post("held/last", "x"));
    begun(&running, CONNECTION_LIMIT + 1).await;
    let (status, problem) = client.ask(post("a", "x")).await;
    assert_eq!(
        (status, &problem["setting"]),
        (503, &json!("limits.connections"))
    );
    assert_eq!(running.counters.connections.refused_connections(), 1);
    running.script.gate.add_permits(CONNECTION_LIMIT);
    for held in held.into_iter().chain([last]) {
        assert_eq!(held.await.expect("no panic").0, 202);
    }
    assert_eq!(client.ask(post("a", "x")).await.0, 202);
}

#[tokio::test]
async fn a_preface_may_come_in_pieces() {
    let running = start().await;
    let mut socket = TcpStream::connect(running.address).await.expect("there");
    socket.set_nodelay(true).expect("connected");
    for byte in PREFACE {
        socket.write_all(&[*byte]).await.expect("taken");
        tokio::task::yield_now().await;
    }
    socket.write_all(&frame(4, 0, 0, &[])).await.expect("taken");
    let first = timeout(PATIENCE, read_frame(&mut socket))
        .await
        .expect("in time");
    assert_eq!(first.map(|(kind, _)| kind), Some(4));
    // What only begins like one is a request that can't be read.
    let almost = b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n";
    let got = super::harness::answer(send(running.address, almost).await).await;
    assert_eq!(got.status, 400);
}

#[tokio::test]
async fn what_a_connection_may_make_us_hold_is_said_at_first() {
    let running = start().await;
    let mut socket = send(running.address, PREFACE).await;
    socket.write_all(&frame(4, 0, 0, &[])).await.expect("taken");
    let mut said = Vec::new();
    let mut window = 65_535;
    while said.is_empty() || window == 65_535 {
        let read = timeout(PATIENCE, read_frame(&mut socket)).await;
        match read.expect("in time").expect("a frame") {
            (4, settings) if !settings.is_empty() => {
                said = settings
                    .chunks(6)
                    .map(|s| (s[1], u32::from_be_bytes([s[2], s[3], s[4], s[5]])))
                    .collect();
            }
            (8, more) => window += u32::from_be_bytes(more[..4].try_into().expect("4 bytes")),
            _ => {}
        }
    }
    // Streams, a stream's window, a head's size (RFC 9113, 6.5.2).
    for setting in [(3, 128), (4, 128 << 10), (6, HEAD_BYTES as u32)] {
        assert!(said.contains(&setting), "{setting:?} in {said:?}");
    }
    assert_eq!(window, 512 << 10);
}

#[tokio::test]
async fn a_connection_above_the_limit_is_told_so_in_its_protocol() {
    let running = start().await;
    let mut kept = Vec::new();
    for i in 0..CONNECTION_LIMIT {
        let publish = request("POST", &format!("/v1/topics/held/{i}"), "", b"x");
        kept.push(send(running.address, &publish).await);
    }
    begun(&running, CONNECTION_LIMIT).await;
    let client = connect(&running).await;
    let (status, problem) = client.ask(post("a", "x")).await;
    assert_eq!(status, 503);
    assert_eq!(problem["type"], "urn:causeway:problem:connections");
    tokio::time::pause();
    let told = Instant::now();
    let closed = timeout(PATIENCE, client.connection).await;
    assert!(closed.expect("in time").is_ok());
    // At once, not when its time is over.
    assert!(told.elapsed() < listener::REFUSED_HEAD_TIMEOUT);
}

#[tokio::test]
async fn a_head_has_its_limits_in_http2_too() {
    let running = start().await;
    let client = connect(&running).await;
    let with_lines = |lines: usize| {
        let mut request = post("a", "x");
        for _ in 0..lines {
            let value = axum::http::HeaderValue::from_static("y");
            request.headers_mut().append("x", value);
        }
        request
    };
    // hyper's client adds content-length.
    assert_eq!(client.ask(with_lines(HEAD_LINES - 1)).await.0, 202);
    let (status, problem) = client.ask(with_lines(HEAD_LINES)).await;
    assert_eq!(status, 431);
    assert_eq!(problem["type"], "urn:causeway:problem:head-too-large");
    assert_eq!(problem["limit"], HEAD_LINES);
    let counted = running.counters.problems()[Kind::HeadTooLarge as usize];
    assert_eq!(counted.1, 1);

    let mut long = post("a", "x");
    let value = "y".repeat(HEAD_BYTES).parse().expect("legal");
    long.headers_mut().insert("x", value);
    let answer = client.requests.clone().send_request(long).await;
    // A client that knows our limit doesn't even send it.
    assert!(answer.is_err() || answer.is_ok_and(|a| a.status() == 431));
    assert_eq!(running.script.envelopes.lock().expect("ok").len(), 1);
}

#[tokio::test]
async fn taking_requests_back_at_once_ends_the_connection() {
    let running = start().await;
    let mut socket = send(running.address, PREFACE).await;
    let mut flood = frame(4, 0, 0, &[]);
    for i in 0..2_000_u32 {
        flood.extend_from_slice(&frame(1, 0x4 | 0x1, 2 * i + 1, &head()));
        flood.extend_from_slice(&frame(3, 0, 2 * i + 1, &8_u32.to_be_bytes()));
    }
    // It may be closed before all is sent.
    let (mut read, mut write) = socket.split();
    let mut got = Vec::new();
    let both = async { tokio::join!(write.write_all(&flood), read.read_to_end(&mut got)) };
    let _ = timeout(PATIENCE, both).await.expect("closed in time");
    let handled = running.script.envelopes.lock().expect("no panic").len();
    assert!(handled <= 200, "{handled}");
    // The last frame says why: enhance your calm (RFC 9113, 7).
    let goaway = got.windows(4).any(|w| w == 11_u32.to_be_bytes());
    assert!(goaway || got.is_empty(), "{got:?}");
}

#[tokio::test]
async fn stopping_lets_requests_of_http2_end() {
    let running = start().await;
    let client = connect(&running).await;
    let held = client.spawn(post("held/1", "x"));
    begun(&running, 1).await;
    running.stop.send_replace(true);
    // It is told so: it asks nothing new.
    let refusing = async {
        let mut requests = client.requests.clone();
        while requests.send_request(post("a", "x")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refusing).await.expect("in time");
    assert!(!running.served.is_finished());
    running.script.gate.add_permits(1);
    assert_eq!(held.await.expect("no panic").0, 202);
    let ended = timeout(PATIENCE, running.served).await;
    ended.expect("in time").expect("no panic");
}

#[tokio::test]
async fn an_idle_connection_is_closed_as_in_http1() {
    let running = start().await;
    let client = connect(&running).await;
    assert_eq!(client.ask(post("a", "x")).await.0, 202);
    tokio::time::pause();
    let idle = Instant::now();
    // It answers pings all the time.
    let closed = timeout(HOUR, client.connection).await;
    closed
        .expect("closed")
        .expect("no panic")
        .expect("in order");
    let took = idle.elapsed();
    assert!(
        took >= listener::HEAD_TIMEOUT && took < listener::HEAD_TIMEOUT * 3 / 2,
        "{took:?}"
    );
    assert_eq!(
        running.counters.connections.ended()[Ended::Silent as usize].1,
        1
    );
}

#[tokio::test]
async fn a_dead_peer_is_noticed() {
    let running = start().await;
    let mut socket = send(running.address, PREFACE).await;
    let mut opening = frame(4, 0, 0, &[]);
    opening.extend_from_slice(&frame(1, 0x4 | 0x1, 1, &head()));
    socket.write_all(&opening).await.expect("taken");
    begun(&running, 1).await;
    tokio::time::pause();
    let start = Instant::now();
    // Reads, but answers no ping.
    let mut got = Vec::new();
    let closed = timeout(HOUR, socket.read_to_end(&mut got)).await;
    let _ = closed.expect("closed");
    assert!(
        start.elapsed() < Duration::from_secs(75),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_ends_the_connection() {
    let running = start().await;
    for window in [0, 10] {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let client = connect_with(&running, builder).await;
        let mut requests = client.requests.clone();
        requests.ready().await.expect("open");
        let answer = requests.send_request(get("/v1/streams/inbox")).await;
        let answer = answer.expect("a head, which needs no window");
        assert_eq!(answer.status(), 200);
        let start = Instant::now();
        // It answers pings, but never takes the body.
        let closed = timeout(HOUR, client.connection).await;
        assert!(closed.is_ok(), "still open with a window of {window}");
        let took = start.elapsed();
        // Sooner than one is closed that idles.
        let limit = listener::WRITE_STALL_LIMIT;
        assert!(
            took >= limit && took < listener::HEAD_TIMEOUT,
            "{window}: {took:?}"
        );
        drop(answer);
    }
    assert_eq!(
        running.counters.connections.ended()[Ended::NotTaking as usize].1,
        2
    );
}

#[tokio::test]
async fn a_reader_that_waits_for_us_is_not_given_up() {
    let running = start().await;
    let client = connect(&running).await;
    let held = client.spawn(post("held/1", "x"));
    begun(&running, 1).await;
    tokio::time::pause();
    tokio::time::sleep(HOUR).await;
    running.script.gate.add_permits(1);
    assert_eq!(held.await.expect("still connected").0, 202);
}
