//! Single cases, by name.

use super::world::{envelope, plan};
use crate::clock::{Mono, Wall};
use crate::egress::{KeyOrder, Verdict};
use crate::faults::Faults;
use crate::lane::state::{Batch, Lane};
use crate::lane::{BreakerPolicy, LaneSettings, LaneState, Limits, Mode, OnReject, RetryPolicy};
use crate::message::{
    Delivery, DeliveryId, DiscardReason, Epoch, Guarantee, LaneId, Message, Outcome, Position,
    RouteId, Target,
};
use bytes::Bytes;
use fastrand::Rng;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) const START: Wall = Wall(1_700_000_000_000);

pub(super) fn settings(mode: Mode, key_order: KeyOrder) -> LaneSettings {
    let retry = RetryPolicy {
        give_up_after: Duration::from_secs(60),
        ..RetryPolicy::default()
    };
    let (lane, limits) = (LaneId(1), Limits::default());
    LaneSettings {
        lane,
        mode,
        key_order,
        on_reject: OnReject::Skip,
        on_reject_of: HashMap::new(),
        retry,
        breaker: BreakerPolicy {
            failures: u32::MAX,
            ..BreakerPolicy::default()
        },
        rate: None,
        batch_time: Duration::ZERO,
        limits,
        volatile: false,
    }
}

pub(super) fn lane(mode: Mode, key_order: KeyOrder) -> Lane {
    Lane::new(settings(mode, key_order), Faults::none(), Rng::with_seed(1))
}

pub(super) fn target(key: &'static str) -> Target {
    let mut target = Target::to(RouteId(1), LaneId(1), Guarantee::AtLeastOnce);
    target.key = (!key.is_empty()).then(|| Bytes::from_static(key.as_bytes()));
    target
}

pub(super) fn delivery(position: u64, target: Target) -> Delivery {
    let envelope = envelope(&mut Rng::with_seed(0));
    Delivery {
        at: DeliveryId::new(position, 0),
        known_as: None,
        accepted: START,
        epoch: Epoch(1),
        identity: None,
        size_bytes: 100,
        dead_letter: None,
        message: Arc::new(Message {
            envelope,
            plan: plan(vec![target]),
        }),
    }
}

pub(super) fn offer_keys(lane: &mut Lane, keys: &[&'static str]) {
    for (position, key) in keys.iter().enumerate() {
        lane.offer(delivery(position as u64, target(key)), START);
    }
}

pub(super) fn positions(batch: &Batch) -> Vec<u64> {
    batch.deliveries.iter().map(|d| d.at.position.0).collect()
}

fn outcomes(lane: &mut Lane) -> Vec<(u64, Outcome)> {
    lane.take_settlements()
        .into_iter()
        .map(|s| (s.at.position.0, s.outcome))
        .collect()
}

/// Reads all that is wanted; its positions.
pub(super) fn reload(
    lane: &mut Lane,
    now: Mono,
    wall: Wall,
    make: impl Fn(u64) -> Delivery,
) -> Vec<u64> {
    let wanted = lane.wanted(now, wall);
    for at in &wanted.ids {
        lane.reload(make(at.position.0), wall);
    }
    wanted.ids.iter().map(|at| at.position.0).collect()
}

#[test]
fn one_unconfirmed_of_a_key_and_the_others_go_on() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    offer_keys(&mut lane, &["a", "a", "b", "", "b", ""]);
    let batch = lane.next_batch(Mono(0), START).expect("all are ready");
    assert_eq!(positions(&batch), [0, 2, 3, 5]);
    assert!(lane.next_batch(Mono(0), START).is_none());
    let verdicts = vec![
        Verdict::retry("busy"),
        Verdict::Delivered,
        Verdict::Delivered,
        Verdict::Delivered,
    ];
    lane.outcome(batch.id, verdicts, Mono(0), START);
    let delivered = outcomes(&mut lane);
    assert_eq!(
        delivered.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [2, 3, 5]
    );
    assert_eq!(
        positions(&lane.next_batch(Mono(0), START).expect("b goes on")),
        [4]
    );
    let view = lane.view();
    assert_eq!(
        (view.held_keys, view.pending, view.counts.retries),
        (1, 3, 1)
    );
    assert_eq!(&*view.last_error.expect("one failed").reason, "busy");
    let now = Mono(100);
    assert_eq!(
        reload(&mut lane, now, START, |p| delivery(p, target("a"))),
        [0]
    );
    assert_eq!(
        positions(&lane.next_batch(now, START).expect("the back-off is over")),
        [0]
    );
}

