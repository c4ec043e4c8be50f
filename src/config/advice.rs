//! What is allowed and probably not meant; and what the settings amount to.

mod routes;

use super::path::Path;
use super::reader::Reader;
use super::settings::Settings;
use super::units::show_duration;
use crate::routing::{TargetSpec, Unrouted};
pub(super) use routes::warn_of_routes;

pub(super) fn warn(settings: &Settings, reader: &Reader<'_>) {
    let root = Path::root();
    if settings.listen.http.is_none() && settings.listen.grpc.is_none() {
        reader.warn(
            &root.name("listen").name("http"),
            "nothing can be published: no listener takes messages",
            "write http = \"127.0.0.1:8080\" in [listen]",
        );
    }
    if settings.routes.is_empty() && settings.unrouted == Unrouted::Reject {
        reader.warn(
            &root.name("routes"),
            "there are no routes: every message will be refused",
            "write [[routes]] with a name, a topic and where it goes (to)",
        );
    }
    warn_of_sizes(settings, reader);
    warn_of_twins(settings, reader);
}

/// A limit that is below the largest message can never let one through.
fn warn_of_sizes(settings: &Settings, reader: &Reader<'_>) {
    let root = Path::root();
    let payload_bytes = settings.limits.payload_bytes as u64;
    let check = |bytes: u64, path: Path| {
        if bytes < payload_bytes {
            reader.warn(
                &path,
                format!("`{path}` is less than one message may have (limits.payload)"),
                "make it larger, or limits.payload smaller",
            );
        }
    };
    check(
        settings.limits.in_flight_bytes,
        root.name("limits").name("in_flight_bytes"),
    );
    check(
        settings.journal.max_bytes,
        root.name("journal").name("max_bytes"),
    );
    check(
        settings.door_dead_letters_max_bytes,
        root.name("defaults").name("dead_letters").name("max_bytes"),
    );
    for destination in &settings.destinations {
        let path = root.name("destinations").name(&destination.name);
        let lane = &destination.lane;
        check(lane.backlog_bytes, path.name("backlog"));
        if lane.dead_letters_max_bytes != settings.door_dead_letters_max_bytes {
            check(
                lane.dead_letters_max_bytes,
                path.name("dead_letters").name("max_bytes"),
            );
        }
    }
}

/// The same target twice in one route delivers twice.
fn warn_of_twins(settings: &Settings, reader: &Reader<'_>) {
    for (index, route) in settings.routes.iter().enumerate() {
        for (at, target) in route.targets.iter().enumerate() {
            let is_twin = |other: &TargetSpec| {
                let other = TargetSpec {
                    guarantee: target.guarantee,
                    ..other.clone()
                };
                other == *target
            };
            if route.targets[..at].iter().any(is_twin) {
                let path = Path::root()
                    .name("routes")
                    .index(index)
                    .name("to")
                    .index(at);
                reader.warn(
                    &path,
                    format!(
                        "this route sends every message to {:?} twice",
                        target.destination
                    ),
                    "take one of them out",
                );
            }
        }
    }
}

/// What `check` says of settings that hold.
pub(super) fn notes(settings: &Settings) -> Vec<String> {
    let dedup = &settings.dedup;
    let allowed = |millis| dedup.max_entries as u128 * millis / dedup.window.as_millis().max(1);
    let rate = match (allowed(1_000), allowed(3_600_000)) {
        (0, an_hour) => format!("{an_hour} messages with an id an hour"),
        (a_second, _) => format!("{a_second} messages with an id a second"),
    };
    vec![format!(
        "[dedup] remembers up to {} ids for {}: that allows {rate}",
        dedup.max_entries,
        show_duration(dedup.window),
    )]
}
