//! A stream as a destination of a lane.

use super::{NewRecord, Retention, StreamError, StreamLog, StreamReader, StreamStats};
use crate::clock::Clock;
use crate::egress::{Attempted, NameBook, Verdict};
use crate::message::{Delivery, LogUuid, Position};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cheap to clone: the lane delivers, the housekeeping trims, readers read.
#[derive(Clone)]
pub struct StreamDestination {
    log: Arc<Mutex<StreamLog>>,
    reader: StreamReader,
    names: Arc<NameBook>,
    name: Arc<str>,
    clock: Clock,
}

impl StreamDestination {
    #[must_use]
    pub fn new(log: StreamLog, names: Arc<NameBook>, name: Arc<str>, clock: Clock) -> Self {
        let reader = log.reader();
        Self {
            log: Arc::new(Mutex::new(log)),
            reader,
            names,
            name,
            clock,
        }
    }

    fn log(&self) -> MutexGuard<'_, StreamLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub const fn reader(&self) -> &StreamReader {
        &self.reader
    }

    #[must_use]
    pub fn uuid(&self) -> LogUuid {
        self.log().uuid()
    }

    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.log().stats()
    }

    /// Waits for a write that goes on.
    pub fn set_retention(&self, retention: Retention) {
        self.log().set_retention(retention);
    }

    /// The journal has everything before the mark durably settled: from here on it may be trimmed.
    pub fn housekeep(&self, mark: u64) {
        let mut log = self.log();
        log.advance_mark(mark);
        log.retain(self.clock.wall());
        log.prepare_ahead();
    }

    /// See `StreamLog::settled_before`.
    #[must_use]
    pub fn settled_before(&self) -> u64 {
        self.log().settled_before()
    }

    /// Appends the batch on a thread that may block.
    pub async fn deliver(&self, deliveries: &[Delivery]) -> Attempted {
        let (this, batch) = (self.clone(), deliveries.to_vec());
        let appended = tokio::task::spawn_blocking(move || this.append(&batch)).await;
        appended.unwrap_or_else(|e| Attempted {
            verdicts: vec![Verdict::halt(format!("a bug: {e}")); deliveries.len()],
            mark: None,
        })
    }

    /// In order; after the first record that isn't taken nothing is applied.
    #[must_use]
    pub fn append(&self, deliveries: &[Delivery]) -> Attempted {
        let names: Vec<_> = deliveries
            .iter()
            .map(|d| self.names.of(d, &self.name))
            .collect();
        let records: Vec<_> = deliveries
            .iter()
            .zip(&names)
            .map(|(d, n)| NewRecord::of(d, n.borrowed()))
            .collect();
        let mut log = self.log();
        let appended = log.append(&records, self.clock.mono(), self.clock.wall());
        let mark = Some(Position(log.next_offset()));
        drop(log);
        let mut verdicts = vec![Verdict::Delivered; appended.done];
        if let Some(e) = appended.stopped {
            stopped(&e, appended.in_doubt, deliveries.len(), &mut verdicts);
        }
        Attempted { verdicts, mark }
    }
}

/// The verdicts on what an append didn't do.
fn stopped(e: &StreamError, in_doubt: usize, count: usize, verdicts: &mut Vec<Verdict>) {
    let rest = match e {
        StreamError::NoRoom { .. } => Verdict::retry(e.to_string()),
        StreamError::TooLarge { .. } => {
            verdicts.push(Verdict::reject(e.to_string()));
            Verdict::retry("behind a record that is too large")
        }
        StreamError::Failed { .. } => {
            let unknown = Verdict::unknown(e.to_string());
            verdicts.extend(std::iter::repeat_n(unknown, in_doubt));
            Verdict::halt(e.to_string())
        }
    };
    verdicts.resize(count, rest);
}
