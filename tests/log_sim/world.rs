//! One seeded history: a log on a simulated disk, worked on by a writer and a housekeeper, cut
//! short, recovered, and judged by the model.

use super::model::{Model, Rec, Seen};
use crate::support::sim_disk::{Call, SimDisk};
use causeway::log::disk::Disk;
use causeway::log::{
    Checkpoints, Cursor, Cut, Log, LogKind, OpenError, OpenOptions, RawRecord, Records, Recovered,
    Sizes, Urgency, open,
};
use causeway::message::{LogUuid, Position};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 12 * 1024;
const DATA_DIR: &str = "/data";
pub const DIR: &str = "/data/journal";

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    PowerCut,
    /// The page cache survives.
    Kill,
}

pub struct World {
    seed: u64,
    pub rng: fastrand::Rng,
    pub style: Style,
    trouble: Trouble,
    pub disk: SimDisk,
    pub model: Model,
    pub run: Option<Run>,
    uuid: Option<LogUuid>,
    /// The last checkpoint that is durable, by its number, and those that may be.
    pub checkpoint: (u64, Option<Cursor>),
    pub attempts: Vec<(u64, Cursor)>,
    /// Of the last recovery.
    pub cut: Option<Cut>,
    /// Where each batch of this history stands.
    pub placed: Vec<Placed>,
    pub clock_ms: u64,
    pub bodies: u64,
    trace: Vec<String>,
}

/// A batch on disk: header and records, without the padding.
#[derive(Clone, Debug)]
pub struct Placed {
    pub path: PathBuf,
    pub bytes: std::ops::Range<u64>,
    pub positions: std::ops::Range<u64>,
}

/// Something that a process does.
type Step = fn(&mut World);

/// A process.
pub struct Run {
    pub log: Log,
    pub checkpoints: Option<Checkpoints>,
}

/// What opening gave.
pub struct Opened {
    pub recovered: Recovered,
    pub checkpoints: Option<Checkpoints>,
    pub reported: Option<(u64, Cursor)>,
    pub seen: Vec<Seen>,
}

