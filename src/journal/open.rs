//! Opening the journal: checkpoint, ids of the window, and the log's tail.

use super::catalog::{Catalog, CatalogEntry};
use super::core::{Journal, Parts};
use super::fingerprint::Hasher;
use super::idlog::{IdLog, SealedIds, SealedQueue};
use super::idtable::{self, IdEntry};
use super::keeper::{Keeper, KeeperParts};
use super::ledger::LaneLedger;
use super::records;
use super::settlements::SettlementGroup;
use super::snapshot::{ExactlyOnceId, Snapshot};
use super::state::Shared;
use super::window::{Entry, Running, Window, WindowLimits};
use super::{DOOR_LANE, DOOR_ROUTE, JournalError};
use crate::clock::Clock;
use crate::faults::Faults;
use crate::log::disk::Disk;
use crate::log::{
    self, Checkpoints, Cut, Found, Known, LogKind, OpenOptions, RawRecord, Records, Segment, Sizes,
};
use crate::message::{DeliveryId, Epoch, Ordinal, Outcome, Position, Settlement, record};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Names no configuration can use: what the door dead-letters by itself.
pub(super) const DOOR_NAME: &str = "$door";

pub struct JournalOptions {
    pub dir: PathBuf,
    pub sizes: Sizes,
    pub max_bytes: u64,
    /// Publishes are refused while less than this is free on the disk.
    pub keep_free_bytes: u64,
    pub window: WindowLimits,
    pub clock: Clock,
    pub seed: u64,
    pub faults: Faults,
}

/// What opening found, for the log and for people.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub is_new: bool,
    pub cut: Option<Cut>,
    pub next_position: u64,
    pub replayed: u64,
    pub ids: usize,
    pub pending: u64,
}

pub struct Opened {
    pub journal: Journal,
    pub keeper: Keeper,
    pub report: Report,
}

pub fn open(disk: Arc<dyn Disk>, options: JournalOptions) -> Result<Opened, JournalError> {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    disk.create_dir_all(&options.dir)
        .map_err(JournalError::io(&options.dir))?;
    disk.sync_dir(&log::disk::parent(&options.dir))
        .map_err(JournalError::io(&options.dir))?;
    let (checkpoints, content) = Checkpoints::open(&*disk, &options.dir)?;
    let snapshot = match content {
        Some(bytes) => {
            Some(
                Snapshot::decode(&bytes).map_err(|source| JournalError::Checkpoint {
                    dir: options.dir.clone(),
                    detail: source.to_string(),
                })?,
            )
        }
        None => None,
    };
    let mut replay = Replay::new(snapshot.as_ref(), &mut rng);
    let cursor = snapshot.as_ref().map(|s| s.cursor);
    let log_options = OpenOptions {
        dir: options.dir.clone(),
        kind: LogKind::Journal,
        sizes: options.sizes,
        from: cursor,
        skip_indexed: false,
        uuid: snapshot.as_ref().map(|s| s.uuid),
        seed: rng.u64(..),
    };
    let recovered = log::open(
        Arc::clone(&disk),
        &log_options,
        &mut |segment, found, known| {
            replay.batch(segment, found, known);
        },
    )?;
    if let Some(problem) = replay.problem.take() {
        return Err(JournalError::Record {
            dir: options.dir,
            detail: problem,
        });
    }
    if snapshot.is_none() && recovered.log.end().batch > 0 {
        let detail = "it is missing, or both copies are damaged".to_owned();
        return Err(JournalError::Checkpoint {
            dir: options.dir,
            detail,
        });
    }
    let epochs = snapshot.as_ref().map_or(0, |s| s.epochs) + 1;
    let epoch = Epoch(u64::from(epochs) << 32 | u64::from(rng.u32(..)));
    assemble(
        disk,
        options,
        recovered,
        replay,
        epoch,
        checkpoints,
        snapshot,
    )
}

