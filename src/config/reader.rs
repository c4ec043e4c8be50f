//! Reads the merged layers entry by entry. Every wrong entry becomes a problem with its place,
//! and reading goes on: serde would stop at the first.
//!
//! A read that fails returns `None`, like an entry that isn't there. Whoever fills in for it may
//! do so with anything: settings with an error in them are never handed out.

mod table;

use super::document::Focus;
use super::files::Files;
use super::layers::{Layers, Origin, Sources};
use super::path::{Path, Step};
use super::problem::{Place, Problem, Severity};
use super::shape::{Note, Shape};
use figment::value::Value;
use std::cell::RefCell;
use std::ops::Range;
pub(super) use table::Table;

/// How the TOML reader hands a date through serde.
const DATE_KEY: &str = "$__toml_private_datetime";

pub(super) struct Reader<'a> {
    files: &'a Files<'a>,
    layers: &'a Layers,
    pub(super) sources: &'a Sources,
    problems: RefCell<Vec<Problem>>,
    /// What was asked for, if somebody wants to know.
    notes: Option<RefCell<Vec<(Path, Note)>>>,
}

/// One entry of a list, or of a table with names of the user's.
pub(super) struct Entry<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) path: Path,
    pub(super) value: &'a Value,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a Files<'a>, layers: &'a Layers, sources: &'a Sources) -> Self {
        Self {
            files,
            layers,
            sources,
            problems: RefCell::default(),
            notes: None,
        }
    }

    /// A reader that notes what it is asked for.
    pub(super) fn noting(self) -> Self {
        Self {
            notes: Some(RefCell::default()),
            ..self
        }
    }

    pub(super) fn into_notes(self) -> Vec<(Path, Note)> {
        self.notes.map(RefCell::into_inner).unwrap_or_default()
    }

    fn note(&self, path: &Path, note: Note) {
        if let Some(notes) = &self.notes {
            notes.borrow_mut().push((path.clone(), note));
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

    /// What paths in the file that holds an entry are relative to.
    pub(super) fn folder_of(&self, path: &Path) -> std::path::PathBuf {
        self.files.folder_of(path)
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

    /// Like `error`, for a part of a text: `part` counts its bytes.
    pub(super) fn error_in(
        &self,
        path: &Path,
        part: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = match self.place(path, Focus::Value) {
            whole @ Place::At(_) => self.files.place_in(path, part).unwrap_or(whole),
            outside => outside,
        };
        self.report(Severity::Error, place, message, help);
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
    pub(super) fn place(&self, path: &Path, focus: Focus) -> Place {
        let outside = |value: &Value| self.layers.outside(self.layers.origin(value.tag()), path);
        let in_file = || self.files.place(path, focus);
        match self.layers.find(path) {
            Some(Value::Dict(..)) if self.files.has(path) => in_file(),
            Some(value) => outside(value).unwrap_or_else(in_file),
            None => match in_file() {
                whole @ Place::File(_) => outside(self.layers.deepest(path)).unwrap_or(whole),
                place => place,
            },
        }
    }

    /// The environment and flags have text only: it may stand for a number, or true and false.
    pub(super) fn is_text_only(&self, value: &Value) -> bool {
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

    pub(super) fn wrong_type(&self, path: &Path, value: &Value, wanted: &str, example: &str) {
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
        let (what, help) = match path.steps().last() {
            Some(Step::Index(_)) => (
                format!("an entry of `{path}`"),
                format!("write it like {name} = [{example}]"),
            ),
            _ => (
                format!("`{path}`"),
                format!("write it like {name} = {example}"),
            ),
        };
        self.error(path, format!("{what} must be {wanted}, not {found}"), help);
    }

    pub(super) fn wrong_form(&self, path: &Path, wanted: &str, example: &str) {
        let name = path.names().last().unwrap_or_default();
        self.error(
            path,
            format!("`{path}` must be {wanted}"),
            format!("write it like {name} = {example}"),
        );
    }

    pub(super) fn out_of_range(
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

impl<'a> Entry<'a> {
    pub(super) fn as_text(&self) -> Option<String> {
        self.note(Shape::Text);
        self.reader.as_text(&self.path, self.value)
    }

    pub(super) fn note(&self, shape: Shape) {
        self.reader.note(&self.path, Note::Is(shape));
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.as_str().is_some()
    }

    /// The last step of the way to it, if that is a name.
    pub(super) fn name(&self) -> &str {
        self.path.names().last().unwrap_or_default()
    }

    pub(super) fn into_table(self) -> Option<Table<'a>> {
        self.note(Shape::Table);
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
