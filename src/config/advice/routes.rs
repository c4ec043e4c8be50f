//! Routes that can do nothing, and topics that become one at a broker.
//!
//! Read from what is written, so that it is told also where something else is wrong. Only what is
//! sure is told.

use crate::config::document::Focus;
use crate::config::path::Path;
use crate::config::raw::{INGRESSES, Raw, RawRoute};
use crate::config::reader::Reader;
use crate::expression::Program;
use crate::routing::Pattern;
use std::collections::BTreeMap;

/// How many pairs of routes are compared: what is beyond goes without this advice.
const MAX_PAIRS: usize = 2_000_000;

pub(in crate::config) fn warn_of_routes(raw: &Raw, reader: &Reader<'_>) {
    for route in &raw.routes {
        warn_of_origins(raw, route, reader);
        warn_of_headers(route, reader);
        if let Some(why) = route
            .pattern
            .as_ref()
            .and_then(|pattern| never_matches(raw, route, pattern))
        {
            reader.warn(
                &route.path.name("topic"),
                format!("this route can never match: {why}"),
                "write a topic that can be published, or take the route out",
            );
        }
    }
    warn_of_names(raw, reader);
    warn_of_shadows(raw, reader);
    warn_of_collisions(raw, reader);
}

/// Listeners that are off, and those that aren't built in.
fn warn_of_origins(raw: &Raw, route: &RawRoute, reader: &Reader<'_>) {
    for from in route.from.iter().flatten() {
        let name = from.name.as_str();
        if !INGRESSES.contains(&name) || raw.listen.iter().any(|listener| listener.name == name) {
            continue;
        }
        let (why, help) = match name {
            "http" => (
                "[listen] doesn't name it",
                "write http = \"127.0.0.1:8080\" in [listen]",
            ),
            "grpc" => (
                "[listen] doesn't name it",
                "write grpc = \"127.0.0.1:50051\" in [listen]",
            ),
            _ => (
                "it is not built in",
                "take it out, or leave it for a later version",
            ),
        };
        reader.warn(
            &from.path,
            format!("no message comes from {name:?}: {why}"),
            help,
        );
    }
}

/// Named levels that no expression can name: words of CEL, and what it has already.
fn warn_of_names(raw: &Raw, reader: &Reader<'_>) {
    // Most routes name their levels alike.
    let mut judged: BTreeMap<&str, bool> = BTreeMap::new();
    for route in &raw.routes {
        for name in route.pattern.iter().flat_map(Pattern::names) {
            let can_be_named = *judged
                .entry(name)
                .or_insert_with(|| Program::compile(name, &[name]).is_ok());
            if !can_be_named {
                reader.warn(
                    &route.path.name("topic"),
                    format!(
                        "no expression can name the level {{{name}}}: CEL has that word already"
                    ),
                    format!("give the level another name, like {{{name}_}}"),
                );
            }
        }
    }
}

/// Why no topic that can be published matches.
fn never_matches(raw: &Raw, route: &RawRoute, pattern: &Pattern) -> Option<String> {
    let limits = &raw.limits;
    let (levels, bytes) = (pattern.least_levels(), pattern.least_bytes());
    if limits.topic_levels > 0 && levels > limits.topic_levels {
        return Some(format!(
            "its topics have {levels} levels or more, and limits.topic_levels allows {}",
            limits.topic_levels
        ));
    }
    if limits.topic_bytes > 0 && bytes > limits.topic_bytes {
        return Some(format!(
            "its topics have {bytes} bytes or more, and limits.topic_bytes allows {}",
            limits.topic_bytes
        ));
    }
    // A source may make any topic.
    let has_sources = match &route.from {
        None => !raw.sources.is_empty(),
        Some(from) => from.iter().any(|from| !INGRESSES.contains(&&*from.name)),
    };
    if has_sources {
        return None;
    }
    if pattern.as_str().starts_with('$') {
        return Some("nobody can publish to topics that begin with `$`".to_owned());
    }
    if pattern.has_empty_level() {
        return Some("a level is empty, which HTTP and gRPC refuse".to_owned());
    }
    None
}

