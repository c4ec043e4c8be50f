//! `[destinations.*]` as written.

use super::adapters::{ADAPTERS, Adapter};
use super::connections::{Connections, Means, check_name, kind_of, note_connection, read_adapter};
use super::policies::{Policies, read_lane_policies, read_rate, read_shared_policies};
use super::{MAX_SIZE, SHORTEST};
use crate::config::guarantees::Sink;
use crate::config::path::Path;
use crate::config::reader::{Table, quoted};
use crate::config::settings::DestinationKind;
use std::time::Duration;

const STREAM: &str = "stream";

#[derive(Debug)]
pub(in crate::config) struct RawDestination {
    pub path: Path,
    pub name: String,
    /// The word of its `type`, or its connection's; `None` after an error.
    pub type_name: Option<&'static str>,
    /// `None` if it isn't built in, or after an error, which is reported.
    pub kind: Option<Kind>,
    pub policies: Policies,
}

#[derive(Debug)]
pub(in crate::config) enum Kind {
    Stream(RawRetention),
    /// Of an adapter: nothing is left to fill in.
    Made(DestinationKind),
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

pub(super) fn read_destinations(
    root: &Table<'_>,
    connections: &Connections,
) -> Vec<RawDestination> {
    root.named_tables("destinations")
        .into_iter()
        .map(|(name, table)| read_destination(name, table, connections))
        .collect()
}

fn read_destination(name: String, table: Table<'_>, connections: &Connections) -> RawDestination {
    check_name(&table, &name);
    let path = table.path.clone();
    let mut policies = Policies::default();
    let found = find_type(&table, connections);
    // What stands under a type that nobody knows can't be judged.
    if found.is_some() {
        read_lane_policies(&table, &mut policies);
        read_shared_policies(&table, &mut policies);
        policies.rate = read_rate(&table);
    }
    let type_name = found.as_ref().map(Type::name);
    let kind = found.as_ref().and_then(|found| read_kind(found, &table));
    if found.is_some() {
        table.finish();
    }
    RawDestination {
        path,
        name,
        type_name,
        kind,
        policies,
    }
}

enum Type {
    Stream,
    #[cfg(feature = "faults")]
    Faulty,
    Adapter(Means),
}

impl Type {
    fn name(&self) -> &'static str {
        match self {
            Self::Stream => STREAM,
            #[cfg(feature = "faults")]
            Self::Faulty => "faulty",
            Self::Adapter(means) => means.adapter.name,
        }
    }
}

fn find_type(table: &Table<'_>, connections: &Connections) -> Option<Type> {
    note_connection(table);
    if table.has("connection") {
        return connections.find(table).map(Type::Adapter);
    }
    if !table.has("type") {
        table.missing("type", "\"stream\"");
    }
    // Not among the words, which are the same in every build.
    #[cfg(feature = "faults")]
    if table
        .get("type")
        .is_some_and(|(_, value)| value.as_str() == Some("faulty"))
    {
        return Some(Type::Faulty);
    }
    let (built, later): (Vec<_>, Vec<_>) = types().partition(|name| is_built_in(name));
    let word = table.word("type", &built, &later)?;
    let Some(adapter) = Adapter::named(word) else {
        return Some(Type::Stream);
    };
    Some(Type::Adapter(Means {
        adapter,
        path: table.path.name("type"),
        keys: Vec::new(),
        given: None,
    }))
}

fn read_kind(found: &Type, table: &Table<'_>) -> Option<Kind> {
    match found {
        Type::Stream => {
            table.note_kind(STREAM);
            Some(Kind::Stream(read_retention(table)))
        }
        #[cfg(feature = "faults")]
        Type::Faulty => {
            if !table.has("record") {
                table.missing("record", "\"./record\"");
            }
            Some(Kind::Faulty {
                script: table.raw_text("script").unwrap_or_default(),
                record: table.raw_text("record").unwrap_or_default(),
            })
        }
        Type::Adapter(means) => {
            table.note_kind(kind_of(table, means.adapter));
            read_made(means, table).map(Kind::Made)
        }
    }
}

fn read_made(means: &Means, table: &Table<'_>) -> Option<DestinationKind> {
    let adapter = means.adapter;
    let values = read_adapter(table, means, adapter.destination.unwrap_or_default());
    match adapter.make {
        Some(make) if is_built_in(adapter.name) => make(&values, table.reader),
        _ => {
            let built = types().filter(|name| is_built_in(name));
            let built: Vec<&str> = built.collect();
            table.reader.error(
                &means.path,
                format!("type = {:?} is not built in", adapter.name),
                format!("built in: {}", quoted(&built)),
            );
            None
        }
    }
}

/// Those of everybody: not the test build's.
fn types() -> impl Iterator<Item = &'static str> {
    const ALL: &[Adapter] = &ADAPTERS;
    let adapters = ALL.iter().filter(|adapter| adapter.destination.is_some());
    std::iter::once(STREAM).chain(adapters.map(|adapter| adapter.name))
}

fn is_built_in(type_name: &str) -> bool {
    Sink::of_type(type_name).is_some_and(Sink::is_built_in)
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
