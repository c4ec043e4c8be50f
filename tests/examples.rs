//! Every example in deploy/examples/ loads without a word, and its own cases hold.

use causeway::config::{Sources, check};
use causeway::gateway;
use std::fs;
use std::path::{Path, PathBuf};

/// Relative: cargo runs tests in the package, and answers shouldn't name a machine's folders.
const FOLDER: &str = "deploy/examples";
/// So many cases has each at least.
const MIN_CASES: u64 = 5;

fn examples() -> Vec<PathBuf> {
    let folders = fs::read_dir(FOLDER).expect("the folder of the examples");
    let mut examples: Vec<PathBuf> = folders
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    examples.push(Path::new(FOLDER).join("emails/sidecar"));
    examples.sort();
    examples
}

#[test]
fn every_example_checks_and_its_cases_hold() {
    let examples = examples();
    for name in ["emails", "logs", "orders", "stock"] {
        let is_there = examples.iter().any(|e| e.ends_with(name));
        assert!(is_there, "{name} is missing");
    }
    for example in examples {
        let file = example.join("routes.toml");
        let report = check(&Sources::file(&file));
        assert!(report.problems.is_empty(), "{}", report.to_text());
        let told = gateway::test(&file, &[]).unwrap_or_else(|why| panic!("{why}"));
        assert!(told.ok, "{}", told.text);
        let passed = told.json["passed"].as_u64();
        assert!(passed >= Some(MIN_CASES), "{}", told.text);
        assert!(example.join("README.md").is_file(), "{example:?}");
    }
}

/// A route that is taken out is missed by the cases: they say something.
#[test]
fn the_cases_notice_each_route() {
    for example in examples() {
        let whole = fs::read_to_string(example.join("routes.toml")).expect("it is there");
        let cases = example.join("routes.test.toml");
        let folder = tempfile::tempdir().expect("a folder");
        for name in route_names(&whole) {
            let less = without_route(&whole, &name);
            let file = folder.path().join("routes.toml");
            fs::write(&file, less).expect("it can be written");
            let told = gateway::test(&file, std::slice::from_ref(&cases));
            let told = told.unwrap_or_else(|why| panic!("without {name}: {why}"));
            assert!(!told.ok, "{}: nobody misses {name}", shown(&example));
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn route_names(text: &str) -> Vec<String> {
    let blocks = text.split("\n[[routes]]\n").skip(1);
    blocks
        .map(|block| {
            let name = block.strip_prefix("name = \"").expect("the name is first");
            name.split('"').next().unwrap_or_default().to_owned()
        })
        .collect()
}

/// From its header to the next one that isn't its own.
fn without_route(text: &str, name: &str) -> String {
    let header = format!("\n[[routes]]\nname = \"{name}\"");
    let from = text.find(&header).expect("the route is there");
    let rest = &text[from + 1..];
    let ends = rest.match_indices("\n[").map(|(at, _)| at + 1);
    let mut ends = ends.filter(|at| !rest[*at..].starts_with("[[routes.to]]"));
    let end = ends.next().unwrap_or(rest.len());
    format!("{}\n{}", &text[..from], &rest[end..])
}
