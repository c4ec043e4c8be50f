//! PublishStream: messages come while receipts go. One place takes in and gives out, so that a client that
//! doesn't read its receipts isn't read from either.

use super::body::{Arrived, Came};
use super::desk::Desk;
use super::fault::{self, Fault};
use super::{answer, codec, envelope, v1};
use crate::ingress::front::{Front, Group};
use crate::ingress::in_flight::InFlight;
use crate::ingress::listener;
use crate::message::{Chain, Envelope, TraceContext};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::StreamExt;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
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

pub(super) fn publish_stream<F: Front>(
    desk: Arc<Desk<F>>,
    messages: Streaming<Bytes>,
    came: Came,
) -> Publishing<F> {
    let mut stop = desk.stop.clone();
    let reading = Reading {
        messages,
        arrived: came.arrived,
        in_flight: desk.limits.in_flight.clone(),
        stopped: Box::pin(async move { listener::stopped(&mut stop).await }),
    };
    let nothing = reading.in_flight.take(0);
    Publishing {
        under_way: UnderWay {
            group: desk.front.group(),
            shares: nothing,
        },
        trace: came.trace,
        staged: Vec::new(),
        count: 0,
        answers: VecDeque::new(),
        order: None,
        reading: Some(reading),
        end: None,
        desk,
    }
}

/// What an answer needs to know of its message.
struct Tag {
    sequence: u64,
    /// Counted from 0, of the stream.
    number: u64,
    share_bytes: usize,
}

/// Answers of an ordered stream that came before an earlier one's.
#[derive(Default)]
struct Order {
    chain: Chain,
    next: u64,
    early: BTreeMap<u64, Answer>,
}

/// What was handed over, with its share of the bytes in flight.
struct UnderWay<G> {
    group: G,
    /// `None` only when the gateway's end has closed it.
    shares: Option<OwnedSemaphorePermit>,
}

impl<G> UnderWay<G> {
    fn hold(&mut self, share: OwnedSemaphorePermit) -> usize {
        let bytes = share.num_permits();
        match &mut self.shares {
            Some(all) => all.merge(share),
            None => self.shares = Some(share),
        }
        bytes
    }

    fn give_back(&mut self, share_bytes: usize) {
        drop(self.shares.as_mut().and_then(|all| all.split(share_bytes)));
    }
}

/// Where messages come from, until they end or we do.
struct Reading {
    messages: Streaming<Bytes>,
    arrived: Arrived,
    in_flight: InFlight,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The answers of one stream.
pub(super) struct Publishing<F: Front> {
    desk: Arc<Desk<F>>,
    /// Of messages that have none of their own.
    trace: Option<TraceContext>,
    under_way: UnderWay<F::Group<Tag>>,
    /// Read, and handed over with what comes at the same time.
    staged: Vec<(Tag, Envelope, Option<Chain>)>,
    /// Of messages that were read, ever.
    count: u64,
    answers: VecDeque<Answer>,
    order: Option<Order>,
    reading: Option<Reading>,
    /// The status behind all answers, if it isn't OK.
    end: Option<Status>,
}

impl<F: Front> Publishing<F> {
    fn waiting(&self) -> usize {
        let early = self.order.as_ref().map_or(0, |order| order.early.len());
        self.under_way.group.len() + self.staged.len() + self.answers.len() + early
    }

    /// Takes in what came, as far as there is room for it, and hands it over.
    fn read(&mut self, cx: &mut Context<'_>) {
        if let Some(reading) = self.reading.as_mut()
            && reading.stopped.as_mut().poll(cx).is_ready()
        {
            self.end_reading(Fault::stopping().status());
        }
        let mut room = IN_FLIGHT.saturating_sub(self.waiting());
        while room > 0
            && let Some(reading) = self.reading.as_mut()
            && let Poll::Ready(came) = reading.messages.poll_next_unpin(cx)
        {
            match came {
                Some(Ok(bytes)) => {
                    let (arrived, in_flight) = (&reading.arrived, &reading.in_flight);
                    let share = arrived.take_messages(1, bytes.len(), in_flight);
                    self.take(bytes, share);
                }
                None => self.reading = None,
                Some(Err(status)) => {
                    let limit = self.desk.limits.message_bytes();
                    self.end_reading(fault::of_decoding(status, limit));
                }
            }
            room -= 1;
        }
        self.hand_over();
    }

