//! The webhook beyond the contract of tests/egress/: what others make of its requests, a service that wants
//! no more, another address by a reload, TLS by the file.

use crate::support::asked::lane_of;
use crate::support::client::Client;
use crate::support::hook::{Hook, Manner};
use crate::support::process::{Gateway, program};
use crate::support::running::Running;
use crate::support::wait::{wait_for, wait_until};
use crate::support::{skip, tools};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn settings(keys: &str) -> String {
    format!(
        "[destinations.hook]\ntype = \"webhook\"\nretry = {{ initial = \"10ms\", max = \"100ms\" }}\n{keys}\n\
         [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"hook\"]\n"
    )
}

fn started(settings: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

fn publish(client: &mut Client, id: &str, body: &[u8]) {
    let headers = [
        ("idempotency-key", id),
        ("causeway-key", "kéy 1"),
        ("causeway-header-type", "pdf"),
        ("content-type", "application/json"),
    ];
    let response = client.post("/v1/topics/jobs/new", &headers, body);
    let response = response.unwrap_or_else(|t| panic!("{t}"));
    assert_eq!(response.status, 202, "{response}");
}

fn lane(gateway: &Gateway) -> Value {
    lane_of(gateway, "hook")
}

/// Promise 5's delivery id and the signature, read by the reference library; events by the SDK of CloudEvents.
#[test]
fn other_peoples_libraries_agree() {
    let Some(python) = tools::python() else {
        return skip::skipped("webhook::other_peoples_libraries_agree", tools::MISSING);
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webhook/service.py");
    for form in ["raw", "binary", "structured"] {
        let mut command = Command::new(&python);
        command.arg(&script).args([form, SECRET]);
        let mut service = Running::start(command);
        let lines = service.lines();
        let line = || lines.recv_timeout(PATIENCE).expect("it goes on talking");
        let port: u16 = line().parse().expect("its port");
        // It knows one of two secrets, as while they are rotated.
        let gateway = started(&settings(&format!(
            "url = \"http://127.0.0.1:{port}/in?x=1\"\nformat = \"{form}\"\nheaders = [\"type\"]\n\
             secrets = [\"{OLD_SECRET}\", \"{SECRET}\"]\n"
        )));
        let mut client = gateway.client(ANSWER_LIMIT);
        for n in 0..3 {
            publish(
                &mut client,
                &format!("é-{n}"),
                format!("{{\"n\":{n}}}").as_bytes(),
            );
        }
        for n in 0..3 {
            let told = line();
            let told: Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{told}: {e}"));
            let text = |name: &str| {
                told[name]
                    .as_str()
                    .unwrap_or_else(|| panic!("{name}: {told}"))
            };
            let decoded = |name| {
                percent_decode_str(text(name))
                    .decode_utf8_lossy()
                    .into_owned()
            };
            assert_eq!(decoded("publisher_id"), format!("é-{n}"), "{told}");
            assert_eq!(text("topic"), "jobs/new");
            assert_eq!(decoded("key"), "kéy 1", "{told}");
            assert_eq!(text("type"), "pdf");
            let data = STANDARD.decode(text("data")).expect("base64");
            let data: Value = serde_json::from_slice(&data).expect("JSON");
            assert_eq!(data, serde_json::json!({ "n": n }));
            if form != "raw" {
                assert_eq!(told["id"], told["webhook_id"]);
            }
        }
    }
}

#[test]
fn a_service_that_is_gone_for_good_pauses_its_lane() {
    let hook = Hook::start();
    hook.behave(Manner::Answers(410));
    let gateway = started(&settings(&format!("url = \"http://{}\"\n", hook.address())));
    publish(&mut gateway.client(ANSWER_LIMIT), "one", b"1");
    wait_for(PATIENCE, || {
        let lane = lane(&gateway);
        match lane["state"].as_str() {
            Some("paused") => Ok(()),
            _ => Err(format!("not paused: {lane}")),
        }
    });
    let held = lane(&gateway);
    assert_eq!(held["pending"], 1, "{held}");
    assert_eq!(held["dead_lettered"], 0, "{held}");
    let error = held["last_error"].as_str().expect("a reason");
    assert!(
        error.contains("410 Gone: not now; it wants nothing more"),
        "{error}"
    );
    publish(&mut gateway.client(ANSWER_LIMIT), "two", b"2");
    assert_eq!(lane(&gateway)["state"], "paused");
}

#[test]
fn a_reload_takes_another_address_for_what_is_owed() {
    let (mut before, after) = (Hook::start(), Hook::start());
    let with = |hook: &Hook| settings(&format!("url = \"http://u:hunter2@{}/\"\n", hook.address()));
    let gateway = started(&with(&before));
    before.be_gone();
    publish(&mut gateway.client(ANSWER_LIMIT), "one", b"1");
    wait_until(PATIENCE, "a retry", || {
        lane(&gateway)["retries"].as_u64() > Some(0)
    });
    gateway.configure(&with(&after));
    let reload = gateway.run(&["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    wait_until(PATIENCE, "its delivery", || after.took().len() == 1);
    let shown = gateway.log_tail() + &lane(&gateway).to_string();
    assert!(!shown.contains("hunter2"), "a password is shown: {shown}");
}

#[test]
fn a_reload_allows_more_requests_at_once() {
    let hook = Hook::start();
    hook.behave(Manner::Hangs);
    let with = |concurrency: usize| {
        let url = hook.address();
        settings(&format!(
            "url = \"http://{url}\"\nconcurrency = {concurrency}\n"
        ))
    };
    let gateway = started(&with(1));
    let mut client = gateway.client(ANSWER_LIMIT);
    for n in 0..3 {
        let topic = format!("/v1/topics/jobs/{n}");
        let answer = client.post(&topic, &[], b"1").expect("an answer");
        assert_eq!(answer.status, 202, "{answer}");
    }
    wait_until(PATIENCE, "one request", || hook.asked() == 1);
    gateway.configure(&with(3));
    let reload = gateway.run(&["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    wait_until(PATIENCE, "three requests", || hook.asked() == 3);
}

#[test]
fn what_the_service_asks_for_is_waited() {
    let hook = Hook::start();
    hook.behave(Manner::Busy);
    let gateway = started(&settings(&format!("url = \"http://{}\"\n", hook.address())));
    let mut client = gateway.client(ANSWER_LIMIT);
    publish(&mut client, "one", b"1");
    wait_until(PATIENCE, "the first attempt", || hook.asked() == 1);
    hook.behave(Manner::Takes);
    wait_until(PATIENCE, "the second attempt", || hook.took().len() == 1);
    let waited = hook.waited();
    assert!(
        waited >= Duration::from_secs(1),
        "asked again after {waited:?}"
    );
    assert!(hook.asked() == 2, "asked {} times", hook.asked());
}
