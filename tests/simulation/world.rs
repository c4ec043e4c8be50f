//! One seeded history: processes of the gateway's core on one simulated disk, each worked on step by
//! step and cut short, recovered, and judged by the model.

mod finish;

use super::lanes::{Around, Destination, Exit, SimLane};
use super::model::{Check, DEAD_LETTER_LOG, Model, Run, STREAM_LOG, ensure};
use super::publisher::{Publisher, Sent};
use super::shape::{HANGING, LANE_NAMES, LANES, STREAM, STRICT, Shape, Trouble};
use super::stats::Stats;
use crate::support::sim_disk::{Call, SimDisk};
use causeway::clock::{Clock, Wall};
use causeway::egress::DeadLetterLog;
use causeway::egress::NameBook;
use causeway::egress::stream::{
    From, JournalState, Retention, StreamDestination, StreamLog, StreamOptions,
};
use causeway::faults::Faults;
use causeway::journal::{
    self, DOOR_LANE, FreeSpace, Journal, JournalOptions, Keeper, LaneFeed, LaneModes, SettleGroup,
    Shared, SinkMarks, Submission, Walk, lookup,
};
use causeway::lane::Lane;
use causeway::log::disk::Disk;
use causeway::log::{LogKind, Sizes};
use causeway::message::{LaneId, Outcome, Position, RouteId, Settlement};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const JOURNAL: &str = "/data/journal";
const START: Wall = Wall(1_700_000_000_000);

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    PowerCut,
    Kill,
    CleanStop,
}

/// A process of the gateway.
struct Process {
    journal: Journal,
    keeper: Keeper,
    shared: Arc<Shared>,
    lanes: Vec<SimLane>,
    publishes: VecDeque<Submission>,
    sent: VecDeque<Sent>,
    settlements: VecDeque<SettleGroup>,
}

/// Something that a fault of the disk excuses.
struct Trip(String);

pub struct World {
    rng: fastrand::Rng,
    planted: Faults,
    shape: Shape,
    trouble: Trouble,
    disk: SimDisk,
    clock: Clock,
    model: Model,
    destinations: [Destination; LANES],
    process: Option<Process>,
    numbers: u64,
    stopped_clean: bool,
    pub stats: Stats,
    trace: Option<Vec<String>>,
}

impl World {
    pub fn new(seed: u64, trouble: Trouble, planted: Faults, traced: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let shape = Shape::random(&mut rng);
        let disk = SimDisk::new(rng.u64(..));
        let data = Path::new("/data");
        for dir in [data, &data.join("streams"), &data.join("dead")] {
            disk.create_dir_all(dir).expect("no faults yet");
            disk.sync_dir(dir.parent().expect("not the root"))
                .expect("no faults yet");
        }
        let mut destinations = [Destination {
            hangs: false,
            failures: shape.failures,
        }; LANES];
        destinations[HANGING.0 as usize].hangs = shape.hangs && rng.bool();
        let mut world = Self {
            planted,
            trouble,
            disk,
            clock: Clock::manual(START),
            model: Model::new(&shape),
            destinations,
            process: None,
            numbers: 0,
            stopped_clean: false,
            stats: Stats::default(),
            trace: traced.then(Vec::new),
            rng,
            shape,
        };
        let shape = format!("{:?}", world.shape);
        world.note(|| shape);
        world
    }

