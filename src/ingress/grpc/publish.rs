//! Publish: one message, one receipt.

use super::app::Answered;
use super::body::Came;
use super::desk::Desk;
use super::fault::Fault;
use super::reason::Reason;
use super::{answer, codec, envelope, v1};
use crate::ingress::front::Front;
use crate::ingress::outliving::Outliving;
use bytes::Bytes;
use std::sync::Arc;
use tonic::Code;

pub(super) async fn publish<F: Front>(
    desk: Arc<Desk<F>>,
    request: Bytes,
    came: Came,
) -> Result<Answered<v1::PublishResponse>, Fault> {
    let share = came
        .arrived
        .take_messages(1, request.len(), &desk.limits.in_flight)?;
    let buffer_bytes = request.len();
    let message = codec::only_message(request)?;
    let envelope = envelope::read(&desk, message, buffer_bytes, came.trace.as_ref())?;
    let publish = async move { desk.front.publish(envelope, None).await };
    let published = Outliving::new(publish, share).await;
    let receipt = answer::published(published.map_err(|_| internal())?)?;
    Ok(Answered::alone(v1::PublishResponse {
        receipt: Some(receipt),
    }))
}

pub(super) fn internal() -> Fault {
    Fault::new(
        Code::Internal,
        Reason::Internal,
        "a fault of the gateway; it is unknown whether the message is stored: send it again under \
         the same id",
    )
}
