//! routes.toml → settings, all errors at once, each with its place and what to write instead.
//!
//! figment merges defaults, file, environment and flags; `raw` is what they say, entry by entry;
//! `resolve` fills in, looks names up and checks the promises; `settings` is what the gateway is
//! started with. toml_edit parses the file a second time, for positions. Values are never quoted in
//! messages, and secrets are blotted out of the lines that are shown.
//!
//! What must not live here: what a setting does.

mod advice;
pub mod cases;
mod document;
pub mod guarantees;
mod layers;
mod names;
mod path;
mod problem;
mod raw;
mod reader;
mod resolve;
pub mod settings;
mod units;

use document::Document;
use layers::Layers;
pub use layers::{Flag, Sources};
pub use problem::{Place, Problem, Report, Severity, Spot};
use reader::Reader;
pub use settings::Settings;
use std::fs::File;
use std::io::Read as _;
pub use units::{parse_duration, show_duration};

/// More than ten thousand routes need.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Settings with the warnings about them, or all that is wrong.
pub fn load(sources: &Sources) -> Result<(Settings, Report), Report> {
    let file = sources.file.display().to_string();
    let text = match read_file(sources) {
        Ok(text) => text,
        Err(problem) => return Err(Report::new(file, vec![problem], Vec::new())),
    };
    let (settings, problems) = match Document::parse(&text) {
        Ok(document) => read_document(&document, &text, sources),
        Err(problem) => (None, vec![problem]),
    };
    match settings {
        Some(settings) => {
            let notes = advice::notes(&settings);
            Ok((settings, Report::new(file, problems, notes)))
        }
        None => Err(Report::new(file, problems, Vec::new())),
    }
}

/// The core of `causeway check`.
#[must_use]
pub fn check(sources: &Sources) -> Report {
    match load(sources) {
        Ok((_, report)) | Err(report) => report,
    }
}

fn read_document(
    document: &Document<'_>,
    text: &str,
    sources: &Sources,
) -> (Option<Settings>, Vec<Problem>) {
    let mut problems = Vec::new();
    let layers = Layers::merge(text, sources, &mut problems);
    let layers_hold = problems.is_empty();
    let reader = Reader::new(document, &layers);
    let settings = resolve::resolve(raw::read(&reader), &reader).filter(|_| layers_hold);
    problems.extend(reader.into_problems());
    (settings, problems)
}

fn read_file(sources: &Sources) -> Result<String, Problem> {
    let problem = |message: String, help: &str| Problem {
        severity: Severity::Error,
        place: Place::File,
        message,
        help: Some(help.to_owned()),
    };
    let mut bytes = Vec::new();
    File::open(&sources.file)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            problem(
                format!("the file can't be read: {error}"),
                "name another with --config FILE",
            )
        })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("the file has more than {MAX_FILE_BYTES} bytes");
        return Err(problem(message, "name another with --config FILE"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        problem(
            format!("line {line} is no UTF-8"),
            "write the file in UTF-8",
        )
    })
}

#[cfg(test)]
mod tests;