/// One header that must be two things.
fn warn_of_headers(route: &RawRoute, reader: &Reader<'_>) {
    let mut values = BTreeMap::new();
    for header in &route.headers {
        let first = values.entry(&header.name).or_insert(&header.value);
        if *first != &header.value {
            reader.warn(
                &route.path.name("headers"),
                format!(
                    "this route can never match: the header {:?} must have two values at once \
                     (names are compared without regard to capitals)",
                    header.name
                ),
                "keep one of them, or write them in two routes",
            );
        }
    }
    let is_possible = |any: &crate::routing::HeaderMatch| {
        values
            .get(&any.name)
            .is_none_or(|value| **value == any.value)
    };
    if !route.headers_any.is_empty() && !route.headers_any.iter().any(is_possible) {
        reader.warn(
            &route.path.name("headers_any"),
            "this route can never match: `headers` asks for other values of all of these",
            "take one of the two out",
        );
    }
}

/// Behind a route that takes all and stops.
fn warn_of_shadows(raw: &Raw, reader: &Reader<'_>) {
    let mut stops: Vec<(&Path, &str, &Pattern)> = Vec::new();
    let mut pairs = 0;
    for route in &raw.routes {
        let Some(pattern) = &route.pattern else {
            continue;
        };
        pairs += stops.len();
        if pairs > MAX_PAIRS {
            return;
        }
        if let Some((path, name, _)) = stops.iter().find(|(_, _, stop)| stop.covers(pattern)) {
            let place = reader.place(&path.name("topic"), Focus::Value);
            reader.warn(
                &route.path.name("topic"),
                format!(
                    "no message gets to this route: {name:?}, at {place}, matches all that it \
                     does, and stops"
                ),
                "put this route before that one, or take the other's `stop` out",
            );
        }
        if route.stop && !route.is_conditional {
            let name = route.name.as_deref().unwrap_or_default();
            stops.push((&route.path, name, pattern));
        }
    }
}

/// '/' becomes '.' in RabbitMQ's routing keys: two topics may become one.
fn warn_of_collisions(raw: &Raw, reader: &Reader<'_>) {
    for destination in &raw.destinations {
        if destination.type_name != Some("rabbitmq") {
            continue;
        }
        // The routing key: the topic that is mapped to it first.
        let mut keys: BTreeMap<String, (String, Path)> = BTreeMap::new();
        for route in &raw.routes {
            for target in &route.targets {
                if target.destination.as_deref() != Some(&destination.name) {
                    continue;
                }
                let Some((topic, path)) = topic_of(route, target) else {
                    continue;
                };
                // A target's own topic is the routing key as it is written.
                let key = match target.topic {
                    Some(_) => topic.clone(),
                    None => topic.replace('/', "."),
                };
                let Some((first, at)) = keys.get(&key) else {
                    keys.insert(key, (topic, path));
                    continue;
                };
                if *first != topic {
                    let place = reader.place(at, Focus::Value);
                    reader.warn(
                        &path,
                        format!(
                            "{topic:?} and {first:?}, at {place}, become one routing key at \
                             {:?}: '/' is written as '.' there",
                            destination.name
                        ),
                        "tell them apart by another topic for one of the targets, if that matters",
                    );
                }
            }
        }
    }
}

/// What a target sends as the topic, as far as it is written, with one name for all named levels.
fn topic_of(route: &RawRoute, target: &crate::config::raw::RawTarget) -> Option<(String, Path)> {
    if let Some(topic) = &target.topic {
        let plain = topic.as_plain()?.to_owned();
        return Some((plain, target.path.name("topic")));
    }
    let pattern = route.pattern.as_ref()?.as_str();
    let levels = pattern
        .split('/')
        .map(|level| match level.starts_with('{') {
            true => "+",
            false => level,
        });
    let topic = levels.collect::<Vec<_>>().join("/");
    Some((topic, route.path.name("topic")))
}
