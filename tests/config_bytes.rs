//! A routes.toml of whatever bytes: never a panic, always an answer that names the file.

use crate::support::process::program;
use causeway::config::{Sources, check, load};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Relative: cargo runs tests in the package.
const FOLDER: &str = "tests/config";
const MUTATED: u64 = 2_000;
const RANDOM: u64 = 1_000;
/// Deeper than anybody writes, and than a stack is if each level takes a call.
const DEPTH: usize = 200_000;

struct Bench {
    folder: TempDir,
    file: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("routes.toml");
        Self { folder, file }
    }

    /// Whether it can be loaded; if it can't, that its answer is fit for people.
    fn is_good(&self, bytes: &[u8], what: &str) -> bool {
        fs::write(&self.file, bytes).expect("the test's folder is writable");
        let Err(report) = load(&Sources::file(&self.file)) else {
            return true;
        };
        assert!(report.has_errors(), "{what}: refused without an error");
        let (text, file) = (report.to_text(), self.file.display().to_string());
        assert!(text.contains(&file), "{what}: {text}");
        assert!(text.contains("error: "), "{what}: {text}");
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(control), "{what}: {text:?}");
        for problem in &report.problems {
            assert!(!problem.message.is_empty(), "{what}: {problem:?}");
        }
        false
    }
}

fn cases() -> Vec<Vec<u8>> {
    let entries = fs::read_dir(FOLDER).expect("the folder of the cases");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.push("routes.toml".into());
    files.sort();
    let read = |file: &PathBuf| fs::read(file).expect("a case");
    files.iter().map(read).collect()
}

fn good() -> Vec<u8> {
    fs::read(Path::new(FOLDER).join("good_everything_built.toml")).expect("a case")
}

