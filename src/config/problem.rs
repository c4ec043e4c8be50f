//! What is wrong with a file, where, and what to write instead.

use std::fmt::Write as _;

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

/// Ordered as problems are shown: what concerns the file as a whole, the file from top to bottom,
/// then what came from outside of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole, or what it doesn't have.
    File,
    At(Spot),
    /// An environment variable, by its name.
    Environment(String),
    /// A flag of the command line, by its name.
    Flag(String),
}

/// Somewhere in the file. Line and column count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
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
    /// The file as it was named.
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

impl Report {
    pub(super) fn new(file: String, mut problems: Vec<Problem>, notes: Vec<String>) -> Self {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        // What is at fault once may be found once for each that uses it.
        problems.dedup();
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
            render(&self.file, problem, &mut out);
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
        let problems: Vec<_> = self
            .problems
            .iter()
            .map(|p| to_json(&self.file, p))
            .collect();
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

fn render(file: &str, problem: &Problem, out: &mut String) {
    let severity = problem.severity.as_str();
    let message = &problem.message;
    match &problem.place {
        Place::File => line(out, format_args!("{file}: {severity}: {message}")),
        Place::At(spot) => {
            let Spot {
                line: number,
                column,
                ..
            } = spot;
            line(
                out,
                format_args!("{file}:{number}:{column}: {severity}: {message}"),
            );
            render_excerpt(spot, out);
        }
        Place::Environment(name) => {
            line(
                out,
                format_args!("environment variable {name}: {severity}: {message}"),
            );
        }
        Place::Flag(name) => line(out, format_args!("{name}: {severity}: {message}")),
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

fn to_json(file: &str, problem: &Problem) -> serde_json::Value {
    let mut json = serde_json::json!({
        "severity": problem.severity.as_str(),
        "message": problem.message,
        "help": problem.help,
    });
    match &problem.place {
        Place::File => json["file"] = file.into(),
        Place::At(spot) => {
            json["file"] = file.into();
            json["line"] = spot.line.into();
            json["column"] = spot.column.into();
            json["width"] = spot.width.into();
        }
        Place::Environment(name) => json["environment"] = name.as_str().into(),
        Place::Flag(name) => json["flag"] = name.as_str().into(),
    }
    json
}
