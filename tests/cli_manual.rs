//! Completions and man pages, by the programs that read them.

use crate::support::process::program;
use crate::support::skip::skipped;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::process::{Command, Output};

fn causeway(args: &[&str]) -> String {
    let output = Command::new(program()).args(args).output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}

/// `None`: there is no such program here.
fn found(program: impl AsRef<OsStr>, args: &[&OsStr]) -> Option<Output> {
    match Command::new(program).args(args).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

/// What bash offers behind these words, the last of which is begun.
fn offered(script: &std::path::Path, words: &[&str]) -> Option<Vec<String>> {
    let ask = r#"
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_causeway "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}""#;
    let mut args = vec![
        OsStr::new("-c"),
        OsStr::new(ask),
        OsStr::new("bash"),
        script.as_os_str(),
    ];
    args.extend(words.iter().map(OsStr::new));
    let output = found("bash", &args)?;
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("causeway.bash");
    fs::write(&script, causeway(&["completions", "bash"])).expect("the folder is writable");
    for (words, expected) in [
        (&["causeway", "pub"][..], &["publish"][..]),
        (&["causeway", "ta"], &["tail", "tap"]),
        (&["causeway", "lane", "d"], &["drop"]),
        (&["causeway", "bench", "--allow"], &["--allow-refusals"]),
        (&["causeway", "tap", "--no"], &["--no-payload"]),
        (&["causeway", "--log-level", "w"], &["warn"]),
        (&["causeway", "completions", "f"], &["fish"]),
    ] {
        match offered(&script, words) {
            Some(offered) => assert_eq!(offered, expected, "{words:?}"),
            None => return skipped("bash_completes", "there is no bash"),
        }
    }
}

#[test]
fn every_shell_has_a_script_that_names_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = causeway(&["completions", shell]);
        for word in [
            "publish",
            "tap",
            "bench",
            "allow-refusals",
            "journal",
            "repair",
        ] {
            assert!(script.contains(word), "{shell} doesn't know {word}");
        }
    }
}

#[test]
fn man_pages_are_read_without_a_word_of_complaint() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("man1");
    let named = causeway(&["man", "--dir", dir.to_str().expect("text")]);
    let pages: Vec<&str> = named.lines().collect();
    assert!(pages.len() > 15, "{pages:?}");
    let plain = causeway(&["man"]);
    assert_eq!(fs::read_to_string(pages[0]).expect("a page"), plain);
    for page in pages {
        let args = ["-man", "-Tutf8", "-ww", "-z", page].map(OsStr::new);
        let Some(output) = found("groff", &args) else {
            return skipped("man_pages", "there is no groff");
        };
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complaints.is_empty(),
            "{page}: {complaints}"
        );
        let lint = ["-T", "lint", "-W", "error", page].map(OsStr::new);
        if let Some(output) = found("mandoc", &lint) {
            assert!(output.status.success(), "{page}: {output:?}");
        }
    }
}
