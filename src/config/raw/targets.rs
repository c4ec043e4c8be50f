//! The entries of a route's `to` as written.

use super::SHORTEST;
use super::expressions::{is_bare, parse_template, plain, read_template};
use super::policies::read_guarantee;
use crate::config::path::Path;
use crate::config::reader::{Entry, Table, has_template};
use crate::config::shape::Shape;
use crate::expression::Template;
use crate::message::{Guarantee, MAX_KEY_BYTES};
use crate::routing::{HeaderSpec, Span};
use figment::value::Value;
use std::time::Duration;

#[derive(Debug)]
pub(in crate::config) struct RawTarget {
    pub path: Path,
    /// Where the destination is named.
    pub destination_path: Path,
    pub destination: Option<String>,
    pub guarantee: Option<Guarantee>,
    pub topic: Option<Template>,
    pub key: Option<Template>,
    pub headers: Option<Vec<HeaderSpec>>,
    pub priority: Option<Template>,
    pub delay: Option<Span>,
    pub ttl: Option<Span>,
}

/// Keys of routes: below [[routes.to]] TOML takes them for the target's.
const OF_ROUTES: [&str; 12] = [
    "name",
    "from",
    "headers_any",
    "when",
    "transform",
    "stop",
    "ack",
    "ack_timeout",
    "on_error",
    "on_full",
    "on_reject",
    "to",
];

pub(super) fn read_targets(route: &Table<'_>, levels: &[&str]) -> Vec<RawTarget> {
    const EXAMPLE: &str = "[\"inbox\"]";
    route.require("to", EXAMPLE);
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
    let targets = entries.into_iter();
    targets
        .filter_map(|entry| read_target(entry, levels))
        .collect()
}

/// A destination's name, or a table with one.
fn read_target(entry: Entry<'_>, levels: &[&str]) -> Option<RawTarget> {
    let path = entry.path.clone();
    if entry.is_text() {
        return Some(RawTarget {
            destination_path: path.clone(),
            path,
            destination: entry.as_text(),
            guarantee: None,
            topic: None,
            key: None,
            headers: None,
            priority: None,
            delay: None,
            ttl: None,
        });
    }
    let table = entry.into_table()?;
    table.require("destination", "\"inbox\"");
    let target = RawTarget {
        destination_path: path.name("destination"),
        path,
        destination: table.text("destination"),
        guarantee: read_guarantee(&table),
        topic: read_topic(&table, levels),
        key: read_key(&table, levels),
        headers: read_headers(&table, levels),
        priority: read_priority(&table, levels),
        delay: read_span(&table, "delay", Duration::ZERO, levels),
        ttl: read_span(&table, "ttl", SHORTEST, levels),
    };
    table.finish_with(|key| {
        OF_ROUTES
            .contains(&key)
            .then(|| "the route has it: write it above its targets, below [[routes]]".to_owned())
    });
    Some(target)
}

/// The topic that the destination gets.
fn read_topic(table: &Table<'_>, levels: &[&str]) -> Option<Template> {
    let topic = read_template(table, "topic", levels)?;
    let text = topic.source();
    // What stands before the first `${` is there whatever is rendered.
    let fixed = plain(text).unwrap_or_else(|| before_template(text));
    let is_empty = fixed.is_empty() && !has_template(text);
    if is_empty || fixed.contains(['+', '#', '\0']) {
        table.reader.error(
            &table.path.name("topic"),
            "a message can't be sent to this topic",
            "write a topic without wildcards, or take it out: then the message's own is used",
        );
        return None;
    }
    Some(topic)
}

fn read_key(table: &Table<'_>, levels: &[&str]) -> Option<Template> {
    let key = read_template(table, "key", levels)?;
    if key.source().is_empty() {
        table.reader.error(
            &table.path.name("key"),
            "the key is empty",
            "write one, or take it out: then the message's own is used",
        );
        return None;
    }
    let fixed_bytes = plain(key.source()).map_or(0, |fixed| fixed.len());
    if fixed_bytes > MAX_KEY_BYTES {
        table.reader.error(
            &table.path.name("key"),
            format!("the key has {fixed_bytes} bytes, more than {MAX_KEY_BYTES}"),
            "write a shorter one",
        );
        return None;
    }
    Some(key)
}

fn before_template(text: &str) -> String {
    let escaped = text.replace("$${", "\u{1}");
    let fixed = escaped.split("${").next().unwrap_or_default();
    fixed.to_owned()
}

fn read_headers(table: &Table<'_>, levels: &[&str]) -> Option<Vec<HeaderSpec>> {
    let mut headers = Vec::new();
    for entry in table.named("headers")? {
        check_header_name(&entry);
        entry.note(Shape::Template);
        let value = entry
            .as_text()
            .and_then(|text| parse_template(entry.reader, &entry.path, &text, levels));
        headers.extend(value.map(|value| HeaderSpec {
            name: entry.name().to_owned(),
            value,
        }));
    }
    Some(headers)
}

pub(super) fn check_header_name(entry: &Entry<'_>) {
    let name = entry.name();
    if name.is_empty() || name.contains(char::is_control) {
        entry.reader.key_error(
            &entry.path,
            "no header can have this name",
            "write a name with at least one character, and none that is a control character",
        );
    }
}

/// A whole number, or text that gives one.
fn read_priority(table: &Table<'_>, levels: &[&str]) -> Option<Template> {
    const KEY: &str = "priority";
    table.note(KEY, || Shape::Count(0..=255));
    table.note(KEY, || Shape::Template);
    let (path, value) = table.get(KEY)?;
    match value {
        Value::Num(..) => {
            let number = table.count(KEY, 0..=255)?.to_string();
            parse_template(table.reader, &path, &number, levels)
        }
        Value::String(_, text) if refuse_bare(table, KEY, text) => None,
        Value::String(_, text) if plain(text).is_some_and(|fixed| fixed.parse::<u8>().is_err()) => {
            table.reader.error(
                &path,
                "this is no priority",
                "write a whole number from 0 to 255, or an expression like \"${headers['priority']}\"",
            );
            None
        }
        Value::String(..) => read_template(table, KEY, levels),
        _ => {
            let wanted = "a whole number, or text with an expression";
            table.reader.wrong_type(&path, value, wanted, "9");
            None
        }
    }
}

/// A duration, or text that gives one.
fn read_span(
    table: &Table<'_>,
    key: &'static str,
    least: Duration,
    levels: &[&str],
) -> Option<Span> {
    table.note(key, || Shape::Template);
    match table.get(key)?.1.as_str() {
        Some(text) if refuse_bare(table, key, text) => None,
        Some(text) if has_template(text) => read_template(table, key, levels).map(Span::Template),
        _ => table.duration(key, least).map(Span::Fixed),
    }
}

/// Where plain letters can't be meant.
fn refuse_bare(table: &Table<'_>, key: &str, text: &str) -> bool {
    if is_bare(text) {
        table.reader.error(
            &table.path.name(key),
            "this is plain text, and no expression",
            format!("an expression stands in `${{…}}`: write {key} = \"${{{text}}}\""),
        );
    }
    is_bare(text)
}
