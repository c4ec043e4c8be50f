//! What one lane owes, and what became of what it doesn't owe any more.
//!
//! What lives here: the accounting of promise 12, pure. What must not: the decision to settle,
//! disk.
//!
//! A delivery that was planned for the lane is pending while it is in `owed`. Once settled it is
//! delivered unless one of the other sets has it; those are pruned when records leave the log.
//! The counts go on for ever.

use super::letters::GoneLetters;
use super::settlements::{SettledRun, SettlementGroup, SinkMarks};
use crate::message::wire::{Problem, Reader, WireError, put_bytes, put_varint};
use crate::message::{DeliveryId, DeliverySet, DeliveryState, DiscardReason, Outcome, Settlement};
use roaring::RoaringTreemap;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

#[cfg(test)]
mod tests;

const REASONS: usize = DiscardReason::ALL.len();
const LEDGER_V1: u8 = 1;
/// With letters that are gone: written only where there are any.
const LEDGER_V2: u8 = 2;

/// Deliveries since the journal was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub planned: u64,
    pub delivered: u64,
    pub dead_lettered: u64,
    /// In the order of `DiscardReason::ALL`.
    pub discarded: [u64; REASONS],
}

impl Counts {
    #[must_use]
    pub const fn discarded_as(&self, reason: DiscardReason) -> u64 {
        self.discarded[reason as usize]
    }

    const fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Delivered => &mut self.delivered,
            Outcome::DeadLettered => &mut self.dead_lettered,
            Outcome::Discarded(reason) => &mut self.discarded[reason as usize],
        }
    }
}

/// Nothing was changed by what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error("delivery {at}, or one that was given with it, is owed already")]
    OwedTwice { at: DeliveryId },
    /// Settled before, or never planned: `state` tells.
    #[error("of {len} deliveries from {start} on, settled as one, {owed} are owed")]
    NotOwed {
        start: DeliveryId,
        len: u64,
        owed: u64,
    },
    #[error("the deliveries settled from {start} on gave back {bytes} bytes of {owed_bytes}")]
    MoreThanOwed {
        start: DeliveryId,
        bytes: u64,
        owed_bytes: u64,
    },
}

/// Promise 12 is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the counts don't add up: {counts:?} with {pending} pending deliveries of {owed_bytes} bytes"
)]
pub struct Imbalance {
    pub counts: Counts,
    pub pending: u64,
    pub owed_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneLedger {
    owed: DeliverySet,
    owed_bytes: u64,
    dead_lettered: DeliverySet,
    /// No set in it is empty.
    discarded: BTreeMap<DiscardReason, DeliverySet>,
    counts: Counts,
    marks: SinkMarks,
    /// Offsets in its dead-letter log of what was redriven or purged.
    gone_letters: RoaringTreemap,
}

impl LaneLedger {
    #[must_use]
    pub const fn owed(&self) -> &DeliverySet {
        &self.owed
    }

    /// What the lane's backlog is charged.
    #[must_use]
    pub const fn owed_bytes(&self) -> u64 {
        self.owed_bytes
    }

    #[must_use]
    pub fn pending(&self) -> u64 {
        self.owed.len()
    }

    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    #[must_use]
    pub const fn gone_letters(&self) -> &RoaringTreemap {
        &self.gone_letters
    }

    /// These letters are gone; of those before `earliest` the log has nothing any more.
    pub fn note_gone(&mut self, gone: &GoneLetters, earliest: u64) {
        gone.note(&mut self.gone_letters);
        self.gone_letters.remove_range(..earliest);
    }

    #[must_use]
    pub const fn marks(&self) -> SinkMarks {
        self.marks
    }

    /// The state of a delivery that was planned for this lane (which the ledger can't know: of any
    /// other it says "delivered").
    #[must_use]
    pub fn state(&self, at: DeliveryId) -> DeliveryState {
        if self.owed.contains(at) {
            DeliveryState::Stored
        } else if self.dead_lettered.contains(at) {
            DeliveryState::DeadLettered
        } else if self.discard_reason(at).is_some() {
            DeliveryState::Discarded
        } else {
            DeliveryState::Delivered
        }
    }

    #[must_use]
    pub fn discard_reason(&self, at: DeliveryId) -> Option<DiscardReason> {
        let mut sets = self.discarded.iter();
        sets.find(|(_, set)| set.contains(at))
            .map(|(reason, _)| *reason)
    }

    /// A delivery was accepted: the lane owes it.
    pub fn owe(&mut self, at: DeliveryId, bytes: u64) -> Result<(), LedgerError> {
        self.owe_run(at, 1, bytes)
    }

