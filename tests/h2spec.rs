//! HTTP/2 as h2spec judges it: every case of its sections generic, http2 and hpack, the strict ones too.
//!
//! Some cases send a request and then what must not come behind it. If the whole answer is on its way
//! before that, there is nothing left to refuse. So a case that fails is looked at again by itself,
//! where there is one with a request whose answer takes its time; it may fail no more than sometimes.

use crate::support::process::{ALL_TO_INBOX, Gateway, program};
use crate::support::skip::skipped;
use crate::support::tools;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Fewer would mean that it didn't run them all.
const CASES: usize = 146;
/// Of a case alone, until it passes.
const TRIES: usize = 5;
/// How long h2spec waits for what a case expects.
const TIMEOUT_SECONDS: &str = "5";

struct Subject {
    address: SocketAddr,
    /// Answered when the body's end is there.
    path: &'static str,
    /// Answered later than anything that h2spec sends behind a request.
    slow_path: &'static str,
    /// Cases that fail; each is a constant that says why it may.
    exceptions: &'static [&'static str],
}

/// What doesn't begin with the preface is taken for HTTP/1.1, and closed with an answer in HTTP/1.1: by the http
/// listener a bare 400, by the gRPC one that HTTP/2 is needed.
const PREFACE: &str = "http2/3.5/2 Sends invalid connection preface";

fn started() -> Gateway {
    let mut gateway = Gateway::new(&program(), ALL_TO_INBOX);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

#[test]
fn the_http_listener() {
    let Some(h2spec) = tools::bin("h2spec") else {
        return skipped("h2spec::the_http_listener", tools::MISSING);
    };
    let gateway = started();
    let subject = Subject {
        address: gateway.http,
        path: "/v1/topics/h2spec",
        slow_path: "/v1/streams/inbox?from=latest&wait=1s",
        exceptions: &[PREFACE],
    };
    judge(&h2spec, &subject, gateway.folder());
}

#[test]
fn the_grpc_listener() {
    let Some(h2spec) = tools::bin("h2spec") else {
        return skipped("h2spec::the_grpc_listener", tools::MISSING);
    };
    let gateway = started();
    let subject = Subject {
        address: gateway.grpc,
        path: "/causeway.v1.Gateway/Publish",
        // h2spec sends no calls of gRPC, and all else is answered at once.
        slow_path: "/causeway.v1.Gateway/Publish",
        exceptions: &[PREFACE],
    };
    judge(&h2spec, &subject, gateway.folder());
}

fn judge(h2spec: &Path, subject: &Subject, folder: &Path) {
    let report = folder.join("h2spec.xml");
    let (cases, said) = run(h2spec, subject, subject.path, &[], &report);
    assert_eq!(cases.len(), CASES, "{said}");
    let mut failed = BTreeMap::new();
    for name in cases
        .into_iter()
        .filter(|(_, passed)| !passed)
        .map(|(name, _)| name)
    {
        if let Err(said) = passes_alone(h2spec, subject, &name, &report) {
            failed.insert(name, said);
        }
    }
    let names: Vec<&str> = failed.keys().map(String::as_str).collect();
    // A case that is listed and passes has no place in the list any more.
    assert_eq!(names, subject.exceptions, "{failed:#?}");
}

/// Within some tries; else what h2spec said of the last.
fn passes_alone(h2spec: &Path, subject: &Subject, name: &str, report: &Path) -> Result<(), String> {
    let (number, _) = name.split_once(' ').expect("a number and a title");
    let mut last = String::new();
    for _ in 0..TRIES {
        let (again, said) = run(h2spec, subject, subject.slow_path, &[number], report);
        let passed: Vec<bool> = again.into_iter().map(|(_, passed)| passed).collect();
        match passed.as_slice() {
            [true] => return Ok(()),
            [false] => last = said,
            _ => panic!("{number} alone: {said}"),
        }
    }
    Err(last)
}

/// Each case, as `http2/5.1/9 TITLE`, and whether it passed; and all that h2spec said.
fn run(
    h2spec: &Path,
    subject: &Subject,
    path: &str,
    sections: &[&str],
    report: &Path,
) -> (Vec<(String, bool)>, String) {
    let port = subject.address.port().to_string();
    let output = Command::new(h2spec)
        .args(sections)
        .args(["--strict", "--timeout", TIMEOUT_SECONDS])
        .args(["--host", "127.0.0.1", "--port", &port, "--path", path])
        .arg("--junit-report")
        .arg(report)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", h2spec.display()));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let report = fs::read_to_string(report).unwrap_or_else(|e| panic!("no report ({e}): {said}"));
    (cases(&report, sections), said.into_owned())
}

/// Of a report: a case that passed is an element without content. One that ran alone is told
/// without its place in its section, so that it keeps the number that it was asked for by.
fn cases(report: &str, asked: &[&str]) -> Vec<(String, bool)> {
    let attribute = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let mut found = Vec::new();
    let mut places = BTreeMap::<String, usize>::new();
    for line in report.lines().map(str::trim) {
        if !line.starts_with("<testcase ") {
            continue;
        }
        let section = attribute(line, "package").expect("each case is of a section");
        let title = attribute(line, "classname").expect("each case has a title");
        let place = places.entry(section.clone()).or_default();
        *place += 1;
        let number = match asked {
            [number] => (*number).to_owned(),
            _ => format!("{section}/{place}"),
        };
        let passed = line.ends_with("></testcase>") || line.ends_with("/>");
        found.push((format!("{number} {title}"), passed));
    }
    found
}
