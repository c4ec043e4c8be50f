//! The lanes of all destinations: started, kept, changed by reloads, stopped.

mod memory;

pub use memory::MemoryLane;

use super::open::{OpenDestination, modes_of, tune};
use crate::admin::LaneOrder;
use crate::clock::Clock;
use crate::config::settings::{Destination, DestinationKind};
use crate::egress::stream::{StreamDestination, StreamReader, StreamStats};
use crate::egress::{DeadLetterLog, Egress};
use crate::journal::{self, LaneModes, LaneState};
use crate::lane::{
    self, Command, LaneEnded, LaneHandle, LaneSettings, LaneView, OnReject, Parts, Seat, Skipped,
};
use crate::message::{Position, RouteId};
use crate::spans::Spans;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// How often marks are passed on, and streams trimmed.
const HOUSEKEEP_EVERY: Duration = Duration::from_millis(200);
/// How long a lane that was closed may be in somebody's hands: a round of housekeeping, a status.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
const LEAVE_TICK: Duration = Duration::from_millis(2);

type ByName = BTreeMap<String, Arc<Lane>>;

/// The live set: what a reload adds and takes away is seen by the next look.
pub struct Lanes {
    lanes: RwLock<ByName>,
    /// Closed, and perhaps not yet given up by all: their files may still be open.
    leaving: Mutex<BTreeMap<String, Weak<Lane>>>,
    housekeeping: Mutex<Option<JoinHandle<()>>>,
    journal: journal::Handle,
    clock: Clock,
    spans: Spans,
}

pub struct Lane {
    pub state: Arc<LaneState>,
    pub is_orphan: bool,
    dead_letters_max_bytes: AtomicU64,
    /// As it was told last.
    settings: Mutex<LaneSettings>,
    handle: LaneHandle,
    egress: Arc<Egress>,
    dead_letters: Arc<DeadLetterLog>,
    letters: LetterCounts,
    /// Once at_most_once targets led to it.
    memory: Mutex<Option<MemoryLane>>,
}

/// Places for a command in a destination's lanes; none in one that has ended.
pub struct Seats {
    own: Option<Seat>,
    memory: Option<Seat>,
}

/// Of dead letters, since the start.
#[derive(Default)]
struct LetterCounts {
    redriven: AtomicU64,
    purged: AtomicU64,
    /// Those that were gone, and the log's end, when room was given back last.
    released: Mutex<(u64, u64)>,
}

impl Lanes {
    /// Called inside the runtime.
    pub fn start(
        destinations: Vec<OpenDestination>,
        journal: &journal::Handle,
        clock: &Clock,
        spans: &Spans,
    ) -> Arc<Self> {
        let lanes = Arc::new(Self {
            lanes: RwLock::default(),
            leaving: Mutex::default(),
            housekeeping: Mutex::default(),
            journal: journal.clone(),
            clock: clock.clone(),
            spans: spans.clone(),
        });
        for destination in destinations {
            lanes.open(destination);
        }
        let housekeeping = tokio::spawn(housekeep(Arc::clone(&lanes)));
        *lanes.housekeeping() = Some(housekeeping);
        lanes
    }

