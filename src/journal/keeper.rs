//! The housekeeper: keeps segments ready, writes index files and checkpoints, and gives back what
//! nobody needs. One step at a time, beside the journal's thread.

mod ready;

use self::ready::Shortage;
use super::core::Journal;
use super::free_space::FreeSpace;
use super::idlog::SealedQueue;
use super::idtable::{self, IdEntry};
use super::lookup::ids_of;
use super::state::Shared;
use crate::clock::{Clock, Mono};
use crate::log::disk::Disk;
use crate::log::{
    self, Checkpoints, Cursor, Keep, Record, SEGMENT_HEADER_BYTES, Segment, Sizes, write_index,
};
use crate::message::Position;
use roaring::RoaringTreemap;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A checkpoint is due this long after the last one if anything was written.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// Sealed segments that stay as they are while the disk has room, whatever is settled in them: for
/// look-ups, and because much of the newest is about to be settled anyway.
const KEEP_SEALED: usize = 2;
/// A run of segments is rewritten when no more than this part of it is still needed.
const MAX_LIVE_FRACTION: f64 = 0.5;
/// Bytes an id takes in a table.
const ID_BYTES: u64 = 40;

pub struct Keeper {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    sealed: Arc<SealedQueue>,
    checkpoints: Checkpoints,
    free_space: FreeSpace,
    sizes: Sizes,
    /// As the last look at the disk found.
    shortage: Shortage,
    clock: Clock,
    /// Up to where the newest checkpoint knows everything.
    covered: Option<Cursor>,
    /// Before that point, the positions of exactly-once ids that were in the window.
    exactly_once: RoaringTreemap,
    checkpointed_at: Mono,
    /// How many ids and records sealed segments have, by their last number.
    contents: BTreeMap<u64, Content>,
    problem: Option<String>,
}

pub(super) struct KeeperParts {
    pub disk: Arc<dyn Disk>,
    pub shared: Arc<Shared>,
    pub sealed: Arc<SealedQueue>,
    pub checkpoints: Checkpoints,
    pub free_space: FreeSpace,
    pub sizes: Sizes,
    pub clock: Clock,
    pub covered: Option<Cursor>,
    pub exactly_once: RoaringTreemap,
}

#[derive(Clone, Copy, Debug)]
struct Content {
    ids: u64,
    records: u64,
}

/// A checkpoint's content, made by the journal's thread between two batches.
pub struct CheckpointImage {
    pub cursor: Cursor,
    pub bytes: Vec<u8>,
    /// Positions of the exactly-once ids in it.
    pub exactly_once: RoaringTreemap,
}

impl Keeper {
    pub(super) fn new(parts: KeeperParts) -> Self {
        Self {
            checkpointed_at: parts.clock.mono(),
            disk: parts.disk,
            shared: parts.shared,
            sealed: parts.sealed,
            checkpoints: parts.checkpoints,
            free_space: parts.free_space,
            sizes: parts.sizes,
            shortage: Shortage::None,
            clock: parts.clock,
            covered: parts.covered,
            exactly_once: parts.exactly_once,
            contents: BTreeMap::new(),
            problem: None,
        }
    }

    /// What last went wrong, if it still does. Nothing of it loses anything; space isn't given back.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// One round without a checkpoint.
    pub fn step(&mut self) {
        // Giving back comes first: a full disk has no room for anything else until it did.
        let indexed = self.write_indexes();
        let given = self.give_back();
        let result = self.make_ready().and(indexed).and(given);
        self.note(result);
    }

