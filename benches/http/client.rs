//! The load: one thread, many connections, requests that are made beforehand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio::time::sleep_until;

type Requests = Arc<[Box<[u8]>]>;

/// The same requests, again and again.
pub struct Shape {
    requests: Requests,
    pub body_bytes: usize,
    pub connections: usize,
}

impl Shape {
    pub fn publish(body_bytes: usize, connections: usize) -> Self {
        Self::publish_to("all/x", body_bytes, connections)
    }

    pub fn publish_to(topic: &str, body_bytes: usize, connections: usize) -> Self {
        Self {
            requests: [request(topic, "", body_bytes)].into(),
            body_bytes,
            connections,
        }
    }

    /// Each key in its turn.
    pub fn keyed(topic: &str, keys: u64, body_bytes: usize, connections: usize) -> Self {
        let of_key = |n| request(topic, &format!("Causeway-Key: k{n}\r\n"), body_bytes);
        Self {
            requests: (0..keys).map(of_key).collect(),
            body_bytes,
            connections,
        }
    }

    pub fn batch(body_bytes: usize, lines: usize, connections: usize) -> Self {
        let data = "x".repeat(body_bytes);
        let line = format!(
            "{{\"topic\":\"all/x\",\"content_type\":\"text/plain\",\"data\":\"{data}\"}}\n"
        );
        let head = format!(
            "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            line.len() * lines
        );
        let whole = [head, line.repeat(lines)].concat().into_bytes();
        Self {
            requests: [whole.into()].into(),
            body_bytes,
            connections,
        }
    }

    /// Those of one connection: each begins elsewhere.
    fn requests_of(&self, connection: usize) -> Cycle {
        let next = connection * self.requests.len() / self.connections;
        Cycle {
            requests: Arc::clone(&self.requests),
            next,
        }
    }
}

/// `headers`: whole lines.
fn request(topic: &str, headers: &str, body_bytes: usize) -> Box<[u8]> {
    let mut request = format!(
        "POST /v1/topics/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{headers}\
         Content-Length: {body_bytes}\r\n\r\n"
    )
    .into_bytes();
    request.resize(request.len() + body_bytes, b'x');
    request.into()
}

struct Cycle {
    requests: Requests,
    next: usize,
}

impl Cycle {
    fn next(&mut self) -> &[u8] {
        let at = self.next;
        self.next = (at + 1) % self.requests.len();
        &self.requests[at]
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Each connection has one request in flight; seconds from each one's sending to its answer.
pub fn closed(address: SocketAddr, shape: &Shape, time: Duration) -> Vec<f64> {
    runtime().block_on(async {
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for n in 0..shape.connections {
            let mut connection = Connection::new(address).await;
            let (mut requests, over) = (shape.requests_of(n), Arc::clone(&over));
            tasks.push(tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut sent = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    connection.ask(requests.next()).await;
                    let now = Instant::now();
                    latencies.push((now - sent).as_secs_f64());
                    sent = now;
                }
                latencies
            }));
        }
        tokio::time::sleep(time).await;
        over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.expect("all requests are answered"));
        }
        all
    })
}

/// Requests at set times, by whichever connection is free; seconds from each one's time to its answer.
pub fn open(address: SocketAddr, shape: &Shape, rate: f64, time: Duration) -> Vec<f64> {
    let count = (rate * time.as_secs_f64()) as u64;
    runtime().block_on(async {
        let next = Arc::new(Mutex::new(0));
        let mut tasks = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..shape.connections {
            connections.push(Connection::new(address).await);
        }
        let start = Instant::now();
        for (n, mut connection) in connections.into_iter().enumerate() {
            let (mut requests, next) = (shape.requests_of(n), Arc::clone(&next));
            tasks.push(tokio::spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let mut turn = next.lock().await;
                    let number = *turn;
                    if number == count {
                        return latencies;
                    }
                    let due = start + Duration::from_secs_f64(number as f64 / rate);
                    sleep_until(due.into()).await;
                    *turn += 1;
                    drop(turn);
                    connection.ask(requests.next()).await;
                    latencies.push(due.elapsed().as_secs_f64());
                }
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.expect("all requests are answered"));
        }
        all
    })
}

struct Connection {
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("it listens");
        socket.set_nodelay(true).expect("a socket");
        Self {
            socket,
            answer: Vec::with_capacity(64 << 10),
        }
    }

    async fn ask(&mut self, request: &[u8]) {
        self.socket.write_all(request).await.expect("it is taken");
        self.answer.clear();
        while !is_whole(&self.answer) {
            let read = self.socket.read_buf(&mut self.answer).await;
            assert!(read.expect("it is answered") > 0, "it was closed");
        }
        let taken = self.answer.starts_with(b"HTTP/1.1 20");
        assert!(taken, "{}", String::from_utf8_lossy(&self.answer));
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
        return false;
    };
    let text = std::str::from_utf8(&answer[..head]).expect("a head is text");
    let length = text
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => answer.len() >= head + 4 + length.parse::<usize>().expect("a number"),
        None => answer.ends_with(b"\r\n0\r\n\r\n"),
    }
}
