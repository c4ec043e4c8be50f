//! What a lane is told when it is made, and when a reload changes it: what the file says of its
//! destination, and of the routes that lead there. Pure.

use super::OpenMemory;
use crate::config::settings::{Destination, DestinationKind};
use crate::egress::{Egress, Shape};
use crate::lane::{BreakerPolicy, LaneSettings, Limits, Mode, OnReject, RatePolicy, RetryPolicy};
use crate::message::{LaneId, RouteId};
use crate::routing::{self, RouteSpec};
use std::collections::HashMap;
use std::time::Duration;

/// Without a destination in the file the lane has the defaults.
pub fn lane_settings(
    lane: LaneId,
    spec: Option<&Destination>,
    mode: Mode,
    egress: &Egress,
    on_reject_of: HashMap<RouteId, OnReject>,
) -> LaneSettings {
    LaneSettings {
        lane,
        mode,
        key_order: egress.key_order(),
        on_reject: spec.map_or(OnReject::Skip, |d| on_reject(d.lane.on_reject)),
        on_reject_of,
        retry: spec.map_or_else(RetryPolicy::default, retry),
        breaker: spec.map_or_else(BreakerPolicy::default, breaker),
        rate: spec.and_then(rate),
        batch_time: spec.map_or(Duration::ZERO, |d| d.lane.batch.time),
        limits: limits(egress, spec),
        volatile: false,
    }
}

/// The lane of a destination's at_most_once deliveries: as its other one, but never strict, and nothing
/// blocks it.
pub fn open_memory(lane: LaneId, spec: &Destination, egress: &Egress) -> OpenMemory {
    let settings = lane_settings(lane, Some(spec), Mode::Keyed, egress, HashMap::new());
    OpenMemory {
        lane: LaneSettings {
            volatile: true,
            ..settings
        },
        max_bytes: spec.lane.memory_bytes,
    }
}

/// What the routes that lead to a destination say of a reject.
pub fn on_reject_of(
    routes: &[RouteSpec],
    destination: &str,
    numbers: &HashMap<String, RouteId>,
) -> HashMap<RouteId, OnReject> {
    let word = |route: &RouteSpec| {
        let mut targets = route.targets.iter();
        let target = targets.find(|target| target.destination == destination)?;
        Some((*numbers.get(&route.name)?, on_reject(target.on_reject)))
    };
    routes.iter().filter_map(word).collect()
}

/// The settings of a running lane by another file. Routes that are gone keep their word: what was
/// accepted under them may still be owed.
pub fn tune(
    settings: &mut LaneSettings,
    spec: &Destination,
    egress: &Egress,
    words: HashMap<RouteId, OnReject>,
) {
    settings.on_reject = on_reject(spec.lane.on_reject);
    settings.on_reject_of.extend(words);
    settings.retry = retry(spec);
    settings.breaker = breaker(spec);
    settings.rate = rate(spec);
    settings.batch_time = spec.lane.batch.time;
    settings.limits = limits(egress, Some(spec));
    // What it was opened with holds until it adopts this file, which comes after.
    if let DestinationKind::Webhook(hook) = &spec.kind {
        settings.limits.flights = hook.concurrency;
    }
}

/// What the file says of batches goes before what the destination likes.
fn limits(egress: &Egress, spec: Option<&Destination>) -> Limits {
    let shape = egress.shape();
    let batch = spec.map(|spec| &spec.lane.batch);
    let count = batch.and_then(|batch| batch.count);
    let bytes = batch.and_then(|batch| batch.bytes);
    Limits::of(Shape {
        batch_count: count.unwrap_or(shape.batch_count),
        batch_bytes: bytes.unwrap_or(shape.batch_bytes),
        ..shape
    })
}

const fn breaker(destination: &Destination) -> BreakerPolicy {
    let words = &destination.lane.breaker;
    BreakerPolicy {
        failures: words.failures,
        probe_every: words.probe_every,
    }
}

fn rate(destination: &Destination) -> Option<RatePolicy> {
    let words = destination.lane.rate?;
    Some(RatePolicy {
        per_second: words.per_second,
        burst: words.burst,
    })
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
