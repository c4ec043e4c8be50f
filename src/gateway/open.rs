//! Opens all that is on disk, in the order in which it depends on each other: lock, journal,
//! sinks; and counts what the sinks hold as settled before any lane starts.

mod lane_settings;
mod options;
mod sinks;

pub use lane_settings::{lane_settings, on_reject_of, open_memory, tune};
pub use options::{grpc_options, kafka_options, rabbitmq_options, webhook_options};
#[cfg(feature = "faults")]
pub use sinks::script_of;
pub use sinks::{Held, Site, retention_of};

use super::{data_dir, explain};
use crate::clock::Clock;
use crate::config::Settings;
use crate::config::settings::Destination;
use crate::door::Generation;
use crate::door::identity::Identities;
use crate::egress::{DeadLetterLog, Egress, NameBook};
use crate::faults::Faults;
use crate::journal::{
    self, FreeSpace, Journal, JournalOptions, Keeper, LaneModes, SettleGroup, WindowLimits,
};
use crate::lane::{LaneSettings, Mode};
use crate::log::disk::Disk;
use crate::log::{DirLock, Sizes};
use crate::message::{LaneId, LogUuid, Position};
use crate::routing::{self, Alternate, Router};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Segments are at least this large, and at least twice the largest record.
const MIN_SEGMENT_BYTES: u64 = 4 << 20;
const MAX_SEGMENT_BYTES: u64 = 64 << 20;
/// Dead-letter logs are small and many.
const MIN_DEAD_LETTER_SEGMENT_BYTES: u64 = 1 << 20;
/// Publishes are refused below this in any case; `journal::FreeSpace` has the rule.
const KEEP_FREE_BYTES: u64 = 12 << 20;
/// What the door may owe to its own dead letters.
const DOOR_BACKLOG_BYTES: u64 = 64 << 20;
/// The journal's limit below which it could not turn over.
const MIN_JOURNAL_SEGMENTS: u64 = 8;

pub struct House {
    pub lock: DirLock,
    pub site: Arc<Site>,
    pub journal: Journal,
    pub keeper: Keeper,
    pub first: Generation,
    pub destinations: Vec<OpenDestination>,
}

/// A destination, or a lane that is left of one, ready to start.
pub struct OpenDestination {
    pub name: Arc<str>,
    pub lane: LaneSettings,
    pub backlog_bytes: u64,
    pub dead_letters_max_bytes: u64,
    /// Not in the file any more: its lane is held until an operator acts.
    pub is_orphan: bool,
    /// What the lane turns to, and at which barriers, because it owes something of other modes.
    pub changes: Vec<(Mode, Position)>,
    pub egress: Egress,
    pub dead_letters: Arc<DeadLetterLog>,
    /// At_most_once targets lead to it.
    pub memory: Option<OpenMemory>,
}

/// What a destination's second lane is started with.
pub struct OpenMemory {
    pub lane: LaneSettings,
    pub max_bytes: u64,
}

/// Tells how many of the journal's records it has read.
pub fn open(settings: &Settings, clock: &Clock, progress: Arc<AtomicU64>) -> Result<House, String> {
    let faults = faults()?;
    let dir = &settings.gateway.data_dir;
    let disk = data_dir::disk()?;
    data_dir::make(&*disk, dir).map_err(|e| explain::folder(dir, &e))?;
    let lock = DirLock::acquire(dir).map_err(|e| explain::locked(&e))?;
    let options = JournalOptions {
        progress,
        ..journal_options(settings, clock, faults)?
    };
    let opened = journal::open(Arc::clone(&disk), options).map_err(|e| explain::journal(&e))?;
    let (mut journal, mut keeper, report) = (opened.journal, opened.keeper, opened.report);
    if let Some(cut) = &report.cut {
        tracing::warn!(file = %cut.path.display(), byte = cut.offset,
            "cut a torn batch off the journal's end: nobody was told that it was stored");
    }
    tracing::info!(
        folder = %dir.display(),
        new = report.is_new,
        next_position = report.next_position,
        pending = report.pending,
        ids = report.ids,
        replayed = report.replayed,
        "journal open"
    );
    let catalog = intern(settings, &mut journal);
    keeper.step();
    flush(&mut journal, &mut keeper, &mut VecDeque::new())?;
    let site = Arc::new(site(settings, clock, &disk, &journal));
    let destinations = open_destinations(settings, &site, &catalog, &mut journal, &mut keeper)?;
    let first = generation(1, settings, &catalog)?;
    Ok(House {
        lock,
        site,
        journal,
        keeper,
        first,
        destinations,
    })
}

/// What the door goes by under these settings.
pub fn generation(
    number: u64,
    settings: &Settings,
    catalog: &routing::Catalog,
) -> Result<Generation, String> {
    let limits = settings.limits.of_plans();
    let router = Router::new(&settings.routes, settings.unrouted, catalog, limits);
    Ok(Generation {
        number,
        router: router.map_err(|e| e.to_string())?,
        identities: Identities::new(settings.identities.clone()),
        limits: settings.limits.clone(),
    })
}

