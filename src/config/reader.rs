//! Reads the merged layers entry by entry. Every wrong entry becomes a problem with its place,
//! and reading goes on: serde would stop at the first.
//!
//! A read that fails returns `None`, like an entry that isn't there. Whoever fills in for it may
//! do so with anything: settings with an error in them are never handed out.

use super::document::{Document, Focus};
use super::layers::{Layers, Origin};
use super::names::nearest;
use super::path::Path;
use super::problem::{Place, Problem, Severity};
use super::units::{parse_count, parse_duration, parse_size};
use figment::value::{Dict, Value};
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How the TOML reader hands a date through serde.
const DATE_KEY: &str = "$__toml_private_datetime";

pub(super) struct Reader<'a> {
    document: &'a Document<'a>,
    layers: &'a Layers,
    problems: RefCell<Vec<Problem>>,
}

/// One table, and which of its keys were asked for.
pub(super) struct Table<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) path: Path,
    entries: &'a Dict,
    known: RefCell<Vec<&'static str>>,
    not_built_in: RefCell<Vec<&'static str>>,
}

/// One entry of a list.
pub(super) struct Entry<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) path: Path,
    value: &'a Value,
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document<'a>, layers: &'a Layers) -> Self {
        Self {
            document,
            layers,
            problems: RefCell::default(),
        }
    }

    pub(super) fn root(&'a self) -> Table<'a> {
        let entries = self
            .layers
            .root
            .as_dict()
            .expect("the merged layers are a table");
        Table::new(self, Path::root(), entries)
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub(super) fn has_errors(&self) -> bool {
        self.problems
            .borrow()
            .iter()
            .any(|p| p.severity == Severity::Error)
    }

    /// `help` is what to write instead.
    pub(super) fn error(&self, path: &Path, message: impl Into<String>, help: impl Into<String>) {
        self.report(
            Severity::Error,
            self.place(path, Focus::Value),
            message,
            help,
        );
    }

    /// Like `error`; the key is what is wrong, not its value.
    pub(super) fn key_error(
        &self,
        path: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Severity::Error, self.place(path, Focus::Key), message, help);
    }

    pub(super) fn warn(&self, path: &Path, message: impl Into<String>, help: impl Into<String>) {
        self.report(
            Severity::Warning,
            self.place(path, Focus::Value),
            message,
            help,
        );
    }

    fn report(
        &self,
        severity: Severity,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (message, help) = (message.into(), Some(help.into()));
        self.problems.borrow_mut().push(Problem {
            severity,
            place,
            message,
            help,
        });
    }

    /// The file has the first word, unless what is meant was set from outside of it.
    fn place(&self, path: &Path, focus: Focus) -> Place {
        let outside = |value: &Value| self.layers.outside(self.layers.origin(value.tag()), path);
        let in_file = || self.document.place(path, focus);
        match self.layers.find(path) {
            Some(Value::Dict(..)) if self.document.has(path) => in_file(),
            Some(value) => outside(value).unwrap_or_else(in_file),
            None => match in_file() {
                Place::File => outside(self.layers.deepest(path)).unwrap_or(Place::File),
                place => place,
            },
        }
    }

    /// The environment and flags have text only: it may stand for a number, or true and false.
    fn is_text_only(&self, value: &Value) -> bool {
        matches!(
            self.layers.origin(value.tag()),
            Origin::Environment | Origin::Flags
        )
    }

    fn as_text(&self, path: &Path, value: &Value) -> Option<String> {
        match value {
            Value::String(_, text) => Some(text.clone()),
            _ => {
                self.wrong_type(path, value, "text", "\"…\"");
                None
            }
        }
    }

    fn as_table(&'a self, path: Path, value: &'a Value) -> Option<Table<'a>> {
        match value {
            Value::Dict(_, entries) if !entries.contains_key(DATE_KEY) => {
                Some(Table::new(self, path, entries))
            }
            _ => {
                self.wrong_type(&path, value, "a table", "{…}");
                None
            }
        }
    }

    fn wrong_type(&self, path: &Path, value: &Value, wanted: &str, example: &str) {
        let found = match value {
            Value::Dict(_, entries) if entries.contains_key(DATE_KEY) => "a date",
            Value::String(..) | Value::Char(..) => "text",
            Value::Bool(..) => "true or false",
            Value::Num(_, number) if number.to_f64().is_some() => "a number with a fraction",
            Value::Num(..) => "a whole number",
            Value::Empty(..) => "nothing",
            Value::Dict(..) => "a table",
            Value::Array(..) => "a list",
        };
        let name = path.names().last().unwrap_or_default();
        self.error(
            path,
            format!("`{path}` must be {wanted}, not {found}"),
            format!("write it like {name} = {example}"),
        );
    }

    fn wrong_form(&self, path: &Path, wanted: &str, example: &str) {
        let name = path.names().last().unwrap_or_default();
        self.error(
            path,
            format!("`{path}` must be {wanted}"),
            format!("write it like {name} = {example}"),
        );
    }

    fn out_of_range(
        &self,
        path: &Path,
        least: impl std::fmt::Display,
        most: impl std::fmt::Display,
    ) {
        self.error(
            path,
            format!("`{path}` is out of its range"),
            format!("the least is {least}, the most {most}"),
        );
    }
}

