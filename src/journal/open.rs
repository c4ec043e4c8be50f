//! Opening the journal: checkpoint, ids of the window, and the log's tail.

use super::core::{Journal, Parts};
use super::fingerprint::Hasher;
use super::free_space::FreeSpace;
use super::idlog::{IdLog, SealedQueue};
use super::keeper::{Keeper, KeeperParts};
use super::ledger::LaneLedger;
use super::replay::Replay;
use super::restore::{Found, Restore};
use super::snapshot::Snapshot;
use super::state::Shared;
use super::times::AcceptTimes;
use super::window::WindowLimits;
use super::{DOOR_LANE, DOOR_ROUTE, JournalError, SettleGroup};
use crate::clock::{Clock, Wall};
use crate::faults::Faults;
use crate::log::disk::Disk;
use crate::log::{self, Checkpoints, Cut, LogKind, OpenOptions, Sizes};
use crate::message::{DeliveryId, Epoch, Outcome, Position, Settlement};
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names no configuration can use: what the door dead-letters by itself.
pub const DOOR_NAME: &str = "$door";

pub struct JournalOptions {
    pub dir: PathBuf,
    pub sizes: Sizes,
    pub max_bytes: u64,
    /// Publishes are refused while less than this is free on the disk, or less than `FreeSpace` says.
    pub keep_free_bytes: u64,
    pub window: WindowLimits,
    pub clock: Clock,
    pub seed: u64,
    pub faults: Faults,
    /// Counts the log's records as they are read, for whoever waits for that.
    pub progress: Arc<AtomicU64>,
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
    let (checkpoints, snapshot) = read_checkpoint(&*disk, &options.dir)?;
    let mut replay = Replay::new(snapshot.as_ref(), &mut rng);
    let start = Start {
        disk,
        options,
        checkpoints,
        snapshot,
    };
    let recovered = start.read_log(&mut replay, rng.u64(..))?;
    let epoch = start.next_epoch(rng.u32(..));
    start.assemble(recovered, replay, epoch)
}

/// What a start begins with.
struct Start {
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    checkpoints: Checkpoints,
    snapshot: Option<Snapshot>,
}

