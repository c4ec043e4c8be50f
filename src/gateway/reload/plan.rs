//! What a reload will do, or why it is refused: decided before anything is touched. Pure.
//!
//! Promise 9: a destination goes in two steps. Of a lane that no route of the running generation
//! leads to, and that is no other's alternate, nothing is on its way any more (`door::Generations`, and a reload ends only when the
//! journal has decided all that was handed over before it). So what such a lane owes can only shrink,
//! and zero, seen here, stays zero.

use super::diff::changes;
use super::force::in_force;
use crate::config::Settings;
use crate::config::settings::{Destination, DestinationKind};
use crate::routing::OnReject;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Changes of mode that a lane and the journal keep in mind, because the lane owes what was accepted
/// before the first of them.
const MAX_TURNS: usize = 64;

/// What is there before the reload.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    pub started: &'a Settings,
    pub in_force: &'a Settings,
    pub lanes: &'a BTreeMap<String, Lane>,
}

/// A lane as far as the plan asks; the door's own and held ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    pub pending: u64,
    pub owed_bytes: u64,
    /// Its destination was gone at the start.
    pub is_orphan: bool,
    pub is_dropping: bool,
    /// Closed before, and still in somebody's hands.
    pub is_leaving: bool,
    /// Changes of its mode that wait for what it owes.
    pub turns: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// What is in force afterwards.
    pub settings: Arc<Settings>,
    /// Destinations without a lane.
    pub open: Vec<String>,
    /// Destinations whose lanes were held since the start, and now go on.
    pub take_up: Vec<String>,
    /// Running ones that are told something new.
    pub tune: Vec<String>,
    /// Running ones that become strict, or no longer are.
    pub turn: Vec<(String, bool)>,
    pub close: Vec<String>,
    pub changed: Vec<String>,
    pub restart_needed: Vec<String>,
}

/// Why a file isn't taken now, though it is sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{destination:?} can't go yet: the running routes {} lead to it", routes.join(", "))]
    StillRouted {
        destination: String,
        routes: Vec<String>,
    },
    #[error("{destination:?} can't go yet: what {of:?} can't route goes there")]
    StillAlternate { destination: String, of: String },
    #[error("{destination:?} can't go yet: it is owed {pending} deliveries ({owed_bytes} bytes)")]
    StillOwed {
        destination: String,
        pending: u64,
        owed_bytes: u64,
    },
    #[error("{destination:?} is {from} and would become {to}: what it is owed would go elsewhere")]
    Repointed {
        destination: String,
        from: String,
        to: String,
    },
    #[error(
        "the lane of {destination:?} has {MAX_TURNS} changes between journal order and order per key \
         before it: it owes what was accepted before the first of them"
    )]
    Turning { destination: String },
    #[error("the lane of {destination:?} is dropping what it owes")]
    Dropping { destination: String },
    #[error("the lane of {destination:?} was closed a moment ago, and somebody still reads it")]
    Leaving { destination: String },
}

impl Refusal {
    /// What to do instead.
    pub fn help(&self) -> String {
        match self {
            Self::StillRouted { destination, .. } => format!(
                "go in two steps: first a file in which no route leads to {destination:?}, then one \
                 without it"
            ),
            Self::StillAlternate { of, .. } => format!(
                "go in two steps: first a file in which {of:?} has no `unroutable`, then one without it"
            ),
            Self::StillOwed { destination, .. } => format!(
                "wait until `causeway status` shows that nothing is pending for it, or give that up \
                 with `causeway lane drop {destination}`; then reload again"
            ),
            Self::Repointed { destination, .. } => format!(
                "give the new one a name of its own, or take {destination:?} out first: a file in which \
                 no route leads to it, then one without it"
            ),
            Self::Turning { destination } => format!(
                "reload again when `causeway status` shows that less is pending for {destination:?}"
            ),
            Self::Dropping { .. } => {
                "reload again when `causeway status` shows that it is done".to_owned()
            }
            Self::Leaving { .. } => "reload again in a moment".to_owned(),
        }
    }
}

pub fn plan(running: Running<'_>, wanted: Settings) -> Result<Steps, Vec<Refusal>> {
    let (settings, restart_needed) = in_force(running.started, wanted);
    let mut steps = Steps {
        changed: changes(running.in_force, &settings),
        restart_needed,
        open: Vec::new(),
        take_up: Vec::new(),
        tune: Vec::new(),
        turn: Vec::new(),
        close: Vec::new(),
        settings: Arc::new(settings),
    };
    let mut refusals = Vec::new();
    let settings = Arc::clone(&steps.settings);
    for destination in &settings.destinations {
        let name = &destination.name;
        let result = match find(running.in_force, name) {
            Some(before) => keep(running, before, destination, &mut steps),
            None => open(running.lanes.get(name), name, &mut steps),
        };
        refusals.extend(result.err());
    }
    for gone in &running.in_force.destinations {
        if find(&settings, &gone.name).is_none() {
            refusals.extend(close(running, &gone.name, &mut steps).err());
        }
    }
    let idle = |(name, lane): (&String, &Lane)| {
        let is_done = lane.is_orphan && lane.pending == 0;
        (is_done && !steps.take_up.contains(name)).then(|| name.clone())
    };
    let done: Vec<String> = running.lanes.iter().filter_map(idle).collect();
    steps.close.extend(done);
    match refusals.is_empty() {
        true => Ok(steps),
        false => Err(refusals),
    }
}

