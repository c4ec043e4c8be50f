//! Every command with `--json` against a real gateway: what it says has the shape that docs/JSON.md
//! gives, and the page has nothing that no command says.

use crate::support::client::Client;
use crate::support::process::{Gateway, program};
use crate::support::running::Running;
use crate::support::shape::Shapes;
use crate::support::wait::wait_until;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

const INBOX: &str = r#"
[destinations.inbox]
type = "stream"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]

[[routes]]
name = "once"
topic = "once"
guarantee = "at_most_once"
to = ["inbox"]
"#;

const HUNG: &str = r#"
[destinations.hung]
type = "faulty"
script = "hang"
record = "hung.record"

[[routes]]
name = "hung"
topic = "hung"
ack = "delivered"
ack_timeout = "50ms"
to = ["hung"]

[destinations.picky]
type = "faulty"
script = "reject"
record = "picky.record"

[[routes]]
name = "picky"
topic = "picky/{x}"
to = [{ destination = "picky", topic = "other/${x}" }]
"#;

/// A gateway, and what was asked of it so far.
struct Asked {
    gateway: Gateway,
    shapes: Shapes,
    commands: RefCell<BTreeSet<String>>,
}

impl Asked {
    fn new() -> Self {
        let settings = format!("{INBOX}{HUNG}");
        // Cargo runs tests in the package.
        let page = fs::read_to_string("docs/JSON.md").expect("the page is there");
        Self {
            gateway: Gateway::new(&program(), &settings),
            shapes: Shapes::read(&page),
            commands: RefCell::default(),
        }
    }

    /// Runs `words` with `--json`, and holds each of its lines, or the whole, against the shape.
    fn ask(&self, heading: &str, code: i32, words: &[&str]) -> Vec<Value> {
        self.fed(heading, code, words, b"")
    }

    fn fed(&self, heading: &str, code: i32, words: &[&str], input: &[u8]) -> Vec<Value> {
        let mut running = Running::start(self.gateway.other(&[words, &["--json"]].concat()));
        let mut stdin = running.0.stdin.take().expect("it is piped");
        stdin.write_all(input).expect("it reads");
        drop(stdin);
        let lines: Vec<String> = running.lines().iter().collect();
        let ended = running.wait(PATIENCE);
        let notes = running.read_stderr();
        assert_eq!(ended, code, "{words:?}: {lines:?}\n{notes}");
        self.hold(heading, words, &lines)
    }

    fn hold(&self, heading: &str, words: &[&str], lines: &[String]) -> Vec<Value> {
        let is_lines = matches!(heading, "tail" | "tap")
            || heading == "dlq export" && !words.contains(&"--to");
        let values: Vec<Value> = match is_lines {
            true => lines.iter().map(|line| parse(line)).collect(),
            false => vec![parse(&lines.join("\n"))],
        };
        for value in &values {
            let checked = self.shapes.check(heading, value);
            checked.unwrap_or_else(|wrong| panic!("{words:?}: {wrong}"));
        }
        self.commands.borrow_mut().insert(heading.to_owned());
        values
    }

    fn path(&self, name: &str) -> PathBuf {
        self.gateway.folder().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).expect("the test's folder is writable");
        path.display().to_string()
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"))
}

#[test]
fn every_answer_has_the_shape_that_the_page_gives() {
    let mut asked = Asked::new();
    without_a_gateway(&mut asked);
    asked.gateway.start().unwrap();
    publishing(&asked);
    reading(&asked);
    tapping(&asked);
    operating(&mut asked);
    journal(&mut asked);
    commands_are_all_here(&asked);
    let mut unseen = asked.shapes.unseen();
    // It takes a kill in the middle of a write: `log_sim` and `journal_repair` have those.
    unseen.retain(|what| what != "@cut");
    assert!(
        unseen.is_empty(),
        "docs/JSON.md has what no command said: {unseen:?}"
    );
}

