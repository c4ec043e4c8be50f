//! `[connections.*]`, what uses them, and `[sources.*]`.

use super::adapters::{ADAPTERS, Adapter, SOURCE};
use super::keys::{Key, read_keys};
use super::values::Values;
use super::{INGRESSES, NAME_HELP};
use crate::config::document::Focus;
use crate::config::names::{name_problem, nearest};
use crate::config::path::Path;
use crate::config::reader::{Table, quoted};
use crate::config::shape::{Shape, WITH_CONNECTION};
use std::cell::Cell;
use std::collections::BTreeMap;

/// The connections of the file, by name.
pub(super) struct Connections(BTreeMap<String, Connection>);

struct Connection {
    path: Path,
    /// `None` after an error, which is reported.
    adapter: Option<&'static Adapter>,
    keys: Vec<String>,
    values: Values,
    is_used: Cell<bool>,
}

#[derive(Debug)]
pub(in crate::config) struct RawSource {
    pub name: String,
}

/// What a source or a destination is said to be.
pub(super) struct Means {
    pub(super) adapter: &'static Adapter,
    /// Where it is said.
    pub(super) path: Path,
    /// The keys that its connection has, the wrong ones too.
    pub(super) keys: Vec<String>,
    /// What they say.
    pub(super) given: Option<Values>,
}

impl Connections {
    pub(super) fn read(root: &Table<'_>) -> Self {
        let tables = root.named_tables("connections").into_iter();
        Self(
            tables
                .map(|(name, table)| read_connection(name, table))
                .collect(),
        )
    }

    /// The adapter that a table with `connection` means; its `type`, if it has one too, must agree.
    pub(super) fn find(&self, table: &Table<'_>) -> Option<Means> {
        table.note("type", || Shape::Words(types_of_connections().to_vec()));
        let word = table.get("type").and_then(|(_, word)| word.as_str());
        let means = self.of(table)?;
        if word.is_some_and(|word| word != means.adapter.name) {
            self.mismatch(table, &table.path.name("type"), means.adapter);
            return None;
        }
        Some(means)
    }

    /// The same for a table that is of one type only.
    pub(super) fn find_of_type(&self, table: &Table<'_>, adapter: &Adapter) -> Option<Means> {
        let means = self.of(table)?;
        if means.adapter.name != adapter.name {
            self.mismatch(table, &means.path, means.adapter);
            return None;
        }
        Some(means)
    }

    fn of(&self, table: &Table<'_>) -> Option<Means> {
        let name = table.text("connection")?;
        let path = table.path.name("connection");
        let Some(connection) = self.0.get(&name) else {
            self.unknown(table, &path, &name);
            return None;
        };
        connection.is_used.set(true);
        let adapter = connection.adapter?;
        for key in connection.keys.iter().filter(|key| table.has(key)) {
            let other = table.reader.place(&connection.path.name(key), Focus::Key);
            table.reader.key_error(
                &table.path.name(key),
                format!("`{key}` is in the connection {name:?} too, at {other}"),
                "keep one of them",
            );
        }
        Some(Means {
            adapter,
            path,
            keys: connection.keys.clone(),
            given: Some(connection.values.clone()),
        })
    }

    fn mismatch(&self, table: &Table<'_>, path: &Path, adapter: &Adapter) {
        let name = table.text("connection").unwrap_or_default();
        table.reader.error(
            path,
            format!("the connection {name:?} is of type = {:?}", adapter.name),
            "take the type out, or name another connection",
        );
    }

    fn unknown(&self, table: &Table<'_>, path: &Path, name: &str) {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if names.is_empty() => format!("write a table [connections.{name}] with a type"),
            None => format!("there are: {}", names.join(", ")),
        };
        table
            .reader
            .error(path, format!("there is no connection {name:?}"), help);
    }

    pub(super) fn warn_of_unused(&self, root: &Table<'_>) {
        for (name, connection) in self.0.iter().filter(|(_, c)| !c.is_used.get()) {
            root.reader.warn(
                &connection.path,
                format!("nothing uses the connection {name:?}"),
                format!("write connection = {name:?} in a source or a destination, or take it out"),
            );
        }
    }
}

