//! The load: the generated client over tonic's own connections, as a program in Rust would use it.

use bytes::Bytes;
use causeway::ingress::grpc::v1::gateway_client::GatewayClient;
use causeway::ingress::grpc::v1::publish_result::Result::Receipt;
use causeway::ingress::grpc::v1::{self, DeliveryState};
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

type Client = GatewayClient<Channel>;

static PAYLOAD: [u8; 256] = [b'x'; 256];
/// One thread can't give bare tonic all that it can take.
const WORKERS: usize = 2;
/// Of a stream's messages, one in so many is looked at: how long it takes, and whether time is over.
const SAMPLE: u64 = 64;
/// So many receipts of a stream are taken together, if they are there.
const RECEIPTS: usize = 64;

/// What the load does; each connection is one of HTTP/2 over TCP.
#[derive(Clone, Copy)]
pub enum Shape {
    /// Publish: on each connection so many calls at a time.
    Unary { connections: u64, calls: u64 },
    /// PublishStream: one stream a connection, with so many messages in flight.
    Stream { connections: u64, window: u64 },
    /// PublishBatch of so many messages: one call at a time on each connection.
    Batch { connections: u64, messages: u64 },
}

impl Shape {
    const fn connections(self) -> u64 {
        match self {
            Self::Unary { connections, .. }
            | Self::Stream { connections, .. }
            | Self::Batch { connections, .. } => connections,
        }
    }
}

/// What all messages have.
#[derive(Clone, Copy)]
pub struct Text {
    pub topic: &'static str,
    /// So many in turn; 0: none.
    pub keys: u64,
}

/// What was done; all of it has a receipt.
pub struct Done {
    pub started: Instant,
    pub messages: u64,
    /// From sending to receipt, in seconds: of each call, of a part of a stream's messages.
    pub latencies: Vec<f64>,
}

/// Publishes for so long, and waits for all receipts.
pub fn publish(address: SocketAddr, shape: Shape, text: Text, time: Duration) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let mut clients = Vec::new();
        for _ in 0..shape.connections() {
            clients.push(connect(address).await);
        }
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for client in clients {
            start(client, shape, text, started + time, &mut tasks);
        }
        let mut done = Done {
            started,
            messages: 0,
            latencies: Vec::new(),
        };
        while let Some(part) = tasks.join_next().await {
            let part = part.expect("all is answered by receipts");
            done.messages += part.messages;
            done.latencies.extend(part.latencies);
        }
        done
    })
}

/// What one task did.
#[derive(Default)]
struct Part {
    messages: u64,
    latencies: Vec<f64>,
}

async fn connect(address: SocketAddr) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let channel = endpoint.expect("an address is a URI").connect().await;
    Client::new(channel.expect("it listens"))
}

fn start(client: Client, shape: Shape, text: Text, end: Instant, tasks: &mut JoinSet<Part>) {
    let fresh = || Fresh::new(text);
    match shape {
        Shape::Unary { calls, .. } => {
            for _ in 0..calls {
                tasks.spawn(unary(client.clone(), fresh(), end));
            }
        }
        Shape::Stream { window, .. } => {
            tasks.spawn(stream(client, fresh(), window, end));
        }
        Shape::Batch { messages, .. } => {
            tasks.spawn(batches(client, fresh(), messages, end));
        }
    }
}

async fn unary(mut client: Client, mut fresh: Fresh, end: Instant) -> Part {
    let mut part = Part::default();
    let mut sent = Instant::now();
    while sent < end {
        let message = Some(fresh.message());
        let answer = client.publish(v1::PublishRequest { message }).await;
        let answer = answer.expect("it is taken").into_inner();
        check(&answer.receipt.expect("a receipt"));
        part.messages += 1;
        let now = Instant::now();
        part.latencies.push((now - sent).as_secs_f64());
        sent = now;
    }
    part
}

async fn batches(mut client: Client, mut fresh: Fresh, count: u64, end: Instant) -> Part {
    let mut part = Part::default();
    let mut sent = Instant::now();
    while sent < end {
        let messages = (0..count).map(|_| fresh.message()).collect();
        let answer = client.publish_batch(v1::PublishBatchRequest { messages });
        let results = answer.await.expect("it is taken").into_inner().results;
        assert_eq!(results.len() as u64, count);
        results.into_iter().map(Some).for_each(check_result);
        part.messages += count;
        let now = Instant::now();
        part.latencies.push((now - sent).as_secs_f64());
        sent = now;
    }
    part
}