#[test]
fn a_prefix_egress_gets_batches_in_journal_order() {
    let mut lane = lane(Mode::Keyed, KeyOrder::PrefixPerKey);
    offer_keys(&mut lane, &["a", "a", "b", "", "a", "b"]);
    let batch = lane.next_batch(Mono(0), START).expect("all are ready");
    assert_eq!(positions(&batch), [0, 1, 2, 3, 4, 5]);
    let mut verdicts = vec![Verdict::Delivered; 6];
    verdicts[1] = Verdict::retry("busy");
    verdicts[4] = Verdict::retry("after a failure");
    lane.outcome(batch.id, verdicts, Mono(0), START);
    assert_eq!(lane.take_settlements().len(), 4);
    assert_eq!(
        lane.view().counts.retries,
        1,
        "what wasn't tried doesn't count"
    );
    let make = |p| delivery(p, target("a"));
    assert_eq!(reload(&mut lane, Mono(100), START, make), [1]);
    let batch = lane.next_batch(Mono(100), START).expect("the first alone");
    assert_eq!(positions(&batch), [1]);
    lane.outcome(batch.id, vec![Verdict::Delivered], Mono(100), START);
    let failed = lane.view().last_error.expect("one failed");
    assert_eq!(failed.position.0, 1, "though it is settled by now");
    assert_eq!(reload(&mut lane, Mono(100), START, make), [4]);
}

#[test]
fn a_pipelined_key_fills_many_flights_and_drains_them_after_a_failure() {
    let mut lane = lane(Mode::Keyed, KeyOrder::Pipelined);
    let flights: Vec<Batch> = (0..4)
        .map(|n| {
            lane.offer(delivery(n, target("a")), START);
            lane.next_batch(Mono(0), START).expect("none waits")
        })
        .collect();
    let outcome = |lane: &mut Lane, flight: &Batch, verdict| {
        lane.outcome(flight.id, vec![verdict], Mono(0), START);
    };
    outcome(&mut lane, &flights[2], Verdict::retry("after the first"));
    outcome(&mut lane, &flights[1], Verdict::retry("busy"));
    lane.offer(delivery(4, target("a")), START);
    let make = |p| delivery(p, target("a"));
    let later = Mono(200);
    assert_eq!(reload(&mut lane, later, START, make), [0; 0], "0 and 3 fly");
    outcome(&mut lane, &flights[3], Verdict::reject("ugly"));
    assert_eq!(lane.take_dead_letters().len(), 1, "it holds nothing");
    outcome(&mut lane, &flights[0], Verdict::Delivered);
    assert_eq!(reload(&mut lane, later, START, make), [1]);
    let batch = lane
        .next_batch(later, START)
        .expect("the first that failed");
    assert_eq!(positions(&batch), [1]);
    assert!(lane.next_batch(later, START).is_none());
    lane.outcome(batch.id, vec![Verdict::Delivered], later, START);
    assert_eq!(reload(&mut lane, later, START, make), [2, 4]);
    let batch = lane.next_batch(later, START).expect("the rest, in order");
    assert_eq!(positions(&batch), [2, 4]);
}

/// One that the plan sends to the dead letters was never tried: no error of the destination's.
#[test]
fn a_planned_dead_letter_has_its_own_reason() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    offer_keys(&mut lane, &["a"]);
    let batch = lane.next_batch(Mono(0), START).expect("one is ready");
    lane.outcome(batch.id, vec![Verdict::retry("busy")], Mono(0), START);
    let mut planned = target("b");
    planned.dead_letter = Some("`when`: no such field".into());
    lane.offer(delivery(1, planned), START);
    let view = lane.view();
    assert_eq!(&*view.last_error.expect("one failed").reason, "busy");
    assert_eq!(
        view.last_dead_letter.as_deref(),
        Some("`when`: no such field")
    );
}

