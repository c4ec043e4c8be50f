//! Every file in tests/config/ against what `causeway check` says of it, word for word.
//! `UPDATE_EXPECT=1` writes the answers anew: read the diff before you commit it.

use causeway::config::{Place, Sources, check, load};
use std::fs;
use std::path::{Path, PathBuf};

/// Relative, so that the answers don't name a machine's folders: cargo runs tests in the package.
const FOLDER: &str = "tests/config";

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(FOLDER)
        .expect("the folder of the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_file_is_answered_word_for_word() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let files = files();
    assert!(files.len() >= 20, "only {} cases", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let answer = check(&Sources::file(&file)).to_text();
        let expected = file.with_extension("txt");
        if update {
            fs::write(&expected, &answer).expect("the answer can be written");
        } else if fs::read_to_string(&expected).unwrap_or_default() != answer {
            wrong.push(format!("{}:\n{answer}", expected.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "these answers changed (UPDATE_EXPECT=1):\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_answer_shows_a_secret() {
    for file in files() {
        let report = check(&Sources::file(&file));
        let shown = format!("{}{}", report.to_text(), report.to_json());
        assert!(!shown.contains("hunter2"), "{}:\n{shown}", file.display());
    }
}

#[test]
fn the_files_whose_name_says_so_are_good() {
    for file in files() {
        let is_good = file
            .file_stem()
            .is_some_and(|s| s.to_string_lossy().starts_with("good"));
        assert_eq!(
            load(&Sources::file(&file)).is_ok(),
            is_good,
            "{}",
            file.display()
        );
    }
}

/// Whatever people type: an answer, and every place in it is a place in the file.
#[test]
fn damaged_files_are_answered_too() {
    const PIECES: [&str; 12] = [
        "\"", "'", "\n", "[", "]", "=", ".", "é", "\"\"\"", "{", "\0", "\r",
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let damaged = folder.path().join("routes.toml");
    for (number, file) in files().iter().enumerate() {
        let whole = fs::read(file).expect("a case");
        for round in 0..40 {
            let seed = number as u64 * 1_000 + round;
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..=bytes.len());
                let piece = PIECES[random.usize(0..PIECES.len())];
                match random.u8(0..4) {
                    0 => bytes.truncate(at),
                    1 if at < bytes.len() => drop(bytes.splice(at..=at, [])),
                    _ => drop(bytes.splice(at..at, piece.bytes())),
                }
            }
            fs::write(&damaged, &bytes).expect("it can be written");
            let report = check(&Sources::file(&damaged));
            let lines = bytes.split(|byte| *byte == b'\n').count();
            for problem in &report.problems {
                if let Place::At(spot) = &problem.place {
                    let inside = (1..=lines).contains(&spot.line) && spot.column >= 1;
                    assert!(inside, "seed {seed}: {problem:?}");
                }
            }
            assert!(!report.to_text().is_empty(), "seed {seed}");
        }
    }
}

/// The file of the design document: what isn't built in is known all the same.
#[test]
fn the_whole_design_has_no_unknown_key() {
    let report = check(&Sources::file(format!("{FOLDER}/later_whole_design.toml")));
    assert!(report.has_errors());
    for problem in &report.problems {
        assert!(
            problem.message.contains("not built in"),
            "{}",
            report.to_text()
        );
    }
}

/// The file that a newcomer starts with.
#[test]
fn the_repositorys_own_file_holds() {
    let (settings, report) =
        load(&Sources::file("routes.toml")).unwrap_or_else(|report| panic!("{}", report.to_text()));
    assert!(report.problems.is_empty(), "{}", report.to_text());
    let address = |text: &str| Some(text.parse().expect("an address"));
    assert_eq!(settings.listen.http, address("127.0.0.1:8080"));
    assert_eq!(settings.listen.admin, address("127.0.0.1:9190"));
    assert_eq!(settings.listen.health, address("127.0.0.1:9191"));
    assert_eq!(settings.gateway.data_dir, Path::new("./data"));
    assert_eq!(settings.routes.len(), 1);
    assert_eq!(settings.routes[0].pattern.as_str(), "#");
    assert_eq!(settings.routes[0].targets[0].destination, "inbox");
}
