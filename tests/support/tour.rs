//! A documented tour, pasted line by line: each `sh` block of a section, in order, in one shell.
//!
//! The shell has network, processes and /proc of its own: the ports are the default ones, and what
//! the tour kills is the tour's alone. A person has several terminals; here
//! - what starts the gateway (the first) runs beside the shell, and is waited for until it is ready;
//! - what ends in `--follow` (the third) runs beside the shell, and is waited for until it reads;
//! - everything else is typed into the shell as it stands there.

use std::collections::VecDeque;
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

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
/// What a machine must have for any of this.
pub const PROBE: &str =
    "ip link set lo up && command -v pkill && command -v pgrep && command -v curl";

/// What stands in for the other terminals. It is process 1 of its own, or `pkill` isn't for it.
const PRELUDE: &str = r#"
[ "$$" = 1 ] || exit 9
exec 2>&1
ip link set lo up
until_is() { until [ "$($1)" $2 "$3" ]; do sleep 0.05; done; }
gateways() { pgrep -c -xf "$GATEWAY"; }
ready() { curl -o ready -w '%{http_code}' localhost:9191/readyz 2> /dev/null; }
stream_answers() {
    curl localhost:9191/metrics |
        awk '/endpoint="stream",status="200"/ { n = $2 } END { print n + 0 }'
}
first_terminal() {
    until_is gateways = 0
    $GATEWAY >> gateway.log 2>&1 &
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

pub struct Done {
    pub command: String,
    pub status: i32,
    pub said: String,
}

/// What came of the commands, in their order.
pub struct Tour(VecDeque<Done>);

impl Tour {
    #[must_use]
    pub fn of(commands: Vec<String>, said: &str) -> Self {
        Self(ended(commands, said))
    }

    pub fn has_ended(&self) -> bool {
        self.0.is_empty()
    }

    /// The next command, which contains these words.
    pub fn next(&mut self, words: &str) -> Done {
        let done = self.0.pop_front();
        let done = done.unwrap_or_else(|| panic!("nothing is said with {words:?}"));
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
    pub fn expect(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, status, "{}", self.command);
        for words in words {
            assert!(self.said.contains(words), "{}: {words:?}", self.command);
        }
        self
    }
}

/// The commands of a section's `sh` blocks: continued lines, and lines of a here-document, in one.
#[must_use]
pub fn commands(page: &str, heading: &str) -> Vec<String> {
    let from = page.find(heading).expect("it has the tour");
    let tour = &page[from..];
    let tour = &tour[..tour.find("\n## ").unwrap_or(tour.len())];
    let mut commands: Vec<String> = Vec::new();
    for block in tour.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let (mut is_continued, mut is_document) = (false, false);
        for line in block.lines() {
            match commands.last_mut() {
                Some(last) if is_continued || is_document => *last += &format!("\n{line}"),
                _ => commands.push(line.to_owned()),
            }
            is_continued = line.ends_with('\\');
            is_document = match is_document {
                true => line != "EOF",
                false => line.contains("<<'EOF'"),
            };
        }
    }
    commands
}

/// How a tour starts its gateway, and what that runs.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    pub typed: &'a str,
    pub runs: &'a str,
}

#[must_use]
pub fn script(commands: &[String], start: Start<'_>) -> String {
    let typed = commands.iter().map(|command| match command.as_str() {
        typed if typed == start.typed => "first_terminal".to_owned(),
        follower if follower.ends_with("--follow") => format!("third_terminal {follower}"),
        _ => command.clone(),
    });
    let typed = typed.map(|words| format!("{words}\nprintf '{MARK} %d\\n' $?\n"));
    let gateway = format!("GATEWAY='{}'", start.runs);
    format!("{gateway}\n{PRELUDE}\n{}", typed.collect::<String>())
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
pub fn shell(folder: &Path, script: &str) -> Result<String, String> {
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
    const HEADING: &str = "## Five minutes";
    let readme = "```sh\nno\n```\n## Five minutes\nx\n```sh\na \\\n  b\nc\n```\n```\nno\n```\n## More\n```sh\nno\n```\n";
    assert_eq!(commands(readme, HEADING), ["a \\\n  b", "c"]);
    let document = "## Five minutes\n```sh\ncat <<'EOF'\nx\nEOF\nd\n```\n";
    assert_eq!(commands(document, HEADING), ["cat <<'EOF'\nx\nEOF", "d"]);
    let done = ended(
        commands(readme, HEADING),
        "said\n@@ ended with 0\n@@ ended with 3\n",
    );
    let done: Vec<(i32, &str)> = done.iter().map(|d| (d.status, d.said.as_str())).collect();
    assert_eq!(done, [(0, "said\n"), (3, "")]);
}
