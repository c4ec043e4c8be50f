//! Every file in tests/config/ against what `causeway check` says of it, word for word: NAME.toml,
//! with the environment of NAME.env if there is one, gives NAME.expected.
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

/// A case with its environment.
fn sources(file: &Path) -> Sources {
    let lines = fs::read_to_string(file.with_extension("env")).unwrap_or_default();
    let variables = lines.lines().filter_map(|line| line.split_once('='));
    Sources {
        environment: variables
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect(),
        ..Sources::file(file)
    }
}

/// A key that others may read is warned of, and git doesn't keep who may.
fn keep_keys_to_us() {
    use std::os::unix::fs::PermissionsExt;
    let key = Path::new("tests/fixtures/tls/client.key");
    let ours = fs::Permissions::from_mode(0o600);
    fs::set_permissions(key, ours).expect("it is ours");
}

#[test]
fn every_file_is_answered_word_for_word() {
    keep_keys_to_us();
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let files = files();
    let is_broken = |file: &&PathBuf| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        !name.starts_with("good")
    };
    let broken = files.iter().filter(is_broken).count();
    assert!(broken >= 45, "only {broken} broken files");
    let mut wrong = Vec::new();
    for file in files {
        let answer = check(&sources(&file)).to_text();
        let expected = file.with_extension("expected");
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
        let report = check(&sources(&file));
        let shown = format!("{}{}", report.to_text(), report.to_json());
        assert!(!shown.contains("hunter2"), "{}:\n{shown}", file.display());
    }
}

#[test]
fn the_files_whose_name_says_so_are_good() {
    keep_keys_to_us();
    for file in files() {
        let is_good = file
            .file_stem()
            .is_some_and(|s| s.to_string_lossy().starts_with("good"));
        assert_eq!(load(&sources(&file)).is_ok(), is_good, "{}", file.display());
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

/// An answer of a file that is no more would never be wrong.
#[test]
fn no_answer_is_left_over() {
    for entry in fs::read_dir(FOLDER).expect("the folder of the cases") {
        let path = entry.expect("an entry").path();
        let case = path.with_extension("toml");
        let is_known = path.is_dir() || case.is_file();
        assert!(is_known, "{} belongs to no file", path.display());
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let is_known = ["", "toml", "expected", "env"].contains(&&*extension);
        assert!(is_known, "nobody reads {}", path.display());
    }
}

/// The sample of the design document: all of it is known, and what isn't built in is said once each.
#[test]
fn of_the_design_only_what_is_not_built_in_is_refused() {
    let report = check(&sources(Path::new(FOLDER).join("sample.toml").as_path()));
    let mut refused = Vec::new();
    for problem in &report.problems {
        assert!(
            problem.message.contains("not built in"),
            "{}",
            report.to_text()
        );
        let Place::At(spot) = &problem.place else {
            panic!("without a place: {problem:?}");
        };
        let from = spot.column - 1 - spot.skipped;
        let meant: String = spot.text.chars().skip(from).take(spot.width).collect();
        refused.push((problem.severity.as_str(), meant));
    }
    let error = |meant: &str| ("error", meant.to_owned());
    let expected = [
        error("mqtt"),
        error("\"bus\""),
        error("\"sns\""),
        error("\"exactly_once\""),
    ];
    assert_eq!(refused, expected);
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
