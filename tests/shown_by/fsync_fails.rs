//! Every fsync fails from a thread's third on, by strace. At the start: it is refused. While it
//! runs: refusals, health red, no ack for what was not stored, and a clean restart.

use super::{ANSWER_LIMIT, insist, publish, say, stream_ids};
use crate::support::process::{ALL_TO_INBOX, Gateway, START_LIMIT, plain_program};
use crate::support::skip::skipped;
use crate::support::wait::{wait_for, wait_until};
use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const TEST: &str = "shown_by::fsync_fails";
const MOST_PUBLISHES: usize = 2_000;
const AFTER_FAILURE: usize = 20;

/// What strace is told, at the start as later: from a thread's third sync on, each fails. It counts
/// for each thread by itself, from where it attached.
const TRACE: &str = "trace=fsync,fdatasync";
const INJECT: &str = "inject=fsync,fdatasync:error=EIO:when=3+";
const TRACE_FILE: &str = "trace";
/// Which makes its folder, and which finds one.
const STARTS: [&str; 2] = ["first", "second"];

/// Which sync of the start's is the third depends on what it has to make.
const STOPPED_AT: [&str; 2] = [
    "error: can't make the data folder",
    "error: the journal can't be opened",
];

/// A start syncs more often than twice in one thread (names and the last batch are in doubt until
/// then), so under these faults there is none: it says why, and nobody got an answer.
#[test]
fn a_start_whose_syncs_fail_is_refused() {
    let Some(mut gateway) = plain_gateway() else {
        return;
    };
    if !strace_works() {
        skipped(TEST, "strace --seccomp-bpf can't trace here");
        return;
    }
    for start in STARTS {
        // -D: the tracer is a grandchild, so that our child is the gateway itself.
        let words = ["strace", "-D", "-f", "--seccomp-bpf", "-o", TRACE_FILE];
        let words = [&words[..], &["-e", TRACE, "-e", INJECT]].concat();
        gateway.started_by(&words);
        gateway.spawn();
        let (status, answers) = publish_until_it_ends(&mut gateway);
        assert_eq!(
            answers, 0,
            "a gateway that could not start took publishes: {status}"
        );
        assert!(!status.success(), "{status}");
        let said = gateway.log_tail();
        let names_it = STOPPED_AT.iter().any(|what| said.contains(what));
        assert!(names_it && said.contains("(os error 5)"), "{said}");
        let injected = wait_for_injected(&gateway);
        say(&format!(
            "shown by: `{} causeway`, the {start} start: {injected} syncs failed, {status}, \
             0 publishes answered",
            words.join(" ")
        ));

        gateway.started_by(&[]);
        gateway.start().unwrap();
        insist(&mut gateway.client(ANSWER_LIMIT), "all/x", start, b"whole");
        gateway.terminate(START_LIMIT).unwrap();
    }
    gateway.start().unwrap();
    wait_for_ids(&gateway, STARTS.map(str::to_owned).to_vec());
}

#[test]
fn a_failed_fsync_is_final_until_the_restart() {
    let Some(mut gateway) = plain_gateway() else {
        return;
    };
    gateway.start().unwrap();
    insist(
        &mut gateway.client(ANSWER_LIMIT),
        "all/x",
        "before",
        b"before",
    );
    let Some((tracer, command)) = attach(&gateway) else {
        skipped(TEST, "strace can't attach to a process here");
        return;
    };
    let (acked, refused) = publish_until_refused(&gateway);
    wait_until_unready(&gateway);
    wait_until_logged(&gateway);
    gateway.kill();
    tracer.ended();
    let injected = wait_for_injected(&gateway);

    gateway.start().unwrap();
    let mut client = gateway.client(ANSWER_LIMIT);
    for id in &refused {
        insist(&mut client, "all/x", id, id.as_bytes());
    }
    let (stored, told) = (acked.len(), refused.len());
    let expected = [vec!["before".to_owned()], acked, refused].concat();
    wait_for_ids(&gateway, expected);
    say(&format!(
        "shown by: `{command}`: {injected} syncs failed: {stored} stored before, {told} refused after"
    ));
}

fn plain_gateway() -> Option<Gateway> {
    let Some(program) = plain_program() else {
        skipped(
            TEST,
            "needs the plain build, which `cargo xtask test` makes",
        );
        return None;
    };
    Some(Gateway::new(&program, ALL_TO_INBOX))
}