fn find<'a>(settings: &'a Settings, name: &str) -> Option<&'a Destination> {
    settings.destinations.iter().find(|d| d.name == name)
}

fn keep(
    running: Running<'_>,
    before: &Destination,
    after: &Destination,
    steps: &mut Steps,
) -> Result<(), Refusal> {
    let name = &after.name;
    if !is_same_place(&before.kind, &after.kind) {
        return Err(Refusal::Repointed {
            destination: name.clone(),
            from: place(&before.kind),
            to: place(&after.kind),
        });
    }
    if before != after || words(running.in_force, name) != words(&steps.settings, name) {
        steps.tune.push(name.clone());
    }
    if before.lane.strict != after.lane.strict {
        let turns = running.lanes.get(name).map_or(0, |lane| lane.turns);
        if turns >= MAX_TURNS {
            return Err(Refusal::Turning {
                destination: name.clone(),
            });
        }
        steps.turn.push((name.clone(), after.lane.strict));
    }
    Ok(())
}

fn open(lane: Option<&Lane>, name: &str, steps: &mut Steps) -> Result<(), Refusal> {
    let destination = || name.to_owned();
    match lane {
        None => steps.open.push(destination()),
        Some(lane) if lane.is_leaving => {
            return Err(Refusal::Leaving {
                destination: destination(),
            });
        }
        Some(lane) if lane.is_dropping => {
            return Err(Refusal::Dropping {
                destination: destination(),
            });
        }
        Some(_) => steps.take_up.push(destination()),
    }
    Ok(())
}

fn close(running: Running<'_>, name: &str, steps: &mut Steps) -> Result<(), Refusal> {
    let leads = |route: &&crate::routing::RouteSpec| {
        route
            .targets
            .iter()
            .any(|target| target.destination == name)
    };
    let routes: Vec<String> = (running.in_force.routes.iter())
        .filter(leads)
        .map(|route| route.name.clone())
        .collect();
    if !routes.is_empty() {
        return Err(Refusal::StillRouted {
            destination: name.to_owned(),
            routes,
        });
    }
    let mut others = running.in_force.destinations.iter();
    if let Some(of) = others.find(|other| other.alternate() == Some(name)) {
        return Err(Refusal::StillAlternate {
            destination: name.to_owned(),
            of: of.name.clone(),
        });
    }
    let lane = running.lanes.get(name).copied().unwrap_or_default();
    if lane.pending > 0 {
        return Err(Refusal::StillOwed {
            destination: name.to_owned(),
            pending: lane.pending,
            owed_bytes: lane.owed_bytes,
        });
    }
    steps.close.push(name.to_owned());
    Ok(())
}

/// Whether what is owed to one may go to the other.
fn is_same_place(before: &DestinationKind, after: &DestinationKind) -> bool {
    match (before, after) {
        (DestinationKind::Stream { .. }, DestinationKind::Stream { .. })
        // Brokers and URLs are addresses: which cluster or service they lead to only their owner knows.
        | (DestinationKind::Kafka(_), DestinationKind::Kafka(_))
        | (DestinationKind::Webhook(_), DestinationKind::Webhook(_))
        | (DestinationKind::Grpc(_), DestinationKind::Grpc(_)) => true,
        (DestinationKind::Rabbitmq(before), DestinationKind::Rabbitmq(after)) => {
            before.virtual_host() == after.virtual_host()
                && before.exchange_name() == after.exchange_name()
        }
        #[cfg(feature = "faults")]
        (
            DestinationKind::Faulty { record: before, .. },
            DestinationKind::Faulty { record: after, .. },
        ) => before == after,
        _ => false,
    }
}

/// A destination's place, in words.
fn place(kind: &DestinationKind) -> String {
    match kind {
        DestinationKind::Stream { .. } => "a stream".to_owned(),
        DestinationKind::Kafka(_) => "a Kafka cluster".to_owned(),
        DestinationKind::Rabbitmq(rabbitmq) => format!(
            "the exchange {:?} of the virtual host {:?}",
            rabbitmq.exchange_name(),
            rabbitmq.virtual_host()
        ),
        DestinationKind::Webhook(_) => "a webhook".to_owned(),
        DestinationKind::Grpc(_) => "a gRPC service".to_owned(),
        #[cfg(feature = "faults")]
        DestinationKind::Faulty { record, .. } => {
            format!("a faulty destination with the record {}", record.display())
        }
    }
}

/// What the routes say of a lane's rejects.
fn words(settings: &Settings, destination: &str) -> BTreeMap<String, bool> {
    let mut words = BTreeMap::new();
    for route in &settings.routes {
        let mut targets = route.targets.iter();
        if let Some(target) = targets.find(|target| target.destination == destination) {
            words.insert(route.name.clone(), target.on_reject == OnReject::Block);
        }
    }
    words
}

#[cfg(test)]
mod tests;
