//! The journal's thread against a bare loop: what identity, ledgers, feeds and settlements cost on
//! top of the log.
//!
//! Timed is `Journal::step` alone, which is all that its thread does for a batch. Records are encoded
//! beforehand, as submitters do on their own threads, and what was written is freed afterwards, as they
//! do too. One loop is given the same records, collects them and writes; the other writes a buffer
//! that it has at hand. Every message has a fresh id in a window that is full, so that each admission also evicts. A lane takes
//! the deliveries between two steps, and its settlements ride the next batch. The housekeeper runs
//! beside, with a checkpoint for each segment.

use super::bare::{Bare, noise};
use super::house::{House, Sort, delivered};
use super::log::{BATCHES, ROUNDS};
use super::report::{Row, Size, Stopwatch, compared};
use super::support::ratio::{Ratio, interleaved};
use causeway::journal::{CheckpointImage, Journal, Keeper, LaneFeed, SettleGroup, Submission};
use causeway::log::{BATCH_HEADER_BYTES, RECORD_HEADER_BYTES};
use causeway::message::{Fingerprint, LaneId, Message, record};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// Records are as large as in the bench of the log.
const RECORD_BYTES: u32 = (RECORD_HEADER_BYTES + 256) as u32;
/// A settlement record of one run, about.
const SETTLEMENT_BYTES: usize = RECORD_HEADER_BYTES + 16;
const MAX_IDS: u64 = 200_000;
const STALL_TICK: Duration = Duration::from_millis(1);

pub fn journal(size: Size) -> Vec<Row> {
    let dir = tempfile::tempdir().expect("a folder");
    let mut bare = Bare::new(dir.path());
    let mut writer = Writer::new(dir.path(), size);
    let mut rows = Vec::new();
    for (records, batches) in BATCHES {
        let batches = size.of(batches);
        let rounds = size.rounds(ROUNDS);
        let given = against_given(&mut writer, &mut bare, (records, batches), rounds);
        let at_hand = against_at_hand(&mut writer, &mut bare, (records, batches), rounds);
        for (ratio, baseline, aim) in [
            (given, "is given the same records", "≥ 0.7"),
            (at_hand, "has its bytes at hand", ""),
        ] {
            rows.push(Row {
                what: format!(
                    "`Journal::step` against a bare loop that {baseline}, batches of {records}"
                ),
                figure: compared(&ratio, records * batches),
                aim,
            });
        }
    }
    rows
}

/// The loop gets what the journal gets: records, each where its submitter left it.
fn against_given(
    writer: &mut Writer,
    bare: &mut Bare,
    (records, batches): (u64, u64),
    rounds: usize,
) -> Ratio {
    let writer = RefCell::new(writer);
    let overhead = noise(BATCH_HEADER_BYTES + SETTLEMENT_BYTES);
    interleaved(
        rounds,
        || writer.borrow_mut().run(records, batches).total,
        || {
            let queue = || writer.borrow_mut().encoded(records);
            bare.run_given(&overhead, queue, batches).total
        },
    )
}

/// The loop writes one buffer again and again, which never leaves its core's cache.
fn against_at_hand(
    writer: &mut Writer,
    bare: &mut Bare,
    (records, batches): (u64, u64),
    rounds: usize,
) -> Ratio {
    let records_bytes = records as usize * writer.size_bytes as usize;
    let bytes = noise(BATCH_HEADER_BYTES + SETTLEMENT_BYTES + records_bytes);
    interleaved(
        rounds,
        || writer.run(records, batches).total,
        || bare.run(&bytes, batches).total,
    )
}

type Made = (Arc<Message>, Option<Fingerprint>);

struct Writer {
    journal: Journal,
    feed: LaneFeed,
    lane: LaneId,
    route: causeway::message::RouteId,
    sort: Sort,
    size_bytes: u32,
    next: u64,
    settlements: VecDeque<SettleGroup>,
    keeper: Sender<CheckpointImage>,
}

