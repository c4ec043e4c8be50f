//! One seeded history: a log on a simulated disk, worked on by a writer and a housekeeper, cut
//! short, recovered, and judged by the model.

use super::model::{Model, Rec, Seen, Written};
use crate::support::sim_disk::{Call, SimDisk};
use causeway::clock::Wall;
use causeway::log::disk::Disk;
use causeway::log::{
    AppendError, Batch, Checkpoints, Cursor, Keep, Log, LogKind, OpenError, OpenOptions, Record,
    Records, Segment, Sizes, Stamp, Urgency, compact, open, write_index,
};
use causeway::message::{Epoch, LogUuid, Position};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const SEGMENT_BYTES: u64 = 12 * 1024;
const DIR: &str = "/data/journal";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With checkpoints; compacts and retires what they cover.
    Journal,
    /// Without; retires the oldest. Sealed segments with an index are skipped at start, or not.
    Stream { skip_indexed: bool },
}

/// What a history is put through.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Calls fail now and then.
    pub faults: bool,
    /// The disk is full now and then.
    pub full: bool,
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    PowerCut,
    Kill,
}

pub struct World {
    seed: u64,
    rng: fastrand::Rng,
    style: Style,
    trouble: Trouble,
    pub disk: SimDisk,
    pub model: Model,
    run: Option<Run>,
    uuid: Option<LogUuid>,
    /// The last checkpoint that is durable, by its number, and those that may be.
    checkpoint: (u64, Option<Cursor>),
    attempts: Vec<(u64, Cursor)>,
    clock_ms: u64,
    bodies: u64,
    trace: Vec<String>,
}

/// A process.
struct Run {
    log: Log,
    checkpoints: Option<Checkpoints>,
    /// Segments whose retirement failed half-way.
    half_retired: Vec<Arc<Segment>>,
}

/// Why an operation did not work, as far as it matters here.
#[derive(Debug)]
struct Trip(String);

impl World {
    pub fn new(seed: u64, style: Style, trouble: Trouble) -> Self {
        let disk = SimDisk::new(seed);
        let data = Path::new("/data");
        disk.create_dir_all(data).expect("no faults yet");
        disk.sync_dir(Path::new("/")).expect("no faults yet");
        Self {
            seed,
            rng: fastrand::Rng::with_seed(seed),
            style,
            trouble,
            disk,
            model: Model::default(),
            run: None,
            uuid: None,
            checkpoint: (0, None),
            attempts: Vec::new(),
            clock_ms: 0,
            bodies: 0,
            trace: Vec::new(),
        }
    }

    fn fail(&self, what: &str) -> ! {
        let seed = self.seed;
        let files = self.disk.files();
        let last = self.trace[self.trace.len().saturating_sub(80)..].join("\n  ");
        panic!(
            "seed {seed}, {:?}, {:?}: {what}\n  {last}\nfiles: {files:?}",
            self.style, self.trouble
        )
    }