fn strace_works() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "--seccomp-bpf", "-e", TRACE, "true"]);
    strace
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Publishes until the gateway has ended: its status, and how many were answered at all.
fn publish_until_it_ends(gateway: &mut Gateway) -> (ExitStatus, usize) {
    let deadline = Instant::now() + START_LIMIT;
    let mut client = gateway.client(ANSWER_LIMIT);
    let mut answers = 0;
    loop {
        if let Some(status) = gateway.ended() {
            return (status, answers);
        }
        answers += usize::from(publish(&mut client, "all/x", "early", b"early").is_some());
        assert!(
            Instant::now() < deadline,
            "it runs although its syncs fail: {}",
            gateway.log_tail()
        );
    }
}

/// strace beside a running gateway. It ends with what it traces.
struct Tracer(Child);

impl Tracer {
    fn ended(mut self) {
        self.0.wait().expect("our own child can be waited for");
    }
}

/// Starts it and waits until it has every thread; with the command, to be shown. None if that
/// isn't allowed.
fn attach(gateway: &Gateway) -> Option<(Tracer, String)> {
    let pid = gateway.pid().expect("it runs").to_string();
    // --seccomp-bpf is for processes that strace starts itself.
    let words = [
        "-f", "-p", &pid, "-o", TRACE_FILE, "-e", TRACE, "-e", INJECT,
    ];
    let mut strace = Command::new("strace");
    strace.args(words).current_dir(gateway.folder());
    let mut child = strace.stderr(Stdio::null()).spawn().ok()?;
    let deadline = Instant::now() + ANSWER_LIMIT;
    while !all_threads_are_traced(&pid) {
        if child
            .try_wait()
            .expect("our own child can be asked")
            .is_some()
        {
            return None;
        }
        assert!(Instant::now() < deadline, "strace doesn't attach to {pid}");
        thread::sleep(Duration::from_millis(5));
    }
    Some((Tracer(child), format!("strace {}", words.join(" "))))
}

fn all_threads_are_traced(pid: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks.filter_map(Result::ok).all(|task| {
        // A thread may have ended since it was listed.
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.lines().any(|line| line == "TracerPid:\t0")
    })
}

/// How many calls strace failed; it may be a moment behind the end of what it traces.
fn wait_for_injected(gateway: &Gateway) -> usize {
    let path = gateway.folder().join(TRACE_FILE);
    wait_for(ANSWER_LIMIT, || {
        let trace = fs::read_to_string(&path).unwrap_or_default();
        let injected = trace.lines().filter(|line| line.contains("(INJECTED)"));
        match injected.count() {
            0 => Err(format!("a call that strace failed, in\n{trace}")),
            injected => Ok(injected),
        }
    })
}

/// Waits until as many are delivered: each of these once, and nothing else.
fn wait_for_ids(gateway: &Gateway, mut expected: Vec<String>) {
    let deadline = Instant::now() + START_LIMIT;
    let mut found = stream_ids(gateway, "inbox");
    while found.len() < expected.len() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
        found = stream_ids(gateway, "inbox");
    }
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// The ids that were acknowledged, and those that were refused: from the first on, all are.
fn publish_until_refused(gateway: &Gateway) -> (Vec<String>, Vec<String>) {
    let mut client = gateway.client(ANSWER_LIMIT);
    let (mut acked, mut refused) = (Vec::new(), Vec::new());
    for number in 0..MOST_PUBLISHES {
        let id = format!("id-{number}");
        let response = publish(&mut client, "all/x", &id, id.as_bytes());
        let response = response.expect("it goes on answering");
        match response.status {
            200 | 202 if refused.is_empty() => acked.push(id),
            503 => refused.push(id),
            _ => panic!("{id}, after {} refusals: {response}", refused.len()),
        }
        if refused.len() == AFTER_FAILURE {
            return (acked, refused);
        }
    }
    panic!("{MOST_PUBLISHES} publishes and no refusal");
}

fn wait_until_logged(gateway: &Gateway) {
    let words = "the journal takes no writes until the gateway is restarted";
    wait_until(ANSWER_LIMIT, words, || gateway.log_tail().contains(words));
}

fn wait_until_unready(gateway: &Gateway) {
    wait_for(ANSWER_LIMIT, || {
        let reasons = gateway.unready()?;
        let words = "the journal takes no writes until the gateway is restarted";
        assert!(reasons.contains(words), "{reasons}");
        Ok(())
    });
}
