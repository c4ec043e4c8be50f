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
    use super::super::orders::{Orders, Placed};
    use super::super::tests::{House, house};
    use super::super::verify;
    use super::*;
    use crate::clock::{Clock, Wall};
    use crate::message::Position;
    use std::path::Path;

    fn redrive(house: &House, offset: u64) -> Submission {
        let mut submission = house.submission(None, &format!("letter {offset}"));
        submission.redrives = Some(LetterId {
            lane: house.lane,
            offset,
        });
        submission
    }

    fn gone(house: &House) -> Vec<u64> {
        let lane = house.journal.shared().lane(house.lane);
        let lane = lane.expect("it is there");
        let ledger = lane.ledger();
        ledger.gone_letters().iter().collect()
    }

    /// The positions of those that were accepted.
    fn accepted(house: &mut House, offsets: &[u64]) -> Vec<Option<Position>> {
        let submissions = offsets.iter().map(|o| redrive(house, *o)).collect();
        let answers = house.publish(submissions);
        answers
            .into_iter()
            .map(|answer| answer.ok().map(|accepted| accepted.position))
            .collect()
    }

    fn again(dir: &Path, clock: &Clock, with_checkpoint: bool, house: House) -> House {
        let House {
            journal,
            mut keeper,
            ..
        } = house;
        if with_checkpoint {
            keeper.checkpoint(&journal.checkpoint_image());
        }
        drop((journal, keeper));
        super::super::tests::house(dir, clock)
    }

    #[test]
    fn a_letter_is_redriven_once_in_one_batch_and_over_all_runs() {
        for with_checkpoint in [false, true] {
            let dir = tempfile::tempdir().expect("temp dir");
            let clock = Clock::manual(Wall(1_000_000));
            let mut house = house(dir.path(), &clock);
            let first = accepted(&mut house, &[3, 4, 3]);
            assert_eq!(first, [Some(Position(0)), Some(Position(1)), None]);
            assert_eq!(accepted(&mut house, &[4, 5]), [None, Some(Position(2))]);
            assert_eq!(gone(&house), [3, 4, 5]);
            // Far longer than any window of ids.
            clock.advance(std::time::Duration::from_secs(100_000));
            let mut house = again(dir.path(), &clock, with_checkpoint, house);
            assert_eq!(gone(&house), [3, 4, 5]);
            let more = accepted(&mut house, &[3, 6, 5]);
            assert_eq!(more, [None, Some(Position(3)), None]);
            let lane = house.journal.shared().lane(house.lane);
            let lane = lane.expect("it is there");
            assert_eq!(lane.ledger().counts().planned, 4);
            lane.ledger().check().expect("it adds up");
        }
    }

    #[test]
    fn what_is_refused_stays_a_letter() {
        let dir = tempfile::tempdir().expect("temp dir");
        let clock = Clock::manual(Wall(1_000_000));
        let mut house = house(dir.path(), &clock);
        let lane = house.journal.shared().lane(house.lane);
        let lane = lane.expect("it is there");
        lane.backlog_bytes.store(0, Ordering::Relaxed);
        assert_eq!(accepted(&mut house, &[1]), [None]);
        assert_eq!(gone(&house), [0; 0]);
        lane.backlog_bytes.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(accepted(&mut house, &[1]), [Some(Position(0))]);
    }

    #[test]
    fn purged_letters_are_gone_and_what_the_log_gave_back_is_forgotten() {
        let dir = tempfile::tempdir().expect("temp dir");
        let clock = Clock::manual(Wall(1_000_000));
        let mut house = house(dir.path(), &clock);
        let purge = |runs| GoneLetters {
            why: Why::Purged,
            lane: house.lane,
            runs,
        };
        let (reply, mut told) = tokio::sync::oneshot::channel();
        let order = super::super::orders::Order::Purge {
            gone: purge(vec![0..5, 9..10]),
            reply,
        };
        let mut orders = Orders::default();
        let placed = Placed {
            after: super::super::orders::Count::default(),
            order,
        };
        orders.append(&mut std::iter::once(placed).collect());
        orders.obey(&mut house.journal);
        orders.tell(&house.journal);
        assert!(told.try_recv().is_err(), "it isn't durable yet");
        assert_eq!(accepted(&mut house, &[2, 6]), [None, Some(Position(0))]);
        orders.tell(&house.journal);
        told.try_recv().expect("it is durable");
        let mut house = again(dir.path(), &clock, false, house);
        assert_eq!(gone(&house), [0, 1, 2, 3, 4, 6, 9]);
        let lane = house.journal.shared().lane(house.lane);
        lane.expect("it is there")
            .letters_from
            .store(6, Ordering::Relaxed);
        assert_eq!(accepted(&mut house, &[7]), [Some(Position(1))]);
        assert_eq!(gone(&house), [6, 7, 9]);
        drop(house);
        let options = super::super::tests::options(dir.path(), &clock);
        let disk = std::sync::Arc::new(crate::log::disk::RealDisk);
        let walk = verify(disk, options).expect("it opens");
        assert!(walk.is_sound(), "{:?}", walk.problems);
    }

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
