//! Opens all that is on disk, in the order in which it depends on each other: lock, journal,
//! sinks; and counts what the sinks hold as settled before any lane starts.

mod lane_settings;

use super::{data_dir, explain};
use crate::clock::Clock;
use crate::config::Settings;
use crate::config::settings::{Destination, DestinationKind};
use crate::egress::stream::{
    JournalState, Opened, Retention, StreamDestination, StreamLog, StreamOptions,
};
use crate::egress::{DeadLetterLog, Egress, NameBook};
use crate::faults::Faults;
use crate::journal::{
    self, FreeSpace, Journal, JournalOptions, Keeper, LaneModes, SettleGroup, SinkMarks,
    WindowLimits,
};
use crate::lane::{LaneSettings, Mode};
use crate::log::disk::Disk;
use crate::log::{DirLock, LogKind, Sizes};
use crate::message::{LaneId, Outcome, Position};
use crate::routing::{self, Router};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

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
    pub disk: Arc<dyn Disk>,
    pub journal: Journal,
    pub keeper: Keeper,
    pub router: Router,
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
    pub dead_letters: DeadLetterLog,
}

pub fn open(settings: &Settings, clock: &Clock) -> Result<House, String> {
    let faults = faults()?;
    let dir = &settings.gateway.data_dir;
    let disk = data_dir::disk()?;
    data_dir::make(&*disk, dir).map_err(|e| explain::folder(dir, &e))?;
    let lock = DirLock::acquire(dir).map_err(|e| explain::locked(&e))?;
    let opened = journal::open(Arc::clone(&disk), journal_options(settings, clock, faults)?)
        .map_err(|e| explain::journal(&e))?;
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
    let destinations = open_destinations(settings, clock, &disk, &mut journal, &mut keeper)?;
    let limits = settings.limits.of_plans();
    let router = Router::new(&settings.routes, settings.unrouted, &catalog, limits)
        .map_err(|e| e.to_string())?;
    Ok(House {
        lock,
        disk,
        journal,
        keeper,
        router,
        destinations,
    })
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
    getrandom::u64().map_err(|e| format!("no random numbers from the system: {e}"))
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
        max_bytes: settings
            .journal
            .max_bytes
            .max(MIN_JOURNAL_SEGMENTS * min_segment_bytes),
        keep_free_bytes: keep_free_bytes(settings),
        window: WindowLimits {
            window: settings.dedup.window,
            max_entries: settings.dedup.max_entries,
        },
        clock: clock.clone(),
        seed: seed()?,
        faults,
    })
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
    routing::Catalog {
        routes,
        lanes,
        unrouted_route: journal::DOOR_ROUTE,
        door_lane: journal::DOOR_LANE,
    }
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
            return Err(format!("the journal failed: {reason}"));
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
    clock: &Clock,
    disk: &Arc<dyn Disk>,
    journal: &mut Journal,
    keeper: &mut Keeper,
) -> Result<Vec<OpenDestination>, String> {
    let routes = journal.shared().read_catalog(|catalog| {
        catalog
            .routes()
            .iter()
            .map(|r| Arc::clone(&r.name))
            .collect()
    });
    let names = Arc::new(NameBook::new(journal.shared().reader.uuid(), routes));
    let mut settled = VecDeque::new();
    let mut opened = Vec::new();
    for lane in journal.shared().lanes() {
        let spec = settings.destinations.iter().find(|d| d.name == lane.name);
        if spec.is_none() && lane.id != journal::DOOR_LANE && lane.ledger().pending() == 0 {
            continue;
        }
        let opener = Opener {
            settings,
            clock,
            disk,
            names: &names,
            lane: &lane,
        };
        opened.push(opener.open(spec, journal, &mut settled)?);
    }
    flush(journal, keeper, &mut settled)?;
    Ok(opened)
}

