//! The configuration as it is written: every entry read and of its type, nothing filled in that
//! one part takes from another.

mod routes;

use super::names::name_problem;
use super::reader::{Reader, Table};
use super::settings::{Dedup, Gateway, Journal};
use crate::door::identity::{IdentityRule, Scope};
use crate::door::limits::Limits;
use crate::expression::{CompileError, Program};
use crate::message::{Ack, Guarantee};
use crate::routing::{OnError, OnFull, OnReject, Pattern, Unrouted};
pub(super) use routes::{Kind, RawDestination, RawRoute, RawTarget};
use std::net::SocketAddr;
use std::time::Duration;

const LISTENERS: [&str; 3] = ["http", "admin", "health"];
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
    pub destinations: Vec<RawDestination>,
    pub routes: Vec<RawRoute>,
    pub unrouted: Unrouted,
}

#[derive(Debug)]
pub(super) struct RawListener {
    pub name: &'static str,
    /// Where the address is written.
    pub path: super::path::Path,
    pub address: SocketAddr,
}

/// The keys of `[defaults]`, of which destinations and routes have some too.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies {
    pub guarantee: Option<Guarantee>,
    pub ack: Option<Ack>,
    pub ack_timeout: Option<Duration>,
    pub on_error: Option<OnError>,
    pub on_full: Option<OnFull>,
    pub on_reject: Option<OnReject>,
    pub backlog_bytes: Option<u64>,
    pub timeout: Option<Duration>,
    pub retry_initial: Option<Duration>,
    pub retry_max: Option<Duration>,
    pub retry_give_up_after: Option<Duration>,
    pub dead_letters_max_bytes: Option<u64>,
}

pub(super) fn read(reader: &Reader<'_>) -> Raw {
    let root = reader.root();
    root.not_built_in(&["include", "connections", "sources"]);
    read_version(&root);
    let raw = Raw {
        gateway: read_gateway(&root),
        listen: read_listen(&root),
        anonymous: read_anonymous(&root),
        limits: read_limits(&root),
        journal: read_journal(&root),
        dedup: read_dedup(&root),
        identities: read_identities(&root),
        defaults: read_defaults(&root),
        destinations: routes::read_destinations(&root),
        routes: routes::read_routes(&root),
        unrouted: read_unrouted(&root),
    };
    root.finish();
    raw
}

fn read_version(root: &Table<'_>) {
    if !root.has("version") {
        root.missing("version", "1, in the first line");
    }
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
    };
    table.finish();
    gateway
}

fn read_listen(root: &Table<'_>) -> Vec<RawListener> {
    let table = root.table_or_empty("listen");
    table.not_built_in(&["grpc", "mqtt"]);
    let listeners = LISTENERS
        .iter()
        .filter_map(|name| read_listener(&table, name))
        .collect();
    table.finish();
    listeners
}

/// An address, or a table with one.
fn read_listener(listen: &Table<'_>, name: &'static str) -> Option<RawListener> {
    let (mut path, value) = listen.get(name)?;
    let text = if value.as_str().is_some() {
        Some(listen.text(name)?)
    } else if value.as_dict().is_none() {
        None
    } else {
        let table = listen.table(name)?;
        path = path.name("address");
        table.not_built_in(&["tls", "auth", "limits"]);
        if !table.has("address") {
            table.missing("address", "\"127.0.0.1:8080\"");
        }
        let text = table.text("address");
        table.finish();
        Some(text?)
    };
    let Some(Ok(address)) = text.map(|text| text.parse()) else {
        listen.reader.error(
            &path,
            format!("`{path}` is no address"),
            "write an IP address and a port, like \"127.0.0.1:8080\" or \"[::1]:8080\"",
        );
        return None;
    };
    Some(RawListener {
        name,
        path,
        address,
    })
}

fn read_anonymous(root: &Table<'_>) -> bool {
    let table = root.table_or_empty("auth");
    let anonymous = table.boolean("anonymous").unwrap_or_default();
    table.finish();
    anonymous
}

fn read_limits(root: &Table<'_>) -> Limits {
    let table = root.table_or_empty("limits");
    let size = |key, range| as_usize(table.size(key, range));
    let count = |key, range| as_usize(table.count(key, range));
    let limits = Limits {
        payload_bytes: size("payload", 1..=MAX_PAYLOAD_BYTES),
        headers: count("headers", 0..=1_000),
        header_bytes: size("header_bytes", 0..=MAX_HEADER_BYTES),
        topic_bytes: size("topic_bytes", 1..=u64::from(u16::MAX)),
        topic_levels: count("topic_levels", 1..=1_000),
        connections: count("connections", 1..=1_000_000),
        in_flight_bytes: table
            .size("in_flight_bytes", 1..=MAX_SIZE)
            .unwrap_or_default(),
    };
    table.finish();
    limits
}