/// The newest of the two checkpoints, if there is any.
fn read_checkpoint(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<(Checkpoints, Option<Snapshot>), JournalError> {
    disk.create_dir_all(dir).map_err(JournalError::io(dir))?;
    disk.sync_dir(&log::disk::parent(dir))
        .map_err(JournalError::io(dir))?;
    let (checkpoints, content) = Checkpoints::open(disk, dir)?;
    let snapshot = content.map(|bytes| Snapshot::read(&bytes, dir));
    Ok((checkpoints, snapshot.transpose()?))
}

impl Start {
    /// Replays the log's tail on what the checkpoint knows.
    fn read_log(&self, replay: &mut Replay, seed: u64) -> Result<log::Recovered, JournalError> {
        let snapshot = self.snapshot.as_ref();
        let log_options = OpenOptions {
            dir: self.options.dir.clone(),
            kind: LogKind::Journal,
            sizes: self.options.sizes,
            from: snapshot.map(|s| s.cursor),
            skip_indexed: false,
            uuid: snapshot.map(|s| s.uuid),
            seed,
        };
        let recovered = log::open(
            Arc::clone(&self.disk),
            &log_options,
            &mut |segment, found, known| {
                replay.batch(segment, found, known);
                let count = u64::from(found.header.count);
                self.options.progress.fetch_add(count, Ordering::Relaxed);
            },
        )?;
        if let Some(detail) = replay.problem.take() {
            let dir = self.options.dir.clone();
            return Err(JournalError::Record { dir, detail });
        }
        if snapshot.is_none() && recovered.log.end().batch > 0 {
            return Err(JournalError::Checkpoint {
                dir: self.options.dir.clone(),
                detail: "it is missing, or both copies are damaged".to_owned(),
            });
        }
        Ok(recovered)
    }

    /// The number of this start, and what it has drawn: a copy of the journal draws another.
    fn next_epoch(&self, drawn: u32) -> Epoch {
        let epochs = self.snapshot.as_ref().map_or(0, |s| s.epochs) + 1;
        Epoch(u64::from(epochs) << 32 | u64::from(drawn))
    }

    /// Makes the two halves from what was read: the journal, and the keeper with a new checkpoint.
    fn assemble(
        self,
        recovered: log::Recovered,
        mut replay: Replay,
        epoch: Epoch,
    ) -> Result<Opened, JournalError> {
        let log = recovered.log;
        let end = log.end();
        let known_ms = self.snapshot.as_ref().map_or(0, |s| s.running_ms);
        let running_ms = end.running_ms.max(known_ms);
        replay.start_windows(running_ms);
        let secret = replay.hasher_secret;
        let hasher = Hasher::new(secret);
        let shared = Arc::new(Shared::new(log.reader(), epoch, hasher, replay.catalog));
        add_lanes(&shared, replay.ledgers);
        note_times(&shared, replay.times);
        let found = Found {
            ids: replay.ids,
            tail_exactly_once: replay.tail_exactly_once,
            unindexed: recovered.unindexed,
            active_seq: log.active().header.last_seq,
        };
        let sealed = Arc::new(SealedQueue::default());
        let (window, active_ids) = Restore::new(&*self.disk, &shared, &self.options, running_ms)
            .fill(self.snapshot.as_ref(), found, &sealed)?;
        let report = Report {
            is_new: self.snapshot.is_none(),
            cut: recovered.cut,
            next_position: end.position.0,
            replayed: replay.replayed,
            ids: window.len(),
            pending: shared.lanes().iter().map(|l| l.ledger().pending()).sum(),
        };
        let mut journal = Journal::new(Parts {
            log,
            window,
            ids: IdLog::new(active_ids, Arc::clone(&sealed)),
            shared: Arc::clone(&shared),
            clock: self.options.clock.clone(),
            running_ms,
            wall_ms: end.wall_ms,
            faults: self.options.faults,
            epochs: (epoch.0 >> 32) as u32,
            secret,
        });
        intern_door(&mut journal);
        let keeper = self.first_checkpoint(shared, sealed, &journal)?;
        Ok(Opened {
            journal,
            keeper,
            report,
        })
    }

    /// From here on a restart begins at this point, and the epoch is taken. An elder checkpoint
    /// will do where none can be written.
    fn first_checkpoint(
        self,
        shared: Arc<Shared>,
        sealed: Arc<SealedQueue>,
        journal: &Journal,
    ) -> Result<Keeper, JournalError> {
        let (is_new, dir) = (self.snapshot.is_none(), self.options.dir.clone());
        let mut keeper = self.into_keeper(shared, sealed);
        keeper.checkpoint(&journal.checkpoint_image());
        match keeper.problem() {
            Some(problem) if is_new => Err(JournalError::FirstCheckpoint {
                dir,
                detail: problem.to_owned(),
            }),
            _ => Ok(keeper),
        }
    }

    fn into_keeper(self, shared: Arc<Shared>, sealed: Arc<SealedQueue>) -> Keeper {
        let options = self.options;
        shared.max_bytes.store(options.max_bytes, Ordering::Relaxed);
        let snapshot = self.snapshot.as_ref();
        Keeper::new(KeeperParts {
            disk: self.disk,
            shared,
            sealed,
            checkpoints: self.checkpoints,
            free_space: FreeSpace::new(options.sizes.min_segment_bytes, options.keep_free_bytes),
            sizes: options.sizes,
            clock: options.clock,
            covered: snapshot.map(|s| s.cursor),
            exactly_once: snapshot
                .map(Snapshot::exactly_once_positions)
                .unwrap_or_default(),
        })
    }
}

fn intern_door(journal: &mut Journal) {
    let door = (
        journal.intern_lane(DOOR_NAME),
        journal.intern_route(DOOR_NAME),
    );
    assert_eq!(
        door,
        (DOOR_LANE, DOOR_ROUTE),
        "the door's names come first in every journal"
    );
}

fn add_lanes(shared: &Shared, mut ledgers: Vec<LaneLedger>) {
    let names: Vec<String> =
        shared.read_catalog(|c| c.lanes().iter().map(|l| l.name.to_string()).collect());
    ledgers.resize_with(names.len(), LaneLedger::default);
    for (name, ledger) in names.iter().zip(ledgers) {
        shared.add_lane(name, ledger);
    }
}

/// When what is owed was accepted: of the log's tail it was read, of the rest each lane's first is
/// read now. What can't be read is left to the segment's time.
fn note_times(shared: &Shared, tail: AcceptTimes) {
    *shared.accept_times() = tail;
    let mut firsts: Vec<Position> = shared
        .lanes()
        .iter()
        .filter_map(|l| l.owed())
        .map(|o| o.0)
        .collect();
    firsts.sort_unstable();
    firsts.dedup();
    for first in firsts {
        if let Ok(Some(record)) = shared.reader.read(first) {
            shared.accept_times().note_elder(first, record.wall);
        }
    }
    for segment in shared.reader.shared().segments() {
        let end = segment.with_extent(|e| e.has_batches().then_some((e.end_position, e.wall_ms)));
        if let Some((position, wall_ms)) = end {
            shared.accept_times().note_elder(position, Wall(wall_ms));
        }
    }
}

/// What a sink holds already counts as settled: before its lane starts. What waits to be settled is
/// left out: a stream may hold what it was in doubt about, and the dead letters too, because an
/// operator dropped it.
pub fn settlements_for(
    shared: &Shared,
    lane: crate::message::LaneId,
    held: &[DeliveryId],
    outcome: Outcome,
    waiting: &VecDeque<SettleGroup>,
) -> Result<Vec<Settlement>, crate::log::ReadError> {
    let Some(state) = shared.lane(lane) else {
        return Ok(Vec::new());
    };
    let waiting = waiting.iter().filter(|group| group.lane == lane);
    let settled: HashSet<DeliveryId> = waiting
        .flat_map(|group| group.settlements.iter().map(|s| s.at))
        .collect();
    let mut owed: Vec<DeliveryId> = {
        let ledger = state.ledger();
        held.iter()
            .copied()
            .filter(|at| ledger.owed().contains(*at) && !settled.contains(at))
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
