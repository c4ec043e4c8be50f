//! The record of settlements: what one lane said last on some of its deliveries.
//!
//! What lives here: the group as a value, and its bytes. What must not: what a lane owes (the
//! ledger).
//!
//! Version 1, integers as varints unless said otherwise:
//!
//! ```text
//! u8    0x21: settlements (high half), version 1 (low half)
//! lane; mark of its sink; mark of its dead letters
//! count of runs, then for each:
//!       u8 outcome: 0 delivered, 1 dead lettered, 2 dropped, 3 expired, 4 lost
//!       ordinal, first position, length, bytes of them all
//! ```

use crate::message::wire::{Problem, Reader, WireError, put_varint};
use crate::message::{DeliveryId, DiscardReason, LaneId, Ordinal, Outcome, Position, Settlement};
use std::ops::RangeInclusive;

/// The first byte (see `message::record::ENVELOPE_V1`).
pub const SETTLEMENTS_V1: u8 = 0x21;

const RUN_LEAST_BYTES: usize = 5;

/// Up to where a lane's own logs hold nothing that isn't settled here: at start all after it is
/// read from them and counted as settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkMarks {
    pub sink: u64,
    pub dead_letters: u64,
}

impl SinkMarks {
    /// Marks never go back.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            sink: self.sink.max(other.sink),
            dead_letters: self.dead_letters.max(other.dead_letters),
        }
    }
}

/// Consecutive positions of one ordinal that were settled alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledRun {
    pub outcome: Outcome,
    pub start: DeliveryId,
    /// At least 1, and the last position is a u64.
    pub len: u64,
    /// What they were charged, together.
    pub bytes: u64,
}

impl SettledRun {
    #[must_use]
    pub const fn positions(&self) -> RangeInclusive<u64> {
        let first = self.start.position.0;
        first..=first + (self.len - 1)
    }
}

/// What one settlement record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementGroup {
    pub lane: LaneId,
    pub marks: SinkMarks,
    /// Sorted by outcome, ordinal and position.
    pub runs: Vec<SettledRun>,
}

impl SettlementGroup {
    /// Settlements of one lane, in any order.
    #[must_use]
    pub fn of(lane: LaneId, marks: SinkMarks, settlements: &[Settlement]) -> Self {
        debug_assert!(settlements.iter().all(|s| s.lane == lane));
        let mut sorted: Vec<&Settlement> = settlements.iter().collect();
        sorted.sort_unstable_by_key(|s| (s.outcome, s.at.ordinal, s.at.position));
        let mut runs: Vec<SettledRun> = Vec::new();
        for s in sorted {
            let bytes = s.size_bytes.into();
            match runs.last_mut() {
                Some(run) if continues(run, s) => {
                    run.len += 1;
                    run.bytes += bytes;
                }
                _ => runs.push(SettledRun {
                    outcome: s.outcome,
                    start: s.at,
                    len: 1,
                    bytes,
                }),
            }
        }
        Self { lane, marks, runs }
    }

    /// How many deliveries are settled.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum()
    }

    /// A group may carry marks alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(SETTLEMENTS_V1);
        put_varint(out, self.lane.0.into());
        put_varint(out, self.marks.sink);
        put_varint(out, self.marks.dead_letters);
        put_varint(out, self.runs.len() as u64);
        for run in &self.runs {
            out.push(outcome_code(run.outcome));
            put_varint(out, run.start.ordinal.0.into());
            put_varint(out, run.start.position.0);
            put_varint(out, run.len);
            put_varint(out, run.bytes);
        }
    }

    pub fn decode(record: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(record);
        if record.first() != Some(&SETTLEMENTS_V1) {
            return Err(reader.error("settlements' version", Problem::OutOfRange));
        }
        reader.u8("settlements' version")?;
        let lane = LaneId(reader.varint_as("lane")?);
        let marks = SinkMarks {
            sink: reader.varint("sink's mark")?,
            dead_letters: reader.varint("dead letters' mark")?,
        };
        let count = reader.count("runs", RUN_LEAST_BYTES)?;
        let mut runs = Vec::with_capacity(count);
        for _ in 0..count {
            runs.push(read_run(&mut reader)?);
        }
        reader.finish("settlements")?;
        Ok(Self { lane, marks, runs })
    }
}

fn continues(run: &SettledRun, next: &Settlement) -> bool {
    run.outcome == next.outcome
        && run.start.ordinal == next.at.ordinal
        && run.start.position.0.checked_add(run.len) == Some(next.at.position.0)
}

fn read_run(reader: &mut Reader) -> Result<SettledRun, WireError> {
    let before = reader.clone();
    let outcome = match reader.u8("outcome")? {
        0 => Outcome::Delivered,
        1 => Outcome::DeadLettered,
        2 => Outcome::Discarded(DiscardReason::Dropped),
        3 => Outcome::Discarded(DiscardReason::Expired),
        4 => Outcome::Discarded(DiscardReason::Lost),
        _ => return Err(before.error("outcome", Problem::OutOfRange)),
    };
    let ordinal = Ordinal(reader.varint_as("ordinal")?);
    let position = Position(reader.varint("position")?);
    let before = reader.clone();
    let len = reader.varint("run's length")?;
    let is_in_range = len > 0 && position.0.checked_add(len - 1).is_some();
    if !is_in_range {
        return Err(before.error("run's length", Problem::OutOfRange));
    }
    Ok(SettledRun {
        outcome,
        start: DeliveryId { position, ordinal },
        len,
        bytes: reader.varint("run's bytes")?,
    })
}