fn read_connection(name: String, table: Table<'_>) -> (String, Connection) {
    check_name(&table, &name);
    table.require("type", "\"kafka\"");
    let adapter = table
        .word("type", &types_of_connections(), &[])
        .and_then(Adapter::named);
    let path = table.path.clone();
    let keys = table.keys().filter(|key| key != "type").collect();
    let mut values = Values::of(path.clone());
    if let Some(adapter) = adapter {
        table.note_kind(adapter.name);
        values = read_keys(&table, adapter.connection, &[]);
        table.finish();
    }
    let connection = Connection {
        path,
        adapter,
        keys,
        values,
        is_used: Cell::new(false),
    };
    (name, connection)
}

fn types_of_connections() -> [&'static str; ADAPTERS.len()] {
    ADAPTERS.map(|adapter| adapter.name)
}

pub(super) fn check_name(table: &Table<'_>, name: &str) {
    if let Some(problem) = name_problem(name) {
        table.reader.key_error(&table.path, problem, NAME_HELP);
    }
}

/// Reads the keys of an adapter, those of its connection among them.
pub(super) fn read_adapter(table: &Table<'_>, means: &Means, own: &'static [Key]) -> Values {
    let values = read_keys(table, means.adapter.connection, &means.keys);
    let values = values.with(read_keys(table, own, &[]));
    match &means.given {
        Some(given) => values.with(given.clone()),
        None => values,
    }
}

pub(super) fn read_sources(root: &Table<'_>, connections: &Connections) -> Vec<RawSource> {
    let tables = root.named_tables("sources").into_iter();
    tables
        .map(|(name, table)| read_source(name, table, connections))
        .collect()
}

fn read_source(name: String, table: Table<'_>, connections: &Connections) -> RawSource {
    check_name(&table, &name);
    if INGRESSES.iter().any(|ingress| *ingress == name) {
        table.reader.key_error(
            &table.path,
            format!("{name:?} is what routes call a listener"),
            "give the source another name",
        );
    }
    let types: Vec<&'static str> = ADAPTERS
        .iter()
        .filter(|adapter| adapter.source.is_some())
        .map(|adapter| adapter.name)
        .collect();
    if let Some(means) = find_adapter(&table, connections, &types) {
        match means.adapter.source {
            Some(own) => {
                table.note_kind(kind_of(&table, means.adapter));
                // Its own listener is no source of an MQTT broker's messages.
                if means.adapter.name == "mqtt" && !means.keys.iter().any(|key| key == "url") {
                    table.require("url", "\"mqtt://localhost:1883\"");
                }
                read_adapter(&table, &means, own);
                read_keys(&table, SOURCE, &[]);
                table.reader.error(
                    &means.path,
                    format!(
                        "sources of type = {:?} are not built in",
                        means.adapter.name
                    ),
                    "take the source out: this version takes messages over HTTP only",
                );
                table.finish();
            }
            None => table.reader.error(
                &means.path,
                format!("there are no sources of type = {:?}", means.adapter.name),
                format!("sources are of one of the types {}", quoted(&types)),
            ),
        }
    }
    RawSource { name }
}

/// By its connection, or its type.
pub(super) fn find_adapter(
    table: &Table<'_>,
    connections: &Connections,
    types: &[&'static str],
) -> Option<Means> {
    note_connection(table);
    if table.has("connection") {
        return connections.find(table);
    }
    if !table.has("type") {
        table.missing("type", "\"kafka\", or connection = \"…\"");
    }
    Some(Means {
        adapter: table.word("type", types, &[]).and_then(Adapter::named)?,
        path: table.path.name("type"),
        keys: Vec::new(),
        given: None,
    })
}

/// The key is known whether it is there or not.
pub(super) fn note_connection(table: &Table<'_>) {
    table.note("connection", || Shape::Text);
    table.get("connection");
}

/// What the schema tells apart: with a connection less is required.
pub(super) fn kind_of(table: &Table<'_>, adapter: &Adapter) -> &'static str {
    match table.has("connection") {
        true => WITH_CONNECTION,
        false => adapter.name,
    }
}
