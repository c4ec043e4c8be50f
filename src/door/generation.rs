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