    fn expect<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|e| self.fail(&e))
    }

    fn note(&mut self, what: impl Into<String>) {
        self.trace
            .push(format!("{:>4} {}", self.disk.changes(), what.into()));
    }

    /// A whole history: some processes, each of which ends, and a last look.
    pub fn play(mut self, processes: usize, steps: usize) {
        for _ in 0..processes {
            self.recover();
            self.work(steps);
            self.end_anyhow();
        }
        self.trouble = Trouble {
            faults: false,
            full: false,
        };
        self.finish();
    }

    /// Recovers twice with a power cut in between: what the first one reports must survive it.
    pub fn finish(&mut self) {
        self.disk.clear_faults();
        self.disk.set_capacity(None);
        self.recover();
        self.end(End::PowerCut);
        self.recover();
        self.append(Urgency::Normal);
        self.end(End::PowerCut);
        self.recover();
    }

    /// Steps until the process is to end.
    pub fn work(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.disk.is_off() || self.run.is_none() {
                return;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        if self.trouble.faults && self.rng.u8(0..12) == 0 {
            self.script_fault();
        }
        if self.trouble.full && self.rng.u8(0..6) == 0 {
            self.script_capacity();
        }
        match self.rng.u8(0..24) {
            0..=9 => self.append(Urgency::Normal),
            10 => self.append(Urgency::Essential),
            11..=14 => self.prepare(),
            15 | 16 => self.write_index(),
            17 | 18 => self.write_checkpoint(),
            19 => self.retire(),
            20 if self.style == Style::Journal => self.compact(),
            21 if self.rng.bool() => self.drop_spares(),
            22 => {
                let reader = self.log().reader();
                if let Err(e) = self.model.check_all(&reader) {
                    self.accept_read_error(&e);
                }
            }
            _ => self.read_some(),
        }
    }

    pub fn end_anyhow(&mut self) {
        let end = if self.disk.is_off() || self.rng.bool() {
            End::PowerCut
        } else {
            End::Kill
        };
        self.end(end);
    }

    pub fn power_cut(&mut self) {
        self.end(End::PowerCut);
    }

    fn end(&mut self, end: End) {
        self.note(format!("{end:?}"));
        self.run = None;
        self.disk = match end {
            End::PowerCut => self.disk.crash(&mut self.rng),
            End::Kill => self.disk.kill(&mut self.rng),
        };
    }

    // --- recovery ---

    /// Opens the log, through whatever goes wrong at that, and judges what it reports.
    pub fn recover(&mut self) {
        for attempt in 0.. {
            if attempt < 3 && self.trouble.faults {
                self.script_recovery_fault();
            } else {
                self.disk.clear_faults();
            }
            let hits = self.disk.faults_hit();
            match self.try_recover() {
                Ok(()) => return,
                Err(Trip(e)) => {
                    let is_new_and_full = self.trouble.full && self.model.batch_count() == 0;
                    if self.disk.faults_hit() == hits && !self.disk.is_off() && !is_new_and_full {
                        self.fail(&format!("recovery failed: {e}"));
                    }
                    self.note(format!("recovery failed: {e}"));
                    self.disk.set_capacity(None);
                    self.end_anyhow();
                }
            }
        }
    }

    fn try_recover(&mut self) -> Result<(), Trip> {
        let disk: Arc<SimDisk> = Arc::new(self.disk.clone());
        let (mut checkpoints, mut reported) = (None, None);
        if self.style == Style::Journal {
            disk.create_dir_all(Path::new(DIR)).map_err(trip)?;
            disk.sync_dir(Path::new("/data")).map_err(trip)?;
            let (files, content) = Checkpoints::open(&*disk, Path::new(DIR)).map_err(trip)?;
            checkpoints = Some(files);
            reported = content.map(|c| decode_checkpoint(&c));
        }
        let mut seen = Vec::new();
        let options = self.options(reported.map(|(_, cursor)| cursor));
        let recovered = open(disk, &options, &mut |segment, found, known| {
            let records = Records::new(&found.header, found.body);
            seen.push(Seen {
                number: found.header.batch,
                compacted: segment.header.compacted,
                known,
                records: records.map(record_of).collect(),
            });
        });
        let recovered = recovered.map_err(|e: OpenError| Trip(e.to_string()))?;
        let cut = recovered.cut.is_some();
        self.run = Some(Run {
            log: recovered.log,
            checkpoints,
            half_retired: Vec::new(),
        });
        self.judge_recovery(reported, &seen);
        let end = self.log().end();
        self.note(format!(
            "recovered to {end:?} from {reported:?}, cut: {cut}"
        ));
        Ok(())
    }

    fn judge_recovery(&mut self, reported: Option<(u64, Cursor)>, seen: &[Seen]) {
        let (number, cursor) = reported.map_or((0, None), |(n, c)| (n, Some(c)));
        let is_attempt = |a: &(u64, Cursor)| a.0 == number && Some(a.1) == cursor;
        if number < self.checkpoint.0
            || (self.checkpoint != (number, cursor) && !self.attempts.iter().any(is_attempt))
        {
            let wanted = self.checkpoint;
            self.fail(&format!(
                "checkpoint {number} was reported, {wanted:?} was written"
            ));
        }
        self.checkpoint = (number, cursor);
        self.attempts.clear();
        let log = self.log();
        let (end, uuid, reader) = (log.end(), log.uuid(), log.reader());
        // Where segments may be missing or are skipped, the readers' view alone is complete.
        let is_complete = self.style == Style::Journal;
        let judged = self
            .model
            .check_recovery(&end, cursor.as_ref(), seen, is_complete);
        self.expect(judged);
        if self.model.batch_count() > 0 && self.uuid.is_some_and(|u| u != uuid) {
            self.fail("the log has another uuid");
        }
        self.uuid = Some(uuid);
        if let Err(e) = self.model.check_all(&reader) {
            self.accept_read_error(&e);
        }
    }

    fn options(&mut self, from: Option<Cursor>) -> OpenOptions {
        OpenOptions {
            dir: PathBuf::from(DIR),
            kind: if self.style == Style::Journal {
                LogKind::Journal
            } else {
                LogKind::Stream
            },
            sizes: Sizes {
                min_segment_bytes: SEGMENT_BYTES,
                max_segment_bytes: 2 * SEGMENT_BYTES,
                reserve_segments: 1,
            },
            from,
            skip_indexed: self.style == Style::Stream { skip_indexed: true },
            uuid: self.uuid.filter(|_| self.model.batch_count() > 0),
            seed: self.rng.u64(..),
        }
    }

    // --- trouble ---

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
            Call::SetLen,
        ];
        let call = calls[self.rng.usize(0..calls.len())];
        let skip = self.rng.u64(0..3);
        if self.rng.u8(0..3) == 0 {
            let at = self.disk.changes() + self.rng.u64(0..12);
            self.note(format!("the power will go at change {at}"));
            self.disk.crash_at(at);
        } else {
            self.note(format!("{call:?} will fail after {skip} more"));
            self.disk.fail_nth(call, skip, io::ErrorKind::Other);
        }
    }

    fn script_recovery_fault(&mut self) {
        match self.rng.u8(0..6) {
            0 | 1 => self.disk.crash_at(self.rng.u64(0..12)),
            2 => self
                .disk
                .fail_change(self.rng.u64(0..12), io::ErrorKind::Other),
            3 => self
                .disk
                .fail_nth(Call::Read, self.rng.u64(0..20), io::ErrorKind::Other),
            _ => {}
        }
    }

    fn script_capacity(&mut self) {
        let used = self.disk.used_bytes();
        let capacity = match self.rng.u8(0..3) {
            0 => None,
            1 => Some(used),
            _ => Some(used + self.rng.u64(0..4) * 4096),
        };
        self.note(format!("{used} bytes used of {capacity:?}"));
        self.disk.set_capacity(capacity);
    }

    /// Whether what just went wrong was scripted.
    fn check_scripted(&mut self, hits_before: u64, what: &str, e: &dyn std::fmt::Display) {
        self.note(format!("{what} failed: {e}"));
        let is_full = self.trouble.full && e.to_string().contains("no storage space");
        if self.disk.faults_hit() == hits_before && !self.disk.is_off() && !is_full {
            self.fail(&format!("{what} failed without a cause: {e}"));
        }
    }

    fn accept_read_error(&mut self, e: &str) {
        if !e.contains("injected into Read") && !self.disk.is_off() {
            self.fail(e);
        }
    }

    // --- steps ---

    fn log(&self) -> &Log {
        &self.run.as_ref().expect("a process runs").log
    }

    fn body(&mut self) -> Vec<u8> {
        self.bodies += 1;
        let len = match self.rng.u8(0..10) {
            0 => 0,
            1 => self.rng.usize(0..5000),
            _ => self.rng.usize(0..300),
        };
        let mut body = self.bodies.to_le_bytes().to_vec();
        body.resize(8 + len, self.bodies as u8);
        body
    }

    pub fn append(&mut self, urgency: Urgency) {
        let first_position = self.model.next_position();
        let mut batch = Batch::new(self.log().end().position);
        let mut written = Written {
            first_position,
            records: Vec::new(),
        };
        for _ in 0..self.rng.usize(1..6) {
            let record = Record::new(self.body());
            let position = if self.rng.u8(0..5) == 0 {
                batch.push_unpositioned(&record);
                None
            } else {
                Some(batch.push(&record).0)
            };
            written.records.push((position, record.body().to_vec()));
        }
        self.clock_ms += self.rng.u64(1..400);
        let stamp = Stamp {
            running_ms: self.clock_ms,
            wall: Wall(1_000_000 + self.clock_ms),
            epoch: Epoch(1),
        };
        let (hits, changes) = (self.disk.faults_hit(), self.disk.changes());
        let bytes = batch.disk_bytes();
        let was_failed = self.log().failure().is_some();
        let fits = bytes <= self.log().room(urgency);
        let log = &mut self.run.as_mut().expect("a process runs").log;
        let result = log.append(&mut batch, stamp, urgency);
        let is_untouched = self.disk.changes() == changes;
        match result {
            Ok(_) if was_failed || !fits => self.fail("an append worked that mustn't"),
            Ok(appended) => {
                self.note(format!(
                    "batch {} at {}",
                    self.model.batch_count(),
                    appended.offset
                ));
                self.model.acknowledge(written);
            }
            Err(AppendError::NoRoom) => {
                if fits || was_failed || !is_untouched {
                    self.fail("NoRoom, where there is room, or something was written");
                }
            }
            Err(AppendError::Failed(e)) if was_failed => {
                if !is_untouched {
                    self.fail(&format!("a failed log wrote: {e}"));
                }
            }
            Err(AppendError::Failed(e)) => {
                self.model.fail(written);
                if e.contains("no storage space") {
                    self.fail("an append needed space");
                }
                self.check_scripted(hits, "append", &e);
            }
        }
    }

    pub fn prepare(&mut self) {
        if self.log().shared().ready() >= 4 {
            return;
        }
        let hits = self.disk.faults_hit();
        let ready = self.log().shared().ready();
        let result = self.log().shared().prepare();
        let gained = self.log().shared().ready() - ready;
        match result {
            Ok(()) => self.note("prepared"),
            Err(e) => self.check_scripted(hits, "prepare", &e),
        }
        if gained > 1 {
            self.fail("prepare made more than one segment ready");
        }
    }

    /// All but the active one.
    fn sealed(&self) -> Vec<Arc<Segment>> {
        let mut segments = self.log().shared().segments();
        segments.pop();
        segments
    }

    /// Those that a durable checkpoint covers, or all if there are none.
    fn covered(&self) -> Vec<Arc<Segment>> {
        let mut sealed = self.sealed();
        if self.style == Style::Journal {
            let segment = self.checkpoint.1.map_or(0, |c| c.segment);
            sealed.retain(|s| s.header.last_seq < segment);
        }
        sealed
    }

    fn write_index(&mut self) {
        let sealed = self.sealed();
        if sealed.is_empty() {
            return;
        }
        let segment = &sealed[self.rng.usize(0..sealed.len())];
        let blob = vec![7; self.rng.usize(0..3000)];
        let hits = self.disk.faults_hit();
        match write_index(&self.disk, segment, &blob) {
            Ok(()) => self.note(format!("index of {}", segment.path.display())),
            Err(e) => self.check_scripted(hits, "write_index", &e),
        }
    }

    fn write_checkpoint(&mut self) {
        let cursor = self.log().end();
        let number = self.attempts.last().map_or(self.checkpoint.0, |a| a.0) + 1;
        let content = encode_checkpoint(number, &cursor, self.rng.usize(0..6000));
        let hits = self.disk.faults_hit();
        let run = self.run.as_mut().expect("a process runs");
        let Some(checkpoints) = &mut run.checkpoints else {
            return;
        };
        match checkpoints.write(&content) {
            Ok(()) => {
                self.checkpoint = (number, Some(cursor));
                self.attempts.clear();
                self.note(format!("checkpoint {number} at {cursor:?}"));
            }
            Err(e) if e.to_string().contains("earlier checkpoint write failed") => {}
            Err(e) => {
                self.attempts.push((number, cursor));
                self.check_scripted(hits, "checkpoint", &e);
            }
        }
    }

    fn retire(&mut self) {
        let run = self.run.as_mut().expect("a process runs");
        let mut gone = std::mem::take(&mut run.half_retired);
        if gone.is_empty() {
            gone = self.covered();
            gone.truncate(self.rng.usize(0..=gone.len()));
        }
        for segment in &gone {
            let (first, end) = segment.with_extent(|e| (e.first_position.0, e.end_position.0));
            self.model.release(first..end);
        }
        let names: Vec<_> = gone.iter().map(|s| s.path.display().to_string()).collect();
        let hits = self.disk.faults_hit();
        match self.log().shared().retire(&gone) {
            Ok(()) => self.note(format!("retired {names:?}")),
            Err(e) => {
                self.check_scripted(hits, &format!("retire {names:?}"), &e);
                if self.rng.bool() {
                    self.run.as_mut().expect("a process runs").half_retired = gone;
                }
            }
        }
    }

    fn compact(&mut self) {
        let covered = self.covered();
        if covered.is_empty() {
            return;
        }
        let from = self.rng.usize(0..covered.len());
        let to = self.rng.usize(from..covered.len().min(from + 3));
        let run = covered[from..=to].to_vec();
        drop(covered);
        let (drops_all, says_instead) = (self.rng.u8(0..4) == 0, self.rng.bool());
        for segment in &run {
            let (first, end) = segment.with_extent(|e| (e.first_position.0, e.end_position.0));
            for position in first..end {
                if drops_all || self.rng.bool() {
                    self.model.release([position]);
                }
            }
        }
        let names: Vec<_> = run.iter().map(|s| s.path.display().to_string()).collect();
        let hits = self.disk.faults_hit();
        let mut keep = Unsettled {
            model: &self.model,
            says_instead,
            wrong: None,
        };
        let result = compact(self.log().shared(), &run, &mut keep);
        if let Some(wrong) = keep.wrong {
            self.fail(&wrong);
        }
        match result {
            Ok(new) => self.note(format!("compacted {names:?}, left: {}", new.is_some())),
            Err(e) => self.check_scripted(hits, &format!("compact {names:?}"), &e),
        }
    }

    fn drop_spares(&mut self) {
        let hits = self.disk.faults_hit();
        match self.log().shared().drop_spares() {
            Ok(()) => self.note("dropped spares"),
            Err(e) => self.check_scripted(hits, "drop_spares", &e),
        }
    }

    fn read_some(&mut self) {
        let end = self.model.next_position();
        // The position after the last may be one whose append failed.
        for position in [self.rng.u64(0..=end), end] {
            let got = self.log().reader().read(Position(position));
            let judged = match &got {
                Ok(got) => self.model.check_read(position, got.as_ref()),
                Err(e) => Err(e.to_string()),
            };
            if let Err(e) = judged {
                self.accept_read_error(&e);
            }
        }
    }
}

