//! Receipts as clients see them.

use super::kind::Kind;
use super::problem::Problem;
use crate::door::{Awaited, Published};
use crate::message::{Ack, DeliveryState, Receipt};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// With one target and short names.
const USUAL_RECEIPT_BYTES: usize = 256;
const NEVER_FAILS: &str = "keys are text, nothing fails by itself, and memory takes all";

#[derive(Serialize)]
struct ReceiptBody<'a> {
    id: Option<&'a str>,
    position: Option<u64>,
    duplicate: bool,
    state: &'static str,
    targets: Vec<TargetBody<'a>>,
}

#[derive(Serialize)]
struct TargetBody<'a> {
    route: &'a str,
    destination: &'a str,
    state: &'static str,
}

impl<'a> ReceiptBody<'a> {
    fn of(receipt: &'a Receipt) -> Self {
        let target = |t: &'a crate::message::TargetState| TargetBody {
            route: &t.route,
            destination: &t.destination,
            state: t.state.as_str(),
        };
        Self {
            id: receipt.id.as_deref(),
            position: receipt.position.map(|p| p.0),
            duplicate: receipt.duplicate,
            state: state_of(receipt).as_str(),
            targets: receipt.targets.iter().map(target).collect(),
        }
    }
}

fn state_of(receipt: &Receipt) -> DeliveryState {
    DeliveryState::of_all(receipt.targets.iter().map(|t| t.state))
}

/// A look-up's answer.
pub(super) fn found(receipt: &Receipt) -> Response {
    json(StatusCode::OK, &ReceiptBody::of(receipt))
}

/// A publish's answer.
pub(super) fn published(published: &Published) -> Response {
    match verdict(published) {
        Ok(status) => json(status, &ReceiptBody::of(&published.receipt)),
        Err(problem) => problem.into_response(),
    }
}

fn json(status: StatusCode, body: &ReceiptBody<'_>) -> Response {
    const TYPE: HeaderValue = HeaderValue::from_static("application/json");
    let mut bytes = Vec::with_capacity(USUAL_RECEIPT_BYTES);
    serde_json::to_writer(&mut bytes, body).expect(NEVER_FAILS);
    (status, [(header::CONTENT_TYPE, TYPE)], bytes).into_response()
}

/// The answer to a line of a batch, as a line: what a publish's body would be, and its status.
/// Says which problem it is, if it is one.
pub(super) fn write_line(result: &Result<Published, Problem>, to: &mut Vec<u8>) -> Option<Kind> {
    #[derive(Serialize)]
    struct Line<'a> {
        status: u16,
        #[serde(flatten)]
        receipt: ReceiptBody<'a>,
    }
    let problem = |problem: &Problem, to: &mut Vec<u8>| {
        write_json(&problem.body(), to);
        Some(problem.kind)
    };
    match result.as_ref().map(|taken| (taken, verdict(taken))) {
        Ok((taken, Ok(status))) => {
            let line = Line {
                status: status.as_u16(),
                receipt: ReceiptBody::of(&taken.receipt),
            };
            write_json(&line, to);
            None
        }
        Ok((_, Err(of_outcome))) => problem(&of_outcome, to),
        Err(refused) => problem(refused, to),
    }
}

fn write_json(line: &impl Serialize, to: &mut Vec<u8>) {
    serde_json::to_writer(&mut *to, line).expect(NEVER_FAILS);
    to.push(b'\n');
}

/// The status says what the routes' ack asks for: with `stored`, what became of the deliveries
/// since (of a duplicate) is in the body, but is no error.
fn verdict(published: &Published) -> Result<StatusCode, Problem> {
    let receipt = &published.receipt;
    match (published.ack, published.outcome, state_of(receipt)) {
        (Ack::Delivered, Awaited::Pending, _) => Err(pending(receipt)),
        (Ack::Delivered, Awaited::Settled, DeliveryState::DeadLettered) => Err(held(receipt)),
        (Ack::Delivered, Awaited::Settled, DeliveryState::Discarded) => Err(discarded(receipt)),
        (_, _, DeliveryState::Delivered) => Ok(StatusCode::OK),
        _ => Ok(StatusCode::ACCEPTED),
    }
}

