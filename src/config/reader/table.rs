//! One table, and the reading of its entries by their kind.

use super::super::names::nearest;
use super::super::path::Step;
use super::super::shape::{Note, Shape};
use super::super::units::{parse_count, parse_duration, parse_size, show_duration, show_size};
use super::{Entry, Path, Reader, has_template, quoted, whole};
use figment::value::{Dict, Value};
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

/// One table, and which of its keys were asked for.
pub(in crate::config) struct Table<'a> {
    pub(in crate::config) reader: &'a Reader<'a>,
    pub(in crate::config) path: Path,
    entries: &'a Dict,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(reader: &'a Reader<'a>, path: Path, entries: &'a Dict) -> Self {
        Self {
            reader,
            path,
            entries,
            known: RefCell::default(),
        }
    }

    /// The entry as it is. The key is known from now on.
    pub(in crate::config) fn get(&self, key: &'static str) -> Option<(Path, &'a Value)> {
        if !self.known.borrow().contains(&key) {
            self.known.borrow_mut().push(key);
        }
        self.reader.note(&self.path.name(key), Note::Asked);
        Some((self.path.name(key), self.entries.get(key)?))
    }

    /// The same, to be read by who knows what it may be.
    pub(in crate::config) fn entry(&self, key: &'static str) -> Option<Entry<'a>> {
        let (path, value) = self.get(key)?;
        Some(Entry {
            reader: self.reader,
            path,
            value,
        })
    }

    pub(in crate::config) fn keys(&self) -> impl Iterator<Item = String> {
        self.entries.keys().cloned()
    }

    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// What the entry at a key may be, for who wants to know.
    pub(in crate::config) fn note(&self, key: &str, shape: impl FnOnce() -> Shape) {
        if self.reader.notes.is_some() {
            self.reader.note(&self.path.name(key), Note::Is(shape()));
        }
    }

    /// What kind of table this is, where several can stand.
    pub(in crate::config) fn note_kind(&self, kind: &'static str) {
        self.reader.note(&self.path, Note::Kind(kind));
    }

    /// Text with nothing special in it.
    pub(in crate::config) fn raw_text(&self, key: &'static str) -> Option<String> {
        self.note(key, || Shape::Text);
        let (path, value) = self.get(key)?;
        self.reader.as_text(&path, value)
    }

    /// Text in which `${…}` would be a template; `$${` stands for `${`.
    pub(in crate::config) fn text(&self, key: &'static str) -> Option<String> {
        let text = self.raw_text(key)?;
        if has_template(&text) {
            self.refuse_template(key);
            return None;
        }
        Some(text.replace("$${", "${"))
    }

    pub(in crate::config) fn refuse_template(&self, key: &str) {
        self.reader.error(
            &self.path.name(key),
            "this can't be a template (`${…}`)",
            "write plain text, or `$${` for a plain `${`",
        );
    }

    pub(in crate::config) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.note(key, || Shape::Boolean);
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

    pub(in crate::config) fn count(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        self.note(key, || Shape::Count(range.clone()));
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
    pub(in crate::config) fn size(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        const WANTED: (&str, &str) = (
            "a size",
            "\"10MiB\" (B, KiB, MiB, GiB, TiB, KB, MB, GB, TB)",
        );
        self.note(key, || Shape::Size);
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
            let show = show_size;
            self.reader
                .out_of_range(&path, show(*range.start()), show(*range.end()));
        }
        good
    }

    pub(in crate::config) fn duration(
        &self,
        key: &'static str,
        least: Duration,
    ) -> Option<Duration> {
        const WANTED: (&str, &str) = ("a duration", "\"30s\" (ms, s, m, h, d)");
        self.note(key, || Shape::Duration);
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
                let show = show_duration;
                self.reader.out_of_range(&path, show(least), "36500d");
            }
            good => return good,
        }
        None
    }

    /// One of some words; of those in `later` is said that they are not built in.
    pub(in crate::config) fn choice<T: Copy>(
        &self,
        key: &'static str,
        built: &[(&'static str, T)],
        later: &[&'static str],
    ) -> Option<T> {
        let names: Vec<&'static str> = built.iter().map(|(name, _)| *name).collect();
        let word = self.word(key, &names, later)?;
        if let Some((_, choice)) = built.iter().find(|(name, _)| *name == word) {
            return Some(*choice);
        }
        self.reader.error(
            &self.path.name(key),
            format!("{key} = {word:?} is not built in"),
            format!("built in: {}", quoted(&names)),
        );
        None
    }

    /// One of some words, be it built in or not.
    pub(in crate::config) fn word(
        &self,
        key: &'static str,
        built: &[&'static str],
        later: &[&'static str],
    ) -> Option<&'static str> {
        let words = || built.iter().chain(later).copied();
        self.note(key, || Shape::Words(words().collect()));
        let (path, value) = self.get(key)?;
        let word = self.reader.as_text(&path, value)?;
        let found = words().find(|known| *known == word);
        if found.is_none() {
            let all = match later {
                [] => "there are",
                _ => "built in",
            };
            let help = nearest(&word, words()).map_or_else(
                || format!("{all}: {}", quoted(built)),
                |near| format!("did you mean {near:?}?"),
            );
            self.reader
                .error(&path, format!("`{path}` has no such choice"), help);
        }
        found
    }

    pub(in crate::config) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        self.note(key, || Shape::Table);
        let (path, value) = self.get(key)?;
        self.reader.as_table(path, value)
    }

    /// The table, or an empty one in the place of what isn't there or no table.
    pub(in crate::config) fn table_or_empty(&self, key: &'static str) -> Table<'a> {
        static EMPTY: Dict = Dict::new();
        let table = self.table(key);
        table.unwrap_or_else(|| Table::new(self.reader, self.path.name(key), &EMPTY))
    }

    /// A table with names of the user's: each with what it stands for. `None` if the key isn't there
    /// or no table.
    pub(in crate::config) fn named(&self, key: &'static str) -> Option<Vec<Entry<'a>>> {
        self.note(key, || Shape::Names);
        let (path, value) = self.get(key)?;
        let table = self.reader.as_table(path, value)?;
        let entry = |(name, value): (&String, &'a Value)| Entry {
            reader: table.reader,
            path: table.path.name(name),
            value,
        };
        Some(table.entries.iter().map(entry).collect())
    }

    /// The same for a table of tables.
    pub(in crate::config) fn named_tables(&self, key: &'static str) -> Vec<(String, Table<'a>)> {
        let entries = self.named(key).unwrap_or_default().into_iter();
        entries
            .filter_map(|entry| Some((entry.name().to_owned(), entry.into_table()?)))
            .collect()
    }

    /// `None` if the key isn't there or no list.
    pub(in crate::config) fn list(&self, key: &'static str) -> Option<Vec<Entry<'a>>> {
        self.note(key, || Shape::List);
        let (path, value) = self.get(key)?;
        let Value::Array(_, values) = value else {
            if value.as_dict().is_some() {
                // `[routes]`, `[routes.x]`
                self.reader.error(
                    &path,
                    format!("`{path}` must be a list, not a table"),
                    format!("write [[{path}]], with two brackets, above each entry"),
                );
            } else {
                self.reader.wrong_type(&path, value, "a list", "[…]");
            }
            return None;
        };
        let entry = |(index, value)| Entry {
            reader: self.reader,
            path: path.index(index),
            value,
        };
        Some(values.iter().enumerate().map(entry).collect())
    }

    /// Refuses a key that is known, and can't be used yet.
    pub(in crate::config) fn refuse(&self, key: &str) {
        self.reader.key_error(
            &self.path.name(key),
            format!("`{key}` {} is not built in", self.path.as_header()),
            "take it out: this version can't do it",
        );
    }

    /// Complains if a key isn't there.
    pub(in crate::config) fn require(&self, key: &str, example: &str) {
        self.reader.note(&self.path.name(key), Note::Required);
        if !self.has(key) {
            self.missing(key, example);
        }
    }

    /// A required key that isn't there.
    pub(in crate::config) fn missing(&self, key: &str, example: &str) {
        self.reader.key_error(
            &self.path.name(key),
            format!("`{key}` is missing {}", self.path.as_header()),
            format!("write {key} = {example}"),
        );
    }

    /// Complains of every key that nobody asked for.
    pub(in crate::config) fn finish(self) {
        self.finish_with(|_| None);
    }

    /// The same; what is said of a key that belongs somewhere else.
    pub(in crate::config) fn finish_with(self, elsewhere: impl Fn(&str) -> Option<String>) {
        let known = self.known.borrow();
        let in_list = matches!(self.path.steps().last(), Some(Step::Index(_)));
        for (key, value) in self.entries {
            let key = key.as_str();
            if known.contains(&key) {
                continue;
            }
            let help = match (elsewhere(key), nearest(key, known.iter().copied())) {
                (Some(help), _) => help,
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) if in_list && value.as_dict().is_some() => {
                    let list = self.path.to_string();
                    format!(
                        "[{list}.{key}] belongs to the last [[{list}]]: write [[{list}]] instead"
                    )
                }
                (None, None) => format!("known here: {}", known.join(", ")),
            };
            let message = format!("unknown key `{key}` {}", self.path.as_header());
            self.reader.key_error(&self.path.name(key), message, help);
        }
    }
}