    fn note(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => self.problem = None,
            Err(e) => {
                let text = e.to_string();
                if self.problem.as_ref() != Some(&text) {
                    tracing::warn!("journal housekeeping: {text}");
                }
                self.problem = Some(text);
            }
        }
    }

    fn write_indexes(&mut self) -> io::Result<()> {
        let all = self.shared.reader.shared().segments();
        let mut left = self.sealed.take().into_iter();
        while let Some(sealed) = left.next() {
            if !all.iter().any(|s| Arc::ptr_eq(s, &sealed.segment)) {
                // Given back before there was room for its index.
                continue;
            }
            let result = self.write_index(&sealed.segment, &sealed.ids);
            if let Err(e) = result {
                // Only a cache, but wanted: tried again in the next round.
                self.sealed.push(sealed);
                left.for_each(|s| self.sealed.push(s));
                return Err(e);
            }
        }
        Ok(())
    }

    fn write_index(&mut self, segment: &Segment, found: &[IdEntry]) -> io::Result<()> {
        let mut blob = Vec::new();
        self.shared
            .read_shapes(|shapes| idtable::encode(found, shapes, &mut blob));
        write_index(&*self.disk, segment, &blob)?;
        let records = segment.with_extent(|e| e.end_position.0 - e.first_position.0);
        self.contents.insert(
            segment.header.last_seq,
            Content {
                ids: found.len() as u64,
                records,
            },
        );
        Ok(())
    }

    /// Whether a checkpoint is worth its writing.
    #[must_use]
    pub fn checkpoint_is_due(&self) -> bool {
        let end = self.end_batch();
        let covered = self.covered.map_or((0, 0), |c| (c.segment, c.batch));
        let active = self.active_seq();
        let old = self.clock.mono().since(self.checkpointed_at) >= CHECKPOINT_EVERY;
        active > covered.0 || (end > covered.1 && old)
    }

    fn active_seq(&self) -> u64 {
        self.shared
            .reader
            .shared()
            .last_segment()
            .map_or(0, |s| s.header.last_seq)
    }

    fn end_batch(&self) -> u64 {
        self.shared
            .reader
            .shared()
            .last_segment()
            .map_or(0, |s| s.with_extent(|e| e.end_batch))
    }

    /// Writes a checkpoint. What it covers may be given back from then on.
    pub fn checkpoint(&mut self, image: &CheckpointImage) {
        let result = self.checkpoints.write(&image.bytes);
        if result.is_ok() {
            self.covered = Some(image.cursor);
            self.exactly_once = image.exactly_once.clone();
            self.checkpointed_at = self.clock.mono();
            self.shared
                .counters
                .checkpoints
                .fetch_add(1, Ordering::Relaxed);
        }
        self.note(result);
    }

    /// Retires segments of which nothing is needed, and rewrites runs of which little is.
    fn give_back(&mut self) -> io::Result<()> {
        let views = self.views()?;
        let dead: Vec<u64> = views.iter().filter(|v| v.is_dead).map(|v| v.seq).collect();
        self.retire(&dead)?;
        let views: Vec<View> = views.into_iter().filter(|v| !v.is_dead).collect();
        let free = self.disk.free_bytes(self.shared.reader.shared().dir())?;
        let target = self
            .free_space
            .compaction_target(self.segment_sizes(), free);
        if let Some(run) = choose_run(&views, target) {
            let seqs: Vec<u64> = views[run].iter().map(|v| v.seq).collect();
            self.compact(&seqs)?;
        }
        Ok(())
    }

    /// Sealed segments that the checkpoint covers, oldest first, with what is needed of each.
    fn views(&mut self) -> io::Result<Vec<View>> {
        let Some(covered) = self.covered else {
            return Ok(Vec::new());
        };
        let mut segments = self.shared.reader.shared().segments();
        let kept = match self.shortage {
            Shortage::None => KEEP_SEALED,
            _ => 0,
        };
        let newest_kept = segments.len().saturating_sub(1 + kept);
        segments.truncate(newest_kept);
        let mut views = Vec::new();
        for segment in segments {
            if segment.header.last_seq < covered.segment {
                views.push(self.view(&segment)?);
            }
        }
        Ok(views)
    }

    fn view(&mut self, segment: &Segment) -> io::Result<View> {
        let seq = segment.header.last_seq;
        let content = match self.contents.get(&seq) {
            Some(content) => *content,
            None => {
                let ids = ids_of(&*self.disk, &self.shared, segment)?.len() as u64;
                let records = segment.with_extent(|e| e.end_position.0 - e.first_position.0);
                *self.contents.entry(seq).or_insert(Content { ids, records })
            }
        };
        let extent = segment.with_extent(|e| (e.first_position.0, e.end_position.0, e.data_end));
        let (first, end, data_end) = extent;
        let owed = self.owed_in(first, end).len();
        let data_bytes = data_end - SEGMENT_HEADER_BYTES;
        let record_bytes = data_bytes.checked_div(content.records.max(1)).unwrap_or(0);
        let ids = if end <= self.shared.ids_from().0 {
            self.exactly_once.range_cardinality(first..end)
        } else {
            content.ids
        };
        Ok(View {
            seq,
            is_dead: owed == 0 && ids == 0,
            live_bytes: (owed * record_bytes + ids * ID_BYTES).min(data_bytes),
            file_bytes: segment.file_bytes,
        })
    }

    /// Positions in the range of which any lane owes a delivery.
    fn owed_in(&self, first: u64, end: u64) -> RoaringTreemap {
        let mut owed = RoaringTreemap::new();
        if end > first {
            for lane in self.shared.lanes() {
                lane.ledger()
                    .owed()
                    .collect_positions(first..=end - 1, &mut owed);
            }
        }
        owed
    }

    fn segments_of(&self, seqs: &[u64]) -> Vec<Arc<Segment>> {
        let mut all = self.shared.reader.shared().segments();
        all.retain(|s| seqs.contains(&s.header.last_seq));
        all
    }

    fn retire(&mut self, seqs: &[u64]) -> io::Result<()> {
        for seq in seqs {
            let gone = self.segments_of(&[*seq]);
            let Some(range) = gone
                .first()
                .map(|s| s.with_extent(|e| (e.first_position, e.end_position)))
            else {
                continue;
            };
            self.shared.reader.shared().retire(&gone)?;
            self.contents.remove(seq);
            self.shared.forget(range.0, range.1);
        }
        Ok(())
    }

    fn compact(&mut self, seqs: &[u64]) -> io::Result<()> {
        let run = self.segments_of(seqs);
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return Ok(());
        };
        let (start, end) = (
            first.with_extent(|e| e.first_position.0),
            last.with_extent(|e| e.end_position.0),
        );
        let ids_from = self.shared.ids_from();
        let mut found = Vec::new();
        for segment in &run {
            found.extend(ids_of(&*self.disk, &self.shared, segment)?);
        }
        found.retain(|id| id.position >= ids_from || self.exactly_once.contains(id.position.0));
        let owed = self.owed_in(start, end);
        let records = owed.len();
        let gone = found
            .iter()
            .filter(|id| !owed.contains(id.position.0))
            .copied()
            .collect();
        let mut keep = KeepOwed {
            owed,
            gone,
            shared: &self.shared,
        };
        // Before it can fail half way: the new one may be in place then, under the number of the last old one.
        for seq in seqs {
            self.contents.remove(seq);
        }
        let new = log::compact(self.shared.reader.shared(), &run, &mut keep)?;
        if let Some(segment) = new {
            self.write_index(&segment, &found)?;
            let content = Content {
                ids: found.len() as u64,
                records,
            };
            self.contents.insert(segment.header.last_seq, content);
        } else {
            self.shared.forget(Position(start), Position(end));
        }
        self.shared
            .counters
            .compactions
            .fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Keeps records that are owed, and in place of the others their ids.
