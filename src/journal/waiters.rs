//! Who waits for the outcome of which envelope (`ack = "delivered"`).

use crate::message::{DeliveryId, Position};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Lanes tell it of each settlement; it costs them one atomic read while nobody waits.
#[derive(Default)]
pub struct Waiters {
    count: AtomicUsize,
    by_position: Mutex<HashMap<Position, Vec<Arc<Waiter>>>>,
}

/// What of one envelope isn't settled yet, as far as this waiter was told.
pub struct Waiter {
    pending: Mutex<Vec<DeliveryId>>,
    done: Notify,
}

/// Takes the waiter away again when the one who waits gives up.
pub struct Waiting<'a> {
    waiters: &'a Waiters,
    position: Position,
    waiter: Arc<Waiter>,
}

impl Waiters {
    fn map(&self) -> MutexGuard<'_, HashMap<Position, Vec<Arc<Waiter>>>> {
        self.by_position
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers; only after that the caller looks what is pending, so that no settlement falls between.
    #[must_use]
    pub fn register(&self, position: Position, deliveries: Vec<DeliveryId>) -> Waiting<'_> {
        let waiter = Arc::new(Waiter {
            pending: Mutex::new(deliveries),
            done: Notify::new(),
        });
        self.map()
            .entry(position)
            .or_default()
            .push(Arc::clone(&waiter));
        self.count.fetch_add(1, Ordering::SeqCst);
        Waiting {
            waiters: self,
            position,
            waiter,
        }
    }

    /// A delivery has its last word.
    pub fn settled(&self, at: DeliveryId) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(waiters) = self.map().get(&at.position) {
            for waiter in waiters {
                waiter.settled(at);
            }
        }
    }
}

impl Waiter {
    fn pending(&self) -> MutexGuard<'_, Vec<DeliveryId>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self, at: DeliveryId) {
        let mut pending = self.pending();
        pending.retain(|p| *p != at);
        if pending.is_empty() {
            self.done.notify_one();
        }
    }
}

impl Waiting<'_> {
    /// What the caller found settled by itself.
    pub fn already_settled(&self, at: DeliveryId) {
        self.waiter.settled(at);
    }

    /// Returns when everything is settled.
    pub async fn wait(&self) {
        while !self.waiter.pending().is_empty() {
            self.waiter.done.notified().await;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut map = self.waiters.map();
        if let Some(waiters) = map.get_mut(&self.position) {
            waiters.retain(|w| !Arc::ptr_eq(w, &self.waiter));
            if waiters.is_empty() {
                map.remove(&self.position);
            }
        }
        self.waiters.count.fetch_sub(1, Ordering::SeqCst);
    }
}
