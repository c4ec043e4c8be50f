//! Reads of a stream from any thread, while its writer goes on. Durable records only.

use super::error::ReadError;
use super::record::{self, StreamRecord};
use crate::log::LogReader;
use crate::message::Position;
use tokio::sync::watch;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Earliest,
    /// After all that there is.
    Latest,
    Offset(u64),
}

/// Some records in a row, with their offsets.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub records: Vec<(u64, StreamRecord)>,
    /// Where to go on.
    pub next: u64,
}

/// The writer is gone: nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is closed")]
pub struct Closed;

#[derive(Clone)]
pub struct StreamReader {
    log: LogReader,
    end: watch::Receiver<u64>,
}

impl StreamReader {
    pub(super) const fn new(log: LogReader, end: watch::Receiver<u64>) -> Self {
        Self { log, end }
    }

    /// The earliest offset that is still there, and the next one to be written.
    #[must_use]
    pub fn bounds(&self) -> (u64, u64) {
        let (earliest, next) = self.log.bounds();
        (earliest.0, next.0)
    }

    /// A page: at least one record if there is any, then until there are `max_count` or their
    /// bytes come to `max_bytes`. It blocks on the disk.
    pub fn read(&self, from: From, max_count: usize, max_bytes: usize) -> Result<Page, ReadError> {
        let (earliest, next) = self.bounds();
        let from = match from {
            From::Earliest => earliest,
            From::Latest => next,
            From::Offset(offset) if offset < earliest => return Err(ReadError::Gone { earliest }),
            From::Offset(offset) if offset > next => return Err(ReadError::Beyond { next }),
            From::Offset(offset) => offset,
        };
        let stored = self.log.read_from(Position(from), max_count, max_bytes)?;
        // It may have been trimmed meanwhile. (Else there is a gap: `Opened::lost_mark`.)
        let earliest = self.bounds().0;
        if stored.first().is_some_and(|r| r.position.0 != from) && from < earliest {
            return Err(ReadError::Gone { earliest });
        }
        let mut records = Vec::with_capacity(stored.len());
        for entry in stored {
            let offset = entry.position.0;
            let decoded = record::decode(&entry.body)
                .map_err(|source| ReadError::Record { offset, source })?;
            records.push((offset, decoded));
        }
        let next = match records.last() {
            Some((offset, _)) => offset + 1,
            // No record up to the end that was seen above, unless none was wanted.
            None if max_count > 0 => next,
            None => from,
        };
        Ok(Page { records, next })
    }

    /// Waits until there is a record at `offset` or after it; returns the next offset to be written.
    pub async fn wait_for(&self, offset: u64) -> Result<u64, Closed> {
        let mut end = self.end.clone();
        let reached = end.wait_for(|end| *end > offset).await;
        reached.map(|end| *end).map_err(|_| Closed)
    }

    /// The next offset to be written, as a value that can be watched.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.end.clone()
    }
}