struct KeepOwed<'a> {
    owed: RoaringTreemap,
    gone: Vec<IdEntry>,
    shared: &'a Shared,
}

impl Keep for KeepOwed<'_> {
    fn keeps(&mut self, position: Position, _: &[u8]) -> bool {
        self.owed.contains(position.0)
    }

    fn instead(&mut self) -> Vec<Record> {
        self.shared
            .read_shapes(|shapes| idtable::records(&self.gone, shapes))
    }
}

/// A sealed segment as compaction sees it.
#[derive(Clone, Copy, Debug)]
struct View {
    seq: u64,
    /// Nothing in it is owed, and no id in it is in the window.
    is_dead: bool,
    /// An estimate: records differ in size.
    live_bytes: u64,
    file_bytes: u64,
}

/// The first run of neighbours that is worth rewriting: what is needed of all of them fits into one
/// segment and is at most half of what they take. One that is mostly needed is copied only with as
/// much beside it: else the remains of one hung destination would be written again with each
/// segment that comes to stand behind them.
fn choose_run(views: &[View], target_bytes: u64) -> Option<std::ops::Range<usize>> {
    for start in 0..views.len() {
        let (mut live, mut files, mut mostly_live) = (0, 0, 0);
        let mut best = None;
        for (i, view) in views.iter().enumerate().skip(start) {
            live += view.live_bytes;
            files += view.file_bytes;
            if view.live_bytes as f64 > view.file_bytes as f64 * MAX_LIVE_FRACTION {
                mostly_live = mostly_live.max(view.live_bytes);
            }
            if live > target_bytes {
                break;
            }
            // The header of the new file counts too: else small files would be rewritten for ever.
            let after = (live + 2 * SEGMENT_HEADER_BYTES) as f64;
            if after <= files as f64 * MAX_LIVE_FRACTION && 2 * mostly_live <= live {
                best = Some(start..i + 1);
            }
        }
        if best.is_some() {
            return best;
        }
    }
    None
}

