//! How often publishes were refused, and why; and how often routes passed something over.

use crate::message::Refusal;
use crate::routing::Skip;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Each reason is there from the start: what is nought now may be wanted.
pub struct Refusals(Mutex<BTreeMap<&'static str, u64>>);

impl Default for Refusals {
    fn default() -> Self {
        let none = Refusal::REASONS.map(|reason| (reason, 0));
        Self(Mutex::new(none.into()))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Position;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_is_there_from_the_start() {
        let text = String::new;
        let all = [
            Refusal::Malformed(text()),
            Refusal::TooLarge {
                what: "",
                actual: 2,
                limit: 1,
                setting: "",
            },
            Refusal::TooMany {
                what: "",
                actual: 2,
                limit: 1,
                setting: "",
            },
            Refusal::IdNeeded(text()),
            Refusal::NoRoute { topic: text() },
            Refusal::RouteRefused {
                route: text(),
                reason: text(),
            },
            Refusal::Conflict {
                id: text(),
                position: Position(0),
            },
            Refusal::BacklogFull {
                lane: text(),
                limit_bytes: 1,
            },
            Refusal::JournalFull(text()),
            Refusal::DedupFull { entries: 1 },
            Refusal::Busy,
            Refusal::Stopping,
            Refusal::JournalFailed(text()),
            Refusal::EarlierRefused { is_retriable: true },
        ];
        let refusals = Refusals::default();
        let before: BTreeSet<_> = refusals.counts().into_keys().collect();
        assert_eq!(before, all.iter().map(Refusal::reason).collect());
        all.iter().for_each(|refusal| refusals.count(refusal));
        assert!(refusals.counts().values().all(|count| *count == 1));
    }
}
