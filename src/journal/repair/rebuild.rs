//! The journal's state from its checkpoint and a log with losses: as recovery does it, but what
//! contradicts itself because something is missing is passed over.

use super::report::Span;
use crate::journal::DOOR_LANE;
use crate::journal::LaneModes;
use crate::journal::catalog::{
    Catalog, CatalogEntry, CatalogError, LaneEntry, RouteEntry, memory_lane,
};
use crate::journal::idtable;
use crate::journal::ledger::LaneLedger;
use crate::journal::letters::GoneLetters;
use crate::journal::open::DOOR_NAME;
use crate::journal::records;
use crate::journal::settlements::SettlementGroup;
use crate::journal::snapshot::{ExactlyOnceId, Snapshot};
use crate::log::salvage::Seen;
use crate::log::{Cursor, Found, RECORD_HEADER_BYTES, RawRecord, Records};
use crate::message::{DeliveryId, LaneId, LogUuid, Ordinal, Position, RouteId, record};
use bytes::Bytes;
use roaring::RoaringTreemap;
use std::collections::{BTreeMap, BTreeSet};

/// Contradictions that are told one by one.
const MAX_PROBLEMS: usize = 100;

pub(super) struct Rebuild {
    from_batch: u64,
    lanes: BTreeMap<u32, LaneEntry>,
    routes: BTreeMap<u32, RouteEntry>,
    /// How many lanes and routes records name.
    named: (u32, u32),
    ledgers: Vec<LaneLedger>,
    /// Lanes that at_most_once targets name.
    in_memory: BTreeSet<u32>,
    exactly_once: Vec<ExactlyOnceId>,
    epochs: u32,
    secret: [u8; 16],
    running_ms: u64,
    /// Positions whose records can be read.
    pub present: RoaringTreemap,
    /// Positions whose records are whole, but say nothing that is understood.
    pub unreadable: RoaringTreemap,
    unreadable_segments: BTreeSet<u64>,
    pub problems: Vec<String>,
    /// Settlements and diverts of what nobody owes: a contradiction, unless something is lost.
    pub unowed: u64,
}

pub(super) struct Rebuilt {
    pub snapshot: Snapshot,
    pub unnamed_lanes: Vec<String>,
    pub unreadable_segments: BTreeSet<u64>,
}

/// Whether a record can be understood, by its bytes alone.
pub(super) fn check(raw: &RawRecord<'_>) -> Result<(), String> {
    let kind = raw.body.first().map_or(0, |b| b >> 4);
    let result = match (kind, raw.position) {
        (1, Some(_)) => record::decode(&Bytes::copy_from_slice(raw.body))
            .map(drop)
            .map_err(|e| e.to_string()),
        (2, None) => SettlementGroup::decode(raw.body)
            .map(drop)
            .map_err(|e| e.to_string()),
        (3, None) => CatalogEntry::decode(raw.body)
            .map(drop)
            .map_err(|e| e.to_string()),
        (4, None) => records::decode_divert(raw.body)
            .map(drop)
            .map_err(|e| e.to_string()),
        (5, None) => idtable::find(&raw.body[1..], Position(u64::MAX))
            .map(drop)
            .map_err(|e| e.to_string()),
        (6, None) => GoneLetters::decode(raw.body)
            .map(drop)
            .map_err(|e| e.to_string()),
        _ => Err(format!("a record of unknown kind {kind}")),
    };
    result.map_err(|e| match raw.position {
        Some(position) => format!("position {position}: {e}"),
        None => e,
    })
}

impl Rebuild {
    pub fn new(snapshot: Option<&Snapshot>, fresh_secret: [u8; 16]) -> Self {
        let lanes = snapshot.map_or(&[][..], |s| s.catalog.lanes());
        let routes = snapshot.map_or(&[][..], |s| s.catalog.routes());
        Self {
            from_batch: snapshot.map_or(0, |s| s.cursor.batch),
            lanes: lanes.iter().map(|l| (l.id.0, l.clone())).collect(),
            routes: routes.iter().map(|r| (r.id.0, r.clone())).collect(),
            // The door's own are in every journal.
            named: ((lanes.len() as u32).max(1), (routes.len() as u32).max(1)),
            ledgers: snapshot.map_or_else(Vec::new, |s| s.ledgers.clone()),
            in_memory: BTreeSet::new(),
            exactly_once: snapshot.map_or_else(Vec::new, |s| s.exactly_once.clone()),
            epochs: snapshot.map_or(0, |s| s.epochs),
            secret: snapshot.map_or(fresh_secret, |s| s.secret),
            running_ms: snapshot.map_or(0, |s| s.running_ms),
            present: RoaringTreemap::new(),
            unreadable: RoaringTreemap::new(),
            unreadable_segments: BTreeSet::new(),
            problems: Vec::new(),
            unowed: 0,
        }
    }

