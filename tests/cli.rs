//! The program as a client of itself: publish, tail, trace, and how they end.

use crate::support::client::encoded;
use crate::support::process::{Gateway, program};
use crate::support::running::Running;
use crate::support::wait::wait_for;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::process::{Command, Output};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

const SETTINGS: &str = r#"
[destinations.inbox]
type = "stream"

[destinations.picky]
type = "faulty"
script = "reject"
record = "picky.record"

[destinations.hung]
type = "faulty"
script = "hang"
record = "hung.record"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]

[[routes]]
name = "picky"
topic = "picky"
to = ["picky"]

[[routes]]
name = "hung"
topic = "hung"
to = ["hung"]
"#;

fn started() -> Gateway {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap();
    gateway
}

/// Its exit code, stdout and stderr.
fn run(gateway: &Gateway, args: &[&str]) -> (i32, String, String) {
    ended(gateway.run(args))
}

fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    let code = output.status.code().expect("it ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON ({e}): {text:?}"))
}

/// The ids of the whole stream, in its order, once it holds so many.
fn ids_of(gateway: &Gateway, messages: usize) -> Vec<String> {
    wait_for(PATIENCE, || {
        let (code, out, err) = run(gateway, &["tail", "inbox", "--json"]);
        assert_eq!(code, 0, "{err}");
        let id = |line: &str| json(line)["id"].as_str().expect("an id").to_owned();
        let ids: Vec<String> = out.lines().map(id).collect();
        match ids.len() {
            count if count < messages => Err(format!("{messages} messages, not {count}")),
            _ => Ok(ids),
        }
    })
}

