//! PublishStream: messages come while receipts go. One place takes in and gives out, so that a client that
//! doesn't read its receipts isn't read from either.

use super::body::{Arrived, Came};
use super::desk::Desk;
use super::fault::{self, Fault};
use super::{answer, codec, envelope, v1};
use crate::ingress::front::Front;
use crate::ingress::in_flight::InFlight;
use crate::ingress::listener;
use crate::message::{Chain, TraceContext};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, Streaming};

/// Messages of one stream that wait for their answer; no more are read then.
pub(super) const IN_FLIGHT: usize = 1024;
/// What is read at a time: a message that is less than a good part of it is copied out.
const BUFFER_BYTES: usize = 32 << 10;

/// `v1::PublishStreamRequest`, its message as it came.
#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(bytes = "bytes", optional, tag = "2")]
    message: Option<Bytes>,
    #[prost(bool, tag = "3")]
    ordered: bool,
}

type Answer = v1::PublishStreamResponse;
type Share = Result<OwnedSemaphorePermit, Fault>;

pub(super) fn publish_stream<F: Front>(
    desk: Arc<Desk<F>>,
    messages: Streaming<Bytes>,
    came: Came,
) -> impl Stream<Item = Result<Answer, Status>> + Send + 'static {
    let mut stop = desk.stop.clone();
    let reading = Reading {
        messages,
        arrived: came.arrived,
        in_flight: desk.limits.in_flight.clone(),
        stopped: Box::pin(async move { listener::stopped(&mut stop).await }),
    };
    let message_bytes = desk.limits.message_bytes();
    let trace = came.trace;
    let begin = move |frame, chain, share| publish_one(&desk, frame, chain, trace.as_ref(), share);
    Publishing {
        waiting: Waiting::Any(FuturesUnordered::new()),
        chain: None,
        is_first: true,
        reading: Some(reading),
        message_bytes,
        end: None,
        begin,
    }
}

/// Hands the message over before it returns.
fn publish_one<F: Front>(
    desk: &Arc<Desk<F>>,
    frame: Frame,
    chain: Option<Chain>,
    trace: Option<&TraceContext>,
    share: Share,
) -> impl Future<Output = Answer> + Send + use<F> {
    let sequence = frame.sequence;
    let begun = share.and_then(|share| {
        let missing = || Fault::malformed("message", "it is missing");
        let message = frame.message.ok_or_else(missing)?;
        let envelope = envelope::read(desk, message, BUFFER_BYTES, trace)?;
        Ok((desk.front.publish(envelope, chain.clone()), share))
    });
    if let (Err(fault), Some(chain)) = (&begun, chain) {
        chain.break_at_hand_over(fault.is_retriable());
    }
    async move {
        let result = match begun {
            Ok((answer, _share)) => answer::published(answer.await),
            Err(fault) => Err(fault),
        };
        Answer {
            sequence,
            result: Some(answer::result(result)),
        }
    }
}

/// Messages that wait for their answers.
enum Waiting<A: Future> {
    Any(FuturesUnordered<A>),
    InOrder(FuturesOrdered<A>),
}

impl<A: Future> Waiting<A> {
    fn len(&self) -> usize {
        match self {
            Self::Any(all) => all.len(),
            Self::InOrder(all) => all.len(),
        }
    }

    fn push(&mut self, answer: A) {
        match self {
            Self::Any(all) => all.push(answer),
            Self::InOrder(all) => all.push_back(answer),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<A::Output>> {
        match self {
            Self::Any(all) => all.poll_next_unpin(cx),
            Self::InOrder(all) => all.poll_next_unpin(cx),
        }
    }
}

/// Where messages come from, until they end or we do.
struct Reading {
    messages: Streaming<Bytes>,
    arrived: Arrived,
    in_flight: InFlight,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Reading {
    /// The next message, or why there is none; `Ok(None)` at the client's end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Fault::stopping().status()));
        }
        Poll::Ready(ready!(self.messages.poll_next_unpin(cx)).transpose())
    }
}

struct Publishing<A: Future<Output = Answer> + Send + 'static, B> {
    waiting: Waiting<A>,
    /// Of an ordered stream.
    chain: Option<Chain>,
    is_first: bool,
    reading: Option<Reading>,
    /// That a message may have.
    message_bytes: usize,
    /// The status behind all answers, if it isn't OK.
    end: Option<Status>,
    begin: B,
}

impl<A, B> Publishing<A, B>
where
    A: Future<Output = Answer> + Send + 'static,
    B: Fn(Frame, Option<Chain>, Share) -> A,
{
    /// Takes in what came, as far as there is room for it.
    fn read(&mut self, cx: &mut Context<'_>) {
        while let Some(reading) = self.reading.as_mut()
            && self.waiting.len() < IN_FLIGHT
            && let Poll::Ready(came) = reading.poll_next(cx)
        {
            match came {
                Ok(Some(bytes)) => {
                    let (arrived, in_flight) = (&reading.arrived, &reading.in_flight);
                    let share = arrived.take_messages(1, bytes.len(), in_flight);
                    self.take(bytes, share);
                }
                Ok(None) => self.reading = None,
                Err(status) => self.end_reading(fault::of_decoding(status, self.message_bytes)),
            }
        }
    }

    fn take(&mut self, bytes: Bytes, mut share: Share) {
        let frame = match codec::read::<Frame>(bytes) {
            Ok(frame) => frame,
            // Whose answer it would be isn't known.
            Err(fault) => return self.end_reading(fault.status()),
        };
        let is_first = std::mem::take(&mut self.is_first);
        if is_first && frame.ordered {
            self.waiting = Waiting::InOrder(FuturesOrdered::new());
            self.chain = Some(Chain::default());
        } else if frame.ordered && self.chain.is_none() {
            let why = "only a stream's first message can ask for order";
            share = Err(Fault::malformed("ordered", why));
        }
        let answer = (self.begin)(frame, self.chain.clone(), share);
        self.waiting.push(answer);
    }

    fn end_reading(&mut self, status: Status) {
        self.reading = None;
        self.end = Some(status);
    }
}

// Nothing in it is pinned.
impl<A: Future<Output = Answer> + Send + 'static, B> Unpin for Publishing<A, B> {}

impl<A, B> Stream for Publishing<A, B>
where
    A: Future<Output = Answer> + Send + 'static,
    B: Fn(Frame, Option<Chain>, Share) -> A,
{
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.read(cx);
        match this.waiting.poll_next(cx) {
            Poll::Ready(Some(answer)) => Poll::Ready(Some(Ok(answer))),
            Poll::Ready(None) if this.reading.is_none() => Poll::Ready(this.end.take().map(Err)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// A client that goes away changes nothing: what was handed over keeps its share until it is answered.
impl<A: Future<Output = Answer> + Send + 'static, B> Drop for Publishing<A, B> {
    fn drop(&mut self) {
        let none = Waiting::Any(FuturesUnordered::new());
        let mut waiting = std::mem::replace(&mut self.waiting, none);
        if waiting.len() > 0
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime
                .spawn(async move { while poll_fn(|cx| waiting.poll_next(cx)).await.is_some() {} });
        }
    }
}
