//! A dead letter → the message that redrives it. Pure.
//!
//! It is a message of its own, linked to the delivery that became the letter: with the one target that
//! this had, or with those of the routes of now. What a redrive orders is to be delivered: the times
//! before and after which it was not to be are taken off. What goes over to an alternate nobody ordered: it
//! expires when it would have.

use crate::admin::letters::RedriveOrder;
use crate::clock::Wall;
use crate::door::{Generation, Rules};
use crate::egress::stream::{IdKind, Origin, StreamRecord};
use crate::journal::{DOOR_LANE, Shared};
use crate::message::{
    Ack, Envelope, Guarantee, LaneId, Message, MessageId, Plan, RedriveNames, RouteId, Target,
};
use crate::routing::Routed;
use std::time::Duration;

/// Why a letter stays one. For people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    #[error("it wasn't planned to go anywhere ({0}): redrive it with --reroute")]
    NoPlan(String),
    #[error(
        "what was received isn't in it (an older version wrote it, or it is too large for that): \
         export it, and publish that"
    )]
    NoOrigin,
    #[error("it is of another journal, where its destination isn't known by name: use --reroute")]
    ForeignDoor,
    #[error(
        "no route of the running configuration is called {0:?}: use --reroute, or name it again"
    )]
    NoSuchRoute(String),
    #[error("no route of the running configuration leads to {0:?}: use --reroute, or add one")]
    NotRouted(String),
    #[error("nothing says any more where what its destination can't route goes")]
    NoAlternate,
    #[error("no route matches it now")]
    Unrouted,
    #[error("the routes refuse it: {0}")]
    Refused(String),
    #[error("it can't be read: {0}")]
    Unreadable(String),
}

/// What a redrive goes by.
pub struct Maker<'a> {
    pub running: &'a Generation,
    pub shared: &'a Shared,
    /// Whose letters these are.
    pub lane: LaneId,
    pub order: &'a RedriveOrder,
    /// To the alternate of the lane's destination.
    pub goes_over: bool,
    pub now: Wall,
}