    fn take(&mut self, bytes: Bytes, mut share: Result<OwnedSemaphorePermit, Fault>) {
        let frame = match codec::read::<Frame>(bytes) {
            Ok(frame) => frame,
            // Whose answer it would be isn't known.
            Err(fault) => return self.end_reading(fault.status()),
        };
        let mut tag = Tag {
            sequence: frame.sequence,
            number: self.count,
            share_bytes: 0,
        };
        self.count += 1;
        if tag.number == 0 && frame.ordered {
            self.order = Some(Order::default());
        } else if frame.ordered && self.order.is_none() {
            let why = "only a stream's first message can ask for order";
            share = Err(Fault::malformed("ordered", why));
        }
        let envelope = share.and_then(|share| {
            let message = frame.message;
            let message = message.ok_or_else(|| Fault::malformed("message", "it is missing"))?;
            let envelope = envelope::read(&self.desk, message, BUFFER_BYTES, self.trace.as_ref())?;
            tag.share_bytes = self.under_way.hold(share);
            Ok(envelope)
        });
        match envelope {
            Ok(envelope) => {
                let chain = self.order.as_ref().map(|order| order.chain.clone());
                self.staged.push((tag, envelope, chain));
            }
            Err(fault) => {
                // Those before it are no part of what it breaks.
                self.hand_over();
                if let Some(order) = &self.order {
                    order.chain.break_at_hand_over(fault.is_retriable());
                }
                self.answer(&tag, Err(fault));
            }
        }
    }

    fn hand_over(&mut self) {
        if !self.staged.is_empty() {
            self.under_way.group.hand_over(self.staged.drain(..));
        }
    }

    fn end_reading(&mut self, status: Status) {
        self.reading = None;
        self.end = Some(status);
    }

    /// Takes all outcomes that there are.
    fn take_outcomes(&mut self, cx: &mut Context<'_>) {
        let mut free = 0;
        while let Poll::Ready((tag, result)) = self.under_way.group.poll_next(cx) {
            free += tag.share_bytes;
            self.answer(&tag, answer::published(result));
        }
        if free > 0 {
            self.under_way.give_back(free);
        }
    }

    fn answer(&mut self, tag: &Tag, result: Result<v1::Receipt, Fault>) {
        let answer = Answer {
            sequence: tag.sequence,
            result: Some(answer::result(result)),
        };
        let Some(order) = &mut self.order else {
            return self.answers.push_back(answer);
        };
        order.early.insert(tag.number, answer);
        while let Some(answer) = order.early.remove(&order.next) {
            order.next += 1;
            self.answers.push_back(answer);
        }
    }
}

// Nothing in it is pinned.
impl<F: Front> Unpin for Publishing<F> {}

impl<F: Front> Stream for Publishing<F> {
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.answers.is_empty() {
            this.read(cx);
            this.take_outcomes(cx);
        }
        match this.answers.pop_front() {
            Some(answer) => Poll::Ready(Some(Ok(answer))),
            None if this.reading.is_none() && this.waiting() == 0 => {
                Poll::Ready(this.end.take().map(Err))
            }
            None => Poll::Pending,
        }
    }
}

/// A client that goes away changes nothing: what was handed over keeps its share until it is answered.
impl<F: Front> Drop for Publishing<F> {
    fn drop(&mut self) {
        if self.under_way.group.is_empty() {
            return;
        }
        let gone = UnderWay {
            group: self.desk.front.group(),
            shares: None,
        };
        let mut left = std::mem::replace(&mut self.under_way, gone);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                while !left.group.is_empty() {
                    let (tag, _) = poll_fn(|cx| left.group.poll_next(cx)).await;
                    left.give_back(tag.share_bytes);
                }
            });
        }
    }
}
