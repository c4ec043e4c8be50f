//! What the log must hold, as plain lists.

use causeway::log::{Cursor, Known, LogReader, StoredRecord};
use causeway::message::Position;
use std::collections::BTreeSet;

/// A record: its position, if it has one, and its body.
pub type Rec = (Option<u64>, Vec<u8>);

#[derive(Clone, Debug)]
pub struct Written {
    pub first_position: u64,
    pub records: Vec<Rec>,
}

/// A batch that a recovery visited.
#[derive(Debug)]
pub struct Seen {
    pub number: u64,
    pub compacted: bool,
    pub known: Known,
    pub records: Vec<Rec>,
}

#[derive(Default)]
pub struct Model {
    /// Acknowledged, or reported by a recovery: they must survive everything. By batch number.
    batches: Vec<Written>,
    /// The one whose append failed: whole or absent after the next recovery.
    doubt: Option<Written>,
    /// Positions that were retired or compacted away: they may be gone.
    released: BTreeSet<u64>,
}

impl Written {
    pub fn end_position(&self) -> u64 {
        let positioned = self.records.iter().filter(|(p, _)| p.is_some()).count();
        self.first_position + positioned as u64
    }
}

impl Model {
    pub fn next_position(&self) -> u64 {
        self.batches.last().map_or(0, Written::end_position)
    }

    pub fn batch_count(&self) -> u64 {
        self.batches.len() as u64
    }

    pub fn acknowledge(&mut self, batch: Written) {
        self.batches.push(batch);
    }

    pub fn fail(&mut self, batch: Written) {
        self.doubt = Some(batch);
    }

    /// The last batch was damaged on the disk: it will be cut.
    pub fn forget_last(&mut self) {
        self.batches.pop();
    }

    pub fn release(&mut self, positions: impl IntoIterator<Item = u64>) {
        self.released.extend(positions);
    }

    pub fn is_released(&self, position: u64) -> bool {
        self.released.contains(&position)
    }

    pub fn body(&self, position: u64) -> Option<&[u8]> {
        let i = self
            .batches
            .partition_point(|b| b.end_position() <= position);
        let record = |(p, _): &&Rec| *p == Some(position);
        Some(&self.batches.get(i)?.records.iter().find(record)?.1)
    }

    /// Judges what a recovery from `from` reports. What it reports must survive from then on.
    pub fn check_recovery(
        &mut self,
        end: &Cursor,
        from: Option<&Cursor>,
        seen: &[Seen],
        is_complete: bool,
    ) -> Result<(), String> {
        let doubt = self.doubt.take();
        if end.batch == self.batch_count() + 1
            && let Some(batch) = doubt
        {
            self.batches.push(batch);
        }
        if (end.batch, end.position.0) != (self.batch_count(), self.next_position()) {
            return Err(format!(
                "it ends at batch {}, position {}; {} batches and {} positions were written",
                end.batch,
                end.position,
                self.batch_count(),
                self.next_position()
            ));
        }
        let mut expected = from.map(|c| c.batch);
        let mut before = None;
        for batch in seen {
            self.check_batch(batch)?;
            let is_known = from.is_some_and(|c| batch.number < c.batch);
            if is_known != (batch.known == Known::Covered) {
                return Err(format!(
                    "batch {} was shown as {:?}",
                    batch.number, batch.known
                ));
            }
            if before.is_some_and(|b| b >= batch.number && !batch.compacted) {
                return Err(format!("batch {} came out of order", batch.number));
            }
            before = Some(batch.number);
            if let Some(next) = expected.filter(|next| batch.number >= *next) {
                if batch.number != next {
                    return Err(format!("batch {} followed, not {next}", batch.number));
                }
                expected = Some(next + 1);
            }
        }
        if is_complete && expected.is_some_and(|next| next != end.batch) {
            return Err(format!(
                "of the batches up to {} it showed those before {expected:?}",
                end.batch
            ));
        }
        Ok(())
    }

    fn check_batch(&self, seen: &Seen) -> Result<(), String> {
        let number = seen.number;
        let written = usize::try_from(number)
            .ok()
            .and_then(|i| self.batches.get(i));
        let written = written.ok_or_else(|| format!("batch {number} was never written"))?;
        let same = if seen.compacted {
            let positioned = seen.records.iter().filter(|(p, _)| p.is_some());
            positioned.into_iter().all(|r| written.records.contains(r))
        } else {
            seen.records == written.records
        };
        if same {
            Ok(())
        } else {
            Err(format!("batch {number} has other records than written"))
        }
    }

    /// Judges a read of one position.
    pub fn check_read(&self, position: u64, got: Option<&StoredRecord>) -> Result<(), String> {
        let wanted = self.body(position);
        match (got, wanted) {
            (None, None) => Ok(()),
            (None, Some(_)) if self.is_released(position) => Ok(()),
            (Some(got), Some(wanted))
                if got.position == Position(position) && got.body == wanted =>
            {
                Ok(())
            }
            (None, Some(_)) => Err(format!("position {position} is lost")),
            (Some(_), None) => Err(format!("position {position} was never written")),
            (Some(_), Some(_)) => Err(format!("position {position} has another body")),
        }
    }

    /// Reads everything: all that must be there is there, in order, and nothing else.
    pub fn check_all(&self, reader: &LogReader) -> Result<(), String> {
        let records = reader
            .read_from(Position(0), usize::MAX, usize::MAX)
            .map_err(|e| format!("reading failed: {e}"))?;
        let mut next = 0;
        for record in &records {
            let position = record.position.0;
            if position < next {
                return Err(format!("position {position} came out of order"));
            }
            self.check_gap(next..position)?;
            self.check_read(position, Some(record))?;
            next = position + 1;
        }
        self.check_gap(next..self.next_position())
    }

    fn check_gap(&self, mut positions: std::ops::Range<u64>) -> Result<(), String> {
        positions
            .find(|p| !self.is_released(*p))
            .map_or(Ok(()), |p| Err(format!("position {p} is lost")))
    }
}
