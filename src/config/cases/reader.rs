//! Reads the file entry by entry, and goes on after an error. No layers, no defaults: one file.

use super::{Data, parse_duration};
use crate::config::document::{spot, syntax_problem};
use crate::config::names::nearest;
use crate::config::problem::{FileName, Place, Problem, Severity};
use crate::config::reader::quoted;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;
use toml_edit::{ImDocument, Item, TableLike, Value};

type Span = Option<Range<usize>>;

pub(super) struct Reader<'t> {
    name: FileName,
    text: &'t str,
    parsed: ImDocument<&'t str>,
    problems: RefCell<Vec<Problem>>,
}

/// One table, and which of its keys were asked for.
pub(super) struct Table<'a> {
    reader: &'a Reader<'a>,
    /// As a header would name it; empty for the file's top.
    name: &'static str,
    table: &'a dyn TableLike,
    span: Span,
    known: RefCell<Vec<&'static str>>,
}

impl<'t> Reader<'t> {
    pub(super) fn parse(file: &str, text: &'t str) -> Result<Self, Problem> {
        let name = FileName::new(0, file);
        let parsed = ImDocument::parse(text);
        let parsed = parsed.map_err(|error| syntax_problem(&name, text, &error))?;
        Ok(Self {
            name,
            text,
            parsed,
            problems: RefCell::default(),
        })
    }

    pub(super) fn root(&self) -> Table<'_> {
        Table {
            reader: self,
            name: "",
            table: self.parsed.as_table(),
            span: None,
            known: RefCell::default(),
        }
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// Without a span: of the file as a whole.
    pub(super) fn error(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let place = match span {
            Some(span) => Place::At(spot(&self.name, self.text, span, &[])),
            None => Place::File(self.name.clone()),
        };
        self.problems.borrow_mut().push(Problem {
            severity: Severity::Error,
            place,
            message: message.into(),
            help: Some(help.into()),
        });
    }
}

impl<'a> Table<'a> {
    fn child(&self, name: &'static str, table: &'a dyn TableLike, span: Span) -> Self {
        Self {
            reader: self.reader,
            name,
            table,
            span,
            known: RefCell::default(),
        }
    }

