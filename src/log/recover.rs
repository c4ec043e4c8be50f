//! Opening a log after whatever happened to it.
//!
//! Batch n+1 is written only after batch n's sync returned. So after a crash the last batch alone is in
//! doubt: if it is whole it is written again and synced before anyone hears of it; if it is
//! not, nothing valid follows it, and it is cut. Something valid after something bad is corruption.

use super::damage::{erase, judge_end, scan_sealed};
use super::disk::Disk;
use super::error::OpenError;
use super::format::{LogKind, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::index;
use super::segment::{Extent, Found, Segment};
use super::shared::{Shared, parse_segment_name, remove_if_there};
use super::writer::{Cursor, Log, Sizes};
use crate::message::{LogUuid, Position};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to open a log.
pub struct OpenOptions {
    pub dir: PathBuf,
    pub kind: LogKind,
    pub sizes: Sizes,
    /// Everything before it is known from a checkpoint and not read.
    pub from: Option<Cursor>,
    /// Skip segments that have a fitting index as well: for logs whose user has no state to rebuild.
    pub skip_indexed: bool,
    /// The identity that the log must have, if it is known; a new log takes it or makes its own.
    pub uuid: Option<LogUuid>,
    /// Seeds salts and a new log's uuid.
    pub seed: u64,
}

/// What was found.
pub struct Recovered {
    pub log: Log,
    /// Sealed segments before `from` without a fitting index: their batches must be scanned by
    /// whoever wants to know what is in them.
    pub unindexed: Vec<Arc<Segment>>,
    pub cut: Option<Cut>,
    pub is_new: bool,
}

/// Gets each batch from the checkpoint's segment on, in order.
pub type Visit<'a> = &'a mut dyn FnMut(&Segment, &Found<'_>, Known);

/// Whether the checkpoint covers a batch (then only its segment's index isn't written yet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Covered,
    New,
}

/// A torn tail: it was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub path: PathBuf,
    pub offset: u64,
}

/// Opens the log, calling `visit` for each durable batch from the segment of `from` on.
pub fn open(
    disk: Arc<dyn Disk>,
    options: &OpenOptions,
    visit: Visit<'_>,
) -> Result<Recovered, OpenError> {
    let dir = &options.dir;
    disk.create_dir_all(dir).map_err(OpenError::io(dir))?;
    disk.sync_dir(&super::disk::parent(dir))
        .map_err(OpenError::io(dir))?;
    // Names that a killed process left may be in memory alone, and segments are written by them.
    disk.sync_dir(dir).map_err(OpenError::io(dir))?;
    let (files, uuid, is_new) = list_files(&*disk, options)?;
    let bytes = options.sizes.min_segment_bytes;
    let shared = Shared::new(disk, dir.clone(), options.kind, uuid, bytes, options.seed);
    let mut tail = Tail::new(options.from);
    let mut unindexed = Vec::new();
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let mut cut = None;
    let mut last_seq = None;
    for (i, file) in files.iter().enumerate() {
        let covered = options
            .from
            .is_some_and(|from| file.header.last_seq < from.segment);
        // Between segments that a checkpoint covers, those of which nothing was kept are missing.
        let may_be_gone = options
            .from
            .is_some_and(|from| file.header.first_seq <= from.segment);
        let expected = last_seq.replace(file.header.last_seq).map(|seq| seq + 1);
        if let Some(missing_seq) =
            expected.filter(|seq| !may_be_gone && *seq != file.header.first_seq)
        {
            return Err(OpenError::Gap {
                dir: dir.clone(),
                missing_seq,
            });
        }
        let before = segments
            .last()
            .map_or(Position(0), |s| s.with_extent(|e| e.end_position));
        let skip = covered || options.skip_indexed;
        if let Some((segment, indexed)) = load_known(&shared, &files[i..], covered, skip, before)? {
            if !indexed {
                unindexed.push(Arc::clone(&segment));
            }
            tail.skip(&segment);
            segments.push(segment);
            continue;
        }
        let segment = Arc::new(open_segment(&shared, file)?);
        let first = tail.next.batch;
        let torn = tail.scan(&segment, &files[i + 1..], &*shared.disk, visit)?;
        if let Some(torn) = torn {
            cut = Some((Arc::clone(&segment), torn));
        }
        let has_batches = tail.next.batch != first;
        let has_checkpoint = options
            .from
            .is_some_and(|from| from.segment == file.header.last_seq);
        if has_batches || has_checkpoint || segments.is_empty() {
            segments.push(segment);
        } else {
            // Ready, and never written.
            shared.put_ready(segment);
        }
    }
    finish(
        shared,
        segments,
        tail,
        options,
        Parts {
            unindexed,
            cut,
            is_new,
        },
    )
}

