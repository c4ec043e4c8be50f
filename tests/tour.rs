//! The README's tour, pasted line by line: each `sh` block of its "Five minutes", in order, in one
//! shell, in a folder that holds what a fresh clone does after the build.
//!
//! The shell has network, processes and /proc of its own: the ports are the default ones, and the
//! tour's `pkill` finds the tour's gateway alone. A person has three terminals; here
//! - `cargo run --release` (the first) starts the program that it would have built, beside the
//!   shell, and waits until it is ready;
//! - what ends in `--follow` (the third) runs beside the shell, and is waited for until it reads;
//! - everything else is typed into the shell as it stands there.

use crate::support::metrics;
use crate::support::process::program;
use crate::support::skip::skipped;
use std::collections::VecDeque;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

const TEST: &str = "tour";
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const ROUTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/routes.toml");
const TIME_LIMIT_SECONDS: &str = "180";

/// The network of its own has nothing but a loopback, which is down at first.
const UNSHARE: [&str; 7] = [
    "--map-root-user",
    "--net",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
    "sh",
];
const PROBE: &str = "ip link set lo up && command -v pkill && command -v pgrep && command -v curl";

/// What stands in for the other terminals. It is process 1 of its own, or `pkill` isn't for it.
const PRELUDE: &str = r#"
[ "$$" = 1 ] || exit 9
exec 2>&1
ip link set lo up
until_is() { until [ "$($1)" $2 "$3" ]; do sleep 0.05; done; }
gateways() { pgrep -c -xf target/release/causeway; }
ready() { curl -o ready -w '%{http_code}' localhost:9191/readyz 2> /dev/null; }
stream_answers() {
    curl localhost:9191/metrics |
        awk '/endpoint="stream",status="200"/ { n = $2 } END { print n + 0 }'
}
first_terminal() {
    until_is gateways = 0
    target/release/causeway >> gateway.log 2>&1 &
    until_is ready = 200
}
third_terminal() {
    before=$(stream_answers)
    "$@" > follower.log 2>&1 &
    until_is stream_answers -gt "$before"
}
"#;

/// Between what one command says and what the next one does.
const MARK: &str = "@@ ended with";

struct Done {
    command: String,
    status: i32,
    said: String,
}

struct Tour(VecDeque<Done>);

impl Tour {
    /// The next command, which contains these words.
    fn next(&mut self, words: &str) -> Done {
        let done = self.0.pop_front();
        let done = done.unwrap_or_else(|| panic!("the README says nothing with {words:?}"));
        let Done {
            command,
            status,
            said,
        } = &done;
        println!("$ {command}\n{said}[{status}]");
        assert!(command.contains(words), "{words:?} was to come: {command}");
        done
    }
}

impl Done {
    fn expect(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, status, "{}", self.command);
        for words in words {
            assert!(self.said.contains(words), "{}: {words:?}", self.command);
        }
        self
    }
}

#[test]
fn the_tour_does_what_the_readme_says() {
    if let Err(why) = shell(Path::new("/"), PROBE) {
        skipped(TEST, &format!("no shell with a network of its own: {why}"));
        return;
    }
    let readme = fs::read_to_string(README).expect("the repository has a README");
    let folder = tempfile::tempdir().expect("a folder");
    let clone = folder.path();
    fs::copy(README, clone.join("README.md")).expect("the folder is writable");
    fs::copy(ROUTES, clone.join("routes.toml")).expect("the folder is writable");
    fs::create_dir_all(clone.join("target/release")).expect("the folder is writable");
    symlink(program(), clone.join("target/release/causeway")).expect("the folder is writable");
    // On a terminal curl shows no progress.
    fs::write(clone.join(".curlrc"), "silent\nshow-error\n").expect("the folder is writable");

    let commands = commands(&readme);
    let said = shell(clone, &script(&commands));
    let file = |name: &str| fs::read_to_string(clone.join(name)).unwrap_or_default();
    let log = file("gateway.log");
    let said = said.unwrap_or_else(|why| panic!("{why}\n{log}"));
    let mut tour = Tour(ended(commands, &said));
    judge(&mut tour, readme.lines().count());
    let follower = file("follower.log");
    let last = format!("readme-{}", readme.lines().count());
    assert!(follower.contains("connected again"), "{follower}");
    assert!(follower.contains(&last), "{follower}");
    for address in ["127.0.0.1:8080", "127.0.0.1:9190", "127.0.0.1:9191"] {
        assert!(log.contains(address), "{address}: {log}");
    }
    assert!(log.contains("causeway tail inbox"), "what to try: {log}");
}

