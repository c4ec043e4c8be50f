//! Destinations, routes and their targets as written.

use super::{
    MAX_SIZE, NAME_HELP, Policies, SHORTEST, read_guarantee, read_lane_policies, read_pattern,
    read_route_policies, read_shared_policies,
};
use crate::config::names::name_problem;
use crate::config::path::Path;
use crate::config::reader::{Entry, Table};
use crate::message::Guarantee;
use crate::routing::Pattern;
use std::time::Duration;

/// Destination types of later versions.
const LATER_TYPES: [&str; 6] = ["kafka", "rabbitmq", "sns", "sqs", "webhook", "mqtt"];
/// Keys of destinations that later types have.
const LATER_DESTINATION_KEYS: [&str; 16] = [
    "connection",
    "topic",
    "key",
    "headers",
    "properties",
    "brokers",
    "create",
    "url",
    "username",
    "password",
    "exchange",
    "queues",
    "topic_arn",
    "queue_url",
    "tls",
    "auth",
];
const LATER_ROUTE_KEYS: [&str; 6] = [
    "from",
    "headers",
    "headers_any",
    "when",
    "transform",
    "stop",
];
const LATER_TARGET_KEYS: [&str; 5] = ["key", "headers", "priority", "ttl", "transform"];

#[derive(Debug)]
pub(in crate::config) struct RawDestination {
    pub path: Path,
    pub name: String,
    /// `None` after an error, which is reported.
    pub kind: Option<Kind>,
    pub policies: Policies,
}

#[derive(Debug)]
pub(in crate::config) enum Kind {
    Stream(RawRetention),
    #[cfg(feature = "faults")]
    Faulty {
        script: String,
        record: String,
    },
}

#[derive(Debug, Default)]
pub(in crate::config) struct RawRetention {
    pub max_bytes: Option<u64>,
    pub max_age: Option<Duration>,
}

#[derive(Debug)]
pub(in crate::config) struct RawRoute {
    pub path: Path,
    pub name: Option<String>,
    pub pattern: Option<Pattern>,
    pub policies: Policies,
    pub targets: Vec<RawTarget>,
}

#[derive(Debug)]
pub(in crate::config) struct RawTarget {
    pub path: Path,
    /// Where the destination is named.
    pub destination_path: Path,
    pub destination: Option<String>,
    pub guarantee: Option<Guarantee>,
    pub topic: Option<String>,
    pub delay: Option<Duration>,
}

pub(super) fn read_destinations(root: &Table<'_>) -> Vec<RawDestination> {
    root.named_tables("destinations")
        .into_iter()
        .map(|(name, table)| read_destination(name, table))
        .collect()
}

fn read_destination(name: String, table: Table<'_>) -> RawDestination {
    if let Some(problem) = name_problem(&name) {
        table.reader.key_error(&table.path, problem, NAME_HELP);
    }
    let path = table.path.clone();
    let mut policies = Policies::default();
    let kind = read_type(&table);
    // What stands under a type that isn't built in can't be judged.
    if kind.is_some() {
        table.not_built_in(&LATER_DESTINATION_KEYS);
        read_lane_policies(&table, &mut policies);
        read_shared_policies(&table, &mut policies);
    }
    let kind = kind.map(|kind| read_kind(kind, &table));
    if kind.is_some() {
        table.finish();
    }
    RawDestination {
        path,
        name,
        kind,
        policies,
    }
}

#[derive(Clone, Copy)]
enum Type {
    Stream,
    #[cfg(feature = "faults")]
    Faulty,
}

fn read_type(table: &Table<'_>) -> Option<Type> {
    if !table.has("type") && table.has("connection") {
        table.reader.key_error(
            &table.path.name("connection"),
            "`connection` is not built in",
            "this version has destinations of type = \"stream\" only",
        );
        return None;
    }
    if !table.has("type") {
        table.missing("type", "\"stream\"");
    }
    // Not among the choices, which are the same in every build.
    #[cfg(feature = "faults")]
    if table
        .get("type")
        .is_some_and(|(_, value)| value.as_str() == Some("faulty"))
    {
        return Some(Type::Faulty);
    }
    table.choice("type", &[("stream", Type::Stream)], &LATER_TYPES)
}

