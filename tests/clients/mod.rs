//! The clients of docs/clients.md, each in its own language, against a real gateway: what is refused for now is sent
//! again under the same id, while the gateway is busy, gone, silent and back; then it stands there once.

mod grpc;
mod http;

use crate::support::process::{Gateway, program};
use crate::support::skip::skipped;
use crate::support::streams::stream_ids;
use crate::support::tools;
use crate::support::wait::{wait_for, wait_until};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// For one step, on a machine under load. A client's pauses are at most 10 s.
const PATIENCE: Duration = Duration::from_secs(90);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// One payload fills all the room that there is for payloads in flight.
const SETTINGS: &str = r##"
[limits]
payload = "64KiB"
in_flight_bytes = "64KiB"

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
name = "held"
topic = "held"
ack = "delivered"
ack_timeout = "10m"
to = ["hung"]

[[routes]]
name = "orders"
topic = "orders/#"
to = ["inbox"]

[[routes]]
name = "never"
topic = "never"
to = ["picky"]
ack = "delivered"
"##;
const TOPIC: &str = "orders/new";
/// To see that a body is being read; each of them takes less than a millisecond.
const PROBES: usize = 200;
const ID: &str = "order-1";
/// What the held payload leaves of the room: a little, for what is asked beside payloads (reflection).
const ROOM_LEFT_BYTES: usize = 2_000;
const LIMIT_BYTES: usize = 64 << 10;

/// Too long for the room that is left.
fn payload() -> String {
    format!(
        r#"{{"total": 12, "note": "{}"}}"#,
        "x".repeat(2 * ROOM_LEFT_BYTES)
    )
}

/// A door of the gateway, as a client of it sees it.
struct Door {
    /// What the client is told: where the gateway is.
    url: fn(&Gateway) -> String,
    address: fn(&Gateway) -> SocketAddr,
    /// What a client says that finds no room for its payload.
    no_room: &'static str,
}

