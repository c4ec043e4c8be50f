//! A publish that a client began: it comes to its end, and keeps its share of the bytes in flight until
//! then, though the client goes away.
//!
//! It runs in the connection's own task, because a task for each message costs more than the rest
//! of handing it over; only one whose connection is gone gets a task.

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use tokio::sync::OwnedSemaphorePermit;

pub struct Outliving<F: Future<Output: Send> + Send + 'static>(Option<Begun<F>>);

struct Begun<F> {
    publish: Pin<Box<CatchUnwind<AssertUnwindSafe<F>>>>,
    share: OwnedSemaphorePermit,
}

impl<F: Future<Output: Send> + Send + 'static> Outliving<F> {
    pub fn new(publish: F, share: OwnedSemaphorePermit) -> Self {
        // Nothing that it shares is left half-changed: rooms further in lock for moments that don't panic.
        let publish = Box::pin(AssertUnwindSafe(publish).catch_unwind());
        Self(Some(Begun { publish, share }))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Outliving<F> {
    type Output = thread::Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let begun = self.0.as_mut().expect("nobody polls what was ready");
        let polled = begun.publish.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Outliving<F> {
    fn drop(&mut self) {
        let Some(Begun { publish, share }) = self.0.take() else {
            return;
        };
        // Without a runtime the gateway is ending, and with it all that could be awaited.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = publish.await;
                drop(share);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::{Semaphore, oneshot};

    /// A connection of HTTP/1.1 notices late that its client is gone; a reset stream of HTTP/2 drops
    /// its request at once.
    #[tokio::test]
    async fn a_dropped_publish_goes_on_and_keeps_its_share() {
        let in_flight = Arc::new(Semaphore::new(3));
        let share = Arc::clone(&in_flight).try_acquire_many_owned(3);
        let (stored, stores) = oneshot::channel();
        let (done, ends) = oneshot::channel();
        let publish = async move {
            let _: Result<(), _> = stores.await;
            done.send(()).expect("the test waits for it");
        };
        let mut begun = Box::pin(Outliving::new(publish, share.expect("free")));
        assert!(begun.as_mut().now_or_never().is_none());
        drop(begun);
        tokio::task::yield_now().await;
        assert_eq!(in_flight.available_permits(), 0);
        stored.send(()).expect("it goes on");
        ends.await.expect("it comes to its end");
        let all = in_flight.acquire_many(3).await;
        assert!(all.is_ok(), "the share comes back");
    }

    #[tokio::test]
    async fn a_panic_stays_inside() {
        let in_flight = Arc::new(Semaphore::new(1));
        let share = Arc::clone(&in_flight).try_acquire_owned();
        let publish = async { panic!("planted by the test") };
        let ended: thread::Result<()> = Outliving::new(publish, share.expect("free")).await;
        assert!(ended.is_err());
        assert_eq!(in_flight.available_permits(), 1);
    }
}
