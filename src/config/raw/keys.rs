//! Keys as data: what a table of an adapter may hold, and the checks of each entry alone.
//!
//! For adapters that aren't built in nothing is made of the values: that they are right is all.

use super::expressions::read_template;
use super::{MAX_SIZE, SHORTEST};
use crate::config::document::{has_userinfo, names_secret};
use crate::config::path::Path;
use crate::config::reader::{Entry, Table};
use crate::config::secret::{read_entry, read_secret};
use crate::config::shape::Shape;
use figment::value::Value;

pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// What to write if it isn't there, where it can't be left out.
    pub(super) required: Option<&'static str>,
}

pub(super) enum Form {
    /// Text that isn't empty.
    Text,
    /// `${…}`, with what an envelope has in it.
    Template,
    Boolean,
    Count(u64, u64),
    Size,
    Duration,
    Words(&'static [&'static str]),
    Secret,
    Secrets,
    /// One of these schemes, and something behind it.
    Url(&'static [&'static str]),
    /// One address, or a list of them.
    Urls(&'static [&'static str]),
    /// Host and port.
    Addresses,
    Texts,
    /// Names of the user's, each with text, a number, true or false.
    Properties,
    /// A file of the machine's.
    File,
    Table(&'static [Key]),
    Tables(&'static [Key]),
}

impl Key {
    pub(super) const fn new(name: &'static str, form: Form) -> Self {
        Self {
            name,
            form,
            required: None,
        }
    }

    pub(super) const fn required(name: &'static str, form: Form, example: &'static str) -> Self {
        Self {
            name,
            form,
            required: Some(example),
        }
    }
}

/// Reads and checks all of them; `given` are those that stand elsewhere (in a connection).
pub(super) fn read_keys(table: &Table<'_>, keys: &'static [Key], given: &[String]) {
    for key in keys {
        if let Some(example) = key.required
            && !given.iter().any(|name| name == key.name)
        {
            table.require(key.name, example);
        }
        read_key(table, key);
    }
}

fn read_key(table: &Table<'_>, key: &'static Key) {
    let name = key.name;
    match key.form {
        Form::Text | Form::File => {
            if let Some(text) = table.text(name) {
                check_text(table, name, &text);
            }
        }
        Form::Template => {
            read_template(table, name, &[]);
        }
        Form::Boolean => {
            table.boolean(name);
        }
        Form::Count(least, most) => {
            table.count(name, least..=most);
        }
        Form::Size => {
            table.size(name, 1..=MAX_SIZE);
        }
        Form::Duration => {
            table.duration(name, SHORTEST);
        }
        Form::Words(words) => {
            table.word(name, words, &[]);
        }
        Form::Secret => {
            read_secret(table, name);
        }
        Form::Secrets => {
            for entry in list(table, name) {
                entry.note(Shape::Secret);
                read_entry(entry);
            }
        }
        Form::Url(schemes) => {
            if let Some(url) = table.text(name) {
                check_url(table, &table.path.name(name), &url, schemes);
            }
        }
        Form::Urls(schemes) => read_urls(table, name, schemes),
        Form::Addresses => read_addresses(table, name),
        Form::Texts => read_texts(table, name),
        Form::Properties => read_properties(table, name),
        Form::Table(keys) => {
            if let Some(inner) = table.table(name) {
                read_keys(&inner, keys, &[]);
                inner.finish();
            }
        }
        Form::Tables(keys) => {
            for inner in table
                .list(name)
                .unwrap_or_default()
                .into_iter()
                .filter_map(Entry::into_table)
            {
                read_keys(&inner, keys, &[]);
                inner.finish();
            }
        }
    }
}

fn read_texts(table: &Table<'_>, name: &'static str) {
    for entry in list(table, name) {
        if entry.as_text().is_some_and(|text| text.is_empty()) {
            let help = "write text, or take it out";
            table.reader.error(&entry.path, "this is empty", help);
        }
    }
}

fn check_text(table: &Table<'_>, name: &'static str, text: &str) {
    if text.is_empty() || text.contains('\0') {
        let why = if text.is_empty() {
            "empty"
        } else {
            "text with a NUL character in it"
        };
        table.reader.error(
            &table.path.name(name),
            format!("`{name}` can't be {why}"),
            "write what is meant, or take the line out",
        );
    }
}

/// A list with something in it.
fn list<'a>(table: &Table<'a>, name: &'static str) -> Vec<Entry<'a>> {
    let entries = table.list(name);
    if entries.as_ref().is_some_and(Vec::is_empty) {
        table.reader.error(
            &table.path.name(name),
            format!("`{name}` is an empty list"),
            "write what is meant, or take the line out",
        );
    }
    entries.unwrap_or_default()
}

fn read_urls(table: &Table<'_>, name: &'static str, schemes: &[&str]) {
    table.note(name, || Shape::Text);
    match table.get(name) {
        Some((_, Value::Array(..))) => {
            for entry in list(table, name) {
                if let Some(url) = entry.as_text() {
                    check_url(table, &entry.path, &url, schemes);
                }
            }
        }
        Some((path, Value::String(..))) => {
            if let Some(url) = table.text(name) {
                check_url(table, &path, &url, schemes);
            }
        }
        Some((path, value)) => {
            let (wanted, example) = ("an address, or a list of them", "\"…\"");
            table.reader.wrong_type(&path, value, wanted, example);
        }
        None => {}
    }
}

fn check_url(table: &Table<'_>, path: &Path, url: &str, schemes: &[&str]) {
    let rest = url
        .split_once("://")
        .filter(|(scheme, _)| schemes.contains(scheme));
    let is_good = rest.is_some_and(|(_, rest)| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
    });
    if !is_good {
        table.reader.error(
            path,
            format!("`{path}` is no address of this kind"),
            format!(
                "write it like \"{}://host:port\"",
                schemes.join("://…\" or \"")
            ),
        );
    } else if has_userinfo(url) {
        table.reader.warn(
            path,
            "a plain-text secret: whoever can read this file has the password in this address",
            "write username and password as keys: password = { env = \"NAME\" }",
        );
    }
}

fn read_addresses(table: &Table<'_>, name: &'static str) {
    for entry in list(table, name) {
        let Some(text) = entry.as_text() else {
            continue;
        };
        let is_good = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(|c: char| c.is_whitespace() || c == '/')
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !is_good {
            table.reader.error(
                &entry.path,
                "this is no host with a port",
                "write it like \"localhost:9092\"",
            );
        }
    }
}

fn read_properties(table: &Table<'_>, name: &'static str) {
    for entry in table.named(name).unwrap_or_default() {
        entry.note(Shape::Plain);
        match entry.value {
            Value::String(_, text) if !text.is_empty() && names_secret(entry.name()) => {
                table.reader.warn(
                    &entry.path,
                    "a plain-text secret: whoever can read this file has it",
                    "take it out of the properties: `sasl` and `tls` take secrets",
                );
            }
            Value::String(..) | Value::Num(..) | Value::Bool(..) => {}
            value => table.reader.wrong_type(
                &entry.path,
                value,
                "text, a number, true or false",
                "\"…\"",
            ),
        }
    }
}
