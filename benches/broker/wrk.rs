//! wrk, where it is installed: the peers were measured by it.

use super::bridge::Bridge;
use super::{Broker, PAYLOAD_BYTES};
use crate::report::Size;
use std::fs;
use std::process::Command;

const CONNECTIONS: &str = "-c256";
const SECONDS: u64 = 8;

pub fn is_there() -> bool {
    let is_there = Command::new("wrk").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("left out: wrk isn't installed");
    }
    is_there
}

pub fn figure(bridge: &Bridge<'_, impl Broker>, size: Size) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("post.lua");
    let lua = format!(
        "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {PAYLOAD_BYTES})\nwrk.headers[\"Content-Type\"] = \"text/plain\"\n"
    );
    fs::write(&script, lua).expect("the folder is writable");
    let meter = bridge.meter();
    let said = Command::new("wrk")
        .args(["-t1", CONNECTIONS, "--latency"])
        .arg(format!("-d{}s", size.of(SECONDS)))
        .arg("-s")
        .arg(&script)
        .arg(bridge.told_url())
        .output()
        .expect("it is installed");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let all_taken = !said.contains("Non-2xx") && !said.contains("Socket errors");
    assert!(all_taken, "{said}");
    let word = |name: &str| after(&said, name).unwrap_or_else(|| panic!("no {name}: {said}"));
    let requests = before(&said, "requests in").and_then(|n| n.parse().ok());
    let run = meter.stop(requests.expect("it counts them"), Vec::new());
    format!(
        "{} requests/s, CPU-s a million {:.1} (broker {:.1}), p50 {}, p99 {}",
        word("Requests/sec:"),
        run.cpu_a_million,
        run.broker_cpu_a_million,
        word("50%"),
        word("99%"),
    )
}

/// The word behind the one that is asked for.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()
}

fn before<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(name).next()?.split_whitespace().next_back()
}
