//! Listeners: binding early, and serving HTTP/1.1 or HTTP/2 on what they accept, within limits.

use super::counters::{Counters, Ended};
use super::h2c;
use super::sniff::{self, Protocol};
use super::stall::StallLimited;
use super::{App, Refused};
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// For a request's head to come, and for a kept connection to ask again. Longer than the minute
/// after which load balancers give up idle connections, so that they close them first.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// A peer that takes no byte of its answer for so long is given up.
pub const WRITE_STALL_LIMIT: Duration = Duration::from_secs(60);

/// A connection reads at most so much ahead.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// Connections above the limit that are told so at one time; further ones wait to be accepted.
const REFUSED_AT_ONCE: usize = 64;
pub const REFUSED_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// After accepting failed (most likely for want of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address} ({setting}): {source}")]
pub struct BindError {
    pub address: SocketAddr,
    /// `listen.http`, …: what to change.
    pub setting: &'static str,
    pub source: io::Error,
}

/// Takes the address; nothing is accepted before `serve`.
pub async fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError {
            address,
            setting,
            source,
        })
}

/// One listener's limits.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    pub connections: usize,
    /// Of a request's head: its first line and all its headers.
    pub head_bytes: usize,
    /// Headers that a request's head may have.
    pub head_lines: usize,
}

/// hyper's own limit, with which it needs no memory of its own.
const FREE_HEAD_LINES: usize = 100;

/// Accepts until `stop` says true, then lets each connection end its request, and returns when
/// all are closed. Dropping the future closes them at once.
pub async fn serve(
    listener: TcpListener,
    app: impl App,
    limits: ConnectionLimits,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<bool>,
) {
    let free = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(REFUSED_AT_ONCE));
    let server = Arc::new(Server::new(limits, Arc::clone(&counters)));
    let mut connections = JoinSet::new();
    loop {
        let socket = tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
            socket = accept(&listener) => socket,
        };
        if let Ok(place) = Arc::clone(&free).try_acquire_owned() {
            let server = Arc::clone(&server);
            connections.spawn(connection(socket, server, app.clone(), place, stop.clone()));
            continue;
        }
        counters.count_refused_connection();
        let place = Arc::clone(&refusals).acquire_owned();
        let place = tokio::select! {
            () = stopped(&mut stop) => break,
            place = place => place.expect("the semaphore is never closed"),
        };
        connections.spawn(refuse_connection(
            socket,
            Arc::clone(&server),
            app.clone(),
            place,
        ));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Returns when the gateway stops, or its sender is gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone: nobody could stop us later.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "a connection without TCP_NODELAY");
                }
                return socket;
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How connections of either protocol are served.
struct Server {
    http1: http1::Builder,
    http2: Arc<h2c::Shared>,
    limits: ConnectionLimits,
}

impl Server {
    fn new(limits: ConnectionLimits, counters: Arc<Counters>) -> Self {
        Self {
            http1: http1_builder(limits),
            http2: Arc::new(h2c::Shared::new(limits, counters)),
            limits,
        }
    }

    fn counters(&self) -> &Counters {
        &self.http2.counters
    }
}

fn http1_builder(limits: ConnectionLimits) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        // Who has said all may close that half, and still gets the answer.
        .half_close(true)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER_BYTES.max(limits.head_bytes))
        .max_header_size(limits.head_bytes);
    if limits.head_lines > FREE_HEAD_LINES {
        server.max_headers(limits.head_lines);
    }
    server
}

/// None if the peer closes, says nothing in time, or the gateway stops before it has.
async fn open(
    mut socket: TcpStream,
    counters: &Counters,
    stop: &mut watch::Receiver<bool>,
) -> Option<(Protocol, StallLimited)> {
    let found = tokio::select! {
        found = timeout(HEAD_TIMEOUT, sniff::protocol(&mut socket)) => found,
        () = stopped(stop) => return None,
    };
    let Ok(found) = found else {
        counters.count_ended(Ended::Silent);
        return None;
    };
    let (protocol, ahead) = found.ok()??;
    let io = StallLimited::new(socket, ahead, WRITE_STALL_LIMIT);
    Some((protocol, io))
}

async fn connection(
    socket: TcpStream,
    server: Arc<Server>,
    app: impl App,
    _place: OwnedSemaphorePermit,
    mut stop: watch::Receiver<bool>,
) {
    match open(socket, server.counters(), &mut stop).await {
        None => tracing::debug!("a connection asked nothing"),
        Some((Protocol::Http1, io)) => http1_connection(io, &server, app, stop).await,
        Some((Protocol::Http2, io)) => {
            h2c::connection(io, Arc::clone(&server.http2), app, stop).await;
        }
    }
}

async fn http1_connection(
    io: StallLimited,
    server: &Server,
    app: impl App,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = app.clone().answer(request.map(Body::new));
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = std::pin::pin!(server.http1.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        server.counters().count_error(&error);
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Answers one request with the refusal and closes.
async fn refuse_connection(
    mut socket: TcpStream,
    server: Arc<Server>,
    app: impl App,
    _place: OwnedSemaphorePermit,
) {
    let refused = async {
        let Ok(Some((protocol, ahead))) = sniff::protocol(&mut socket).await else {
            return;
        };
        let io = StallLimited::new(socket, ahead, REFUSED_HEAD_TIMEOUT);
        let limit = server.limits.connections;
        let why = Refused::Connections { limit };
        match protocol {
            Protocol::Http1 => refuse_in_http1(io, server.http1.clone(), app, why).await,
            Protocol::Http2 => h2c::refuse(io, &server.http2.builder, app, why).await,
        }
    };
    if timeout(REFUSED_HEAD_TIMEOUT, refused).await.is_err() {
        tracing::debug!("a connection above the limit asked nothing");
    }
}

async fn refuse_in_http1(
    io: StallLimited,
    mut server: http1::Builder,
    app: impl App,
    why: Refused,
) {
    let service = service_fn(move |_: Request<Incoming>| {
        let mut response = app.refusal(why);
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        std::future::ready(Ok::<Response, Infallible>(response))
    });
    let connection = server.keep_alive(false);
    if let Err(error) = connection.serve_connection(TokioIo::new(io), service).await {
        tracing::debug!(%error, "a connection above the limit ended early");
    }
}