fn without_a_gateway(asked: &mut Asked) {
    asked.ask("check", 0, &["check"]);
    let bad = asked.write("bad.toml", b"version = 1\nnothing = 1\n");
    asked.gateway.variable("CAUSEWAY__LIMITS__PAYLOAD", "much");
    asked.ask("check", 1, &["check", &bad]);
    asked.gateway.variable("CAUSEWAY__LIMITS__PAYLOAD", "1MiB");

    let cases = asked.path("cases.toml").display().to_string();
    let bytes = asked.write("bytes", b"\xff");
    let data = format!("@{bytes}");
    let save = format!("--save={cases}");
    let full = [
        "explain", "all/x", "-d", &data, "--key", "k", "-H", "a=b", &save,
    ];
    asked.ask("explain", 0, &full);
    asked.ask("explain", 1, &["explain", "nowhere", "-d", "x"]);
    asked.ask("test", 0, &["test", &cases]);
    asked.ask("test", 1, &["test", &cases, &bad]);
    asked.ask("schema", 0, &["schema"]);
    asked.ask("completions", 0, &["completions", "bash"]);
    asked.ask("man", 0, &["man"]);
    let man = asked.path("man").display().to_string();
    asked.ask("man", 0, &["man", "--dir", &man]);
    asked.ask("error", 3, &["status"]);
    asked.ask("error", 2, &["publish", "a"]);
    asked.ask("error", 2, &["fly"]);
}

fn publishing(asked: &Asked) {
    asked.ask(
        "publish",
        0,
        &["publish", "all/x", "-d", "MARK-1", "--id", "i", "--wait"],
    );
    asked.ask(
        "publish",
        6,
        &["publish", "hung", "-d", "x", "--give-up-after", "1s"],
    );
    asked.ask("error", 1, &["publish", "nowhere", "-d", "x"]);
    let long = ["one\n", &"x".repeat((1 << 20) + 1), "\n"].concat();
    asked.fed(
        "publish --lines",
        1,
        &["publish", "all/x", "--lines"],
        long.as_bytes(),
    );
    // What the command line can't send: keys and headers that aren't text.
    let line = r#"{"topic":"all/b","key_base64":"/w==","data_base64":"/w==","headers":{"a":["1","2"],"b":{"base64":"/w=="}}}"#;
    let mut client = asked.gateway.client(PATIENCE);
    let ndjson = [("content-type", "application/x-ndjson")];
    let answer = client.post("/v1/batch", &ndjson, line.as_bytes());
    assert_eq!(answer.expect("an answer").status, 200);
    asked.ask(
        "publish",
        0,
        &["publish", "all/x", "-d", "x", "--key", "k", "--wait"],
    );
    asked.ask(
        "bench",
        0,
        &[
            "bench",
            "--topic",
            "all/x",
            "--messages",
            "5",
            "--warm-up",
            "0ms",
        ],
    );
    asked.ask(
        "bench",
        1,
        &[
            "bench",
            "--topic",
            "no",
            "--messages",
            "5",
            "--warm-up",
            "0ms",
        ],
    );
}

fn reading(asked: &Asked) {
    asked.ask("trace", 0, &["trace", "i", "--topic", "all/x"]);
    asked.ask("error", 4, &["trace", "none", "--topic", "all/x"]);
    let messages = asked.ask("tail", 0, &["tail", "inbox"]);
    assert!(messages.len() > 3, "{messages:?}");
    asked.ask("error", 4, &["tail", "nowhere"]);
    asked.ask(
        "explain",
        0,
        &["explain", "all/x", "-d", "x", "--id", "i", "--live"],
    );
}