fn pending(receipt: &Receipt) -> Problem {
    let detail = "the message is stored and will be delivered; look it up by its id or position, \
                  and don't send it again under another id";
    with_receipt(
        StatusCode::GATEWAY_TIMEOUT,
        Kind::OutcomePending,
        "Stored",
        detail,
        receipt,
    )
}

fn held(receipt: &Receipt) -> Problem {
    let detail = "a destination can't take the message; it is held in the dead letters, so don't \
                  send it again";
    with_receipt(
        StatusCode::UNPROCESSABLE_ENTITY,
        Kind::DeadLettered,
        "Held",
        detail,
        receipt,
    )
}

fn discarded(receipt: &Receipt) -> Problem {
    let detail = "no destination got the message: it was discarded, because its time to live \
                  passed or by an operator";
    with_receipt(
        StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Discarded,
        "Discarded",
        detail,
        receipt,
    )
}

/// The problem, with the receipt's members beside its own.
fn with_receipt(
    status: StatusCode,
    kind: Kind,
    title: &'static str,
    detail: &str,
    receipt: &Receipt,
) -> Problem {
    let body = ReceiptBody::of(receipt);
    let targets = serde_json::to_value(body.targets).expect("text only");
    Problem::new(status, kind, title, detail)
        .with("id", body.id)
        .with("position", body.position)
        .with("duplicate", body.duplicate)
        .with("state", body.state)
        .with("targets", targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Position, TargetState};
    use DeliveryState::{DeadLettered, Delivered, Discarded, Stored};
    use http_body_util::BodyExt;

    fn status(ack: Ack, outcome: Awaited, states: &[DeliveryState]) -> Response {
        let target = |state: &DeliveryState| TargetState {
            route: "r".into(),
            destination: "d".into(),
            state: *state,
        };
        let targets = states.iter().map(target).collect();
        let receipt = Receipt {
            id: Some("i".into()),
            position: Some(Position(3)),
            duplicate: true,
            targets,
        };
        published(&Published {
            receipt,
            ack,
            outcome,
        })
    }

    #[test]
    fn the_status_says_what_the_ack_asks_for() {
        use Awaited::{Pending, Settled};
        for (ack, outcome, states, expected) in [
            (Ack::Received, Settled, &[Stored] as &[_], 202),
            (Ack::Stored, Settled, &[Stored, Delivered], 202),
            (Ack::Stored, Settled, &[Delivered], 200),
            (Ack::Stored, Settled, &[DeadLettered], 202),
            (Ack::Stored, Settled, &[Discarded], 202),
            (Ack::Delivered, Settled, &[Delivered, Delivered], 200),
            (Ack::Delivered, Pending, &[Stored, Delivered], 504),
            (Ack::Delivered, Settled, &[Delivered, DeadLettered], 422),
            (Ack::Delivered, Settled, &[Discarded], 422),
        ] {
            let got = status(ack, outcome, states).status();
            assert_eq!(got, expected, "{ack:?} {outcome:?} {states:?}");
        }
    }

    #[tokio::test]
    async fn a_pending_outcome_names_id_and_position() {
        let response = status(Ack::Delivered, Awaited::Pending, &[Stored]);
        let body = response
            .into_body()
            .collect()
            .await
            .expect("in memory")
            .to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["type"], "urn:causeway:problem:outcome-pending");
        assert_eq!((&body["id"], &body["position"]), (&"i".into(), &3.into()));
        assert_eq!(
            (&body["duplicate"], &body["state"]),
            (&true.into(), &"stored".into())
        );
        assert_eq!(
            body["targets"],
            serde_json::json!([{"route": "r", "destination": "d", "state": "stored"}])
        );
        assert!(
            body["detail"]
                .as_str()
                .is_some_and(|d| d.contains("don't send it again"))
        );
    }
}