fn read_journal(root: &Table<'_>) -> Journal {
    let table = root.table_or_empty("journal");
    table.choice("kind", &[("local", ())], &["kafka"]);
    let max_bytes = table
        .size("max_bytes", MIN_JOURNAL_BYTES..=MAX_SIZE)
        .unwrap_or_default();
    table.finish();
    Journal { max_bytes }
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

fn read_identities(root: &Table<'_>) -> Vec<IdentityRule> {
    let entries = root.list("identity").unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| read_identity(entry.into_table()?))
        .collect()
}

fn read_identity(table: Table<'_>) -> Option<IdentityRule> {
    let topic = read_pattern(&table);
    if !table.has("id") {
        table.missing("id", "\"payload.order_id\"");
    }
    let id = table.raw_text("id").and_then(|text| {
        let levels: Vec<&str> = topic.iter().flat_map(Pattern::names).collect();
        let compiled = Program::compile(&text, &levels);
        let refuse = |error: CompileError| {
            let help = error.help.unwrap_or_default();
            let path = table.path.name("id");
            table.reader.error(&path, error.message, help);
        };
        compiled.map_err(refuse).ok()
    });
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

fn read_defaults(root: &Table<'_>) -> Policies {
    let table = root.table_or_empty("defaults");
    let mut policies = Policies::default();
    read_route_policies(&table, &mut policies);
    read_lane_policies(&table, &mut policies);
    read_shared_policies(&table, &mut policies);
    table.finish();
    policies
}

/// The keys of `[defaults]` that routes have too.
fn read_route_policies(table: &Table<'_>, policies: &mut Policies) {
    const ON_ERROR: [(&str, OnError); 3] = [
        ("reject", OnError::Reject),
        ("skip", OnError::Skip),
        ("dead_letter", OnError::DeadLetter),
    ];
    policies.guarantee = read_guarantee(table);
    policies.ack = read_ack(table);
    policies.ack_timeout = table.duration("ack_timeout", SHORTEST);
    policies.on_error = table.choice("on_error", &ON_ERROR, &[]);
}

fn read_guarantee(table: &Table<'_>) -> Option<Guarantee> {
    const BUILT: [(&str, Guarantee); 2] = [
        ("at_least_once", Guarantee::AtLeastOnce),
        ("exactly_once", Guarantee::ExactlyOnce),
    ];
    table.choice("guarantee", &BUILT, &["at_most_once"])
}

fn read_ack(table: &Table<'_>) -> Option<Ack> {
    const ALL: [(&str, Ack); 3] = [
        ("received", Ack::Received),
        ("stored", Ack::Stored),
        ("delivered", Ack::Delivered),
    ];
    let ack = table.choice("ack", &ALL, &[])?;
    if ack == Ack::Received {
        table.reader.error(
            &table.path.name("ack"),
            "ack = \"received\" goes with guarantee = \"at_most_once\" only, which is not built in",
            "write ack = \"stored\": it waits for one fsync, which many messages share",
        );
        return None;
    }
    Some(ack)
}

/// The keys of `[defaults]` that destinations have too.
fn read_lane_policies(table: &Table<'_>, policies: &mut Policies) {
    policies.backlog_bytes = table.size("backlog", 1..=MAX_SIZE);
    policies.timeout = table.duration("timeout", SHORTEST);
    if let Some(retry) = table.table("retry") {
        policies.retry_initial = retry.duration("initial", SHORTEST);
        policies.retry_max = retry.duration("max", SHORTEST);
        policies.retry_give_up_after = retry.duration("give_up_after", SHORTEST);
        retry.finish();
    }
    if let Some(dead_letters) = table.table("dead_letters") {
        policies.dead_letters_max_bytes = dead_letters.size("max_bytes", 1..=MAX_SIZE);
        dead_letters.finish();
    }
}

/// The keys of `[defaults]` that both have.
fn read_shared_policies(table: &Table<'_>, policies: &mut Policies) {
    const ON_FULL: [(&str, OnFull); 2] = [
        ("refuse", OnFull::Refuse),
        ("dead_letter", OnFull::DeadLetter),
    ];
    const ON_REJECT: [(&str, OnReject); 2] = [("skip", OnReject::Skip), ("block", OnReject::Block)];
    policies.on_full = table.choice("on_full", &ON_FULL, &[]);
    policies.on_reject = table.choice("on_reject", &ON_REJECT, &[]);
}

/// The `topic` of a route or an identity: required.
fn read_pattern(table: &Table<'_>) -> Option<Pattern> {
    if !table.has("topic") {
        table.missing("topic", "\"orders/#\"");
    }
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