/// One change anywhere.
fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut fastrand::Rng) {
    let at = random.usize(0..=bytes.len());
    let end = random.usize(at..=bytes.len().min(at + 32));
    match random.u8(0..7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.insert(at, random.u8(..)),
        3 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
        4 => {
            let piece = bytes[at..end].to_vec();
            let to = random.usize(0..=bytes.len());
            drop(bytes.splice(to..to, piece));
        }
        5 => {
            let other = &others[random.usize(0..others.len())];
            let from = random.usize(0..=other.len());
            let piece = &other[from..other.len().min(from + 64)];
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
        _ => {
            let digits: Vec<u8> = (0..random.usize(1..40)).map(|_| b'9').collect();
            drop(bytes.splice(at..end, digits));
        }
    }
}

#[test]
fn mutated_files_are_answered() {
    let (bench, cases) = (Bench::new(), cases());
    let mut good = 0;
    for seed in 0..MUTATED {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = cases[random.usize(0..cases.len())].clone();
        for _ in 0..random.usize(1..6) {
            mutate(&mut bytes, &cases, &mut random);
        }
        good += u64::from(bench.is_good(&bytes, &format!("seed {seed}")));
    }
    // Neither all nor none: the mutations are neither idle nor hopeless.
    assert!((1..MUTATED).contains(&good), "{good} of {MUTATED} are good");
}

#[test]
fn random_bytes_are_answered() {
    let bench = Bench::new();
    for seed in 0..RANDOM {
        let mut random = fastrand::Rng::with_seed(seed);
        let alphabet: &[u8] = match seed % 3 {
            0 => b"",
            1 => b"[]{}=.,\"'#\n\r\t ab01_-+:\\\xc3\xa9",
            _ => b"[]\n=\"a.",
        };
        let byte = |random: &mut fastrand::Rng| match alphabet {
            [] => random.u8(..),
            some => some[random.usize(0..some.len())],
        };
        let length = random.usize(0..2_000);
        let bytes: Vec<u8> = (0..length).map(|_| byte(&mut random)).collect();
        assert!(
            !bench.is_good(&bytes, &format!("seed {seed}")),
            "seed {seed}"
        );
    }
}

/// A half-written file mustn't be taken for a whole one without a reason.
#[test]
fn files_cut_anywhere_are_answered() {
    let (bench, whole) = (Bench::new(), good());
    for end in 0..whole.len() {
        bench.is_good(&whole[..end], &format!("cut at {end}"));
    }
    assert!(bench.is_good(&whole, "whole"));
}

#[test]
fn marks_of_other_systems_are_no_matter() {
    let (bench, whole) = (Bench::new(), good());
    let text = String::from_utf8(whole.clone()).expect("text");
    assert!(bench.is_good(text.replace('\n', "\r\n").as_bytes(), "CRLF"));
    assert!(bench.is_good(&[b"\xef\xbb\xbf", &whole[..]].concat(), "a BOM"));
    // UTF-16, as some editors write.
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(!bench.is_good(&[b"\xff\xfe", &utf_16[..]].concat(), "UTF-16"));
    assert!(!bench.is_good(text.replace('\n', "\r").as_bytes(), "CR alone"));
    assert!(!bench.is_good(&[&whole[..], b"\0"].concat(), "NUL"));
    assert!(!bench.is_good(&[&whole[..], b"\x1a\n"].concat(), "^Z"));
}

#[test]
fn huge_numbers_are_refused_where_they_stand() {
    let bench = Bench::new();
    for line in [
        "limits.headers = 99999999999999999999",
        "limits.headers = 9223372036854775807",
        "limits.headers = -1",
        "limits.headers = 1e400",
        "limits.headers = inf",
        "limits.headers = nan",
        "limits.headers = 0xffffffffffffffff",
        "limits.payload = \"99999999999999999999GiB\"",
        "limits.payload = \"18446744073709551615TiB\"",
        "limits.in_flight_bytes = \"9007199254740993MiB\"",
        "dedup.window = \"99999999999999999999d\"",
        "dedup.max_entries = 4294967296",
        "gateway.drain_timeout = \"9223372036854775807ms\"",
        "journal.max_bytes = \"16777216TiB\"",
        "listen.http = \"127.0.0.1:65536\"",
        "listen.http = \"999.0.0.1:80\"",
    ] {
        let text = format!("version = 1\n{line}\n");
        assert!(!bench.is_good(text.as_bytes(), line), "{line}");
        let report = check(&Sources::file(&bench.file));
        let at = format!("{}:2:", bench.file.display());
        assert!(report.to_text().contains(&at), "{}", report.to_text());
    }
    assert!(!bench.is_good(b"version = 9223372036854775808", "the version"));
}

/// In a process of its own: what overflows the stack would take this one along.
#[test]
fn deep_nesting_is_refused() {
    let bench = Bench::new();
    let dotted = vec!["a"; DEPTH].join(".");
    for (what, text) in [
        ("lists", format!("a = {}", "[".repeat(DEPTH))),
        (
            "whole lists",
            format!("a = {}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)),
        ),
        ("tables", format!("a = {}", "{a=".repeat(DEPTH))),
        ("a dotted key", format!("{dotted} = 1")),
        ("a header", format!("[{dotted}]")),
        ("a header of a list", format!("[[{dotted}]]")),
        ("a dotted key inside", format!("a = {{ {dotted} = 1 }}")),
    ] {
        fs::write(&bench.file, format!("version = 1\n{text}\n")).expect("writable");
        let output = Command::new(program())
            .args(["check", "routes.toml"])
            .current_dir(bench.folder.path())
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {output:?}");
        assert!(said.contains("routes.toml"), "{what}: {said}");
        assert!(said.len() < 64 << 10, "{what}: {} bytes", said.len());
    }
}

#[test]
fn of_a_long_line_only_what_matters_is_shown() {
    let bench = Bench::new();
    let pad = "x".repeat(100_000);
    // The name of the secret is far from what is shown, and so is the end of its text.
    for (what, text) in [
        ("syntax", format!("a = \"{pad}\" b\n")),
        (
            "a key",
            format!("limits = {{ payload = \"1KiB\", {pad} = 1, headers = true }}\n"),
        ),
        (
            "a secret",
            format!("password = \"{}\" b\n", "hunter2 ".repeat(10_000)),
        ),
    ] {
        let text = format!("version = 1\n{text}");
        assert!(!bench.is_good(text.as_bytes(), what));
        let said = check(&Sources::file(&bench.file)).to_text();
        let excerpt = said.lines().filter(|line| line.starts_with("2 | "));
        for line in excerpt {
            assert!(line.chars().count() <= 204, "{what}: {line}");
        }
        assert!(said.contains(":2:") && said.contains('^'), "{what}: {said}");
        assert!(!said.contains("hunter2"), "{what}: {said}");
    }
}

#[test]
fn a_file_without_end_is_not_read_to_it() {
    let report = check(&Sources::file("/dev/zero"));
    let text = report.to_text();
    assert!(text.starts_with("/dev/zero: error: "), "{text}");
    assert!(text.contains("has more than"), "{text}");
    let folder = check(&Sources::file(FOLDER)).to_text();
    assert!(folder.contains("can't be read"), "{folder}");
}
