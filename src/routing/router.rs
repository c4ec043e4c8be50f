//! Envelope → plan: the index finds the routes, they apply in the order of the file until one stops
//! the search, and every target is rendered.

use super::compile::{Label, Programs, Route, compile, strict};
use super::draft::Draft;
use super::explain::Why;
use super::index::{Index, Scratch, first_unmet};
use super::render::{Failure, Place};
use super::{CompileError, OnError, OnFull, RouteSpec, Unrouted, words};
use crate::clock::Wall;
use crate::expression::{Scope, Transformed};
use crate::message::{Ack, Envelope, Guarantee, LaneId, MessageId, Plan, Refusal, RouteId, Target};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

/// What an envelope may become with its plan, at least; see `PlanLimits::record_bytes`.
const MIN_RECORD_BYTES: usize = 2 << 20;

/// The journal's numbers for the names in the settings.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub routes: HashMap<String, RouteId>,
    pub lanes: HashMap<String, LaneId>,
    /// Of the destinations that at_most_once targets lead to: the lanes of these.
    pub memory_lanes: HashMap<String, LaneId>,
    /// What the plan of an unrouted envelope names as its route.
    pub unrouted_route: RouteId,
    /// The internal lane behind the door's own dead letters.
    pub door_lane: LaneId,
    /// By the lane whose destination can't route a delivery.
    pub alternates: HashMap<LaneId, Alternate>,
}

/// Where deliveries go on that their destination can't route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternate {
    pub lane: LaneId,
    /// Its own; none: what was rendered for the first one stays.
    pub topic: Option<String>,
}

impl Catalog {
    /// Numbers for plans that no journal will hold: to explain and to test.
    #[must_use]
    pub fn made_up(routes: &[RouteSpec]) -> Self {
        let (mut lanes, mut memory_lanes) = (HashMap::new(), HashMap::new());
        for target in routes.iter().flat_map(|route| &route.targets) {
            let next = LaneId((lanes.len() + memory_lanes.len()) as u32 + 1);
            let of_its_kind = match target.guarantee {
                Guarantee::AtMostOnce => &mut memory_lanes,
                Guarantee::AtLeastOnce | Guarantee::ExactlyOnce => &mut lanes,
            };
            of_its_kind
                .entry(target.destination.clone())
                .or_insert(next);
        }
        let names = routes.iter().map(|route| route.name.clone());
        Self {
            routes: names.zip((1..).map(RouteId)).collect(),
            lanes,
            memory_lanes,
            unrouted_route: RouteId(0),
            door_lane: LaneId(0),
            alternates: HashMap::new(),
        }
    }
}

/// How much routes may make of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    /// Of a payload that `transform` makes.
    pub payload_bytes: usize,
    /// How many headers a target may have, and their names and values together.
    pub headers: usize,
    pub header_bytes: usize,
}

impl PlanLimits {
    /// An envelope with all that routes render of it: it must fit into the journal's segments.
    #[must_use]
    pub const fn record_bytes(&self) -> usize {
        let twice = self.payload_bytes.saturating_mul(2);
        if twice > MIN_RECORD_BYTES {
            twice
        } else {
            MIN_RECORD_BYTES
        }
    }
}

/// An envelope on its way through the routes.
#[derive(Clone, Copy)]
pub struct Arrival<'a, 's> {
    pub envelope: &'a Envelope,
    /// Fixed before routing; the envelope's own is still the publisher's word.
    pub id: &'a MessageId,
    /// Of this envelope: its payload and its budget are shared with whatever was evaluated before.
    pub scope: &'a Scope<'s>,
    pub now: Wall,
}

/// What becomes of an envelope.
#[derive(Clone, Debug, PartialEq)]
pub enum Routed {
    To(Planned),
    /// Unrouted, and `[unrouted] action = "drop"`: taken and forgotten, without a record.
    Drop,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub plan: Plan,
    /// For each target of the plan, in its order: what to do when its lane is full.
    pub on_full: Vec<OnFull>,
}

/// What `on_error = "skip"` passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    pub route: String,
    /// `None`: the whole route.
    pub destination: Option<String>,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct Router {
    pub(super) routes: Vec<Route>,
    /// By the same numbers as the routes.
    pub(super) labels: Vec<Label>,
    index: Index,
    unrouted: Unrouted,
    unrouted_route: RouteId,
    door_lane: LaneId,
    alternates: HashMap<LaneId, Alternate>,
    limits: PlanLimits,
}

/// Hears how a plan came about. Routes go by their numbers.
pub(super) trait Witness {
    /// The search came to a route whose topic, source and headers fit.
    fn begun(&mut self, _route: u32) {}
    /// Its targets come next; what becomes of them may still refuse the envelope.
    fn matched(&mut self, _route: u32) {}
    fn unmatched(&mut self, _route: u32, _why: Why) {}
    fn skipped(&mut self, skip: Skip);
}

