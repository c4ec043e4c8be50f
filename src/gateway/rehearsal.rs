//! What would become of a message, told without taking it: by a file's rules, or by those of the
//! running gateway.

use crate::admin::explanation::{
    Content, DeliveryIdAnswer, Explanation, IdFrom, PlannedTarget, Refused, RouteAnswer, Unrouted,
};
use crate::clock::Wall;
use crate::door::identity::Scope;
use crate::door::{Rules, identity_key};
use crate::ingress::http::Problem;
use crate::journal::fingerprint::Hasher;
use crate::message::{
    Ack, Envelope, Header, JSON, MessageId, Ordinal, Origin, Plan, Refusal, delivery_id, is_json,
};
use crate::routing::{self, DOOR_NAME, Mismatch, NamedTarget, Routed, Skip, Why};
use std::time::Duration;

/// A route whose topic differs is this far away, less so much for each level that is equal.
const TOPIC_DISTANCE: u32 = 1_000;
const LEVEL_DISTANCE: u32 = 10;

/// All that an explanation hangs on, beside the message.
pub struct Rehearsal<'a> {
    pub rules: Rules<'a>,
    /// None: delivery ids can't be told.
    pub hasher: Option<Hasher>,
    pub now: Wall,
}

impl Rehearsal<'_> {
    /// Of an envelope as an ingress would hand it over.
    #[must_use]
    pub fn explain(&self, mut envelope: Envelope) -> Explanation {
        let mut answer = unanswered(&envelope);
        let decided = match self.rules.explain(&envelope, self.now) {
            Ok(decided) => decided,
            Err(refusal) => {
                answer.refused = Some(refused(refusal));
                return answer;
            }
        };
        envelope.id = decided.id;
        let found = decided.routed;
        answer.id = envelope.id.as_str().map(str::to_owned);
        answer.id_from = id_from(&envelope.id);
        answer.routes = routes(&found);
        match found.routed {
            Err(refusal) => {
                if matches!(refusal, Refusal::NoRoute { .. }) {
                    answer.unrouted = Some(Unrouted::Reject);
                }
                answer.refused = Some(refused(refusal));
            }
            Ok(Routed::Drop) => {
                answer.unrouted = Some(Unrouted::Drop);
                answer.ack = Some(Ack::Received.as_str().to_owned());
            }
            Ok(Routed::To(planned)) => {
                let plan = &planned.plan;
                answer.ack = Some(plan.ack.as_str().to_owned());
                answer.ack_timeout_ms =
                    (plan.ack == Ack::Delivered).then(|| millis(plan.ack_timeout));
                if found.targets.iter().all(|target| target.route == DOOR_NAME) {
                    answer.unrouted = Some(Unrouted::DeadLetter);
                }
                let named = found.targets.iter().enumerate();
                answer.targets = named
                    .map(|(at, target)| PlannedTarget {
                        delivery_id: self.delivery_id(&envelope, decided.scope, plan, at, target),
                        ..self.target(&envelope, plan.ack, target)
                    })
                    .collect();
            }
        }
        answer
    }

    /// Everything of it but its id.
    fn target(&self, envelope: &Envelope, ack: Ack, named: &NamedTarget) -> PlannedTarget {
        let target = &named.target;
        let from_now = |time: Wall| time.0.saturating_sub(self.now.0);
        let key = target.key.as_deref().or(envelope.key.as_deref());
        let payload = target.payload.as_deref();
        let payload = payload.or(envelope.payload.as_deref().ok());
        let headers = target.headers.as_ref().unwrap_or(&envelope.headers);
        PlannedTarget {
            route: (named.route != DOOR_NAME).then(|| named.route.clone()),
            destination: named.destination.clone(),
            guarantee: target.guarantee.as_str().to_owned(),
            ack: ack.as_str().to_owned(),
            topic: target.topic.as_ref().unwrap_or(&envelope.topic).clone(),
            key: key.map(Content::of),
            headers: headers.iter().map(header).collect(),
            content_type: content_type(envelope, target.payload.is_some()),
            payload: payload.map(Content::of),
            priority: target.priority.or(envelope.priority),
            delay_ms: target.not_before.map(from_now),
            ttl_ms: target.expires_at.map(from_now),
            delivery_id: DeliveryIdAnswer::New,
            dead_letter: target.dead_letter.clone(),
        }
    }

    fn delivery_id(
        &self,
        envelope: &Envelope,
        scope: Scope,
        plan: &Plan,
        at: usize,
        named: &NamedTarget,
    ) -> DeliveryIdAnswer {
        let Some(id) = envelope.id.as_str() else {
            return DeliveryIdAnswer::New;
        };
        let Some(hasher) = &self.hasher else {
            return DeliveryIdAnswer::Unknown;
        };
        let key = identity_key(hasher, &envelope.principal, &envelope.topic, id, scope);
        let nth = plan.nth_of_its_kind(Ordinal(at as u16));
        let origin = Origin::Identity(key);
        DeliveryIdAnswer::Is(delivery_id(origin, &named.route, &named.destination, nth))
    }
}