/// Keeps what the model doesn't say is released.
struct Unsettled<'a> {
    model: &'a Model,
    says_instead: bool,
    wrong: Option<String>,
}

impl Keep for Unsettled<'_> {
    fn keeps(&mut self, position: Position, body: &[u8]) -> bool {
        if self.model.body(position.0) != Some(body) {
            self.wrong = Some(format!("compaction was shown another body at {position}"));
        }
        !self.model.is_released(position.0)
    }

    fn instead(&mut self) -> Vec<Record> {
        let record = || Record::new(b"what was dropped".to_vec());
        self.says_instead.then(record).into_iter().collect()
    }
}

fn trip(e: impl std::fmt::Display) -> Trip {
    Trip(e.to_string())
}

fn record_of(record: Option<causeway::log::RawRecord<'_>>) -> Rec {
    let record = record.expect("the scan checked the records");
    (record.position.map(|p| p.0), record.body.to_vec())
}

fn encode_checkpoint(number: u64, cursor: &Cursor, padding: usize) -> Vec<u8> {
    let words = [
        number,
        cursor.segment,
        cursor.offset,
        cursor.batch,
        cursor.position.0,
        cursor.running_ms,
        cursor.wall_ms,
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    bytes.resize(bytes.len() + padding, 0xcc);
    bytes
}

fn decode_checkpoint(bytes: &[u8]) -> (u64, Cursor) {
    let word = |i: usize| u64::from_le_bytes(bytes[i * 8..i * 8 + 8].try_into().expect("8 bytes"));
    let cursor = Cursor {
        segment: word(1),
        offset: word(2),
        batch: word(3),
        position: Position(word(4)),
        running_ms: word(5),
        wall_ms: word(6),
    };
    (word(0), cursor)
}
