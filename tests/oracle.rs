//! The oracle's own scenarios: no violation in a healthy gateway, one in each faulty one.

use crate::support::oracle::{Kind, Report, Setup, run};
use std::env;
use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Of the kills, so many of a hundred must land while deliveries are pending.
const PENDING_PERCENT: usize = 80;

/// Over so many kills at least readers of events come back, and publishers send again.
const KILLS: usize = 10;
/// At most, for enough kills while something is pending.
const HISTORIES: u64 = 3;
/// So many batches at least must have been cut in the middle by them.
const BATCHES_CUT: usize = 5;

#[test]
fn nothing_is_lost_doubled_or_reordered_under_kills() {
    let setup = Setup {
        seed: seed_from_environment().unwrap_or(1),
        duration: Duration::from_secs(15),
        publishers: 8,
        batchers: 2,
        callers: 4,
        kills: 12,
        pauses: 3,
        messages_each: None,
        fault: None,
    };
    let mut kills = Kills::default();
    // On a machine under load a start takes long, and kills fall into it: then the next seed adds its own.
    for seed in setup.seed..setup.seed + HISTORIES {
        let setup = Setup { seed, ..setup };
        let report = run(&setup);
        say(&format!("oracle: seed {seed}: {report}\n"));
        judge(&setup, &report);
        assert!(report.kills >= KILLS, "{report}");
        assert!(report.event_connections > KILLS, "{report}");
        assert!(report.batches_cut >= BATCHES_CUT, "{report}");
        assert!(report.held_back > 0, "{report}");
        kills.count(&report);
        if kills.are_enough() {
            break;
        }
    }
    kills.judge();
}

/// `cargo xtask torture`: one history after another, each with the next seed.
#[test]
#[ignore = "takes minutes; run by `cargo xtask torture`"]
fn torture() {
    let minutes = env::var("CAUSEWAY_TEST_MINUTES").map_or(10, |m| m.parse().expect("a number"));
    let deadline = Instant::now() + Duration::from_secs(60 * minutes);
    let first = seed_from_environment().unwrap_or_else(seed_from_time);
    let (mut histories, mut kills) = (0, Kills::default());
    for seed in first.. {
        let setup = Setup {
            seed,
            duration: Duration::from_secs(45),
            publishers: 16,
            batchers: 4,
            callers: 4,
            kills: 20,
            pauses: 6,
            messages_each: None,
            fault: None,
        };
        let report = run(&setup);
        say(&format!("torture: seed {seed}: {report}\n"));
        judge(&setup, &report);
        histories += 1;
        kills.count(&report);
        if Instant::now() > deadline {
            break;
        }
    }
    say(&format!("torture: {histories} histories, {kills}\n"));
    kills.judge();
}

/// The histories in which the planted faults are looked for, without a fault: what is found there
/// is found because of the fault.
#[test]
fn short_histories_without_a_fault_are_clean() {
    let mut kills = Kills::default();
    for seed in 1..=HEALTHY_SEEDS {
        let setup = short(seed, None);
        let report = run(&setup);
        say(&format!("oracle: no fault: seed {seed}: {report}\n"));
        judge(&setup, &report);
        kills.count(&report);
    }
    say(&format!("oracle: no fault: {kills}\n"));
    kills.judge();
}

/// Publishers that fall silent leave nothing pending for most kills: the count must show it.
#[test]
fn kills_of_an_idle_gateway_do_not_count() {
    let setup = Setup {
        messages_each: Some(3),
        ..short(1, None)
    };
    let report = run(&setup);
    say(&format!("oracle: idle: {report}\n"));
    judge(&setup, &report);
    let mut kills = Kills::default();
    kills.count(&report);
    assert!(!kills.are_enough(), "{kills}");
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

/// Publishers over gRPC find by themselves what goes wrong.
#[test]
fn forget_id_is_found_over_grpc_alone() {
    let over_grpc = |seed, fault| Setup {
        publishers: 0,
        batchers: 0,
        callers: 4,
        ..short(seed, fault)
    };
    planted_in("forget-id", &[Kind::Identity, Kind::Doubled], over_grpc);
}

/// Looks for a violation of the kinds that the fault causes: one of another kind (it doesn't even
/// start) would show nothing.
fn planted(fault: &'static str, kinds: &[Kind]) {
    planted_in(fault, kinds, short);
}

fn planted_in(
    fault: &'static str,
    kinds: &[Kind],
    history: impl Fn(u64, Option<&'static str>) -> Setup,
) {
    let mut others = String::new();
    for seed in 1..=SEEDS_FOR_A_FAULT {
        let setup = history(seed, Some(fault));
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
        batchers: 2,
        callers: 4,
        kills: 6,
        pauses: 0,
        messages_each: None,
        fault,
    }
}

/// Of all histories of a test.
#[derive(Default)]
struct Kills {
    all: usize,
    pending: usize,
    starting: usize,
}

impl Kills {
    fn count(&mut self, report: &Report) {
        self.all += report.kills;
        self.pending += report.kills_pending;
        self.starting += report.kills_starting;
    }

    fn are_enough(&self) -> bool {
        self.pending * 100 >= self.all * PENDING_PERCENT
    }

    fn judge(&self) {
        assert!(
            self.are_enough(),
            "fewer than {PENDING_PERCENT} % of the kills came while deliveries were pending: {self}"
        );
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            all,
            pending,
            starting,
        } = self;
        write!(
            f,
            "{all} kills, {pending} of them with deliveries pending ({starting} while it started)"
        )
    }
}

fn judge(setup: &Setup, report: &Report) {
    assert!(report.violations.is_empty(), "{setup:?}: {report}");
    assert!(report.acked > 0 && report.kills > 0, "{setup:?}: {report}");
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