/// What starts a client: a program and its first words.
struct Client {
    program: PathBuf,
    words: Vec<String>,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Client {
    fn new(program: impl Into<PathBuf>, words: &[&str]) -> Self {
        Self {
            program: program.into(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            variables: Vec::new(),
        }
    }

    fn with(mut self, variable: &'static str, value: PathBuf) -> Self {
        self.variables.push((variable, value));
        self
    }

    /// `what`: topic, id and payload.
    fn start(&self, url: &str, what: [&str; 3], said: &Path) -> Running {
        let output = File::create(said).expect("the test's folder is writable");
        let mut command = Command::new(&self.program);
        command.args(&self.words).arg(url).args(what);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        without_proxies(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file can be shared"))
            .stderr(output)
            .spawn();
        let child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Running(child, said.to_owned())
    }
}

/// They would be asked for the way to this machine.
fn without_proxies(command: &mut Command) {
    for name in ["http_proxy", "https_proxy", "all_proxy", "grpc_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
}

/// A client and what it says. Killed with the test.
struct Running(Child, PathBuf);

impl Running {
    fn said(&self) -> String {
        fs::read_to_string(&self.1).expect("its output is a file")
    }

    fn end(mut self) -> (ExitStatus, String) {
        let status = wait_for(PATIENCE, || match self.0.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => Err(format!("the client still runs: {}", self.said())),
        });
        (status, self.said())
    }

    fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All that a client meets.
fn insists(door: &Door, client: &Client) {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let url = (door.url)(&gateway);
    let said = gateway.folder().join("client");

    let payload = payload();
    let holder = fill(&gateway);
    let mut running = client.start(&url, [TOPIC, ID, &payload], &said);
    wait_for(PATIENCE, || {
        assert!(running.runs(), "it gave up: {}", running.said());
        let words = running.said();
        words.contains(door.no_room).then_some(()).ok_or(words)
    });
    gateway.kill();
    drop(holder);
    ask_and_say_nothing((door.address)(&gateway), &mut running);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let (status, words) = running.end();
    assert!(status.success(), "{words}");
    wait_until(PATIENCE, "it is delivered", || {
        !stream_ids(&gateway, "inbox").is_empty()
    });
    assert_eq!(stream_ids(&gateway, "inbox"), [ID], "{words}");

    let finished = |what: [&str; 3]| client.start(&url, what, &said).end();
    let (status, words) = finished([TOPIC, ID, &payload]);
    assert!(status.success(), "the same again: {words}");
    let (status, words) = finished([TOPIC, ID, r#"{"total": 13}"#]);
    assert!(
        !status.success() && words.contains("refused for good"),
        "another payload: {words}"
    );
    let (status, words) = finished(["nowhere", ID, &payload]);
    assert!(
        !status.success() && words.contains("refused for good"),
        "no route: {words}"
    );
    let (status, words) = finished(["never", "order-2", &payload]);
    assert!(
        !status.success() && words.contains("held, not sent again"),
        "dead-lettered: {words}"
    );
    // What is published last is delivered last.
    assert!(finished([TOPIC, "order-3", &payload]).0.success());
    wait_until(PATIENCE, "the last is delivered", || {
        stream_ids(&gateway, "inbox").len() > 1
    });
    assert_eq!(stream_ids(&gateway, "inbox"), [ID, "order-3"]);
}

/// Takes the room for payloads, until the gateway is killed: its message waits for a destination that hangs.
fn fill(gateway: &Gateway) -> TcpStream {
    let head = "POST /v1/topics/held HTTP/1.1\r\nhost: localhost";
    let body = vec![b'x'; LIMIT_BYTES - ROOM_LEFT_BYTES];
    let head = format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut probe = gateway.client(ANSWER_LIMIT);
    wait_for(PATIENCE, || {
        let mut holder = TcpStream::connect(gateway.http).expect("it listens");
        let sent = holder.write_all(&[head.as_bytes(), &body[..]].concat());
        sent.expect("it listens");
        // The room is taken when somebody else is told so. Or the probe came first, and took it from the holder.
        for _ in 0..PROBES {
            let told = probe.post("/v1/topics/nowhere", &[], &body);
            if told.is_ok_and(|told| told.status == 503) && !has_answer(&holder) {
                return Ok(holder);
            }
        }
        Err("the room isn't taken".to_owned())
    })
}

fn has_answer(connection: &TcpStream) -> bool {
    connection.set_nonblocking(true).expect("a socket can be");
    let answer = connection.peek(&mut [0; 1]);
    connection.set_nonblocking(false).expect("a socket can be");
    answer.is_ok()
}

/// Takes one request in the gateway's place, and gives no answer.
fn ask_and_say_nothing(address: SocketAddr, running: &mut Running) {
    let listener = TcpListener::bind(address).expect("the gateway is gone");
    listener.set_nonblocking(true).expect("a socket can be");
    let mut connection = wait_for(PATIENCE, || {
        assert!(running.runs(), "it gave up: {}", running.said());
        listener
            .accept()
            .map_err(|e| format!("nobody comes: {e}; {}", running.said()))
    })
    .0;
    connection.set_nonblocking(false).expect("a socket can be");
    connection
        .set_read_timeout(Some(ANSWER_LIMIT))
        .expect("a socket can be");
    // Whatever comes first; a client may also open a connection before it has something to send.
    let _ = connection.read(&mut [0; 1]);
}

/// Where a client is built, kept from run to run.
fn built_in(name: &str) -> PathBuf {
    let folder = tools::folder().join("clients").join(name);
    fs::create_dir_all(&folder).expect("the folder of the tools is writable");
    folder
}

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(path);
    path.to_str().expect("its own path is text").to_owned()
}

fn is_there(program: &str, word: &str) -> bool {
    Command::new(program)
        .arg(word)
        .output()
        .is_ok_and(|o| o.status.success())
}

/// The folder of the gateway's protos.
fn protos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proto")
}

fn built(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// What the page has in a block of code is the file, word by word.
#[test]
fn the_page_has_each_of_them_as_it_is() {
    let page = fs::read_to_string("docs/clients.md").expect("the page is there");
    let mut checked = 0;
    for block in page.split("\n<!-- tests/clients/").skip(1) {
        let (name, rest) = block
            .split_once(" -->\n```")
            .expect("a file's name, then its block");
        let (_, rest) = rest.split_once('\n').expect("a block of lines");
        let (text, _) = rest.split_once("\n```").expect("a block has an end");
        let file = fs::read_to_string(source(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            text.trim_end(),
            file.trim_end(),
            "docs/clients.md has another {name}"
        );
        checked += 1;
    }
    assert_eq!(checked, page.matches("<!-- tests/clients/").count());
    assert!(
        checked >= http::LANGUAGES + grpc::LANGUAGES,
        "{checked} blocks"
    );
}
