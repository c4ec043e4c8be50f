//! What keeps a lane from trying what is ready, and an operator's word about one that fails.

use super::cases::{START, delivery, lane, offer_keys, positions, reload, settings, target};
use crate::clock::Mono;
use crate::egress::{KeyOrder, Verdict};
use crate::faults::Faults;
use crate::lane::state::Lane;
use crate::lane::{BreakerPolicy, LaneSettings, LaneState, Mode, RatePolicy, SkipError};
use crate::message::DeliveryId;
use fastrand::Rng;
use std::sync::Arc;
use std::time::Duration;

fn with(change: impl FnOnce(&mut LaneSettings)) -> Lane {
    let mut settings = settings(Mode::Keyed, KeyOrder::OneAtATime);
    change(&mut settings);
    Lane::new(settings, Faults::none(), Rng::with_seed(1))
}

/// It is tried again by itself, one delivery at a time, until the destination is mended.
#[test]
fn a_fatal_verdict_stops_the_lane_until_a_probe_is_taken() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    offer_keys(&mut lane, &["a", "b", "c"]);
    let mut now = Mono(0);
    let mut batch = lane.next_batch(now, START).expect("all are ready");
    for _ in 0..3 {
        let verdicts = vec![Verdict::fatal("who are you?"); batch.deliveries.len()];
        lane.outcome(batch.id, verdicts, now, START);
        let view = lane.view();
        let reason = "who are you?".into();
        assert_eq!(view.state, LaneState::Stopped { reason });
        reload(&mut lane, now, START, |p| {
            delivery(p, target(["a", "b", "c"][p as usize]))
        });
        assert!(lane.next_batch(now, START).is_none());
        let wait = lane.next_wake(now, START).expect("for the probe");
        assert_eq!(view.next_try, Some(now.plus(wait)));
        now = now.plus(wait);
        batch = lane.next_batch(now, START).expect("the probe");
        assert_eq!(batch.deliveries.len(), 1);
        assert!(lane.next_batch(now, START).is_none(), "one at a time");
    }
    assert_eq!(positions(&batch), [2], "each has its turn");
    lane.outcome(batch.id, vec![Verdict::Delivered], now, START);
    assert_eq!(lane.view().state, LaneState::Running);
    let batch = lane.next_batch(now, START).expect("the others");
    assert_eq!(positions(&batch), [0, 1]);
}

/// What waits behind an open circuit gives up in its time, though it isn't tried for it.
#[test]
fn an_open_circuit_does_not_stop_the_time_to_give_up() {
    let mut lane = with(|settings| settings.breaker = BreakerPolicy::default());
    let count = 40;
    for n in 0..count {
        lane.offer(delivery(n, target("")), START);
    }
    let make = |p| delivery(p, target(""));
    let (mut now, mut tries) = (Mono(0), 0);
    while lane.view().counts.dead_lettered < count {
        reload(&mut lane, now, START, make);
        while let Some(batch) = lane.next_batch(now, START) {
            tries += batch.deliveries.len() as u64;
            let verdicts = vec![Verdict::unknown("no answer"); batch.deliveries.len()];
            lane.outcome(batch.id, verdicts, now, START);
        }
        let dead: Vec<_> = lane
            .take_dead_letters()
            .iter()
            .map(|l| l.delivery.at)
            .collect();
        lane.dead_lettered(&dead, START);
        let Some(wait) = lane.next_wake(now, START) else {
            break;
        };
        now = now.plus(wait.max(Duration::from_millis(1)));
    }
    assert_eq!(lane.pending(), 0);
    assert!(now >= Mono(60_000) && now < Mono(100_000), "{now:?}");
    assert!(tries < 6 * count, "{tries} tries hammer a dead destination");
}

#[test]
fn a_rate_is_kept_and_the_clock_wakes_for_it() {
    let rate = RatePolicy {
        per_second: 10,
        burst: 2,
    };
    let mut lane = with(|settings| settings.rate = Some(rate));
    for n in 0..5 {
        lane.offer(delivery(n, target("")), START);
    }
    let batch = lane.next_batch(Mono(0), START).expect("the burst");
    assert_eq!(positions(&batch), [0, 1]);
    assert!(lane.next_batch(Mono(99), START).is_none());
    let view = lane.view();
    assert_eq!(
        (view.state, view.next_try),
        (LaneState::RateLimited, Some(Mono(100)))
    );
    assert_eq!(
        lane.next_wake(Mono(99), START),
        Some(Duration::from_millis(1))
    );
    let batch = lane
        .next_batch(Mono(100), START)
        .expect("a tenth of a second later");
    assert_eq!(positions(&batch), [2]);
}

#[test]
fn a_batch_grows_for_its_time_unless_it_is_full_or_awaited() {
    let mut lane = with(|settings| {
        settings.batch_time = Duration::from_millis(50);
        settings.limits.batch_count = 3;
    });
    lane.offer(delivery(0, target("")), START);
    assert!(lane.next_batch(Mono(7), START).is_none());
    assert_eq!(
        lane.next_wake(Mono(17), START),
        Some(Duration::from_millis(40))
    );
    lane.offer(delivery(1, target("")), START);
    let batch = lane.next_batch(Mono(57), START).expect("the time is over");
    assert_eq!(positions(&batch), [0, 1]);
    for n in 2..5 {
        lane.offer(delivery(n, target("")), START);
    }
    assert!(lane.next_batch(Mono(57), START).is_some(), "it is full");
    let mut awaited = delivery(5, target(""));
    let message = Arc::get_mut(&mut awaited.message).expect("just made");
    message.plan.ack = crate::message::Ack::Delivered;
    lane.offer(awaited, START);
    assert!(lane.next_batch(Mono(57), START).is_some(), "somebody waits");
}

/// The first of a key that fails, wherever it is just then.
#[test]
fn skips_what_fails() {
    let mut lane = lane(Mode::Keyed, KeyOrder::OneAtATime);
    offer_keys(&mut lane, &["a", "a", "b"]);
    let at = |p| DeliveryId::new(p, 0);
    assert_eq!(lane.skip(None), Err(SkipError::NothingFails));
    let batch = lane.next_batch(Mono(0), START).expect("both keys");
    assert_eq!(lane.skip(Some(at(1))), Err(SkipError::NotFailing(at(1))));
    let flying = lane.skip(Some(at(2))).expect("it is being tried");
    assert!(flying.in_flight);
    lane.outcome(batch.id, vec![Verdict::retry("busy"); 2], Mono(0), START);
    lane.pause();
    let skipped = lane.skip(None).expect("one fails");
    assert_eq!(
        (skipped.at, skipped.attempts, skipped.in_flight),
        (at(0), 1, false)
    );
    assert_eq!(skipped.last_error.as_deref(), Some("busy"));
    assert_eq!(lane.skip(None), Err(SkipError::NothingFails));
    let make = |p| delivery(p, target("a"));
    assert_eq!(
        reload(&mut lane, Mono(0), START, make),
        [0],
        "though it is paused"
    );
    let letters = lane.take_dead_letters();
    let words: Vec<_> = letters
        .iter()
        .map(|l| (l.delivery.at, &*l.reason, l.attempts))
        .collect();
    let reason = "skipped by an operator";
    assert_eq!(words, [(at(2), reason, 1), (at(0), reason, 1)]);
    lane.dead_lettered(&[at(0), at(2)], START);
    lane.resume();
    assert_eq!(reload(&mut lane, Mono(0), START, make), [1]);
    assert_eq!(
        positions(&lane.next_batch(Mono(0), START).expect("a goes on")),
        [1]
    );
}
