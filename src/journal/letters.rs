//! Dead letters that are gone: redriven, or purged by an operator.
//!
//! What lives here: the record that says so, and the acceptance of a redrive. What must not: what a
//! letter says (the dead-letter logs are further right).
//!
//! Invariant: a letter is redriven at most once, and never lost on the way: the record that it is gone
//! stands in the batch of the record that redrives it, and a batch is durable whole or not at all.
//! Letters go by their offsets, which their lane's log never gives twice. Those of a lane that are gone
//! are in its ledger, so in checkpoints.
//!
//! Version 1, integers as varints unless said otherwise:
//!
//! ```text
//! u8    0x61: letters that are gone (high half), version 1 (low half)
//! u8    why: 0 redriven, 1 purged
//! lane; count of runs, then for each: first offset, length
//! ```

use super::core::Journal;
use super::{Handle, Submission};
use crate::log::Record;
use crate::message::wire::{Problem, Reader, WireError, put_varint};
use crate::message::{LaneId, Refusal};
use roaring::RoaringTreemap;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// The first byte (see `message::record::ENVELOPE_V1`).
pub const LETTERS_V1: u8 = 0x61;
/// The record of one letter, with room to spare.
pub const ONE_DISK_BYTES: usize = crate::log::RECORD_HEADER_BYTES + 2 + 4 * 10;
/// Of one record: what a purge asks for in one go is no more.
pub const MAX_RUNS: usize = 4096;

const RUN_LEAST_BYTES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Redriven,
    Purged,
}

/// A letter of a lane's dead-letter log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterId {
    pub lane: LaneId,
    pub offset: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoneLetters {
    pub why: Why,
    pub lane: LaneId,
    /// Offsets.
    pub runs: Vec<Range<u64>>,
}

impl GoneLetters {
    #[must_use]
    pub fn redriven(letter: LetterId) -> Self {
        Self {
            why: Why::Redriven,
            lane: letter.lane,
            runs: std::iter::once(letter.offset..letter.offset + 1).collect(),
        }
    }

    #[must_use]
    pub fn record(&self) -> Record {
        let mut body = vec![
            LETTERS_V1,
            match self.why {
                Why::Redriven => 0,
                Why::Purged => 1,
            },
        ];
        put_varint(&mut body, self.lane.0.into());
        put_varint(&mut body, self.runs.len() as u64);
        for run in &self.runs {
            put_varint(&mut body, run.start);
            put_varint(&mut body, run.end - run.start);
        }
        Record::new(body)
    }

    pub fn decode(record: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(record);
        let before = reader.clone();
        if reader.u8("version of gone letters")? != LETTERS_V1 {
            return Err(before.error("version of gone letters", Problem::OutOfRange));
        }
        let before = reader.clone();
        let why = match reader.u8("why letters are gone")? {
            0 => Why::Redriven,
            1 => Why::Purged,
            _ => return Err(before.error("why letters are gone", Problem::OutOfRange)),
        };
        let lane = LaneId(reader.varint_as("lane of letters")?);
        let mut runs = Vec::new();
        for _ in 0..reader.count("runs of letters", RUN_LEAST_BYTES)? {
            let start = reader.varint("first letter")?;
            let before = reader.clone();
            let end = start.checked_add(reader.varint("count of letters")?);
            let end = end.filter(|end| *end > start);
            let end = end.ok_or_else(|| before.error("count of letters", Problem::OutOfRange))?;
            runs.push(start..end);
        }
        reader.finish("gone letters")?;
        Ok(Self { why, lane, runs })
    }

    /// Notes them in their lane's set.
    pub fn note(&self, gone: &mut RoaringTreemap) {
        for run in &self.runs {
            gone.insert_range(run.clone());
        }
    }
}

impl Journal {
    /// Why this submission can't be accepted: the letter that it redrives is gone already.
    pub(super) fn letter_is_gone(
        &self,
        submission: &Submission,
        pending: &[GoneLetters],
    ) -> Option<Refusal> {
        let letter = submission.redrives?;
        let before = pending
            .iter()
            .any(|gone| *gone == GoneLetters::redriven(letter));
        let lane = self.shared().lane(letter.lane)?;
        let is_gone = before || lane.ledger().gone_letters().contains(letter.offset);
        let words = || {
            format!(
                "dead letter {} is redriven or purged already",
                letter.offset
            )
        };
        is_gone.then(|| Refusal::Malformed(words()))
    }

    /// These are durable.
    pub(super) fn letters_gone(&self, gone: &GoneLetters) {
        if let Some(lane) = self.shared().lane(gone.lane) {
            let earliest = lane.letters_from.load(Ordering::Relaxed);
            lane.ledger().note_gone(gone, earliest);
        }
    }

    /// They ride the next batch. They count as gone from here on, though nobody is told so before
    /// that is durable: no letter is redriven that an operator had purged.
    pub(super) fn purge_letters(&mut self, gone: &GoneLetters) {
        self.letters_gone(gone);
        self.notices.push_back(gone.record());
    }
}

impl Handle {
    /// Notes that these letters of a lane (`MAX_RUNS` at most) are gone for good. Returns when that is
    /// durable.
    pub async fn purge_letters(&self, lane: LaneId, runs: Vec<Range<u64>>) -> Result<(), Refusal> {
        let gone = GoneLetters {
            why: Why::Purged,
            lane,
            runs,
        };
        self.purge(gone).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let gone = GoneLetters {
            why: Why::Purged,
            lane: LaneId(7),
            runs: vec![0..1, 5..9, u64::MAX - 1..u64::MAX],
        };
        let body = gone.record().into_body();
        assert_eq!(GoneLetters::decode(&body), Ok(gone));
        for cut in 0..body.len() {
            assert!(GoneLetters::decode(&body[..cut]).is_err(), "cut at {cut}");
        }
        let one = GoneLetters::redriven(LetterId {
            lane: LaneId(u32::MAX),
            offset: u64::MAX - 1,
        });
        assert!(one.record().disk_bytes() <= ONE_DISK_BYTES);
    }

    #[test]
    fn what_nobody_writes_is_refused() {
        for body in [
            &[0x62, 0, 0, 0][..],
            &[LETTERS_V1, 2, 0, 0],
            &[LETTERS_V1, 0, 0, 1, 4, 0],
            &[LETTERS_V1, 0, 0, 0, 0],
        ] {
            assert!(GoneLetters::decode(body).is_err(), "{body:?}");
        }
    }
}
