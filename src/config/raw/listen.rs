//! `[listen]` as written.

use super::keys::{Form, Key, read_keys};
use super::read_limits_of;
use crate::config::path::Path;
use crate::config::reader::Table;
use crate::config::shape::Shape;
use std::net::SocketAddr;

const LISTENERS: [&str; 4] = ["http", "grpc", "admin", "health"];
/// Those of later versions.
const LATER: [&str; 1] = ["mqtt"];
/// What only an MQTT listener has.
const MQTT: &[Key] = &[
    Key::new("websocket", Form::Boolean),
    Key::new("on_refuse", Form::Words(&["ack", "close"])),
    Key::new("backpressure_timeout", Form::Duration),
];
/// Keys of a listener's table that nothing is made of yet.
const LATER_KEYS: [&str; 3] = ["tls", "auth", "limits"];

const LISTENER: &[Key] = &[
    Key::new("tls", Form::Table(LISTENER_TLS)),
    Key::new("auth", Form::Table(&[Key::new("anonymous", Form::Boolean)])),
];
/// Files of the machine's: who we are, and whose clients we believe.
const LISTENER_TLS: &[Key] = &[
    Key::required("cert", Form::File, "\"tls/server.crt\""),
    Key::required("key", Form::File, "\"tls/server.key\""),
    Key::new("client_ca", Form::File),
];

#[derive(Debug)]
pub(in crate::config) struct RawListener {
    pub name: &'static str,
    /// Where the address is written.
    pub path: Path,
    pub address: SocketAddr,
}

pub(super) fn read_listen(root: &Table<'_>) -> Vec<RawListener> {
    let table = root.table_or_empty("listen");
    let listeners = LISTENERS
        .iter()
        .filter_map(|name| read_listener(&table, name, &[]))
        .collect();
    for name in LATER {
        let own = if name == "mqtt" { MQTT } else { &[] };
        read_listener(&table, name, own);
        if table.has(name) {
            table.refuse(name);
        }
    }
    table.finish();
    listeners
}

/// An address, or a table with one and keys of its `own`.
fn read_listener(
    listen: &Table<'_>,
    name: &'static str,
    own: &'static [Key],
) -> Option<RawListener> {
    listen.note(name, || Shape::Text);
    listen.note(name, || Shape::Table);
    let (mut path, value) = listen.get(name)?;
    let text = if value.as_str().is_some() {
        Some(listen.text(name)?)
    } else if value.as_dict().is_none() {
        None
    } else {
        path = path.name("address");
        Some(read_table(listen.table(name)?, LATER.contains(&name), own)?)
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

/// The address of a table. `is_later`: all of the listener is refused, not each key.
fn read_table(table: Table<'_>, is_later: bool, own: &'static [Key]) -> Option<String> {
    table.require("address", "\"127.0.0.1:8080\"");
    let address = table.text("address");
    read_keys(&table, LISTENER, &[]);
    if let Some(limits) = table.table("limits") {
        read_limits_of(&limits);
        limits.finish();
    }
    read_keys(&table, own, &[]);
    for key in LATER_KEYS.into_iter().filter(|key| table.has(key)) {
        if !is_later {
            table.refuse(key);
        }
    }
    table.finish();
    address
}
