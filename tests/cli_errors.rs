//! Every error that the command line can print says what to do next, to people and in JSON.

use crate::support::process::{Gateway, program};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

const SETTINGS: &str = r#"
[limits]
headers = 2

[destinations.inbox]
type = "stream"

[destinations.hung]
type = "faulty"
script = "hang"
record = "hung.record"
backlog = "1KiB"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]

[[routes]]
name = "once"
topic = "once"
guarantee = "exactly_once"
to = ["inbox"]

[[routes]]
name = "cel"
topic = "cel"
when = "payload.a > 1"
to = ["inbox"]

[[routes]]
name = "hung"
topic = "hung"
to = ["hung"]
"#;

/// Its words, its exit code, what the error says, what the help says.
type Case<'a> = (&'a str, i32, &'a str, &'a str);

fn check(gateway: &Gateway, cases: &[Case<'_>]) {
    for case in cases {
        let args: Vec<&str> = case.0.split(' ').collect();
        check_one(gateway.other(&args), gateway.other(&args), case);
    }
}

/// Plain and with `--json`.
fn check_one(plain: Command, mut json: Command, (words, code, error, help): &Case<'_>) {
    let (ended, _, text) = run(plain);
    assert_eq!(ended, *code, "{words}: {text}");
    let (said, advice) = text
        .trim_end()
        .rsplit_once("\nhelp: ")
        .unwrap_or_else(|| panic!("{words}: no help in {text}"));
    assert!(
        said.contains("error: ") && said.contains(error),
        "{words}: {said}"
    );
    assert!(
        !advice.contains('\n') && advice.contains(help),
        "{words}: {advice}"
    );

    json.arg("--json");
    let (ended, out, _) = run(json);
    assert_eq!(ended, *code, "{words} --json");
    let last = out.lines().last().unwrap_or_default();
    let json: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{words}: {e}: {out}"));
    assert_eq!(json["error"]["code"], *code, "{words}: {out}");
    let member = |name: &str| json["error"][name].as_str().unwrap_or_default().to_owned();
    assert!(member("message").contains(error), "{words}: {out}");
    assert!(member("help").contains(help), "{words}: {out}");
}

fn run(mut command: Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    let code = output.status.code().expect("it ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

#[test]
fn what_a_gateway_refuses_says_what_to_do() {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap();
    let large = gateway.folder().join("large");
    fs::write(&large, vec![b'x'; (1 << 20) + 1]).expect("the test's folder is writable");
    let large = format!("publish all/x -d @{}", large.display());
    let server = format!("status --admin http://{}", gateway.http);
    let admin = format!("trace x --topic a --server http://{}", gateway.admin);
    let (published, _, _) = run(gateway.other(&["publish", "all/x", "-d", "1", "--id", "i"]));
    assert_eq!(published, 0);
    // Nothing of it is delivered: the fifth doesn't fit.
    let filler = "x".repeat(250);
    let further = format!("publish hung -d {filler} --give-up-after 10ms");
    for _ in 0..5 {
        run(gateway.other(&["publish", "hung", "-d", &filler, "--give-up-after", "0ms"]));
    }
    check(
        &gateway,
        &[
            (
                "publish nowhere -d x",
                1,
                "no route matches",
                "causeway explain",
            ),
            (
                "publish all//x -d x",
                1,
                "empty level",
                "correct what it names",
            ),
            (&large, 1, "limits.payload", "raise the setting"),
            (
                "publish all/x -d x -H a=1 -H b=2 -H c=3",
                1,
                "limits.headers",
                "raise the setting",
            ),
            (
                "publish all/x -d 2 --id i",
                1,
                "was used for another",
                "another id",
            ),
            ("publish once -d x", 1, "an id is needed", "give it an id"),
            (
                "publish cel -d x",
                1,
                "the route \"cel\" refuses",
                "causeway explain",
            ),
            (
                &further,
                3,
                "backlog of destination \"hung\" is full",
                "causeway status",
            ),
            ("tail nowhere", 4, "no stream", "lists the streams"),
            ("tail hung", 4, "no stream", "lists the streams"),
            (
                "trace none --topic all/x",
                4,
                "no message \"none\"",
                "id and topic",
            ),
            (
                "lane drop nowhere",
                4,
                "there is no lane",
                "lists the lanes",
            ),
            ("journal verify", 1, "data_dir", "stop that one"),
            ("run", 1, "can't listen on", "write another address"),
            (&server, 4, "nothing is served here", "right listener"),
            (&admin, 4, "nothing is served here", "right listener"),
        ],
    );
    gateway.configure("nothing = 1");
    check(&gateway, &[("reload", 1, "unknown key", "causeway check")]);
}

#[test]
fn what_is_wrong_here_says_what_to_do() {
    let gateway = Gateway::new(&program(), SETTINGS);
    let folder = gateway.folder();
    let file = folder.join("file");
    fs::write(&file, "x").expect("the test's folder is writable");
    let below = format!("man --dir {}/man", file.display());
    let saved = format!("explain all/x -d x --save={}/case", file.display());
    let tested = format!("test {}", folder.display());
    let binary = format!("publish all/x -d @{}", folder.display());
    check(
        &gateway,
        &[
            (
                "status",
                3,
                "no gateway answers",
                "--admin URL or CAUSEWAY_ADMIN",
            ),
            ("reload", 3, "no gateway answers", "causeway run"),
            ("tap #", 3, "no gateway answers", "causeway run"),
            ("lane drop x", 3, "no gateway answers", "causeway run"),
            (
                "explain all/x --live",
                3,
                "no gateway answers",
                "causeway run",
            ),
            (
                "bench --topic a",
                3,
                "no gateway answers",
                "--server URL or CAUSEWAY_SERVER",
            ),
            (
                "tail inbox",
                3,
                "no gateway answers",
                "--server URL or CAUSEWAY_SERVER",
            ),
            ("trace i --topic a", 3, "no gateway answers", "causeway run"),
            (
                "publish all/x -d x --give-up-after 10ms",
                3,
                "no gateway answers",
                "causeway run",
            ),
            (
                "publish all/x -d @none",
                1,
                "can't read none",
                "may be read",
            ),
            (&binary, 1, "can't read", "may be read"),
            (
                "publish all/x -d x -H a/b=1",
                2,
                "is no name of a header",
                "letters",
            ),
            (
                "publish all/x -d x --server ftp://x",
                2,
                "is no address",
                "http://HOST:PORT",
            ),
            (
                "publish all/x --lines -H a=1 -H a=2",
                2,
                "stands there twice",
                "once",
            ),
            (
                "bench --topic a --size 1000000 --batch 10000",
                2,
                "too many",
                "at most",
            ),
            ("test", 1, "routes.test.toml", "--save"),
            (&below, 1, "can't write", "--dir"),
            (&saved, 1, "can't be written", "--save=FILE"),
            (&tested, 1, "can't be read", "may be read"),
        ],
    );
    let settings = fs::read_to_string(gateway.config()).expect("it was written");
    let quiet: Vec<&str> = settings
        .lines()
        .filter(|line| !line.starts_with("admin") && !line.starts_with("http"))
        .collect();
    fs::write(gateway.config(), quiet.join("\n")).expect("the test's folder is writable");
    check(
        &gateway,
        &[
            ("status", 1, "has no admin listener", "[listen]"),
            ("tail inbox", 1, "has no http listener", "[listen]"),
        ],
    );
    gateway.configure("nothing = 1");
    check(
        &gateway,
        &[
            ("run", 1, "unknown key", "causeway check"),
            ("explain a -d x", 1, "unknown key", "causeway check"),
            ("test", 1, "unknown key", "causeway check"),
            ("journal verify", 1, "unknown key", "causeway check"),
        ],
    );
    fs::remove_file(gateway.config()).expect("it is ours");
    check(
        &gateway,
        &[
            ("run", 1, "there is no", "--config FILE"),
            ("explain a -d x", 1, "there is no", "--config FILE"),
            ("journal repair", 1, "there is no", "--config FILE"),
            ("status", 1, "there is no", "--admin URL"),
            ("trace i --topic a", 1, "there is no", "--server URL"),
        ],
    );
}

/// A data folder that can't be one.
#[test]
fn a_folder_that_cannot_be_used_says_what_to_do() {
    let gateway = Gateway::new(&program(), SETTINGS);
    let data = gateway.data();
    fs::write(&data, "no folder").expect("the test's folder is writable");
    check(
        &gateway,
        &[
            ("run", 1, "data_dir", "no folder stands there"),
            ("journal verify", 1, "data_dir", "data_dir"),
        ],
    );
}

/// What answers isn't a gateway, or says what no test gets a gateway to say.
#[test]
fn answers_of_others_say_what_to_do() {
    let foreign =
        r#"{"type":"urn:causeway:problem:foreign-host","status":403,"detail":"not here"}"#;
    let problem = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (answer, code, error, help) in [
        (String::new(), 3, "broke off", "gateway's log"),
        ("SSH-2.0-x\r\n".to_owned(), 3, "broke off", "gateway's log"),
        (
            problem("200 OK", "<html>"),
            1,
            "isn't a gateway's",
            "right listener",
        ),
        (problem("200 OK", "{}"), 1, "another version", "--version"),
        (
            problem("403 Forbidden", foreign),
            1,
            "not here",
            "http://127.0.0.1:PORT",
        ),
        (
            problem("502 Bad Gateway", "<html>"),
            1,
            "(502)",
            "gateway's log",
        ),
    ] {
        let address = serve(answer.clone());
        let gateway = Gateway::new(&program(), SETTINGS);
        let words = format!("status --admin http://{address}");
        check(&gateway, &[(&words, code, error, help)]);
    }
}

/// Gives everybody this answer, and closes.
fn serve(answer: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    // It ends with the test's process.
    thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            // Its request is short: one read has the start of it.
            let mut request = [0; 4_096];
            if socket.read(&mut request).is_ok() {
                let _ = socket.write_all(answer.as_bytes());
            }
        }
    });
    address
}

