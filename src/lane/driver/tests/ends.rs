//! What a driver leaves behind when it ends.

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