impl<'a> Table<'a> {
    fn new(reader: &'a Reader<'a>, path: Path, entries: &'a Dict) -> Self {
        Self {
            reader,
            path,
            entries,
            known: RefCell::default(),
            not_built_in: RefCell::default(),
        }
    }

    /// The entry as it is. The key is known from now on.
    pub(super) fn get(&self, key: &'static str) -> Option<(Path, &'a Value)> {
        if !self.known.borrow().contains(&key) {
            self.known.borrow_mut().push(key);
        }
        Some((self.path.name(key), self.entries.get(key)?))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Text with nothing special in it.
    pub(super) fn raw_text(&self, key: &'static str) -> Option<String> {
        let (path, value) = self.get(key)?;
        self.reader.as_text(&path, value)
    }

    /// Text in which `${…}` would be a template; `$${` stands for `${`.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        let text = self.raw_text(key)?;
        if has_template(&text) {
            self.refuse_template(key);
            return None;
        }
        Some(text.replace("$${", "${"))
    }

    pub(super) fn refuse_template(&self, key: &str) {
        self.reader.error(
            &self.path.name(key),
            "templates (`${…}`) are not built in",
            "write plain text, or `$${` for a plain `${`",
        );
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let (path, value) = self.get(key)?;
        match value {
            Value::Bool(_, value) => return Some(*value),
            Value::String(_, text) if self.reader.is_text_only(value) => match text.as_str() {
                "true" => return Some(true),
                "false" => return Some(false),
                _ => self.reader.wrong_form(&path, "true or false", "true"),
            },
            _ => self
                .reader
                .wrong_type(&path, value, "true or false", "true"),
        }
        None
    }

    pub(super) fn count(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (path, value) = self.get(key)?;
        let example = range.start().max(&1).to_string();
        let count = match value {
            Value::Num(_, number) if number.to_f64().is_none() => whole(value),
            Value::String(_, text) if self.reader.is_text_only(value) => {
                let count = parse_count(text);
                if count.is_none() {
                    self.reader.wrong_form(&path, "a whole number", &example);
                }
                Some(count?)
            }
            _ => {
                self.reader
                    .wrong_type(&path, value, "a whole number", &example);
                return None;
            }
        };
        let good = count.filter(|count| range.contains(count));
        if good.is_none() {
            self.reader.out_of_range(&path, range.start(), range.end());
        }
        good
    }

    /// Bytes: text with a unit, or a whole number.
    pub(super) fn size(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        const WANTED: (&str, &str) = (
            "a size",
            "\"10MiB\" (B, KiB, MiB, GiB, TiB, KB, MB, GB, TB)",
        );
        let (path, value) = self.get(key)?;
        let bytes = match value {
            Value::Num(_, number) if number.to_f64().is_none() => whole(value),
            Value::String(_, text) => {
                let bytes = parse_size(text);
                if bytes.is_none() {
                    self.reader.wrong_form(&path, WANTED.0, WANTED.1);
                }
                Some(bytes?)
            }
            _ => {
                self.reader.wrong_type(&path, value, WANTED.0, WANTED.1);
                return None;
            }
        };
        let good = bytes.filter(|bytes| range.contains(bytes));
        if good.is_none() {
            let show = super::units::show_size;
            self.reader
                .out_of_range(&path, show(*range.start()), show(*range.end()));
        }
        good
    }