async fn stream(mut client: Client, fresh: Fresh, window: u64, end: Instant) -> Part {
    let window = Arc::new(Window::new(window));
    let requests = Requests {
        window: Arc::clone(&window),
        fresh,
        sequence: 0,
        end,
    };
    let answers = client.publish_stream(requests).await;
    let mut answers = answers
        .expect("it is taken")
        .into_inner()
        .ready_chunks(RECEIPTS);
    let mut part = Part::default();
    while let Some(some) = answers.next().await {
        let count = some.len() as u64;
        for answer in some {
            let answer = answer.expect("the stream goes on");
            check_result(answer.result);
            part.latencies.extend(window.latency(answer.sequence));
        }
        part.messages += count;
        window.give(count);
    }
    part
}

/// Messages of a stream, as long as there is room for them in its window.
struct Requests {
    window: Arc<Window>,
    fresh: Fresh,
    sequence: u64,
    end: Instant,
}

impl Stream for Requests {
    type Item = v1::PublishStreamRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.window.take() {
            self.window.sender.register(cx.waker());
            // It may have come in between.
            if !self.window.take() {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.request())
    }
}

impl Requests {
    fn request(&mut self) -> Option<v1::PublishStreamRequest> {
        let sequence = self.sequence;
        self.sequence += 1;
        if sequence.is_multiple_of(SAMPLE) {
            let now = Instant::now();
            if now >= self.end {
                return None;
            }
            self.window.sent().insert(sequence, now);
        }
        Some(v1::PublishStreamRequest {
            sequence,
            message: Some(self.fresh.message()),
            ordered: false,
        })
    }
}

/// How many messages of a stream may be sent now.
struct Window {
    room: AtomicU64,
    sender: AtomicWaker,
    /// When those were sent that are looked at.
    sent: Mutex<HashMap<u64, Instant>>,
}

impl Window {
    fn new(room: u64) -> Self {
        Self {
            room: AtomicU64::new(room),
            sender: AtomicWaker::new(),
            sent: Mutex::default(),
        }
    }

    /// Only one task takes.
    fn take(&self) -> bool {
        let is_room = self.room.load(Ordering::Acquire) > 0;
        if is_room {
            self.room.fetch_sub(1, Ordering::AcqRel);
        }
        is_room
    }

    fn give(&self, room: u64) {
        self.room.fetch_add(room, Ordering::AcqRel);
        self.sender.wake();
    }

    fn latency(&self, sequence: u64) -> Option<f64> {
        if !sequence.is_multiple_of(SAMPLE) {
            return None;
        }
        let sent = self.sent().remove(&sequence);
        Some(sent.expect("answered once").elapsed().as_secs_f64())
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages with ids that no other has.
struct Fresh {
    text: Text,
    task: u64,
    next: u64,
}

impl Fresh {
    fn new(text: Text) -> Self {
        static TASKS: AtomicU64 = AtomicU64::new(0);
        Self {
            text,
            task: TASKS.fetch_add(1, Ordering::Relaxed),
            next: 0,
        }
    }

    fn message(&mut self) -> v1::Message {
        self.next += 1;
        v1::Message {
            topic: self.text.topic.to_owned(),
            key: self.key(),
            id: format!("{:04x}-{:08x}", self.task, self.next),
            payload: Some(Bytes::from_static(&PAYLOAD)),
            ..v1::Message::default()
        }
    }

    fn key(&self) -> Bytes {
        match self.text.keys {
            0 => Bytes::new(),
            keys => format!("k{}", self.next % keys).into(),
        }
    }
}

fn check_result(result: Option<v1::PublishResult>) {
    match result.and_then(|result| result.result) {
        Some(Receipt(receipt)) => check(&receipt),
        other => panic!("not a receipt: {other:?}"),
    }
}

/// It may be delivered before the receipt is made.
fn check(receipt: &v1::Receipt) {
    let is_taken = matches!(
        receipt.state(),
        DeliveryState::Stored | DeliveryState::Delivered
    );
    assert!(is_taken && !receipt.duplicate, "not taken: {receipt:?}");
}
