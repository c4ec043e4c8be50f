//! One connection of HTTP/2 without TLS, within bounds: of what it makes us hold, and of how long
//! it may idle, ask or not take its answers.
//!
//! A peer that is alive answers pings, and one that sends anything isn't idle on the socket; so
//! neither tells whether it takes its answers. `requests` knows that for each of them.

mod requests;

use super::counters::{Counters, Ended};
use super::serve::{ConnectionLimits, HEAD_TIMEOUT, WRITE_STALL_LIMIT, stopped};
use super::stall::StallLimited;
use super::{App, Refused};
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use requests::{Answer, Requests};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep};

/// Requests of one connection at one time; RFC 9113 wants no fewer than 100.
const STREAMS: u32 = 128;

/// What a peer may send of one body, and of all bodies of a connection, before we read it.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;

/// Of one answer, beside the piece that is being sent.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Requests that a peer took back before we saw them, and faults of its streams: more than so many
/// at a time, and the connection is closed ("rapid reset", CVE-2023-44487).
const PENDING_RESETS: usize = 20;
const FAULTY_STREAMS: usize = 128;

/// A peer that doesn't answer a ping is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked whether a connection idles, or doesn't take its answers.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

pub(super) type Builder = http2::Builder<TokioExecutor>;

pub(super) fn builder(limits: ConnectionLimits) -> Builder {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(FAULTY_STREAMS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// What all connections of HTTP/2 of a listener share.
pub(super) struct Shared {
    pub builder: Builder,
    pub limits: ConnectionLimits,
    /// As many requests as there may be connections: else each would count for `STREAMS`.
    pub places: Arc<Semaphore>,
    pub counters: Arc<Counters>,
}

impl Shared {
    pub(super) fn new(limits: ConnectionLimits, counters: Arc<Counters>) -> Self {
        Self {
            builder: builder(limits),
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            counters,
        }
    }
}

/// Serves until the peer goes, is silent for too long, or the gateway stops.
pub(super) async fn connection(
    io: StallLimited,
    shared: Arc<Shared>,
    app: impl App,
    mut stop: watch::Receiver<bool>,
) {
    let requests = Arc::new(Requests::new());
    let service = {
        let (requests, shared) = (Arc::clone(&requests), Arc::clone(&shared));
        service_fn(move |request| {
            answer(
                request,
                app.clone(),
                Arc::clone(&requests),
                Arc::clone(&shared),
            )
        })
    };
    let connection = shared.builder.serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let mut closing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    shared.counters.count_error(&error);
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = stopped(&mut stop), if !closing => {
                connection.as_mut().graceful_shutdown();
                closing = true;
            }
            () = sleep(CHECK_INTERVAL) => {
                let now = Instant::now();
                let idle = requests.idle_for(now);
                if requests.longest_stall(now) > WRITE_STALL_LIMIT {
                    tracing::debug!("a peer doesn't take an answer");
                    shared.counters.count_ended(Ended::NotTaking);
                    return;
                }
                if closing && idle.is_some() {
                    // It was told so, and didn't close.
                    return;
                }
                if idle.is_some_and(|idle| idle > HEAD_TIMEOUT) {
                    shared.counters.count_ended(Ended::Silent);
                    connection.as_mut().graceful_shutdown();
                    closing = true;
                }
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    app: impl App,
    requests: Arc<Requests>,
    shared: Arc<Shared>,
) -> Result<Response<Answer>, Infallible> {
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        shared.counters.count_refused_connection();
        let why = Refused::Requests {
            limit: shared.limits.connections,
        };
        return Ok(requests.begin(None).answer(app.refusal(why)));
    };
    let open = requests.begin(Some(place));
    let (actual, limit) = (request.headers().len(), shared.limits.head_lines);
    let response = if actual > limit {
        app.refusal(Refused::HeaderLines { actual, limit })
    } else {
        app.answer(request.map(Body::new)).await
    };
    Ok(open.answer(response))
}

/// Answers what is asked at first with the refusal, and closes.
pub(super) async fn refuse(io: StallLimited, builder: &Builder, app: impl App, why: Refused) {
    let asked = Arc::new(Notify::new());
    let service = {
        let asked = Arc::clone(&asked);
        service_fn(move |_: Request<Incoming>| {
            asked.notify_one();
            std::future::ready(Ok::<_, Infallible>(app.refusal(why)))
        })
    };
    let connection = builder.serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = asked.notified() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection above the limit ended early");
    }
}