impl Journal {
    /// What a checkpoint of this moment holds. Everything before its cursor is durable and applied.
    #[must_use]
    pub fn checkpoint_image(&self) -> CheckpointImage {
        let cursor = self.log.end();
        let snapshot = self.snapshot(cursor);
        CheckpointImage {
            cursor,
            bytes: snapshot.encode(),
            exactly_once: snapshot.exactly_once_positions(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TARGET: u64 = 64 * MIB;

    fn view(live_bytes: u64, file_bytes: u64) -> View {
        View {
            seq: 0,
            is_dead: false,
            live_bytes,
            file_bytes,
        }
    }

    #[test]
    fn what_is_mostly_settled_is_rewritten_and_what_is_needed_stays() {
        let (full, half, most) = (
            view(TARGET, TARGET),
            view(30 * MIB, TARGET),
            view(40 * MIB, TARGET),
        );
        assert_eq!(choose_run(&[full, half, full], TARGET), Some(1..2));
        assert_eq!(choose_run(&[full, most, full], TARGET), None);
        assert_eq!(choose_run(&[half, half, half], TARGET), Some(0..2));
    }

    /// Else it would be copied with each segment that comes behind it, most of which are settled
    /// whole a moment later.
    #[test]
    fn remains_are_not_copied_for_a_little_that_stands_behind_them() {
        let remains = view(35 * MIB, 35 * MIB + 4096);
        let nearly_settled = view(MIB, TARGET);
        let run = choose_run(&[remains, nearly_settled], TARGET);
        assert_eq!(run, Some(1..2), "the second alone");
    }

    /// One needed record in each segment: they come together, in a number of files and of copies
    /// of each that grows with the logarithm.
    #[test]
    fn small_remains_come_together_without_being_copied_each_time() {
        let (stuck, segments) = (10_000, 1_000);
        let mut views: Vec<View> = Vec::new();
        let mut written = 0;
        for _ in 0..segments {
            views.push(view(stuck, TARGET));
            while let Some(run) = choose_run(&views, TARGET) {
                let live = views[run.clone()].iter().map(|v| v.live_bytes).sum();
                written += live;
                views.splice(run, [view(live, live + SEGMENT_HEADER_BYTES)]);
            }
        }
        assert!(views.len() <= 12, "{} files", views.len());
        let copies = written / (stuck * segments);
        assert!(copies <= 12, "each was copied {copies} times");
    }
}
