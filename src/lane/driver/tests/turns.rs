//! A change of mode comes beside the deliveries, not through the commands: it is known before
//! anything behind its barrier is.

use super::*;

#[tokio::test]
async fn what_is_behind_a_barrier_waits_for_what_is_before_it() {
    let mut rig = rig("payload=stuck retry first 3");
    rig.ends.feed.publish([delivery(0, 0, "stuck")]);
    // Both at once: the lane must not admit the second before it knows of the change.
    {
        let mut inner = rig.ends.feed.inner();
        inner.turns.push((Mode::Strict, Position(1)));
        inner.journal.push(delivery(1, 1, "behind"));
    }
    rig.ends.feed.more.notify_one();
    rig.ends.feed.wait_for_settled(2).await;
    let received = rig.faulty.received().into_iter();
    let positions: Vec<u64> = received.map(|receipt| receipt.at.position.0).collect();
    assert_eq!(positions, [0, 1], "another key would have gone ahead");
    let strict = rig.handle.wait_for(|view| view.mode == Mode::Strict);
    let view = tokio::time::timeout(PATIENCE, strict).await;
    assert_eq!(view.expect("it turned").changing_to, None);
}
