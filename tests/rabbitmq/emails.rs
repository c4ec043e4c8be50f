//! deploy/examples/emails, with its own programs: a service posts, a worker gets it. By RabbitMQ, and as a
//! sidecar without a broker.

use super::house::PATIENCE;
use crate::support::process::{Gateway, program};
use crate::support::rabbit;
use crate::support::skip::skipped;
use crate::support::tools;
use crate::support::wait::wait_for;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const EXAMPLE: &str = "deploy/examples/emails";

/// The example's own file on ports of the test's, with some words changed.
fn gateway(file: &str, changes: &[(&str, &str)]) -> Gateway {
    let text = std::fs::read_to_string(Path::new(EXAMPLE).join(file)).expect("it is there");
    let at = text.find("\n[destinations.").expect("it has a destination");
    let mut settings = text[at..].to_owned();
    for (from, to) in changes {
        assert!(settings.contains(from), "{from}");
        settings = settings.replace(from, to);
    }
    let mut gateway = Gateway::new(&program(), &settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

fn run(python: &Path, script: &str, args: &[&str], variable: (&str, &str)) -> Child {
    let mut command = Command::new(python);
    command
        .arg(Path::new(EXAMPLE).join(script))
        .args(args)
        .env(variable.0, variable.1)
        .stdout(Stdio::piped());
    command.spawn().expect("Python starts")
}

/// All that it printed, when it has ended well.
fn said(mut child: Child) -> Vec<String> {
    let status = wait_for(PATIENCE, || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("it goes on".to_owned()),
        Err(e) => Err(e.to_string()),
    });
    assert!(status.success(), "{status}");
    let mut text = String::new();
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_to_string(&mut text).expect("it is text");
    text.lines().map(str::to_owned).collect()
}

fn post(python: &Path, gateway: &Gateway) {
    let url = format!("http://{}", gateway.http);
    let people = ["ann@example.org", "bob@example.org"];
    let service = run(python, "service.py", &people, ("GATEWAY", &url));
    assert_eq!(
        said(service),
        ["stored ann@example.org", "stored bob@example.org"]
    );
}

fn python(test: &str) -> Option<PathBuf> {
    let python = tools::python();
    if python.is_none() {
        skipped(test, tools::MISSING);
    }
    python
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn by_rabbitmq() {
    let test = "rabbitmq::emails::by_rabbitmq";
    let Some(python) = python(test) else { return };
    let Some(server) = rabbit::shared(test) else {
        return;
    };
    let url = server.ports().url();
    let gateway = gateway("routes.toml", &[("amqp://localhost:5672/%2f", &url)]);
    post(&python, &gateway);
    rabbit::wait_queue(&server, "emails");
    let worker = run(&python, "worker.py", &["2"], ("AMQP_URL", &url));
    assert_eq!(
        sorted(said(worker)),
        ["welcome to ann@example.org", "welcome to bob@example.org"]
    );
}

#[test]
fn as_a_sidecar() {
    let Some(python) = python("rabbitmq::emails::as_a_sidecar") else {
        return;
    };
    let mut worker = run(&python, "sidecar/worker.py", &["0", "2"], ("UNUSED", ""));
    let mut lines = BufReader::new(worker.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    let port = first.strip_prefix("listening on ").expect("its port");
    let gateway = gateway("sidecar/routes.toml", &[("8090", port)]);
    post(&python, &gateway);
    let came: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert_eq!(
        sorted(came),
        ["welcome to ann@example.org", "welcome to bob@example.org"]
    );
    assert!(worker.wait().expect("it ends").success());
}
