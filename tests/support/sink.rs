//! A service that implements `causeway.v1.Sink`: a real gRPC server (tonic's over hyper's HTTP/2), which can be made
//! to misbehave and keeps what it took.

use causeway::egress::grpc::v1;
use futures_util::StreamExt as _;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tonic::server::{Grpc, StreamingService};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use v1::deliver_response::Outcome;

const PATH: &str = "/causeway.v1.Sink/Deliver";
/// Of a message.
pub const MAX_BYTES: usize = 2 << 20;

/// What it does with deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Takes them and says so.
    Takes,
    /// Takes nothing, and says of each: retry.
    Fails,
    /// Says nothing.
    Hangs,
    /// Takes one and breaks the connection.
    Forgets,
    /// Takes so many of a call, and breaks the connection at the next.
    BreaksAfter(usize),
    /// Takes so many together, and answers them from the last to the first; what is over after a moment.
    Backwards(usize),
    /// Takes one, answers what nobody asked and then the delivery; from the second call on it takes all.
    Confused,
    /// Takes one, and says so twice; from the second call on it takes all.
    Twice,
    /// Ends each call with this status when the first delivery comes.
    Ends(Code),
    /// Ends each call well after it took so many.
    EndsAfter(usize),
    /// Takes one, then waits so long.
    Slow(Duration),
    /// Falls over a message with the header `heavy`; takes the others.
    FallsOver,
}

struct State {
    manner: Manner,
    /// The metadata `authorization` that it wants, if it wants one.
    authorization: Option<String>,
    took: Vec<v1::DeliverRequest>,
    /// All that came, taken or not.
    asked: usize,
    connections: usize,
    /// Of these, those that are over.
    ended: usize,
    calls: usize,
    /// Told to connections that are to end when their calls have.
    stop: Arc<Notify>,
}

pub struct Sink {
    address: SocketAddr,
    runtime: Runtime,
    state: Arc<Mutex<State>>,
    tls: Option<TlsAcceptor>,
    /// `None`: nobody is there.
    serving: Option<JoinHandle<()>>,
}

impl Sink {
    /// On a port of its own.
    pub fn start() -> Self {
        Self::with(None)
    }

    pub fn encrypted(tls: TlsAcceptor) -> Self {
        Self::with(Some(tls))
    }

    fn with(tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let state = State {
            manner: Manner::Takes,
            authorization: None,
            took: Vec::new(),
            asked: 0,
            connections: 0,
            ended: 0,
            calls: 0,
            stop: Arc::default(),
        };
        let mut sink = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            runtime,
            state: Arc::new(Mutex::new(state)),
            tls,
            serving: None,
        };
        sink.be_there();
        sink
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
        let (state, tls) = (Arc::clone(&self.state), self.tls.clone());
        self.serving = Some(self.runtime.spawn(serve(listener, state, tls)));
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

    pub fn took(&self) -> Vec<v1::Delivery> {
        let state = self.state();
        let took = state.took.iter().map(|request| request.delivery.clone());
        took.map(|delivery| delivery.expect("each has one"))
            .collect()
    }

    pub fn requests(&self) -> Vec<v1::DeliverRequest> {
        self.state().took.clone()
    }

    pub fn asked(&self) -> usize {
        self.state().asked
    }

    pub fn connections(&self) -> usize {
        self.state().connections
    }

    pub fn ended(&self) -> usize {
        self.state().ended
    }

    /// GOAWAY on all there are.
    pub fn stop_connections(&self) {
        self.state().stop.notify_waiters();
    }