impl Writer {
    fn new(dir: &Path, size: Size) -> Self {
        let mut house = House::new(dir, size.of(MAX_IDS) as usize);
        let sort = sort_of(&house, RECORD_BYTES);
        let size_bytes = house.submission(&sort, 0).size_bytes();
        let ids = size.of(MAX_IDS);
        let first = house.next_position();
        house.publish(&sort, 0, ids);
        house.settle(first, house.next_position(), size_bytes);
        let House {
            journal,
            keeper,
            lane,
            route,
        } = house;
        let shared = Arc::clone(journal.shared());
        let state = shared.lane(lane).expect("just made");
        let feed = LaneFeed::new(shared, state, None);
        let this = Self {
            journal,
            feed,
            lane,
            route,
            sort,
            size_bytes,
            next: ids,
            settlements: VecDeque::new(),
            keeper: start_keeper(keeper),
        };
        assert!(this.take_deliveries().is_none(), "nothing is owed");
        this
    }

    /// What a lane would take, and at once say delivered.
    fn take_deliveries(&self) -> Option<SettleGroup> {
        let taken = self.feed.take(usize::MAX, usize::MAX);
        let taken = taken.expect("the disk is sound");
        let (first, last) = (taken.first()?, taken.last()?);
        let (first, end) = (first.at.position.0, last.at.position.0 + 1);
        assert_eq!(taken.len() as u64, end - first, "in order, without a gap");
        Some(delivered(self.lane, first, end, self.size_bytes))
    }

    fn made(&mut self) -> Made {
        let id = self
            .sort
            .with_id
            .then(|| format!("message-{:010}", self.next));
        self.next += 1;
        let shared = self.journal.shared();
        super::house::message(shared, self.lane, self.route, &self.sort, id)
    }

    /// Fresh messages as their submitters encode them.
    fn encoded(&mut self, records: u64) -> Vec<(Arc<Message>, Vec<u8>)> {
        let each = (0..records).map(|_| {
            let (message, print) = self.made();
            let mut record = Vec::new();
            record::encode(&message, print.as_ref(), &mut record);
            (message, record)
        });
        each.collect()
    }

    fn run(&mut self, records: u64, batches: u64) -> Stopwatch {
        let mut watch = Stopwatch::default();
        for _ in 0..batches {
            let made: Vec<Made> = (0..records).map(|_| self.made()).collect();
            let each = made.into_iter();
            let mut queue: VecDeque<Submission> = each
                .map(|(message, print)| Submission::new(message, print))
                .collect();
            let mut sealed = false;
            while !queue.is_empty() {
                let step = watch.time(|| self.journal.step(&mut queue, &mut self.settlements));
                assert!(step.answers.iter().all(Result::is_ok), "all are accepted");
                sealed |= step.sealed;
                if step.stalled {
                    watch.time(|| thread::sleep(STALL_TICK));
                }
            }
            if sealed {
                let image = self.journal.checkpoint_image();
                self.keeper.send(image).expect("the keeper runs");
            }
            let group = self.take_deliveries();
            self.settlements.extend(group);
        }
        watch
    }
}

/// Whose record, with an id, takes so many bytes.
fn sort_of(house: &House, bytes: u32) -> Sort {
    let bare = house.submission(&Sort::of(1).with_id(), 0).size_bytes() - 1;
    // From 128 bytes of payload on its length takes two.
    let payload = bytes - bare;
    let payload = if payload > 127 { payload - 1 } else { payload };
    Sort::of(payload as usize).with_id()
}

/// The housekeeper's thread: ends with the sender.
fn start_keeper(mut keeper: Keeper) -> Sender<CheckpointImage> {
    let (sender, images) = mpsc::channel();
    keeper.step();
    thread::spawn(move || {
        while let Ok(image) = images.recv() {
            keeper.step();
            keeper.checkpoint(&image);
            if let Some(problem) = keeper.problem() {
                panic!("the housekeeper: {problem}");
            }
        }
    });
    sender
}