    fn read(&self) -> RwLockReadGuard<'_, ByName> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ByName> {
        self.lanes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Lane>>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn housekeeping(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.housekeeping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// All of this moment, by name.
    pub fn all(&self) -> Vec<(String, Arc<Lane>)> {
        let lane = |(name, lane): (&String, &Arc<Lane>)| (name.clone(), Arc::clone(lane));
        self.read().iter().map(lane).collect()
    }

    pub fn get(&self, name: &str) -> Option<Arc<Lane>> {
        self.read().get(name).cloned()
    }

    /// The reader of a stream.
    pub fn stream(&self, name: &str) -> Option<StreamReader> {
        let lanes = self.read();
        Some(lanes.get(name)?.stream()?.reader().clone())
    }

    /// Whether a lane of this name was closed and its files may still be open.
    pub fn is_leaving(&self, name: &str) -> bool {
        let mut leaving = self.leaving();
        leaving.retain(|_, lane| lane.strong_count() > 0);
        leaving.contains_key(name)
    }

    /// Changes of a lane's mode that wait for what it owes.
    pub fn turns_ahead(&self, lane: &Lane) -> usize {
        let Some((first, _)) = lane.state.owed() else {
            return 0;
        };
        self.journal.shared().read_catalog(|catalog| {
            let entry = catalog.lane(lane.state.id);
            entry.map_or(0, |entry| entry.modes.barriers_behind(first))
        })
    }

    /// Starts a lane, in the place of one that has ended if there is one. Called inside the runtime.
    pub fn open(&self, destination: OpenDestination) -> Option<Arc<Lane>> {
        let name = destination.name.to_string();
        let mut destination = destination;
        let memory = destination.memory.take();
        let lane = Arc::new(start(destination, &self.journal, &self.clock, &self.spans)?);
        if let Some(memory) = memory {
            self.open_memory(&name, &lane, memory);
        }
        self.write().insert(name, Arc::clone(&lane));
        Some(lane)
    }

    /// Ends a lane that owes nothing. When this returns its sinks are closed, unless somebody looks
    /// at it for longer than is usual.
    pub async fn close(&self, name: &str) {
        let Some(lane) = self.write().remove(name) else {
            return;
        };
        lane.end().await;
        // Nothing of the disk is set aside for it any more.
        lane.state.sink_room.store(u64::MAX, Ordering::Relaxed);
        let left = Arc::downgrade(&lane);
        drop(lane);
        let gone = async {
            while left.strong_count() > 0 {
                tokio::time::sleep(LEAVE_TICK).await;
            }
        };
        if tokio::time::timeout(LEAVE_PATIENCE, gone).await.is_err() {
            self.leaving().insert(name.to_owned(), left);
        }
    }

    /// Lets every lane settle what it can in time, and ends it.
    pub async fn stop(&self, drain: Duration) {
        let mut stopping = JoinSet::new();
        for (_, lane) in self.all() {
            stopping.spawn(lane.handle.clone().stop(drain));
            if let Some(memory) = lane.in_memory() {
                stopping.spawn(memory.handle.clone().stop(drain));
            }
        }
        while stopping.join_next().await.is_some() {}
        for (name, lane) in self.all() {
            if let Some(memory) = lane.in_memory() {
                memory.forget(&name);
            }
        }
        let housekeeping = self.housekeeping().take();
        if let Some(task) = housekeeping {
            task.abort();
        }
    }
}

fn start(
    destination: OpenDestination,
    journal: &journal::Handle,
    clock: &Clock,
    spans: &Spans,
) -> Option<Lane> {
    let id = destination.lane.lane;
    let state = journal.shared().lane(id)?;
    state
        .backlog_bytes
        .store(destination.backlog_bytes, Ordering::Relaxed);
    let mut first = Vec::new();
    if destination.is_orphan {
        tracing::warn!(
            lane = %destination.name,
            pending = state.ledger().pending(),
            "its destination is no longer in the configuration: what the lane owes is held"
        );
        first.push(Command::Pause);
    }
    let changes = destination.changes.into_iter();
    first.extend(changes.map(|(mode, barrier)| Command::ChangeMode { mode, barrier }));
    let egress = Arc::new(destination.egress);
    let handle = LaneHandle::spawn(Parts {
        name: destination.name,
        settings: destination.lane.clone(),
        egress: Arc::clone(&egress),
        feed: Arc::new(journal.feed(id)?),
        dead_letters: Arc::clone(&destination.dead_letters),
        clock: clock.clone(),
        faults: journal.faults(),
        spans: spans.clone(),
        seed: u64::from(id.0) ^ clock.wall().0,
        first,
    });
    Some(Lane {
        state,
        is_orphan: destination.is_orphan,
        dead_letters_max_bytes: AtomicU64::new(destination.dead_letters_max_bytes),
        settings: Mutex::new(destination.lane),
        handle,
        egress,
        dead_letters: destination.dead_letters,
        letters: LetterCounts::default(),
        memory: Mutex::default(),
    })
}

impl Lane {
    pub const fn handle(&self) -> &LaneHandle {
        &self.handle
    }

    pub const fn dead_letters(&self) -> &Arc<DeadLetterLog> {
        &self.dead_letters
    }

    pub fn view(&self) -> LaneView {
        self.handle.view()
    }

    pub fn dead_letter_bytes(&self) -> u64 {
        self.dead_letters.stats().bytes
    }

    pub fn dead_letters_max_bytes(&self) -> u64 {
        self.dead_letters_max_bytes.load(Ordering::Relaxed)
    }

