//! Tells the end of the data from a torn tail, and that from damage. Promise 11: nothing valid after
//! a bad batch: torn, to be cut. Something valid after it: corrupt, and the start is refused.

use super::disk::Disk;
use super::error::OpenError;
use super::format::{BATCH_ALIGN, BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES};
use super::recover::SegmentFile;
use super::segment::{Extent, Segment};
use super::writer::Cursor;
use crate::message::Position;

/// Judges the place `end` in a segment where no whole batch stands, and `next` was expected. True
/// if what stands there is torn.
pub(super) fn judge_end(
    segment: &Segment,
    end: u64,
    next: &Cursor,
    later: &[SegmentFile],
    disk: &dyn Disk,
) -> Result<bool, OpenError> {
    let corrupt = |valid: BatchHeader| corrupt(segment, end, next.position, valid.first_position);
    let io = || OpenError::io(&segment.path);
    let mut scanner = segment.scan(end, segment.file_bytes);
    // The header of a torn batch may have survived: it has the number that was expected.
    let found = scanner.search(end, next.batch).map_err(io())?;
    let Some((at, header)) = found else {
        // Where the segment after the next one begins is for the next one to judge.
        let after = first_batch(later.first(), disk)?.filter(|h| h.batch > next.batch);
        return after.map_or(Ok(false), |header| Err(corrupt(header)));
    };
    if at != end || header.batch != next.batch {
        return Err(corrupt(header));
    }
    let after = scanner
        .search(end + BATCH_ALIGN, next.batch + 1)
        .map_err(io())?;
    if let Some((_, header)) = after {
        return Err(corrupt(header));
    }
    for file in later {
        if let Some(header) = first_batch(Some(file), disk)? {
            return Err(corrupt(header));
        }
    }
    Ok(true)
}

/// The extent of a sealed segment that has no index. All of it must be whole: `before` is the
/// position up to which the log is known, `next` the segment after it.
pub(super) fn scan_sealed(
    segment: &Segment,
    before: Position,
    next: Option<&SegmentFile>,
    disk: &dyn Disk,
) -> Result<Extent, OpenError> {
    let io = || OpenError::io(&segment.path);
    let mut extent = Extent::empty(0, before);
    let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, segment.file_bytes);
    while let Some(batch) = scanner.next().map_err(io())? {
        extent.add(&batch.header, batch.offset, batch.end_position());
    }
    let end = extent.data_end;
    let is_damaged = |valid_from| Err(corrupt(segment, end, extent.end_position, valid_from));
    if let Some((_, header)) = scanner.search(end, extent.end_batch).map_err(io())? {
        return is_damaged(header.first_position);
    }
    let after = first_batch(next, disk)?;
    if segment.header.compacted {
        // Compaction leaves nothing behind its last batch.
        if end != segment.file_bytes {
            return is_damaged(after.map_or(extent.end_position, |h| h.first_position));
        }
        // It stands for all positions since the segment before it: what was dropped of them is known
        // by what was put in its place.
        extent.first_position = before;
        return Ok(extent);
    }
    let is_neighbour = next
        .is_some_and(|n| !n.header.compacted && n.header.first_seq == segment.header.last_seq + 1);
    match after.filter(|h| is_neighbour && h.batch != extent.end_batch) {
        Some(header) => is_damaged(header.first_position),
        None => Ok(extent),
    }
}

/// Takes the header of a torn batch away, so that no later recovery meets it again.
pub(super) fn erase(segment: &Segment, offset: u64) -> Result<(), OpenError> {
    let zeros = [0; BATCH_HEADER_BYTES];
    let written = segment.file.write_at(&zeros, offset);
    let result = written.and_then(|()| segment.file.sync());
    result.map_err(OpenError::io(&segment.path))
}

fn corrupt(
    segment: &Segment,
    offset: u64,
    good_until: Position,
    valid_from: Position,
) -> OpenError {
    OpenError::Corrupt {
        path: segment.path.clone(),
        offset,
        good_until,
        valid_from,
    }
}

/// The header of the first batch of a segment file, if a whole one stands at its start.
fn first_batch(
    file: Option<&SegmentFile>,
    disk: &dyn Disk,
) -> Result<Option<BatchHeader>, OpenError> {
    let Some(file) = file else {
        return Ok(None);
    };
    let io = || OpenError::io(&file.path);
    let handle = disk.open(&file.path).map_err(io())?;
    let bytes = handle.len().map_err(io())?;
    let empty = Extent::empty(0, Position(0));
    let probe = Segment::new(file.header, file.path.clone(), handle, bytes, empty);
    let mut scanner = probe.scan_briefly(SEGMENT_HEADER_BYTES, bytes);
    let first = scanner.next().map_err(io())?;
    Ok(first.map(|batch| batch.header))
}
