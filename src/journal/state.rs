//! What the journal's thread, the housekeeper, the door and the lanes' feeds share.
//!
//! Only the journal's thread changes ledgers, catalog and shapes; the others look.

use super::catalog::{Catalog, LaneEntry, destination_of};
use super::fingerprint::Hasher;
use super::inbox::Inbox;
use super::ledger::LaneLedger;
use super::memory::Memory;
use super::shapes::Shapes;
use super::times::AcceptTimes;
use super::waiters::Waiters;
use crate::clock::Wall;
use crate::histogram::{Histogram, SHORT};
use crate::log::LogReader;
use crate::message::{DeliveryId, DeliveryState, Epoch, LaneId, Position, RouteId, TargetState};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub struct Shared {
    pub reader: LogReader,
    pub epoch: Epoch,
    pub hasher: Hasher,
    pub waiters: Waiters,
    pub counters: Counters,
    /// `[journal] max_bytes`.
    pub max_bytes: AtomicU64,
    /// From the hand-over of an accepted publish until it is durable.
    pub store_times: Histogram,
    /// Of writing and syncing a batch.
    pub sync_times: Histogram,
    accept_times: Mutex<AcceptTimes>,
    catalog: RwLock<Catalog>,
    shapes: RwLock<Shapes>,
    lanes: RwLock<Vec<Arc<LaneState>>>,
    failure: RwLock<Option<String>>,
    space: AtomicU8,
    /// Ids of positions below this are no longer in the window (exactly-once ones apart).
    ids_from: AtomicU64,
    running_ms: AtomicU64,
    /// Messages of this run that were not journalled.
    in_memory: AtomicU64,
    /// Ranges of positions whose records left the log, for the journal's thread.
    forgotten: Mutex<Vec<(Position, Position)>>,
}

/// One destination as the journal sees it.
pub struct LaneState {
    pub id: LaneId,
    pub name: String,
    ledger: Mutex<LaneLedger>,
    /// Of a lane of at_most_once deliveries: what it has. Its ledger and inbox stay empty.
    pub memory: Option<Arc<Memory>>,
    pub inbox: Inbox,
    pub backlog_bytes: AtomicU64,
    /// What the lane's sink takes without more of the disk, told by the sink. It is endless while no
    /// sink on this disk says otherwise.
    pub sink_room: Arc<AtomicU64>,
    /// The first offset that its dead-letter log still has, told by the log.
    pub letters_from: AtomicU64,
}

/// Why publishes are not accepted for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Enough,
    /// `[journal] max_bytes` is reached.
    JournalFull,
    /// Free space is too little for another segment: what is ready is still filled.
    DiskShort,
    /// Free space is below what compaction, settlements, reserves and owed deliveries need.
    DiskFull,
}

/// Counted since the start.
#[derive(Default)]
pub struct Counters {
    pub batches: AtomicU64,
    pub records: AtomicU64,
    pub accepted: AtomicU64,
    pub duplicates: AtomicU64,
    pub conflicts: AtomicU64,
    pub dedup_entries: AtomicU64,
    pub dedup_evictions: AtomicU64,
    pub true_window_ms: AtomicU64,
    pub checkpoints: AtomicU64,
    pub compactions: AtomicU64,
    pub queued: AtomicU64,
}

impl Shared {
    pub fn new(reader: LogReader, epoch: Epoch, hasher: Hasher, catalog: Catalog) -> Self {
        Self {
            reader,
            epoch,
            hasher,
            waiters: Waiters::default(),
            counters: Counters::default(),
            max_bytes: AtomicU64::new(u64::MAX),
            store_times: Histogram::new(SHORT),
            sync_times: Histogram::new(SHORT),
            accept_times: Mutex::default(),
            catalog: RwLock::new(catalog),
            shapes: RwLock::new(Shapes::default()),
            lanes: RwLock::new(Vec::new()),
            failure: RwLock::new(None),
            space: AtomicU8::new(0),
            ids_from: AtomicU64::new(0),
            running_ms: AtomicU64::new(0),
            in_memory: AtomicU64::new(0),
            forgotten: Mutex::default(),
        }
    }

    /// When what stands at a position was accepted, or somewhat before.
    #[must_use]
    pub fn accepted_at(&self, position: Position) -> Option<Wall> {
        let noted = self.accept_times().of(position);
        noted.or_else(|| self.reader.accepted_about(position))
    }

