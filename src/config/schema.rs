//! The JSON Schema of routes.toml, for editors: made of what the reader asks for while it reads a file
//! that has everything, so that neither can know a key that the other doesn't.

mod tree;

use super::document::Document;
use super::files::{self, Files};
use super::layers::{Layers, Sources};
use super::problem::FileName;
use super::raw;
use super::reader::Reader;
use serde_json::Value;
use tree::Tree;

const EVERYTHING: &str = include_str!("everything.toml");

/// JSON Schema, draft 7, which is what editors' TOML tools understand.
#[must_use]
pub fn schema() -> Value {
    let document = everything();
    let notes = note(everything());
    let tree = Tree::of(&notes);
    let mut schema = tree.to_schema(&document);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Causeway's routes.toml, version 1".into();
    schema
}

fn everything() -> Document<'static> {
    Document::parse(FileName::new(0, "everything.toml"), EVERYTHING)
        .expect("the built-in file is TOML: a test reads it")
}

/// What the reader asks for. What it finds wrong is no matter here.
fn note(document: Document<'_>) -> Vec<(super::path::Path, super::shape::Note)> {
    let mut problems = Vec::new();
    let sources = Sources::file("everything.toml");
    let whole = files::to_dict(&document, &mut problems);
    let files = Files::one(document);
    let layers = Layers::merge(whole, &sources, &mut problems);
    let reader = Reader::new(&files, &layers, &sources).noting();
    raw::read(&reader);
    reader.into_notes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shape::Note;

    #[test]
    fn everything_that_is_asked_for_is_in_the_file_and_has_a_shape() {
        let (document, notes) = (everything(), note(everything()));
        let tree = Tree::of(&notes);
        let (missing, shapeless) = tree.holes(&document);
        assert_eq!(missing, [""; 0], "everything.toml lacks these");
        assert_eq!(shapeless, [""; 0], "nobody says what these may be");
        let asked = notes.iter().filter(|(_, note)| *note == Note::Asked);
        assert!(asked.count() > 300);
    }

    #[test]
    fn what_everything_has_is_right() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("routes.toml");
        std::fs::write(&file, EVERYTHING).expect("it can be written");
        let report = crate::config::check(&Sources::file(&file));
        let known = |message: &str| {
            message.contains("not built in")
                || message.contains("isn't set")
                || message.contains("in the connection \"bus\" too")
                || message.contains("the secret's file")
                || message.contains("can't be read: No such file")
                || message.contains("nothing uses the connection")
        };
        for problem in &report.problems {
            assert!(known(&problem.message), "{}", report.to_text());
        }
    }
}
