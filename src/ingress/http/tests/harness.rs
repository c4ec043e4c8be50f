//! A listener on a free port, a scripted front, and a client that sees every byte.

use super::super::*;
use crate::clock::Wall;
use crate::door::{Awaited, Published};
use crate::ingress::front::{Group, Page, ReadError, Start, StreamRead, StreamRecord};
use crate::ingress::listener::{ConnectionLimits, bind, serve};
use crate::message::{Ack, Chain, DeliveryState, Receipt, Refusal, TargetState};
use bytes::Bytes;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(super) const NOW: Wall = Wall(1_000_000);
pub(super) const PAYLOAD_LIMIT: usize = 1_000;
pub(super) const IN_FLIGHT_LIMIT: usize = 1_500;
pub(super) const CONNECTION_LIMIT: usize = 4;
pub(super) const HEAD_BYTES: usize = 8_192;
pub(super) const HEAD_LINES: usize = 110;
/// Nothing here takes a second by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what is published; publishes under `held/` wait for the gate.
pub(super) struct Script {
    pub(super) envelopes: Mutex<Vec<Envelope>>,
    pub(super) gate: Semaphore,
    pub(super) finished: watch::Sender<usize>,
    /// After the last record of the stream `inbox`.
    pub(super) stream_end: watch::Sender<u64>,
    /// Those before it are gone.
    pub(super) stream_start: AtomicU64,
    pub(super) stream_reads: AtomicU64,
}

pub(super) fn receipt(id: &str) -> Receipt {
    let target = TargetState {
        route: "all".into(),
        destination: "inbox".into(),
        state: DeliveryState::Stored,
    };
    Receipt {
        id: Some(id.into()),
        position: Some(Position(7)),
        duplicate: false,
        targets: [target].into(),
    }
}

/// There is none.
pub(super) enum NoGroup {}

impl<T> Group<T> for NoGroup {
    fn hand_over(&mut self, _: impl IntoIterator<Item = (T, Envelope, Option<Chain>)>) {
        match *self {}
    }

    fn len(&self) -> usize {
        match *self {}
    }

    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<(T, Result<Published, Refusal>)> {
        match *self {}
    }
}

impl Front for Arc<Script> {
    fn publish(
        &self,
        envelope: Envelope,
        chain: Option<Chain>,
    ) -> impl Future<Output = Result<Published, Refusal>> + Send + 'static + use<> {
        let this = Arc::clone(self);
        let id = envelope.id.as_str().unwrap_or("fresh").to_owned();
        let topic = envelope.topic.clone();
        let mut envelopes = self.envelopes.lock().expect("no test panics in it");
        envelopes.push(envelope);
        drop(envelopes);
        let broken = chain.as_ref().and_then(Chain::broken_at_hand_over);
        let refusal = broken.or_else(|| {
            let topic = topic.clone();
            (topic == "nowhere").then_some(Refusal::NoRoute { topic })
        });
        if let (Some(refusal), Some(chain)) = (&refusal, chain) {
            chain.break_at_hand_over(refusal.is_retriable());
        }
        async move {
            if topic.starts_with("held/") {
                let permit = this.gate.acquire().await;
                permit.expect("never closed").forget();
            }
            this.finished.send_modify(|n| *n += 1);
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            Ok(Published {
                receipt: receipt(&id),
                ack: Ack::Stored,
                outcome: Awaited::Settled,
            })
        }
    }

    type Group<T: Send + Unpin + 'static> = NoGroup;

    fn group<T: Send + Unpin + 'static>(&self) -> NoGroup {
        unreachable!("HTTP publishes one by one")
    }

    async fn message_at(&self, principal: &str, position: Position) -> Option<Receipt> {
        (principal == "anonymous" && position.0 == 7).then(|| receipt("seventh"))
    }

    async fn message_by_id(&self, principal: &str, id: &str, topic: &str) -> Option<Receipt> {
        (principal == "anonymous" && topic == "a/b c").then(|| receipt(id))
    }

    fn takes_publishes(&self) -> bool {
        true
    }

    async fn read_stream(&self, name: &str, read: StreamRead) -> Result<Page, ReadError> {
        if name != "inbox" {
            return Err(ReadError::UnknownStream(name.into()));
        }
        self.stream_reads.fetch_add(1, Ordering::Relaxed);
        let end = *self.stream_end.borrow();
        let earliest = self.stream_start.load(Ordering::Relaxed);
        let start = match read.from {
            Start::Earliest => earliest,
            Start::Latest => end,
            Start::Offset(offset) if offset < earliest => return Err(ReadError::Gone { earliest }),
            Start::Offset(offset) => offset,
        };
        let next = end.min(start + read.max_records as u64).max(start);
        let record = |offset| StreamRecord {
            offset,
            id: format!("m{offset}"),
            delivery_id: format!("d{offset}"),
            topic: "a".into(),
            key: None,
            headers: Vec::new(),
            content_type: None,
            time: NOW,
            payload: Ok(Bytes::from_static(b"hello")),
        };
        Ok(Page {
            records: (start..next).map(record).collect(),
            next,
        })
    }

    async fn stream_reaches(&self, _: &str, offset: u64) {
        let mut end = self.stream_end.subscribe();
        end.wait_for(|end| *end > offset)
            .await
            .expect("the script holds the sender");
    }
}

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) script: Arc<Script>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) served: JoinHandle<()>,
}

