//! The part of a log that no checkpoint covers, read batch by batch up to its end, and the batch in
//! doubt written again.

use super::{Cut, Known, SegmentFile, Visit};
use crate::log::damage::judge_end;
use crate::log::disk::Disk;
use crate::log::error::OpenError;
use crate::log::format::SEGMENT_HEADER_BYTES;
use crate::log::segment::{Extent, Found, Segment};
use crate::log::writer::Cursor;
use crate::message::Position;
use std::path::PathBuf;
use std::sync::Arc;

/// The walk over what no checkpoint covers.
pub(super) struct Tail {
    /// Where the next batch is expected, and what its numbers are. `offset` counts only in the
    /// segment where the checkpoint ends.
    pub next: Cursor,
    start: Option<Cursor>,
    /// Where the last whole batch stands, and its bytes as they were read.
    last: Option<(PathBuf, u64)>,
    last_bytes: Vec<u8>,
    skipped: bool,
}

impl Tail {
    pub fn new(from: Option<Cursor>) -> Self {
        let beginning = Cursor {
            segment: 0,
            offset: SEGMENT_HEADER_BYTES,
            batch: 0,
            position: Position(0),
            running_ms: 0,
            wall_ms: 0,
        };
        Self {
            next: from.unwrap_or(beginning),
            start: from,
            last: None,
            last_bytes: Vec::new(),
            skipped: false,
        }
    }

    /// Goes past a segment whose content is known.
    pub fn skip(&mut self, segment: &Segment) {
        if self.start.is_some() {
            return;
        }
        let extent = segment.extent();
        self.skipped = true;
        self.next = Cursor {
            segment: segment.header.last_seq,
            offset: extent.data_end,
            batch: extent.end_batch,
            position: extent.end_position,
            running_ms: extent.running_ms,
            wall_ms: extent.wall_ms,
        };
    }

    /// Walks one segment to its end. A tail that is cut is reported; damage in the middle refused.
    pub fn scan(
        &mut self,
        segment: &Segment,
        later: &[SegmentFile],
        disk: &dyn Disk,
        visit: Visit<'_>,
    ) -> Result<Option<Cut>, OpenError> {
        let io = || OpenError::io(&segment.path);
        let mut extent = Extent::empty(self.next.batch, self.next.position);
        let mut from = SEGMENT_HEADER_BYTES;
        if let Some(start) = self.start.filter(|s| s.segment == segment.header.last_seq) {
            from = start.offset;
            extent = known_extent(segment, start, visit)?;
        }
        let mut scanner = segment.scan(from, segment.file_bytes);
        while let Some(batch) = scanner.next().map_err(io())? {
            // A trimmed log (a stream past its retention) begins anywhere.
            let begins = self.start.is_none() && self.last.is_none() && !self.skipped;
            if batch.header.batch != self.next.batch && !begins && !segment.header.compacted {
                break;
            }
            let end_position = batch.end_position();
            extent.add(&batch.header, batch.offset, end_position);
            self.accept(segment, &batch, end_position);
            visit(segment, &batch, Known::New);
        }
        let end = extent.data_end;
        segment.update_extent(|e| *e = extent);
        let cut = judge_end(segment, end, &self.next, later, disk)?;
        Ok(cut.then(|| Cut {
            path: segment.path.clone(),
            offset: end,
        }))
    }

    fn accept(&mut self, segment: &Segment, batch: &Found<'_>, end_position: Position) {
        self.next = Cursor {
            segment: segment.header.last_seq,
            offset: batch.offset + batch.header.disk_bytes(),
            batch: batch.header.batch + 1,
            position: end_position.max(self.next.position),
            running_ms: batch.header.running_ms,
            wall_ms: batch.header.wall.0,
        };
        self.last = Some((segment.path.clone(), batch.offset));
        self.last_bytes.clear();
        self.last_bytes.extend_from_slice(&batch.header.encode());
        self.last_bytes.extend_from_slice(batch.body);
        self.last_bytes
            .resize(batch.header.disk_bytes() as usize, 0);
    }

    /// Promise 11: a restart trusts no page cache, so the batch in doubt is written and synced again.
    /// It is not read again for that: where a sync failed, its pages may be gone by now.
    pub fn rewrite_last(&self, segments: &[Arc<Segment>]) -> Result<(), OpenError> {
        let Some((path, offset)) = &self.last else {
            return Ok(());
        };
        let Some(segment) = segments.iter().find(|s| s.path == *path) else {
            return Ok(());
        };
        let written = segment.file.write_at(&self.last_bytes, *offset);
        let result = written.and_then(|()| segment.file.sync());
        result.map_err(OpenError::io(path))
    }
}

/// The extent of the checkpoint's own segment up to the checkpoint: its landmarks are found anew.
fn known_extent(segment: &Segment, start: Cursor, visit: Visit<'_>) -> Result<Extent, OpenError> {
    let mut extent = Extent::empty(start.batch, start.position);
    let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, start.offset);
    while let Some(batch) = scanner.next().map_err(OpenError::io(&segment.path))? {
        extent.add(&batch.header, batch.offset, batch.end_position());
        visit(segment, &batch, Known::Covered);
    }
    if scanner.offset() != start.offset {
        return Err(OpenError::BehindCheckpoint {
            path: segment.path.clone(),
            detail: format!(
                "data is whole up to byte {}, the checkpoint stands at {}",
                scanner.offset(),
                start.offset
            ),
        });
    }
    Ok(extent)
}
