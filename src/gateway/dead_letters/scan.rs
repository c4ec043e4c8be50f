//! The letters of one log that can be seen: settled as dead letters, neither redriven nor purged.
//! Reads block on the disk.

use crate::admin::letters::Matcher;
use crate::egress::stream::{From, ReadError, StreamReader, StreamRecord, origin};
use crate::gateway::lanes::Lane;
use roaring::RoaringTreemap;
use std::ops::Range;

/// The log is read in pieces of this.
const PIECE_LETTERS: usize = 512;
const PIECE_BYTES: usize = 1 << 20;
/// A page reads no more than this, however little of it is wanted.
const PAGE_READS_BYTES: usize = 16 << 20;

/// At one moment.
pub struct Letters {
    reader: StreamReader,
    /// Those at and after this one aren't settled in the journal yet.
    end: u64,
    gone: RoaringTreemap,
}

/// Letters in a row.
pub struct Found {
    pub letters: Vec<(u64, StreamRecord)>,
    pub next: Option<u64>,
}

impl Letters {
    pub fn of(lane: &Lane) -> Self {
        let (end, gone) = {
            let ledger = lane.state.ledger();
            (ledger.marks().dead_letters, ledger.gone_letters().clone())
        };
        Self {
            reader: lane.dead_letters().reader().clone(),
            end,
            gone,
        }
    }

    pub const fn end(&self) -> u64 {
        self.end
    }

    fn earliest(&self) -> u64 {
        self.reader.bounds().0.min(self.end)
    }

    pub fn count(&self) -> u64 {
        let range = self.earliest()..self.end;
        let there = range.end - range.start;
        there - self.gone.range_cardinality(range)
    }

    /// The next from there that isn't gone.
    fn next_there(&self, from: u64) -> u64 {
        let mut next = from.max(self.earliest());
        while next < self.end && self.gone.contains(next) {
            next += 1;
        }
        next
    }

    /// Letters that match, in order, up to the bounds.
    pub fn page(&self, matcher: &Matcher, limit: usize, max_bytes: usize) -> Result<Found, String> {
        let (mut letters, mut bytes) = (Vec::new(), 0);
        let next = self.walk(matcher, PAGE_READS_BYTES, |offset, record, size| {
            bytes += size;
            letters.push((offset, record));
            letters.len() < limit && bytes < max_bytes
        })?;
        Ok(Found { letters, next })
    }

    /// The offsets of those that match, and where to go on if it read `max_bytes` before the end.
    pub fn matching(
        &self,
        matcher: &Matcher,
        max_bytes: usize,
    ) -> Result<(Vec<u64>, Option<u64>), String> {
        let mut offsets = Vec::new();
        let next = self.walk(matcher, max_bytes, |offset, _, _| {
            offsets.push(offset);
            true
        })?;
        Ok((offsets, next))
    }

    /// Calls `take` for each that matches, with about its size, until it says false. Gives where to go
    /// on; none: there are no more.
    fn walk(
        &self,
        matcher: &Matcher,
        max_bytes: usize,
        mut take: impl FnMut(u64, StreamRecord, usize) -> bool,
    ) -> Result<Option<u64>, String> {
        let end = self.end.min(matcher.until());
        let mut next = self.next_there(matcher.from());
        let mut read = 0;
        while next < end {
            let page = match self
                .reader
                .read(From::Offset(next), PIECE_LETTERS, PIECE_BYTES)
            {
                Ok(page) => page,
                // Its room was given back meanwhile.
                Err(ReadError::Gone { earliest }) => {
                    next = self.next_there(earliest);
                    continue;
                }
                Err(e) => return Err(e.to_string()),
            };
            for (offset, record) in page.records {
                if offset >= end {
                    return Ok(None);
                }
                let size = size_of(&record);
                read += size;
                let is_taken = !self.gone.contains(offset) && matches(matcher, &record);
                if is_taken && !take(offset, record, size) {
                    return Ok(self.rest(offset + 1, end));
                }
            }
            next = self.next_there(page.next.max(next + 1));
            if read >= max_bytes {
                return Ok(self.rest(next, end));
            }
        }
        Ok(None)
    }

    fn rest(&self, next: u64, end: u64) -> Option<u64> {
        let next = self.next_there(next);
        (next < end).then_some(next)
    }

    pub fn one(&self, offset: u64) -> Result<Option<(u64, StreamRecord)>, String> {
        if offset >= self.end || self.gone.contains(offset) {
            return Ok(None);
        }
        match self.reader.read(From::Offset(offset), 1, 1) {
            Ok(page) => Ok(page.records.into_iter().find(|(found, _)| *found == offset)),
            Err(ReadError::Gone { .. } | ReadError::Beyond { .. }) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    /// All of them, without a look at any.
    pub fn all(&self) -> Vec<Range<u64>> {
        let mut runs = Vec::new();
        let mut next = self.next_there(0);
        for gone in self.gone.iter().filter(|gone| *gone >= self.earliest()) {
            if gone >= self.end {
                break;
            }
            if gone > next {
                runs.push(next..gone);
            }
            next = next.max(gone + 1);
        }
        if next < self.end {
            runs.push(next..self.end);
        }
        runs
    }

    /// Those of these that are there.
    pub fn there(&self, mut offsets: Vec<u64>) -> Vec<Range<u64>> {
        offsets.sort_unstable();
        offsets.dedup();
        let earliest = self.earliest();
        offsets.retain(|at| *at >= earliest && *at < self.end && !self.gone.contains(*at));
        runs_of(offsets)
    }
}

/// Ascending offsets as runs.
pub fn runs_of(offsets: Vec<u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some(run) if run.end == offset => run.end += 1,
            _ => runs.push(offset..offset + 1),
        }
    }
    runs
}

fn matches(matcher: &Matcher, record: &StreamRecord) -> bool {
    let reason = record.dead_letter.as_ref().map_or("", |l| &l.reason);
    let origin = origin::decode(record).and_then(Result::ok);
    let mut topics = vec![record.topic.as_str()];
    topics.extend(origin.iter().map(|o| o.message.envelope.topic.as_str()));
    matcher.takes(reason, &topics, record.route.as_deref())
}

/// About what it takes in memory.
fn size_of(record: &StreamRecord) -> usize {
    let payload = record.payload.as_ref().map_or(0, |payload| payload.len());
    let letter = record.dead_letter.as_ref();
    let origin = letter.and_then(|l| l.origin.as_ref());
    payload + origin.map_or(0, |origin| origin.len()) + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_run() {
        assert_eq!(runs_of(vec![]), vec![]);
        assert_eq!(runs_of(vec![1, 2, 3, 7, 9, 10]), vec![1..4, 7..8, 9..11]);
    }
}
