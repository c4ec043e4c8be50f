//! Envelope → plan. A simple matcher: every pattern is tried, in the order of the file.

use super::{OnFull, Pattern, RouteSpec, Span, Unrouted};
use crate::clock::Wall;
use crate::message::{Ack, Envelope, Guarantee, LaneId, MessageId, Plan, Refusal, RouteId, Target};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// More targets than this no envelope can have: it keeps a plan's record small.
pub const MAX_PLAN_TARGETS: usize = 1024;

/// The journal's numbers for the names in the settings.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub routes: HashMap<String, RouteId>,
    pub lanes: HashMap<String, LaneId>,
    /// What the plan of an unrouted envelope names as its route.
    pub unrouted_route: RouteId,
    /// The internal lane behind the door's own dead letters.
    pub door_lane: LaneId,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("the catalog has no number for the route {0:?}")]
    UnknownRoute(String),
    #[error("the catalog has no number for the destination {destination:?} of the route {route:?}")]
    UnknownDestination { route: String, destination: String },
    #[error("the route {0:?} has no targets")]
    NoTargets(String),
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

#[derive(Clone, Debug)]
pub struct Router {
    routes: Vec<Route>,
    unrouted: Unrouted,
    unrouted_route: RouteId,
    door_lane: LaneId,
}

#[derive(Clone, Debug)]
struct Route {
    id: RouteId,
    pattern: Pattern,
    ack: Ack,
    ack_timeout: Duration,
    targets: Vec<RouteTarget>,
}

#[derive(Clone, Debug)]
struct RouteTarget {
    lane: LaneId,
    destination: String,
    guarantee: Guarantee,
    topic: Option<String>,
    delay: Option<Duration>,
    on_full: OnFull,
    /// Some target makes this lane strict: it delivers in journal order and can't delay.
    strict: bool,
}

impl Router {
    pub fn new(
        specs: &[RouteSpec],
        unrouted: Unrouted,
        catalog: &Catalog,
    ) -> Result<Self, CompileError> {
        let strict: HashSet<&str> = specs
            .iter()
            .flat_map(|route| &route.targets)
            .filter(|target| target.guarantee == Guarantee::ExactlyOnce)
            .map(|target| target.destination.as_str())
            .collect();
        let routes = specs
            .iter()
            .map(|spec| compile(spec, &strict, catalog))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            routes,
            unrouted,
            unrouted_route: catalog.unrouted_route,
            door_lane: catalog.door_lane,
        })
    }

    /// The plan of an envelope whose identity is fixed: all matching routes in order, their
    /// targets in order.
    pub fn plan(&self, envelope: &Envelope, now: Wall) -> Result<Routed, Refusal> {
        let levels: Vec<&str> = envelope.topic.split('/').collect();
        let mut ack: Option<(Ack, Duration)> = None;
        let mut targets = Vec::new();
        let mut on_full = Vec::new();
        for route in self
            .routes
            .iter()
            .filter(|r| r.pattern.matches_levels(&levels))
        {
            // The strongest ack; of the routes that ask for it the longest wait.
            ack = ack.max(Some((route.ack, route.ack_timeout)));
            for target in &route.targets {
                targets.push(target.render(route.id, envelope, now)?);
                on_full.push(target.on_full);
            }
        }
        let Some((ack, ack_timeout)) = ack else {
            return self.unrouted(envelope);
        };
        if targets.len() > MAX_PLAN_TARGETS {
            return Err(Refusal::TooMany {
                what: "targets of the routes for this topic",
                actual: targets.len(),
                limit: MAX_PLAN_TARGETS,
                setting: "fixed",
            });
        }
        Ok(Routed::To(Planned {
            plan: Plan {
                ack,
                ack_timeout,
                targets,
            },
            on_full,
        }))
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
                target.dead_letter = Some("no route matches the topic".to_owned());
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

fn compile(
    spec: &RouteSpec,
    strict: &HashSet<&str>,
    catalog: &Catalog,
) -> Result<Route, CompileError> {
    if spec.targets.is_empty() {
        return Err(CompileError::NoTargets(spec.name.clone()));
    }
    let id = catalog.routes.get(&spec.name);
    let id = *id.ok_or_else(|| CompileError::UnknownRoute(spec.name.clone()))?;
    let mut targets = Vec::with_capacity(spec.targets.len());
    for target in &spec.targets {
        let destination = &target.destination;
        let Some(lane) = catalog.lanes.get(destination) else {
            return Err(CompileError::UnknownDestination {
                route: spec.name.clone(),
                destination: destination.clone(),
            });
        };
        targets.push(RouteTarget {
            lane: *lane,
            destination: destination.clone(),
            guarantee: target.guarantee,
            topic: target
                .topic
                .as_ref()
                .and_then(|t| t.as_plain().map(str::to_owned)),
            delay: match &target.delay {
                Some(Span::Fixed(delay)) => Some(*delay),
                _ => None,
            },
            on_full: target.on_full,
            strict: strict.contains(destination.as_str()),
        });
    }
    Ok(Route {
        id,
        pattern: spec.pattern.clone(),
        ack: spec.ack,
        ack_timeout: spec.ack_timeout,
        targets,
    })
}

impl RouteTarget {
    fn render(&self, route: RouteId, envelope: &Envelope, now: Wall) -> Result<Target, Refusal> {
        let delayed = self.delay.map(|delay| now.plus(delay));
        // A time that has come is no delay: such a delivery stays in the order of its key.
        let not_before = envelope.deliver_at.max(delayed).filter(|time| *time > now);
        if self.strict && not_before.is_some() {
            return Err(Refusal::Malformed(format!(
                "it can't be delayed: the destination {:?} delivers in the order of acceptance, \
                 because a route sends to it exactly_once",
                self.destination
            )));
        }
        if self.guarantee == Guarantee::ExactlyOnce && envelope.id == MessageId::None {
            return Err(Refusal::IdNeeded(format!(
                "a route sends it exactly_once to the destination {:?}",
                self.destination
            )));
        }
        let mut target = Target::to(route, self.lane, self.guarantee);
        target.topic.clone_from(&self.topic);
        target.not_before = not_before;
        target.expires_at = envelope.expires_at;
        Ok(target)
    }
}

#[cfg(test)]
mod tests;
