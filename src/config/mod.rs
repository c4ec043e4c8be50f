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
pub use settings::{Listen, Settings};
use std::path::PathBuf;
pub use units::{parse_duration, show_duration};

/// Settings with the warnings about them, or all that is wrong.
pub fn load(sources: &Sources) -> Result<(Settings, Report), Report> {
    let file = sources.file.display().to_string();
    let mut problems = Vec::new();
    match load_files(sources, &mut problems) {
        Some(settings) => {
            let notes = advice::notes(&settings);
            Ok((settings, Report::new(file, problems, notes)))
        }
        None => Err(Report::new(file, problems, Vec::new())),
    }
}

/// Where the gateway listens, whatever else is wrong: who talks to a running one needs no more, and
/// the file may have changed since, or a secret be set for the gateway alone. `None` if the main file
/// can't be read.
#[must_use]
pub fn listen(sources: &Sources) -> Option<Listen> {
    let mut unheard = Vec::new();
    let text = Text::main(&sources.file).ok()?;
    let main = Document::parse(text.name.clone(), &text.text).ok()?;
    let whole = files::to_dict(&main, &mut unheard);
    let files = Files::one(main);
    let layers = Layers::merge(whole, sources, &mut unheard);
    let reader = Reader::new(&files, &layers, sources);
    Some(resolve::listen(&raw::listeners(&reader)))
}

/// The files that a configuration is made from, as far as they can be found. Blocks.
#[must_use]
pub fn files(sources: &Sources) -> Vec<PathBuf> {
    files::paths(&sources.file)
}

/// The core of `causeway check`.
#[must_use]
pub fn check(sources: &Sources) -> Report {
    match load(sources) {
        Ok((_, report)) | Err(report) => report,
    }
}

fn load_files(sources: &Sources, problems: &mut Vec<Problem>) -> Option<Settings> {
    let text = keep(Text::main(&sources.file), problems)?;
    let main = keep(Document::parse(text.name.clone(), &text.text), problems)?;
    let included = Text::included(&main, &sources.file, problems);
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