    pub(super) fn duration(&self, key: &'static str, least: Duration) -> Option<Duration> {
        const WANTED: (&str, &str) = ("a duration", "\"30s\" (ms, s, m, h, d)");
        let (path, value) = self.get(key)?;
        let Value::String(_, text) = value else {
            self.reader.wrong_type(&path, value, WANTED.0, WANTED.1);
            return None;
        };
        if has_template(text) {
            self.refuse_template(key);
            return None;
        }
        match parse_duration(text) {
            None => self.reader.wrong_form(&path, WANTED.0, WANTED.1),
            Some(duration) if duration < least => {
                let show = super::units::show_duration;
                self.reader.out_of_range(&path, show(least), "36500d");
            }
            good => return good,
        }
        None
    }

    /// One of some words; of those in `later` is said that they are not built in.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        built: &[(&'static str, T)],
        later: &[&'static str],
    ) -> Option<T> {
        let (path, value) = self.get(key)?;
        let word = self.reader.as_text(&path, value)?;
        if let Some((_, choice)) = built.iter().find(|(name, _)| *name == word) {
            return Some(*choice);
        }
        let names: Vec<&str> = built.iter().map(|(name, _)| *name).collect();
        let known = format!("built in: {}", quoted(&names));
        if later.contains(&word.as_str()) {
            self.reader
                .error(&path, format!("{key} = {word:?} is not built in"), known);
            return None;
        }
        let help = nearest(&word, names.iter().chain(later).copied())
            .map_or(known, |near| format!("did you mean {near:?}?"));
        self.reader
            .error(&path, format!("`{path}` has no such choice"), help);
        None
    }

    pub(super) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        let (path, value) = self.get(key)?;
        self.reader.as_table(path, value)
    }

    /// The table, or an empty one in the place of what isn't there or no table.
    pub(super) fn table_or_empty(&self, key: &'static str) -> Table<'a> {
        static EMPTY: Dict = Dict::new();
        let table = self.table(key);
        table.unwrap_or_else(|| Table::new(self.reader, self.path.name(key), &EMPTY))
    }

    /// A table of tables with names of the user's: each with its name.
    pub(super) fn named_tables(&self, key: &'static str) -> Vec<(String, Table<'a>)> {
        let Some(table) = self.table(key) else {
            return Vec::new();
        };
        let tables = table.entries.iter().filter_map(|(name, value)| {
            Some((
                name.clone(),
                self.reader.as_table(table.path.name(name), value)?,
            ))
        });
        tables.collect()
    }

    /// `None` if the key isn't there or no list.
    pub(super) fn list(&self, key: &'static str) -> Option<Vec<Entry<'a>>> {
        let (path, value) = self.get(key)?;
        let Value::Array(_, values) = value else {
            self.reader.wrong_type(&path, value, "a list", "[…]");
            return None;
        };
        let entry = |(index, value)| Entry {
            reader: self.reader,
            path: path.index(index),
            value,
        };
        Some(values.iter().enumerate().map(entry).collect())
    }

    /// Keys that are known and can't be used yet.
    pub(super) fn not_built_in(&self, keys: &[&'static str]) {
        self.not_built_in.borrow_mut().extend(keys);
    }

    /// A required key that isn't there.
    pub(super) fn missing(&self, key: &str, example: &str) {
        self.reader.key_error(
            &self.path.name(key),
            format!("`{key}` is missing {}", self.path.as_header()),
            format!("write {key} = {example}"),
        );
    }

    /// Complains of every key that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        let later = self.not_built_in.borrow();
        for key in self.entries.keys().map(String::as_str) {
            let path = self.path.name(key);
            if known.contains(&key) {
                continue;
            }
            if later.contains(&key) {
                self.reader.key_error(
                    &path,
                    format!("`{key}` {} is not built in", self.path.as_header()),
                    "take it out: this version can't do it",
                );
                continue;
            }
            let help = match nearest(key, known.iter().chain(later.iter()).copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let message = format!("unknown key `{key}` {}", self.path.as_header());
            self.reader.key_error(&path, message, help);
        }
    }
}

impl<'a> Entry<'a> {
    pub(super) fn as_text(&self) -> Option<String> {
        self.reader.as_text(&self.path, self.value)
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.as_str().is_some()
    }

    pub(super) fn into_table(self) -> Option<Table<'a>> {
        self.reader.as_table(self.path, self.value)
    }
}

/// A whole number that isn't negative.
fn whole(value: &Value) -> Option<u64> {
    let number = value
        .to_i128()
        .or_else(|| value.to_u128().and_then(|n| i128::try_from(n).ok()))?;
    u64::try_from(number).ok()
}

/// `${` that isn't written as `$${`.
pub(super) fn has_template(text: &str) -> bool {
    text.replace("$${", "").contains("${")
}

pub(super) fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}
