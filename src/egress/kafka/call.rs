//! One call of `deliver`: what it still waits for, and what failed in it.
//!
//! Each record carries a ticket of its call. A callback takes one off the count, and the last one wakes the
//! call: nothing is allocated or woken for a record that arrives.

use crate::egress::Verdict;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

pub struct Call {
    deliveries: usize,
    left: AtomicUsize,
    done: Notify,
    failures: Mutex<Vec<(usize, Verdict)>>,
    held: Mutex<Held>,
}

/// Topics for which nothing goes on before the call has returned.
#[derive(Default)]
struct Held {
    topics: Vec<Arc<str>>,
    has_returned: bool,
}

/// Of one record. librdkafka keeps it until it says what became of that.
pub struct Ticket {
    pub call: Arc<Call>,
    pub index: usize,
}

impl Call {
    pub fn of(deliveries: usize) -> Arc<Self> {
        Arc::new(Self {
            deliveries,
            // One of its own: it doesn't end while records are still handed over.
            left: AtomicUsize::new(deliveries + 1),
            done: Notify::new(),
            failures: Mutex::default(),
            held: Mutex::default(),
        })
    }

    /// One of its deliveries has arrived; or all are handed over.
    pub fn count_down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    pub fn fail(&self, index: usize, verdict: Verdict) {
        self.failures().push((index, verdict));
        self.count_down();
    }

    /// Takes a hold of a topic, unless it has one or returned.
    pub fn hold(&self, topic: &str, take: impl FnOnce() -> Option<Arc<str>>) {
        let mut held = self.held();
        if !held.has_returned && !held.topics.iter().any(|name| **name == *topic) {
            held.topics.extend(take());
        }
    }

    /// It returns, or nobody waits for it any more: what it held.
    pub fn returns(&self) -> Vec<Arc<str>> {
        let mut held = self.held();
        held.has_returned = true;
        std::mem::take(&mut held.topics)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, Vec<(usize, Verdict)>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When each has its verdict. For one waiter.
    pub async fn verdicts(&self) -> Vec<Verdict> {
        while self.left.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
        let mut verdicts = vec![Verdict::Delivered; self.deliveries];
        for (index, verdict) in self.failures().drain(..) {
            verdicts[index] = verdict;
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn it_ends_with_the_last_of_its_tickets() {
        let call = Call::of(3);
        call.fail(1, Verdict::retry("no"));
        call.count_down();
        call.count_down();
        assert_eq!(call.verdicts().now_or_never(), None);
        let waiter = {
            let call = Arc::clone(&call);
            tokio::spawn(async move { call.verdicts().await })
        };
        tokio::task::yield_now().await;
        call.count_down();
        let expected = [Verdict::Delivered, Verdict::retry("no"), Verdict::Delivered];
        assert_eq!(waiter.await.unwrap(), expected);
    }

    #[test]
    fn it_holds_a_topic_once_and_only_until_it_returns() {
        let call = Call::of(1);
        call.hold("a", || Some("a".into()));
        call.hold("a", || unreachable!("it has it"));
        assert_eq!(call.returns(), ["a".into()]);
        call.hold("b", || unreachable!("nobody would give it back"));
        assert_eq!(call.returns(), []);
    }

    #[tokio::test]
    async fn without_deliveries_it_is_over() {
        let call = Call::of(0);
        call.count_down();
        assert_eq!(call.verdicts().await, []);
    }
}