    fn get(&self, key: &'static str) -> Option<&'a Item> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// The line at which it begins.
    pub(super) fn line(&self) -> usize {
        let at = self.span.as_ref().map_or(0, |span| span.start);
        let before = self.reader.text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// Something is wrong with the table as a whole.
    pub(super) fn error(&self, message: &str, help: &str) {
        self.reader.error(self.span.clone(), message, help);
    }

    pub(super) fn value_error(&self, key: &str, message: &str, help: &str) {
        let span = self.table.get(key).and_then(Item::span);
        self.reader.error(span, message, help);
    }

    fn wrong_type(&self, key: &str, wanted: &str, example: &str) {
        let message = format!("`{key}` must be {wanted}");
        self.value_error(key, &message, &format!("write it like {key} = {example}"));
    }

    fn missing(&self, key: &str, example: &str) {
        self.reader.error(
            self.span.clone(),
            format!("`{key}` is missing in {}", self.name),
            format!("write {key} = {example}"),
        );
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        let text = self.get(key)?.as_str();
        if text.is_none() {
            self.wrong_type(key, "text", "\"…\"");
        }
        text.map(str::to_owned)
    }

    pub(super) fn required(&self, key: &'static str, example: &str) -> Option<String> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.text(key)
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?.as_bool();
        if value.is_none() {
            self.wrong_type(key, "true or false", "true");
        }
        value
    }

    pub(super) fn small_number(&self, key: &'static str) -> Option<u8> {
        let number = self.get(key)?.as_integer();
        let number = number.and_then(|number| u8::try_from(number).ok());
        if number.is_none() {
            self.wrong_type(key, "a whole number up to 255", "5");
        }
        number
    }

    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        let duration = self.get(key)?.as_str().and_then(parse_duration);
        if duration.is_none() {
            self.wrong_type(key, "a duration", "\"30s\" (ms, s, m, h, d)");
        }
        duration
    }

    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let word = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let message = format!("`{key}` has no such choice");
            let help = match nearest(&word, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are: {}", quoted(&names)),
            };
            self.value_error(key, &message, &help);
        }
        found.map(|(_, choice)| *choice)
    }

    pub(super) fn required_table(&self, key: &'static str, example: &str) -> Option<Self> {
        let Some(item) = self.get(key) else {
            self.missing(key, example);
            return None;
        };
        let table = item.as_table_like();
        if table.is_none() {
            self.wrong_type(key, "a table", example);
        }
        Some(self.child("publish", table?, item.span()))
    }

    /// `[[key]]` blocks, or a list of one-line tables.
    pub(super) fn tables(&self, key: &'static str) -> Option<Vec<Self>> {
        let name = match key {
            "test" => "[[test]]",
            _ => "expect",
        };
        match self.get(key)? {
            Item::ArrayOfTables(blocks) => {
                let blocks = blocks.iter();
                Some(blocks.map(|t| self.child(name, t, t.span())).collect())
            }
            Item::Value(Value::Array(values)) => {
                let tables = values.iter().filter_map(|value| {
                    let table = value.as_inline_table();
                    if table.is_none() {
                        self.reader.error(
                            value.span(),
                            format!("an entry of `{key}` must be a table"),
                            "write it like { route = \"orders\", destination = \"inbox\" }",
                        );
                    }
                    Some(self.child(name, table?, value.span()))
                });
                Some(tables.collect())
            }
            _ => {
                self.wrong_type(key, "a list of tables", "[]");
                None
            }
        }
    }

    /// `headers = { name = "value" }`; a name that stands twice has a list.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        const HELP: &str = "write headers = { kind = \"pdf\" }, or a list of values";
        let Some(item) = self.get("headers") else {
            return Vec::new();
        };
        let Some(table) = item.as_table_like() else {
            self.value_error("headers", "`headers` must be a table", HELP);
            return Vec::new();
        };
        let mut headers = Vec::new();
        for (name, item) in table.iter() {
            let name = name.to_ascii_lowercase();
            let values: Option<Vec<&str>> = match item.as_value() {
                Some(Value::String(text)) => Some(vec![text.value()]),
                Some(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
                _ => None,
            };
            match values {
                Some(values) => {
                    headers.extend(values.into_iter().map(|v| (name.clone(), v.to_owned())));
                }
                None => self
                    .reader
                    .error(item.span(), "a header's value must be text", HELP),
            }
        }
        headers
    }

    /// `data`: text is itself, anything else JSON; or `data_base64`.
    pub(super) fn data(&self) -> Option<Data> {
        let (data, base64) = (self.get("data"), self.text("data_base64"));
        if data.is_some() && base64.is_some() {
            let help = "keep one of them";
            self.value_error("data_base64", "there is `data` too", help);
        }
        if let Some(text) = base64 {
            match STANDARD.decode(text) {
                Ok(bytes) => return Some(Data::Bytes(bytes.into())),
                Err(error) => {
                    let message = format!("this isn't base64: {error}");
                    self.value_error("data_base64", &message, "write data = \"…\" for text");
                }
            }
        }
        let item = data?;
        if let Some(text) = item.as_str() {
            return Some(Data::Text(text.to_owned()));
        }
        let json = json_of_item(item);
        if json.is_none() {
            self.value_error(
                "data",
                "JSON has no dates, no inf and no nan",
                "write them as text",
            );
        }
        json.map(Data::Json)
    }

    /// Complains of every key that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (key, item) in self.table.iter() {
            if known.contains(&key) {
                continue;
            }
            let span = self.table.get_key_value(key).and_then(|(k, _)| k.span());
            let place = match self.name {
                "" => "at the top of the file".to_owned(),
                name => format!("in {name}"),
            };
            let help = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut names: Vec<&str> = known.to_vec();
                    names.sort_unstable();
                    names.dedup();
                    format!("known here: {}", names.join(", "))
                }
            };
            let message = format!("unknown key `{key}` {place}");
            self.reader
                .error(span.or_else(|| item.span()), message, help);
        }
    }
}

fn json_of_item(item: &Item) -> Option<Json> {
    match item {
        Item::None => None,
        Item::Value(value) => json(value),
        Item::Table(table) => json_of_table(table),
        Item::ArrayOfTables(tables) => {
            let values: Option<Vec<Json>> = tables.iter().map(|t| json_of_table(t)).collect();
            values.map(Json::Array)
        }
    }
}

fn json_of_table(table: &dyn TableLike) -> Option<Json> {
    let members = table.iter();
    let members: Option<serde_json::Map<_, _>> = members
        .map(|(key, item)| Some((key.to_owned(), json_of_item(item)?)))
        .collect();
    members.map(Json::Object)
}

fn json(value: &Value) -> Option<Json> {
    match value {
        Value::String(text) => Some(text.value().as_str().into()),
        Value::Integer(number) => Some((*number.value()).into()),
        Value::Float(number) => serde_json::Number::from_f64(*number.value()).map(Json::Number),
        Value::Boolean(truth) => Some((*truth.value()).into()),
        Value::Datetime(_) => None,
        Value::Array(list) => {
            let values: Option<Vec<Json>> = list.iter().map(json).collect();
            values.map(Json::Array)
        }
        Value::InlineTable(table) => json_of_table(table),
    }
}
