//! Embedded streams and dead-letter logs: a log of rendered deliveries that never holds one
//! (journal, position, ordinal) twice. Synchronous, over `log::Log`.
//!
//! What lives here: appending, recovery of what is held, retention, reads by offset.
//! What must not: when to retry, what a settlement is, anything of a protocol.
//!
//! The *mark* is the offset up to which all records are durably settled in the journal. From it
//! on the log knows which deliveries it holds; before it nothing is ever sent again.

mod dead_letters;
mod destination;
mod error;
mod open;
pub mod origin;
mod reader;
pub mod record;
mod release;
mod room;
#[cfg(test)]
mod tests;

pub use dead_letters::{BuriedLetters, DeadLetterLog, Letter};
pub use destination::StreamDestination;
pub use error::{OpenError, ReadError, StreamError};
pub use open::Opened;
pub use origin::Origin;
pub use reader::{Closed, From, Page, StreamReader};
pub use record::{DeadLetter, IdKind, NewRecord, StreamRecord};

use crate::clock::{Mono, Wall};
use crate::log::disk::Disk;
use crate::log::{
    self, AppendError, BATCH_HEADER_BYTES, Batch, Log, LogKind, Record, SEGMENT_HEADER_BYTES,
    Sizes, Stamp, Urgency,
};
use crate::message::{DeliveryId, DeliverySet, Epoch, LogUuid, Position};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::watch;

/// More than this is not written with one call, unless it is one record.
const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// A larger batch buffer isn't kept for the next one.
const KEPT_BUFFER_BYTES: usize = 256 * 1024;

/// When whole segments are dropped, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Of the segments' files; what is ready for later writes is not counted.
    pub max_bytes: Option<u64>,
    /// Since a segment's last record was written, by the wall clock.
    pub max_age: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct StreamOptions {
    pub dir: PathBuf,
    /// `LogKind::Stream` or `LogKind::DeadLetters`.
    pub kind: LogKind,
    /// The smallest segment bounds the largest record. `reserve_segments` is not used: everything
    /// in a dead-letter log is essential, nothing in a stream is.
    pub sizes: Sizes,
    pub retention: Retention,
    /// At so many bytes of files it is full and refuses; at least two segments are allowed.
    pub max_bytes: Option<u64>,
    /// New segments leave so much of the disk to others, and twice as much while none is needed yet.
    pub keep_free_bytes: u64,
    /// Where it tells what it takes without more of the disk, if anybody watches that.
    pub room_told: Option<Arc<AtomicU64>>,
    /// Seeds salts and a new log's uuid.
    pub seed: u64,
}

/// What the journal that feeds the log says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalState {
    pub uuid: LogUuid,
    /// Of this run.
    pub epoch: Epoch,
    /// The position that the next accepted envelope will get.
    pub next_position: Position,
    /// The log's offset up to which the journal has everything durably settled.
    pub mark: u64,
}

/// The one writer of a stream or dead-letter log.
pub struct StreamLog {
    disk: Arc<dyn Disk>,
    options: StreamOptions,
    log: Log,
    journal: JournalState,
    /// This journal's records from the mark on, in order, and the same as a set.
    tail: VecDeque<(u64, DeliveryId)>,
    held: DeliverySet,
    /// The log's running time when this process began.
    base_running_ms: u64,
    buffer: Vec<u8>,
    end: watch::Sender<u64>,
    /// A failure to prepare a segment; failures to write are kept by the log itself.
    failed: Option<String>,
    trim_failed: Option<String>,
    looked_at: release::LookedAt,
}

/// How far an append came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// So many of the records, from the first on, are durable now.
    pub done: usize,
    /// So many of those were not written, because the log held them already.
    pub held: usize,
    /// Where those that were written stand.
    pub offsets: Range<u64>,
    /// After those that are done: nobody knows whether they were written until it is opened anew.
    pub in_doubt: usize,
    /// Why it stopped before the last record: about the first that isn't done.
    pub stopped: Option<StreamError>,
}

/// What metrics and status show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStats {
    /// Of all files, those that are ready for later writes included.
    pub bytes: u64,
    pub earliest: u64,
    pub next_offset: u64,
    /// With records, and ready to be written.
    pub segments: usize,
    pub ready_segments: usize,
    pub mark: u64,
    pub failure: Option<String>,
    /// Why nothing is trimmed any more until a restart.
    pub trim_failure: Option<String>,
}

