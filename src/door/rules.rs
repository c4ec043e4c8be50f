//! What the door decides of an envelope, before anything of it is kept. Pure: a publish and an
//! explanation of one come to the same.

use super::identity::{Identities, Scope};
use super::limits::{self, EmptyLevels, Limits};
use crate::clock::Wall;
use crate::journal::fingerprint::{Hasher, Identity};
use crate::message::{Envelope, Refusal};
use crate::routing::{Routed, Router};

/// The ingress whose topics may have levels without a character.
const MQTT: &str = "mqtt";

/// What a decision hangs on, beside the envelope.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub limits: &'a Limits,
    pub identities: &'a Identities,
    pub router: &'a Router,
}

/// An envelope with its identity, and where it goes.
pub struct Decided {
    pub scope: Scope,
    pub routed: Routed,
}

impl Rules<'_> {
    /// Limits, then the identity, which the envelope has from here on.
    pub fn admit(&self, envelope: &mut Envelope) -> Result<Scope, Refusal> {
        let empty = match &*envelope.source {
            MQTT => EmptyLevels::Legal,
            _ => EmptyLevels::Refused,
        };
        limits::check(envelope, self.limits, empty)?;
        let (id, scope) = self.identities.identify(envelope)?;
        envelope.id = id;
        Ok(scope)
    }

    pub fn decide(&self, envelope: &mut Envelope, now: Wall) -> Result<Decided, Refusal> {
        let scope = self.admit(envelope)?;
        let routed = self.router.plan(envelope, now)?;
        Ok(Decided { scope, routed })
    }
}

/// What the dedup window and delivery ids know an identity by.
#[must_use]
pub fn identity_key(hasher: &Hasher, principal: &str, topic: &str, id: &str, scope: Scope) -> u128 {
    hasher.fingerprint(Identity {
        principal: scope.principal.then_some(principal),
        topic: scope.topic.then_some(topic),
        id,
    })
}
