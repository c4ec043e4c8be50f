//! What would become of a message, told without taking it: by a file's rules, or by those of the
//! running gateway.

use crate::admin::explanation::{
    Content, DeliveryIdAnswer, Explanation, IdFrom, PlannedTarget, Refused, RouteAnswer, Unrouted,
};
use crate::clock::Wall;
use crate::config::cases::guarantee_name;
use crate::door::identity::Scope;
use crate::door::{Rules, identity_key};
use crate::ingress::http::Problem;
use crate::journal::{self, fingerprint::Hasher};
use crate::message::{
    Ack, Envelope, Header, LaneId, MessageId, Ordinal, Origin, Plan, Refusal, RouteId, delivery_id,
    is_json,
};
use crate::routing::{Catalog, Planned, Routed};
use std::collections::HashMap;
use std::time::Duration;

/// The journal's own name for what the door dead-letters.
const DOOR: &str = "$door";
const JSON: &str = "application/json";

/// The names behind the numbers in plans.
#[derive(Clone, Debug)]
pub struct Names {
    pub routes: HashMap<RouteId, String>,
    pub lanes: HashMap<LaneId, String>,
    /// What the plan of an unrouted envelope names.
    pub unrouted_route: RouteId,
}

impl Names {
    #[must_use]
    pub fn of(catalog: &Catalog) -> Self {
        let mut names = Self {
            routes: inverted(&catalog.routes),
            lanes: inverted(&catalog.lanes),
            unrouted_route: catalog.unrouted_route,
        };
        names.routes.insert(catalog.unrouted_route, DOOR.to_owned());
        names.lanes.insert(catalog.door_lane, DOOR.to_owned());
        names
    }
}

impl Names {
    /// Those that the running journal has given, of routes that are gone as well.
    #[must_use]
    pub fn of_journal(shared: &journal::Shared) -> Self {
        let routes = shared.read_catalog(|catalog| {
            let routes = catalog.routes().iter();
            routes.map(|r| (r.id, r.name.to_string())).collect()
        });
        let lanes = shared.lanes();
        Self {
            routes,
            lanes: lanes.iter().map(|l| (l.id, l.name.to_string())).collect(),
            unrouted_route: journal::DOOR_ROUTE,
        }
    }
}

fn inverted<K: Copy + Eq + std::hash::Hash>(numbers: &HashMap<String, K>) -> HashMap<K, String> {
    let pairs = numbers.iter();
    pairs
        .map(|(name, number)| (*number, name.clone()))
        .collect()
}

/// All that an explanation hangs on, beside the message.
pub struct Rehearsal<'a> {
    pub rules: Rules<'a>,
    pub names: &'a Names,
    /// None: delivery ids can't be told.
    pub hasher: Option<Hasher>,
    pub now: Wall,
}

/// What routing says of one envelope.
struct Looked {
    routed: Result<Routed, Refusal>,
    /// All routes that were looked at.
    routes: Vec<RouteAnswer>,
}