    pub fn calls(&self) -> usize {
        self.state().calls
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, tls: Option<TlsAcceptor>) {
    // Dropped with this: its connections end.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { return };
        let (state, tls) = (Arc::clone(&state), tls.clone());
        connections.spawn(async move {
            match tls {
                None => connection(stream, state).await,
                Some(tls) => {
                    // Whoever isn't known goes away.
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn connection<S>(stream: S, state: Arc<Mutex<State>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = {
        let mut state = lock(&state);
        state.connections += 1;
        Arc::clone(&state.stop)
    };
    let broken = Arc::new(Notify::new());
    let shown = Arc::clone(&state);
    let desk = Desk {
        state,
        broken: Arc::clone(&broken),
    };
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let desk = desk.clone();
        async move {
            assert_eq!(request.uri().path(), PATH);
            let codec = ProstCodec::<v1::DeliverResponse, v1::DeliverRequest>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(MAX_BYTES);
            Ok::<_, Infallible>(grpc.streaming(desk, request).await)
        }
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut stop = std::pin::pin!(stop.notified());
    let mut is_stopped = false;
    loop {
        tokio::select! {
            // It breaks when the client goes: that is no matter here.
            _ = &mut connection => break,
            () = broken.notified() => break,
            () = &mut stop, if !is_stopped => {
                is_stopped = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
    lock(&shown).ended += 1;
}

#[derive(Clone)]
struct Desk {
    state: Arc<Mutex<State>>,
    broken: Arc<Notify>,
}

type Answer = Result<v1::DeliverResponse, Status>;

struct Answers(mpsc::Receiver<Answer>);

impl futures_util::Stream for Answers {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        self.0.poll_recv(cx)
    }
}

impl StreamingService<v1::DeliverRequest> for Desk {
    type Response = v1::DeliverResponse;
    type ResponseStream = Answers;
    type Future = Ready<Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<v1::DeliverRequest>>) -> Self::Future {
        let number = {
            let mut state = lock(&self.state);
            let came = request.metadata().get("authorization");
            let came = came.and_then(|value| value.to_str().ok());
            if state.authorization.is_some() && state.authorization.as_deref() != came {
                return ready(Err(Status::unauthenticated("who are you?")));
            }
            state.calls += 1;
            state.calls
        };
        let (answers, told) = mpsc::channel(16);
        let call = Call {
            desk: self.clone(),
            number,
            answers,
            waiting: Vec::new(),
            taken: 0,
        };
        tokio::spawn(call.run(request.into_inner()));
        ready(Ok(Response::new(Answers(told))))
    }
}

struct Call {
    desk: Desk,
    /// From 1 on.
    number: usize,
    answers: mpsc::Sender<Answer>,
    /// Taken, and answered later.
    waiting: Vec<u64>,
    taken: usize,
}

impl Call {
    async fn run(mut self, mut requests: Streaming<v1::DeliverRequest>) {
        loop {
            const MOMENT: Duration = Duration::from_millis(20);
            let next = match self.waiting.is_empty() {
                true => requests.next().await,
                false => match tokio::time::timeout(MOMENT, requests.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.answer_backwards().await;
                        continue;
                    }
                },
            };
            let goes_on = match next {
                Some(Ok(request)) => self.take(request).await,
                Some(Err(status)) => {
                    // What it says of what it can't read.
                    let _ = self.answers.send(Err(status)).await;
                    false
                }
                None => false,
            };
            if !goes_on {
                return self.answer_backwards().await;
            }
        }
    }

    /// Whether the call goes on.
    async fn take(&mut self, request: v1::DeliverRequest) -> bool {
        let sequence = request.sequence;
        let delivery = request.delivery.as_ref().expect("each has one");
        let has = |name: &str| delivery.headers.iter().any(|header| header.name == name);
        let (is_poison, is_heavy) = (has("poison"), has("heavy"));
        let mut manner = {
            let mut state = lock(&self.desk.state);
            state.asked += 1;
            state.manner
        };
        if self.number > 1 && matches!(manner, Manner::Confused | Manner::Twice) {
            manner = Manner::Takes;
        }
        if is_poison {
            let reason = "no poison here".to_owned();
            return self
                .answer(sequence, Outcome::Reject(v1::Reject { reason }))
                .await;
        }
        match manner {
            Manner::Fails => {
                let reason = "not now".to_owned();
                let delay = None;
                return self
                    .answer(sequence, Outcome::Retry(v1::Retry { reason, delay }))
                    .await;
            }
            Manner::Hangs => return true,
            Manner::Ends(code) => return self.fail(Status::new(code, "it says so")).await,
            Manner::FallsOver if is_heavy => {
                return self.fail(Status::internal("it fell over")).await;
            }
            Manner::BreaksAfter(count) if self.taken >= count => {
                self.desk.broken.notify_one();
                return false;
            }
            _ => {}
        }
        lock(&self.desk.state).took.push(request);
        self.taken += 1;
        let delivered = Outcome::Delivered(v1::Delivered {});
        match manner {
            Manner::Forgets => {
                self.desk.broken.notify_one();
                false
            }
            Manner::Backwards(count) => {
                self.waiting.push(sequence);
                if self.waiting.len() >= count {
                    self.answer_backwards().await;
                }
                true
            }
            Manner::Confused => {
                self.answer(sequence + 1000, delivered.clone()).await;
                self.answer(sequence, delivered).await
            }
            Manner::Twice => {
                self.answer(sequence, delivered.clone()).await;
                self.answer(sequence, delivered).await
            }
            Manner::EndsAfter(count) => {
                self.answer(sequence, delivered).await;
                self.taken < count
            }
            Manner::Slow(pause) => {
                tokio::time::sleep(pause).await;
                self.answer(sequence, delivered).await
            }
            _ => self.answer(sequence, delivered).await,
        }
    }

    async fn answer(&self, sequence: u64, outcome: Outcome) -> bool {
        let answer = v1::DeliverResponse {
            sequence,
            outcome: Some(outcome),
        };
        // Whether somebody listens still.
        self.answers.send(Ok(answer)).await.is_ok()
    }

    async fn answer_backwards(&mut self) {
        while let Some(sequence) = self.waiting.pop() {
            self.answer(sequence, Outcome::Delivered(v1::Delivered {}))
                .await;
        }
    }

    async fn fail(&self, status: Status) -> bool {
        let _ = self.answers.send(Err(status)).await;
        false
    }
}