const fn outcome_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Delivered => 0,
        Outcome::DeadLettered => 1,
        Outcome::Discarded(DiscardReason::Dropped) => 2,
        Outcome::Discarded(DiscardReason::Expired) => 3,
        Outcome::Discarded(DiscardReason::Lost) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    const OUTCOMES: [Outcome; 5] = [
        Outcome::Delivered,
        Outcome::DeadLettered,
        Outcome::Discarded(DiscardReason::Dropped),
        Outcome::Discarded(DiscardReason::Expired),
        Outcome::Discarded(DiscardReason::Lost),
    ];

    fn settlement(position: u64, ordinal: u16, outcome: Outcome, size_bytes: u32) -> Settlement {
        Settlement {
            lane: LaneId(3),
            at: DeliveryId::new(position, ordinal),
            outcome,
            size_bytes,
        }
    }

    fn random(rng: &mut Rng) -> Vec<Settlement> {
        let base = rng.u64(..) >> rng.u32(1..64);
        let mut all = Vec::new();
        for ordinal in 0..rng.u16(1..4) {
            for position in base..base + rng.u64(..30) {
                if rng.u8(..4) != 0 {
                    let outcome = OUTCOMES[if rng.bool() { 0 } else { rng.usize(..5) }];
                    all.push(settlement(position, ordinal, outcome, rng.u32(..)));
                }
            }
        }
        rng.shuffle(&mut all);
        all
    }

    /// What a group says of each delivery; of the bytes only the sum counts.
    fn said(group: &SettlementGroup) -> (Vec<(DeliveryId, Outcome)>, u64) {
        let of_run = |run: &SettledRun| {
            let (ordinal, outcome) = (run.start.ordinal, run.outcome);
            run.positions()
                .map(move |p| (DeliveryId::new(p, ordinal.0), outcome))
        };
        let mut all: Vec<_> = group.runs.iter().flat_map(of_run).collect();
        all.sort_unstable();
        (all, group.runs.iter().map(|run| run.bytes).sum())
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for seed in 0..2_000 {
            let mut rng = Rng::with_seed(seed);
            let settlements = random(&mut rng);
            let marks = SinkMarks {
                sink: rng.u64(..),
                dead_letters: rng.u64(..),
            };
            let group = SettlementGroup::of(LaneId(3), marks, &settlements);
            let mut record = Vec::new();
            group.encode(&mut record);
            assert_eq!(
                SettlementGroup::decode(&record),
                Ok(group.clone()),
                "seed {seed}"
            );

            let mut expected: Vec<_> = settlements.iter().map(|s| (s.at, s.outcome)).collect();
            expected.sort_unstable();
            let bytes = settlements.iter().map(|s| u64::from(s.size_bytes)).sum();
            assert_eq!(said(&group), (expected, bytes), "seed {seed}");
            assert_eq!(group.len(), settlements.len() as u64, "seed {seed}");

            for cut in 0..record.len() {
                let cut_short = SettlementGroup::decode(&record[..cut]);
                assert!(cut_short.is_err(), "seed {seed}, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_thousand_in_a_row_are_one_run() {
        let mut settlements: Vec<_> = (5_000..6_000)
            .map(|p| settlement(p, 0, Outcome::Delivered, 300))
            .collect();
        settlements.reverse();
        let group = SettlementGroup::of(LaneId(3), SinkMarks::default(), &settlements);
        assert_eq!(group.runs.len(), 1);
        let mut record = Vec::new();
        group.encode(&mut record);
        assert!(record.len() < 20, "{} bytes", record.len());
    }

    #[test]
    fn the_same_twice_stays_twice() {
        let twice = vec![settlement(7, 0, Outcome::Delivered, 1); 2];
        let group = SettlementGroup::of(LaneId(3), SinkMarks::default(), &twice);
        assert_eq!(group.len(), 2);
    }

    #[test]
    fn damaged_records_never_panic_and_runs_stay_in_range() {
        let mut decodable = 0;
        for seed in 0..5_000 {
            let mut rng = Rng::with_seed(seed);
            let settlements = random(&mut rng);
            let group = SettlementGroup::of(LaneId(3), SinkMarks::default(), &settlements);
            let mut record = Vec::new();
            group.encode(&mut record);
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(1..record.len());
                record[at] = rng.u8(..);
            }
            if let Ok(group) = SettlementGroup::decode(&record) {
                decodable += 1;
                for run in group.runs {
                    assert!(run.positions().end() >= run.positions().start());
                }
            }
        }
        assert!(decodable > 100, "only {decodable} damaged records decode");
    }

    /// Guards the format against accidental change.
    #[test]
    fn the_format_is_as_checked_in() {
        let marks = SinkMarks {
            sink: 300,
            dead_letters: 2,
        };
        let settlements = [
            settlement(10, 0, Outcome::Delivered, 100),
            settlement(11, 0, Outcome::Delivered, 100),
            settlement(11, 1, Outcome::DeadLettered, 7),
            settlement(12, 0, OUTCOMES[4], 1),
        ];
        let group = SettlementGroup::of(LaneId(3), marks, &settlements);
        let mut record = Vec::new();
        group.encode(&mut record);
        let expected = [
            0x21, 3, 0xac, 2, 2, 3, // three runs
            0, 0, 10, 2, 0xc8, 1, // delivered
            1, 1, 11, 1, 7, // dead lettered
            4, 0, 12, 1, 1, // lost
        ];
        assert_eq!(record, expected);
    }
}