impl Rehearsal<'_> {
    /// Of an envelope as an ingress would hand it over.
    #[must_use]
    pub fn explain(&self, mut envelope: Envelope) -> Explanation {
        let mut answer = empty(&envelope);
        let scope = match self.rules.admit(&mut envelope) {
            Ok(scope) => scope,
            Err(refusal) => {
                answer.refused = Some(refused(refusal));
                return answer;
            }
        };
        answer.id = envelope.id.as_str().map(str::to_owned);
        answer.id_from = match &envelope.id {
            MessageId::None => IdFrom::Nobody,
            MessageId::Publisher(_) => IdFrom::Publisher,
            MessageId::Derived(_) => IdFrom::Rule,
        };
        let looked = self.look(&envelope);
        answer.routes = looked.routes;
        match looked.routed {
            Err(refusal) => {
                if matches!(refusal, Refusal::NoRoute { .. }) {
                    answer.unrouted = Some(Unrouted::Reject);
                }
                answer.refused = Some(refused(refusal));
            }
            Ok(Routed::Drop) => {
                answer.unrouted = Some(Unrouted::Drop);
                answer.ack = Some(ack(Ack::Received).to_owned());
            }
            Ok(Routed::To(planned)) => self.tell_plan(&mut answer, &envelope, scope, &planned),
        }
        answer
    }

    fn look(&self, envelope: &Envelope) -> Looked {
        Looked {
            routed: self.rules.router.plan(envelope, self.now),
            routes: Vec::new(),
        }
    }

    fn tell_plan(
        &self,
        answer: &mut Explanation,
        envelope: &Envelope,
        scope: Scope,
        planned: &Planned,
    ) {
        let plan = &planned.plan;
        answer.ack = Some(ack(plan.ack).to_owned());
        answer.ack_timeout_ms = (plan.ack == Ack::Delivered).then(|| millis(plan.ack_timeout));
        let is_unrouted = |t: &crate::message::Target| t.route == self.names.unrouted_route;
        if plan.targets.iter().all(is_unrouted) {
            answer.unrouted = Some(Unrouted::DeadLetter);
        }
        let ordinals = 0..plan.targets.len();
        answer.targets = ordinals
            .map(|at| self.target(envelope, scope, plan, Ordinal(at as u16)))
            .collect();
    }

    fn target(
        &self,
        envelope: &Envelope,
        scope: Scope,
        plan: &Plan,
        ordinal: Ordinal,
    ) -> PlannedTarget {
        let target = &plan.targets[usize::from(ordinal.0)];
        let route = name_of(&self.names.routes, target.route);
        let destination = name_of(&self.names.lanes, target.lane);
        let from_now = |time: Wall| time.0.saturating_sub(self.now.0);
        let key = target.key.as_deref().or(envelope.key.as_deref());
        let payload = target
            .payload
            .as_deref()
            .or(envelope.payload.as_deref().ok());
        let headers = target.headers.as_ref().unwrap_or(&envelope.headers);
        PlannedTarget {
            delivery_id: self.delivery_id(envelope, scope, plan, ordinal, (&route, &destination)),
            route: (target.route != self.names.unrouted_route).then_some(route),
            destination,
            guarantee: guarantee_name(target.guarantee).to_owned(),
            topic: target.topic.as_ref().unwrap_or(&envelope.topic).clone(),
            key: key.map(Content::of),
            headers: headers.iter().map(header).collect(),
            content_type: content_type(envelope, target.payload.is_some()),
            payload: payload.map(Content::of),
            priority: target.priority.or(envelope.priority),
            delay_ms: target.not_before.map(from_now),
            ttl_ms: target.expires_at.map(from_now),
            dead_letter: target.dead_letter.clone(),
        }
    }

    fn delivery_id(
        &self,
        envelope: &Envelope,
        scope: Scope,
        plan: &Plan,
        ordinal: Ordinal,
        (route, destination): (&str, &str),
    ) -> DeliveryIdAnswer {
        let Some(id) = envelope.id.as_str() else {
            return DeliveryIdAnswer::New;
        };
        let Some(hasher) = &self.hasher else {
            return DeliveryIdAnswer::Unknown;
        };
        let key = identity_key(hasher, &envelope.principal, &envelope.topic, id, scope);
        let nth = plan.nth_of_its_kind(ordinal);
        DeliveryIdAnswer::Is(delivery_id(Origin::Identity(key), route, destination, nth))
    }
}

fn empty(envelope: &Envelope) -> Explanation {
    Explanation {
        topic: envelope.topic.clone(),
        id: envelope.id.as_str().map(str::to_owned),
        id_from: match envelope.id {
            MessageId::None => IdFrom::Nobody,
            _ => IdFrom::Publisher,
        },
        refused: None,
        unrouted: None,
        ack: None,
        ack_timeout_ms: None,
        targets: Vec::new(),
        routes: Vec::new(),
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

/// A name that isn't there any more leaves its number.
fn name_of<K: std::fmt::Debug + std::hash::Hash + Eq>(names: &HashMap<K, String>, id: K) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("{id:?}"))
}

fn header(header: &Header) -> (String, Content) {
    (header.name.clone(), Content::of(&header.value))
}

const fn ack(ack: Ack) -> &'static str {
    match ack {
        Ack::Received => "received",
        Ack::Stored => "stored",
        Ack::Delivered => "delivered",
    }
}

/// What a target with a payload of its own sends is JSON.
fn content_type(envelope: &Envelope, is_transformed: bool) -> Option<String> {
    let of_envelope = envelope.content_type.as_deref();
    match is_transformed && !of_envelope.is_some_and(is_json) {
        true => Some(JSON.to_owned()),
        false => of_envelope.map(str::to_owned),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
