//! `POST /v1/batch`: a line, a message; a result line for each, in order. A list of events sent to a topic is
//! taken the same way: what is said of lines here holds of its events.
//!
//! Lines are handed over as they come, so that those of one request share the journal's syncs, and
//! are answered as they are stored: neither waits for the end of the body. It runs beside the
//! connection: lines that came whole are taken even if the client is gone.
//!
//! Bounded are the lines whose answer is awaited, the bytes of lines (`limits.in_flight_bytes`) and
//! the results that the client hasn't read; at each bound nothing more is read of the body.

use super::body;
use super::chunks::Chunks;
use super::coding::{Coding, Decoder};
use super::kind::Kind;
use super::pieces::{Common, Pieces};
use super::problem::Problem;
use super::split::Cut;
use super::{Http, answer};
use crate::door::Published;
use crate::ingress::front::Front;
use crate::ingress::listener;
use crate::ingress::trace;
use crate::message::{Chain, Envelope, Refusal};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use hyper::body::Frame;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Requests at one time.
pub(super) const BATCHES_AT_ONCE: usize = 64;
/// Of them, those that are decoded: a decoder holds up to 8 MiB.
pub(super) const CODED_BATCHES_AT_ONCE: usize = 8;
/// Lines of one request that wait for their answer.
const LINES_IN_FLIGHT: usize = 1024;
/// Results are sent when there are so many bytes of them, or nothing else is to do.
const RESULT_CHUNK_BYTES: usize = 16 << 10;
/// Chunks that the client hasn't taken: a client that reads only when all is sent can have some
/// thousands of lines in a request.
const RESULT_CHUNKS: usize = 64;
/// Keys of one request that are remembered, because a line of theirs was refused or is in flight.
const KEYS: usize = 4 * LINES_IN_FLIGHT;

pub(super) async fn publish<F: Front>(
    State(http): State<Arc<Http<F>>>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let limit_bytes = http.bodies.json_limit();
    let common = Common {
        principal: Arc::clone(&http.principal),
        source: Arc::clone(&http.source),
        trace: trace::context(&head.headers),
    };
    let pieces = Pieces::lines(limit_bytes, common);
    begin(http, &head.headers, body, pieces).await
}

/// A list of events, which have the rest of their envelopes in common.
pub(super) async fn publish_events<F: Front>(
    http: Arc<Http<F>>,
    headers: HeaderMap,
    body: Body,
    rest: Envelope,
) -> Result<Response, Problem> {
    let pieces = Pieces::events(http.bodies.json_limit(), rest);
    begin(http, &headers, body, pieces).await
}

async fn begin<F: Front>(
    http: Arc<Http<F>>,
    headers: &HeaderMap,
    body: Body,
    pieces: Pieces,
) -> Result<Response, Problem> {
    let (body, places) = match open(&http, headers, body) {
        Ok(opened) => opened,
        Err((problem, body)) => {
            body::discard(body).await;
            return Err(problem);
        }
    };
    let (sender, results) = mpsc::channel(RESULT_CHUNKS);
    let batch = Batch {
        pieces,
        stop: http.stop.clone(),
        partial: body::empty_share(&http.bodies.in_flight),
        http,
        body,
        chains: HashMap::new(),
        keys_are_full: false,
        keys_are_lost: false,
        no_room: None,
        in_flight: FuturesOrdered::new(),
        out: Vec::new(),
        sender,
        _places: places,
    };
    tokio::spawn(batch.run());
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((content_type, Body::new(Results(results))).into_response())
}

/// That of a batch, and that of a coded one.
type Places = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

fn open<F>(
    http: &Http<F>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Chunks, Places), (Problem, Body)> {
    let places = Coding::of(headers).and_then(|coding| {
        let place = take_place(&http.batches, BATCHES_AT_ONCE)?;
        let coded = match coding {
            Coding::Identity => None,
            _ => Some(take_place(&http.coded_batches, CODED_BATCHES_AT_ONCE)?),
        };
        Ok((Decoder::new(coding)?, (place, coded)))
    });
    match places {
        Ok((decoder, places)) => Ok((Chunks::new(body, decoder), places)),
        Err(problem) => Err((problem, body)),
    }
}

fn take_place(places: &Arc<Semaphore>, all: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let place = Arc::clone(places).try_acquire_owned();
    place.map_err(|_| {
        let detail = format!("{all} batches are taken in now");
        Problem::unavailable(Kind::Batches, detail, 1).with("limit", all)
    })
}

type LineResult = Result<Published, Problem>;
type Waiting = Pin<Box<dyn Future<Output = LineResult> + Send>>;

struct Batch<F: Front> {
    http: Arc<Http<F>>,
    body: Chunks,
    pieces: Pieces,
    stop: watch::Receiver<bool>,
    chains: HashMap<Bytes, Chain>,
    /// Too many keys had a line refused: lines of others can't be told from theirs any more.
    keys_are_full: bool,
    /// A line was refused for want of room before its key was read: every key is held back.
    keys_are_lost: bool,
    in_flight: FuturesOrdered<Waiting>,
    /// Why the line that isn't complete is passed over, though it isn't too long.
    no_room: Option<Problem>,
    /// The share of the line that isn't complete.
    partial: OwnedSemaphorePermit,
    out: Vec<u8>,
    sender: mpsc::Sender<Bytes>,
    _places: Places,
}