/// One batch in the making.
struct Filled {
    batch: Batch,
    ids: Vec<DeliveryId>,
    /// So many input records it stands for, those that are held included.
    covers: usize,
}

impl StreamLog {
    /// Appends the records in order, in as few batches as fit, each durable before the next is
    /// written. All of them, or a prefix and the reason. One that is held already is passed over
    /// and counts as done.
    ///
    /// # Panics
    /// If a record is of another journal than the log was opened for.
    pub fn append(&mut self, records: &[NewRecord<'_>], mono: Mono, wall: Wall) -> Appended {
        let start = self.next_offset();
        let mut appended = Appended {
            done: 0,
            held: 0,
            offsets: start..start,
            in_doubt: 0,
            stopped: None,
        };
        let stamp = self.stamp(mono, wall);
        while appended.done < records.len() {
            let left = &records[appended.done..];
            if self.held.contains(left[0].at) {
                appended.done += 1;
                appended.held += 1;
                continue;
            }
            if let Err(e) = self.append_batch(left, stamp, &mut appended) {
                appended.stopped = Some(e);
                break;
            }
        }
        appended
    }

    /// Recorded times never go back.
    fn stamp(&self, mono: Mono, wall: Wall) -> Stamp {
        let end = self.log.end();
        let running_ms = self.base_running_ms.saturating_add(mono.0);
        Stamp {
            running_ms: running_ms.max(end.running_ms),
            wall: wall.max(Wall(end.wall_ms)),
            epoch: self.journal.epoch,
        }
    }

    fn append_batch(
        &mut self,
        records: &[NewRecord<'_>],
        stamp: Stamp,
        appended: &mut Appended,
    ) -> Result<(), StreamError> {
        if let Some(failure) = self.failure() {
            return Err(self.failed(failure.to_owned()));
        }
        let mut filled = self.fill(records)?;
        self.make_room(filled.batch.disk_bytes())?;
        if let Err(e) = self.write(&mut filled, stamp) {
            if matches!(e, StreamError::Failed { .. }) {
                appended.in_doubt = filled.covers;
            }
            return Err(e);
        }
        appended.done += filled.covers;
        appended.held += filled.covers - filled.ids.len();
        appended.offsets.end = self.next_offset();
        self.keep_buffer(filled.batch);
        Ok(())
    }

    /// Collects records until the next one doesn't fit: at least the first, which is new, or the
    /// reason why not.
    fn fill(&mut self, records: &[NewRecord<'_>]) -> Result<Filled, StreamError> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut batch = Batch::with_buffer(buffer, self.log.end().position);
        let mut ids = Vec::new();
        let mut in_batch = DeliverySet::new();
        let mut covers = 0;
        let mut limit = None;
        let mut body = Vec::new();
        for record in records {
            assert_eq!(
                record.journal, self.journal.uuid,
                "a log is fed by the journal that it was opened for"
            );
            if self.held.contains(record.at) || in_batch.contains(record.at) {
                covers += 1;
                continue;
            }
            body.clear();
            record::encode(record, &mut body);
            let encoded = Record::new(body);
            let bytes = encoded.disk_bytes() as u64;
            let alone = (BATCH_HEADER_BYTES as u64 + bytes).next_multiple_of(8);
            if alone > self.max_batch_bytes() {
                if !batch.is_empty() {
                    break;
                }
                return Err(StreamError::TooLarge {
                    bytes: alone,
                    limit: self.max_batch_bytes(),
                });
            }
            let limit = *limit.get_or_insert_with(|| self.batch_limit(alone));
            if !batch.is_empty() && batch.disk_bytes() + bytes > limit {
                break;
            }
            batch.push(&encoded);
            in_batch.insert(record.at);
            body = encoded.into_body();
            ids.push(record.at);
            covers += 1;
        }
        Ok(Filled { batch, ids, covers })
    }

    /// What fits into any segment, however small.
    pub(super) fn max_batch_bytes(&self) -> u64 {
        let segment = self.options.sizes.min_segment_bytes - SEGMENT_HEADER_BYTES;
        // Batches count their bytes in 32 bits.
        segment.min(u64::from(u32::MAX)) / 8 * 8
    }

    /// Fills what is left of the active segment if the first record fits there, so that no more
    /// of it is wasted than one record.
    fn batch_limit(&self, first: u64) -> u64 {
        let here = (self.log.active().file_bytes - self.log.end().offset) / 8 * 8;
        let segment = if first <= here {
            here
        } else {
            self.max_batch_bytes()
        };
        segment.min(MAX_BATCH_BYTES)
    }

    fn write(&mut self, filled: &mut Filled, stamp: Stamp) -> Result<(), StreamError> {
        let start = self.next_offset();
        let appended = self
            .log
            .append(&mut filled.batch, stamp, Urgency::Essential)
            .map_err(|e| match e {
                AppendError::NoRoom => self.no_room(e.to_string()),
                AppendError::Failed(reason) => self.failed(reason),
            })?;
        let journalled = |(_, at): &(usize, &DeliveryId)| !at.position.is_in_memory();
        for (i, at) in filled.ids.iter().enumerate().filter(journalled) {
            self.held.insert(*at);
            self.tail.push_back((start + i as u64, *at));
        }
        self.end.send_replace(self.next_offset());
        if let Some(sealed) = appended.sealed {
            self.index(&sealed);
            self.refill_reserve(self.options.keep_free_bytes);
        }
        self.tell_room();
        Ok(())
    }

    /// So that the next start needn't scan the segment. Only a cache: failing is no harm.
    fn index(&self, sealed: &log::Segment) {
        if let Err(e) = log::write_index(&*self.disk, sealed, &[]) {
            tracing::warn!(segment = %sealed.path.display(), error = %e, "index not written");
        }
    }

    fn keep_buffer(&mut self, batch: Batch) {
        let buffer = batch.into_buffer();
        if buffer.capacity() <= KEPT_BUFFER_BYTES {
            self.buffer = buffer;
        }
    }

    /// The journal has everything before `mark` durably settled: it will never be sent again, and
    /// may be trimmed. (There is none beyond the end: offsets begin at the mark if the log is lost.)
    pub fn advance_mark(&mut self, mark: u64) {
        if mark <= self.journal.mark || mark > self.next_offset() {
            return;
        }
        let passed = self.tail.partition_point(|(offset, _)| *offset < mark);
        for (_, at) in self.tail.drain(..passed) {
            self.held.remove(at);
        }
        self.journal.mark = mark;
    }

    /// The offset before which the journal has everything of its own durably settled. Where the rest lived
    /// in memory that is beyond the mark, and the mark may follow.
    #[must_use]
    pub fn settled_before(&self) -> u64 {
        let first = self.tail.front();
        first.map_or_else(|| self.next_offset(), |(offset, _)| *offset)
    }

    /// From now on it keeps so much.
    pub fn set_retention(&mut self, retention: Retention) {
        self.options.retention = retention;
    }

    /// From now on it is full at so much.
    pub fn set_max_bytes(&mut self, max_bytes: u64) {
        self.options.max_bytes = Some(max_bytes);
    }

    #[must_use]
    pub fn reader(&self) -> StreamReader {
        StreamReader::new(self.log.reader(), self.end.subscribe())
    }

    #[must_use]
    pub fn uuid(&self) -> LogUuid {
        self.log.uuid()
    }

    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.log.end().position.0
    }

    /// Why it takes nothing more until it is opened anew.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.log.failure().or(self.failed.as_deref())
    }

    #[must_use]
    pub fn stats(&self) -> StreamStats {
        let shared = self.log.shared();
        StreamStats {
            bytes: shared.total_bytes(),
            earliest: self.log.reader().bounds().0.0,
            next_offset: self.next_offset(),
            segments: shared.segments().len(),
            ready_segments: shared.ready(),
            mark: self.journal.mark,
            failure: self.failure().map(str::to_owned),
            trim_failure: self.trim_failed.clone(),
        }
    }

    fn no_room(&self, reason: String) -> StreamError {
        StreamError::NoRoom {
            dir: self.options.dir.clone(),
            reason,
        }
    }

    fn failed(&self, reason: String) -> StreamError {
        StreamError::Failed {
            dir: self.options.dir.clone(),
            reason,
        }
    }
}
