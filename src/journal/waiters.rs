//! Who waits for the outcome of which envelope (`ack = "delivered"`).

use crate::message::{DeliveryId, DeliveryState, Position};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Lanes tell it of each settlement; it costs them one atomic read while nobody waits.
#[derive(Default)]
pub struct Waiters {
    count: AtomicUsize,
    by_position: Mutex<HashMap<Position, Vec<Arc<Waiter>>>>,
    over: watch::Sender<bool>,
}

/// What became of the deliveries of one envelope, as far as this waiter was told.
struct Waiter {
    /// None: not settled yet.
    deliveries: Mutex<Vec<(DeliveryId, Option<DeliveryState>)>>,
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

    /// Registers; only after that the caller looks what is pending, so that no settlement falls
    /// between.
    #[must_use]
    pub fn register(&self, position: Position, deliveries: Vec<DeliveryId>) -> Waiting<'_> {
        let deliveries = deliveries.into_iter().map(|at| (at, None)).collect();
        let waiter = Arc::new(Waiter {
            deliveries: Mutex::new(deliveries),
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

    /// The lanes are gone: whoever waits from now on, waits in vain.
    pub fn give_up(&self) {
        self.over.send_replace(true);
    }

    /// Returns when `give_up` was called.
    pub async fn over(&self) {
        let mut over = self.over.subscribe();
        // An error means that the sender is gone, and it is ours.
        let _ = over.wait_for(|over| *over).await;
    }

    /// A delivery has its last word.
    pub fn settled(&self, at: DeliveryId, state: DeliveryState) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(waiters) = self.map().get(&at.position) {
            for waiter in waiters {
                waiter.settled(at, state);
            }
        }
    }
}

impl Waiter {
    fn deliveries(&self) -> MutexGuard<'_, Vec<(DeliveryId, Option<DeliveryState>)>> {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self, at: DeliveryId, state: DeliveryState) {
        let mut deliveries = self.deliveries();
        if let Some((_, known)) = deliveries.iter_mut().find(|(known, _)| *known == at) {
            known.get_or_insert(state);
        }
        if deliveries.iter().all(|(_, state)| state.is_some()) {
            self.done.notify_one();
        }
    }
}

impl Waiting<'_> {
    /// What the caller found settled by itself.
    pub fn already_settled(&self, at: DeliveryId, state: DeliveryState) {
        self.waiter.settled(at, state);
    }

    /// Returns when everything is settled: the last words, by ordinal. They may come a moment
    /// before the journal has them.
    pub async fn wait(&self) -> Vec<DeliveryState> {
        loop {
            let states: Option<Vec<_>> = self
                .waiter
                .deliveries()
                .iter()
                .map(|(_, state)| *state)
                .collect();
            match states {
                Some(states) => return states,
                None => self.waiter.done.notified().await,
            }
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