impl<F: Front> Batch<F> {
    async fn run(mut self) {
        let mut end = self.take_lines().await;
        if end.is_none() {
            match self.pieces.last() {
                Ok(Some(cut)) => self.take(cut).await,
                Ok(None) => {}
                Err(problem) => end = Some(problem),
            }
        }
        while let Some(result) = self.in_flight.next().await {
            self.write(&result).await;
        }
        if let Some(problem) = end {
            // Of the request, not of a line: it stands behind all results.
            self.write(&Err(problem)).await;
        }
        self.flush().await;
        self.body.discard().await;
    }

    /// All complete lines, until the body ends, or why it can't be read to its end.
    async fn take_lines(&mut self) -> Option<Problem> {
        loop {
            while let Some(cut) = self.pieces.next() {
                self.take(cut).await;
            }
            if let Some(problem) = self.pieces.fault() {
                return Some(problem);
            }
            self.hold_partial().await;
            while let Some(Some(result)) = self.in_flight.next().now_or_never() {
                self.write(&result).await;
            }
            self.flush().await;
            tokio::select! {
                Some(result) = self.in_flight.next() => self.write(&result).await,
                chunk = self.body.next() => match chunk {
                    Ok(Some(chunk)) => self.pieces.push(chunk),
                    Ok(None) => return None,
                    Err(problem) => return Some(problem),
                },
                () = listener::stopped(&mut self.stop) => return Some(Refusal::Stopping.into()),
            }
        }
    }

    async fn take(&mut self, cut: Cut) {
        let mut share = self.take_share();
        let waiting = match cut {
            Cut::TooLong => failed(self.no_room.take().unwrap_or_else(|| self.too_long())),
            Cut::Line(line) => match self.room(&mut share, line.len()).await {
                Ok(()) => self.hand_over(&line, share),
                Err(problem) => {
                    self.hold_back_key(&line);
                    failed(problem)
                }
            },
        };
        while self.in_flight.len() >= LINES_IN_FLIGHT
            && let Some(result) = self.in_flight.next().await
        {
            self.write(&result).await;
        }
        self.in_flight.push_back(waiting);
    }

    /// The line's bytes count as in flight until it is answered. For room its own lines are waited
    /// for, not those of others.
    async fn room(
        &mut self,
        share: &mut OwnedSemaphorePermit,
        bytes: usize,
    ) -> Result<(), Problem> {
        loop {
            let problem = match body::grow_share(share, bytes, &self.http.bodies.in_flight) {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            match self.in_flight.next().await {
                Some(result) => self.write(&result).await,
                None => return Err(problem),
            }
        }
    }

    fn take_share(&mut self) -> OwnedSemaphorePermit {
        let none = body::empty_share(&self.http.bodies.in_flight);
        std::mem::replace(&mut self.partial, none)
    }

    /// The line that isn't complete is charged as it grows.
    async fn hold_partial(&mut self) {
        let mut share = self.take_share();
        let bytes = self.pieces.held_bytes();
        match self.room(&mut share, bytes).await {
            Ok(()) if bytes > 0 => self.partial = share,
            Ok(()) => {}
            Err(problem) => {
                // Its key isn't read, so it may be that of any line behind it.
                self.keys_are_lost = true;
                self.no_room = Some(problem);
                self.pieces.skip();
            }
        }
    }

    /// The line is refused for now: what is behind it of its key waits for it.
    fn hold_back_key(&mut self, line: &[u8]) {
        if let Some(key) = self.pieces.key(line) {
            self.chain(key).break_at_hand_over(true);
        }
    }

    fn hand_over(&mut self, line: &[u8], share: OwnedSemaphorePermit) -> Waiting {
        let piece = self.pieces.read(line);
        let chain = piece.key.map(|key| self.chain(key));
        let envelope = match piece.envelope {
            Ok(envelope) => envelope,
            Err(problem) => {
                if let Some(chain) = chain {
                    chain.break_at_hand_over(false);
                }
                return failed(problem);
            }
        };
        let published = self.http.front.publish(envelope, chain);
        Box::pin(async move {
            let result = published.await;
            drop(share);
            result.map_err(Problem::from)
        })
    }

    /// What the lines of a key share. Keys of which nothing is to be remembered go when there are
    /// many.
    fn chain(&mut self, key: Bytes) -> Chain {
        if self.chains.len() >= KEYS {
            self.chains
                .retain(|_, chain| chain.is_broken() || !chain.is_sole());
            self.keys_are_full |= self.chains.len() >= KEYS;
        }
        let known = self.chains.get(&key).cloned();
        if self.keys_are_lost || (self.keys_are_full && known.is_none()) {
            let chain = known.unwrap_or_default();
            chain.break_at_hand_over(true);
            return chain;
        }
        known.unwrap_or_else(|| self.chains.entry(key).or_default().clone())
    }

    fn too_long(&self) -> Problem {
        let limit = self.http.bodies.json_limit();
        Refusal::TooLarge {
            what: self.pieces.what(),
            // At least: it isn't read to its end.
            actual: limit + 1,
            limit,
            setting: "limits.payload",
        }
        .into()
    }

    async fn write(&mut self, result: &LineResult) {
        if let Some(kind) = answer::write_line(result, &mut self.out) {
            self.http.counters.count_problem(kind);
        }
        if self.out.len() >= RESULT_CHUNK_BYTES {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        if !self.out.is_empty() {
            // A client that went away changes nothing.
            let _ = self.sender.send(std::mem::take(&mut self.out).into()).await;
        }
    }
}

fn failed(problem: Problem) -> Waiting {
    Box::pin(std::future::ready(Err(problem)))
}

/// The answer's body: it ends when the batch does.
pub(super) struct Results(pub(super) mpsc::Receiver<Bytes>);

impl hyper::body::Body for Results {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.0.poll_recv(cx);
        chunk.map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}
