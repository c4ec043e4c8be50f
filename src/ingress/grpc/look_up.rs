//! GetMessage: where a message is now.

use super::app::Answered;
use super::desk::Desk;
use super::fault::Fault;
use super::reason::Reason;
use super::{answer, v1};
use crate::ingress::front::Front;
use crate::message::Position;
use tonic::Code;

pub(super) async fn get_message<F: Front>(
    desk: &Desk<F>,
    request: v1::GetMessageRequest,
) -> Result<Answered<v1::GetMessageResponse>, Fault> {
    let v1::GetMessageRequest {
        position,
        id,
        topic,
    } = request;
    let found = match (position, id.is_empty(), topic.is_empty()) {
        (Some(position), true, true) => {
            let position = Position(position);
            desk.front.message_at(&desk.principal, position).await
        }
        (None, false, false) => {
            let (principal, front) = (&desk.principal, &desk.front);
            front.message_by_id(principal, &id, &topic).await
        }
        _ => {
            let why = "give this alone, or id and topic";
            return Err(Fault::malformed("position", why));
        }
    };
    let receipt = found.map(answer::receipt).ok_or_else(|| {
        let text = "no such message is pending, in the dedup window or in the journal";
        Fault::new(Code::NotFound, Reason::UnknownMessage, text)
    })?;
    Ok(Answered::alone(v1::GetMessageResponse {
        receipt: Some(receipt),
    }))
}
