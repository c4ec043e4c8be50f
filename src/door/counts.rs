//! How often publishes were refused, and why; and how often routes passed something over.

use crate::message::Refusal;
use crate::routing::Skip;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub struct Refusals(Mutex<BTreeMap<&'static str, u64>>);

impl Refusals {
    pub fn count(&self, refusal: &Refusal) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(refusal.reason()).or_default() += 1;
    }

    /// By reason.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Since the start, over the reloads that kept the route.
#[derive(Default)]
pub struct Skips(Mutex<BTreeMap<String, u64>>);

impl Skips {
    pub fn count(&self, skips: Vec<Skip>) {
        if skips.is_empty() {
            return;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for skip in skips {
            *counts.entry(skip.route).or_default() += 1;
        }
    }

    /// Forgets routes that are gone: else each name that a file ever had would stay.
    pub fn keep_only(&self, is_kept: impl Fn(&str) -> bool) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|route, _| is_kept(route));
    }

    /// By route.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
