//! `[[routes]]` as written.

use super::expressions::{levels_of, read_program};
use super::policies::{Policies, read_route_policies, read_shared_policies};
use super::targets::{RawTarget, check_header_name, read_targets};
use super::{NAME_HELP, read_pattern};
use crate::config::names::name_problem;
use crate::config::path::Path;
use crate::config::reader::{Table, has_template};
use crate::expression::Program;
use crate::routing::{HeaderMatch, Pattern};

#[derive(Debug)]
pub(in crate::config) struct RawRoute {
    pub path: Path,
    pub name: Option<String>,
    pub pattern: Option<Pattern>,
    /// `None`: from anywhere.
    pub from: Option<Vec<RawFrom>>,
    pub headers: Vec<HeaderMatch>,
    pub headers_any: Vec<HeaderMatch>,
    pub when: Option<Program>,
    pub transform: Option<Program>,
    pub stop: bool,
    /// Something is asked of the message besides its topic, be it well said or not.
    pub is_conditional: bool,
    pub policies: Policies,
    pub targets: Vec<RawTarget>,
}

/// One of the places that a route takes messages from.
#[derive(Debug)]
pub(in crate::config) struct RawFrom {
    pub path: Path,
    pub name: String,
}

pub(super) fn read_routes(root: &Table<'_>) -> Vec<RawRoute> {
    let entries = root.list("routes").unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| Some(read_route(entry.into_table()?)))
        .collect()
}

fn read_route(table: Table<'_>) -> RawRoute {
    table.require("name", "\"orders\"");
    let name = table.text("name");
    if let Some(problem) = name.as_deref().and_then(name_problem) {
        table
            .reader
            .error(&table.path.name("name"), problem, NAME_HELP);
    }
    let pattern = read_pattern(&table);
    let topic = table.get("topic").and_then(|(_, value)| value.as_str());
    let levels = levels_of(topic.unwrap_or_default());
    let mut policies = Policies::default();
    read_route_policies(&table, &mut policies);
    read_shared_policies(&table, &mut policies);
    let route = RawRoute {
        path: table.path.clone(),
        name,
        pattern,
        from: read_from(&table),
        headers: read_headers(&table, "headers"),
        headers_any: read_headers(&table, "headers_any"),
        when: read_program(&table, "when", &levels),
        transform: read_program(&table, "transform", &levels),
        stop: table.boolean("stop").unwrap_or_default(),
        is_conditional: ["from", "headers", "headers_any", "when"]
            .iter()
            .any(|key| table.has(key)),
        policies,
        targets: read_targets(&table, &levels),
    };
    table.finish_with(|key| {
        let is_of_targets = ["destination", "key", "priority", "delay", "ttl"].contains(&key);
        is_of_targets
            .then(|| format!("a target has it: to = [{{ destination = \"…\", {key} = … }}]"))
    });
    route
}

fn read_from(table: &Table<'_>) -> Option<Vec<RawFrom>> {
    let entries = table.list("from")?;
    if entries.is_empty() {
        table.reader.error(
            &table.path.name("from"),
            "`from` is empty: the route takes messages from nowhere",
            "write from = [\"http\"], or take it out: then they come from anywhere",
        );
    }
    let names = entries.into_iter();
    let names = names.filter_map(|entry| {
        Some(RawFrom {
            name: entry.as_text()?,
            path: entry.path,
        })
    });
    Some(names.collect())
}

/// Headers that a message must have, and their values.
fn read_headers(table: &Table<'_>, key: &'static str) -> Vec<HeaderMatch> {
    let mut headers = Vec::new();
    let entries = table.named(key);
    if entries.as_ref().is_some_and(Vec::is_empty) {
        table.reader.error(
            &table.path.name(key),
            format!("`{key}` is empty"),
            format!("write {key} = {{ type = \"pdf\" }}, or take the line out"),
        );
    }
    for entry in entries.unwrap_or_default() {
        check_header_name(&entry);
        let Some(value) = entry.as_text() else {
            continue;
        };
        if has_template(&value) {
            entry.reader.error(
                &entry.path,
                "this can't be a template (`${…}`)",
                "write plain text, or say it in `when`",
            );
            continue;
        }
        headers.push(HeaderMatch {
            name: entry.name().to_lowercase(),
            value: value.replace("$${", "${"),
        });
    }
    headers
}