fn site(settings: &Settings, clock: &Clock, disk: &Arc<dyn Disk>, journal: &Journal) -> Site {
    let shared = journal.shared();
    let names = NameBook::new(shared.reader.uuid(), route_names(shared));
    Site {
        started: settings.clone(),
        clock: clock.clone(),
        disk: Arc::clone(disk),
        names: Arc::new(names),
        shared: Arc::clone(shared),
    }
}

/// By number.
pub fn route_names(shared: &journal::Shared) -> Vec<Arc<str>> {
    let name = |route: &journal::RouteEntry| Arc::clone(&route.name);
    shared.read_catalog(|catalog| catalog.routes().iter().map(name).collect())
}

/// The test build plants the fault that this variable names.
fn faults() -> Result<Faults, String> {
    #[cfg(feature = "faults")]
    if let Ok(name) = std::env::var("CAUSEWAY_FAULT") {
        let fault = name.parse().map_err(|e| format!("CAUSEWAY_FAULT: {e}"))?;
        return Ok(Faults::only(fault));
    }
    Ok(Faults::none())
}

fn seed() -> Result<u64, String> {
    getrandom::u64().map_err(|e| format!("no random numbers from the system: {e}\nhelp: it needs getrandom(2): see what confines it"))
}

pub fn journal_options(
    settings: &Settings,
    clock: &Clock,
    faults: Faults,
) -> Result<JournalOptions, String> {
    let min_segment_bytes = min_segment_bytes(settings);
    Ok(JournalOptions {
        dir: settings.gateway.data_dir.join("journal"),
        sizes: Sizes {
            min_segment_bytes,
            max_segment_bytes: MAX_SEGMENT_BYTES.max(min_segment_bytes),
            reserve_segments: 1,
        },
        max_bytes: journal_max_bytes(settings, settings.journal.max_bytes),
        keep_free_bytes: keep_free_bytes(settings),
        window: WindowLimits {
            window: settings.dedup.window,
            max_entries: settings.dedup.max_entries,
        },
        clock: clock.clone(),
        seed: seed()?,
        faults,
        progress: Arc::default(),
    })
}

/// What `[journal] max_bytes` comes to, with segments of the size that they were started with.
pub fn journal_max_bytes(started: &Settings, wanted: u64) -> u64 {
    wanted.max(MIN_JOURNAL_SEGMENTS * min_segment_bytes(started))
}

/// A record has the payload, the headers, the topic, and a plan that may name many targets; or as much
/// as routes may render.
fn min_segment_bytes(settings: &Settings) -> u64 {
    let limits = &settings.limits;
    let received =
        limits.payload_bytes + 2 * limits.header_bytes + 4 * limits.topic_bytes + (64 << 10);
    let record = received.max(limits.of_plans().record_bytes());
    MIN_SEGMENT_BYTES.max((2 * record as u64).next_power_of_two())
}

fn keep_free_bytes(settings: &Settings) -> u64 {
    KEEP_FREE_BYTES.max(2 * min_segment_bytes(settings))
}

/// Who stops first when the disk runs full.
fn free_space(settings: &Settings) -> FreeSpace {
    FreeSpace::new(min_segment_bytes(settings), keep_free_bytes(settings))
}

/// Every name of the file gets its number, before anything is accepted under it.
fn intern(settings: &Settings, journal: &mut Journal) -> routing::Catalog {
    let lanes: HashMap<String, LaneId> = settings
        .destinations
        .iter()
        .map(|d| (d.name.clone(), journal.intern_lane(&d.name)))
        .collect();
    let routes = settings
        .routes
        .iter()
        .map(|r| (r.name.clone(), journal.intern_route(&r.name)))
        .collect();
    let memory_lanes = routing::in_memory(&settings.routes)
        .into_iter()
        .map(|name| {
            let lane = journal.intern_lane(&journal::memory_lane(name));
            (name.to_owned(), lane)
        })
        .collect();
    routing::Catalog {
        routes,
        alternates: alternates(settings, &lanes),
        lanes,
        memory_lanes,
        unrouted_route: journal::DOOR_ROUTE,
        door_lane: journal::DOOR_LANE,
    }
}

/// Where each lane's deliveries go on that its destination can't route.
pub fn alternates(
    settings: &Settings,
    lanes: &HashMap<String, LaneId>,
) -> HashMap<LaneId, Alternate> {
    let find = |name: &str| settings.destinations.iter().find(|d| d.name == name);
    let alternate = |from: &Destination| {
        let to = find(from.alternate()?)?;
        let alternate = Alternate {
            lane: *lanes.get(&to.name)?,
            topic: to.own_topic().map(str::to_owned),
        };
        Some((*lanes.get(&from.name)?, alternate))
    };
    settings.destinations.iter().filter_map(alternate).collect()
}

