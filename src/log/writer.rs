//! The one writer of a log: appends batches, one write and one sync each, and moves from segment to segment.

use super::batch::{Batch, Stamp};
use super::error::AppendError;
use super::format::{BatchHeader, SEGMENT_HEADER_BYTES};
use super::reader::LogReader;
use super::segment::{Extent, Segment};
use super::shared::Shared;
use crate::message::{LogUuid, Position};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A segment that filled faster than this is followed by one of twice the size.
const FAST_ROLL_MS: u64 = 250;
/// One that lasted longer is followed by one of half the size.
const SLOW_ROLL_MS: u64 = 10_000;

/// What a batch is allowed to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Leaves the reserve of ready segments alone.
    Normal,
    /// May use the reserve: settlements, which make room.
    Essential,
}

/// Sizes of a log.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub min_segment_bytes: u64,
    pub max_segment_bytes: u64,
    /// Ready segments that only essential batches may use.
    pub reserve_segments: usize,
}

/// A point between two batches: everything before it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub segment: u64,
    pub offset: u64,
    pub batch: u64,
    pub position: Position,
    pub running_ms: u64,
    pub wall_ms: u64,
}

/// The writer. Dropping it loses nothing: every append that returned is durable.
pub struct Log {
    pub(super) shared: Arc<Shared>,
    pub(super) active: Arc<Segment>,
    pub(super) end: Cursor,
    pub(super) sizes: Sizes,
    pub(super) failed: Option<String>,
    pub(super) rolled_at_ms: u64,
}

/// Where an append ended.
#[derive(Clone)]
pub struct Appended {
    /// Where the batch starts.
    pub offset: u64,
    /// The segment that it filled, if it moved on to the next one.
    pub sealed: Option<Arc<Segment>>,
}

impl Log {
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[must_use]
    pub fn uuid(&self) -> LogUuid {
        self.shared.uuid
    }

    /// The end of the log.
    #[must_use]
    pub const fn end(&self) -> Cursor {
        self.end
    }

    #[must_use]
    pub fn active(&self) -> &Arc<Segment> {
        &self.active
    }

    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The largest batch that any segment of this log takes.
    #[must_use]
    pub const fn largest_batch_ever(&self) -> u64 {
        self.sizes.max_segment_bytes - SEGMENT_HEADER_BYTES
    }

    /// The largest batch, in bytes on disk, that an append would take now.
    #[must_use]
    pub fn room(&self, urgency: Urgency) -> u64 {
        let here = self.active.file_bytes - self.end.offset;
        let ready = self.shared.ready();
        let reserve = self.sizes.reserve_segments;
        match urgency {
            Urgency::Normal if ready < reserve => 0,
            Urgency::Normal if ready == reserve => here,
            _ => here.max(self.shared.next_ready_bytes().unwrap_or(0)),
        }
    }

    /// Writes the batch and syncs it. When it returns `Ok` the batch is durable; after `Failed`
    /// nothing is known of it, and the log takes no more.
    pub fn append(
        &mut self,
        batch: &mut Batch,
        stamp: Stamp,
        urgency: Urgency,
    ) -> Result<Appended, AppendError> {
        if let Some(reason) = &self.failed {
            return Err(AppendError::Failed(reason.clone()));
        }
        assert!(
            !batch.is_empty(),
            "an empty batch would have nothing to make durable"
        );
        assert_eq!(
            batch.first_position(),
            self.end.position,
            "positions are dense: a batch goes on where the log ends"
        );
        let bytes = batch.disk_bytes();
        if bytes > self.room(urgency) {
            return Err(AppendError::NoRoom);
        }
        let fits = self.end.offset + bytes <= self.active.file_bytes;
        let sealed = if fits { None } else { Some(self.roll(stamp)) };
        let offset = self.end.offset;
        let written = batch.seal(self.active.header.salt, self.end.batch, stamp);
        let result = self
            .active
            .file
            .write_at(written, offset)
            .and_then(|()| self.active.file.sync());
        if let Err(e) = result {
            let reason = format!("{}: {e}", self.active.path.display());
            self.failed = Some(reason.clone());
            return Err(AppendError::Failed(reason));
        }
        let header = BatchHeader::decode(written, self.active.header.salt)
            .expect("the batch that was just sealed");
        let end_position = batch.next_position();
        self.active
            .update_extent(|e| e.add(&header, offset, end_position));
        self.end = Cursor {
            segment: self.active.header.last_seq,
            offset: offset + bytes,
            batch: header.batch + 1,
            position: end_position,
            running_ms: stamp.running_ms,
            wall_ms: stamp.wall.0,
        };
        Ok(Appended { offset, sealed })
    }

    /// Leaves out the positions before `next` that weren't given yet: they were given by a log that
    /// stood here before. Nothing is written: it counts from the next append on.
    pub fn skip_to(&mut self, next: Position) {
        if next <= self.end.position {
            return;
        }
        self.end.position = next;
        self.active.update_extent(|e| {
            if !e.has_batches() {
                e.first_position = next;
            }
            e.end_position = next;
        });
    }

    /// Moves to the next ready segment. No I/O: it has its name and header already.
    fn roll(&mut self, stamp: Stamp) -> Arc<Segment> {
        let next = self
            .shared
            .take_ready()
            .expect("room() saw a ready segment and only we take them");
        next.update_extent(|e| *e = Extent::empty(self.end.batch, self.end.position));
        self.adapt_size(stamp.running_ms);
        self.shared.with_segments(|all| all.push(Arc::clone(&next)));
        self.end.segment = next.header.last_seq;
        self.end.offset = SEGMENT_HEADER_BYTES;
        std::mem::replace(&mut self.active, next)
    }

    /// Segments hold at least a quarter of a second of traffic, and no more than they need.
    fn adapt_size(&mut self, now_ms: u64) {
        let lasted = now_ms.saturating_sub(self.rolled_at_ms);
        self.rolled_at_ms = now_ms;
        let size = self.shared.next_segment_bytes.load(Ordering::Relaxed);
        let size = match lasted {
            ..FAST_ROLL_MS => size * 2,
            SLOW_ROLL_MS.. => size / 2,
            _ => size,
        };
        let size = size.clamp(self.sizes.min_segment_bytes, self.sizes.max_segment_bytes);
        self.shared
            .next_segment_bytes
            .store(size, Ordering::Relaxed);
    }
}
