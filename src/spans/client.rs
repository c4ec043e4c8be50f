//! The way to a collector: HTTP/1.1 without TLS, a connection for each batch. It blocks the exporter's own thread,
//! and no other.

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::env;
use std::future::ready;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// In milliseconds, the first that is set.
const TIMEOUTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_PORT: u16 = 80;
/// Of an answer no more is read.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Client {
    timeout: Duration,
    /// The last batch was not taken: that is told once.
    fails: AtomicBool,
}

impl Client {
    pub fn from_environment() -> Self {
        let told = TIMEOUTS.iter().find_map(|name| env::var(name).ok());
        let millis = told.and_then(|text| text.parse().ok()).filter(|ms| *ms > 0);
        Self {
            timeout: millis.map_or(DEFAULT_TIMEOUT, Duration::from_millis),
            fails: AtomicBool::new(false),
        }
    }

    fn send(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri();
        if uri.scheme_str() != Some("http") {
            return Err("only http:// is built in".into());
        }
        let host = uri.host().ok_or("an endpoint without a host")?;
        let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
        // An IPv6 address stands in brackets there.
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let address = (name, port).to_socket_addrs()?.next();
        let address = address.ok_or("the endpoint's host has no address")?;
        let mut socket = TcpStream::connect_timeout(&address, self.timeout)?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.set_write_timeout(Some(self.timeout))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut head =
            format!("POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n");
        for (name, value) in request.headers() {
            head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
        }
        let body = request.body();
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        socket.write_all(head.as_bytes())?;
        socket.write_all(body)?;
        let mut answer = Vec::new();
        socket.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        let status = status_of(&answer).ok_or("the collector's answer isn't HTTP")?;
        Ok(Response::builder().status(status).body(Bytes::new())?)
    }
}

/// What stands behind the version in the first line.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let (version, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let status = rest.get(..3).filter(|_| version.starts_with("HTTP/1."))?;
    status.parse().ok()
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'me, 'answer>(&'me self, request: Request<Bytes>) -> Answer<'answer>
    where
        'me: 'answer,
        Self: 'answer,
    {
        let answer = self.send(&request);
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answers {}", answer.status())),
            Err(e) => Some(e.to_string()),
        };
        let failed = self.fails.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed => {
                tracing::warn!(endpoint = %request.uri(), "traces are not exported: {problem}");
            }
            None if failed => tracing::info!("traces are exported again"),
            _ => {}
        }
        Box::pin(ready(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line_alone() {
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 503\r\nx: y\r\n", Some(503)),
            ("HTTP/2 200\r\n", None),
            ("HTTP/1.1 20", None),
            ("", None),
            ("\r\nHTTP/1.1 200", None),
        ] {
            assert_eq!(status_of(answer.as_bytes()), status, "{answer:?}");
        }
    }
}
