//! What the writer, the readers and the housekeeper of one log have in common: its segments in
//! order, and the pool of segments that are ready to be written.

use super::disk::{Disk, DiskFile};
use super::format::{LogKind, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::index;
use super::segment::{Extent, Segment};
use crate::message::{LogUuid, Position};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// New segments are zero-filled in pieces of this, each synced, so that no sync of the writer
/// waits behind a whole segment of dirty pages.
const FILL_BYTES: u64 = 1024 * 1024;
/// Files kept for reuse beyond what is ready: their blocks are written already.
const MAX_SPARES: usize = 2;

pub struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) kind: LogKind,
    pub(super) uuid: LogUuid,
    /// In order; the last one is active. Everything else never changes but for compaction.
    segments: RwLock<Vec<Arc<Segment>>>,
    pool: Mutex<Pool>,
    /// Held while a segment is being made ready, so that numbers come in order.
    preparing: Mutex<()>,
    /// How large the next new segment shall be; the writer adapts it to the traffic.
    pub(super) next_segment_bytes: AtomicU64,
    salts: Mutex<fastrand::Rng>,
}

struct Pool {
    ready: VecDeque<Arc<Segment>>,
    spares: Vec<Spare>,
    next_seq: u64,
}

/// A retired file under a temporary name.
struct Spare {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    bytes: u64,
}

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        kind: LogKind,
        uuid: LogUuid,
        segment_bytes: u64,
        seed: u64,
    ) -> Self {
        Self {
            disk,
            dir,
            kind,
            uuid,
            segments: RwLock::new(Vec::new()),
            pool: Mutex::new(Pool {
                ready: VecDeque::new(),
                spares: Vec::new(),
                next_seq: 1,
            }),
            preparing: Mutex::new(()),
            next_segment_bytes: AtomicU64::new(segment_bytes),
            salts: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn salt(&self) -> u64 {
        self.salts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .u64(..)
    }

    /// All segments in order, the active one last.
    #[must_use]
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn with_segments<T>(&self, f: impl FnOnce(&mut Vec<Arc<Segment>>) -> T) -> T {
        f(&mut self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// The segment that has the position, if any does.
    #[must_use]
    pub fn segment_of(&self, position: Position) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let i = segments.partition_point(|s| s.with_extent(|e| e.end_position <= position));
        segments
            .get(i)
            .filter(|s| s.with_extent(|e| e.first_position <= position))
            .cloned()
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The active segment.
    #[must_use]
    pub fn last_segment(&self) -> Option<Arc<Segment>> {
        self.segments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned()
    }

    /// How many segments are ready to be written.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.pool().ready.len()
    }

    /// Bytes of all its files, those that are ready and those kept for reuse included.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let pool = self.pool();
        let ready: u64 = pool.ready.iter().map(|s| s.file_bytes).sum();
        let spares: u64 = pool.spares.iter().map(|s| s.bytes).sum();
        drop(pool);
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        ready + spares + segments.iter().map(|s| s.file_bytes).sum::<u64>()
    }

    /// Bytes of the segments that are ready to be written.
    #[must_use]
    pub fn ready_bytes(&self) -> u64 {
        self.pool().ready.iter().map(|s| s.file_bytes).sum()
    }

    /// How large the next segment made from nothing will be.
    #[must_use]
    pub fn next_segment_bytes(&self) -> u64 {
        self.next_segment_bytes.load(Ordering::Relaxed)
    }

    /// Overrules that size until the writer adapts it again, where room is short.
    pub fn set_next_segment_bytes(&self, bytes: u64) {
        self.next_segment_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether the next segment will be a kept file, so that it takes no room from the disk.
    #[must_use]
    pub fn has_fitting_spare(&self) -> bool {
        let wanted = self.next_segment_bytes();
        self.pool().spares.iter().any(|s| s.bytes >= wanted / 2)
    }

    /// Removes the segments that are ready, newest first so that a crash leaves no gap: they are
    /// of a size that is of no use any more.
    pub fn discard_ready(&self) -> io::Result<()> {
        let _one_at_a_time = self
            .preparing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(last) = self.pool().ready.pop_back() else {
                return Ok(());
            };
            remove_if_there(&*self.disk, &last.path)?;
            self.disk.sync_dir(&self.dir)?;
            self.pool().next_seq = last.header.first_seq;
        }
    }

    /// Data bytes that fit into the next ready segment.
    pub(super) fn next_ready_bytes(&self) -> Option<u64> {
        self.pool()
            .ready
            .front()
            .map(|s| s.file_bytes - SEGMENT_HEADER_BYTES)
    }

    pub(super) fn take_ready(&self) -> Option<Arc<Segment>> {
        self.pool().ready.pop_front()
    }

    pub(super) fn put_ready(&self, segment: Arc<Segment>) {
        self.pool().ready.push_back(segment);
    }

    pub(super) fn set_next_seq(&self, seq: u64) {
        self.pool().next_seq = seq;
    }

    #[must_use]
    pub(super) fn path(&self, first_seq: u64, last_seq: u64) -> PathBuf {
        self.dir.join(segment_name(first_seq, last_seq))
    }

    /// Makes one more segment ready: a retired file with a new header, or a new one full of zeros.
    /// On error nothing is ready that wasn't; a full disk leaves nothing behind.
    pub fn prepare(&self) -> io::Result<()> {
        let _one_at_a_time = self
            .preparing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let wanted = self.next_segment_bytes.load(Ordering::Relaxed);
        let (seq, spare) = {
            let mut pool = self.pool();
            let fits = pool.spares.iter().position(|s| s.bytes >= wanted / 2);
            (pool.next_seq, fits.map(|i| pool.spares.swap_remove(i)))
        };
        let header = SegmentHeader {
            kind: self.kind,
            uuid: self.uuid,
            first_seq: seq,
            last_seq: seq,
            salt: self.salt(),
            compacted: false,
        };
        let path = self.path(seq, seq);
        let (file, bytes) = match spare {
            Some(spare) => self.recycle(spare, &header, &path)?,
            None => (self.make(&header, &path, wanted)?, wanted),
        };
        let empty = Extent::empty(0, Position(0));
        let mut pool = self.pool();
        pool.ready
            .push_back(Arc::new(Segment::new(header, path, file, bytes, empty)));
        pool.next_seq = seq + 1;
        Ok(())
    }

    fn recycle(
        &self,
        spare: Spare,
        header: &SegmentHeader,
        path: &Path,
    ) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        spare.file.write_at(&header.encode(), 0)?;
        spare.file.sync()?;
        self.disk.rename(&spare.path, path)?;
        self.disk.sync_dir(&self.dir)?;
        Ok((spare.file, spare.bytes))
    }

    fn make(
        &self,
        header: &SegmentHeader,
        path: &Path,
        bytes: u64,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let temporary = path.with_extension("tmp");
        remove_if_there(&*self.disk, &temporary)?;
        let file = self.disk.create(&temporary)?;
        if let Err(e) = fill(&*file, header, bytes) {
            // Half a segment is of no use and takes room that others need.
            let _ = self.disk.remove(&temporary);
            return Err(e);
        }
        self.disk.rename(&temporary, path)?;
        self.disk.sync_dir(&self.dir)?;
        Ok(file)
    }

    /// Takes segments out of the log for good, oldest first and each durably before the next, so that
    /// a crash leaves no gap: their files are kept for reuse or removed. The last segment with
    /// batches stays: it says which numbers come next. The caller has made sure that nothing in
    /// them is needed, also after a crash. On error those that were not freed are in the log
    /// still, for another try.
    pub fn retire(&self, gone: &[Arc<Segment>]) -> io::Result<()> {
        let last = self.with_segments(|all| {
            all.iter()
                .rfind(|s| s.with_extent(Extent::has_batches))
                .cloned()
        });
        for segment in gone {
            if last.as_ref().is_some_and(|l| Arc::ptr_eq(l, segment)) {
                break;
            }
            self.with_segments(|all| all.retain(|s| !Arc::ptr_eq(s, segment)));
            if let Err(e) = self.discard_file(segment) {
                self.with_segments(|all| {
                    let before = |s: &Arc<Segment>| s.header.last_seq < segment.header.first_seq;
                    all.insert(all.partition_point(before), Arc::clone(segment));
                });
                return Err(e);
            }
        }
        Ok(())
    }

    /// Frees the file of a segment that is no longer in the list. May be tried again if it fails.
    pub(super) fn discard_file(&self, segment: &Arc<Segment>) -> io::Result<()> {
        remove_if_there(&*self.disk, &index::path_of(&segment.path))?;
        if !self.keep_as_spare(segment)? {
            remove_if_there(&*self.disk, &segment.path)?;
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Keeps the file for reuse unless there are enough, or someone may still read it: what a
    /// reader has open must never change under it.
    fn keep_as_spare(&self, segment: &Arc<Segment>) -> io::Result<bool> {
        // One is held by the caller's list.
        let unread = Arc::strong_count(segment) == 1;
        let wanted = self.next_segment_bytes.load(Ordering::Relaxed);
        let useful = segment.file_bytes >= wanted / 2 && !segment.header.compacted;
        if !unread || !useful || self.pool().spares.len() >= MAX_SPARES {
            return Ok(false);
        }
        let path = self
            .dir
            .join(format!("spare-{:010}.tmp", segment.header.first_seq));
        match self.disk.rename(&segment.path, &path) {
            // Not there: an earlier try came so far.
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        // Only after this may the content change: else a crash brings the name back over it.
        self.disk.sync_dir(&self.dir)?;
        // By its name: a compaction that failed half-way may have put another file in its place.
        let file = match self.disk.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            result => result?,
        };
        let bytes = file.len()?;
        self.pool().spares.push(Spare { path, file, bytes });
        Ok(true)
    }

    /// Gives kept files back to the disk, where room is short.
    pub fn drop_spares(&self) -> io::Result<()> {
        let spares = std::mem::take(&mut self.pool().spares);
        for spare in spares {
            remove_if_there(&*self.disk, &spare.path)?;
        }
        Ok(())
    }
}

/// `{first:010}-{last:010}.seg`
#[must_use]
pub fn segment_name(first_seq: u64, last_seq: u64) -> String {
    format!("{first_seq:010}-{last_seq:010}.seg")
}

/// The segment numbers in a file name, if it is one of a segment.
#[must_use]
pub fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_suffix(".seg")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && segment_name(first, last) == name).then_some((first, last))
}

pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn fill(file: &dyn DiskFile, header: &SegmentHeader, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES.min(bytes) as usize];
    let mut at = 0;
    while at < bytes {
        let piece = zeros.len().min((bytes - at) as usize);
        file.write_at(&zeros[..piece], at)?;
        file.sync()?;
        at += piece as u64;
    }
    file.write_at(&header.encode(), 0)?;
    file.sync()
}
