//! One segment file: what it covers, and how its batches are found and walked.

use super::disk::DiskFile;
use super::format::{
    BATCH_ALIGN, BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, SEGMENT_HEADER_BYTES, SegmentHeader,
    body_matches,
};
use crate::message::Position;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// One landmark in this many bytes keeps the search for a position short and the index small.
const LANDMARK_EVERY_BYTES: u64 = 64 * 1024;
/// Scans of whole segments read ahead this much at a time, reads of single records this much.
const SCAN_WINDOW_BYTES: usize = 1024 * 1024;
const READ_WINDOW_BYTES: usize = 2 * LANDMARK_EVERY_BYTES as usize;

/// An open segment. Its extent grows while it is the active one.
pub struct Segment {
    pub header: SegmentHeader,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub file_bytes: u64,
    extent: RwLock<Extent>,
}

/// What of a segment is written and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes up to which there are valid batches.
    pub data_end: u64,
    pub first_batch: u64,
    pub end_batch: u64,
    pub first_position: Position,
    pub end_position: Position,
    /// Of the last batch.
    pub running_ms: u64,
    pub wall_ms: u64,
    /// Where to start the search for a position: sparse, in order.
    pub landmarks: Vec<Landmark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landmark {
    pub position: Position,
    pub offset: u64,
}

impl Extent {
    /// Of a segment without batches, which will begin with these numbers.
    #[must_use]
    pub const fn empty(batch: u64, position: Position) -> Self {
        Self {
            data_end: SEGMENT_HEADER_BYTES,
            first_batch: batch,
            end_batch: batch,
            first_position: position,
            end_position: position,
            running_ms: 0,
            wall_ms: 0,
            landmarks: Vec::new(),
        }
    }

    /// Takes in the batch that stands at `offset`.
    pub fn add(&mut self, header: &BatchHeader, offset: u64, end_position: Position) {
        if self.data_end == SEGMENT_HEADER_BYTES {
            self.first_batch = header.batch;
            self.first_position = header.first_position;
        }
        let due = self
            .landmarks
            .last()
            .is_none_or(|l| offset - l.offset >= LANDMARK_EVERY_BYTES);
        if header.positioned > 0 && due {
            self.landmarks.push(Landmark {
                position: header.first_position,
                offset,
            });
        }
        self.data_end = offset + header.disk_bytes();
        self.end_batch = header.batch + 1;
        self.end_position = end_position;
        self.running_ms = header.running_ms;
        self.wall_ms = header.wall.0;
    }

    /// Where a scan for this position has to begin.
    #[must_use]
    pub fn offset_before(&self, position: Position) -> u64 {
        let after = self.landmarks.partition_point(|l| l.position <= position);
        match after.checked_sub(1) {
            Some(i) => self.landmarks[i].offset,
            None => SEGMENT_HEADER_BYTES,
        }
    }

    #[must_use]
    pub const fn has_batches(&self) -> bool {
        self.data_end > SEGMENT_HEADER_BYTES
    }
}

impl Segment {
    #[must_use]
    pub fn new(
        header: SegmentHeader,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        file_bytes: u64,
        extent: Extent,
    ) -> Self {
        Self {
            header,
            path,
            file,
            file_bytes,
            extent: RwLock::new(extent),
        }
    }

    #[must_use]
    pub fn extent(&self) -> Extent {
        self.with_extent(Clone::clone)
    }

    pub fn with_extent<T>(&self, f: impl FnOnce(&Extent) -> T) -> T {
        f(&self.extent.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn update_extent<T>(&self, f: impl FnOnce(&mut Extent) -> T) -> T {
        f(&mut self.extent.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Walks the batches from `offset` up to `end`.
    #[must_use]
    pub fn scan(&self, offset: u64, end: u64) -> Scanner<'_> {
        let end = end.min(self.file_bytes);
        Scanner::new(
            &*self.file,
            self.header.salt,
            offset,
            end,
            SCAN_WINDOW_BYTES,
        )
    }

    /// The same with a small window, to find few records.
    #[must_use]
    pub fn scan_briefly(&self, offset: u64, end: u64) -> Scanner<'_> {
        let end = end.min(self.file_bytes);
        Scanner::new(
            &*self.file,
            self.header.salt,
            offset,
            end,
            READ_WINDOW_BYTES,
        )
    }
}

/// A valid batch, found by a scan.
#[derive(Debug)]
pub struct Found<'a> {
    pub header: BatchHeader,
    pub offset: u64,
    /// Record headers and bodies, checked against the batch header.
    pub body: &'a [u8],
}

impl Found<'_> {
    /// The position after the last in it. (In compacted batches positions have gaps.)
    #[must_use]
    pub fn end_position(&self) -> Position {
        super::format::Records::new(&self.header, self.body)
            .flatten()
            .filter_map(|r| r.position)
            .last()
            .map_or(self.header.first_position, Position::next)
    }
}