    pub(super) fn accept_times(&self) -> MutexGuard<'_, AcceptTimes> {
        let times = self.accept_times.lock();
        times.unwrap_or_else(PoisonError::into_inner)
    }

    pub fn with_catalog<T>(&self, f: impl FnOnce(&mut Catalog) -> T) -> T {
        f(&mut self.catalog.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn read_catalog<T>(&self, f: impl FnOnce(&Catalog) -> T) -> T {
        f(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn with_shapes<T>(&self, f: impl FnOnce(&mut Shapes) -> T) -> T {
        f(&mut self.shapes.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn read_shapes<T>(&self, f: impl FnOnce(&Shapes) -> T) -> T {
        f(&self.shapes.read().unwrap_or_else(PoisonError::into_inner))
    }

    #[must_use]
    pub fn lanes(&self) -> Vec<Arc<LaneState>> {
        self.lanes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    #[must_use]
    pub fn lane(&self, id: LaneId) -> Option<Arc<LaneState>> {
        self.lanes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id.0 as usize)
            .cloned()
    }

    /// Lane numbers are dense: the catalog gives them in order.
    pub fn add_lane(&self, name: &str, ledger: LaneLedger) -> Arc<LaneState> {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let lane = Arc::new(LaneState {
            id: LaneId(lanes.len() as u32),
            name: name.to_owned(),
            ledger: Mutex::new(ledger),
            memory: destination_of(name).map(|_| Arc::default()),
            inbox: Inbox::new(),
            backlog_bytes: AtomicU64::new(u64::MAX),
            sink_room: Arc::new(AtomicU64::new(u64::MAX)),
            letters_from: AtomicU64::new(0),
        });
        lanes.push(Arc::clone(&lane));
        lane
    }

    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn fail(&self, reason: String) {
        self.failure
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
    }

    #[must_use]
    pub fn space(&self) -> Space {
        match self.space.load(Ordering::Relaxed) {
            0 => Space::Enough,
            1 => Space::JournalFull,
            2 => Space::DiskShort,
            _ => Space::DiskFull,
        }
    }

    /// What is free on the disk belongs to what is stored already.
    #[must_use]
    pub fn is_disk_short(&self) -> bool {
        matches!(self.space(), Space::DiskShort | Space::DiskFull)
    }

    pub fn set_space(&self, space: Space) {
        let code = match space {
            Space::Enough => 0,
            Space::JournalFull => 1,
            Space::DiskShort => 2,
            Space::DiskFull => 3,
        };
        self.space.store(code, Ordering::Relaxed);
    }

    #[must_use]
    pub fn ids_from(&self) -> Position {
        Position(self.ids_from.load(Ordering::Relaxed))
    }

    pub fn set_ids_from(&self, position: Position) {
        self.ids_from.store(position.0, Ordering::Relaxed);
    }

    #[must_use]
    pub fn running_ms(&self) -> u64 {
        self.running_ms.load(Ordering::Relaxed)
    }

    pub fn set_running_ms(&self, ms: u64) {
        self.running_ms.store(ms, Ordering::Relaxed);
    }

    /// The records of these positions (up to, not with, the second) are gone.
    pub fn forget(&self, first: Position, end: Position) {
        self.forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((first, end));
    }

    #[must_use]
    pub fn take_forgotten(&self) -> Vec<(Position, Position)> {
        std::mem::take(
            &mut *self
                .forgotten
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// What the next message that isn't journalled has in place of a position.
    #[must_use]
    pub fn number_in_memory(&self) -> Position {
        let number = self.in_memory.fetch_add(1, Ordering::Relaxed);
        Position(Position::IN_MEMORY.0 + number)
    }

    /// The state of one delivery whose envelope is known. What was diverted is in the door's ledger.
    #[must_use]
    pub fn state_of(&self, at: DeliveryId, lane: LaneId) -> DeliveryState {
        let of = |lane| {
            self.lane(lane)
                .map_or(DeliveryState::Unknown, |l| match l.memory {
                    Some(_) => DeliveryState::Received,
                    None => l.ledger().state(at),
                })
        };
        match of(super::DOOR_LANE) {
            // The default: the door's ledger doesn't know it.
            DeliveryState::Delivered | DeliveryState::Unknown => of(lane),
            diverted => diverted,
        }
    }

    /// What publishers and look-ups are told of each target.
    #[must_use]
    pub fn target_states(
        &self,
        position: Position,
        targets: &[(RouteId, LaneId)],
    ) -> Vec<TargetState> {
        let state = |(ordinal, (route, lane)): (usize, &(RouteId, LaneId))| {
            let at = DeliveryId::new(position.0, ordinal as u16);
            let state = self.state_of(at, *lane);
            self.read_catalog(|names| target_state(names, *route, *lane, state))
        };
        targets.iter().enumerate().map(state).collect()
    }

    /// Targets that are known to be in one state.
    #[must_use]
    pub fn targets_in(
        &self,
        state: DeliveryState,
        targets: &[(RouteId, LaneId)],
    ) -> Arc<[TargetState]> {
        self.read_catalog(|names| {
            let target =
                |(route, lane): &(RouteId, LaneId)| target_state(names, *route, *lane, state);
            targets.iter().map(target).collect()
        })
    }
}

fn target_state(
    names: &Catalog,
    route: RouteId,
    lane: LaneId,
    state: DeliveryState,
) -> TargetState {
    let route = names.route(route).map(|route| Arc::clone(&route.name));
    let lane = names.lane(lane);
    TargetState {
        route: route.unwrap_or_default(),
        destination: lane.map(LaneEntry::destination).unwrap_or_default(),
        state: match lane {
            Some(lane) if lane.is_memory() => DeliveryState::Received,
            _ => state,
        },
    }
}

impl LaneState {
    pub fn ledger(&self) -> MutexGuard<'_, LaneLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first and the last position of which the lane owes something.
    #[must_use]
    pub fn owed(&self) -> Option<(Position, Position)> {
        let ledger = self.ledger();
        let first = ledger.owed().first().map(|first| first.position);
        first.zip(ledger.owed().last_position())
    }
}
