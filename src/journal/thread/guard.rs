//! What becomes of those who wait when one of the journal's threads panics.

use super::{Shared, Threads};
use std::sync::Arc;

/// A panic is a bug. Nobody is to wait for the thread then, and health is to say so.
pub(super) struct Guard<'a> {
    threads: &'a Threads,
    shared: Arc<Shared>,
}

impl<'a> Guard<'a> {
    pub fn new(threads: &'a Threads, shared: Arc<Shared>) -> Self {
        Self { threads, shared }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.shared.fail("a bug ended one of its threads".into());
        let mut queue = self.threads.lock();
        queue.stopping = true;
        // Whoever waits for an answer hears that there is none.
        queue.publishes.clear();
        let replies = std::mem::take(&mut queue.replies);
        queue.finds.clear();
        drop(queue);
        drop(replies);
        self.threads.settle_room.notify_waiters();
        self.threads.journal_wakes.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::{Clock, Wall};
    use crate::journal::start;
    use crate::journal::tests::{House, house};
    use crate::log::disk::RealDisk;
    use crate::message::{LaneId, Message, Refusal};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_panic_of_the_thread_is_told_to_all() {
        let dir = tempfile::tempdir().expect("temp dir");
        let house = house(dir.path(), &Clock::manual(Wall(1_000_000)));
        let good = house.submission(None, "x");
        let mut message = Message::clone(good.message());
        message.plan.targets[0].lane = LaneId(999);
        let bad = crate::journal::Submission::new(Arc::new(message), None);
        let House {
            journal, keeper, ..
        } = house;
        let started = start(journal, keeper, Arc::new(RealDisk));
        let (running, handle, _receipts) = started.expect("threads start");
        let unanswered = handle.submit(bad).expect("there is room");
        assert!(unanswered.await.is_err(), "its thread has panicked");
        assert!(handle.shared().failure().is_some());
        assert_eq!(handle.submit(good).err(), Some(Refusal::Stopping));
        let stopped = tokio::task::spawn_blocking(move || running.stop()).await;
        stopped.expect("the others stop in order");
    }
}
