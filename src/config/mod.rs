//! routes.toml → settings, all errors at once, each with its place and what to write instead.
//!
//! `files` finds the main file and what it includes; figment merges defaults, files, environment and
//! flags; `raw` is what they say, entry by entry; `resolve` fills in, looks names up and checks the promises; `settings` is what the gateway is
//! started with. toml_edit parses the files a second time, for positions. Values are never quoted in
//! messages, and secrets are blotted out of the lines that are shown.
//!
//! What must not live here: what a setting does.

mod advice;
pub mod cases;
mod document;
mod files;
pub mod guarantees;
mod layers;
mod literal;
mod names;
mod path;
mod problem;
mod raw;
mod reader;
mod resolve;
mod schema;
mod secret;
pub mod settings;
mod shape;
mod units;

use document::Document;
use files::{Files, Text};
use layers::Layers;
pub use layers::{Flag, Sources};
pub use problem::{FileName, Place, Problem, Report, Severity, Spot};
use reader::Reader;
pub use schema::schema;
pub use secret::Secret;
pub use settings::Settings;
use std::path::{Path, PathBuf};
pub use units::{parse_duration, show_duration};

/// Settings with the warnings about them, or all that is wrong.
pub fn load(sources: &Sources) -> Result<(Settings, Report), Report> {
    let mut problems = Vec::new();
    let mut names = vec![sources.file.display().to_string()];
    let settings = load_files(sources, &mut names, &mut problems);
    match settings {
        Some(settings) => {
            let notes = advice::notes(&settings);
            Ok((settings, Report::new(names, problems, notes)))
        }
        None => Err(Report::new(names, problems, Vec::new())),
    }
}

/// The core of `causeway check`.
#[must_use]
pub fn check(sources: &Sources) -> Report {
    match load(sources) {
        Ok((_, report)) | Err(report) => report,
    }
}

/// The files that a configuration is made of now: the main one, and what it includes as far as
/// that can be told.
#[must_use]
pub fn files(main: &Path) -> Vec<PathBuf> {
    let mut files = vec![main.to_owned()];
    if let Ok(text) = Text::main(main)
        && let Ok(document) = Document::parse(text.name.clone(), &text.text)
    {
        let included = Text::included(&document, main, &mut Vec::new());
        files.extend(included.iter().map(|text| text.name.as_str().into()));
    }
    files
}

fn load_files(
    sources: &Sources,
    names: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let text = keep(Text::main(&sources.file), problems)?;
    let main = keep(Document::parse(text.name.clone(), &text.text), problems)?;
    let included = Text::included(&main, &sources.file, problems);
    names.extend(included.iter().map(|text| text.name.to_string()));
    let documents: Vec<_> = included
        .iter()
        .filter_map(|text| keep(Document::parse(text.name.clone(), &text.text), problems))
        .collect();
    // What a file that can't be read holds would be missed everywhere.
    if !problems.is_empty() {
        return None;
    }
    let mut whole = files::to_dict(&main, problems);
    let mut files = Files::one(main);
    for document in documents {
        files.include(document, &mut whole, problems);
    }
    let layers = Layers::merge(whole, sources, problems);
    let layers_hold = problems.is_empty();
    let reader = Reader::new(&files, &layers, sources);
    let settings = resolve::resolve(raw::read(&reader), &reader).filter(|_| layers_hold);
    problems.extend(reader.into_problems());
    settings
}

fn keep<T>(read: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    read.map_err(|problem| problems.push(problem)).ok()
}

#[cfg(test)]
mod tests;