fn assemble(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    recovered: log::Recovered,
    replay: Replay,
    epoch: Epoch,
    checkpoints: Checkpoints,
    snapshot: Option<Snapshot>,
) -> Result<Opened, JournalError> {
    let log = recovered.log;
    let end = log.end();
    let Replay {
        catalog,
        ledgers,
        mut ids,
        hasher_secret,
        replayed,
        tail_exactly_once,
        ..
    } = replay;
    let is_new = snapshot.is_none();
    let shared = Arc::new(Shared::new(
        log.reader(),
        epoch,
        Hasher::new(hasher_secret),
        catalog,
    ));
    add_lanes(&shared, ledgers);
    let running_ms = end
        .running_ms
        .max(snapshot.as_ref().map_or(0, |s| s.running_ms));
    let mut restore = Restore {
        window: Window::new(options.window, options.faults),
        shared: &shared,
        running_ms,
    };
    restore.exactly_once(snapshot.as_ref(), &tail_exactly_once);
    let segments = shared.reader.shared().segments();
    let sealed = Arc::new(SealedQueue::default());
    let mut active_ids = Vec::new();
    let active_seq = log.active().header.last_seq;
    for segment in segments {
        let seq = segment.header.last_seq;
        if seq == active_seq {
            active_ids = restore.local(ids.remove(&seq).unwrap_or_default());
            restore.normal(&active_ids);
        } else if let Some(found) = ids.remove(&seq) {
            let found = restore.local(found);
            restore.normal(&found);
            sealed.push(SealedIds {
                segment,
                ids: found,
            });
        } else if segment.with_extent(|e| e.running_ms) + restore.window_ms() >= running_ms {
            let found = super::lookup::ids_of(&*disk, &shared, &segment)
                .map_err(JournalError::io(&segment.path))?;
            restore.normal(&found);
        }
    }
    for segment in recovered.unindexed {
        let found = super::lookup::ids_of(&*disk, &shared, &segment)
            .map_err(JournalError::io(&segment.path))?;
        sealed.push(SealedIds {
            segment,
            ids: found,
        });
    }
    let window = restore.window;
    let pending = shared.lanes().iter().map(|l| l.ledger().pending()).sum();
    let report = Report {
        is_new,
        cut: recovered.cut,
        next_position: end.position.0,
        replayed,
        ids: window.len(),
        pending,
    };
    let dir = options.dir;
    let mut keeper = Keeper::new(KeeperParts {
        disk,
        shared: Arc::clone(&shared),
        sealed: Arc::clone(&sealed),
        checkpoints,
        max_bytes: options.max_bytes,
        keep_free_bytes: options.keep_free_bytes,
        reserve_segments: options.sizes.reserve_segments,
        clock: options.clock.clone(),
        covered: snapshot.as_ref().map(|s| s.cursor),
    });
    let mut journal = Journal::new(Parts {
        log,
        window,
        ids: IdLog::new(active_ids, sealed),
        shared,
        clock: options.clock,
        running_ms,
        wall_ms: end.wall_ms,
        faults: options.faults,
        epochs: (epoch.0 >> 32) as u32,
        secret: hasher_secret,
    });
    let door = (
        journal.intern_lane(DOOR_NAME),
        journal.intern_route(DOOR_NAME),
    );
    assert_eq!(
        door,
        (DOOR_LANE, DOOR_ROUTE),
        "the door's names come first in every journal"
    );
    // From here on a restart begins at this point, and the epoch is taken.
    keeper.checkpoint(&journal.checkpoint_image());
    if let (true, Some(problem)) = (is_new, keeper.problem()) {
        let detail = problem.to_owned();
        return Err(JournalError::Checkpoint { dir, detail });
    }
    Ok(Opened {
        journal,
        keeper,
        report,
    })
}

fn add_lanes(shared: &Shared, mut ledgers: Vec<LaneLedger>) {
    let names: Vec<String> =
        shared.read_catalog(|c| c.lanes().iter().map(|l| l.name.to_string()).collect());
    ledgers.resize_with(names.len(), LaneLedger::default);
    for (name, ledger) in names.iter().zip(ledgers) {
        shared.add_lane(name, ledger);
    }
}

/// Fills the window, oldest first.
struct Restore<'a> {
    window: Window,
    shared: &'a Shared,
    running_ms: u64,
}

