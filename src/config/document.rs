//! One file, parsed a second time for its positions: figment keeps none.

use super::literal;
use super::names::nearest;
use super::path::{Path, Step};
use super::problem::{FileName, Place, Problem, Severity, Spot};
use std::collections::HashMap;
use std::ops::Range;
use toml_edit::{ImDocument, Item, Table, TableLike, Value};

/// A line is shown up to here, and a longer one from so far before the column on.
const SHOWN_CHARS: usize = 200;
const SHOWN_BEFORE: usize = 100;

/// What a line shows in the place of a secret.
const BLOT: char = '*';

/// Keys whose values are never shown, whatever is wrong with the line: any that has one of these in it.
const SECRET_WORDS: [&str; 8] = [
    "password",
    "secret",
    "token",
    "credential",
    "private",
    "api_key",
    "authorization",
    "jaas",
];

/// And those whose name is near to one of these.
const SECRET_KEYS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "secret",
    "token",
    "credentials",
    "api_key",
    "secret_access_key",
];

pub(super) struct Document<'t> {
    pub(super) name: FileName,
    text: &'t str,
    parsed: ImDocument<&'t str>,
    /// Byte ranges that hold secrets.
    secrets: Vec<Range<usize>>,
}

/// Which part of an entry is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Key,
    Value,
}

impl<'t> Document<'t> {
    /// Parses the text; what is no TOML is a problem with its place.
    pub(super) fn parse(name: FileName, text: &'t str) -> Result<Self, Problem> {
        let parsed =
            ImDocument::parse(text).map_err(|error| syntax_problem(&name, text, &error))?;
        let mut secrets = Secrets::default();
        secrets.collect(parsed.as_table(), false);
        let secrets = secrets.ranges;
        Ok(Self {
            name,
            text,
            parsed,
            secrets,
        })
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// Where the entry at a path stands, or the nearest thing around it that the file has.
    pub(super) fn place(&self, path: &Path, focus: Focus) -> Place {
        match self.span(path, focus) {
            Some(span) => Place::At(self.spot(span)),
            None => Place::File(self.name.clone()),
        }
    }

    /// Where a part of the text at a path stands; `part` counts the bytes of the text as it is
    /// meant, without quotes and escapes. `None` where that can't be told.
    pub(super) fn place_in(&self, path: &Path, part: Range<usize>) -> Option<Place> {
        let node = self.node(path)?;
        let span = node.span()?;
        let written = self.text.get(span.clone())?;
        let part = literal::locate(written, node.as_str()?, part)?;
        let span = span.start + part.start..span.start + part.end;
        Some(Place::At(self.spot(span)))
    }

    /// Whether the file itself has an entry at the path.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.node(path).is_some()
    }

    /// The texts of the list at a key of the whole file, each with its place in the list.
    pub(super) fn texts_at(&self, key: &str) -> Vec<(usize, String)> {
        let list = self.parsed.get(key).and_then(Item::as_array);
        let values = list.into_iter().flat_map(|list| list.iter().enumerate());
        values
            .filter_map(|(index, value)| Some((index, value.as_str()?.to_owned())))
            .collect()
    }

    /// What stands behind an entry as a comment: behind a value, or the header of a table.
    pub(super) fn comment(&self, path: &Path) -> Option<&'t str> {
        let span = match self.node(path)? {
            Node::Value(value) | Node::Item(Item::Value(value)) => {
                let end = value.span()?.end;
                end..end
            }
            Node::Item(_) | Node::Table(_) => self.span(path, Focus::Value)?,
        };
        let line = self.text.get(span.start..)?.lines().next()?;
        let (entry, comment) = line.split_once('#')?;
        // Behind a value that isn't the last of its line stands no comment of its own.
        (entry.trim().is_empty() || !span.is_empty()).then(|| comment.trim())
    }

    fn spot(&self, span: Range<usize>) -> Spot {
        spot(&self.name, self.text, span, &self.secrets)
    }

    fn node(&self, path: &Path) -> Option<Node<'_>> {
        let root = Node::Item(self.parsed.as_item());
        path.steps()
            .iter()
            .try_fold(root, |at, step| Some(at.step(step)?.1))
    }

    fn span(&self, path: &Path, focus: Focus) -> Option<Range<usize>> {
        let mut at = Node::Item(self.parsed.as_item());
        let mut best = None;
        for (index, step) in path.steps().iter().enumerate() {
            let Some((key, next)) = at.step(step) else {
                break;
            };
            let wants_key = focus == Focus::Key && index + 1 == path.steps().len();
            let value = next.span().filter(|_| !wants_key);
            best = value.or(key).or_else(|| next.span()).or(best);
            at = next;
        }
        best
    }
}

/// Items and values, walked alike.
enum Node<'d> {
    Item(&'d Item),
    Value(&'d Value),
    Table(&'d Table),
}

impl<'d> Node<'d> {
    /// One step down: the key's span, if the step is a name, and what stands there.
    fn step(&self, step: &Step) -> Option<(Option<Range<usize>>, Self)> {
        match step {
            Step::Name(name) => {
                let table: &dyn TableLike = match *self {
                    Self::Item(item) => item.as_table_like()?,
                    Self::Value(value) => value.as_inline_table()?,
                    Self::Table(table) => table,
                };
                let (key, item) = table.get_key_value(name)?;
                Some((key.span(), Self::Item(item)))
            }
            Step::Index(index) => match *self {
                Self::Item(Item::ArrayOfTables(tables)) => {
                    Some((None, Self::Table(tables.get(*index)?)))
                }
                Self::Item(item) => Some((None, Self::Value(item.as_array()?.get(*index)?))),
                Self::Value(value) => Some((None, Self::Value(value.as_array()?.get(*index)?))),
                Self::Table(_) => None,
            },
        }
    }

    fn as_str(&self) -> Option<&'d str> {
        match *self {
            Self::Item(item) => item.as_str(),
            Self::Value(value) => value.as_str(),
            Self::Table(_) => None,
        }
    }

    fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Item(item) => item.span(),
            Self::Value(value) => value.span(),
            Self::Table(table) => table.span(),
        }
    }
}