fn tapping(asked: &Asked) {
    let words = ["tap", "#", "--refused", "-n", "6", "--max-bytes", "3"];
    let mut tap = Running::start(asked.gateway.other(&[&words[..], &["--json"]].concat()));
    let lines = tap.lines();
    let mut all = vec![lines.recv_timeout(PATIENCE).expect("it is there")];
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("content-type", "text/plain"),
        ("causeway-key", "k"),
        ("traceparent", trace),
    ];
    for (path, headers, body) in [
        ("/v1/topics/all/a", &headers[..], &b"abc"[..]),
        ("/v1/topics/all/a", &headers, b"abcdef"),
        ("/v1/topics/all/a", &[], b"\xff"),
        ("/v1/topics/all/a", &[], b"\xff\xff\xff\xff"),
        ("/v1/topics/nowhere", &[], b"x"),
    ] {
        let answer = asked.gateway.client(PATIENCE).post(path, headers, body);
        answer.expect("an answer");
    }
    let line = r#"{"topic":"all/b","key_base64":"/w==","data":1}"#;
    let ndjson = [("content-type", "application/x-ndjson")];
    let answer = asked
        .gateway
        .client(PATIENCE)
        .post("/v1/batch", &ndjson, line.as_bytes());
    answer.expect("an answer");
    all.extend(lines.iter());
    assert_eq!(tap.wait(PATIENCE), 0);
    let shown = asked.hold("tap", &words, &all);
    let traced = shown.iter().filter(|line| line["traceparent"] == trace);
    assert_eq!(traced.count(), 2, "{shown:?}");
}

fn operating(asked: &mut Asked) {
    asked.ask("reload", 0, &["reload"]);
    // What isn't gRPC is counted as a call, too.
    let answer = Client::new(asked.gateway.grpc, PATIENCE).get("/");
    assert_eq!(answer.expect("an answer").status, 505);
    asked.ask("status", 0, &["status"]);
    asked.ask("error", 4, &["lane", "drop", "nowhere"]);
    asked.ask("lane pause", 0, &["lane", "pause", "hung"]);
    asked.ask("lane resume", 0, &["lane", "resume", "hung"]);
    asked.ask("error", 4, &["lane", "resume", "nowhere"]);
    let mut client = asked.gateway.client(PATIENCE);
    let taken = client.post("/v1/topics/hung", &[], b"y");
    let taken = taken.expect("an answer").json().expect("JSON");
    let at = taken["position"].to_string();
    let skip = ["lane", "skip", "hung", "--at", &at];
    wait_until(PATIENCE, "it is being tried", || {
        asked.gateway.run(&skip).status.success()
    });
    asked.ask("lane skip", 0, &skip);
    rejected(asked);
    // It owes, and its destination goes.
    asked.gateway.kill();
    asked.gateway.configure(INBOX);
    asked.gateway.start().unwrap();
    asked.ask("lane drop", 0, &["lane", "drop", "hung"]);
    dead_letters(asked);
    asked.write("routes.toml", b"version = 1\nnothing = 1\n");
    asked.gateway.configure(&format!("nothing = 1\n{INBOX}"));
    asked.ask("error", 1, &["reload"]);
    asked.gateway.configure(INBOX);
}

/// Letters of all kinds, shown in all ways.
fn rejected(asked: &Asked) {
    let line = r#"{"topic":"picky/a","key_base64":"/w==","content_type":"image/png","data_base64":"/w==","headers":{"Authorization":"secret"}}"#;
    let text = r#"{"topic":"picky/b","key":"k","data":1}"#;
    let lines = format!("{line}\n{text}\n");
    let headers = &[("content-type", "application/x-ndjson")];
    let answer = asked
        .gateway
        .client(PATIENCE)
        .post("/v1/batch", headers, lines.as_bytes());
    assert_eq!(answer.expect("an answer").status, 200);
    let listed = |count: usize| {
        wait_until(PATIENCE, "they are among the dead letters", || {
            let list = asked.ask("dlq list", 0, &["dlq", "list", "picky"]);
            list[0]["letters"].as_array().map_or(0, Vec::len) == count
        });
    };
    listed(2);
    asked.ask("dlq show", 0, &["dlq", "show", "picky", "0"]);
    asked.ask("dlq show", 0, &["dlq", "show", "picky", "1"]);
    asked.ask("dlq export", 0, &["dlq", "export", "picky"]);
    asked.ask("dlq redrive", 1, &["dlq", "redrive", "picky", "1"]);
    listed(2);
    let hidden = format!("{HUNG}{INBOX}\n[dead_letters]\nredact_payload = true\n");
    asked.gateway.configure(&hidden);
    asked.ask("reload", 0, &["reload"]);
    asked.ask("dlq show", 0, &["dlq", "show", "picky", "2"]);
    asked.ask("dlq export", 0, &["dlq", "export", "picky", "--redact"]);
}