struct Parts {
    unindexed: Vec<Arc<Segment>>,
    cut: Option<(Arc<Segment>, Cut)>,
    is_new: bool,
}

fn finish(
    shared: Shared,
    mut segments: Vec<Arc<Segment>>,
    tail: Tail,
    options: &OpenOptions,
    parts: Parts,
) -> Result<Recovered, OpenError> {
    if let Some(from) = options.from
        && segments
            .last()
            .is_none_or(|s| s.header.last_seq < from.segment)
    {
        return Err(OpenError::BehindCheckpoint {
            path: options.dir.clone(),
            detail: format!("segment {} is not there", from.segment),
        });
    }
    let last_seq = segments.last().map_or(0, |s| s.header.last_seq);
    shared.set_next_seq(last_seq + shared.ready() as u64 + 1);
    if segments.is_empty() {
        shared.prepare().map_err(OpenError::io(&options.dir))?;
        let first = shared.take_ready().expect("just prepared");
        first.update_extent(|e| *e = Extent::empty(0, Position(0)));
        segments.push(first);
    }
    if let Some((segment, cut)) = &parts.cut {
        erase(segment, cut.offset)?;
    }
    tail.rewrite_last(&segments)?;
    let active = Arc::clone(segments.last().expect("there is at least one"));
    drop_index(&shared, &active).map_err(OpenError::io(&active.path))?;
    let mut end = tail.next;
    end.segment = active.header.last_seq;
    end.offset = active.with_extent(|e| e.data_end);
    shared.with_segments(|all| *all = segments);
    let log = Log {
        shared: Arc::new(shared),
        active,
        end,
        sizes: options.sizes,
        failed: None,
        rolled_at_ms: end.running_ms,
    };
    let Parts {
        unindexed,
        cut,
        is_new,
    } = parts;
    Ok(Recovered {
        log,
        unindexed,
        cut: cut.map(|(_, cut)| cut),
        is_new,
    })
}

/// A segment that was sealed and is written on has an index that will not fit it.
fn drop_index(shared: &Shared, active: &Segment) -> io::Result<()> {
    match shared.disk.remove(&index::path_of(&active.path)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(()) => shared.disk.sync_dir(&shared.dir),
    }
}

/// A segment file with a good header.
pub(super) struct SegmentFile {
    pub path: PathBuf,
    pub header: SegmentHeader,
}