#[test]
fn a_key_goes_on_when_the_dead_letter_is_durable() {
    for order in [KeyOrder::OneAtATime, KeyOrder::PrefixPerKey] {
        let mut lane = lane(Mode::Keyed, order);
        offer_keys(&mut lane, &["a"]);
        let batch = lane.next_batch(Mono(0), START).expect("one is ready");
        lane.offer(delivery(1, target("a")), START);
        lane.offer(delivery(2, target("b")), START);
        let started = Wall(START.0 + 7);
        lane.outcome(batch.id, vec![Verdict::reject("ugly")], Mono(7), started);
        let letters = lane.take_dead_letters();
        assert_eq!(letters.len(), 1);
        assert_eq!((&*letters[0].reason, letters[0].attempts), ("ugly", 1));
        assert_eq!(letters[0].first_attempt, Some(START));
        assert_eq!(
            positions(&lane.next_batch(Mono(7), START).expect("b goes on")),
            [2]
        );
        lane.dead_letters_refused(letters, "full".into());
        assert_eq!(lane.view().state.as_str(), "stopped");
        assert!(lane.take_dead_letters().is_empty());
        lane.retry_dead_letters();
        assert_eq!(lane.take_dead_letters().len(), 1);
        assert!(lane.take_settlements().is_empty());
        lane.outcome(
            super::super::BatchId(2),
            vec![Verdict::Delivered],
            Mono(7),
            START,
        );
        lane.dead_lettered(&[DeliveryId::new(0, 0)], START);
        let settled = [(2, Outcome::Delivered), (0, Outcome::DeadLettered)];
        assert_eq!(outcomes(&mut lane), settled);
        assert_eq!(
            positions(&lane.next_batch(Mono(7), START).expect("a goes on")),
            [1]
        );
    }
}

#[test]
fn gives_up_with_the_last_reason() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    offer_keys(&mut lane, &["a", "a"]);
    let (mut now, mut tries) = (Mono(0), 0);
    let letter = loop {
        let batch = lane.next_batch(now, START).expect("it is its turn");
        assert_eq!(positions(&batch), [0]);
        tries += 1;
        lane.outcome(
            batch.id,
            vec![Verdict::retry(format!("busy {tries}"))],
            now,
            START,
        );
        if let Some(letter) = lane.take_dead_letters().pop() {
            break letter;
        }
        now = now.plus(lane.next_wake(now, START).expect("a retry waits"));
        assert_eq!(
            reload(&mut lane, now, START, |p| delivery(p, target("a"))),
            [0]
        );
    };
    assert_eq!(now, Mono(60_000));
    assert_eq!(
        (letter.attempts, &*letter.reason),
        (tries, format!("busy {tries}").as_str())
    );
}

#[test]
fn a_strict_lane_never_gives_up_what_may_have_been_applied() {
    let mut lane = lane(Mode::Strict, KeyOrder::PrefixPerKey);
    offer_keys(&mut lane, &["a", "b"]);
    let (mut now, mut verdict) = (Mono(0), Verdict::unknown("no answer"));
    for _ in 0..200 {
        let batch = lane.next_batch(now, START).expect("it is its turn");
        assert!(batch.strict && batch.deliveries[0].at == DeliveryId::new(0, 0));
        lane.outcome(
            batch.id,
            vec![verdict, Verdict::retry("after a failure")],
            now,
            START,
        );
        verdict = Verdict::retry("busy");
        assert_eq!(lane.view().state, LaneState::Holding);
        assert!(
            lane.room().is_none(),
            "the feed keeps what a held strict lane would park"
        );
        assert!(lane.take_dead_letters().is_empty());
        now = now.plus(lane.next_wake(now, START).expect("a retry waits"));
        assert_eq!(
            reload(&mut lane, now, START, |p| delivery(p, target("a"))),
            [0]
        );
    }
    assert!(now > Mono(10 * 60_000));
}

#[test]
fn blocks_on_a_reject_if_told_to() {
    let mut settings = settings(Mode::Keyed, KeyOrder::OneAtATime);
    settings.on_reject = OnReject::Block;
    let mut lane = Lane::new(settings, Faults::none(), Rng::with_seed(1));
    offer_keys(&mut lane, &["a", "a"]);
    let mut now = Mono(0);
    for _ in 0..50 {
        let batch = lane.next_batch(now, START).expect("it is its turn");
        lane.outcome(batch.id, vec![Verdict::reject("ugly")], now, START);
        assert!(lane.take_dead_letters().is_empty());
        assert_eq!(lane.view().blocked, 1);
        assert_eq!(lane.next_wake(now, START), Some(Duration::from_secs(30)));
        now = now.plus(Duration::from_secs(30));
        assert_eq!(
            reload(&mut lane, now, START, |p| delivery(p, target("a"))),
            [0]
        );
    }
}