/// Those of a lane whose destination is gone.
fn dead_letters(asked: &Asked) {
    wait_until(PATIENCE, "it is among the dead letters", || {
        let list = asked.ask("dlq list", 0, &["dlq", "list", "hung"]);
        list[0]["letters"] != Value::from(Vec::<Value>::new())
    });
    asked.ask("dlq list", 0, &["dlq", "list"]);
    let list = asked.ask("dlq list", 0, &["dlq", "list", "hung"]);
    let offset = list[0]["letters"][0]["offset"].to_string();
    asked.ask("dlq show", 0, &["dlq", "show", "hung", &offset]);
    asked.ask("dlq export", 0, &["dlq", "export", "hung"]);
    let file = asked.path("letters.ndjson");
    let file = file.to_str().expect("UTF-8");
    asked.ask("dlq export", 0, &["dlq", "export", "hung", "--to", file]);
    // No route leads there any more.
    asked.ask("dlq redrive", 1, &["dlq", "redrive", "hung", "--all"]);
    asked.ask("error", 2, &["dlq", "purge", "hung", "--all"]);
    let purge = ["dlq", "purge", "hung", "--all", "--yes"];
    asked.ask("dlq purge", 0, &purge);
    asked.ask("error", 4, &["dlq", "show", "hung", &offset]);
}

/// Sound, and then with a record that is damaged.
fn journal(asked: &mut Asked) {
    asked.ask("error", 1, &["journal", "verify"]);
    asked.ask(
        "publish",
        0,
        &["publish", "all/x", "-d", "MARK-2", "--wait"],
    );
    asked.gateway.kill();
    asked.ask("journal verify", 0, &["journal", "verify"]);
    asked.ask("journal repair", 0, &["journal", "repair"]);
    flip(asked, b"MARK-1");
    asked.ask("error", 1, &["journal", "verify"]);
    asked.ask("journal repair", 1, &["journal", "repair"]);
    asked.ask("journal repair", 0, &["journal", "repair", "--accept-loss"]);
}

/// Damages the journal's record that has these bytes.
fn flip(asked: &Asked, mark: &[u8]) {
    let folder = asked.gateway.data().join("journal");
    let mut found = 0;
    for entry in fs::read_dir(&folder).expect("the journal's folder") {
        let path = entry.expect("an entry").path();
        let Ok(mut bytes) = fs::read(&path) else {
            continue;
        };
        let Some(at) = bytes.windows(mark.len()).position(|part| part == mark) else {
            continue;
        };
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("it is ours");
        found += 1;
    }
    assert_eq!(found, 1, "{}", folder.display());
}

/// By the man pages: one a command. Those with commands of their own answer nothing.
fn commands_are_all_here(asked: &Asked) {
    let pages = asked.ask("man", 0, &["man"]);
    let pages = pages[0]["pages"].as_array().expect("pages").clone();
    let names: Vec<String> = pages
        .iter()
        .map(|page| page["name"].as_str().expect("text").to_owned())
        .filter_map(|name| {
            Some(
                name.strip_prefix("causeway-")?
                    .strip_suffix(".1")?
                    .replace('-', " "),
            )
        })
        .collect();
    assert!(names.len() > 15, "{names:?}");
    let asked = asked.commands.borrow();
    for name in &names {
        let is_group = names
            .iter()
            .any(|other| other.starts_with(&format!("{name} ")));
        let answers = !is_group && name != "run";
        assert!(!answers || asked.contains(name), "nobody asked `{name}`");
    }
}

/// `run --json` logs in JSON, and says in JSON what keeps it from starting.
#[test]
fn a_start_that_fails_says_so_in_json() {
    let mut asked = Asked::new();
    asked.gateway.start().unwrap();
    let errors = asked.ask("error", 1, &["run"]);
    assert_eq!(errors[0]["error"]["kind"], "local");
    wait_until(PATIENCE, "the first one still answers", || {
        asked
            .gateway
            .ready()
            .is_ok_and(|answer| answer.status == 200)
    });
}