struct Skips<'a>(&'a mut Vec<Skip>);

impl Witness for Skips<'_> {
    fn skipped(&mut self, skip: Skip) {
        self.0.push(skip);
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Router {
    pub fn new(
        specs: &[RouteSpec],
        unrouted: Unrouted,
        catalog: &Catalog,
        limits: PlanLimits,
    ) -> Result<Self, CompileError> {
        let strict = strict(specs);
        let labels: Vec<Label> = specs.iter().map(Label::of).collect();
        let routes = specs
            .iter()
            .zip(&labels)
            .map(|(spec, label)| compile(spec, label, &strict, catalog))
            .collect::<Result<_, _>>()?;
        let index = Index::new(labels.iter().map(|label| (&label.pattern, &label.asked)));
        Ok(Self {
            routes,
            labels,
            index,
            unrouted,
            unrouted_route: catalog.unrouted_route,
            door_lane: catalog.door_lane,
            alternates: catalog.alternates.clone(),
            limits,
        })
    }

    /// Whether any route has a target there, or a lane its alternate.
    #[must_use]
    pub fn leads_to(&self, lane: LaneId) -> bool {
        let mut targets = self.routes.iter().flat_map(Route::targets);
        let mut alternates = self.alternates.values();
        targets.any(|target| target.lane == lane)
            || alternates.any(|alternate| alternate.lane == lane)
    }

    #[must_use]
    pub fn alternates(&self) -> &HashMap<LaneId, Alternate> {
        &self.alternates
    }

    /// The plan of an envelope: all matching routes in order, their targets in order. What
    /// `on_error = "skip"` passed over is added to `skips`, also if nothing comes of the rest.
    pub fn plan(
        &self,
        arrival: &Arrival<'_, '_>,
        skips: &mut Vec<Skip>,
    ) -> Result<Routed, Refusal> {
        self.decide(arrival, &mut Skips(skips))
    }

    pub(super) fn decide(
        &self,
        arrival: &Arrival<'_, '_>,
        witness: &mut impl Witness,
    ) -> Result<Routed, Refusal> {
        let draft = SCRATCH.with_borrow_mut(|scratch| {
            self.index.find(arrival.envelope, scratch);
            self.apply_all(&scratch.found, arrival, witness)
        })?;
        match draft.ack {
            Some((ack, ack_timeout)) => Ok(Routed::To(Planned {
                plan: Plan {
                    ack,
                    ack_timeout,
                    targets: draft.targets,
                },
                on_full: draft.on_full,
            })),
            None => self.unrouted(arrival.envelope),
        }
    }

    fn apply_all(
        &self,
        found: &[u32],
        arrival: &Arrival<'_, '_>,
        witness: &mut impl Witness,
    ) -> Result<Draft, Refusal> {
        let mut draft = Draft::new(self.limits);
        for number in found {
            let route = &self.routes[*number as usize];
            if route.is_checked {
                let asked = &self.labels[*number as usize].asked;
                if first_unmet(asked, arrival.envelope).is_some() {
                    continue;
                }
            }
            witness.begun(*number);
            let matched = self.apply(*number, arrival, &mut draft, witness)?;
            if matched && route.stop {
                break;
            }
        }
        Ok(draft)
    }

    /// Whether the route matches; then its targets are in the draft.
    fn apply(
        &self,
        number: u32,
        arrival: &Arrival<'_, '_>,
        draft: &mut Draft,
        witness: &mut impl Witness,
    ) -> Result<bool, Refusal> {
        let applying = Applying {
            number,
            route: &self.routes[number as usize],
            label: &self.labels[number as usize],
            arrival,
            limits: &self.limits,
        };
        let Some(programs) = applying.route.programs.as_deref() else {
            witness.matched(number);
            applying.add_targets(OnError::Reject, arrival.scope, None, draft, witness)?;
            return Ok(true);
        };
        if !programs.binds {
            return applying.evaluate(programs, arrival.scope, draft, witness);
        }
        let bound = applying.label.pattern.bind(&arrival.envelope.topic);
        let bound = bound.expect("the index found the route by its pattern");
        let scope = arrival.scope.with_levels(&bound);
        applying.evaluate(programs, &scope, draft, witness)
    }

    fn unrouted(&self, envelope: &Envelope) -> Result<Routed, Refusal> {
        match self.unrouted {
            Unrouted::Reject => Err(Refusal::NoRoute {
                topic: envelope.topic.clone(),
            }),
            Unrouted::Drop => Ok(Routed::Drop),
            Unrouted::DeadLetter => {
                let mut target =
                    Target::to(self.unrouted_route, self.door_lane, Guarantee::AtLeastOnce);
                target.expires_at = envelope.expires_at;
                target.dead_letter = Some("no route matches the message".to_owned());
                let plan = Plan {
                    ack: Ack::Stored,
                    ack_timeout: Duration::ZERO,
                    targets: vec![target],
                };
                Ok(Routed::To(Planned {
                    plan,
                    on_full: vec![OnFull::Refuse],
                }))
            }
        }
    }
}

/// One route on its way into the draft of a plan.
struct Applying<'a, 's> {
    number: u32,
    route: &'a Route,
    label: &'a Label,
    arrival: &'a Arrival<'a, 's>,
    limits: &'a PlanLimits,
}

impl Applying<'_, '_> {
    fn evaluate(
        &self,
        programs: &Programs,
        scope: &Scope<'_>,
        draft: &mut Draft,
        witness: &mut impl Witness,
    ) -> Result<bool, Refusal> {
        if let Some(when) = &programs.when {
            match when.is_true(scope) {
                Ok(true) => {}
                Ok(false) => {
                    witness.unmatched(self.number, Why::WhenFalse);
                    return Ok(false);
                }
                Err(error) => {
                    let reason = words::reason(format!("`when`: {error}"));
                    return self.when_failed(programs, reason, draft, witness);
                }
            }
        }
        witness.matched(self.number);
        let Some(transform) = &programs.transform else {
            self.add_targets(programs.on_error, scope, None, draft, witness)?;
            return Ok(true);
        };
        let transformed = transform.transform(scope);
        let transformed = transformed.map_err(|error| error.to_string());
        match transformed.and_then(|made| self.fitting(made)) {
            Ok(made) => {
                let scope = scope.with_payload(&made);
                let payload = Some(&made.json);
                self.add_targets(programs.on_error, &scope, payload, draft, witness)?;
            }
            Err(error) => {
                let reason = words::reason(format!("`transform`: {error}"));
                match programs.on_error {
                    OnError::Reject => return Err(self.refused(reason)),
                    OnError::Skip => witness.skipped(self.skip(None, reason)),
                    OnError::DeadLetter => self.bury_all(&reason, draft)?,
                }
            }
        }
        Ok(true)
    }

    /// Under `dead_letter` it counts as true: then the targets hold it.
    fn when_failed(
        &self,
        programs: &Programs,
        reason: String,
        draft: &mut Draft,
        witness: &mut impl Witness,
    ) -> Result<bool, Refusal> {
        if programs.on_error == OnError::DeadLetter {
            witness.matched(self.number);
            self.bury_all(&reason, draft)?;
            return Ok(true);
        }
        witness.unmatched(self.number, Why::WhenFailed(reason.clone()));
        if programs.on_error == OnError::Reject {
            return Err(self.refused(reason));
        }
        witness.skipped(self.skip(None, reason));
        Ok(false)
    }

    fn fitting(&self, made: Transformed) -> Result<Transformed, String> {
        let (bytes, limit) = (made.json.len(), self.limits.payload_bytes);
        if bytes > limit {
            return Err(format!(
                "it makes {bytes} bytes, more than the limit of {limit} (limits.payload)"
            ));
        }
        Ok(made)
    }

    fn add_targets(
        &self,
        on_error: OnError,
        scope: &Scope<'_>,
        payload: Option<&Bytes>,
        draft: &mut Draft,
        witness: &mut impl Witness,
    ) -> Result<(), Refusal> {
        for (nth, of_route) in self.route.targets().enumerate() {
            let place = self.place(nth);
            let rendered = of_route.render(place, self.arrival, scope, payload, self.limits);
            let target = match rendered {
                Ok(target) => target,
                Err(Failure::Refused(refusal)) => return Err(refusal),
                Err(Failure::Unfit(unfit)) => {
                    let reason = unfit.of_target(place.destination());
                    match on_error {
                        OnError::Reject => return Err(self.refused(reason)),
                        OnError::Skip => {
                            witness.skipped(self.skip(Some(place.destination()), reason));
                            continue;
                        }
                        OnError::DeadLetter => of_route.bury(place, self.arrival, reason)?,
                    }
                }
            };
            draft.add(self.route, target, of_route.on_full, self.arrival.envelope)?;
        }
        Ok(())
    }

    fn bury_all(&self, reason: &str, draft: &mut Draft) -> Result<(), Refusal> {
        for (nth, of_route) in self.route.targets().enumerate() {
            let target = of_route.bury(self.place(nth), self.arrival, reason.to_owned())?;
            draft.add(self.route, target, of_route.on_full, self.arrival.envelope)?;
        }
        Ok(())
    }

    fn place(&self, nth: usize) -> Place<'_> {
        Place {
            route: self.route.id,
            label: self.label,
            nth,
        }
    }

    fn refused(&self, reason: String) -> Refusal {
        Refusal::RouteRefused {
            route: self.label.name.clone(),
            reason,
        }
    }

    fn skip(&self, destination: Option<&str>, reason: String) -> Skip {
        Skip {
            route: self.label.name.clone(),
            destination: destination.map(str::to_owned),
            reason,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
