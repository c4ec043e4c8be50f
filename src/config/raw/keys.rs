//! Keys as data: what a table of an adapter may hold, and the checks of each entry alone. What they
//! hold is data too (`values`); the readers of kinds make settings of it.

use super::expressions::read_template;
use super::values::{Value, Values};
use super::{MAX_SIZE, SHORTEST};
use crate::config::document::{has_userinfo, names_secret};
use crate::config::path::Path;
use crate::config::reader::{Entry, Table};
use crate::config::secret::{Secret, read_entry, read_secret};
use crate::config::settings::Plain;
use crate::config::shape::Shape;
use figment::value::Value as ConfigValue;
use std::collections::BTreeMap;

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
pub(super) fn read_keys(table: &Table<'_>, keys: &'static [Key], given: &[String]) -> Values {
    let mut values = Values::of(table.path.clone());
    for key in keys {
        if let Some(example) = key.required
            && !given.iter().any(|name| name == key.name)
        {
            table.require(key.name, example);
        }
        // It is read even if it isn't there: the key is known then.
        let value = read_key(table, key).filter(|_| table.has(key.name));
        values.put(key.name, table.path.name(key.name), value);
    }
    values
}

fn read_key(table: &Table<'_>, key: &'static Key) -> Option<Value> {
    let name = key.name;
    match key.form {
        Form::Text | Form::File => {
            let text = table.text(name)?;
            check_text(table, name, &text);
            Some(Value::Text(text))
        }
        // What is rendered for a broker that isn't built in: that it is right is all.
        Form::Template => {
            read_template(table, name, &[]);
            None
        }
        Form::Boolean => table.boolean(name).map(Value::Boolean),
        Form::Count(least, most) => table.count(name, least..=most).map(Value::Count),
        Form::Size => table.size(name, 1..=MAX_SIZE).map(Value::Count),
        Form::Duration => table.duration(name, SHORTEST).map(Value::Duration),
        Form::Words(words) => {
            let word = table.word(name, words, &[])?;
            Some(Value::Text(word.to_owned()))
        }
        Form::Secret => read_secret(table, name).map(Value::Secret),
        Form::Secrets => Some(Value::Secrets(read_secrets(table, name))),
        Form::Url(schemes) => {
            let url = table.text(name)?;
            check_url(table, &table.path.name(name), &url, schemes);
            Some(Value::Text(url))
        }
        Form::Urls(schemes) => Some(Value::Texts(read_urls(table, name, schemes))),
        Form::Addresses => Some(Value::Texts(read_addresses(table, name))),
        Form::Texts => Some(Value::Texts(read_texts(table, name))),
        Form::Properties => Some(Value::Properties(read_properties(table, name))),
        Form::Table(keys) => {
            let inner = table.table(name)?;
            Some(Value::Table(read_inner(inner, keys)))
        }
        Form::Tables(keys) => {
            let entries = table.list(name)?.into_iter();
            let tables = entries.filter_map(Entry::into_table);
            let values = tables.map(|inner| read_inner(inner, keys));
            Some(Value::Tables(values.collect()))
        }
    }
}

fn read_inner(table: Table<'_>, keys: &'static [Key]) -> Values {
    let values = read_keys(&table, keys, &[]);
    table.finish();
    values
}

fn read_secrets(table: &Table<'_>, name: &'static str) -> Vec<(Path, Secret)> {
    let secret = |entry: Entry<'_>| {
        entry.note(Shape::Secret);
        let path = entry.path.clone();
        Some((path, read_entry(entry)?))
    };
    list(table, name).into_iter().filter_map(secret).collect()
}

fn read_texts(table: &Table<'_>, name: &'static str) -> Vec<(Path, String)> {
    let mut texts = Vec::new();
    for entry in list(table, name) {
        let Some(text) = entry.as_text() else {
            continue;
        };
        if text.is_empty() {
            let help = "write text, or take it out";
            table.reader.error(&entry.path, "this is empty", help);
        }
        texts.push((entry.path, text));
    }
    texts
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

fn read_urls(table: &Table<'_>, name: &'static str, schemes: &[&str]) -> Vec<(Path, String)> {
    table.note(name, || Shape::Text);
    let mut urls = Vec::new();
    match table.get(name) {
        Some((_, ConfigValue::Array(..))) => {
            for entry in list(table, name) {
                if let Some(url) = entry.as_text() {
                    check_url(table, &entry.path, &url, schemes);
                    urls.push((entry.path, url));
                }
            }
        }
        Some((path, ConfigValue::String(..))) => {
            if let Some(url) = table.text(name) {
                check_url(table, &path, &url, schemes);
                urls.push((path, url));
            }
        }
        Some((path, value)) => {
            let (wanted, example) = ("an address, or a list of them", "\"…\"");
            table.reader.wrong_type(&path, value, wanted, example);
        }
        None => {}
    }
    urls
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
            keep_secret(path, schemes),
        );
    }
}

/// What to write instead of a password in an address.
fn keep_secret(path: &Path, schemes: &[&str]) -> String {
    // Of HTTP there are no such keys.
    if schemes.contains(&"http") {
        let names: Vec<String> = path.names().map(str::to_ascii_uppercase).collect();
        return format!(
            "set the address in the environment: CAUSEWAY__{}",
            names.join("__")
        );
    }
    "write username and password as keys: password = { env = \"NAME\" }".to_owned()
}

fn read_addresses(table: &Table<'_>, name: &'static str) -> Vec<(Path, String)> {
    let mut addresses = Vec::new();
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
        addresses.push((entry.path, text));
    }
    addresses
}

fn read_properties(table: &Table<'_>, name: &'static str) -> BTreeMap<String, Plain> {
    let mut properties = BTreeMap::new();
    for entry in table.named(name).unwrap_or_default() {
        entry.note(Shape::Plain);
        if let Some(value) = read_plain(table, &entry) {
            properties.insert(entry.name().to_owned(), value);
        }
    }
    properties
}

fn read_plain(table: &Table<'_>, entry: &Entry<'_>) -> Option<Plain> {
    let value = match entry.value {
        ConfigValue::String(_, text) => {
            if !text.is_empty() && names_secret(entry.name()) {
                table.reader.warn(
                    &entry.path,
                    "a plain-text secret: whoever can read this file has it",
                    "take it out of the properties: `sasl` and `tls` take secrets",
                );
            }
            Plain::Text(text.clone())
        }
        ConfigValue::Bool(_, value) => Plain::Boolean(*value),
        ConfigValue::Num(_, number) => match number.to_f64() {
            Some(number) => Plain::Fraction(number),
            None => Plain::Whole(read_whole(table, entry)?),
        },
        value => {
            let wanted = "text, a number, true or false";
            table.reader.wrong_type(&entry.path, value, wanted, "\"…\"");
            return None;
        }
    };
    Some(value)
}

fn read_whole(table: &Table<'_>, entry: &Entry<'_>) -> Option<i64> {
    let number = entry.value.to_i128();
    let number = number.and_then(|number| i64::try_from(number).ok());
    if number.is_none() {
        table.reader.out_of_range(&entry.path, i64::MIN, i64::MAX);
    }
    number
}