    /// A batch was accepted: consecutive positions of one ordinal are put in at once. On error the
    /// deliveries before the run of the one named are owed.
    pub fn owe_all(
        &mut self,
        deliveries: impl IntoIterator<Item = (DeliveryId, u64)>,
    ) -> Result<(), LedgerError> {
        let mut deliveries = deliveries.into_iter();
        let Some((mut start, mut bytes)) = deliveries.next() else {
            return Ok(());
        };
        let mut len = 1;
        for (at, its_bytes) in deliveries {
            let follows = at.ordinal == start.ordinal && at.position.0 == start.position.0 + len;
            if follows {
                len += 1;
                bytes += its_bytes;
            } else {
                self.owe_run(start, len, bytes)?;
                (start, len, bytes) = (at, 1, its_bytes);
            }
        }
        self.owe_run(start, len, bytes)
    }

    fn owe_run(&mut self, start: DeliveryId, len: u64, bytes: u64) -> Result<(), LedgerError> {
        let positions = start.position.0..=start.position.0 + (len - 1);
        if self.owed.insert_run(start.ordinal, positions) != len {
            return Err(LedgerError::OwedTwice { at: start });
        }
        self.owed_bytes += bytes;
        self.counts.planned += len;
        Ok(())
    }

    /// Another lane owes the delivery in this one's place: as if it had never been planned here.
    /// False if it isn't owed.
    pub fn give_up(&mut self, at: DeliveryId, bytes: u64) -> bool {
        if !self.owed.remove(at) {
            return false;
        }
        self.owed_bytes = self.owed_bytes.saturating_sub(bytes);
        self.counts.planned -= 1;
        true
    }

    /// One delivery is settled.
    pub fn settle(&mut self, settlement: &Settlement) -> Result<(), LedgerError> {
        self.settle_run(&SettledRun {
            outcome: settlement.outcome,
            start: settlement.at,
            len: 1,
            bytes: settlement.size_bytes.into(),
        })
    }

    /// A settlement record became durable, or was found at recovery. On error the runs before the
    /// one named are applied: such a record contradicts the log.
    pub fn apply(&mut self, group: &SettlementGroup) -> Result<(), LedgerError> {
        for run in &group.runs {
            self.settle_run(run)?;
        }
        self.marks = self.marks.max(group.marks);
        Ok(())
    }

    pub fn settle_run(&mut self, run: &SettledRun) -> Result<(), LedgerError> {
        let &SettledRun {
            outcome,
            start,
            len,
            bytes,
        } = run;
        let owed = self.owed.count_run(start.ordinal, run.positions());
        if owed != len {
            return Err(LedgerError::NotOwed { start, len, owed });
        }
        let Some(owed_bytes) = self.owed_bytes.checked_sub(bytes) else {
            let owed_bytes = self.owed_bytes;
            return Err(LedgerError::MoreThanOwed {
                start,
                bytes,
                owed_bytes,
            });
        };
        self.owed_bytes = owed_bytes;
        self.owed.remove_run(start.ordinal, run.positions());
        *self.counts.of(outcome) += len;
        match outcome {
            Outcome::Delivered => {}
            Outcome::DeadLettered => {
                self.dead_lettered
                    .insert_run(start.ordinal, run.positions());
            }
            Outcome::Discarded(reason) => {
                let set = self.discarded.entry(reason).or_default();
                set.insert_run(start.ordinal, run.positions());
            }
        }
        Ok(())
    }

    /// These records are lost and an operator accepted that: what is owed of them is discarded.
    /// `bytes` is what they were charged, as far as is known. Gives the number of deliveries.
    pub fn lose(&mut self, positions: RangeInclusive<u64>, bytes: u64) -> u64 {
        let lost = self.owed.within(positions.clone());
        let count = lost.len();
        if count == 0 {
            return 0;
        }
        self.owed.remove_positions(positions);
        let set = self.discarded.entry(DiscardReason::Lost).or_default();
        set.union_with(&lost);
        *self.counts.of(Outcome::Discarded(DiscardReason::Lost)) += count;
        self.owed_bytes = if self.owed.is_empty() {
            0
        } else {
            self.owed_bytes.saturating_sub(bytes)
        };
        count
    }

    /// As `settle_run`, in a log with losses: what of it isn't owed is passed over, and bytes are
    /// left to `recharge`. Gives how many were settled.
    pub fn settle_owed(&mut self, run: &SettledRun) -> u64 {
        let ordinal = run.start.ordinal;
        let owed = self.owed.within(run.positions());
        for at in owed.iter().filter(|at| at.ordinal == ordinal) {
            let found = SettledRun {
                start: at,
                len: 1,
                bytes: 0,
                outcome: run.outcome,
            };
            self.settle_run(&found)
                .expect("it is owed, and gives nothing back");
        }
        owed.iter().filter(|at| at.ordinal == ordinal).count() as u64
    }

    /// Sets what the backlog is charged, counted anew from the records of what is owed.
    pub fn recharge(&mut self, owed_bytes: u64) {
        self.owed_bytes = owed_bytes;
    }

