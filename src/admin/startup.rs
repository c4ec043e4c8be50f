//! What is said before anybody can answer a question: while the gateway finds again what it had.

use super::metrics;
use crate::clock::Wall;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub struct Startup {
    gateway: String,
    started: Wall,
    /// Of the journal's log, counted up by whoever reads them.
    records: Arc<AtomicU64>,
    is_over: AtomicBool,
}

impl Startup {
    #[must_use]
    pub fn new(gateway: &str, started: Wall) -> Self {
        Self {
            gateway: gateway.to_owned(),
            started,
            records: Arc::default(),
            is_over: AtomicBool::new(false),
        }
    }

    #[must_use]
    pub const fn started(&self) -> Wall {
        self.started
    }

    /// To be counted up.
    #[must_use]
    pub fn records(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.records)
    }

    /// From now on questions are answered.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Why the gateway isn't ready; `None` once it may be.
    pub(super) fn reason(&self) -> Option<String> {
        let records = self.records.load(Ordering::Relaxed);
        let is_over = self.is_over.load(Ordering::Acquire);
        (!is_over).then(|| format!("recovering: {records} records of the journal read"))
    }

    /// What there is of the metrics.
    pub(super) fn metrics(&self) -> String {
        metrics::render_starting(&self.gateway, self.started)
    }
}