#[test]
fn a_route_may_say_otherwise_of_a_reject() {
    let mut settings = settings(Mode::Keyed, KeyOrder::OneAtATime);
    settings.on_reject = OnReject::Block;
    settings.on_reject_of = HashMap::from([(RouteId(2), OnReject::Skip)]);
    let mut lane = Lane::new(settings, Faults::none(), Rng::with_seed(1));
    let mut of_other_route = target("b");
    of_other_route.route = RouteId(2);
    lane.offer(delivery(0, target("a")), START);
    lane.offer(delivery(1, of_other_route), START);
    let batch = lane.next_batch(Mono(0), START).expect("both are ready");
    lane.outcome(batch.id, vec![Verdict::reject("ugly"); 2], Mono(0), START);
    let buried: Vec<u64> = lane
        .take_dead_letters()
        .iter()
        .map(|letter| letter.delivery.at.position.0)
        .collect();
    assert_eq!(buried, [1]);
    assert_eq!(lane.view().blocked, 1);
}

#[test]
fn a_pausing_verdict_pauses_the_lane_and_settles_nothing() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    offer_keys(&mut lane, &["a", "b"]);
    let batch = lane.next_batch(Mono(0), START).expect("both are ready");
    let verdicts = vec![Verdict::Delivered, Verdict::pause("410 Gone")];
    lane.outcome(batch.id, verdicts, Mono(0), START);
    let view = lane.view();
    assert_eq!((view.state, view.pending), (LaneState::Paused, 1));
    let error = view.last_error.expect("the reason is shown");
    assert_eq!(&*error.reason, "410 Gone");
    assert!(lane.wanted(Mono(9), START).ids.is_empty() && lane.take_dead_letters().is_empty());
    lane.resume();
    let read = reload(&mut lane, Mono(9), START, |p| delivery(p, target("b")));
    assert_eq!(read, [1]);
    let again = lane.next_batch(Mono(9), START).expect("again");
    assert_eq!(positions(&again), [1]);
}

#[test]
fn a_key_is_not_tried_before_its_destination_says() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    offer_keys(&mut lane, &["a"]);
    let batch = lane.next_batch(Mono(0), START).expect("it is ready");
    let wish = Duration::from_secs(30);
    let verdict = Verdict::retry_after("429", Some(wish));
    lane.outcome(batch.id, vec![verdict], Mono(0), START);
    assert!(lane.wanted(Mono(29_999), START).ids.is_empty());
    assert_eq!(lane.next_batch(Mono(29_999), START).map(|b| b.id), None);
    let read = reload(&mut lane, Mono(30_000), START, |p| delivery(p, target("a")));
    assert_eq!(read, [0]);
}

#[test]
fn a_halt_stops_the_lane_until_it_is_resumed() {
    let mut lane = lane(Mode::Keyed, KeyOrder::PrefixPerKey);
    offer_keys(&mut lane, &["a", "", "a"]);
    let batch = lane.next_batch(Mono(0), START).expect("all are ready");
    lane.outcome(
        batch.id,
        vec![Verdict::halt("disk failed"); 3],
        Mono(0),
        START,
    );
    assert_eq!(
        lane.view().state,
        LaneState::Stopped {
            reason: "disk failed".into()
        }
    );
    assert!(lane.wanted(Mono(9), START).ids.is_empty() && lane.take_dead_letters().is_empty());
    assert_eq!(lane.next_wake(Mono(9), START), None);
    lane.resume();
    let make = |p| delivery(p, target(if p == 1 { "" } else { "a" }));
    let mut read = reload(&mut lane, Mono(9), START, make);
    read.sort_unstable();
    assert_eq!(read, [0, 1]);
    assert_eq!(
        positions(&lane.next_batch(Mono(9), START).expect("again")),
        [0, 1]
    );
}

#[test]
fn drops_in_journal_order_after_what_is_in_flight() {
    for discard in [false, true] {
        let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
        offer_keys(&mut lane, &["a", "", "a", "b"]);
        let batch = lane.next_batch(Mono(0), START).expect("three are ready");
        assert_eq!(positions(&batch), [0, 1, 3]);
        lane.drop_all(discard, Position(6));
        let make = |p| delivery(p, target("a"));
        assert!(
            lane.wanted(Mono(0), START).ids.is_empty(),
            "not while some are in flight"
        );
        assert!(lane.room().is_none());
        let verdicts = vec![
            Verdict::retry("busy"),
            Verdict::Delivered,
            Verdict::unknown("?"),
        ];
        lane.outcome(batch.id, verdicts, Mono(0), START);
        assert_eq!(reload(&mut lane, Mono(0), START, make), [0, 2, 3]);
        lane.offer(make(5), START);
        lane.offer(make(6), START);
        let letters = lane.take_dead_letters();
        let buried: Vec<_> = letters.iter().map(|l| l.delivery.at).collect();
        assert_eq!(letters.first().map(|l| l.attempts), (!discard).then_some(1));
        lane.dead_lettered(&buried, START);
        let word = match discard {
            true => Outcome::Discarded(DiscardReason::Dropped),
            false => Outcome::DeadLettered,
        };
        let settled = [
            (1, Outcome::Delivered),
            (0, word),
            (2, word),
            (3, word),
            (5, word),
        ];
        assert_eq!(outcomes(&mut lane), settled);
        assert_eq!(lane.view().state, LaneState::Running);
        assert_eq!(
            positions(&lane.next_batch(Mono(0), START).expect("6 is kept")),
            [6]
        );
    }
}