/// Nothing is known but what was received.
fn unanswered(envelope: &Envelope) -> Explanation {
    Explanation {
        topic: envelope.topic.clone(),
        id: envelope.id.as_str().map(str::to_owned),
        id_from: id_from(&envelope.id),
        refused: None,
        unrouted: None,
        ack: None,
        ack_timeout_ms: None,
        targets: Vec::new(),
        routes: Vec::new(),
    }
}

const fn id_from(id: &MessageId) -> IdFrom {
    match id {
        MessageId::None => IdFrom::Nobody,
        MessageId::Publisher(_) => IdFrom::Publisher,
        MessageId::Derived(_) => IdFrom::Rule,
    }
}

/// In HTTP's words, which programs parse.
fn refused(refusal: Refusal) -> Refused {
    let problem = Problem::from(refusal);
    Refused {
        kind: problem.kind.as_str().to_owned(),
        status: problem.status.as_u16(),
        detail: problem.detail,
    }
}

/// Those that matched, then the others; each in the order of the file.
fn routes(found: &routing::Explanation) -> Vec<RouteAnswer> {
    let matched = found.matched.iter().map(|route| RouteAnswer {
        route: route.clone(),
        matched: true,
        reason: skips_of(route, &found.skipped),
        distance: 0,
    });
    let others = found.unmatched.iter().map(|(route, why)| RouteAnswer {
        route: route.clone(),
        matched: false,
        reason: Some(why.to_string()),
        distance: distance(why),
    });
    matched.chain(others).collect()
}

/// What of a route that matched isn't sent.
fn skips_of(route: &str, skipped: &[Skip]) -> Option<String> {
    let of_route = skipped.iter().filter(|skip| skip.route == route);
    let words: Vec<String> = of_route
        .map(|skip| match &skip.destination {
            None => format!("skipped: {}", skip.reason),
            Some(to) => format!("{to} is skipped: {}", skip.reason),
        })
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// Small is near.
fn distance(why: &Why) -> u32 {
    match why {
        Why::Refused { .. } | Why::Stopped { .. } => 1,
        Why::WhenFailed(_) => 2,
        Why::WhenFalse => 3,
        Why::Header { .. } | Why::HeadersAny { .. } => 4,
        Why::From { .. } => 5,
        Why::Topic(mismatch) => {
            // Levels before the first that differs are equal.
            let equal = match mismatch {
                Mismatch::Hidden => 0,
                Mismatch::Level { level, .. } => level.saturating_sub(1),
                Mismatch::Length { found, wanted, .. } => *found.min(wanted),
                Mismatch::Middle { .. } => 1,
            };
            let equal = u32::try_from(equal).unwrap_or(u32::MAX);
            TOPIC_DISTANCE.saturating_sub(LEVEL_DISTANCE.saturating_mul(equal))
        }
    }
}

fn header(header: &Header) -> (String, Content) {
    (header.name.clone(), Content::of(&header.value))
}

/// What a target with a payload of its own sends is JSON (`Delivery::content_type`).
fn content_type(envelope: &Envelope, has_own_payload: bool) -> Option<String> {
    let received = envelope.content_type.as_deref();
    let sent = match has_own_payload {
        false => received,
        true => received.filter(|of| is_json(of)).or(Some(JSON)),
    };
    sent.map(str::to_owned)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
