//! PublishBatch: many messages, a result for each. All are handed over before any is waited for, so that
//! they share the journal's syncs.

use super::app::Answered;
use super::body::Came;
use super::desk::Desk;
use super::fault::Fault;
use super::reason::Reason;
use super::{answer, codec, envelope, publish, v1};
use crate::door::Published;
use crate::ingress::front::Front;
use crate::ingress::outliving::Outliving;
use crate::message::{Chain, Refusal, TraceContext};
use bytes::Bytes;
use futures_util::future::join_all;
use std::collections::HashMap;
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
        let begun = hand_over(&desk, request, came.trace.as_ref())?;
        // All at once: each has its own time to be delivered.
        let results = join_all(begun.into_iter().map(|begun| async {
            answer::result(match begun {
                Ok(answer) => answer::published(answer.await),
                Err(fault) => Err(fault),
            })
        }));
        let results = results.await;
        Ok(Answered {
            message: v1::PublishBatchResponse { results },
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

type Begun<A> = Result<A, Fault>;

fn hand_over<F: Front>(
    desk: &Arc<Desk<F>>,
    request: Bytes,
    trace: Option<&TraceContext>,
) -> Result<Vec<Begun<impl Future<Output = Result<Published, Refusal>> + use<F>>>, Fault> {
    let buffer_bytes = request.len();
    let mut messages = codec::messages(request);
    let mut chains: HashMap<Bytes, Chain> = HashMap::new();
    let mut begun = Vec::new();
    while let Some(message) = messages.next_message()? {
        let mut chain = |key: Bytes| chains.entry(key).or_default().clone();
        begun.push(
            match envelope::read(desk, message.clone(), buffer_bytes, trace) {
                Ok(envelope) => {
                    // An event has its key among its attributes.
                    let chain = envelope.key.clone().map(chain);
                    Ok(desk.front.publish(envelope, chain))
                }
                Err(fault) => {
                    // Its key goes no further, though the message never was one.
                    let said = codec::key(&message).map(&mut chain);
                    said.inspect(|chain| chain.break_at_hand_over(false));
                    Err(fault)
                }
            },
        );
    }
    Ok(begun)
}