/// The values that are never shown.
#[derive(Default)]
struct Secrets<'p> {
    /// Where they stand.
    ranges: Vec<Range<usize>>,
    /// The keys that were judged: most files have few different ones.
    names: HashMap<&'p str, bool>,
}

impl<'p> Secrets<'p> {
    /// All values below a key that names a secret, whatever their form, and addresses with a password.
    fn collect(&mut self, table: &'p dyn TableLike, hidden: bool) {
        for (key, item) in table.iter() {
            let hidden = hidden || *self.names.entry(key).or_insert_with(|| names_secret(key));
            match item {
                Item::None => {}
                Item::Value(value) => self.collect_in_value(value, hidden),
                Item::Table(table) => self.collect(table, hidden),
                Item::ArrayOfTables(tables) => {
                    tables.iter().for_each(|table| self.collect(table, hidden));
                }
            }
        }
    }

    fn collect_in_value(&mut self, value: &'p Value, hidden: bool) {
        match value {
            _ if hidden => self.ranges.extend(value.span()),
            Value::InlineTable(table) => self.collect(table, hidden),
            Value::Array(array) => {
                let values = array.iter();
                values.for_each(|value| self.collect_in_value(value, hidden));
            }
            Value::String(text) if has_userinfo(text.value()) => self.ranges.extend(value.span()),
            _ => {}
        }
    }
}

/// Also where it is misspelt: that is when a line is shown.
pub(super) fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word)) || nearest(&key, SECRET_KEYS).is_some()
}

/// `amqp://user:password@host`, or `user:password@host` where the scheme was forgotten.
pub(super) fn has_userinfo(text: &str) -> bool {
    let (has_scheme, rest) = match text.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, text),
    };
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    host.split_once('@')
        .is_some_and(|(user, _)| has_scheme || user.contains(':'))
}

pub(super) fn syntax_problem(name: &FileName, text: &str, error: &toml_edit::TomlError) -> Problem {
    let place = error.span().map_or(Place::File(name.clone()), |span| {
        let mut spot = spot(name, text, span.clone(), &[]);
        if may_show_secret(text, span.start) {
            spot.text = BLOT.to_string().repeat(spot.text.chars().count());
        }
        Place::At(spot)
    });
    Problem {
        severity: Severity::Error,
        place,
        message: format!("this is no TOML: {}", error.message().replace('\n', "; ")),
        help: syntax_help(error.message()).map(str::to_owned),
    }
}

/// What to write instead, where the parser's words tell it.
fn syntax_help(message: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 5] = [
        (
            "inline table",
            "a table in braces stands on one line, without a comma at its end; \
             a longer one is a block with a header, like [[routes.to]]",
        ),
        ("duplicate key", "keep one of them"),
        ("multiline", "close the text with three quotes"),
        (
            "basic string",
            "close the text with a quote, in the same line",
        ),
        ("invalid string", "write text in quotes: \"…\""),
    ];
    let mut hints = HINTS.iter();
    hints
        .find(|(word, _)| message.contains(word))
        .map(|(_, help)| *help)
}

/// Without a parse nobody knows where a secret begins and ends: a line with a secret's name or an
/// address with a password isn't shown, nor one that may stand inside a text of several lines.
fn may_show_secret(text: &str, at: usize) -> bool {
    let at = floor(text, at);
    let (before, line) = (&text[..at], line_at(text, at).1);
    names_secret(line)
        || line.contains('@')
        || before.matches("\"\"\"").count() % 2 == 1
        || before.matches("'''").count() % 2 == 1
}

/// Line, column and the blotted line of a range of bytes; a range of several lines is its first.
pub(super) fn spot(
    name: &FileName,
    text: &str,
    span: Range<usize>,
    secrets: &[Range<usize>],
) -> Spot {
    let start = floor(text, span.start);
    let (line_start, line) = line_at(text, start);
    let is_secret = |at: usize| secrets.iter().any(|range| range.contains(&at));
    let column = text[line_start..start].chars().count() + 1;
    let skipped = match line.chars().nth(SHOWN_CHARS) {
        Some(_) => column.saturating_sub(SHOWN_BEFORE),
        None => 0,
    };
    let shown: String = line
        .char_indices()
        .skip(skipped)
        .take(SHOWN_CHARS)
        .map(|(at, c)| match c {
            _ if is_secret(line_start + at) => BLOT,
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    let end = floor(text, span.end).clamp(start, line_start + line.len().max(start - line_start));
    Spot {
        file: name.clone(),
        line: text[..line_start].matches('\n').count() + 1,
        column,
        width: text[start..end].chars().take(SHOWN_CHARS).count().max(1),
        text: shown.trim_end().to_owned(),
        skipped,
    }
}

/// Where the line begins that a byte is in, and the whole of it.
fn line_at(text: &str, at: usize) -> (usize, &str) {
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    (start, text[start..end].trim_end_matches('\r'))
}

/// The next boundary of a character at or below.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
