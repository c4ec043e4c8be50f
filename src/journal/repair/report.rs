//! What a repair found, lost and changed: for people and, by serde, for programs.

use crate::log::salvage::Surveyed;
use roaring::RoaringTreemap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// There was nothing to repair, and nothing was changed.
    pub is_healthy: bool,
    /// False: this is what a repair would do.
    pub is_applied: bool,
    pub damage: Vec<String>,
    /// Gone, and owed or accepted since the checkpoint.
    pub lost: Vec<Span>,
    /// Records that are gone, but nothing was owed for them.
    pub settled_and_gone: Vec<Span>,
    /// Deliveries settled as discarded `lost`, by lane.
    pub discarded: BTreeMap<String, u64>,
    /// Deliveries that are owed after the repair, by lane.
    pub pending: BTreeMap<String, u64>,
    pub skipped_bytes: u64,
    /// Files that were rewritten or taken away.
    pub files: Vec<String>,
    /// The folder that has them as they were.
    pub kept_in: Option<String>,
    /// Ledgers and names were rebuilt from the log alone.
    pub checkpoint_is_lost: bool,
    /// Lanes whose names are lost with it.
    pub unnamed_lanes: Vec<String>,
    pub next_position: u64,
    /// Positions left out before that one, because they may have been given.
    pub left_out: u64,
    /// No checkpoint and no segment tells the journal's uuid: it has another one now, and streams
    /// take again what is owed.
    pub has_new_uuid: bool,
    /// Nothing at all could be read.
    pub is_new_journal: bool,
    pub notes: Vec<String>,
}

/// Positions from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Span {
    #[must_use]
    pub const fn range(self) -> RangeInclusive<u64> {
        self.first..=self.last
    }

    #[must_use]
    pub fn of(positions: &RoaringTreemap) -> Vec<Self> {
        let mut spans: Vec<Self> = Vec::new();
        for position in positions {
            match spans.last_mut() {
                Some(span) if span.last + 1 == position => span.last = position,
                _ => spans.push(Self {
                    first: position,
                    last: position,
                }),
            }
        }
        spans
    }

    fn count(spans: &[Self]) -> u64 {
        spans.iter().map(|s| s.last - s.first + 1).sum()
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{} to {}", self.first, self.last)
        }
    }
}

impl RepairReport {
    /// What is wrong with one file. `is_left_torn`: its torn end is what a crash leaves.
    pub(super) fn file(&mut self, file: &Surveyed, is_left_torn: bool) {
        let path = file.path.display();
        if let Some(source) = &file.header_damage {
            let found = if file.whole.is_empty() {
                "nothing in it could be read"
            } else {
                "its batches were found all the same"
            };
            self.damage.push(format!("{path}: {source}; {found}"));
        }
        for bad in &file.bad {
            self.skipped_bytes += bad.end - bad.start;
            self.damage.push(format!(
                "{path}: bytes {} to {} are damaged",
                bad.start, bad.end
            ));
        }
        if file.ends_early {
            self.damage
                .push(format!("{path}: batches are missing at its end"));
        }
        if let Some(torn) = &file.torn {
            let text = format!(
                "{path}: the last batch, at byte {}, isn't whole",
                torn.bytes.start
            );
            if is_left_torn {
                self.notes.push(format!("{text}: a crash leaves it so"));
            } else {
                self.skipped_bytes += torn.bytes.end - torn.bytes.start;
                self.damage.push(text);
            }
        }
    }
}

fn list(f: &mut Formatter<'_>, title: &str, items: &[impl Display]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}")?;
    items.iter().try_for_each(|item| writeln!(f, "  {item}"))
}

impl Display for RepairReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_healthy {
            writeln!(f, "The journal is healthy: nothing was changed.")?;
            return list(f, "Notes:", &self.notes);
        }
        let tense = if self.is_applied { "was" } else { "would be" };
        list(f, "Damage:", &self.damage)?;
        let count = Span::count(&self.lost);
        list(f, &format!("{count} positions lost:"), &self.lost)?;
        list(
            f,
            "Records gone for which nothing was owed, at positions:",
            &self.settled_and_gone,
        )?;
        for (lane, count) in &self.discarded {
            writeln!(f, "{lane}: {count} deliveries {tense} discarded as lost")?;
        }
        writeln!(f, "{} bytes can't be read", self.skipped_bytes)?;
        list(
            f,
            &format!("What {tense} rewritten or taken away:"),
            &self.files,
        )?;
        if let Some(folder) = &self.kept_in {
            writeln!(f, "These files are kept as they were in {folder}")?;
        }
        self.consequences(f)?;
        list(f, "Notes:", &self.notes)?;
        if !self.is_applied {
            writeln!(f, "Nothing was changed: add --accept-loss to do it.")?;
        }
        Ok(())
    }
}

impl RepairReport {
    fn consequences(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_new_journal {
            return writeln!(
                f,
                "Nothing could be read: a new journal begins, with another uuid and at position 0."
            );
        }
        if self.checkpoint_is_lost {
            writeln!(
                f,
                "The checkpoint is lost. Whatever is in the log without a settlement is owed again \
                 (streams don't take it twice, other destinations may); ids that were accepted \
                 before aren't recognised as duplicates any more; counts begin with what the log has."
            )?;
        }
        for (lane, count) in &self.pending {
            writeln!(f, "{lane}: {count} deliveries pending")?;
        }
        list(
            f,
            "Destinations whose names are lost; `causeway lane drop` takes what they owe:",
            &self.unnamed_lanes,
        )?;
        if self.has_new_uuid {
            writeln!(
                f,
                "The journal's uuid is lost, it gets a new one: streams take again what is owed."
            )?;
        }
        if self.left_out > 0 {
            writeln!(
                f,
                "The end of the log is lost: {} positions are left out, so that none is given twice.",
                self.left_out
            )?;
        }
        writeln!(f, "The next position is {}.", self.next_position)
    }
}
