//! The configuration as it is written: every entry read and of its type, nothing filled in that
//! one part takes from another.

mod adapters;
mod connections;
mod destinations;
mod expressions;
mod keys;
mod kinds;
mod listen;
mod policies;
mod routes;
mod targets;
mod values;

use super::names::name_problem;
use super::reader::{Reader, Table};
use super::settings::{DeadLetters, Dedup, Gateway, Journal};
use crate::door::identity::{IdentityRule, Scope};
use crate::door::limits::Limits;
use crate::routing::{Pattern, Unrouted};
use adapters::Adapter;
use connections::Connections;
pub(super) use connections::RawSource;
pub(super) use destinations::{Kind, RawDestination};
use expressions::read_program;
use keys::{Form, Key, read_keys};
pub(super) use listen::RawListener;
pub(super) use policies::Policies;
pub(super) use routes::{RawFrom, RawRoute};
use std::time::Duration;
pub(super) use targets::RawTarget;

/// Where messages come from, besides sources.
pub(super) const INGRESSES: [&str; 3] = ["http", "grpc", "mqtt"];
pub(super) const NAME_HELP: &str =
    "use up to 64 small letters, digits, `_`, `-` and `.`: names are folders and metric labels";

/// The only version of the file there is.
const VERSION: u64 = 1;
/// More than any disk.
pub(super) const MAX_SIZE: u64 = 1 << 50;
/// A payload is held in memory whole, several times.
const MAX_PAYLOAD_BYTES: u64 = 256 << 20;
const MAX_HEADER_BYTES: u64 = 16 << 20;
const MIN_JOURNAL_BYTES: u64 = 1 << 20;
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Raw {
    pub gateway: Gateway,
    pub listen: Vec<RawListener>,
    pub anonymous: bool,
    pub limits: Limits,
    pub journal: Journal,
    pub dedup: Dedup,
    pub identities: Vec<IdentityRule>,
    pub defaults: Policies,
    pub dead_letters: DeadLetters,
    pub sources: Vec<RawSource>,
    pub destinations: Vec<RawDestination>,
    pub routes: Vec<RawRoute>,
    pub unrouted: Unrouted,
}

/// Of all that is written only these.
pub(super) fn listeners(reader: &Reader<'_>) -> Vec<RawListener> {
    listen::read_listen(&reader.root())
}

pub(super) fn read(reader: &Reader<'_>) -> Raw {
    let root = reader.root();
    read_version(&root);
    read_include(&root);
    let connections = Connections::read(&root);
    let raw = Raw {
        gateway: read_gateway(&root),
        listen: listen::read_listen(&root),
        anonymous: read_anonymous(&root),
        limits: read_limits(&root),
        journal: read_journal(&root, &connections),
        dedup: read_dedup(&root),
        identities: read_identities(&root),
        defaults: policies::read_defaults(&root),
        dead_letters: read_dead_letters(&root),
        sources: connections::read_sources(&root, &connections),
        destinations: destinations::read_destinations(&root, &connections),
        routes: routes::read_routes(&root),
        unrouted: read_unrouted(&root),
    };
    connections.warn_of_unused(&root);
    root.finish();
    raw
}

/// The files were found before; here is said what is no list of texts.
fn read_include(root: &Table<'_>) {
    for entry in root.list("include").unwrap_or_default() {
        entry.as_text();
    }
}

fn read_version(root: &Table<'_>) {
    root.require("version", "1, in the first line");
    if let Some(version) = root.count("version", 1..=u64::MAX)
        && version != VERSION
    {
        root.reader.error(
            &root.path.name("version"),
            format!("version {version} of this file is not built in"),
            format!("write version = {VERSION}"),
        );
    }
}

fn read_gateway(root: &Table<'_>) -> Gateway {
    let table = root.table_or_empty("gateway");
    let name = table.text("name");
    if let Some(problem) = name.as_deref().and_then(name_problem) {
        table
            .reader
            .error(&table.path.name("name"), problem, NAME_HELP);
    }
    let data_dir = table.text("data_dir");
    if data_dir
        .as_ref()
        .is_some_and(|dir| dir.is_empty() || dir.contains('\0'))
    {
        let path = table.path.name("data_dir");
        let help = "write it like data_dir = \"./data\"";
        table
            .reader
            .error(&path, "`gateway.data_dir` is no folder", help);
    }
    let gateway = Gateway {
        name: name.unwrap_or_default(),
        data_dir: data_dir.unwrap_or_default().into(),
        drain_timeout: table
            .duration("drain_timeout", Duration::ZERO)
            .unwrap_or_default(),
        reload_on_change: table.boolean("reload_on_change").unwrap_or_default(),
    };
    table.finish();
    gateway
}

fn read_anonymous(root: &Table<'_>) -> bool {
    let table = root.table_or_empty("auth");
    let anonymous = table.boolean("anonymous").unwrap_or_default();
    table.finish();
    anonymous
}

fn read_limits(root: &Table<'_>) -> Limits {
    let table = root.table_or_empty("limits");
    let limits = read_limits_of(&table);
    table.finish();
    limits
}