impl Restore<'_> {
    fn window_ms(&self) -> u64 {
        self.window.limits().window.as_millis() as u64
    }

    /// Interns the shapes of entries that replay kept with their targets.
    fn local(&self, found: Vec<ReplayedId>) -> Vec<IdEntry> {
        let intern = |found: ReplayedId| {
            let shape = self
                .shared
                .with_shapes(|shapes| shapes.intern(found.targets.iter().copied()));
            IdEntry {
                shape,
                ..found.entry
            }
        };
        found.into_iter().map(intern).collect()
    }

    fn normal(&mut self, ids: &[IdEntry]) {
        for id in ids.iter().filter(|id| !id.exactly_once) {
            let entry = entry_of(id, id.shape);
            self.window.restore(
                entry,
                Some(Running(id.running_ms)),
                Running(self.running_ms),
            );
        }
    }

    /// From the checkpoint, and what was accepted after it. One that is settled by now starts its
    /// window now: later than it did, never earlier.
    fn exactly_once(&mut self, snapshot: Option<&Snapshot>, tail: &[ReplayedId]) {
        let now = Running(self.running_ms);
        for saved in snapshot.map_or(&[][..], |s| &s.exactly_once) {
            let shape = self
                .shared
                .with_shapes(|shapes| shapes.intern(saved.targets.iter().copied()));
            let ExactlyOnceId {
                key,
                content,
                position,
                ..
            } = *saved;
            let entry = Entry {
                key,
                content,
                position,
                shape,
                exactly_once: true,
            };
            let started = saved
                .started
                .or_else(|| (!self.is_owed(position)).then_some(now));
            self.window.restore(entry, started, now);
        }
        for found in tail {
            let shape = self
                .shared
                .with_shapes(|shapes| shapes.intern(found.targets.iter().copied()));
            let started = (!self.is_owed(found.entry.position)).then_some(now);
            self.window
                .restore(entry_of(&found.entry, shape), started, now);
        }
    }

    fn is_owed(&self, position: Position) -> bool {
        self.shared
            .lanes()
            .iter()
            .any(|l| l.ledger().owed().contains_position(position))
    }
}

const fn entry_of(id: &IdEntry, shape: u32) -> Entry {
    let IdEntry {
        key,
        content,
        position,
        exactly_once,
        ..
    } = *id;
    Entry {
        key,
        content,
        position,
        shape,
        exactly_once,
    }
}

/// An id with its targets, before shapes are interned.
#[derive(Clone)]
struct ReplayedId {
    entry: IdEntry,
    targets: idtable::Targets,
}

/// State rebuilt from the checkpoint and the batches after it.
struct Replay {
    catalog: Catalog,
    ledgers: Vec<LaneLedger>,
    /// By the number of the segment that they are in.
    ids: BTreeMap<u64, Vec<ReplayedId>>,
    tail_exactly_once: Vec<ReplayedId>,
    hasher_secret: [u8; 16],
    replayed: u64,
    last_size_bytes: u32,
    /// A valid batch with a record that can't be read: a newer version, or a bug.
    problem: Option<String>,
}

impl Replay {
    fn new(snapshot: Option<&Snapshot>, rng: &mut fastrand::Rng) -> Self {
        let fresh_secret = rng.u128(..).to_le_bytes();
        Self {
            catalog: snapshot.map_or_else(Catalog::default, |s| s.catalog.clone()),
            ledgers: snapshot.map_or_else(Vec::new, |s| s.ledgers.clone()),
            ids: BTreeMap::new(),
            tail_exactly_once: Vec::new(),
            hasher_secret: snapshot.map_or(fresh_secret, |s| s.secret),
            replayed: 0,
            last_size_bytes: 0,
            problem: None,
        }
    }

    fn batch(&mut self, segment: &Segment, found: &Found<'_>, known: Known) {
        self.ids.entry(segment.header.last_seq).or_default();
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

/// What a sink holds already counts as settled: before its lane starts.
pub fn settlements_for(
    shared: &Shared,
    lane: crate::message::LaneId,
    held: &[DeliveryId],
    outcome: Outcome,
) -> Result<Vec<Settlement>, crate::log::ReadError> {
    let Some(state) = shared.lane(lane) else {
        return Ok(Vec::new());
    };
    let mut owed: Vec<DeliveryId> = {
        let ledger = state.ledger();
        held.iter()
            .copied()
            .filter(|at| ledger.owed().contains(*at))
            .collect()
    };
    owed.sort_unstable();
    owed.dedup();
    let mut settlements = Vec::with_capacity(owed.len());
    for at in owed {
        let record = shared.reader.read(at.position)?;
        let body = record.map_or(0, |r| r.body.len() + crate::log::RECORD_HEADER_BYTES);
        settlements.push(Settlement {
            lane,
            at,
            outcome,
            size_bytes: body as u32,
        });
    }
    Ok(settlements)
}