impl Maker<'_> {
    pub fn message(&self, letter: &StreamRecord, origin: Option<Origin>) -> Result<Message, Kept> {
        let names = self.names(letter, origin.as_ref());
        let (mut envelope, plan) = if self.order.reroute {
            self.rerouted(origin.ok_or(Kept::NoOrigin)?)?
        } else {
            planned(letter, origin.as_ref())?;
            let target = self.target(letter, origin.as_ref())?;
            let envelope = origin.map_or_else(|| rebuilt(letter), |o| o.message.envelope);
            (envelope, plan_of(vec![target]))
        };
        envelope.deliver_at = None;
        if !self.goes_over {
            envelope.expires_at = None;
        }
        envelope.redrives(letter.at, names);
        Ok(Message { envelope, plan })
    }

    /// What it goes on to be called.
    fn names(&self, letter: &StreamRecord, origin: Option<&Origin>) -> Option<RedriveNames> {
        if self.order.new_id {
            return None;
        }
        let was = origin.and_then(|o| o.message.envelope.redrive_names());
        let identity = match was {
            Some(was) => was.identity,
            None => origin.and_then(|o| o.identity),
        };
        // It has an id of its publisher's and no identity: it was given a new delivery id, which tells
        // it apart from all others.
        let of_its_own = || u128::from_str_radix(&letter.delivery_id, 16).ok();
        let identity = identity.or_else(|| match letter.id_kind {
            IdKind::Generated => None,
            IdKind::Publisher | IdKind::Derived => of_its_own(),
        });
        let delivery_id = (!self.order.reroute).then(|| letter.delivery_id.clone());
        Some(RedriveNames {
            id: letter.id.clone(),
            identity,
            delivery_id,
        })
    }

    fn target(&self, letter: &StreamRecord, origin: Option<&Origin>) -> Result<Target, Kept> {
        let is_ours = letter.journal == self.shared.reader.uuid();
        let target = match origin {
            Some(origin) if is_ours => origin.target().clone(),
            _ => {
                if self.lane == DOOR_LANE {
                    return Err(Kept::ForeignDoor);
                }
                let route = self.route(letter)?;
                let new = Target::to(route, self.lane, Guarantee::AtLeastOnce);
                origin.map_or(new, |origin| Target {
                    route,
                    lane: self.lane,
                    ..origin.target().clone()
                })
            }
        };
        let mut target = match self.goes_over {
            true => self.over(target)?,
            false => Target {
                expires_at: None,
                ..target
            },
        };
        target.not_before = None;
        // A reload that takes a destination away goes by what leads there.
        if !self.running.router.leads_to(target.lane) {
            let name = self.shared.lane(target.lane).map(|lane| lane.name.clone());
            return Err(Kept::NotRouted(name.unwrap_or_default()));
        }
        Ok(target)
    }

    /// What was rendered for the one that can't route it; only the topic may be the alternate's own.
    fn over(&self, target: Target) -> Result<Target, Kept> {
        let alternates = self.running.router.alternates();
        let alternate = alternates.get(&self.lane).ok_or(Kept::NoAlternate)?;
        Ok(Target {
            lane: alternate.lane,
            guarantee: Guarantee::AtLeastOnce,
            topic: alternate.topic.clone().or(target.topic),
            ..target
        })
    }

    fn route(&self, letter: &StreamRecord) -> Result<RouteId, Kept> {
        let name = letter.route.as_deref().unwrap_or_default();
        let known = self
            .shared
            .read_catalog(|catalog| catalog.route_named(name).map(|route| route.id));
        known.ok_or_else(|| Kept::NoSuchRoute(name.to_owned()))
    }

    fn rerouted(&self, origin: Origin) -> Result<(Envelope, Plan), Kept> {
        let mut envelope = origin.message.envelope;
        envelope.deliver_at = None;
        envelope.expires_at = None;
        let rules: Rules<'_> = self.running.rules();
        let decided = rules
            .decide(&envelope, self.now, &mut Vec::new())
            .map_err(|refusal| Kept::Refused(refusal.to_string()))?;
        let Routed::To(planned) = decided.routed else {
            return Err(Kept::Unrouted);
        };
        let targets = planned.plan.targets;
        if targets.iter().all(|target| target.dead_letter.is_some()) {
            let why = targets.into_iter().find_map(|target| target.dead_letter);
            return Err(Kept::Refused(why.unwrap_or_default()));
        }
        Ok((envelope, plan_of(targets)))
    }
}

/// Nobody waits for it.
fn plan_of(targets: Vec<Target>) -> Plan {
    Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::ZERO,
        targets,
    }
}

/// Whether it was planned to go somewhere, as far as the letter itself knows.
pub fn planned(letter: &StreamRecord, origin: Option<&Origin>) -> Result<(), Kept> {
    if let Some(origin) = origin {
        let why = origin.target().dead_letter.as_ref();
        return why.map_or(Ok(()), |why| Err(Kept::NoPlan(why.clone())));
    }
    // Without its origin it can't be told from one that the routes dead-lettered.
    let attempts = letter.dead_letter.as_ref().map_or(0, |l| l.attempts);
    match attempts {
        0 => Err(Kept::NoOrigin),
        _ => Ok(()),
    }
}

/// From what was to be delivered.
fn rebuilt(letter: &StreamRecord) -> Envelope {
    Envelope {
        principal: "anonymous".into(),
        source: "dead-letters".into(),
        topic: letter.topic.clone(),
        id: match letter.id_kind {
            IdKind::Publisher => MessageId::Publisher(letter.id.clone()),
            IdKind::Derived => MessageId::Derived(letter.id.clone()),
            IdKind::Generated => MessageId::None,
        },
        key: letter.key.clone(),
        headers: letter.headers.clone(),
        content_type: letter.content_type.clone(),
        payload: letter.payload.clone(),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}
