//! What is wrong with a file, where, and what to write instead.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

/// The longest message, and the longest help.
const MAX_CHARS: usize = 500;

/// One thing that is wrong, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file as a whole, or what it doesn't have.
    File(FileName),
    At(Spot),
    /// An environment variable, by its name.
    Environment(String),
    /// A flag of the command line, by its name.
    Flag(String),
}

/// One file of a configuration: the main one, or one that it includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(Arc<Named>);

#[derive(Debug, PartialEq, Eq)]
struct Named {
    /// Which one it is in the order of reading; the main file is the first, 0.
    order: usize,
    name: String,
}

/// Somewhere in a file. Line and column count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    pub file: FileName,
    pub line: usize,
    pub column: usize,
    /// How many characters of the line are meant: at least 1.
    pub width: usize,
    /// The line, or what of a long one stands around the column, with secrets blotted out.
    pub text: String,
    /// So many characters of the line stand before `text`.
    pub skipped: usize,
}

/// All that was found in one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The main file as it was named.
    pub file: String,
    pub problems: Vec<Problem>,
    /// What the settings amount to, in words.
    pub notes: Vec<String>,
}

impl Severity {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl FileName {
    pub(super) fn new(order: usize, name: impl Into<String>) -> Self {
        let name = name.into();
        Self(Arc::new(Named { order, name }))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.name
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Place {
    /// The order in which problems are shown: file by file, first what concerns one as a whole, then
    /// it from top to bottom; at the end what came from outside.
    fn rank(&self) -> (usize, usize, usize, &str) {
        match self {
            Self::File(file) => (file.0.order, 0, 0, ""),
            Self::At(spot) => (spot.file.0.order, spot.line, spot.column, ""),
            Self::Environment(name) => (usize::MAX, 0, 0, name),
            Self::Flag(name) => (usize::MAX, 1, 0, name),
        }
    }
}

/// As people point at it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{file}"),
            Self::At(spot) => write!(f, "{}:{}:{}", spot.file, spot.line, spot.column),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// What people wrote may be in it: however long, and with whatever a terminal would obey.
fn fit(text: &mut String) {
    if text.contains(|c: char| c.is_control()) {
        *text = text.replace(|c: char| c.is_control(), "\u{fffd}");
    }
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
}

impl Report {
    /// Of a file that is sound and yet isn't taken: what is in the way, and what to do.
    #[must_use]
    pub fn not_taken(file: &Path, why: Vec<(String, Option<String>)>) -> Self {
        let name = file.display().to_string();
        let problem = |(message, help)| Problem {
            severity: Severity::Error,
            place: Place::File(FileName::new(0, name.as_str())),
            message,
            help,
        };
        let problems = why.into_iter().map(problem).collect();
        Self::new(name, problems, Vec::new())
    }

    pub(super) fn new(file: String, mut problems: Vec<Problem>, notes: Vec<String>) -> Self {
        for problem in &mut problems {
            fit(&mut problem.message);
            problem.help.iter_mut().for_each(fit);
        }
        problems.sort_by(|a, b| a.place.rank().cmp(&b.place.rank()));
        // What is at fault once may be found once for each that uses it.
        let mut seen = HashSet::new();
        problems.retain(|p| seen.insert((p.place.to_string(), p.message.clone())));
        Self {
            file,
            problems,
            notes,
        }
    }

    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Every problem as rustc shows its own, then the notes and a line that sums up.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            render(problem, &mut out);
            out.push('\n');
        }
        for note in &self.notes {
            line(&mut out, format_args!("note: {note}"));
        }
        line(&mut out, format_args!("{}: {}", self.file, self.summary()));
        out
    }

    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let problems: Vec<_> = self.problems.iter().map(to_json).collect();
        serde_json::json!({
            "ok": !self.has_errors(),
            "file": self.file,
            "problems": problems,
            "notes": self.notes,
        })
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems
            .iter()
            .filter(|p| p.severity == severity)
            .count()
    }

    fn summary(&self) -> String {
        let plural = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        match (self.count(Severity::Error), self.count(Severity::Warning)) {
            (0, 0) => "no problems".to_owned(),
            (0, warnings) => plural(warnings, "warning"),
            (errors, 0) => plural(errors, "error"),
            (errors, warnings) => {
                format!(
                    "{}, {}",
                    plural(errors, "error"),
                    plural(warnings, "warning")
                )
            }
        }
    }
}

fn render(problem: &Problem, out: &mut String) {
    let (place, severity) = (&problem.place, problem.severity.as_str());
    let message = &problem.message;
    line(out, format_args!("{place}: {severity}: {message}"));
    if let Place::At(spot) = place {
        render_excerpt(spot, out);
    }
    if let Some(help) = &problem.help {
        line(out, format_args!("help: {help}"));
    }
}

fn render_excerpt(spot: &Spot, out: &mut String) {
    let number = spot.line.to_string();
    let gutter = " ".repeat(number.len());
    line(out, format_args!("{gutter} |"));
    line(
        out,
        format_args!("{}", format!("{number} | {}", spot.text).trim_end()),
    );
    let indent = " ".repeat(spot.column - 1 - spot.skipped);
    line(
        out,
        format_args!("{gutter} | {indent}{}", "^".repeat(spot.width)),
    );
}

fn line(out: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(out, "{words}").expect("writing to a String can't fail");
}

fn to_json(problem: &Problem) -> serde_json::Value {
    let mut json = serde_json::json!({
        "severity": problem.severity.as_str(),
        "message": problem.message,
        "help": problem.help,
    });
    match &problem.place {
        Place::File(file) => json["file"] = file.as_str().into(),
        Place::At(spot) => {
            json["file"] = spot.file.as_str().into();
            json["line"] = spot.line.into();
            json["column"] = spot.column.into();
            json["width"] = spot.width.into();
        }
        Place::Environment(name) => json["environment"] = name.as_str().into(),
        Place::Flag(name) => json["flag"] = name.as_str().into(),
    }
    json
}
