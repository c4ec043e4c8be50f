//! The file, parsed a second time for its positions: figment keeps none.

use super::path::{Path, Step};
use super::problem::{Place, Problem, Severity, Spot};
use std::ops::Range;
use toml_edit::{ImDocument, Item, Table, TableLike, Value};

/// A line is shown up to here, and a longer one from so far before the column on.
const SHOWN_CHARS: usize = 200;
const SHOWN_BEFORE: usize = 100;

/// What a line shows in the place of a secret.
const BLOT: char = '*';

/// Keys whose values are never shown, whatever is wrong with the line: any that has one of these in it.
const SECRET_WORDS: [&str; 6] = [
    "password",
    "secret",
    "token",
    "credential",
    "private",
    "api_key",
];

pub(super) struct Document<'t> {
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
    pub(super) fn parse(text: &'t str) -> Result<Self, Problem> {
        let parsed = ImDocument::parse(text).map_err(|error| syntax_problem(text, &error))?;
        let mut secrets = Vec::new();
        collect_secrets(parsed.as_table(), false, &mut secrets);
        Ok(Self {
            text,
            parsed,
            secrets,
        })
    }

    /// Where the entry at a path stands, or the nearest thing around it that the file has.
    pub(super) fn place(&self, path: &Path, focus: Focus) -> Place {
        match self.span(path, focus) {
            Some(span) => Place::At(spot(self.text, span, &self.secrets)),
            None => Place::File,
        }
    }

    /// Whether the file itself has an entry at the path.
    pub(super) fn has(&self, path: &Path) -> bool {
        let root = Node::Item(self.parsed.as_item());
        path.steps()
            .iter()
            .try_fold(root, |at, step| Some(at.step(step)?.1))
            .is_some()
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

    fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Item(item) => item.span(),
            Self::Value(value) => value.span(),
            Self::Table(table) => table.span(),
        }
    }
}

/// All values below a key that names a secret, whatever their form, and addresses with a password.
fn collect_secrets(table: &dyn TableLike, hidden: bool, secrets: &mut Vec<Range<usize>>) {
    for (key, item) in table.iter() {
        let hidden = hidden || names_secret(key);
        match item {
            Item::None => {}
            Item::Value(value) => collect_in_value(value, hidden, secrets),
            Item::Table(table) => collect_secrets(table, hidden, secrets),
            Item::ArrayOfTables(tables) => {
                tables
                    .iter()
                    .for_each(|table| collect_secrets(table, hidden, secrets));
            }
        }
    }
}

fn collect_in_value(value: &Value, hidden: bool, secrets: &mut Vec<Range<usize>>) {
    match value {
        _ if hidden => secrets.extend(value.span()),
        Value::InlineTable(table) => collect_secrets(table, hidden, secrets),
        Value::Array(array) => {
            array
                .iter()
                .for_each(|value| collect_in_value(value, hidden, secrets));
        }
        Value::String(text) if has_userinfo(text.value()) => secrets.extend(value.span()),
        _ => {}
    }
}

fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// `amqp://user:password@host`
fn has_userinfo(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| {
        rest.split('/')
            .next()
            .is_some_and(|host| host.contains('@'))
    })
}

pub(super) fn syntax_problem(text: &str, error: &toml_edit::TomlError) -> Problem {
    let place = error.span().map_or(Place::File, |span| {
        let mut spot = spot(text, span.clone(), &[]);
        if may_show_secret(text, span.start) {
            spot.text = BLOT.to_string().repeat(spot.text.chars().count());
        }
        Place::At(spot)
    });
    Problem {
        severity: Severity::Error,
        place,
        message: format!("this is no TOML: {}", error.message().replace('\n', "; ")),
        help: None,
    }
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
pub(super) fn spot(text: &str, span: Range<usize>, secrets: &[Range<usize>]) -> Spot {
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