    fn stream(&self) -> Option<&StreamDestination> {
        match &*self.egress {
            Egress::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    pub fn stream_stats(&self) -> Option<StreamStats> {
        self.stream().map(StreamDestination::stats)
    }

    /// Dead-letters or discards what is owed before `until`.
    pub async fn drop_all(&self, discard: bool, until: Position) -> Result<(), String> {
        if let Some(lane) = self.in_memory() {
            lane.drop_all().await;
        }
        let sent = self.handle.send(Command::Drop { discard, until }).await;
        sent.map_err(|e| e.to_string())
    }

    /// What an operator says; why not now.
    pub async fn obey(&self, order: LaneOrder) -> Result<Option<Skipped>, String> {
        if self.state.id == journal::DOOR_LANE {
            return Err("the door's own lane only dead-letters: there is nothing to hold".into());
        }
        if self.is_orphan {
            return Err(
                "its destination is no longer in the configuration: put it back there and reload, \
                 or give up what it owes with `causeway lane drop`"
                    .into(),
            );
        }
        let ended = |LaneEnded| match self.view().state {
            lane::LaneState::Stopped { reason } => {
                format!("the lane has ended until the gateway is restarted: {reason}")
            }
            _ => LaneEnded.to_string(),
        };
        let command = match order {
            LaneOrder::Pause => Command::Pause,
            LaneOrder::Resume => Command::Resume,
            LaneOrder::Skip(which) => {
                let (answer, answered) = oneshot::channel();
                let skip = Command::Skip { which, answer };
                self.handle.send(skip).await.map_err(ended)?;
                let skipped = answered.await.map_err(|_| ended(LaneEnded))?;
                return skipped.map(Some).map_err(|e| e.to_string());
            }
        };
        if let Some(lane) = self.in_memory() {
            lane.obey(&command).await;
        }
        self.handle.send(command).await.map_err(ended)?;
        Ok(None)
    }

    /// Ends its task without time to settle anything. What it settled is in the journal's queue.
    pub async fn end(&self) {
        self.handle.clone().stop(Duration::ZERO).await;
        if let Some(lane) = self.in_memory() {
            lane.handle.clone().stop(Duration::ZERO).await;
            lane.forget(&self.state.name);
        }
    }

    /// Its task: nothing is tried any more, and no command taken.
    pub fn has_ended(&self) -> bool {
        self.handle.has_ended()
    }

    /// To be started in this one's place, without a destination.
    pub fn held(&self, name: &str, modes: &LaneModes) -> OpenDestination {
        let mut settings = self.settings().clone();
        let (mode, changes) = modes_of(modes);
        settings.mode = mode;
        OpenDestination {
            name: name.into(),
            lane: settings,
            backlog_bytes: self.state.backlog_bytes.load(Ordering::Relaxed),
            dead_letters_max_bytes: self.dead_letters_max_bytes(),
            is_orphan: true,
            changes,
            egress: Egress::Nowhere,
            dead_letters: Arc::clone(&self.dead_letters),
            memory: None,
        }
    }

    fn settings(&self) -> MutexGuard<'_, LaneSettings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a destination in the file says of its lanes. Their tasks are told from the seats; a
    /// lane that has ended has none, and goes by this at the next start.
    pub fn tune(&self, destination: &Destination, words: HashMap<RouteId, OnReject>, seats: Seats) {
        let backlog = destination.lane.backlog_bytes;
        self.state.backlog_bytes.store(backlog, Ordering::Relaxed);
        let mut settings = self.settings();
        tune(&mut settings, destination, &self.egress, words);
        if let Some(seat) = seats.own {
            seat.send(Command::Tune(Box::new(settings.clone())));
        }
        drop(settings);
        self.tune_memory(destination, seats.memory);
    }

    /// A place for a command in each of its lanes that hasn't ended.
    pub async fn seats(&self) -> Seats {
        let memory = match self.in_memory() {
            Some(lane) => lane.seat().await,
            None => None,
        };
        let own = self.handle.seat().await.ok();
        Seats { own, memory }
    }

    /// What a destination in the file says of its sinks. Blocks: it waits for writes that go on.
    pub fn adopt(&self, destination: &Destination) {
        self.limit_dead_letters(destination.lane.dead_letters_max_bytes);
        match (&destination.kind, &*self.egress) {
            (DestinationKind::Stream { retention }, Egress::Stream(stream)) => {
                stream.set_retention(super::open::retention_of(retention));
            }
            (DestinationKind::Webhook(hook), Egress::Webhook(webhook)) => {
                let options = super::open::webhook_options(hook, destination.lane.timeout);
                if let Err(why) = webhook.adopt(&options) {
                    tracing::error!("{} goes on as before: {why}", destination.name);
                }
            }
            (DestinationKind::Grpc(sink), Egress::Grpc(egress)) => {
                let options = super::open::grpc_options(sink, destination.lane.timeout);
                if let Err(why) = egress.adopt(&options) {
                    tracing::error!("{} goes on as before: {why}", destination.name);
                }
            }
            (DestinationKind::Rabbitmq(broker), Egress::Rabbitmq(rabbitmq)) => {
                let options = super::open::rabbitmq_options(broker, destination.lane.timeout);
                if let Err(why) = rabbitmq.adopt(options) {
                    tracing::error!("{} goes on as before: {why}", destination.name);
                }
            }
            (DestinationKind::Kafka(settings), Egress::Kafka(kafka)) => {
                let timeout = destination.lane.timeout;
                let options = super::open::kafka_options(settings, kafka.client_id(), timeout);
                kafka.adopt(options);
            }
            #[cfg(feature = "faults")]
            (DestinationKind::Faulty { script, .. }, Egress::Faulty(faulty)) => {
                faulty.set_timeout(Some(destination.lane.timeout));
                match super::open::script_of(&destination.name, script) {
                    Ok(script) => faulty.follow(script),
                    Err(why) => tracing::error!("{why}"),
                }
            }
            // A plan that re-points a destination is refused.
            _ => {}
        }
    }

    /// Blocks, as `adopt`.
    pub fn limit_dead_letters(&self, max_bytes: u64) {
        self.dead_letters.set_max_bytes(max_bytes);
        self.dead_letters_max_bytes
            .store(max_bytes, Ordering::Relaxed);
    }

    pub fn count_redriven(&self) {
        self.letters.redriven.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_purged(&self, count: u64) {
        self.letters.purged.fetch_add(count, Ordering::Relaxed);
    }

    pub fn letters_redriven(&self) -> u64 {
        self.letters.redriven.load(Ordering::Relaxed)
    }

    pub fn letters_purged(&self) -> u64 {
        self.letters.purged.load(Ordering::Relaxed)
    }

    /// Dead letters that can be listed. A look at counts alone.
    pub fn letters(&self) -> u64 {
        let ledger = self.state.ledger();
        let end = ledger.marks().dead_letters;
        let range = self.dead_letters.reader().bounds().0.min(end)..end;
        range.end - range.start - ledger.gone_letters().range_cardinality(range)
    }

    /// Gives back the room of letters that are gone, where there may be some since the last time.
    fn release_letters(&self) {
        let log = &self.dead_letters;
        let (earliest, end) = log.reader().bounds();
        self.state.letters_from.store(earliest, Ordering::Relaxed);
        let mut released = self
            .letters
            .released
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let gone = {
            let ledger = self.state.ledger();
            let gone = ledger.gone_letters();
            if gone.is_empty() || *released == (gone.len(), end) {
                return;
            }
            gone.clone()
        };
        if !log.release(&gone) {
            *released = (gone.len(), end);
        }
    }

    fn housekeep(&self) {
        let marks = self.state.ledger().marks();
        self.dead_letters.advance_mark(marks.dead_letters);
        self.release_letters();
        if let Some(stream) = self.stream() {
            stream.housekeep(marks.sink);
        }
    }
}

async fn housekeep(lanes: Arc<Lanes>) {
    let mut tick = tokio::time::interval(HOUSEKEEP_EVERY);
    loop {
        tick.tick().await;
        let of_round = Arc::clone(&lanes);
        let round = tokio::task::spawn_blocking(move || {
            let all = of_round.all().into_iter();
            let groups = all.filter_map(|(_, lane)| {
                lane.housekeep();
                lane.mark_behind()
            });
            groups.collect::<Vec<_>>()
        });
        match round.await {
            Ok(groups) => {
                for group in groups {
                    // A journal that has failed keeps its marks.
                    let _ = lanes.journal.settle(group).await;
                }
            }
            Err(e) => tracing::error!("housekeeping of lanes: {e}"),
        }
    }
}
