//! What the door decides of an envelope, before anything of it is kept. Pure: a publish and an
//! explanation of one come to the same.

use super::identity::{Identities, Scope};
use super::limits::{self, EmptyLevels, Limits};
use crate::clock::Wall;
use crate::expression;
use crate::journal::fingerprint::{Hasher, Identity};
use crate::message::{Envelope, MessageId, Refusal};
use crate::routing::{Arrival, Explanation, Routed, Router, Skip};

/// The ingress whose topics may have levels without a character.
const MQTT: &str = "mqtt";

/// What a decision hangs on, beside the envelope.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub limits: &'a Limits,
    pub identities: &'a Identities,
    pub router: &'a Router,
}

/// The identity of an envelope that may come in, and what routing says of it.
pub struct Decided<T> {
    pub id: MessageId,
    pub scope: Scope,
    pub routed: T,
}

impl Rules<'_> {
    /// What becomes of an envelope. What `on_error = "skip"` passed over is added to `skips`.
    pub fn decide(
        &self,
        envelope: &Envelope,
        now: Wall,
        skips: &mut Vec<Skip>,
    ) -> Result<Decided<Routed>, Refusal> {
        let decided = self.admit(envelope, now, |arrival| self.router.plan(arrival, skips))?;
        Ok(Decided {
            id: decided.id,
            scope: decided.scope,
            routed: decided.routed?,
        })
    }

    /// The same, and how it comes about.
    pub fn explain(&self, envelope: &Envelope, now: Wall) -> Result<Decided<Explanation>, Refusal> {
        self.admit(envelope, now, |arrival| self.router.explain(arrival))
    }

    /// Limits, then the identity, then `route`: with what was evaluated and read by then.
    fn admit<T>(
        &self,
        envelope: &Envelope,
        now: Wall,
        route: impl FnOnce(&Arrival<'_, '_>) -> T,
    ) -> Result<Decided<T>, Refusal> {
        let empty = match &*envelope.source {
            MQTT => EmptyLevels::Legal,
            _ => EmptyLevels::Refused,
        };
        limits::check(envelope, self.limits, empty)?;
        let evaluation = expression::Scope::new(envelope);
        let (id, scope) = self.identities.identify(envelope, &evaluation)?;
        let routed = route(&Arrival {
            envelope,
            id: &id,
            scope: &evaluation,
            now,
        });
        Ok(Decided { id, scope, routed })
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