impl World {
    pub fn new(seed: u64, style: Style, trouble: Trouble) -> Self {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new(DATA_DIR))
            .expect("no faults yet");
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
            cut: None,
            placed: Vec::new(),
            clock_ms: 0,
            bodies: 0,
            trace: Vec::new(),
        }
    }

    pub fn fail(&self, what: &str) -> ! {
        let seed = self.seed;
        let files = self.disk.files();
        let last = self.trace[self.trace.len().saturating_sub(80)..].join("\n  ");
        panic!(
            "seed {seed}, {:?}, {:?}: {what}\n  {last}\nfiles: {files:?}",
            self.style, self.trouble
        )
    }

    pub fn expect<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|e| self.fail(&e))
    }

    pub fn note(&mut self, what: impl Into<String>) {
        let change = self.disk.changes();
        self.trace.push(format!("{change:>4} {}", what.into()));
    }

    pub fn log(&self) -> &Log {
        &self.run.as_ref().expect("a process runs").log
    }

    /// A whole history: some processes, each of which ends, and a last look.
    pub fn play(mut self, processes: usize, steps: usize) {
        for _ in 0..processes {
            self.recover();
            self.work(steps);
            self.end_anyhow();
        }
        self.finish();
    }

    /// Recovers with power cuts in between: what is reported once must survive.
    pub fn finish(mut self) {
        self.trouble = Trouble {
            faults: false,
            full: false,
        };
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
            if self.disk.is_off() {
                return;
            }
            self.step();
        }
    }

    /// Some segments, and all that a housekeeper does with them.
    pub fn keep_house(&mut self) {
        let steps: [(usize, Step); 9] = [
            (4, Self::prepare),
            (18, |world| world.append(Urgency::Normal)),
            (1, Self::write_checkpoint),
            (2, Self::write_index),
            (2, Self::compact),
            (1, Self::retire),
            (2, Self::prepare),
            (6, |world| world.append(Urgency::Normal)),
            (1, Self::compact),
        ];
        for (times, step) in steps {
            for _ in 0..times {
                if self.disk.is_off() {
                    return;
                }
                step(self);
            }
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
            22 => self.read_all(),
            _ => self.read_some(),
        }
    }

    pub fn end_anyhow(&mut self) {
        // Where the power was scripted to go, the process alone may have died as well.
        let end = if self.rng.bool() {
            End::PowerCut
        } else {
            End::Kill
        };
        self.end(end);
    }

    pub fn end(&mut self, end: End) {
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
            if self.trouble.faults && attempt < 3 {
                self.script_recovery_fault();
            }
            let hits = self.disk.faults_hit();
            let Err(e) = self.try_recover() else {
                return;
            };
            let is_new_and_full = self.trouble.full && self.model.batch_count() == 0;
            if self.disk.faults_hit() == hits && !self.disk.is_off() && !is_new_and_full {
                self.fail(&format!("recovery failed: {e}"));
            }
            self.note(format!("recovery failed: {e}"));
            self.disk.set_capacity(None);
            self.end_anyhow();
        }
    }

    pub fn try_recover(&mut self) -> Result<(), OpenError> {
        let Opened {
            recovered,
            checkpoints,
            reported,
            seen,
        } = self.open()?;
        self.cut = recovered.cut;
        self.run = Some(Run {
            log: recovered.log,
            checkpoints,
        });
        self.judge_checkpoint(reported);
        self.judge_recovery(&seen);
        let (end, cut) = (self.log().end(), &self.cut);
        self.note(format!(
            "recovered to {end:?} from {reported:?}, cut: {cut:?}"
        ));
        Ok(())
    }

    /// Opens the log as its user would, and judges nothing.
    pub fn open(&mut self) -> Result<Opened, OpenError> {
        let disk = Arc::new(self.disk.clone());
        let dir = Path::new(DIR);
        let (mut checkpoints, mut reported) = (None, None);
        if self.style == Style::Journal {
            disk.create_dir_all(dir).map_err(OpenError::io(dir))?;
            disk.sync_dir(Path::new(DATA_DIR))
                .map_err(OpenError::io(dir))?;
            let (files, content) = Checkpoints::open(&*disk, dir)?;
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
        })?;
        Ok(Opened {
            recovered,
            checkpoints,
            reported,
            seen,
        })
    }

    fn judge_checkpoint(&mut self, reported: Option<(u64, Cursor)>) {
        let (number, cursor) = reported.map_or((0, None), |(n, c)| (n, Some(c)));
        let is_attempt = |a: &(u64, Cursor)| a.0 == number && Some(a.1) == cursor;
        let is_known = self.checkpoint == (number, cursor) || self.attempts.iter().any(is_attempt);
        if !is_known || number < self.checkpoint.0 {
            let wanted = self.checkpoint;
            self.fail(&format!(
                "checkpoint {number} was reported, {wanted:?} was written"
            ));
        }
        self.checkpoint = (number, cursor);
        self.attempts.clear();
    }

    fn judge_recovery(&mut self, seen: &[Seen]) {
        let log = self.log();
        let (end, uuid, reader) = (log.end(), log.uuid(), log.reader());
        // Where segments are missing in front or are skipped, the readers' view alone is complete.
        let is_complete = self.style == Style::Journal;
        let from = self.checkpoint.1;
        let judged = self
            .model
            .check_recovery(&end, from.as_ref(), seen, is_complete);
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
        let kind = match self.style {
            Style::Journal => LogKind::Journal,
            Style::Stream { .. } => LogKind::Stream,
        };
        OpenOptions {
            dir: PathBuf::from(DIR),
            kind,
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
        if self.rng.u8(0..3) == 0 {
            let at = self.disk.changes() + self.rng.u64(0..12);
            self.note(format!("the power will go at change {at}"));
            self.disk.crash_at(at);
        } else {
            let call = Call::to_fail(&mut self.rng);
            let skip = self.rng.u64(0..3);
            self.note(format!("{call:?} will fail after {skip} more"));
            self.disk.fail_nth(call, skip, io::ErrorKind::Other);
        }
    }

    fn script_recovery_fault(&mut self) {
        let n = self.rng.u64(0..12);
        match self.rng.u8(0..6) {
            0 | 1 => self.disk.crash_at(n),
            2 => self.disk.fail_change(n, io::ErrorKind::Other),
            3 => self.disk.fail_nth(Call::Read, n, io::ErrorKind::Other),
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
    pub fn check_scripted(&mut self, hits_before: u64, what: &str, e: &dyn std::fmt::Display) {
        self.note(format!("{what} failed: {e}"));
        let is_full = self.trouble.full && e.to_string().contains("no storage space");
        if self.disk.faults_hit() == hits_before && !self.disk.is_off() && !is_full {
            self.fail(&format!("{what} failed without a cause: {e}"));
        }
    }

    pub fn accept_read_error(&self, e: &str) {
        if !e.contains("injected into Read") && !self.disk.is_off() {
            self.fail(e);
        }
    }
}

fn record_of(record: Option<RawRecord<'_>>) -> Rec {
    let record = record.expect("the scan checked the records");
    (record.position.map(|p| p.0), record.body.to_vec())
}

/// A checkpoint's number, its cursor, and some padding, so that checkpoints differ in size.
pub fn encode_checkpoint(number: u64, cursor: &Cursor, padding: usize) -> Vec<u8> {
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