/// Makes what the journal has to write durable, before the threads run.
fn flush(
    journal: &mut Journal,
    keeper: &mut Keeper,
    settlements: &mut VecDeque<SettleGroup>,
) -> Result<(), String> {
    while journal.has_notices() || !settlements.is_empty() {
        let step = journal.step(&mut VecDeque::new(), settlements);
        if let Some(reason) = journal.shared().failure() {
            return Err(format!(
                "the journal failed: {reason}\nhelp: see that its disk is well and has room, and start again"
            ));
        }
        keeper.step();
        if step.stalled
            && let Some(problem) = keeper.problem()
        {
            return Err(format!(
                "the journal has no room to start: {problem}\nhelp: make room on that disk, or \
                 raise [journal] max_bytes"
            ));
        }
    }
    Ok(())
}

fn open_destinations(
    settings: &Settings,
    site: &Site,
    catalog: &routing::Catalog,
    journal: &mut Journal,
    keeper: &mut Keeper,
) -> Result<Vec<OpenDestination>, String> {
    let mut settled = VecDeque::new();
    let mut opened = Vec::new();
    let durable = |lane: &Arc<journal::LaneState>| lane.memory.is_none();
    for lane in journal.shared().lanes().into_iter().filter(durable) {
        let spec = settings.destinations.iter().find(|d| d.name == lane.name);
        if spec.is_none() && lane.id != journal::DOOR_LANE && lane.ledger().pending() == 0 {
            continue;
        }
        let opener = Opener {
            settings,
            site,
            catalog,
            lane: &lane,
        };
        opened.push(opener.open(spec, journal, &mut settled)?);
    }
    flush(journal, keeper, &mut settled)?;
    Ok(opened)
}

/// One lane with its sinks, at the start.
struct Opener<'a> {
    settings: &'a Settings,
    site: &'a Site,
    catalog: &'a routing::Catalog,
    lane: &'a Arc<journal::LaneState>,
}

impl Opener<'_> {
    fn open(
        &self,
        spec: Option<&Destination>,
        journal: &mut Journal,
        settled: &mut VecDeque<SettleGroup>,
    ) -> Result<OpenDestination, String> {
        let (site, lane) = (self.site, self.lane);
        let is_door = lane.id == journal::DOOR_LANE;
        let next = journal.next_position();
        let dead_max = spec.map_or(self.settings.door_dead_letters_max_bytes, |d| {
            d.lane.dead_letters_max_bytes
        });
        let (dead_letters, held) = site.dead_letters(lane, dead_max, next)?;
        settled.extend(site.held(lane, &held, settled)?);
        let (egress, sink) = match spec {
            Some(spec) => {
                let (egress, sink, held) = site.egress(lane, spec, next)?;
                settled.extend(site.held(lane, &held, settled)?);
                (egress, sink)
            }
            None => (Egress::Nowhere, None),
        };
        let (mode, changes) = self.modes(journal, spec.map(|d| d.lane.strict), sink);
        let words = on_reject_of(&self.settings.routes, &lane.name, &self.catalog.routes);
        let backlog = spec.map_or(DOOR_BACKLOG_BYTES, |d| d.lane.backlog_bytes);
        let id = self.catalog.memory_lanes.get(&lane.name);
        let memory = id
            .zip(spec)
            .map(|(id, spec)| open_memory(*id, spec, &egress));
        Ok(OpenDestination {
            memory,
            lane: lane_settings(lane.id, spec, mode, &egress, words),
            name: lane.name.as_str().into(),
            backlog_bytes: backlog,
            dead_letters_max_bytes: dead_max,
            is_orphan: spec.is_none() && !is_door,
            changes,
            egress,
            dead_letters,
        })
    }

    /// The lane's mode for the first that it owes, and the changes after it. A lane whose
    /// destination is gone keeps the mode that it had.
    fn modes(
        &self,
        journal: &mut Journal,
        strict: Option<bool>,
        sink: Option<LogUuid>,
    ) -> (Mode, Vec<(Mode, Position)>) {
        let id = self.lane.id;
        let known = journal.shared().read_catalog(|c| {
            c.lane(id)
                .map_or_else(LaneModes::default, |l| l.modes.clone())
        });
        let strict = strict.unwrap_or_else(|| known.is_strict_last());
        let modes = known.from_start(strict, self.lane.owed(), journal.next_position());
        journal.describe_lane(id, modes.clone(), sink);
        modes_of(&modes)
    }
}

/// As a lane is told them.
pub fn modes_of(modes: &LaneModes) -> (Mode, Vec<(Mode, Position)>) {
    let changes = modes.changes();
    let changes = changes.map(|(barrier, is_strict)| (Mode::of(is_strict), barrier));
    (Mode::of(modes.is_strict_first()), changes.collect())
}

#[cfg(test)]
mod tests;
