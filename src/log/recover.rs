//! Opening a log after whatever happened to it.
//!
//! Batch n+1 is written only after batch n's sync returned. So after a crash the last batch alone is in
//! doubt: if it is whole it is written again and synced before anyone hears of it; if it is
//! not, nothing valid follows it, and it is cut. Something valid after something bad is corruption.

mod tail;

use super::damage::{erase, scan_sealed};
use super::disk::Disk;
use super::error::OpenError;
use super::format::{LogKind, SegmentHeader};
use super::index;
use super::segment::{Extent, Found, Segment};
use super::shared::{Shared, parse_segment_name, remove_if_there};
use super::writer::{Cursor, Log, Sizes};
use crate::message::{LogUuid, Position};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tail::Tail;

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
    make_folder(&*disk, &options.dir)?;
    let (files, uuid, is_new) = list_files(&*disk, options)?;
    let mut walk = Walk {
        shared: Shared::new(
            disk,
            options.dir.clone(),
            options.kind,
            uuid,
            options.sizes.min_segment_bytes,
            options.seed,
        ),
        options,
        tail: Tail::new(options.from),
        segments: Vec::new(),
        unindexed: Vec::new(),
        cut: None,
        last_seq: None,
    };
    for i in 0..files.len() {
        walk.take(&files[i..], visit)?;
    }
    walk.check_end()?;
    walk.make_first()?;
    walk.settle_end()?;
    Ok(walk.into_recovered(is_new))
}

fn make_folder(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    disk.create_dir_all(dir).map_err(OpenError::io(dir))?;
    disk.sync_dir(&super::disk::parent(dir))
        .map_err(OpenError::io(dir))?;
    // Names that a killed process left may be in memory alone, and segments are written by them.
    disk.sync_dir(dir).map_err(OpenError::io(dir))
}

/// From file to file, and what was found so far.
struct Walk<'a> {
    shared: Shared,
    options: &'a OpenOptions,
    tail: Tail,
    segments: Vec<Arc<Segment>>,
    unindexed: Vec<Arc<Segment>>,
    cut: Option<(Arc<Segment>, Cut)>,
    /// Of the file before.
    last_seq: Option<u64>,
}

impl Walk<'_> {
    /// Opens the first of the files, which are all that are left.
    fn take(&mut self, files: &[SegmentFile], visit: Visit<'_>) -> Result<(), OpenError> {
        let header = &files[0].header;
        self.check_follows(header)?;
        let covered = self
            .options
            .from
            .is_some_and(|from| header.last_seq < from.segment);
        let skip = covered || self.options.skip_indexed;
        let before = self
            .segments
            .last()
            .map_or(Position(0), |s| s.with_extent(|e| e.end_position));
        match load_known(&self.shared, files, covered, skip, before)? {
            Some((segment, indexed)) => {
                self.add_known(segment, indexed);
                Ok(())
            }
            None => self.scan(files, visit),
        }
    }

    fn check_follows(&mut self, header: &SegmentHeader) -> Result<(), OpenError> {
        // Between segments that a checkpoint covers, those of which nothing was kept are missing.
        let may_be_gone = self
            .options
            .from
            .is_some_and(|from| header.first_seq <= from.segment);
        let expected = self.last_seq.replace(header.last_seq).map(|seq| seq + 1);
        match expected.filter(|seq| !may_be_gone && *seq != header.first_seq) {
            Some(missing_seq) => Err(OpenError::Gap {
                dir: self.options.dir.clone(),
                missing_seq,
            }),
            None => Ok(()),
        }
    }

    fn add_known(&mut self, segment: Arc<Segment>, indexed: bool) {
        if !indexed {
            self.unindexed.push(Arc::clone(&segment));
        }
        self.tail.skip(&segment);
        self.segments.push(segment);
    }

    /// Reads the first of the files batch by batch.
    fn scan(&mut self, files: &[SegmentFile], visit: Visit<'_>) -> Result<(), OpenError> {
        let segment = Arc::new(open_segment(&self.shared, &files[0])?);
        let first = self.tail.next.batch;
        let torn = self
            .tail
            .scan(&segment, &files[1..], &*self.shared.disk, visit)?;
        if let Some(torn) = torn {
            self.cut = Some((Arc::clone(&segment), torn));
        }
        let has_batches = self.tail.next.batch != first;
        let has_checkpoint = self
            .options
            .from
            .is_some_and(|from| from.segment == segment.header.last_seq);
        if has_batches || has_checkpoint || self.segments.is_empty() {
            self.segments.push(segment);
        } else {
            // Ready, and never written.
            self.shared.put_ready(segment);
        }
        Ok(())
    }

    /// The log goes at least as far as the checkpoint's segment.
    fn check_end(&self) -> Result<(), OpenError> {
        let last = self.segments.last().map(|s| s.header.last_seq);
        match self.options.from {
            Some(from) if last.is_none_or(|seq| seq < from.segment) => {
                Err(OpenError::BehindCheckpoint {
                    path: self.options.dir.clone(),
                    detail: format!("segment {} is not there", from.segment),
                })
            }
            _ => Ok(()),
        }
    }

    /// Numbers go on after the last segment; a new log gets its first.
    fn make_first(&mut self) -> Result<(), OpenError> {
        let last_seq = self.segments.last().map_or(0, |s| s.header.last_seq);
        let ready = self.shared.ready() as u64;
        self.shared.set_next_seq(last_seq + ready + 1);
        if self.segments.is_empty() {
            let prepared = self.shared.prepare();
            prepared.map_err(OpenError::io(&self.options.dir))?;
            let first = self.shared.take_ready().expect("just prepared");
            first.update_extent(|e| *e = Extent::empty(0, Position(0)));
            self.segments.push(first);
        }
        Ok(())
    }

    /// Makes the end one that can be written on: nothing torn, nothing in doubt, no index.
    fn settle_end(&self) -> Result<(), OpenError> {
        if let Some((segment, cut)) = &self.cut {
            erase(segment, cut.offset)?;
        }
        self.tail.rewrite_last(&self.segments)?;
        let active = self.active();
        drop_index(&self.shared, active).map_err(OpenError::io(&active.path))
    }

    fn active(&self) -> &Arc<Segment> {
        self.segments.last().expect("there is at least one")
    }

    fn into_recovered(self, is_new: bool) -> Recovered {
        let active = Arc::clone(self.active());
        let mut end = self.tail.next;
        end.segment = active.header.last_seq;
        end.offset = active.with_extent(|e| e.data_end);
        self.shared.with_segments(|all| *all = self.segments);
        Recovered {
            log: Log {
                shared: Arc::new(self.shared),
                active,
                end,
                sizes: self.options.sizes,
                failed: None,
                rolled_at_ms: end.running_ms,
            },
            unindexed: self.unindexed,
            cut: self.cut.map(|(_, cut)| cut),
            is_new,
        }
    }
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
