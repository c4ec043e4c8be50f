//! Room that dead letters leave when they are redriven or purged: whole segments are dropped from the
//! front, and where little is left of several neighbours they are rewritten into one.
//!
//! Which letters are gone the journal knows, durably, before this is called; and never one at or after
//! the mark. So nothing here has to be remembered, and a crash at any moment loses nothing.

use super::StreamLog;
use crate::log::{self, Keep, Record, Records, SEGMENT_HEADER_BYTES, Segment};
use crate::message::Position;
use roaring::RoaringTreemap;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// The only byte of a record without position, at the end of what was rewritten: see
/// `record::RECORD_V1`.
const RELEASED_V1: u8 = 0x51;

/// By a segment's number: how many of its letters were gone when it was read last, and the bytes of
/// the others then.
pub(super) type LookedAt = HashMap<u64, (u64, u64)>;

impl StreamLog {
    /// Gives back what these letters took, as far as whole segments come of it: one piece of work. True
    /// if there may be more. A failure ends this until the log is opened anew.
    pub fn release(&mut self, gone: &RoaringTreemap) -> bool {
        if self.trim_failed.is_some() || self.failure().is_some() || gone.is_empty() {
            return false;
        }
        match self.try_release(gone) {
            Ok(is_more) => is_more,
            // For want of room to make room: it is tried again when there is more to gain.
            Err(e) if e.kind() == io::ErrorKind::StorageFull => {
                let dir = self.options.dir.display();
                tracing::warn!(%dir, error = %e, "no room to rewrite dead letters");
                false
            }
            Err(e) => {
                let dir = self.options.dir.display();
                tracing::error!(%dir, error = %e, "no room of dead letters is given back until a restart");
                self.trim_failed = Some(e.to_string());
                false
            }
        }
    }

    fn try_release(&mut self, gone: &RoaringTreemap) -> io::Result<bool> {
        let mut sealed = self.settled_segments();
        let front = sealed.iter().take_while(|s| is_gone(s, gone)).count();
        let dead: Vec<_> = sealed.drain(..front).collect();
        if !dead.is_empty() {
            self.log.shared().retire(&dead)?;
        }
        let mut live = Vec::with_capacity(sealed.len());
        for segment in &sealed {
            live.push(self.live_bytes(segment, gone)?);
        }
        let there = |seq: &u64| sealed.iter().any(|s| s.header.last_seq == *seq);
        self.looked_at.retain(|seq, _| there(seq));
        let Some(run) = choose_run(&sealed, &live, self.options.sizes.min_segment_bytes) else {
            return Ok(false);
        };
        let run = &sealed[run];
        if let Some(new) = log::compact(self.log.shared(), run, &mut Live(gone))? {
            self.index(&new);
        }
        for segment in run {
            self.looked_at.remove(&segment.header.last_seq);
        }
        Ok(true)
    }

    /// Those that nothing is written to any more, and whose letters are all settled in the journal.
    fn settled_segments(&self) -> Vec<Arc<Segment>> {
        let mut segments = self.log.shared().segments();
        let (mark, next) = (self.journal.mark, self.next_offset());
        segments.retain(|s| {
            let end = s.with_extent(|e| e.end_position.0);
            s.with_extent(log::Extent::has_batches) && end <= mark && end < next
        });
        segments
    }

    /// The bytes of its letters that aren't gone. It is read only when more are gone than before.
    fn live_bytes(&mut self, segment: &Segment, gone: &RoaringTreemap) -> io::Result<u64> {
        let (first, end) = extent_of(segment);
        let count = gone.range_cardinality(first..end);
        let seq = segment.header.last_seq;
        if let Some((known, bytes)) = self.looked_at.get(&seq)
            && *known == count
        {
            return Ok(*bytes);
        }
        let data_end = segment.with_extent(|e| e.data_end);
        let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, data_end);
        let mut bytes = 0;
        while let Some(batch) = scanner.next()? {
            for record in Records::new(&batch.header, batch.body).flatten() {
                if record.position.is_some_and(|at| !gone.contains(at.0)) {
                    bytes += (record.body.len() + log::RECORD_HEADER_BYTES) as u64;
                }
            }
        }
        self.looked_at.insert(seq, (count, bytes));
        Ok(bytes)
    }
}

struct Live<'a>(&'a RoaringTreemap);

impl Keep for Live<'_> {
    fn keeps(&mut self, position: Position, _: &[u8]) -> bool {
        !self.0.contains(position.0)
    }

    /// So that the last batch's number stands there, whatever is left: the next segment goes on from it.
    fn instead(&mut self) -> Vec<Record> {
        vec![Record::new(vec![RELEASED_V1])]
    }
}

fn extent_of(segment: &Segment) -> (u64, u64) {
    segment.with_extent(|e| (e.first_position.0, e.end_position.0))
}

fn is_gone(segment: &Segment, gone: &RoaringTreemap) -> bool {
    let (first, end) = extent_of(segment);
    gone.range_cardinality(first..end) == end - first
}

/// Neighbours that fit into one segment together, if at least half a segment comes of it. The first has
/// a letter left, so that something is: a log has no gaps.
fn choose_run(
    segments: &[Arc<Segment>],
    live: &[u64],
    segment_bytes: u64,
) -> Option<std::ops::Range<usize>> {
    for first in (0..segments.len()).filter(|i| live[*i] > 0) {
        let (mut end, mut kept, mut files) = (first, 0, 0);
        while end < segments.len() && kept + live[end] <= segment_bytes {
            kept += live[end];
            files += segments[end].file_bytes;
            end += 1;
        }
        if end > first && kept + segment_bytes / 2 <= files {
            return Some(first..end);
        }
    }
    None
}