/// One lane with its sinks.
struct Opener<'a> {
    settings: &'a Settings,
    clock: &'a Clock,
    disk: &'a Arc<dyn Disk>,
    names: &'a Arc<NameBook>,
    lane: &'a Arc<journal::LaneState>,
}

impl Opener<'_> {
    fn open(
        &self,
        spec: Option<&Destination>,
        journal: &mut Journal,
        settled: &mut VecDeque<SettleGroup>,
    ) -> Result<OpenDestination, String> {
        let is_door = self.lane.id == journal::DOOR_LANE;
        let marks = self.lane.ledger().marks();
        let dead_max = spec.map_or(self.settings.door_dead_letters_max_bytes, |d| {
            d.lane.dead_letters_max_bytes
        });
        let folder = if is_door {
            "$door"
        } else {
            self.lane.name.as_str()
        };
        let dead_dir = self.settings.gateway.data_dir.join("dead").join(folder);
        let dead = self.dead_letter_log(&dead_dir, dead_max, journal, marks.dead_letters)?;
        Self::tell(&format!("the dead letters of {}", self.lane.name), &dead);
        self.count_held(
            journal,
            &dead.held,
            Outcome::DeadLettered,
            (0, dead.next_offset),
            settled,
        )?;
        let name: Arc<str> = self.lane.name.as_str().into();
        let dead_letters = DeadLetterLog::new(
            dead.log,
            Arc::clone(self.names),
            Arc::clone(&name),
            self.clock.clone(),
        );
        let (egress, sink) = match spec {
            Some(spec) => self.egress(spec, journal, marks.sink, settled)?,
            None => (Egress::Nowhere, None),
        };
        let (mode, changes) = self.modes(journal, spec.map(|d| d.lane.strict), sink);
        let backlog = spec.map_or(DOOR_BACKLOG_BYTES, |d| d.lane.backlog_bytes);
        Ok(OpenDestination {
            lane: self.lane_settings(spec, mode, egress.key_order(), journal),
            name,
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
        sink: Option<crate::message::LogUuid>,
    ) -> (Mode, Vec<(Mode, Position)>) {
        let id = self.lane.id;
        let known = journal.shared().read_catalog(|c| {
            c.lane(id)
                .map_or_else(LaneModes::default, |l| l.modes.clone())
        });
        let owed = {
            let ledger = self.lane.ledger();
            let first = ledger.owed().first().map(|first| first.position);
            first.zip(ledger.owed().last_position())
        };
        let strict = strict.unwrap_or_else(|| known.is_strict_last());
        let modes = known.from_start(strict, owed, journal.next_position());
        journal.describe_lane(id, modes.clone(), sink);
        let of = |strict| if strict { Mode::Strict } else { Mode::Keyed };
        let changes = modes.changes().map(|(at, strict)| (of(strict), at));
        (of(modes.is_strict_first()), changes.collect())
    }

    fn dead_letter_log(
        &self,
        dir: &Path,
        max_bytes: u64,
        journal: &Journal,
        mark: u64,
    ) -> Result<Opened, String> {
        let min = MIN_DEAD_LETTER_SEGMENT_BYTES.max(min_segment_bytes(self.settings) / 2);
        let options = StreamOptions {
            dir: dir.to_path_buf(),
            kind: LogKind::DeadLetters,
            sizes: Sizes {
                min_segment_bytes: min,
                max_segment_bytes: min,
                reserve_segments: 0,
            },
            retention: Retention::default(),
            max_bytes: Some(max_bytes),
            keep_free_bytes: free_space(self.settings).dead_letters_leave(),
            room_told: None,
            seed: seed()?,
        };
        StreamLog::open(Arc::clone(self.disk), options, journal_state(journal, mark))
            .map_err(|e| explain::sink(&format!("the dead letters of {}", self.lane.name), &e))
    }

    fn egress(
        &self,
        spec: &Destination,
        journal: &Journal,
        mark: u64,
        settled: &mut VecDeque<SettleGroup>,
    ) -> Result<(Egress, Option<crate::message::LogUuid>), String> {
        match &spec.kind {
            DestinationKind::Stream { retention } => {
                let min = min_segment_bytes(self.settings);
                let options = StreamOptions {
                    dir: self
                        .settings
                        .gateway
                        .data_dir
                        .join("streams")
                        .join(&spec.name),
                    kind: LogKind::Stream,
                    sizes: Sizes {
                        min_segment_bytes: min,
                        max_segment_bytes: MAX_SEGMENT_BYTES.max(min),
                        reserve_segments: 0,
                    },
                    retention: Retention {
                        max_bytes: Some(retention.max_bytes),
                        max_age: Some(retention.max_age),
                    },
                    max_bytes: None,
                    keep_free_bytes: free_space(self.settings).streams_leave(),
                    room_told: Some(Arc::clone(&self.lane.sink_room)),
                    seed: seed()?,
                };
                let opened =
                    StreamLog::open(Arc::clone(self.disk), options, journal_state(journal, mark))
                        .map_err(|e| explain::sink(&format!("the stream {}", spec.name), &e))?;
                Self::tell(&spec.name, &opened);
                self.count_held(
                    journal,
                    &opened.held,
                    Outcome::Delivered,
                    (opened.next_offset, 0),
                    settled,
                )?;
                let uuid = opened.log.uuid();
                let name: Arc<str> = spec.name.as_str().into();
                let stream = StreamDestination::new(
                    opened.log,
                    Arc::clone(self.names),
                    name,
                    self.clock.clone(),
                );
                Ok((Egress::Stream(stream), Some(uuid)))
            }
            #[cfg(feature = "faults")]
            DestinationKind::Faulty { script, record } => {
                use crate::egress::{KeyOrder, faulty};
                let script = script
                    .parse()
                    .map_err(|e| format!("{}: script: {e}", spec.name))?;
                let timeout = Some(spec.lane.timeout);
                let faulty = faulty::Faulty::to_file(script, KeyOrder::OneAtATime, timeout, record)
                    .map_err(|e| format!("{}: {}: {e}", spec.name, record.display()))?;
                Ok((Egress::Faulty(faulty), None))
            }
        }
    }

    /// What opening a sink found that an operator may want to know.
    fn tell(sink: &str, opened: &Opened) {
        if let Some(cut) = &opened.cut {
            tracing::warn!(file = %cut.path.display(), byte = cut.offset,
                "{sink}: cut a torn batch off its end: it will be delivered again");
        }
        if let Some(mark) = opened.lost_mark {
            tracing::warn!(
                mark,
                next_offset = opened.next_offset,
                "{sink}: it ends before what the journal has settled: its folder was deleted, or is an older copy"
            );
        }
    }

    /// Promise 5: what a sink holds counts as settled, before its lane delivers anything.
    fn count_held(
        &self,
        journal: &Journal,
        held: &[crate::message::DeliveryId],
        outcome: Outcome,
        (sink, dead_letters): (u64, u64),
        settled: &mut VecDeque<SettleGroup>,
    ) -> Result<(), String> {
        let lane = self.lane.id;
        let settlements = journal::settlements_for(journal.shared(), lane, held, outcome, settled)
            .map_err(|e| format!("{}: {e}", self.lane.name))?;
        if !settlements.is_empty() {
            tracing::info!(lane = %self.lane.name, deliveries = settlements.len(),
                "its sink holds deliveries that the journal had not settled");
            let marks = SinkMarks { sink, dead_letters };
            settled.push_back(SettleGroup {
                lane,
                settlements,
                marks,
            });
        }
        Ok(())
    }
}

fn journal_state(journal: &Journal, mark: u64) -> JournalState {
    JournalState {
        uuid: journal.shared().reader.uuid(),
        epoch: journal.epoch(),
        next_position: journal.next_position(),
        mark,
    }
}

#[cfg(test)]
mod tests;
