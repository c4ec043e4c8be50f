//! The clients of docs/clients.md, each in its own language, against a real gateway: what is refused for now is sent
//! again under the same id, while the gateway is busy, gone, silent and back; then it stands there once.

mod http;

use crate::support::process::{Gateway, program};
use crate::support::skip::skipped;
use crate::support::streams::stream_ids;
use crate::support::wait::{wait_for, wait_until};
use crate::support::{metrics, tools};
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
payload = "1KiB"
in_flight_bytes = "1KiB"

[destinations.inbox]
type = "stream"

[destinations.picky]
type = "faulty"
script = "reject"
record = "picky.record"

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
const ID: &str = "order-1";
const PAYLOAD: &str = r#"{"total": 12, "note": "too long for the room that is left"}"#;

/// A door of the gateway, as a client of it sees it.
trait Door {
    /// What the client is told: where the gateway is.
    fn url(&self, gateway: &Gateway) -> String;
    fn address(&self, gateway: &Gateway) -> SocketAddr;
    /// Takes the room for payloads until it is dropped.
    fn fill(&self, gateway: &Gateway) -> TcpStream;
    /// How often the door has refused for want of that room.
    fn refused(&self, gateway: &Gateway) -> f64;
}

/// What starts a client: a program and its first words.
struct Client {
    program: PathBuf,
    words: Vec<String>,
}

impl Client {
    fn new(program: impl Into<PathBuf>, words: &[&str]) -> Self {
        Self {
            program: program.into(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    fn start(&self, url: &str, topic: &str, payload: &str, said: &Path) -> Running {
        let output = File::create(said).expect("the test's folder is writable");
        let mut command = Command::new(&self.program);
        command.args(&self.words).args([url, topic, ID, payload]);
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
fn insists(door: &impl Door, client: &Client) {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let url = door.url(&gateway);
    let said = gateway.folder().join("client");

    let holder = door.fill(&gateway);
    let mut running = client.start(&url, TOPIC, PAYLOAD, &said);
    wait_until(PATIENCE, "the client is refused", || {
        assert!(running.runs(), "it gave up: {}", running.said());
        door.refused(&gateway) > 0.0
    });
    gateway.kill();
    drop(holder);
    ask_and_say_nothing(door.address(&gateway), &mut running);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let (status, words) = running.end();
    assert!(status.success(), "{words}");
    assert_eq!(stream_ids(&gateway, "inbox"), [ID], "{words}");

    let finished = |topic: &str, payload: &str| client.start(&url, topic, payload, &said).end();
    let (status, words) = finished(TOPIC, PAYLOAD);
    assert!(status.success(), "the same again: {words}");
    let (status, words) = finished(TOPIC, r#"{"total": 13}"#);
    assert!(
        !status.success() && words.contains("refused for good"),
        "another payload: {words}"
    );
    let (status, words) = finished("nowhere", PAYLOAD);
    assert!(
        !status.success() && words.contains("refused for good"),
        "no route: {words}"
    );
    let (status, words) = finished("never", PAYLOAD);
    assert!(
        !status.success() && words.contains("held, not sent again"),
        "dead-lettered: {words}"
    );
    assert_eq!(stream_ids(&gateway, "inbox"), [ID]);
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
    assert!(checked >= http::LANGUAGES, "{checked} blocks");
}
