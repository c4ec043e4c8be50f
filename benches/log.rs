//! The log alone against a bare loop: what batches, checksums, segments and their turning cost.
//!
//! Both write the same number of bytes a batch. The log is in its steady state: a helper retires the
//! oldest segment and makes the next one ready whenever one was filled, as the housekeeper does.

use super::bare::{Bare, noise};
use super::report::{Row, Size, Stopwatch, compared};
use super::support::ratio::interleaved;
use causeway::clock::Clock;
use causeway::log::disk::RealDisk;
use causeway::log::{self, Batch, Log, LogKind, OpenOptions, Record, Sizes, Stamp, Urgency};
use causeway::message::Epoch;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

pub const ROUNDS: usize = 11;
/// (records a batch, batches a round): each round some tenths of a second.
pub const BATCHES: [(u64, u64); 4] = [(1, 4000), (16, 3000), (128, 2000), (1024, 800)];
const RECORD_BYTES: usize = 256;
/// Enough to grow to the largest segments and to have some to recycle.
const WARM_UP_BATCHES: u64 = 1500;
const WARM_UP_RECORDS: u64 = 1024;
/// Segments that stay; the older ones are given back.
const KEPT_SEGMENTS: usize = 2;
const READY_SEGMENTS: usize = 2;

pub fn log(size: Size) -> Vec<Row> {
    let dir = tempfile::tempdir().expect("a folder");
    let mut bare = Bare::new(dir.path());
    let mut writer = Writer::new(&dir.path().join("log"));
    writer.run(WARM_UP_RECORDS, size.of(WARM_UP_BATCHES));
    let mut rows = Vec::new();
    for (records, batches) in BATCHES {
        let batches = size.of(batches);
        let bytes = noise(writer.batch(records).disk_bytes() as usize);
        let mut longest = Stopwatch::default().longest;
        let ratio = interleaved(
            size.rounds(ROUNDS),
            || {
                let watch = writer.run(records, batches);
                longest = longest.max(watch.longest);
                watch.total
            },
            || bare.run(&bytes, batches).total,
        );
        rows.push(Row {
            what: format!("`Log::append` against a bare loop, batches of {records}"),
            figure: format!(
                "{}; longest append {:.1} ms",
                compared(&ratio, records * batches),
                longest.as_secs_f64() * 1e3
            ),
            aim: "≥ 0.8",
        });
    }
    rows
}

pub(super) struct Writer {
    log: Log,
    record: Record,
    buffer: Vec<u8>,
    clock: Clock,
    helper: Option<SyncSender<()>>,
    helper_thread: Option<JoinHandle<()>>,
}

/// The helper is waited for: it works in a folder that is about to vanish.
impl Drop for Writer {
    fn drop(&mut self) {
        self.helper = None;
        let ended = self.helper_thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|e| e.is_ok()), "the helper failed");
    }
}

impl Writer {
    pub(super) fn new(dir: &Path) -> Self {
        let options = OpenOptions {
            dir: dir.to_path_buf(),
            kind: LogKind::Journal,
            sizes: Sizes {
                min_segment_bytes: 4 << 20,
                max_segment_bytes: 64 << 20,
                reserve_segments: 0,
            },
            from: None,
            skip_indexed: false,
            uuid: None,
            seed: 1,
        };
        let opened = log::open(Arc::new(RealDisk), &options, &mut |_, _, _| {});
        let log = opened.expect("a new log").log;
        let shared = Arc::clone(log.shared());
        while shared.ready() < READY_SEGMENTS {
            shared.prepare().expect("room for it");
        }
        let (helper, calls) = mpsc::sync_channel(64);
        let helper_thread = thread::spawn(move || {
            while let Ok(()) = calls.recv() {
                let mut gone = shared.segments();
                gone.truncate(gone.len().saturating_sub(KEPT_SEGMENTS));
                shared.retire(&gone).expect("files can be renamed");
                while shared.ready() < READY_SEGMENTS {
                    shared.prepare().expect("room for it");
                }
            }
        });
        Self {
            log,
            record: Record::new(noise(RECORD_BYTES)),
            buffer: Vec::new(),
            clock: Clock::system(),
            helper: Some(helper),
            helper_thread: Some(helper_thread),
        }
    }

    fn batch(&mut self, records: u64) -> Batch {
        let buffer = std::mem::take(&mut self.buffer);
        let mut batch = Batch::with_buffer(buffer, self.log.end().position);
        for _ in 0..records {
            batch.push(&self.record);
        }
        batch
    }

    /// Assembling the batch counts: the bare loop has its bytes at hand.
    pub(super) fn run(&mut self, records: u64, batches: u64) -> Stopwatch {
        let mut watch = Stopwatch::default();
        for _ in 0..batches {
            let sealed = watch.time(|| self.append(records));
            if sealed {
                let helper = self.helper.as_ref().expect("it is there until the end");
                helper.send(()).expect("the helper runs");
            }
        }
        watch
    }

    fn append(&mut self, records: u64) -> bool {
        let mut batch = self.batch(records);
        while self.log.room(Urgency::Normal) < batch.disk_bytes() {
            thread::yield_now();
        }
        let stamp = Stamp {
            running_ms: self.clock.mono().0,
            wall: self.clock.wall(),
            epoch: Epoch(1),
        };
        let appended = self.log.append(&mut batch, stamp, Urgency::Normal);
        self.buffer = batch.into_buffer();
        appended.expect("the disk is sound").sealed.is_some()
    }
}