/// The segment files in order, what was left over by a crash removed.
fn list_files(
    disk: &dyn Disk,
    options: &OpenOptions,
) -> Result<(Vec<SegmentFile>, LogUuid, bool), OpenError> {
    let dir = &options.dir;
    let mut named = Vec::new();
    for name in disk.list(dir).map_err(OpenError::io(dir))? {
        if let Some(range) = parse_segment_name(&name) {
            named.push(range);
        } else if name.ends_with(".tmp") {
            remove_if_there(disk, &dir.join(&name)).map_err(OpenError::io(dir.join(name)))?;
        }
    }
    // Wider ranges first, so that what compaction merged comes before what it merged it from.
    named.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    let mut uuid = options.uuid;
    let mut files: Vec<SegmentFile> = Vec::new();
    for (first_seq, last_seq) in named {
        let path = dir.join(super::shared::segment_name(first_seq, last_seq));
        if files.last().is_some_and(|f| last_seq <= f.header.last_seq) {
            remove_if_there(disk, &index::path_of(&path)).map_err(OpenError::io(&path))?;
            remove_if_there(disk, &path).map_err(OpenError::io(&path))?;
            continue;
        }
        let header = read_header(disk, &path, options.kind)?;
        if (header.first_seq, header.last_seq) != (first_seq, last_seq) {
            return Err(OpenError::Format {
                path,
                source: super::FormatError::HeaderDamaged,
            });
        }
        let expected = *uuid.get_or_insert(header.uuid);
        if header.uuid != expected {
            return Err(OpenError::ForeignSegment {
                path,
                found: header.uuid,
                expected,
            });
        }
        files.push(SegmentFile { path, header });
    }
    let mut rng = fastrand::Rng::with_seed(options.seed ^ 0x6c6f_675f_7575_6964);
    let is_new = files.is_empty();
    Ok((files, uuid.unwrap_or_else(|| LogUuid(rng.u128(..))), is_new))
}

fn read_header(disk: &dyn Disk, path: &Path, kind: LogKind) -> Result<SegmentHeader, OpenError> {
    let file = disk.open(path).map_err(OpenError::io(path))?;
    let mut bytes = [0; SegmentHeader::BYTES];
    file.read_at(&mut bytes, 0).map_err(OpenError::io(path))?;
    let format = |source| OpenError::Format {
        path: path.to_path_buf(),
        source,
    };
    let header = SegmentHeader::decode(&bytes).map_err(format)?;
    if header.kind != kind {
        return Err(format(super::FormatError::NotASegment));
    }
    Ok(header)
}

fn open_segment(shared: &Shared, file: &SegmentFile) -> Result<Segment, OpenError> {
    let handle = shared
        .disk
        .open(&file.path)
        .map_err(OpenError::io(&file.path))?;
    let bytes = handle.len().map_err(OpenError::io(&file.path))?;
    let extent = Extent::empty(0, Position(0));
    Ok(Segment::new(
        file.header,
        file.path.clone(),
        handle,
        bytes,
        extent,
    ))
}

/// Opens the first of the files if it needn't be walked, because a checkpoint covers it or (if
/// wished) its index fits. The flag says whether it has such an index.
fn load_known(
    shared: &Shared,
    files: &[SegmentFile],
    covered: bool,
    skip: bool,
    before: Position,
) -> Result<Option<(Arc<Segment>, bool)>, OpenError> {
    let file = &files[0];
    if !skip {
        return Ok(None);
    }
    let io = OpenError::io(&file.path);
    let found = index::read(&*shared.disk, &file.path, file.header.salt).map_err(io)?;
    let indexed = found.is_some();
    if !covered && !indexed {
        return Ok(None);
    }
    let segment = open_segment(shared, file)?;
    let extent = match found {
        Some(index) => index.extent,
        None => scan_sealed(&segment, before, files.get(1), &*shared.disk)?,
    };
    segment.update_extent(|e| *e = extent);
    Ok(Some((Arc::new(segment), indexed)))
}

/// The walk over what no checkpoint covers.
struct Tail {
    /// Where the next batch is expected, and what its numbers are. `offset` counts only in the
    /// segment where the checkpoint ends.
    next: Cursor,
    start: Option<Cursor>,
    /// Where the last whole batch stands, and its bytes as they were read.
    last: Option<(PathBuf, u64)>,
    last_bytes: Vec<u8>,
    skipped: bool,
}

impl Tail {
    fn new(from: Option<Cursor>) -> Self {
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
    fn skip(&mut self, segment: &Segment) {
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
    fn scan(
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
    fn rewrite_last(&self, segments: &[Arc<Segment>]) -> Result<(), OpenError> {
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
