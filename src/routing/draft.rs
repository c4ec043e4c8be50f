//! A plan in the making: what the routes that matched so far add up to, and whether that is too much.
//!
//! What must not live here: which routes match, what a target is rendered to.

use super::OnFull;
use super::compile::Route;
use super::router::PlanLimits;
use crate::message::{Ack, Envelope, Guarantee, Header, Refusal, Target};
use bytes::Bytes;
use std::time::Duration;

/// More targets than this no envelope can have: it keeps a plan's record small.
pub(super) const MAX_PLAN_TARGETS: usize = 1024;
/// What a target takes of it beside what is rendered, and a header beside its name and value.
const TARGET_BYTES: usize = 64;
const HEADER_BYTES: usize = 8;

/// A plan in the making.
pub(super) struct Draft {
    /// The strongest; of the routes that ask for it the longest wait. `None`: no targets yet.
    pub(super) ack: Option<(Ack, Duration)>,
    pub(super) targets: Vec<Target>,
    pub(super) on_full: Vec<OnFull>,
    /// Of all that was rendered.
    bytes: usize,
    limits: PlanLimits,
}

impl Draft {
    pub(super) const fn new(limits: PlanLimits) -> Self {
        Self {
            ack: None,
            targets: Vec::new(),
            on_full: Vec::new(),
            bytes: 0,
            limits,
        }
    }

    pub(super) fn add(
        &mut self,
        route: &Route,
        target: Target,
        on_full: OnFull,
        envelope: &Envelope,
    ) -> Result<(), Refusal> {
        if self.targets.len() == MAX_PLAN_TARGETS {
            return Err(Refusal::TooMany {
                what: "targets of the routes for this topic",
                actual: MAX_PLAN_TARGETS + 1,
                limit: MAX_PLAN_TARGETS,
                setting: "fixed",
            });
        }
        if self.targets.is_empty() {
            self.targets.reserve_exact(route.target_count());
            self.on_full.reserve_exact(route.target_count());
        }
        // Nobody waits for what lives in memory, whatever its route asks for.
        let ack = match target.guarantee {
            Guarantee::AtMostOnce => Ack::Received,
            Guarantee::AtLeastOnce | Guarantee::ExactlyOnce => route.ack,
        };
        self.ack = self.ack.max(Some((ack, route.ack_timeout)));
        self.bytes += rendered_bytes(&target);
        self.targets.push(target);
        self.on_full.push(on_full);
        self.check_size(envelope)
    }

    fn check_size(&self, envelope: &Envelope) -> Result<(), Refusal> {
        let limit = self.limits.record_bytes();
        // What nothing was rendered for is within the limits of the door.
        if self.bytes == 0 {
            return Ok(());
        }
        let actual = envelope_bytes(envelope) + TARGET_BYTES * self.targets.len() + self.bytes;
        if actual <= limit {
            return Ok(());
        }
        Err(Refusal::TooLarge {
            what: "the message, with what its routes make of it,",
            actual,
            limit,
            setting: "limits.payload",
        })
    }
}

fn rendered_bytes(target: &Target) -> usize {
    target.topic.as_ref().map_or(0, String::len)
        + target.key.as_ref().map_or(0, Bytes::len)
        + target.headers.as_deref().map_or(0, headers_bytes)
        + target.payload.as_ref().map_or(0, Bytes::len)
        + target.dead_letter.as_ref().map_or(0, String::len)
}

fn envelope_bytes(envelope: &Envelope) -> usize {
    envelope.topic.len()
        + envelope.key.as_ref().map_or(0, Bytes::len)
        + headers_bytes(&envelope.headers)
        + envelope.content_type.as_ref().map_or(0, String::len)
        + envelope.payload.as_ref().map_or(0, Bytes::len)
}

fn headers_bytes(headers: &[Header]) -> usize {
    let bytes = |h: &Header| h.name.len() + h.value.len() + HEADER_BYTES;
    headers.iter().map(bytes).sum()
}
