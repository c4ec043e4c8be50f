//! What the journal's log says after the checkpoint: names, what is owed, what is settled, ids.

use super::DOOR_LANE;
use super::catalog::{Catalog, CatalogEntry};
use super::idtable::{IdEntry, Targets};
use super::ledger::LaneLedger;
use super::letters::GoneLetters;
use super::records;
use super::settlements::SettlementGroup;
use super::snapshot::Snapshot;
use super::times::AcceptTimes;
use crate::log::{Found, Known, RawRecord, Records, Segment};
use crate::message::{DeliveryId, Ordinal, Position, record};
use std::collections::BTreeMap;

/// An id with its targets, before shapes are interned.
#[derive(Clone)]
pub(super) struct ReplayedId {
    pub entry: IdEntry,
    pub targets: Targets,
}

/// State rebuilt from the checkpoint and the batches after it.
pub(super) struct Replay {
    pub catalog: Catalog,
    pub ledgers: Vec<LaneLedger>,
    /// By the number of the segment that they are in.
    pub ids: BTreeMap<u64, Vec<ReplayedId>>,
    pub tail_exactly_once: Vec<ReplayedId>,
    pub hasher_secret: [u8; 16],
    pub replayed: u64,
    pub times: AcceptTimes,
    last_size_bytes: u32,
    /// Of the last batch: segment, and its first id there.
    last_ids: (u64, usize),
    /// A valid batch with a record that can't be read: a newer version, or a bug.
    pub problem: Option<String>,
}

impl Replay {
    pub fn new(snapshot: Option<&Snapshot>, rng: &mut fastrand::Rng) -> Self {
        let fresh_secret = rng.u128(..).to_le_bytes();
        Self {
            catalog: snapshot.map_or_else(Catalog::default, |s| s.catalog.clone()),
            ledgers: snapshot.map_or_else(Vec::new, |s| s.ledgers.clone()),
            ids: BTreeMap::new(),
            tail_exactly_once: Vec::new(),
            hasher_secret: snapshot.map_or(fresh_secret, |s| s.secret),
            replayed: 0,
            times: AcceptTimes::default(),
            last_size_bytes: 0,
            last_ids: (0, 0),
            problem: None,
        }
    }

    /// Takes in the next batch.
    pub fn batch(&mut self, segment: &Segment, found: &Found<'_>, known: Known) {
        self.start_windows(found.header.running_ms);
        if found.header.positioned > 0 {
            let header = &found.header;
            self.times.note(header.first_position, header.wall);
        }
        let seq = segment.header.last_seq;
        self.last_ids = (seq, self.ids.entry(seq).or_default().len());
        for record in Records::new(&found.header, found.body).flatten() {
            if let Err(e) = self.record(segment, found, known, record) {
                self.problem.get_or_insert_with(|| {
                    format!(
                        "{}: batch at byte {}: {e}",
                        segment.path.display(),
                        found.offset
                    )
                });
            }
        }
    }

    /// Ids of the last batch so far are durable since some time before the next one was written, or
    /// before the time at which the running clock goes on.
    pub fn start_windows(&mut self, next_batch_ms: u64) {
        let (segment, first) = self.last_ids;
        let ids = self
            .ids
            .get_mut(&segment)
            .map_or(&mut [][..], |ids| &mut ids[first..]);
        for id in ids {
            id.entry.running_ms = next_batch_ms;
        }
    }

    fn record(
        &mut self,
        segment: &Segment,
        found: &Found<'_>,
        known: Known,
        raw: RawRecord<'_>,
    ) -> Result<(), String> {
        let kind = raw.body.first().map_or(0, |b| b >> 4);
        match (kind, raw.position) {
            (1, Some(position)) => self.envelope(segment, found, known, position, raw.body),
            _ if known == Known::Covered => Ok(()),
            (2, None) => self.settlements(raw.body),
            (3, None) => self.name(raw.body),
            (4, None) => self.divert(raw.body),
            (6, None) => self.letters(raw.body),
            (kind, _) => Err(format!("a record of unknown kind {kind}")),
        }
    }

    fn envelope(
        &mut self,
        segment: &Segment,
        found: &Found<'_>,
        known: Known,
        position: Position,
        body: &[u8],
    ) -> Result<(), String> {
        let peek = record::peek(body).map_err(|e| e.to_string())?;
        if let Some(print) = peek.fingerprint {
            let entry = IdEntry {
                key: print.key,
                content: print.content,
                position,
                running_ms: found.header.running_ms,
                shape: 0,
                exactly_once: peek.is_exactly_once(),
            };
            let targets = peek.targets.iter().map(|t| (t.route, t.lane)).collect();
            let id = ReplayedId { entry, targets };
            if known == Known::New && entry.exactly_once {
                self.tail_exactly_once.push(id.clone());
            }
            self.ids
                .entry(segment.header.last_seq)
                .or_default()
                .push(id);
        }
        if known == Known::Covered {
            return Ok(());
        }
        self.replayed += 1;
        let size_bytes = (crate::log::RECORD_HEADER_BYTES + body.len()) as u32;
        self.last_size_bytes = size_bytes;
        for (ordinal, target) in peek.targets.iter().enumerate() {
            if target.is_in_memory() {
                continue;
            }
            let at = DeliveryId {
                position,
                ordinal: Ordinal(ordinal as u16),
            };
            self.ledger(target.lane.0)
                .owe(at, size_bytes.into())
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn name(&mut self, body: &[u8]) -> Result<(), String> {
        let entry = CatalogEntry::decode(body).map_err(|e| e.to_string())?;
        self.catalog.apply(entry).map_err(|e| e.to_string())
    }

    fn settlements(&mut self, body: &[u8]) -> Result<(), String> {
        let group = SettlementGroup::decode(body).map_err(|e| e.to_string())?;
        let ledger = self.ledger(group.lane.0);
        ledger.apply(&group).map_err(|e| e.to_string())
    }

    fn letters(&mut self, body: &[u8]) -> Result<(), String> {
        let gone = GoneLetters::decode(body).map_err(|e| e.to_string())?;
        self.ledger(gone.lane.0).note_gone(&gone, 0);
        Ok(())
    }

    fn divert(&mut self, body: &[u8]) -> Result<(), String> {
        let at = records::decode_divert(body).map_err(|e| e.to_string())?;
        // It stands right behind its envelope, whose size is the charge.
        let size_bytes = self.last_size_bytes;
        if !self
            .ledgers
            .iter_mut()
            .any(|ledger| ledger.give_up(at, size_bytes.into()))
        {
            return Err(format!("{at} is diverted, but nobody owes it"));
        }
        self.ledger(DOOR_LANE.0)
            .owe(at, size_bytes.into())
            .map_err(|e| e.to_string())
    }

    fn ledger(&mut self, lane: u32) -> &mut LaneLedger {
        let needed = lane as usize + 1;
        if self.ledgers.len() < needed {
            self.ledgers.resize_with(needed, LaneLedger::default);
        }
        &mut self.ledgers[lane as usize]
    }
}
