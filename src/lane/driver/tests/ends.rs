//! How a driver ends, and what it leaves behind.

use super::*;

/// A reload starts another driver after this one: what it buried must not be delivered then.
#[tokio::test]
async fn dead_letters_that_are_being_written_are_settled_at_the_end() {
    let Rig { ends, handle, .. } = rig("reject");
    let sink = Arc::clone(&ends.sink);
    let (let_go, until) = std::sync::mpsc::channel::<()>();
    let (holds, held) = tokio::sync::oneshot::channel();
    let disk = std::thread::spawn(move || {
        let guard = sink.disk.lock().expect("nobody panicked");
        holds.send(()).expect("the test waits");
        let _ = until.recv();
        drop(guard);
    });
    held.await.expect("it hangs");
    ends.feed.publish([delivery(0, 0, "a")]);
    ends.sink.writes.notified().await;

    let stop = tokio::spawn(handle.stop(Duration::ZERO));
    // As often as the driver needs to hear of it.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(let_go);
    stop.await.expect("it ends");
    disk.join().expect("it ends");
    let settled = ends.feed.outcomes();
    assert_eq!(settled, HashMap::from([(0, Outcome::DeadLettered)]));
}

#[tokio::test]
async fn stopping_settles_what_it_can_and_leaves_the_rest() {
    let rig = rig("key=1 retry; delay 1..5");
    rig.ends
        .feed
        .publish((0..60).map(|n| delivery(n, n % 3, "good")));
    let started = std::time::Instant::now();
    let view = rig.handle.stop(Duration::from_millis(700)).await;
    // Until no further retry (at most 10 ms away) would have been in time.
    assert!(started.elapsed() >= Duration::from_millis(685));
    assert_eq!((view.pending, rig.ends.feed.outcomes().len()), (20, 40));
    assert_eq!(rig.ends.feed.inner().settled.len(), 40);
}

/// A retry that falls due in the middle of a round is read in this round or wakes the next one.
#[tokio::test]
async fn a_retry_is_never_forgotten_between_two_looks_at_the_clock() {
    let faulty = Faulty::in_memory(script("retry first 50"), KeyOrder::OneAtATime, None);
    let clock = Clock::Ticking(Arc::default());
    let rig = spawn_by(clock, faulty, Limits::default(), Ends::default());
    rig.ends.feed.publish([delivery(0, 1, "good")]);
    // A lane that has forgotten what it owes has nothing to wait for, and ends.
    let stop = rig.handle.stop(Duration::from_secs(3600));
    let view = tokio::time::timeout(PATIENCE, stop).await.expect("it ends");
    assert_eq!(view.pending, 0);
}

#[tokio::test]
async fn a_stop_without_anything_to_do_is_quick_and_a_hanging_one_is_in_time() {
    let started = std::time::Instant::now();
    let idle = rig("confirm");
    idle.handle.stop(Duration::from_secs(3600)).await;
    let faulty = Faulty::in_memory(script("hang"), KeyOrder::OneAtATime, None);
    let mut hanging = spawn(faulty, Limits::default(), Ends::default());
    hanging.ends.feed.publish([delivery(0, 1, "good")]);
    hanging.handle.wait_for(|view| view.in_flight == 1).await;
    let view = hanging.handle.stop(Duration::from_millis(50)).await;
    assert_eq!((view.in_flight, view.pending), (1, 1));
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn what_breaks_one_lane_is_shown_and_leaves_the_others_alone() {
    let good = rig("confirm");
    let mut panicking = rig_with("confirm", |ends| {
        ends.feed.inner().panics = true;
        ends.feed.inner().lag_percent = 100;
    });
    let mut unreadable = rig_with("confirm", |ends| {
        ends.feed.inner().fail = Some(FeedError::Unreadable("planted".into()));
        ends.feed.inner().lag_percent = 100;
    });
    let mut sinkless = rig_with("reject", |ends| ends.sink.state().failed = true);
    for rig in [&panicking, &unreadable, &sinkless] {
        rig.ends.feed.publish([delivery(0, 1, "good")]);
    }
    for (rig, word) in [
        (&mut panicking, "planted"),
        (&mut unreadable, "read"),
        (&mut sinkless, "failed"),
    ] {
        let view = shows(rig, "stopped").await;
        let LaneState::Stopped { reason } = view.state else {
            unreachable!("as it was asked for")
        };
        assert!(reason.contains(word), "{reason}");
        assert!(rig.ends.feed.outcomes().is_empty());
        rig.handle.wait_for(|_| false).await;
        assert_eq!(rig.handle.send(Command::Resume).await, Err(LaneEnded));
    }
    good.ends
        .feed
        .publish((0..100).map(|n| delivery(n, n % 3, "good")));
    good.ends.feed.wait_for_settled(100).await;
}