fn read_limits_of(table: &Table<'_>) -> Limits {
    let size = |key, range| as_usize(table.size(key, range));
    let count = |key, range| as_usize(table.count(key, range));
    Limits {
        payload_bytes: size("payload", 1..=MAX_PAYLOAD_BYTES),
        headers: count("headers", 0..=1_000),
        header_bytes: size("header_bytes", 0..=MAX_HEADER_BYTES),
        topic_bytes: size("topic_bytes", 1..=u64::from(u16::MAX)),
        topic_levels: count("topic_levels", 1..=1_000),
        connections: count("connections", 1..=1_000_000),
        in_flight_bytes: table
            .size("in_flight_bytes", 1..=MAX_SIZE)
            .unwrap_or_default(),
    }
}

fn read_journal(root: &Table<'_>, connections: &Connections) -> Journal {
    let table = root.table_or_empty("journal");
    table.choice("kind", &[("local", ())], &["kafka"]);
    read_shared_journal(&table, connections);
    let max_bytes = table
        .size("max_bytes", MIN_JOURNAL_BYTES..=MAX_SIZE)
        .unwrap_or_default();
    table.finish();
    Journal { max_bytes }
}

/// The keys of kind = "kafka", which isn't built in: several gateways, one log.
fn read_shared_journal(table: &Table<'_>, connections: &Connections) {
    const KAFKA: &str = "kafka";
    const OWN: &[Key] = &[Key::new("topic", Form::Text)];
    let is_shared = table
        .get("kind")
        .is_some_and(|(_, kind)| kind.as_str() == Some(KAFKA));
    if !is_shared {
        return;
    }
    connections::note_connection(table);
    let kafka = Adapter::named(KAFKA).expect("the adapters know kafka");
    let given = match table.has("connection") {
        true => connections
            .find_of_type(table, kafka)
            .map(|means| means.keys),
        false => Some(Vec::new()),
    };
    if let Some(given) = given {
        read_keys(table, kafka.connection, &given);
    }
    read_keys(table, OWN, &[]);
}

fn read_dedup(root: &Table<'_>) -> Dedup {
    let table = root.table_or_empty("dedup");
    let dedup = Dedup {
        window: table.duration("window", SHORTEST).unwrap_or_default(),
        max_entries: as_usize(table.count("max_entries", 1..=u64::from(u32::MAX))),
    };
    table.finish();
    dedup
}

fn read_dead_letters(root: &Table<'_>) -> DeadLetters {
    let table = root.table_or_empty("dead_letters");
    let names = table.list("redact").unwrap_or_default();
    let dead_letters = DeadLetters {
        redact: names
            .into_iter()
            .filter_map(|name| Some(name.as_text()?.to_ascii_lowercase()))
            .collect(),
        redact_payload: table.boolean("redact_payload").unwrap_or_default(),
    };
    table.finish();
    dead_letters
}

fn read_identities(root: &Table<'_>) -> Vec<IdentityRule> {
    let entries = root.list("identity").unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| read_identity(entry.into_table()?))
        .collect()
}

fn read_identity(table: Table<'_>) -> Option<IdentityRule> {
    let topic = read_pattern(&table);
    table.require("id", "\"payload.order_id\"");
    let levels: Vec<&str> = topic.iter().flat_map(Pattern::names).collect();
    let id = read_program(&table, "id", &levels);
    let scope = read_scope(&table);
    table.finish();
    Some(IdentityRule {
        topic: topic?,
        id: id?,
        scope,
    })
}

fn read_scope(table: &Table<'_>) -> Scope {
    let Some(entries) = table.list("scope") else {
        return Scope::default();
    };
    let mut scope = Scope {
        principal: false,
        topic: false,
    };
    for entry in entries {
        match entry.as_text().as_deref() {
            Some("principal") => scope.principal = true,
            Some("topic") => scope.topic = true,
            Some(_) => table.reader.error(
                &entry.path,
                "an identity has no such scope",
                "write \"principal\", \"topic\", both or none",
            ),
            None => {}
        }
    }
    scope
}

fn read_unrouted(root: &Table<'_>) -> Unrouted {
    const ACTIONS: [(&str, Unrouted); 3] = [
        ("reject", Unrouted::Reject),
        ("dead_letter", Unrouted::DeadLetter),
        ("drop", Unrouted::Drop),
    ];
    let table = root.table_or_empty("unrouted");
    let action = table
        .choice("action", &ACTIONS, &[])
        .unwrap_or(Unrouted::Reject);
    table.finish();
    action
}

/// The `topic` of a route or an identity: required.
fn read_pattern(table: &Table<'_>) -> Option<Pattern> {
    table.require("topic", "\"orders/#\"");
    let text = table.text("topic")?;
    match Pattern::parse(&text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            table.reader.error(
                &table.path.name("topic"),
                error.to_string(),
                "a level is text, `+` or `{name}` for any one, `#` for any number; `/` parts them",
            );
            None
        }
    }
}

fn as_usize(number: Option<u64>) -> usize {
    number
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or_default()
}