    pub fn batch(&mut self, segment: u64, found: &Found<'_>) {
        let is_new = found.header.batch >= self.from_batch;
        for raw in Records::new(&found.header, found.body).flatten() {
            if let Err(e) = check(&raw) {
                self.problem(format!("segment {segment}, byte {}: {e}", found.offset));
                self.unreadable_segments.insert(segment);
                self.unreadable.extend(raw.position.map(|p| p.0));
                // Its front may still tell who owes it: that is then lost by the book.
                if let (true, Some(position)) = (is_new, raw.position) {
                    self.owe(position, raw.body);
                }
                continue;
            }
            self.present.extend(raw.position.map(|p| p.0));
            if is_new {
                self.record(&raw);
            }
        }
    }

    fn problem(&mut self, text: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(text);
        }
    }

    fn record(&mut self, raw: &RawRecord<'_>) {
        if let Some(position) = raw.position {
            return self.owe(position, raw.body);
        }
        match raw.body[0] >> 4 {
            2 => self.settle(raw.body),
            3 => match CatalogEntry::decode(raw.body) {
                Ok(CatalogEntry::Lane(lane)) => {
                    self.named.0 = self.named.0.max(lane.id.0 + 1);
                    self.lanes.insert(lane.id.0, lane);
                }
                Ok(CatalogEntry::Route(route)) => {
                    self.named.1 = self.named.1.max(route.id.0 + 1);
                    self.routes.insert(route.id.0, route);
                }
                Err(_) => {}
            },
            4 => self.divert(raw.body),
            6 => {
                if let Ok(gone) = GoneLetters::decode(raw.body) {
                    self.ledger(gone.lane).note_gone(&gone, 0);
                }
            }
            _ => {}
        }
    }

    fn owe(&mut self, position: Position, body: &[u8]) {
        let Ok(peek) = record::peek(body) else {
            return;
        };
        for (ordinal, target) in peek.targets.iter().enumerate() {
            self.named.1 = self.named.1.max(target.route.0 + 1);
            if target.is_in_memory() {
                self.ledger(target.lane);
                self.in_memory.insert(target.lane.0);
                continue;
            }
            let ordinal = Ordinal(ordinal as u16);
            let at = DeliveryId { position, ordinal };
            if let Err(e) = self.ledger(target.lane).owe(at, 0) {
                self.problem(e.to_string());
            }
        }
        if let (true, Some(print)) = (peek.is_exactly_once(), peek.fingerprint) {
            self.exactly_once.push(ExactlyOnceId {
                key: print.key,
                content: print.content,
                position,
                started: None,
                targets: peek.targets.iter().map(|t| (t.route, t.lane)).collect(),
            });
        }
    }

    fn settle(&mut self, body: &[u8]) {
        if let Ok(group) = SettlementGroup::decode(body) {
            let ledger = self.ledger(group.lane);
            let settled: u64 = group.runs.iter().map(|run| ledger.settle_owed(run)).sum();
            self.unowed += group.len() - settled;
        }
    }

    fn divert(&mut self, body: &[u8]) {
        let Ok(at) = records::decode_divert(body) else {
            return;
        };
        if !self.ledgers.iter_mut().any(|ledger| ledger.give_up(at, 0)) {
            self.unowed += 1;
        } else if let Err(e) = self.ledger(DOOR_LANE).owe(at, 0) {
            self.problem(e.to_string());
        }
    }

    fn ledger(&mut self, lane: LaneId) -> &mut LaneLedger {
        let needed = lane.0 as usize + 1;
        self.named.0 = self.named.0.max(lane.0 + 1);
        if self.ledgers.len() < needed {
            self.ledgers.resize_with(needed, LaneLedger::default);
        }
        &mut self.ledgers[lane.0 as usize]
    }

    pub fn owed_positions(&self) -> RoaringTreemap {
        let mut owed = RoaringTreemap::new();
        for ledger in &self.ledgers {
            ledger.owed().collect_positions(0..=u64::MAX, &mut owed);
        }
        owed
    }

    /// What is owed of these is settled as lost; the deliveries by lane.
    pub fn lose(&mut self, lost: &[Span]) -> BTreeMap<String, u64> {
        let mut discarded = BTreeMap::new();
        for number in 0..self.ledgers.len() {
            let ledger = &mut self.ledgers[number];
            let count: u64 = lost.iter().map(|span| ledger.lose(span.range(), 0)).sum();
            if count > 0 {
                discarded.insert(self.lane_entry(number as u32).name.to_string(), count);
            }
        }
        discarded
    }

    pub fn no_charges(&self) -> Vec<u64> {
        vec![0; self.ledgers.len()]
    }

    pub fn charge(&self, found: &Found<'_>, charges: &mut [u64]) {
        for raw in Records::new(&found.header, found.body).flatten() {
            let Some(position) = raw.position else {
                continue;
            };
            let size = (raw.body.len() + RECORD_HEADER_BYTES) as u64;
            for (ledger, charge) in self.ledgers.iter().zip(&mut *charges) {
                *charge += ledger.owed().count_in(position.0..=position.0) * size;
            }
        }
    }

    fn lane_entry(&self, number: u32) -> LaneEntry {
        self.lanes
            .get(&number)
            .cloned()
            .unwrap_or_else(|| LaneEntry {
                id: LaneId(number),
                name: match self.in_memory.contains(&number) {
                    true => memory_lane(&placeholder(number)).into(),
                    false => placeholder(number).into(),
                },
                modes: LaneModes::default(),
                sink: None,
            })
    }

    fn route_entry(&self, number: u32) -> RouteEntry {
        let known = self.routes.get(&number).cloned();
        known.unwrap_or_else(|| RouteEntry {
            id: RouteId(number),
            name: placeholder(number).into(),
        })
    }

    /// Names whose entries are lost are replaced: numbers in records must keep their meaning.
    fn catalog(&self) -> Result<Catalog, CatalogError> {
        let mut catalog = Catalog::default();
        for number in 0..self.named.0 {
            catalog.apply(CatalogEntry::Lane(self.lane_entry(number)))?;
        }
        for number in 0..self.named.1 {
            catalog.apply(CatalogEntry::Route(self.route_entry(number)))?;
        }
        Ok(catalog)
    }

    /// The checkpoint of the repaired journal.
    pub fn finish(
        mut self,
        charges: &[u64],
        uuid: LogUuid,
        cursor: Cursor,
        seen: Seen,
    ) -> Result<Rebuilt, CatalogError> {
        let catalog = self.catalog()?;
        self.ledgers
            .resize_with(catalog.lanes().len(), LaneLedger::default);
        for (i, ledger) in self.ledgers.iter_mut().enumerate() {
            ledger.recharge(charges.get(i).copied().unwrap_or(0));
            ledger.forget_marks();
        }
        let unnamed = (1..self.named.0).filter(|n| !self.lanes.contains_key(n));
        let unnamed_lanes = unnamed.map(placeholder).collect();
        let seen_epochs = (seen.epoch >> 32) as u32;
        let snapshot = Snapshot {
            uuid,
            epochs: self.epochs.max(seen_epochs),
            secret: self.secret,
            cursor,
            running_ms: self.running_ms.max(cursor.running_ms),
            catalog,
            ledgers: self.ledgers,
            exactly_once: self.exactly_once,
        };
        Ok(Rebuilt {
            snapshot,
            unnamed_lanes,
            unreadable_segments: self.unreadable_segments,
        })
    }
}

impl Rebuilt {
    pub fn pending(&self) -> BTreeMap<String, u64> {
        let lanes = self.snapshot.catalog.lanes().iter();
        let pending = lanes.zip(&self.snapshot.ledgers);
        pending
            .filter(|(lane, _)| !lane.is_memory())
            .map(|(lane, ledger)| (lane.name.to_string(), ledger.pending()))
            .collect()
    }
}

/// No name that a configuration can use.
fn placeholder(number: u32) -> String {
    match number {
        0 => DOOR_NAME.to_owned(),
        _ => format!("$lost-{number}"),
    }
}
