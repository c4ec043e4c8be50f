//! What can still be read of a damaged log, and writing that anew. Offline, for repairs.
//!
//! What lives here: finding every whole batch, also behind bad places; what must be missing between
//! them; new segments with what is left. What must not: what a loss means to the log's user.

use super::disk::{Disk, DiskFile};
use super::error::{FormatError, OpenError};
use super::format::{BATCH_ALIGN, BatchHeader, LogKind, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::index;
use super::segment::{Extent, Found, Scanner, Segment};
use super::shared::{parse_segment_name, segment_name};
use crate::message::{LogUuid, Position};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod write;

pub use write::{add_segment, copy_into, rewrite};

/// All segment files of a log, in order, and what their headers let know.
pub struct Survey {
    pub dir: PathBuf,
    pub files: Vec<Surveyed>,
    /// Positions between whole batches that had them without a doubt: in segments that were not compacted.
    pub missing: Vec<Range<u64>>,
    /// The highest numbers that any readable header names, those of unreadable batches included.
    pub seen: Seen,
    pub uuid: Option<LogUuid>,
    order: Order,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub next_batch: u64,
    pub next_position: u64,
    pub running_ms: u64,
    pub wall_ms: u64,
    pub epoch: u64,
}

/// One segment file.
pub struct Surveyed {
    pub path: PathBuf,
    pub first_seq: u64,
    pub last_seq: u64,
    /// What is wrong with its header. Its content may have been found all the same.
    pub header_damage: Option<FormatError>,
    /// Runs of whole batches, by their bytes.
    pub whole: Vec<Range<u64>>,
    /// Bytes that were batches and can't be read.
    pub bad: Vec<Range<u64>>,
    /// A batch at the end of the log that isn't whole.
    pub torn: Option<Torn>,
    /// Batches are missing between its end and the next segment.
    pub ends_early: bool,
    /// Files that a compaction merged into this one, and did not come to remove.
    pub leftovers: Vec<PathBuf>,
    segment: Option<Arc<Segment>>,
    is_dense: bool,
}

#[derive(Clone, Debug)]
pub struct Torn {
    pub bytes: Range<u64>,
    /// It is the batch that was to come next, and nothing else: what a crash leaves.
    pub is_usual: bool,
}

/// The last whole batch.
struct Order {
    seq: u64,
    is_dense: bool,
    next_batch: u64,
    next_position: u64,
}

impl Surveyed {
    /// Whether there is anything in it that should be and isn't.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.header_damage.is_some() || !self.bad.is_empty() || self.ends_early
    }

    /// Made ready and never written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.torn.is_none() && !self.is_damaged()
    }

    /// Nothing of it could be found.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.whole.is_empty() && self.is_damaged()
    }

    /// Where the first run of whole batches ends.
    #[must_use]
    pub fn whole_until(&self) -> u64 {
        match self.whole.first() {
            Some(run) if run.start == SEGMENT_HEADER_BYTES => run.end,
            _ => SEGMENT_HEADER_BYTES,
        }
    }
}

impl Order {
    /// A segment can be left empty where it was too small for what came next.
    fn pass(&mut self, file: &Surveyed) {
        if file.is_empty() && file.is_dense && self.is_dense && self.seq + 1 == file.first_seq {
            self.seq = file.last_seq;
        }
    }
}

impl Seen {
    fn header(&mut self, header: &BatchHeader) {
        self.next_batch = self.next_batch.max(header.batch + 1);
        self.next_position = self.next_position.max(header.end_position().0);
        self.running_ms = self.running_ms.max(header.running_ms);
        self.wall_ms = self.wall_ms.max(header.wall.0);
        self.epoch = self.epoch.max(header.epoch.0);
    }

    fn extent(&mut self, extent: &Extent) {
        self.next_batch = self.next_batch.max(extent.end_batch);
        self.next_position = self.next_position.max(extent.end_position.0);
        self.running_ms = self.running_ms.max(extent.running_ms);
        self.wall_ms = self.wall_ms.max(extent.wall_ms);
    }
}