#[test]
fn a_delayed_one_waits_for_its_time_and_no_longer() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    let due = Wall(START.0 + 3_600_000);
    let make = |p| {
        delivery(
            p,
            Target {
                not_before: Some(due),
                ..target("a")
            },
        )
    };
    lane.offer(make(0), START);
    let (mut now, mut wall, mut reads) = (Mono(0), START, 0);
    while lane.next_batch(now, wall).is_none() {
        let sleep = lane
            .next_wake(now, wall)
            .expect("it waits for the wall clock");
        (now, wall) = (now.plus(sleep), wall.plus(sleep));
        reads += reload(&mut lane, now, wall, make).len();
    }
    assert!(wall >= due && wall.0 <= due.0 + 256, "{wall:?}");
    assert!(reads <= 4, "{reads}");
}

#[test]
fn what_expired_is_discarded_wherever_it_waits() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    let make = |p| {
        delivery(
            p,
            Target {
                expires_at: Some(Wall(START.0 + 50)),
                ..target("a")
            },
        )
    };
    for position in 0..3 {
        lane.offer(make(position), START);
    }
    let batch = lane.next_batch(Mono(0), START).expect("the first");
    lane.outcome(batch.id, vec![Verdict::retry("busy")], Mono(0), START);
    let late = Wall(START.0 + 200);
    lane.offer(make(3), late);
    while reload(&mut lane, Mono(200), late, make) != [0; 0] {}
    assert!(lane.next_batch(Mono(200), late).is_none());
    let mut expired = outcomes(&mut lane);
    expired.sort_by_key(|(at, _)| *at);
    let word = Outcome::Discarded(DiscardReason::Expired);
    assert_eq!(expired, [(0, word), (1, word), (2, word), (3, word)]);
    assert_eq!((lane.pending(), lane.view().counts.expired), (0, 4));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    offer_keys(&mut lane, &["a"]);
    let batch = lane.next_batch(Mono(0), START).expect("one is ready");
    lane.outcome(
        batch.id,
        vec![Verdict::retry("ä€".repeat(500))],
        Mono(0),
        START,
    );
    let reason = lane.view().last_error.expect("it failed").reason;
    assert!(reason.len() <= 256 && reason.len() > 250 && reason.starts_with("ä€"));
}

/// `count` deliveries behind one stuck key, and the lane that holds them.
fn stuck(count: u64) -> Lane {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    let template = delivery(0, target("stuck"));
    lane.offer(template.clone(), START);
    let batch = lane.next_batch(Mono(0), START).expect("the first");
    lane.outcome(batch.id, vec![Verdict::retry("down")], Mono(0), START);
    for position in 1..count {
        assert!(lane.room().is_some(), "at {position}");
        lane.offer(
            Delivery {
                at: DeliveryId::new(position, 0),
                ..template.clone()
            },
            START,
        );
    }
    lane
}

#[test]
fn many_waiting_behind_one_key_cost_little_and_hinder_no_other() {
    let count = 300_000;
    let mut lane = stuck(count);
    assert!(lane.parked_bytes < 64 * 1024, "{}", lane.parked_bytes);
    assert_eq!((lane.memory_count, lane.pending), (0, count));
    lane.offer(delivery(count, target("other")), START);
    assert_eq!(
        positions(&lane.next_batch(Mono(0), START).expect("another key")),
        [count]
    );
}

/// Run alone and optimised: `cargo test --release --lib ten_million -- --ignored`.
#[test]
#[ignore = "measures the process, so it must run alone"]
fn ten_million_behind_one_key_take_less_than_64_mib() {
    let resident_kib = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux shows it");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("always there");
        line.split_whitespace()
            .nth(1)
            .and_then(|n| n.parse::<u64>().ok())
            .expect("a number")
    };
    let before = resident_kib();
    let lane = stuck(10_000_000);
    let more = resident_kib() - before;
    println!("{more} KiB more, {} bytes estimated", lane.parked_bytes);
    assert!(more < 64 * 1024 && lane.pending == 10_000_000);
}
