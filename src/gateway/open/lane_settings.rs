//! What a lane is told when it is made: what the file says of its destination, and of the routes
//! that lead there.

use super::Opener;
use crate::config::settings::Destination;
use crate::egress::KeyOrder;
use crate::journal::Journal;
use crate::lane::{LaneSettings, Limits, Mode, OnReject, RetryPolicy};
use crate::message::RouteId;
use crate::routing;
use std::collections::HashMap;

impl Opener<'_> {
    /// Without a destination in the file the lane has the defaults.
    pub(super) fn lane_settings(
        &self,
        spec: Option<&Destination>,
        mode: Mode,
        key_order: KeyOrder,
        journal: &mut Journal,
    ) -> LaneSettings {
        LaneSettings {
            lane: self.lane.id,
            mode,
            key_order,
            on_reject: spec.map_or(OnReject::Skip, |d| on_reject(d.lane.on_reject)),
            on_reject_of: self.on_reject_of(journal),
            retry: spec.map_or_else(RetryPolicy::default, retry),
            limits: Limits::default(),
        }
    }

    /// What the routes that lead here say of a reject.
    fn on_reject_of(&self, journal: &mut Journal) -> HashMap<RouteId, OnReject> {
        let mut words = HashMap::new();
        for route in &self.settings.routes {
            let mut targets = route.targets.iter();
            if let Some(target) = targets.find(|t| t.destination == self.lane.name) {
                let id = journal.intern_route(&route.name);
                words.insert(id, on_reject(target.on_reject));
            }
        }
        words
    }
}

const fn retry(destination: &Destination) -> RetryPolicy {
    let words = &destination.lane.retry;
    RetryPolicy {
        initial: words.initial,
        max: words.max,
        give_up_after: words.give_up_after,
    }
}

const fn on_reject(word: routing::OnReject) -> OnReject {
    match word {
        routing::OnReject::Block => OnReject::Block,
        routing::OnReject::Skip => OnReject::Skip,
    }
}
