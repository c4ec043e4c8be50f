//! The load: one thread, many connections, requests that are made beforehand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio::time::sleep_until;

/// One request, again and again.
pub struct Shape {
    request: Vec<u8>,
    pub body_bytes: usize,
    pub connections: usize,
}

impl Shape {
    pub fn publish(body_bytes: usize, connections: usize) -> Self {
        let mut request = format!(
            "POST /v1/topics/all/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
             Content-Length: {body_bytes}\r\n\r\n"
        )
        .into_bytes();
        request.resize(request.len() + body_bytes, b'x');
        Self {
            request,
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
        Self {
            request: [head, line.repeat(lines)].concat().into_bytes(),
            body_bytes,
            connections,
        }
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Each connection has one request in flight; how many were answered.
pub fn closed(address: SocketAddr, shape: &Shape, time: Duration) -> u64 {
    let request: Arc<[u8]> = shape.request.clone().into();
    let (done, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    runtime().block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..shape.connections {
            let mut connection = Connection::new(address).await;
            let (request, done, over) =
                (Arc::clone(&request), Arc::clone(&done), Arc::clone(&over));
            tasks.push(tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    connection.ask(&request).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        tokio::time::sleep(time).await;
        over.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("all requests are answered");
        }
    });
    done.load(Ordering::Relaxed)
}

/// Requests at set times, by whichever connection is free; seconds from each one's time to its answer.
pub fn open(address: SocketAddr, shape: &Shape, rate: f64, time: Duration) -> Vec<f64> {
    let request: Arc<[u8]> = shape.request.clone().into();
    let count = (rate * time.as_secs_f64()) as u64;
    runtime().block_on(async {
        let next = Arc::new(Mutex::new(0));
        let mut tasks = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..shape.connections {
            connections.push(Connection::new(address).await);
        }
        let start = Instant::now();
        for mut connection in connections {
            let (request, next) = (Arc::clone(&request), Arc::clone(&next));
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
                    connection.ask(&request).await;
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
