//! The generation of the configuration that a publish is handed over under.
//!
//! Invariant: between the moment a hand-over begins and the moment its submission is in the
//! journal's queue the generation stays. So what is put into that queue while one generation takes
//! the place of another parts the publishes of the two exactly, and once the journal has decided
//! all before it nothing of the old one is on its way. Promise 9 leans on this: a lane that no
//! route of the running generation leads to will never owe more than it does.

use super::Rules;
use super::identity::Identities;
use super::limits::Limits;
use crate::routing::Router;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// What one configuration decides of a publish.
pub struct Generation {
    /// Counted from 1, the start.
    pub number: u64,
    pub router: Router,
    pub identities: Identities,
    pub limits: Limits,
}

impl Generation {
    #[must_use]
    pub const fn rules(&self) -> Rules<'_> {
        Rules {
            limits: &self.limits,
            identities: &self.identities,
            router: &self.router,
        }
    }
}

/// A publish takes one uncontended lock for reading, as long as it is planned and encoded: no disk,
/// no network, nothing awaited. Only a reload writes.
pub struct Generations(RwLock<Generation>);

impl Generations {
    #[must_use]
    pub const fn new(first: Generation) -> Self {
        Self(RwLock::new(first))
    }

    /// The running one; it runs at least until the guard is dropped.
    pub fn running(&self) -> RwLockReadGuard<'_, Generation> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the next one in place, and `cut` between the last publish of the one and the first of
    /// the other. Waits for publishes that are being handed over; `cut` must not block.
    pub fn replace<T>(&self, next: Generation, cut: impl FnOnce() -> T) -> T {
        let mut running = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let result = cut();
        let old = std::mem::replace(&mut *running, next);
        drop(running);
        // Ten thousand routes are freed outside of the lock.
        drop(old);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{LaneId, RouteId};
    use crate::routing::{Catalog, Unrouted};
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn generation(number: u64) -> Generation {
        let catalog = Catalog {
            routes: HashMap::new(),
            lanes: HashMap::new(),
            unrouted_route: RouteId(0),
            door_lane: LaneId(0),
        };
        Generation {
            number,
            router: Router::new(&[], Unrouted::Drop, &catalog).expect("no routes are sound"),
            identities: Identities::default(),
            limits: Limits {
                payload_bytes: 1,
                headers: 1,
                header_bytes: 1,
                topic_bytes: 1,
                topic_levels: 1,
                connections: 1,
                in_flight_bytes: 1,
            },
        }
    }

    /// What is queued, as the journal's queue: publishes by their generation, cuts as none.
    #[test]
    fn a_cut_stands_between_the_last_of_the_old_and_the_first_of_the_new() {
        const LAST: u64 = 200;
        let generations = Generations::new(generation(1));
        let (queue, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let push = |entry: Option<u64>| queue.lock().expect("nobody panicked").push(entry);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let running = generations.running();
                        let number = running.number;
                        std::thread::yield_now();
                        push(Some(number));
                    }
                });
            }
            for number in 2..=LAST {
                generations.replace(generation(number), || push(None));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut expected = 1;
        for entry in queue.into_inner().expect("nobody panicked") {
            match entry {
                None => expected += 1,
                Some(number) => assert_eq!(number, expected),
            }
        }
        assert_eq!(expected, LAST);
    }
}
