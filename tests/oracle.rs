//! The oracle's own scenarios: no violation in a healthy gateway, one in each faulty one.

use crate::support::oracle::{Kind, Report, Setup, run};
use std::env;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Of the kills, so many of a hundred must land while work is unsettled.
const UNSETTLED_PERCENT: usize = 80;

#[test]
fn nothing_is_lost_doubled_or_reordered_under_kills() {
    let setup = Setup {
        seed: seed_from_environment().unwrap_or(1),
        duration: Duration::from_secs(15),
        publishers: 8,
        kills: 6,
        pauses: 3,
        fault: None,
    };
    let report = run(&setup);
    say(&format!("oracle: seed {}: {report}\n", setup.seed));
    judge(&setup, &report);
}

/// `cargo xtask torture`: one history after another, each with the next seed.
#[test]
#[ignore = "takes minutes; run by `cargo xtask torture`"]
fn torture() {
    let minutes = env::var("CAUSEWAY_TEST_MINUTES").map_or(10, |m| m.parse().expect("a number"));
    let deadline = Instant::now() + Duration::from_secs(60 * minutes);
    let first = seed_from_environment().unwrap_or_else(seed_from_time);
    let (mut histories, mut kills, mut unsettled) = (0, 0, 0);
    for seed in first.. {
        let setup = Setup {
            seed,
            duration: Duration::from_secs(45),
            publishers: 16,
            kills: 20,
            pauses: 6,
            fault: None,
        };
        let report = run(&setup);
        say(&format!("torture: seed {seed}: {report}\n"));
        judge(&setup, &report);
        (histories, kills) = (histories + 1, kills + report.kills);
        unsettled += report.kills_unsettled;
        if Instant::now() > deadline {
            break;
        }
    }
    say(&format!(
        "torture: {histories} histories, {kills} kills, {unsettled} of them with work unsettled\n"
    ));
}

/// The histories in which the planted faults are looked for, without a fault: what is found there
/// is found because of the fault.
#[test]
fn short_histories_without_a_fault_are_clean() {
    for seed in 1..=HEALTHY_SEEDS {
        let setup = short(seed, None);
        let report = run(&setup);
        say(&format!("oracle: no fault: seed {seed}: {report}\n"));
        judge(&setup, &report);
    }
}

const HEALTHY_SEEDS: u64 = 10;
/// Each seed is a short history; a fault that none of these finds is a hole in the oracle.
const SEEDS_FOR_A_FAULT: u64 = 8;

#[test]
fn ack_before_fsync_is_found() {
    use Kind::{Identity, LookUp, Lost, NotDurable, Numbering};
    planted(
        "ack-before-fsync",
        &[Lost, LookUp, Identity, Numbering, NotDurable],
    );
}

#[test]
fn drop_when_full_is_found() {
    planted(
        "drop-when-full",
        &[Kind::Lost, Kind::LookUp, Kind::Identity, Kind::Unsettled],
    );
}

#[test]
fn settle_before_delivery_is_found() {
    planted("settle-before-delivery", &[Kind::Lost]);
}

#[test]
fn reorder_on_retry_is_found() {
    planted("reorder-on-retry", &[Kind::OutOfOrder]);
}

#[test]
fn forget_id_is_found() {
    planted("forget-id", &[Kind::Identity, Kind::Doubled]);
}

/// Looks for a violation of the kinds that the fault causes: one of another kind (it doesn't even
/// start) would show nothing.
fn planted(fault: &'static str, kinds: &[Kind]) {
    let mut others = String::new();
    for seed in 1..=SEEDS_FOR_A_FAULT {
        let setup = short(seed, Some(fault));
        let report = run(&setup);
        if let Some(violation) = report.violations.iter().find(|v| kinds.contains(&v.kind)) {
            say(&format!(
                "oracle: {fault}: found with seed {seed}: {violation:.200}\n"
            ));
            return;
        }
        let unseen = format!("seed {seed}: {report}\n");
        say(&format!("oracle: {fault}: not found with {unseen}"));
        others.push_str(&unseen);
    }
    panic!("{fault}: planted, and not found with {SEEDS_FOR_A_FAULT} seeds:\n{others}");
}

fn short(seed: u64, fault: Option<&'static str>) -> Setup {
    Setup {
        seed,
        duration: Duration::from_secs(3),
        publishers: 8,
        kills: 6,
        pauses: 0,
        fault,
    }
}

fn judge(setup: &Setup, report: &Report) {
    assert!(report.violations.is_empty(), "{setup:?}: {report}");
    assert!(report.acked > 0 && report.kills > 0, "{setup:?}: {report}");
    let enough = report.kills_unsettled * 100 >= report.kills * UNSETTLED_PERCENT;
    assert!(
        enough,
        "too few kills landed on unsettled work: {setup:?}: {report}"
    );
}

fn seed_from_environment() -> Option<u64> {
    env::var("CAUSEWAY_TEST_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"))
}

fn seed_from_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs())
}

/// Past the test harness, which swallows what a passing test prints.
fn say(line: &str) {
    // Nothing better can be done if standard error is closed.
    let _ = io::stderr().write_all(line.as_bytes());
}
