//! Receipts as clients see them.

use super::fault::Fault;
use super::reason::Reason;
use super::v1;
use crate::door::{Awaited, Published};
use crate::message::{Ack, DeliveryState, Receipt, Refusal};
use tonic::Code;

/// A look-up's answer.
pub(super) fn receipt(receipt: Receipt) -> v1::Receipt {
    let state = state_of(&receipt);
    let targets = receipt.targets.iter().map(|target| v1::Target {
        route: target.route.as_ref().to_owned(),
        destination: target.destination.as_ref().to_owned(),
        state: shown(target.state).into(),
    });
    v1::Receipt {
        id: receipt.id.unwrap_or_default(),
        position: receipt.position.map(|position| position.0),
        duplicate: receipt.duplicate,
        state: shown(state).into(),
        targets: targets.collect(),
    }
}

/// A publish's answer. What the routes' ack asks for decides: with `stored`, what became of the
/// deliveries since (of a duplicate) is in the receipt, but is no fault.
pub(super) fn published(result: Result<Published, Refusal>) -> Result<v1::Receipt, Fault> {
    let Published {
        receipt: taken,
        ack,
        outcome,
    } = result?;
    match (ack, outcome, state_of(&taken)) {
        (Ack::Delivered, Awaited::Pending, _) => Err(with_receipt(
            Code::DeadlineExceeded,
            Reason::OutcomePending,
            "the message is stored and will be delivered; look it up by its id or position, and \
             don't send it again under another id",
            &taken,
        )),
        (Ack::Delivered, Awaited::Settled, DeliveryState::DeadLettered) => Err(with_receipt(
            Code::FailedPrecondition,
            Reason::DeadLettered,
            "a destination can't take the message; it is held in the dead letters, so don't send \
             it again",
            &taken,
        )),
        (Ack::Delivered, Awaited::Settled, DeliveryState::Discarded) => Err(with_receipt(
            Code::FailedPrecondition,
            Reason::Discarded,
            "no destination got the message: it was discarded, because its time to live passed or \
             by an operator",
            &taken,
        )),
        _ => Ok(receipt(taken)),
    }
}

/// Of one message of many.
pub(super) fn result(result: Result<v1::Receipt, Fault>) -> v1::PublishResult {
    use v1::publish_result::Result::{Receipt, Refusal};
    let result = match result {
        Ok(receipt) => Receipt(receipt),
        Err(fault) => Refusal(fault.rpc_status()),
    };
    v1::PublishResult {
        result: Some(result),
    }
}

fn with_receipt(code: Code, reason: Reason, text: &str, receipt: &Receipt) -> Fault {
    let mut fault = Fault::new(code, reason, text)
        .with("duplicate", receipt.duplicate)
        .with("state", state_of(receipt).as_str());
    if let Some(id) = &receipt.id {
        fault = fault.with("id", id);
    }
    match receipt.position {
        Some(position) => fault.with("position", position.0),
        None => fault,
    }
}

fn state_of(receipt: &Receipt) -> DeliveryState {
    DeliveryState::of_all(receipt.targets.iter().map(|target| target.state))
}

const fn shown(state: DeliveryState) -> v1::DeliveryState {
    match state {
        DeliveryState::Received => v1::DeliveryState::Received,
        DeliveryState::Stored => v1::DeliveryState::Stored,
        DeliveryState::Delivered => v1::DeliveryState::Delivered,
        DeliveryState::DeadLettered => v1::DeliveryState::DeadLettered,
        DeliveryState::Discarded => v1::DeliveryState::Discarded,
        DeliveryState::Unknown => v1::DeliveryState::Unknown,
    }
}