    pub fn trace(&self) -> String {
        let lines = self.trace.as_deref().unwrap_or_default();
        lines.join("\n  ")
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (changes, now) = (self.disk.changes(), self.clock.mono().0);
            trace.push(format!("{changes:>5} {now:>7} ms {}", what()));
        }
    }

    /// A whole history.
    pub fn play(&mut self) -> Check {
        for _ in 0..self.shape.processes {
            self.recover()?;
            self.script_power_cut();
            for _ in 0..self.shape.steps {
                if self.disk.is_off() {
                    break;
                }
                self.step()?;
            }
            self.end_anyhow()?;
        }
        self.finish()
    }

    // --- the steps of a process ---

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a process runs")
    }

    fn step(&mut self) -> Check {
        let hits = self.disk.faults_hit();
        let mut wrong = Vec::new();
        match self.rng.u8(..100) {
            0..18 => self.publish(),
            18..38 => self.journal_step(&mut wrong)?,
            38..45 => self.keeper_step(),
            45..47 => self.checkpoint(),
            47..84 => {
                let lane = self.rng.usize(..LANES);
                self.lane_step(lane, &mut wrong)?;
            }
            84..93 => self.pass_time(),
            93..95 => self.look_up()?,
            95 => {
                let shared = Arc::clone(&self.process().shared);
                self.model.check_ledgers(&shared)?;
            }
            96 => self.destinations[HANGING.0 as usize].hangs |= self.shape.hangs,
            _ => self.script_trouble(),
        }
        if let Some(what) = wrong.into_iter().next() {
            self.note(|| format!("went wrong: {what}"));
            // A log remembers what failed when its next segment was made ready.
            let hits = if what.starts_with("journal") { hits } else { 0 };
            let excused = self.disk.faults_hit() != hits || self.disk.is_off();
            ensure!(excused, "went wrong without a cause: {what}");
        }
        Ok(())
    }

    fn publish(&mut self) {
        for _ in 0..self.rng.u8(1..=self.shape.burst) {
            let wall = self.clock.wall();
            let hasher = self.process().shared.hasher;
            let mut publisher = Publisher {
                shape: &self.shape,
                rng: &mut self.rng,
                wall,
            };
            let (submission, sent) = publisher.make(self.numbers, &hasher);
            self.numbers += 1;
            self.submit(submission, sent);
        }
    }

    fn submit(&mut self, submission: Submission, sent: Sent) {
        self.note(|| {
            let lanes: Vec<u32> = sent.message.plan.targets.iter().map(|t| t.lane.0).collect();
            format!("publish {} {:?} to {lanes:?}", sent.number, sent.ident)
        });
        let process = self.process();
        process.publishes.push_back(submission);
        process.sent.push_back(sent);
    }

    fn journal_step(&mut self, wrong: &mut Vec<String>) -> Check {
        let process = self.process.as_mut().expect("a process runs");
        let had_failed = process.shared.failure().is_some();
        let groups: Vec<SettleGroup> = process.settlements.iter().cloned().collect();
        let step = process
            .journal
            .step(&mut process.publishes, &mut process.settlements);
        let taken: Vec<_> = process
            .sent
            .drain(..step.answers.len())
            .zip(step.answers)
            .collect();
        let gone = groups.len() - process.settlements.len();
        let settled: Vec<Settlement> = groups[..gone]
            .iter()
            .flat_map(|g| g.settlements.iter().cloned())
            .collect();
        self.stats.rolls += u64::from(step.sealed);
        self.stats.accepted += taken
            .iter()
            .filter(|(_, a)| a.as_ref().is_ok_and(|a| !a.is_duplicate()))
            .count() as u64;
        let shared = Arc::clone(&process.shared);
        let failure = shared.failure();
        self.note(|| {
            let answers: Vec<String> = taken
                .iter()
                .map(|(s, a)| format!("{}: {a:?}", s.number))
                .collect();
            let settled: Vec<String> = settled.iter().map(|s| s.at.to_string()).collect();
            format!(
                "journal: {answers:?}, settled {settled:?}, stalled {}",
                step.stalled
            )
        });
        match failure {
            None => {
                let run = Run {
                    uuid: shared.reader.uuid(),
                    epoch: shared.epoch,
                    may_be_full: shared.space() != journal::Space::Enough,
                };
                self.model.stepped(&taken, &settled, run, &mut self.stats)
            }
            Some(_) if had_failed => {
                let acked = taken.iter().find(|(_, answer)| answer.is_ok());
                ensure!(
                    acked.is_none(),
                    "{acked:?} was answered by a journal that failed"
                );
                Ok(())
            }
            Some(reason) => {
                self.stats.journal_failures += u64::from(!self.disk.is_off());
                wrong.push(format!("journal: {reason}"));
                self.model.failed(taken, &settled)
            }
        }
    }

    fn keeper_step(&mut self) {
        self.process().keeper.step();
        self.note(|| "keeper".into());
    }

    fn checkpoint(&mut self) {
        let process = self.process();
        let image = process.journal.checkpoint_image();
        process.keeper.checkpoint(&image);
        let cursor = image.cursor;
        self.note(|| format!("checkpoint at {cursor:?}"));
    }

    fn around<'a>(
        &'a mut self,
        lane: usize,
        wrong: &'a mut Vec<String>,
    ) -> (&'a mut SimLane, Around<'a>) {
        let process = self.process.as_mut().expect("a process runs");
        let around = Around {
            model: &mut self.model,
            rng: &mut self.rng,
            clock: &self.clock,
            stats: &mut self.stats,
            shape: &self.shape,
            destination: self.destinations[lane],
            settlements: &mut process.settlements,
            wrong,
            trace: &mut self.trace,
        };
        (&mut process.lanes[lane], around)
    }

    fn lane_step(&mut self, lane: usize, wrong: &mut Vec<String>) -> Check {
        for _ in 0..self.rng.u8(1..8) {
            let (lane, mut around) = self.around(lane, wrong);
            lane.step(&mut around)?;
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        let most = [20, 500, 3_000][self.rng.usize(..3)];
        let ms = self.rng.u64(0..most);
        self.advance(ms);
    }

    fn advance(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.model.alive_ms += ms;
    }

    fn look_up(&mut self) -> Check {
        let next = self.model.next_position();
        if next == 0 {
            return Ok(());
        }
        let position = self.rng.u64(..next);
        self.check_lookup(position)
    }

    fn check_lookup(&mut self, position: u64) -> Check {
        let shared = Arc::clone(&self.process().shared);
        match lookup::targets_at(&self.disk, &shared, Position(position)) {
            Ok(found) => {
                self.stats.lookups += 1;
                let targets = found.map(|f| f.targets);
                self.model.check_lookup(&shared, targets.as_ref(), position)
            }
            Err(e) => {
                let injected = e.to_string().contains("injected");
                ensure!(injected || self.disk.is_off(), "look-up of {position}: {e}");
                Ok(())
            }
        }
    }

    // --- trouble ---

    fn script_power_cut(&mut self) {
        if self.rng.u8(..3) != 0 {
            let soon = [5, 30, 150, 600][self.rng.usize(..4)];
            let at = self.disk.changes() + self.rng.u64(0..soon);
            self.note(|| format!("the power will go at change {at}"));
            self.disk.crash_at(at);
        }
    }

    fn script_trouble(&mut self) {
        match (self.trouble.failing, self.trouble.full) {
            (true, true) if self.rng.bool() => self.script_fault(),
            (true, false) => self.script_fault(),
            (_, true) => self.script_capacity(),
            (false, false) => {}
        }
    }

    fn script_fault(&mut self) {
        let calls = [
            Call::Write,
            Call::Sync,
            Call::Sync,
            Call::SyncDir,
            Call::Create,
            Call::Rename,
            Call::Remove,
            Call::Read,
        ];
        let call = calls[self.rng.usize(..calls.len())];
        let under = ["/data", JOURNAL, "/data/streams", "/data/dead"][self.rng.usize(..4)];
        let skip = self.rng.u64(0..4);
        self.note(|| format!("{call:?} under {under} will fail after {skip} more"));
        self.disk
            .fail_nth_under(Path::new(under), call, skip, io::ErrorKind::Other);
    }

    fn script_capacity(&mut self) {
        let used = self.disk.used_bytes();
        let capacity = match self.rng.u8(..4) {
            0 | 1 => None,
            2 => Some(used),
            _ => Some(used + self.rng.u64(0..60) * 4096),
        };
        self.note(|| format!("{used} bytes used of {capacity:?}"));
        self.disk.set_capacity(capacity);
    }

    // --- the end of a process ---

    fn end_anyhow(&mut self) -> Check {
        let failed = self.process().shared.failure().is_some();
        let end = match self.rng.u8(..4) {
            _ if self.disk.is_off() => End::PowerCut,
            0 => End::PowerCut,
            1 if !failed => End::CleanStop,
            _ => End::Kill,
        };
        self.end(end)
    }

    fn end(&mut self, end: End) -> Check {
        if matches!(end, End::CleanStop) {
            self.stop_clean()?;
        }
        self.note(|| format!("{end:?}"));
        self.stats.ends_with_unsettled_work += u64::from(self.model.pending() > 0);
        let mut wrong = Vec::new();
        for lane in 0..LANES {
            let (lane, mut around) = self.around(lane, &mut wrong);
            lane.crash(&mut around)?;
        }
        self.count_of_process();
        self.process = None;
        self.model.dropping = [false; LANES];
        self.cut(end);
        Ok(())
    }

    /// What the disk has after the process.
    fn cut(&mut self, end: End) {
        self.disk = match end {
            End::PowerCut => {
                self.stats.power_cuts += 1;
                self.disk.crash(&mut self.rng)
            }
            End::Kill | End::CleanStop => {
                self.stats.kills += 1;
                self.disk.kill(&mut self.rng)
            }
        };
    }

    fn count_of_process(&mut self) {
        let counters = &self
            .process
            .as_ref()
            .expect("a process runs")
            .shared
            .counters;
        self.stats.compactions += counters.compactions.load(Ordering::Relaxed);
        self.stats.checkpoints += counters.checkpoints.load(Ordering::Relaxed);
        self.stats.evictions += counters.dedup_evictions.load(Ordering::Relaxed);
    }

    /// As the threads do it: what is queued is written, then a last checkpoint.
    fn stop_clean(&mut self) -> Check {
        self.disk.clear_faults();
        self.disk.set_capacity(None);
        let mut wrong = Vec::new();
        for _ in 0..100 {
            let process = self.process();
            if process.publishes.is_empty() && process.settlements.is_empty() {
                break;
            }
            self.journal_step(&mut wrong)?;
            self.keeper_step();
        }
        ensure!(wrong.is_empty(), "at a clean stop: {wrong:?}");
        self.keeper_step();
        self.checkpoint();
        // A checkpoint file that failed before takes no more.
        self.stopped_clean = self.process().keeper.problem().is_none();
        self.stats.clean_stops += 1;
        Ok(())
    }

    // --- recovery ---

    /// Starts a process, through whatever goes wrong at that.
    fn recover(&mut self) -> Check {
        for attempt in 0.. {
            self.disk.clear_faults();
            let scripted = attempt < 3 && self.rng.u8(..3) == 0;
            let wall = self.clock.wall().0 + self.rng.u64(0..5_000);
            self.clock = Clock::manual(Wall(wall - self.rng.u64(0..1_000)));
            match self.try_recover(scripted)? {
                Ok(process) => {
                    self.process = Some(process);
                    self.disk.clear_faults();
                    return Ok(());
                }
                Err(Trip(what)) => {
                    self.note(|| format!("recovery failed: {what}"));
                    let full = what.contains("no storage space") || what.contains("storage full");
                    let excused = self.disk.faults_hit() > 0 || self.disk.is_off();
                    ensure!(excused || full, "recovery failed: {what}");
                    self.disk.set_capacity(None);
                    self.stats.power_cuts_in_recovery += u64::from(self.disk.is_off());
                    let end = if self.disk.is_off() || self.rng.bool() {
                        End::PowerCut
                    } else {
                        End::Kill
                    };
                    self.cut(end);
                }
            }
        }
        Ok(())
    }

    fn script_recovery(&mut self, scripted: bool) {
        self.disk.clear_faults();
        let soon = self.disk.changes() + self.rng.u64(0..25);
        match self.rng.u8(..4) {
            _ if !scripted => {}
            0 => {}
            1 if self.trouble.failing => self.disk.fail_change(soon, io::ErrorKind::Other),
            2 if self.trouble.failing => {
                let skip = self.rng.u64(0..20);
                self.disk.fail_nth(Call::Read, skip, io::ErrorKind::Other);
            }
            _ => self.disk.crash_at(soon),
        }
    }

    fn try_recover(&mut self, scripted: bool) -> Check<Result<Process, Trip>> {
        self.script_recovery(scripted);
        let walk = if self.rng.u8(..3) == 0 {
            match journal::verify(self.shared_disk(), self.options()) {
                Ok(walk) => Some(walk),
                Err(e) => return Ok(Err(Trip(e.to_string()))),
            }
        } else {
            None
        };
        let opened = match journal::open(self.shared_disk(), self.options()) {
            Ok(opened) => opened,
            Err(e) => return Ok(Err(Trip(e.to_string()))),
        };
        if self.disk.is_off() {
            return Ok(Err(Trip("the power went at the last moment".into())));
        }
        self.disk.clear_faults();
        let report = opened.report.clone();
        self.note(|| format!("opened: {report:?}"));
        self.stats.torn_batches += u64::from(report.cut.is_some());
        if std::mem::take(&mut self.stopped_clean) {
            ensure!(report.replayed == 0, "after a clean stop: {report:?}");
        }
        let shared = Arc::clone(opened.journal.shared());
        self.model
            .recovered(&shared, report.next_position, &mut self.stats)?;
        if let Some(walk) = walk {
            self.check_walk(&walk)?;
        }
        let mut process = Process {
            journal: opened.journal,
            keeper: opened.keeper,
            shared,
            lanes: Vec::new(),
            publishes: VecDeque::new(),
            sent: VecDeque::new(),
            settlements: VecDeque::new(),
        };
        self.name_everything(&mut process)?;
        self.script_recovery(scripted);
        self.start_lanes(process)
    }

    fn check_walk(&mut self, walk: &Walk) -> Check {
        self.stats.walks += 1;
        ensure!(
            walk.problems.is_empty(),
            "the walk finds {:?}",
            walk.problems
        );
        for (i, name) in LANE_NAMES.iter().enumerate() {
            let totals = &self.model.lanes[i];
            let Some(lane) = walk.lanes.get(*name) else {
                ensure!(totals.planned == 0, "the walk doesn't know {name}");
                continue;
            };
            ensure!(
                (lane.found, lane.found_bytes) == (totals.pending, totals.owed_bytes),
                "the walk finds {} deliveries of {} bytes of {name}; it should be {} of {}",
                lane.found,
                lane.found_bytes,
                totals.pending,
                totals.owed_bytes
            );
        }
        Ok(())
    }

    fn shared_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    fn options(&mut self) -> JournalOptions {
        JournalOptions {
            dir: PathBuf::from(JOURNAL),
            sizes: self.shape.sizes,
            max_bytes: self.shape.max_bytes,
            keep_free_bytes: self.shape.keep_free_bytes,
            window: self.shape.window,
            clock: self.clock.clone(),
            seed: self.rng.u64(..),
            faults: self.planted,
        }
    }

    /// Names get the same numbers in every run.
    fn name_everything(&mut self, process: &mut Process) -> Check {
        for (i, name) in LANE_NAMES.iter().enumerate() {
            let id = process.journal.intern_lane(name);
            ensure!(id == LaneId(i as u32), "lane {name} has become {id:?}");
            let lane = process.shared.lane(id).ok_or("an interned lane is there")?;
            let limit = self.shape.backlog_bytes[i];
            lane.backlog_bytes.store(limit, Ordering::Relaxed);
            process
                .journal
                .describe_lane(id, LaneModes::always(id == STRICT), None);
        }
        let route = process.journal.intern_route("all");
        ensure!(route == RouteId(1), "the route has become {route:?}");
        Ok(())
    }

    /// Opens the sinks; what they hold is settled before any lane starts.
    fn start_lanes(&mut self, mut process: Process) -> Check<Result<Process, Trip>> {
        for i in 0..LANES {
            match self.open_lane(&mut process, LaneId(i as u32))? {
                Ok(lane) => process.lanes.push(lane),
                Err(trip) => return Ok(Err(trip)),
            }
        }
        self.process = Some(process);
        let settled = self.write_settlements()?;
        let process = self.process.take().expect("it was just put there");
        Ok(settled.map(|()| process))
    }

    fn open_lane(&mut self, process: &mut Process, id: LaneId) -> Check<Result<SimLane, Trip>> {
        let shared = Arc::clone(&process.shared);
        let state = shared.lane(id).ok_or("an interned lane is there")?;
        let routes = shared.read_catalog(|c| c.routes().iter().map(|r| r.name.clone()).collect());
        let names = Arc::new(NameBook::new(shared.reader.uuid(), routes));
        let name: Arc<str> = LANE_NAMES[id.0 as usize].into();
        let dead = match self.open_log(process, id, DEAD_LETTER_LOG)? {
            Ok(log) => log,
            Err(trip) => return Ok(Err(trip)),
        };
        let clock = self.clock.clone();
        let dead_letters = DeadLetterLog::new(dead, names.clone(), name.clone(), clock.clone());
        let exit = match id {
            DOOR_LANE => Exit::Nowhere,
            STREAM | STRICT => match self.open_log(process, id, STREAM_LOG)? {
                Ok(log) => Exit::Stream(StreamDestination::new(log, names, name, clock)),
                Err(trip) => return Ok(Err(trip)),
            },
            _ => Exit::Machine,
        };
        let settings = self.shape.settings(id);
        let lane = Lane::new(settings, self.planted, self.rng.fork());
        let feed = LaneFeed::new(Arc::clone(&shared), state, None);
        Ok(Ok(SimLane::new(id, lane, feed, exit, dead_letters)))
    }

    /// Opens a lane's stream or dead-letter log; what it holds counts as settled.
    fn open_log(
        &mut self,
        process: &mut Process,
        lane: LaneId,
        which: usize,
    ) -> Check<Result<StreamLog, Trip>> {
        let shared = Arc::clone(&process.shared);
        let marks = shared.lane(lane).ok_or("it is there")?.ledger().marks();
        let is_dead = which == DEAD_LETTER_LOG;
        let state = JournalState {
            uuid: shared.reader.uuid(),
            epoch: shared.epoch,
            next_position: process.journal.next_position(),
            mark: if is_dead {
                marks.dead_letters
            } else {
                marks.sink
            },
        };
        let options = self.log_options(process, lane, is_dead);
        let opened = match StreamLog::open(self.shared_disk(), options, state) {
            Ok(opened) => opened,
            Err(e) => return Ok(Err(Trip(e.to_string()))),
        };
        ensure!(
            opened.lost_mark.is_none(),
            "{lane:?} ends before {:?}",
            opened.lost_mark
        );
        let content = match opened
            .log
            .reader()
            .read(From::Earliest, usize::MAX, usize::MAX)
        {
            Ok(page) => page.records,
            Err(e) => return Ok(Err(Trip(e.to_string()))),
        };
        self.stats.held_in_sinks += opened.held.len() as u64;
        self.model
            .check_log(lane, &content, which, &mut self.stats)?;
        let (outcome, marks) = if is_dead {
            let dead_letters = opened.next_offset;
            (
                Outcome::DeadLettered,
                SinkMarks {
                    sink: 0,
                    dead_letters,
                },
            )
        } else {
            let sink = opened.next_offset;
            (
                Outcome::Delivered,
                SinkMarks {
                    sink,
                    dead_letters: 0,
                },
            )
        };
        match journal::settlements_for(&shared, lane, &opened.held, outcome, &process.settlements) {
            Ok(settlements) if settlements.is_empty() => {}
            Ok(settlements) => process.settlements.push_back(SettleGroup {
                lane,
                settlements,
                marks,
            }),
            Err(e) => return Ok(Err(Trip(e.to_string()))),
        }
        Ok(Ok(opened.log))
    }

    fn log_options(&mut self, process: &Process, lane: LaneId, is_dead: bool) -> StreamOptions {
        let name = LANE_NAMES[lane.0 as usize];
        let least = self.shape.sizes.min_segment_bytes;
        let rule = FreeSpace::new(least, self.shape.keep_free_bytes);
        let (folder, kind, bytes) = if is_dead {
            ("/data/dead", LogKind::DeadLetters, 32 * 1024)
        } else {
            (
                "/data/streams",
                LogKind::Stream,
                self.shape.stream_segment_bytes,
            )
        };
        StreamOptions {
            dir: Path::new(folder).join(name),
            kind,
            sizes: Sizes {
                min_segment_bytes: bytes,
                max_segment_bytes: bytes,
                reserve_segments: 0,
            },
            retention: if is_dead {
                Retention::default()
            } else {
                self.shape.retention
            },
            max_bytes: None,
            keep_free_bytes: if is_dead {
                rule.dead_letters_leave()
            } else {
                rule.streams_leave()
            },
            room_told: (!is_dead)
                .then(|| Arc::clone(&process.shared.lane(lane).expect("it is there").sink_room)),
            seed: self.rng.u64(..),
        }
    }

    fn write_settlements(&mut self) -> Check<Result<(), Trip>> {
        for _ in 0..20 {
            self.keeper_step();
            if self.process().settlements.is_empty() && !self.process().journal.has_notices() {
                return Ok(Ok(()));
            }
            let mut wrong = Vec::new();
            self.journal_step(&mut wrong)?;
            if let Some(what) = wrong.pop() {
                return Ok(Err(Trip(what)));
            }
        }
        // Only a disk without any room excuses this.
        Ok(Err(Trip(
            "no room for settlements: no storage space".into(),
        )))
    }
}
