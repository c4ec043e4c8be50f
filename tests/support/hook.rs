//! A service that takes webhooks: a real HTTP server (hyper's), which can be made to misbehave and
//! keeps what it took.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Posted {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Takes it and answers 200.
    Takes,
    /// Answers with this status and takes nothing.
    Answers(u16),
    /// Answers 503 and wants a second of silence.
    Busy,
    /// Says nothing, until the client goes.
    Hangs,
    /// Takes it and breaks the connection.
    Forgets,
}

#[derive(Debug)]
struct State {
    manner: Manner,
    /// The header `authorization` that it wants, if it wants one: others get 401.
    authorization: Option<String>,
    took: Vec<Posted>,
    /// When each request came, those that it didn't take too.
    asked: Vec<Instant>,
}

pub struct Hook {
    address: SocketAddr,
    runtime: Runtime,
    state: Arc<Mutex<State>>,
    /// `None`: nobody is there.
    serving: Option<JoinHandle<()>>,
}

impl Hook {
    /// On a port of its own.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let state = State {
            manner: Manner::Takes,
            authorization: None,
            took: Vec::new(),
            asked: Vec::new(),
        };
        let mut hook = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            runtime,
            state: Arc::new(Mutex::new(state)),
            serving: None,
        };
        hook.be_there();
        hook
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// At the address that it had before, if it had one.
    pub fn be_there(&mut self) {
        if self.serving.is_some() {
            return;
        }
        let listener = self
            .runtime
            .block_on(TcpListener::bind(self.address))
            .unwrap_or_else(|e| panic!("{}: {e}", self.address));
        self.address = listener.local_addr().expect("it is bound");
        let state = Arc::clone(&self.state);
        self.serving = Some(self.runtime.spawn(serve(listener, state)));
    }

    /// Its connections break, and nobody listens.
    pub fn be_gone(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Aborted: then the listener and the connections are closed.
            let _ = self.runtime.block_on(serving);
        }
    }

    pub fn behave(&self, manner: Manner) {
        self.state().manner = manner;
    }

    pub fn want(&self, authorization: Option<&str>) {
        self.state().authorization = authorization.map(str::to_owned);
    }

    pub fn took(&self) -> Vec<Posted> {
        self.state().took.clone()
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.state().asked.len()
    }

    /// Between the first request and the second.
    pub fn waited(&self) -> Duration {
        match &self.state().asked[..] {
            [first, second, ..] => second.duration_since(*first),
            _ => Duration::ZERO,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Dropped with this: its connections end.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { return };
        let state = Arc::clone(&state);
        let service = service_fn(move |request| answer(request, Arc::clone(&state)));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // It breaks when the client goes: that is no matter here.
        connections.spawn(async move { drop(connection.await) });
    }
}

/// An error breaks the connection.
async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, String> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
    let manner = {
        let mut state = lock(&state);
        state.asked.push(Instant::now());
        let authorization = head.headers.get(AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        if state.authorization.is_some() && state.authorization.as_deref() != authorization {
            return Ok(say(401, "who are you?"));
        }
        if head.headers.contains_key("poison") {
            return Ok(say(422, "no poison here"));
        }
        if matches!(state.manner, Manner::Takes | Manner::Forgets) {
            state.took.push(Posted {
                headers: head.headers,
                body,
            });
        }
        state.manner
    };
    match manner {
        Manner::Takes => Ok(say(200, "")),
        Manner::Answers(status) => Ok(say(status, "not now")),
        Manner::Busy => {
            let mut answer = say(503, "busy");
            let second = HeaderValue::from_static("1");
            answer.headers_mut().insert(RETRY_AFTER, second);
            Ok(answer)
        }
        Manner::Forgets => Err("forgotten".to_owned()),
        Manner::Hangs => std::future::pending().await,
    }
}

fn say(status: u16, words: &str) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::copy_from_slice(words.as_bytes()));
    Response::builder()
        .status(status)
        .body(body)
        .expect("a status")
}