/// The listener's answers without a socket.
pub(super) struct House {
    pub(super) app: App,
    pub(super) script: Arc<Script>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: watch::Sender<bool>,
}

pub(super) fn house() -> House {
    let script = Arc::new(Script {
        envelopes: Mutex::default(),
        gate: Semaphore::new(0),
        finished: watch::Sender::new(0),
        stream_end: watch::Sender::new(4),
        stream_start: AtomicU64::new(2),
        stream_reads: AtomicU64::new(0),
    });
    let counters = Arc::new(Counters::default());
    let stop = watch::Sender::new(false);
    let limits = Limits {
        payload_bytes: PAYLOAD_LIMIT,
        in_flight: InFlight::new(IN_FLIGHT_LIMIT),
    };
    let app = router(
        Arc::clone(&script),
        "edge-1",
        Clock::manual(NOW),
        limits,
        Arc::clone(&counters),
        stop.subscribe(),
    );
    House {
        app,
        script,
        counters,
        stop,
    }
}

pub(super) async fn start() -> Running {
    start_as(false).await
}

/// As one that serves this machine only.
pub(super) async fn start_guarded() -> Running {
    start_as(true).await
}

async fn start_as(is_guarded: bool) -> Running {
    let House {
        app,
        script,
        counters,
        stop,
    } = house();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = bind(any_port, "listen.http").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let app = match is_guarded {
        true => guarded(app, &listener, Arc::clone(&counters)),
        false => app,
    };
    let limits = ConnectionLimits {
        connections: CONNECTION_LIMIT,
        head_bytes: HEAD_BYTES,
        head_lines: HEAD_LINES,
    };
    let served = tokio::spawn(serve(
        listener,
        app,
        limits,
        Arc::clone(&counters.connections),
        stop.subscribe(),
    ));
    Running {
        address,
        script,
        counters,
        stop,
        served,
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(super) fn problem(&self) -> String {
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{}",
            self.head
        );
        let body = self.json();
        assert_eq!(body["status"], self.status);
        let kind = body["type"].as_str().expect("a type");
        kind.strip_prefix("urn:causeway:problem:")
            .expect("of ours")
            .to_owned()
    }
}

pub(super) async fn send(address: SocketAddr, request: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address)
        .await
        .expect("the listener is there");
    socket
        .write_all(request)
        .await
        .expect("the request is taken");
    socket
}

/// Reads to the end of the connection.
pub(super) async fn answer(mut socket: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut bytes)).await;
    read.expect("an answer in time").expect("an answer");
    let end = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head of text");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .expect("a status");
    Answer {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
    }
}

pub(super) fn request(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

pub(super) async fn ask(running: &Running, method: &str, target: &str, body: &[u8]) -> Answer {
    answer(send(running.address, &request(method, target, "", body)).await).await
}

pub(super) async fn finished(running: &Running, count: usize) {
    let mut finished = running.script.finished.subscribe();
    let wait = finished.wait_for(|n| *n >= count);
    timeout(PATIENCE, wait)
        .await
        .expect("in time")
        .expect("the script lives");
}

/// Returns when so many publishes are in the front's hands.
pub(super) async fn begun(running: &Running, count: usize) {
    let wait = async {
        while running.script.envelopes.lock().expect("no panic").len() < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("in time");
}