/// Reads batches one after the other; stops at the first that isn't whole.
pub struct Scanner<'a> {
    file: &'a dyn DiskFile,
    salt: u64,
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
}

impl<'a> Scanner<'a> {
    fn new(file: &'a dyn DiskFile, salt: u64, offset: u64, end: u64, window_bytes: usize) -> Self {
        Self {
            file,
            salt,
            offset,
            end,
            window: Vec::new(),
            window_at: offset,
            window_bytes,
        }
    }

    /// Over a file whose salt isn't known (see `search_any`).
    pub(super) fn over(file: &'a dyn DiskFile, offset: u64, end: u64) -> Self {
        Self::new(file, 0, offset, end, SCAN_WINDOW_BYTES)
    }

    /// Where the next batch is expected.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next batch, or `None` where none is whole: the end, a torn tail, or damage.
    pub fn next(&mut self) -> io::Result<Option<Found<'_>>> {
        let offset = self.offset;
        if !self.fill(offset, BATCH_HEADER_BYTES)? {
            return Ok(None);
        }
        let Some(header) = BatchHeader::decode(self.bytes(offset, BATCH_HEADER_BYTES), self.salt)
        else {
            return Ok(None);
        };
        let body_at = offset + BATCH_HEADER_BYTES as u64;
        let body_bytes = header.body_bytes as usize;
        if !self.fill(body_at, body_bytes)?
            || !body_matches(&header, self.bytes(body_at, body_bytes))
        {
            return Ok(None);
        }
        self.offset = offset + header.disk_bytes();
        Ok(Some(Found {
            header,
            offset,
            body: self.bytes(body_at, body_bytes),
        }))
    }

    /// The first offset at or after `from` where a batch header with at least this number stands.
    pub fn search(&mut self, from: u64, at_least: u64) -> io::Result<Option<(u64, BatchHeader)>> {
        let salt = self.salt;
        self.search_by(from, |bytes| {
            BatchHeader::decode(bytes, salt).filter(|h| h.batch >= at_least)
        })
    }

    /// The same whatever its salt, which the scanner takes on: for a segment whose header is lost.
    pub(super) fn search_any(
        &mut self,
        from: u64,
        at_least: u64,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let found = self.search_by(from, |bytes| {
            BatchHeader::decode_any(bytes).filter(|h| h.batch >= at_least)
        })?;
        if let Some((_, header)) = &found {
            self.salt = header.salt;
        }
        Ok(found)
    }

    fn search_by(
        &mut self,
        from: u64,
        decode: impl Fn(&[u8]) -> Option<BatchHeader>,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let mut at = from.next_multiple_of(BATCH_ALIGN);
        while self.fill(at, BATCH_HEADER_BYTES)? {
            let ahead = &self.window[(at - self.window_at) as usize..];
            let skipped = before_magic(ahead) as u64;
            if skipped > 0 {
                at += skipped;
                continue;
            }
            if let Some(header) = decode(self.bytes(at, BATCH_HEADER_BYTES)) {
                return Ok(Some((at, header)));
            }
            at += BATCH_ALIGN;
        }
        Ok(None)
    }

    /// Expects the next batch there.
    pub(super) const fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Makes `len` bytes at `at` present; false if they pass the end.
    fn fill(&mut self, at: u64, len: usize) -> io::Result<bool> {
        if at + len as u64 > self.end {
            return Ok(false);
        }
        let have = self.window_at..self.window_at + self.window.len() as u64;
        if at >= have.start && at + len as u64 <= have.end {
            return Ok(true);
        }
        let take = len.max(self.window_bytes).min((self.end - at) as usize);
        self.window.resize(take, 0);
        self.window_at = at;
        if let Err(e) = self.file.read_at(&mut self.window, at) {
            self.window.clear();
            return Err(e);
        }
        Ok(true)
    }

    fn bytes(&self, at: u64, len: usize) -> &[u8] {
        let start = (at - self.window_at) as usize;
        &self.window[start..start + len]
    }
}

/// How many bytes can be passed over because no batch header begins in them: starts look at whole
/// segments for what may stand behind their data, and nearly all of that is zeros.
fn before_magic(bytes: &[u8]) -> usize {
    const ALIGN: usize = BATCH_ALIGN as usize;
    let magic = BATCH_MAGIC.to_le_bytes();
    let mut words = bytes.chunks_exact(ALIGN);
    let found = words.position(|word| word[..magic.len()] == magic);
    found.unwrap_or(bytes.len() / ALIGN) * ALIGN
}