fn read_kind(kind: Type, table: &Table<'_>) -> Kind {
    match kind {
        Type::Stream => Kind::Stream(read_retention(table)),
        #[cfg(feature = "faults")]
        Type::Faulty => {
            if !table.has("record") {
                table.missing("record", "\"./record\"");
            }
            Kind::Faulty {
                script: table.raw_text("script").unwrap_or_default(),
                record: table.raw_text("record").unwrap_or_default(),
            }
        }
    }
}

fn read_retention(table: &Table<'_>) -> RawRetention {
    let Some(table) = table.table("retention") else {
        return RawRetention::default();
    };
    let retention = RawRetention {
        max_bytes: table.size("max_bytes", 1..=MAX_SIZE),
        max_age: table.duration("max_age", SHORTEST),
    };
    table.finish();
    retention
}

pub(super) fn read_routes(root: &Table<'_>) -> Vec<RawRoute> {
    let entries = root.list("routes").unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| Some(read_route(entry.into_table()?)))
        .collect()
}

fn read_route(table: Table<'_>) -> RawRoute {
    table.not_built_in(&LATER_ROUTE_KEYS);
    if !table.has("name") {
        table.missing("name", "\"orders\"");
    }
    let name = table.text("name");
    if let Some(problem) = name.as_deref().and_then(name_problem) {
        table
            .reader
            .error(&table.path.name("name"), problem, NAME_HELP);
    }
    let pattern = read_pattern(&table);
    let mut policies = Policies::default();
    read_route_policies(&table, &mut policies);
    read_shared_policies(&table, &mut policies);
    let targets = read_targets(&table);
    let path = table.path.clone();
    table.finish();
    RawRoute {
        path,
        name,
        pattern,
        policies,
        targets,
    }
}

fn read_targets(route: &Table<'_>) -> Vec<RawTarget> {
    const EXAMPLE: &str = "[\"inbox\"]";
    if !route.has("to") {
        route.missing("to", EXAMPLE);
    }
    let Some(entries) = route.list("to") else {
        return Vec::new();
    };
    if entries.is_empty() {
        let message = "`to` is empty: the route leads nowhere";
        route.reader.error(
            &route.path.name("to"),
            message,
            format!("write to = {EXAMPLE}"),
        );
    }
    entries.into_iter().filter_map(read_target).collect()
}

/// A destination's name, or a table with one.
fn read_target(entry: Entry<'_>) -> Option<RawTarget> {
    let path = entry.path.clone();
    if entry.is_text() {
        return Some(RawTarget {
            destination_path: path.clone(),
            path,
            destination: entry.as_text(),
            guarantee: None,
            topic: None,
            delay: None,
        });
    }
    let table = entry.into_table()?;
    table.not_built_in(&LATER_TARGET_KEYS);
    if !table.has("destination") {
        table.missing("destination", "\"inbox\"");
    }
    let target = RawTarget {
        destination_path: path.name("destination"),
        path,
        destination: table.text("destination"),
        guarantee: read_guarantee(&table),
        topic: read_target_topic(&table),
        delay: table.duration("delay", Duration::ZERO),
    };
    table.finish();
    Some(target)
}

/// The topic that the destination gets.
fn read_target_topic(table: &Table<'_>) -> Option<String> {
    let topic = table.text("topic")?;
    let path = table.path.name("topic");
    if topic.is_empty() || topic.contains('\0') || topic.contains(['+', '#']) {
        table.reader.error(
            &path,
            "a message can't be sent to this topic",
            "write a topic without wildcards, or take it out: then the message's own is used",
        );
        return None;
    }
    if topic.starts_with("payload.") || topic.starts_with("headers[") {
        table.reader.warn(
            &path,
            "this is plain text: the topic will be these very letters",
            "an expression stands in `${…}` (not built in yet)",
        );
    }
    Some(topic)
}