    /// Settlements may be lost: the lane's own logs are to be read from their beginning.
    pub fn forget_marks(&mut self) {
        self.marks = SinkMarks::default();
    }

    /// The records of these positions left the log: their outcomes are forgotten, but nothing that
    /// is owed, and no count.
    pub fn forget_positions(&mut self, positions: RangeInclusive<u64>) {
        self.dead_lettered.remove_positions(positions.clone());
        for set in self.discarded.values_mut() {
            set.remove_positions(positions.clone());
        }
        self.discarded.retain(|_, set| !set.is_empty());
    }

    /// Planned = delivered + dead-lettered + discarded + pending, and who owes nothing owes no
    /// bytes.
    pub fn check(&self) -> Result<(), Imbalance> {
        let counts = self.counts;
        let pending = self.pending();
        let settled = [counts.delivered, counts.dead_lettered, pending];
        let all = settled.into_iter().chain(counts.discarded);
        let sum = all.fold(0u128, |sum, n| sum + u128::from(n));
        if sum == u128::from(counts.planned) && (pending > 0 || self.owed_bytes == 0) {
            Ok(())
        } else {
            Err(Imbalance {
                counts,
                pending,
                owed_bytes: self.owed_bytes,
            })
        }
    }

    /// Appends the ledger for the checkpoint: u8 version; varints: bytes owed, planned, delivered,
    /// dead-lettered, the number of discard reasons and a count for each, both marks; the sets of
    /// what is owed and dead-lettered, and of each reason; in version 2: of letters that are gone.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let has_gone = !self.gone_letters.is_empty();
        out.push(if has_gone { LEDGER_V2 } else { LEDGER_V1 });
        let counts = &self.counts;
        let numbers = [self.owed_bytes, counts.planned, counts.delivered];
        for number in numbers.into_iter().chain([counts.dead_lettered]) {
            put_varint(out, number);
        }
        put_varint(out, REASONS as u64);
        for number in counts.discarded {
            put_varint(out, number);
        }
        put_varint(out, self.marks.sink);
        put_varint(out, self.marks.dead_letters);
        self.owed.encode(out);
        self.dead_lettered.encode(out);
        for reason in DiscardReason::ALL {
            match self.discarded.get(&reason) {
                Some(set) => set.encode(out),
                None => DeliverySet::new().encode(out),
            }
        }
        if has_gone {
            let mut bytes = Vec::with_capacity(self.gone_letters.serialized_size());
            let written = self.gone_letters.serialize_into(&mut bytes);
            written.expect("writing to memory can't fail");
            put_bytes(out, &bytes);
        }
    }

    /// Reads what `encode` wrote; a later version may have added reasons at the end.
    pub fn decode(reader: &mut Reader) -> Result<Self, WireError> {
        let before = reader.clone();
        let version = reader.u8("ledger's version")?;
        if version != LEDGER_V1 && version != LEDGER_V2 {
            return Err(before.error("ledger's version", Problem::OutOfRange));
        }
        let owed_bytes = reader.varint("bytes owed")?;
        let mut counts = Counts {
            planned: reader.varint("count of planned")?,
            delivered: reader.varint("count of delivered")?,
            dead_lettered: reader.varint("count of dead letters")?,
            discarded: [0; REASONS],
        };
        let before = reader.clone();
        let reasons: usize = reader.varint_as("discard reasons")?;
        if reasons > REASONS {
            return Err(before.error("discard reasons", Problem::OutOfRange));
        }
        for count in &mut counts.discarded[..reasons] {
            *count = reader.varint("count of discarded")?;
        }
        let marks = SinkMarks {
            sink: reader.varint("sink's mark")?,
            dead_letters: reader.varint("dead letters' mark")?,
        };
        let owed = read_set(reader, "set of owed")?;
        let dead_lettered = read_set(reader, "set of dead letters")?;
        let mut discarded = BTreeMap::new();
        for reason in &DiscardReason::ALL[..reasons] {
            let set = read_set(reader, "set of discarded")?;
            if !set.is_empty() {
                discarded.insert(*reason, set);
            }
        }
        let before = reader.clone();
        let gone_letters = match version {
            LEDGER_V2 => RoaringTreemap::deserialize_from(reader.bytes("gone letters")?)
                .map_err(|_| before.error("gone letters", Problem::OutOfRange))?,
            _ => RoaringTreemap::new(),
        };
        Ok(Self {
            gone_letters,
            owed,
            owed_bytes,
            dead_lettered,
            discarded,
            counts,
            marks,
        })
    }
}

fn read_set(reader: &mut Reader, what: &'static str) -> Result<DeliverySet, WireError> {
    let mut rest = reader.rest();
    let len = rest.len();
    let Some(set) = DeliverySet::decode(&mut rest) else {
        return Err(reader.error(what, Problem::OutOfRange));
    };
    reader.take(what, len - rest.len())?;
    Ok(set)
}