/// Reads all of the log and changes nothing. `visit` gets every whole batch, in order. What isn't
/// damage (another program's version, another log's file) is an error.
pub fn survey(
    disk: &dyn Disk,
    dir: &Path,
    kind: LogKind,
    uuid: Option<LogUuid>,
    visit: &mut dyn FnMut(&Surveyed, &Found<'_>),
) -> Result<Survey, OpenError> {
    let mut survey = Survey {
        dir: dir.to_path_buf(),
        files: Vec::new(),
        missing: Vec::new(),
        seen: Seen::default(),
        uuid,
        order: Order {
            seq: 0,
            is_dense: true,
            next_batch: 0,
            next_position: 0,
        },
    };
    for ((first_seq, _), (last_seq, leftovers)) in named(disk, dir)? {
        let mut file = survey.look_at(disk, kind, first_seq, last_seq)?;
        file.leftovers = leftovers;
        if let Some(segment) = file.segment.clone() {
            survey
                .walk(&mut file, &segment, visit)
                .map_err(OpenError::io(&segment.path))?;
        }
        survey.order.pass(&file);
        survey.files.push(file);
    }
    survey.judge_ends();
    Ok(survey)
}

type Named = BTreeMap<(u64, std::cmp::Reverse<u64>), (u64, Vec<PathBuf>)>;

/// The segment files, those apart that a wider one stands for.
fn named(disk: &dyn Disk, dir: &Path) -> Result<Named, OpenError> {
    let names = disk.list(dir).map_err(OpenError::io(dir))?;
    let mut ranges: Vec<_> = names.iter().filter_map(|n| parse_segment_name(n)).collect();
    ranges.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    let mut files = Named::new();
    for (first, last) in ranges {
        match files.last_entry() {
            Some(mut wider) if last <= wider.get().0 => {
                let path = dir.join(segment_name(first, last));
                wider.get_mut().1.push(path);
            }
            _ => {
                files.insert((first, std::cmp::Reverse(last)), (last, Vec::new()));
            }
        }
    }
    Ok(files)
}

impl Survey {
    /// Opens a segment; where its header is damaged its salt is looked for.
    fn look_at(
        &mut self,
        disk: &dyn Disk,
        kind: LogKind,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Surveyed, OpenError> {
        let path = self.dir.join(segment_name(first_seq, last_seq));
        let io = || OpenError::io(&path);
        let handle = disk.open(&path).map_err(io())?;
        let bytes = handle.len().map_err(io())?;
        let read = read_header(&*handle, bytes).map_err(io())?;
        let refused = |source| OpenError::Format {
            path: path.clone(),
            source,
        };
        let (header, header_damage) = match read {
            Err(e @ FormatError::Version { .. }) => return Err(refused(e)),
            Ok(h) if h.kind != kind => return Err(refused(FormatError::NotASegment)),
            Ok(h) if (h.first_seq, h.last_seq) == (first_seq, last_seq) => (Some(h), None),
            Ok(_) => (None, Some(FormatError::HeaderDamaged)),
            Err(e) => (None, Some(e)),
        };
        if let Some(header) = &header {
            let expected = *self.uuid.get_or_insert(header.uuid);
            if header.uuid != expected {
                let found = header.uuid;
                return Err(OpenError::ForeignSegment {
                    path,
                    found,
                    expected,
                });
            }
        }
        let is_dense = header.as_ref().is_some_and(|h| !h.compacted);
        let header = match header {
            Some(header) => Some(header),
            None => self
                .lost_salt(disk, &path, &handle, bytes)
                .map_err(io())?
                .map(|salt| SegmentHeader {
                    kind,
                    uuid: self.uuid.unwrap_or(LogUuid(0)),
                    first_seq,
                    last_seq,
                    salt,
                    compacted: false,
                }),
        };
        let empty = Extent::empty(0, Position(0));
        let segment = header.map(|h| Arc::new(Segment::new(h, path.clone(), handle, bytes, empty)));
        Ok(Surveyed {
            path,
            first_seq,
            last_seq,
            header_damage,
            whole: Vec::new(),
            bad: Vec::new(),
            torn: None,
            ends_early: false,
            leftovers: Vec::new(),
            segment,
            is_dense,
        })
    }

    /// The salt of a segment whose header is lost: from its index, else from the batches in it. A
    /// reused file has old batches at its end, but their numbers are lower than what came before it.
    /// Bytes decide, because a payload may look like a batch of its own.
    fn lost_salt(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        file: &Arc<dyn DiskFile>,
        bytes: u64,
    ) -> io::Result<Option<u64>> {
        if let Some((salt, index)) = index::read_any(disk, path)? {
            self.seen.extent(&index.extent);
            return Ok(Some(salt));
        }
        let mut votes: BTreeMap<u64, u64> = BTreeMap::new();
        let mut scanner = Scanner::over(&**file, SEGMENT_HEADER_BYTES, bytes);
        let mut from = SEGMENT_HEADER_BYTES;
        while let Some((at, header)) = scanner.search_any(from, self.order.next_batch)? {
            scanner.seek(at);
            from = at + BATCH_ALIGN;
            if scanner.next()?.is_some() {
                *votes.entry(header.salt).or_default() += header.disk_bytes();
                from = scanner.offset();
            }
        }
        let most = votes.into_iter().max_by_key(|(_, bytes)| *bytes);
        Ok(most.map(|(salt, _)| salt))
    }

    fn walk(
        &mut self,
        file: &mut Surveyed,
        segment: &Segment,
        visit: &mut dyn FnMut(&Surveyed, &Found<'_>),
    ) -> io::Result<()> {
        let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, segment.file_bytes);
        loop {
            let offset = scanner.offset();
            let is_whole = match scanner.next()? {
                Some(found) if found.header.batch >= self.order.next_batch => {
                    self.take(file, &found);
                    visit(file, &found);
                    true
                }
                _ => false,
            };
            if !is_whole && !self.skip(&mut scanner, offset, file)? {
                break;
            }
        }
        let end = file.whole.last().map_or(SEGMENT_HEADER_BYTES, |r| r.end);
        if segment.header.compacted && end < segment.file_bytes {
            // Compaction leaves nothing behind its last batch.
            file.torn = None;
            file.bad.push(end..segment.file_bytes);
        }
        Ok(())
    }

    fn take(&mut self, file: &mut Surveyed, found: &Found<'_>) {
        let header = &found.header;
        let offset = found.offset;
        let is_first = self.order.seq != file.last_seq;
        let follows = file.is_dense
            && (!is_first || (self.order.is_dense && self.order.seq + 1 == file.first_seq));
        if follows && header.batch != self.order.next_batch {
            let lost = self.order.next_position..header.first_position.0;
            if !lost.is_empty() {
                self.missing.push(lost);
            }
            if offset == SEGMENT_HEADER_BYTES
                && let Some(before) = self.files.last_mut()
            {
                before.ends_early = true;
            }
        }
        let next_position = found.end_position().0.max(self.order.next_position);
        self.order = Order {
            seq: file.last_seq,
            is_dense: file.is_dense,
            next_batch: header.batch + 1,
            next_position,
        };
        self.seen.header(header);
        self.seen.next_position = self.seen.next_position.max(next_position);
        let end = offset + header.disk_bytes();
        match file.whole.last_mut() {
            Some(run) if run.end == offset => run.end = end,
            _ => file.whole.push(offset..end),
        }
    }

    /// Goes on to the next whole batch; false if there is none in this segment.
    fn skip(
        &mut self,
        scanner: &mut Scanner<'_>,
        offset: u64,
        file: &mut Surveyed,
    ) -> io::Result<bool> {
        let (mut from, mut end, mut is_usual) = (offset, offset, true);
        while let Some((at, header)) = scanner.search(from, self.order.next_batch)? {
            scanner.seek(at);
            if scanner.next()?.is_some() {
                scanner.seek(at);
                file.bad.push(offset..at);
                return Ok(true);
            }
            self.seen.header(&header);
            end = at + header.disk_bytes();
            is_usual &= at == offset && header.batch == self.order.next_batch;
            from = at + BATCH_ALIGN;
        }
        let bytes = offset..end;
        file.torn = (!bytes.is_empty()).then_some(Torn { bytes, is_usual });
        Ok(false)
    }

    /// Only the last batch of the log can be torn: earlier than that it is damage.
    fn judge_ends(&mut self) {
        let has_data = |f: &Surveyed| !f.whole.is_empty() || f.torn.is_some();
        let last = self.files.iter().rposition(has_data);
        for file in &mut self.files[..last.unwrap_or(0)] {
            file.bad.extend(file.torn.take().map(|torn| torn.bytes));
        }
    }

    /// The numbers that follow the last whole batch: of the batch and of the position.
    #[must_use]
    pub const fn end(&self) -> (u64, u64) {
        (self.order.next_batch, self.order.next_position)
    }

    /// Whether any batch could be read.
    #[must_use]
    pub fn has_batches(&self) -> bool {
        self.files.iter().any(|f| !f.whole.is_empty())
    }

    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.files.last().map_or(0, |f| f.last_seq)
    }
}

fn read_header(file: &dyn DiskFile, bytes: u64) -> io::Result<Result<SegmentHeader, FormatError>> {
    let mut head = [0; SegmentHeader::BYTES];
    if bytes < head.len() as u64 {
        return Ok(Err(FormatError::NotASegment));
    }
    file.read_at(&mut head, 0)?;
    Ok(SegmentHeader::decode(&head))
}