/// What the README says about each.
fn judge(tour: &mut Tour, lines: usize) {
    tour.next("cargo run --release").expect(0, &[]);
    tour.next("PATH=").expect(0, &[]);
    let stored = tour.next("causeway publish orders/north");
    stored.expect(0, &["delivered", "order-1", "position 0"]);
    let read = tour.next("causeway tail inbox");
    let read = read.expect(0, &["order-1", "ann", r#"{"total":12}"#]);
    assert_eq!(read.said.lines().count(), 1);
    let again = tour.next("curl localhost:8080/v1/topics/orders/north");
    again.expect(0, &[r#""duplicate":true"#, r#""position":0,"#]);
    tour.next("causeway publish orders/north")
        .expect(1, &["422"]);

    tour.next("tail inbox --follow").expect(0, &[]);
    tour.next("pkill -9").expect(0, &[]);
    tour.next("cargo run --release").expect(0, &[]);
    let traced = tour.next("causeway trace order-1");
    let traced = traced.expect(0, &["delivered", "order-1", "position 0"]);
    assert_eq!(traced.said.lines().count(), 2, "one target");

    let first = format!("{lines} lines: {lines} stored, 0 duplicates, 0 refused");
    tour.next("causeway publish readme").expect(0, &[&first]);
    let second = format!("{lines} lines: 0 stored, {lines} duplicates, 0 refused");
    tour.next("causeway publish readme").expect(0, &[&second]);

    tour.next("causeway status").expect(0, &["inbox"]);
    let page = tour.next("curl localhost:9191/metrics").expect(0, &[]);
    tour.next("pkill -TERM").expect(0, &[]);
    let verified = tour.next("causeway journal verify");
    let verified = verified.expect(0, &["Everything adds up."]);
    let counts = &metrics::counts(&page.said).expect("metrics")["inbox"];
    assert_eq!(counts.planned, lines as u64 + 1, "each line once");
    let walked = format!("inbox: {0} planned = {0} delivered", counts.planned);
    assert!(verified.said.contains(&walked), "{walked}");
    assert!(tour.0.is_empty(), "the README's tour goes on");
}

/// The commands of the section's `sh` blocks, continued lines in one.
fn commands(readme: &str) -> Vec<String> {
    let from = readme.find("## Five minutes").expect("it has the tour");
    let tour = &readme[from..];
    let tour = &tour[..tour.find("\n## ").unwrap_or(tour.len())];
    let mut commands: Vec<String> = Vec::new();
    for block in tour.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let mut is_continued = false;
        for line in block.lines() {
            match commands.last_mut() {
                Some(last) if is_continued => *last += &format!("\n{line}"),
                _ => commands.push(line.to_owned()),
            }
            is_continued = line.ends_with('\\');
        }
    }
    commands
}

fn script(commands: &[String]) -> String {
    let typed = commands.iter().map(|command| match command.as_str() {
        "cargo run --release" => "first_terminal".to_owned(),
        follower if follower.ends_with("--follow") => format!("third_terminal {follower}"),
        _ => command.clone(),
    });
    let typed = typed.map(|words| format!("{words}\nprintf '{MARK} %d\\n' $?\n"));
    format!("{PRELUDE}\n{}", typed.collect::<String>())
}

fn ended(commands: Vec<String>, said: &str) -> VecDeque<Done> {
    let mut rest = said;
    let done = commands.into_iter().map_while(|command| {
        let (said, after) = rest.split_once(MARK)?;
        let (status, after) = after.split_once('\n')?;
        rest = after;
        Some(Done {
            command,
            status: status.trim().parse().ok()?,
            said: said.to_owned(),
        })
    });
    done.collect()
}

/// What a shell of its own says, all that it started gone.
///
/// # Errors
/// If it doesn't come to its end, or ends badly.
fn shell(folder: &Path, script: &str) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command.arg(TIME_LIMIT_SECONDS).arg("unshare").args(UNSHARE);
    command.arg("-c").arg(script).current_dir(folder);
    for (name, _) in env::vars_os() {
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with("CAUSEWAY"));
        if is_ours {
            command.env_remove(name);
        }
    }
    let output = command.env("HOME", folder).stdin(Stdio::null()).output();
    let output = output.map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    match output.status.success() {
        true => Ok(said),
        false => Err(format!("{}: {said}", output.status)),
    }
}

#[test]
fn commands_are_found_in_the_section_alone() {
    let readme = "```sh\nno\n```\n## Five minutes\nx\n```sh\na \\\n  b\nc\n```\n```\nno\n```\n## More\n```sh\nno\n```\n";
    assert_eq!(commands(readme), ["a \\\n  b", "c"]);
    let done = ended(commands(readme), "said\n@@ ended with 0\n@@ ended with 3\n");
    let done: Vec<(i32, &str)> = done.iter().map(|d| (d.status, d.said.as_str())).collect();
    assert_eq!(done, [(0, "said\n"), (3, "")]);
}
