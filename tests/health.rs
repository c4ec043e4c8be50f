//! `/healthz` and `/readyz` of the real process, from its first moment to its last. A failed journal and
//! a full disk are in `shown_by`, a full journal in `limits`.

use crate::support::metrics_lint::lint;
use crate::support::process::{ALL_TO_INBOX, Gateway, START_LIMIT, program};
use crate::support::skip::skipped;
use crate::support::wait::wait_for;
use rustix::process::Signal;
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

const STRACE: [&str; 5] = ["strace", "-D", "-f", "--seccomp-bpf", "-o"];
const TRACE: [&str; 3] = ["trace", "-e", "trace=flock"];
/// The data folder's lock comes before anything is read. In microseconds.
const SLOW_LOCK: [&str; 2] = ["-e", "inject=flock:delay_enter=3000000"];

/// Whoever starts it sees that it lives, and that it isn't to be sent anything yet.
#[test]
fn while_it_recovers_it_is_live_and_not_ready() {
    let words = [&STRACE[..], &TRACE, &SLOW_LOCK].concat();
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "--seccomp-bpf", "true"]);
    if !strace
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
    {
        return skipped("health", "strace --seccomp-bpf can't trace here");
    }
    let mut gateway = Gateway::new(&program(), ALL_TO_INBOX);
    gateway.start().unwrap();
    gateway.terminate(START_LIMIT).unwrap();
    gateway.started_by(&words);
    gateway.spawn();
    // It has to be loaded first.
    wait_for(PATIENCE, || {
        let answer = gateway.health_client().get("/healthz");
        answer.map_err(|trouble| trouble.to_string())
    });
    let reasons = gateway.unready().unwrap();
    assert_eq!(reasons, "[\"recovering: 0 records of the journal read\"]");
    let page = gateway.health_client().get("/metrics").expect("it answers");
    let page = String::from_utf8(page.body).expect("text");
    assert!(page.contains("causeway_ready 0\n"), "{page}");
    assert_eq!(lint(&page), Vec::<String>::new());

    gateway.wait_ready(START_LIMIT).unwrap();
    let got = gateway.client(PATIENCE).post("/v1/topics/x", &[], b"x");
    assert_eq!(got.expect("it listens").status, 202);
}

#[test]
fn while_it_stops_it_is_live_and_not_ready() {
    const HANGS: &str = "[destinations.hung]\ntype = \"faulty\"\nscript = \"hang\"\nrecord = \"r\"\n\
        [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"hung\"]\n";
    let mut gateway = Gateway::new(&program(), HANGS);
    gateway.start().unwrap();
    assert!(gateway.unready().is_err());
    let got = gateway.client(PATIENCE).post("/v1/topics/x", &[], b"x");
    assert_eq!(got.expect("it listens").status, 202);
    gateway.signal(Signal::TERM);
    let reasons = wait_for(PATIENCE, || gateway.unready());
    assert_eq!(reasons, "[\"the gateway is stopping\"]");
}