/// Nobody takes what it writes.
#[test]
fn an_output_that_is_full_says_what_to_do() {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap();
    let (published, _, _) = run(gateway.other(&["publish", "all/x", "-d", "x", "--wait"]));
    assert_eq!(published, 0);
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let mut tail = gateway.other(&["tail", "inbox"]);
    let output = tail
        .stdout(full.expect("Linux has it"))
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("can't write the messages") && text.contains("\nhelp: "),
        "{text}"
    );
}

/// The words of the command line's own parser, in JSON too.
#[test]
fn a_command_line_that_is_not_understood_says_where_to_look() {
    for words in [
        "fly",
        "publish",
        "tap a#",
        "bench --topic a --rate 0",
        "lane",
        "man --nothing",
    ] {
        let args: Vec<&str> = words.split(' ').collect();
        let command = |more: &[&str]| {
            let mut command = Command::new(program());
            command.args(&args).args(more);
            command
        };
        let (code, _, text) = run(command(&[]));
        assert_eq!(code, 2, "{words}");
        assert!(
            text.contains("--help") || text.contains("Usage:"),
            "{words}: {text}"
        );
        let (code, out, _) = run(command(&["--json"]));
        let json: Value =
            serde_json::from_str(&out).unwrap_or_else(|e| panic!("{words}: {e}: {out}"));
        assert_eq!(
            (code, &json["error"]["kind"]),
            (2, &Value::from("usage")),
            "{words}"
        );
        assert!(
            json["error"]["help"].to_string().contains("--help"),
            "{words}: {out}"
        );
    }
}
