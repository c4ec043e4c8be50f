//! PublishBatch: many messages, a result for each. All are handed over before any is waited for, so that
//! they share the journal's syncs.

use super::app::Answered;
use super::body::Came;
use super::desk::Desk;
use super::fault::Fault;
use super::reason::Reason;
use super::{answer, codec, envelope, publish, v1};
use crate::ingress::front::{Front, Group};
use crate::ingress::outliving::Outliving;
use crate::message::{Chain, TraceContext};
use bytes::Bytes;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use tonic::Code;

/// An empty message takes two bytes on the wire, and some hundred in memory.
pub(super) const MESSAGES: usize = 10_000;

pub(super) async fn publish_batch<F: Front>(
    desk: Arc<Desk<F>>,
    request: Bytes,
    came: Came,
) -> Result<Answered<v1::PublishBatchResponse>, Fault> {
    let count = count(request.clone())?;
    let in_flight = &desk.limits.in_flight;
    let share = came
        .arrived
        .take_messages(count, request.len(), in_flight)?;
    let nothing = in_flight.take(0).ok_or_else(Fault::in_flight_full)?;
    let all = async move {
        let mut begun = hand_over(&desk, request, came.trace.as_ref())?;
        while !begun.group.is_empty() {
            let (number, result) = poll_fn(|cx| begun.group.poll_next(cx)).await;
            begun.results[number] = answer::result(answer::published(result));
        }
        Ok(Answered {
            message: v1::PublishBatchResponse {
                results: begun.results,
            },
            share: Some(share),
        })
    };
    let ended = Outliving::new(all, nothing).await;
    ended.unwrap_or_else(|_| Err(publish::internal()))
}

/// Of a request that isn't one nothing is taken.
fn count(request: Bytes) -> Result<usize, Fault> {
    let mut messages = codec::messages(request);
    let mut count = 0;
    while messages.next_message()?.is_some() {
        count += 1;
    }
    match count {
        0 => Err(Fault::malformed("messages", "it is empty")),
        1..=MESSAGES => Ok(count),
        _ => {
            let text = format!("{count} messages, more than the limit of {MESSAGES}");
            let fault = Fault::new(Code::InvalidArgument, Reason::TooMany, text);
            Err(fault
                .with("what", "messages")
                .with("actual", count)
                .with("limit", MESSAGES))
        }
    }
}

struct Begun<G> {
    /// By the number of the message.
    group: G,
    /// Empty where there is none yet.
    results: Vec<v1::PublishResult>,
}

fn hand_over<F: Front>(
    desk: &Desk<F>,
    request: Bytes,
    trace: Option<&TraceContext>,
) -> Result<Begun<F::Group<usize>>, Fault> {
    let buffer_bytes = request.len();
    let mut messages = codec::messages(request);
    let mut chains: HashMap<Bytes, Chain> = HashMap::new();
    let (mut group, mut results) = (desk.front.group(), Vec::new());
    let mut staged = Vec::new();
    while let Some(message) = messages.next_message()? {
        let mut chain = |key: Bytes| chains.entry(key).or_default().clone();
        let number = results.len();
        results.push(v1::PublishResult::default());
        match envelope::read(desk, message.clone(), buffer_bytes, trace) {
            Ok(envelope) => {
                // An event has its key among its attributes.
                let chain = envelope.key.clone().map(chain);
                staged.push((number, envelope, chain));
            }
            Err(fault) => {
                // Those before it are no part of what it breaks; what is behind it of its key goes no
                // further, though the message never was one.
                group.hand_over(staged.drain(..));
                let said = codec::key(&message).map(&mut chain);
                said.inspect(|chain| chain.break_at_hand_over(false));
                results[number] = answer::result(Err(fault));
            }
        }
    }
    group.hand_over(staged);
    Ok(Begun { group, results })
}
