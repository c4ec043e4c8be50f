//! Reads of durable records by position, from any thread, while the writer goes on.

use super::error::ReadError;
use super::format::Records;
use super::segment::{Found, Segment};
use super::shared::Shared;
use crate::clock::Wall;
use crate::message::{Epoch, LogUuid, Position};
use bytes::Bytes;
use std::io;
use std::sync::Arc;

#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub position: Position,
    pub wall: Wall,
    pub running_ms: u64,
    pub epoch: Epoch,
    pub body: Bytes,
}

impl LogReader {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    #[must_use]
    pub fn uuid(&self) -> LogUuid {
        self.shared.uuid
    }

    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The first position that is still in the log, and the one after the last.
    #[must_use]
    pub fn bounds(&self) -> (Position, Position) {
        let segments = self.shared.segments();
        let first = segments
            .first()
            .map_or(Position(0), |s| s.with_extent(|e| e.first_position));
        let end = segments
            .last()
            .map_or(Position(0), |s| s.with_extent(|e| e.end_position));
        (first, end)
    }

    /// When the record at a position was appended, to the grain of a segment.
    #[must_use]
    pub fn accepted_about(&self, position: Position) -> Option<Wall> {
        let segment = self.shared.segment_of(position)?;
        Some(Wall(segment.with_extent(|e| e.wall_ms)))
    }

    /// The record at a position, if it is in the log.
    pub fn read(&self, position: Position) -> Result<Option<StoredRecord>, ReadError> {
        let mut found = None;
        self.walk(&[position], &mut |record| {
            found = Some(record);
            true
        })?;
        Ok(found)
    }

    /// The records at the given positions (ascending), as far as they are in the log, until they
    /// come to `max_bytes`.
    pub fn read_many(
        &self,
        positions: &[Position],
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        self.walk(positions, &mut |record| {
            bytes += record.body.len();
            records.push(record);
            bytes < max_bytes
        })?;
        Ok(records)
    }

    /// Records from a position on, in order, up to a count and until they come to `max_bytes`.
    pub fn read_from(
        &self,
        from: Position,
        max_count: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut take = |record: StoredRecord| {
            bytes += record.body.len();
            records.push(record);
            records.len() < max_count && bytes < max_bytes
        };
        for segment in self.shared.segments() {
            if segment.with_extent(|e| e.end_position <= from) {
                continue;
            }
            if max_count == 0 || !walk_segment(&segment, &mut Wanted::From(from), &mut take)? {
                break;
            }
        }
        Ok(records)
    }

    /// Calls `take` for each of the positions that is in the log, in order, until it says false.
    fn walk(
        &self,
        positions: &[Position],
        take: &mut dyn FnMut(StoredRecord) -> bool,
    ) -> Result<(), ReadError> {
        let mut left = positions;
        while let Some(first) = left.first() {
            let Some(segment) = self.shared.segment_of(*first) else {
                left = &left[1..];
                continue;
            };
            let end = segment.with_extent(|e| e.end_position);
            let here = left.partition_point(|p| *p < end);
            if !walk_segment(&segment, &mut Wanted::These(&left[..here]), take)? {
                return Ok(());
            }
            left = &left[here..];
        }
        Ok(())
    }
}

/// Which records a walk is after.
enum Wanted<'a> {
    From(Position),
    These(&'a [Position]),
}

impl Wanted<'_> {
    fn next(&self) -> Option<Position> {
        match self {
            Self::From(position) => Some(*position),
            Self::These(left) => left.first().copied(),
        }
    }

    /// Whether this one is wanted; ascending positions only.
    fn takes(&mut self, position: Position) -> bool {
        match self {
            Self::From(from) => position >= *from,
            Self::These(left) => {
                let passed = left.partition_point(|p| *p < position);
                *left = &left[passed..];
                let hit = left.first() == Some(&position);
                if hit {
                    *left = &left[1..];
                }
                hit
            }
        }
    }
}

/// False if `take` wanted no more.
fn walk_segment(
    segment: &Segment,
    wanted: &mut Wanted<'_>,
    take: &mut dyn FnMut(StoredRecord) -> bool,
) -> Result<bool, ReadError> {
    let end = segment.with_extent(|e| e.data_end);
    let io = |source| ReadError::Io {
        path: segment.path.clone(),
        source,
    };
    while let Some(next) = wanted.next() {
        // A landmark near the next wanted position spares the batches in between.
        let start = segment.with_extent(|e| e.offset_before(next));
        let mut scanner = segment.scan_briefly(start, end);
        let mut leap = false;
        while !leap {
            let offset = scanner.offset();
            if offset >= end {
                return Ok(true);
            }
            let Some(batch) = scanner.next().map_err(io)? else {
                return Err(damaged(segment, offset));
            };
            if !walk_batch(&batch, wanted, take) {
                return Ok(false);
            }
            let here = scanner.offset();
            let Some(next) = wanted.next() else {
                return Ok(true);
            };
            leap = segment.with_extent(|e| e.offset_before(next)) > here;
        }
    }
    Ok(true)
}

fn walk_batch(
    batch: &Found<'_>,
    wanted: &mut Wanted<'_>,
    take: &mut dyn FnMut(StoredRecord) -> bool,
) -> bool {
    for record in Records::new(&batch.header, batch.body).flatten() {
        let Some(position) = record.position else {
            continue;
        };
        if !wanted.takes(position) {
            continue;
        }
        let stored = StoredRecord {
            position,
            wall: batch.header.wall,
            running_ms: batch.header.running_ms,
            epoch: batch.header.epoch,
            body: Bytes::copy_from_slice(record.body),
        };
        if !take(stored) {
            return false;
        }
    }
    true
}

fn damaged(segment: &Segment, offset: u64) -> ReadError {
    ReadError::Damaged {
        path: segment.path.clone(),
        offset,
    }
}

/// A shorter name for the many callers that turn read errors into text.
impl From<ReadError> for io::Error {
    fn from(e: ReadError) -> Self {
        Self::other(e)
    }
}
