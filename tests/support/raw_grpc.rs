//! gRPC without a library that keeps its rules: any headers, any bytes as messages, any frames.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::HeaderMap;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Status;

const PATIENCE: Duration = Duration::from_secs(30);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that keeps the rules of HTTP/2 alone.
pub struct Raw(SendRequest<Full<Bytes>>);

pub struct Answer {
    pub http: u16,
    /// Of the head and of the trailers.
    pub headers: HeaderMap,
    pub status: Option<Status>,
    pub body: Bytes,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("there");
        let mut builder = Builder::new(TokioExecutor::new());
        builder.max_header_list_size(1 << 20);
        let shaken = builder.handshake(TokioIo::new(socket)).await;
        let (requests, connection) = shaken.expect("HTTP/2");
        // It ends with the connection.
        tokio::spawn(connection);
        Self(requests)
    }

    /// Calls a method of the gateway's.
    pub async fn call(&self, method: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let uri = format!("http://localhost/causeway.v1.Gateway/{method}");
        self.ask("POST", &uri, headers, body).await
    }

    pub async fn ask(
        &self,
        verb: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = hyper::Request::builder().method(verb).uri(uri);
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).expect("legal");
        let mut requests = self.0.clone();
        requests.ready().await.expect("open");
        let answer = timeout(PATIENCE, requests.send_request(request)).await;
        let answer = answer.expect("in time").expect("an answer");
        let (head, body) = answer.into_parts();
        let collected = timeout(PATIENCE, body.collect()).await;
        let collected = collected.expect("in time").expect("a whole answer");
        let mut headers = head.headers;
        headers.extend(collected.trailers().cloned().unwrap_or_default());
        Answer {
            http: head.status.as_u16(),
            status: Status::from_header_map(&headers),
            headers,
            body: collected.to_bytes(),
        }
    }
}

/// A message as it stands in a body.
pub fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("small");
    [&[u8::from(compressed)][..], &length.to_be_bytes(), message].concat()
}

/// A socket that has sent the preface and empty settings.
pub async fn socket(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("there");
    let opening = [PREFACE, &frame(4, 0, 0, &[])].concat();
    socket.write_all(&opening).await.expect("taken");
    socket
}

/// One frame of HTTP/2 (RFC 9113, 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head, &stream.to_be_bytes()[..], content].concat()
}

/// The head of a call, without an index into anything that was said before.
pub fn head(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let fields = [(4, path), (1, "localhost"), (31, "application/grpc")];
    for (name, value) in fields {
        // A literal without indexing: four bits of the name's number, then more.
        match name {
            0..15 => block.push(name),
            _ => block.extend_from_slice(&[0x0f, name - 15]),
        }
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// Sends all while it reads; returns what came when the connection is closed.
pub async fn until_closed(mut socket: TcpStream, sent: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = socket.split();
    let mut got = Vec::new();
    // It may be closed before all is sent, or be reset.
    let both = async { tokio::join!(write.write_all(sent), read.read_to_end(&mut got)) };
    let _ = timeout(PATIENCE, both).await.expect("closed in time");
    got
}