#[test]
fn a_message_is_published_read_and_looked_up() {
    let gateway = started();
    let publish = |data: &str, more: &[&str]| {
        let args = [
            "publish", "all/ä b", "-d", data, "--id", "id \"1\"", "--key", "k",
        ];
        run(&gateway, &[&args[..], more].concat())
    };
    let (code, out, err) = publish("{\"n\": 1.0}", &["-H", "Kind=x", "--wait", "--json"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let receipt = json(&out);
    assert_eq!(receipt["id"], "id \"1\"");
    assert_eq!(
        (&receipt["position"], &receipt["state"]),
        (&0.into(), &"delivered".into())
    );

    let (code, out, _) = publish("{\"n\": 1.0}", &["-H", "Kind=x"]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "delivered, id id \"1\", position 0, a duplicate\n  inbox (route all): delivered\n"
    );
    let (code, out, err) = publish("{\"n\": 2}", &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.starts_with("error: the gateway refused (422): the id "),
        "{err}"
    );

    let (code, out, _) = run(
        &gateway,
        &["publish", "all/x", "-d", "a\n\u{1b}[2J", "--wait"],
    );
    assert_eq!(code, 0, "{out}");
    let (code, out, _) = run(&gateway, &["tail", "inbox"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (0, 2), "{out}");
    assert!(lines[0].starts_with("0  2"), "{out}");
    assert!(
        lines[0].ends_with("Z  all/ä b  id=id \"1\"  key=k  {\"n\":1.0}"),
        "{out}"
    );
    assert!(lines[1].ends_with("  a\\n\\u{1b}[2J"), "{out}");
    let (_, out, _) = run(&gateway, &["tail", "inbox", "--json", "-n", "1"]);
    let last = json(&out);
    assert_eq!(
        (&last["offset"], &last["data"]),
        (&1.into(), &"a\n\u{1b}[2J".into())
    );
    let (_, out, _) = run(
        &gateway,
        &["tail", "inbox", "--from", "0", "-n", "1", "--json"],
    );
    assert_eq!(json(&out)["headers"]["kind"], "x");
    let (code, out, _) = run(&gateway, &["tail", "inbox", "--from", "latest"]);
    assert_eq!((code, out.as_str()), (0, ""));

    let (code, out, _) = run(&gateway, &["trace", "id \"1\"", "--topic", "all/ä b"]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "delivered, id id \"1\", position 0\n  inbox (route all): delivered\n"
    );
}

#[test]
fn scripts_can_tell_how_it_ended() {
    let mut gateway = started();
    let codes = |gateway: &Gateway, cases: &[(i32, &str)]| {
        for (code, words) in cases {
            let args: Vec<&str> = words.split(' ').collect();
            let ended = run(gateway, &args);
            assert_eq!(ended.0, *code, "{words}: {ended:?}");
        }
    };
    codes(
        &gateway,
        &[
            (0, "publish all/x -d x --id a --wait"),
            (0, "trace a --topic all/x"),
            (1, "publish nowhere -d x"),
            (1, "publish all//x -d x"),
            (2, "publish all/x"),
            (2, "publish all/x -d x --server ftp://x"),
            (2, "publish all/x -d x --key \n"),
            (4, "trace b --topic all/x"),
            (4, "tail nowhere"),
            (5, "publish picky -d x --id p --wait"),
            (6, "publish hung -d x --wait --give-up-after 50ms"),
        ],
    );
    let (code, out, err) = run(&gateway, &["trace", "p", "--topic", "picky", "--json"]);
    assert_eq!(
        (code, &json(&out)["state"]),
        (0, &"dead_lettered".into()),
        "{err}"
    );
    let (code, out, _) = run(&gateway, &["trace", "b", "--topic", "all/x", "--json"]);
    assert_eq!(
        (code, &json(&out)["error"]["problem"]["type"]),
        (4, &"urn:causeway:problem:unknown-message".into())
    );
    gateway.kill();
    codes(
        &gateway,
        &[
            (3, "publish all/x -d x --give-up-after 200ms"),
            (3, "tail inbox --follow"),
            (3, "trace a --topic all/x"),
        ],
    );
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let gateway = started();
    let (code, out, err) = run(&gateway, &["run"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let http = gateway.http;
    assert!(
        err.contains(&format!("error: can't listen on {http} ([listen] http): ")),
        "{err}"
    );
    assert!(
        err.contains("at [listen] http in the configuration"),
        "{err}"
    );

    let missing = Command::new(program())
        .args(["--config", "no/such.toml"])
        .output()
        .expect("it starts");
    let (code, out, err) = ended(missing);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        "error: there is no no/such.toml\nhelp: go where it is, or name it with --config FILE\n"
    );
}

fn publish(gateway: &Gateway, numbers: Range<usize>) {
    let mut client = gateway.client(PATIENCE);
    for number in numbers {
        let answer = client.post("/v1/topics/all/x", &[], number.to_string().as_bytes());
        let status = answer.map(|response| response.status);
        assert!(matches!(status, Ok(200 | 202)), "{number}: {status:?}");
    }
}

#[test]
fn a_follower_sees_each_offset_once_across_a_kill() {
    const HALF: usize = 25;
    let mut gateway = started();
    let mut tail = Running::start(gateway.other(&["tail", "inbox", "--from", "0", "-f", "--json"]));
    let lines = tail.lines();
    let offsets = |count: usize| -> Vec<u64> {
        let line = |_| lines.recv_timeout(PATIENCE).expect("a line in time");
        let offset = |line: String| json(&line)["offset"].as_u64().expect("an offset");
        (0..count).map(line).map(offset).collect()
    };
    publish(&gateway, 0..HALF);
    let mut seen = offsets(HALF);
    gateway.kill();
    gateway.start().unwrap();
    publish(&gateway, HALF..2 * HALF);
    seen.extend(offsets(HALF));
    assert_eq!(seen, (0..2 * HALF as u64).collect::<Vec<u64>>());
    drop(tail.0.kill());
    let notes = tail.read_stderr();
    assert!(notes.contains("; trying again\n"), "{notes}");
    assert!(
        notes.contains(&format!("note: connected again, going on at {HALF}\n")),
        "{notes}"
    );
    let more = lines.recv_timeout(PATIENCE);
    assert!(more.is_err(), "one more: {more:?}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let gateway = started();
    let (code, _, err) = run(&gateway, &["publish", "all/x", "-d", "x", "--wait"]);
    assert_eq!(code, 0, "{err}");
    let mut tail = Running::start(gateway.other(&["tail", "inbox", "--from", "0"]));
    drop(tail.0.stdout.take());
    assert_eq!(tail.wait(PATIENCE), 0);
    assert_eq!(tail.read_stderr(), "");
}

#[test]
fn lines_are_stored_once_across_a_kill_and_a_second_upload() {
    const LINES: usize = 1_000;
    const FIRST: usize = 600;
    let mut gateway = started();
    let text = |range: Range<usize>| -> String {
        range
            .map(|n| format!("line {n} {}\n", "x".repeat(500)))
            .collect()
    };
    let upload = [
        "publish",
        "all/lines",
        "--lines",
        "--id-prefix",
        "p",
        "--json",
    ];
    let mut client = Running::start(gateway.other(&upload));
    let mut stdin = client.0.stdin.take().expect("it is piped");
    let (head, rest) = (text(0..FIRST), text(FIRST..LINES));
    let (go_on, held_back) = channel::<()>();
    let writer = thread::spawn(move || {
        stdin.write_all(head.as_bytes()).expect("it reads");
        // The rest comes after the kill, so that this is in the middle.
        held_back.recv().expect("the test lives");
        stdin.write_all(rest.as_bytes()).expect("it reads on");
    });
    ids_of(&gateway, 1);
    gateway.kill();
    go_on.send(()).expect("the writer waits");
    gateway.start().unwrap();
    let code = client.wait(PATIENCE);
    let notes = client.read_stderr();
    assert_eq!(code, 0, "{notes}");
    writer.join().expect("it could write all");
    assert!(
        notes.contains(&format!("{LINES} lines: ")) && notes.contains(" 0 refused"),
        "{notes}"
    );

    let expected: BTreeSet<String> = (1..=LINES).map(|n| format!("p-{n}")).collect();
    let once = |ids: Vec<String>| {
        assert_eq!(ids.len(), LINES);
        assert_eq!(ids.into_iter().collect::<BTreeSet<String>>(), expected);
    };
    once(ids_of(&gateway, LINES));
    let mut again = Running::start(gateway.other(&upload));
    let mut stdin = again.0.stdin.take().expect("it is piped");
    stdin
        .write_all(text(0..LINES).as_bytes())
        .expect("it reads");
    drop(stdin);
    let lines = again.lines();
    assert_eq!(again.wait(PATIENCE), 0);
    let summary: String = lines.iter().collect();
    let summary = json(&summary);
    assert_eq!(
        (&summary["stored"], &summary["duplicates"]),
        (&0.into(), &LINES.into())
    );
    once(ids_of(&gateway, LINES));
    let id = encoded("p-1000");
    let found = gateway
        .client(PATIENCE)
        .get(&format!("/v1/messages?id={id}&topic=all%2Flines"));
    assert!(found.is_ok_and(|response| response.status == 200));
}

#[test]
fn refused_lines_are_named() {
    let gateway = started();
    let mut client = Running::start(gateway.other(&["publish", "all/x", "--lines"]));
    let mut stdin = client.0.stdin.take().expect("it is piped");
    let long = "x".repeat((1 << 20) + 1);
    let input = format!("one\n{long}\nthree");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    assert_eq!(client.wait(PATIENCE), 1);
    let notes = client.read_stderr();
    assert!(
        notes.starts_with("3 lines: 2 stored, 0 duplicates, 1 refused\n  line 2 (413): "),
        "{notes}"
    );
    assert_eq!(ids_of(&gateway, 2).len(), 2);
}

/// By the file, beside the running gateway's journal, and by the gateway itself: the same answer. And
/// a saved case holds.
#[test]
fn what_the_file_explains_is_what_the_gateway_explains() {
    let gateway = started();
    let args = [
        "explain",
        "all/x",
        "-d",
        "{\"n\": 1}",
        "--id",
        "i-1",
        "-H",
        "Kind=a",
        "--json",
    ];
    let (code, offline, _) = run(&gateway, &args);
    assert_eq!(code, 0, "{offline}");
    let live = [&args[..], &["--live"]].concat();
    let (code, live, stderr) = run(&gateway, &live);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(json(&offline), json(&live));
    let id = &json(&live)["targets"][0]["delivery_id"]["is"];
    assert_eq!(id.as_str().map(str::len), Some(32), "{live}");

    let (code, text, _) = run(&gateway, &["explain", "nowhere", "-d", "x"]);
    assert_eq!(code, 1);
    assert!(
        text.contains("no-route") && text.contains("picky"),
        "{text}"
    );
    let cases = gateway.folder().join("saved.toml");
    let save = format!("--save={}", cases.display());
    for topic in ["all/x", "nowhere"] {
        run(&gateway, &["explain", topic, "-d", "{\"n\": 1}", &save]);
    }
    let (code, text, _) = run(&gateway, &["test", &cases.display().to_string()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.ends_with("2 passed, 0 failed\n"), "{text}");
    std::fs::write(
        &cases,
        "[[test]]\npublish = { topic = \"all/x\" }\nexpect = [{ route = \"all\", destination = \"inbox\", topic = \"y\" }]\n",
    )
    .expect("the folder is writable");
    let (code, text, _) = run(&gateway, &["test", &cases.display().to_string()]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("all → inbox: topic is \"all/x\", not \"y\""),
        "{text}"
    );
    let (code, _, stderr) = run(&gateway, &["test"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(".test.toml"), "{stderr}");
}
