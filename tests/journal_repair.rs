//! Damage to the journal, of every kind and on both disks: refused with what a person needs to
//! know, repaired with exactly the losses that it says, and safe to interrupt.

use crate::support::journal_house::{House, Place, SEGMENT_BYTES, manual_clock, options};
use crate::support::sim_disk::SimDisk;
use causeway::clock::{Clock, Wall};
use causeway::journal::{
    JournalError, POSITION_GAP, RepairOptions, RepairReport, SinkMarks, advice, repair, verify,
};
use causeway::log::disk::{Disk, RealDisk};
use causeway::log::{self, OpenError};
use causeway::message::{DeliveryId, DiscardReason, Epoch, Guarantee, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MESSAGES: u64 = 90;
/// Positions below this were accepted before the checkpoint.
const COVERED: u64 = 60;

fn payload(position: u64) -> Vec<u8> {
    let mut payload = format!("message {position} ").into_bytes();
    payload.resize(900 + (position * 37 % 500) as usize, position as u8);
    payload
}

fn is_settled(position: u64) -> bool {
    position.is_multiple_of(3)
}

/// A journal that was closed, as it was before the damage.
struct Before {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    places: BTreeMap<u64, Place>,
    clock: Clock,
}

fn build(disk: Arc<dyn Disk>, dir: PathBuf) -> Before {
    let clock = manual_clock();
    let mut house = House::open(&disk, &dir, &clock).expect("opens");
    for position in 0..MESSAGES {
        let id = format!("id-{position}");
        let lanes = 1 + (position % 2) as usize;
        let submission =
            house.submission(Some(&id), &payload(position), lanes, Guarantee::AtLeastOnce);
        assert_eq!(house.publish(submission).position.0, position);
        if is_settled(position) {
            let at = [DeliveryId::new(position, 0)];
            let marks = SinkMarks {
                sink: position + 1,
                dead_letters: 0,
            };
            house.settle(0, &at, Outcome::Delivered, marks);
        }
        house.keeper.step();
        if position == COVERED - 1 {
            house.checkpoint();
        }
    }
    let places = house.places().into_iter().collect();
    Before {
        disk,
        dir,
        places,
        clock,
    }
}

impl Before {
    fn flip(&self, path: &Path, offset: u64) {
        let file = self.disk.open(path).expect("opens");
        let mut byte = [0];
        file.read_at(&mut byte, offset).expect("reads");
        file.write_at(&[byte[0] ^ 0x40], offset).expect("writes");
        file.sync().expect("syncs");
    }

    /// Damages the record at a position.
    fn hit(&self, position: u64) -> BTreeSet<u64> {
        let place = &self.places[&position];
        self.flip(&place.segment, place.bytes.end - 40);
        BTreeSet::from([position])
    }

    fn segment_of(&self, position: u64) -> &Path {
        &self.places[&position].segment
    }

    /// All positions in the segment of this one.
    fn neighbours(&self, position: u64) -> BTreeSet<u64> {
        let segment = self.segment_of(position);
        let inside = self.places.iter().filter(|(_, p)| p.segment == segment);
        inside.map(|(position, _)| *position).collect()
    }

    fn remove(&self, path: &Path) {
        self.disk.remove(path).expect("removes");
        self.disk.sync_dir(&self.dir).expect("syncs");
    }

    fn break_checkpoints(&self) {
        for name in ["checkpoint.a", "checkpoint.b"] {
            self.flip(&self.dir.join(name), 50);
        }
    }

    fn open(&self) -> Result<House, JournalError> {
        House::open(&self.disk, &self.dir, &self.clock)
    }

    fn repair(&self, accept_loss: bool) -> RepairReport {
        try_repair(&self.disk, &self.dir, accept_loss).expect("repairs")
    }

    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.disk.list(&self.dir).expect("lists");
        let read = |name: &String| {
            let file = self.disk.open(&self.dir.join(name)).expect("opens");
            let mut bytes = vec![0; file.len().expect("has a length") as usize];
            file.read_at(&mut bytes, 0).expect("reads");
            bytes
        };
        names.iter().map(|n| (n.clone(), read(n))).collect()
    }

    /// Says what would be lost, repairs, and checks all of it. `lost` and `gone` are what must be
    /// reported as lost, and as gone but settled.
    fn check(&self, lost: &BTreeSet<u64>, gone: &BTreeSet<u64>) -> RepairReport {
        let content = self.content();
        let said = self.repair(false);
        assert!(!said.is_healthy && !said.is_applied);
        assert_eq!(self.content(), content, "a dry run changes nothing");
        let report = self.repair(true);
        assert!(report.is_applied);
        assert_eq!(said.damage, report.damage);
        assert_eq!(
            (&said.lost, &said.discarded),
            (&report.lost, &report.discarded)
        );
        assert_eq!(positions(&report.lost), *lost, "{report}");
        assert_eq!(positions(&report.settled_and_gone), *gone, "{report}");
        self.check_sound();
        let mut house = self.open().expect("a repaired journal opens");
        let shared = Arc::clone(house.journal.shared());
        for lane in shared.lanes() {
            let marks = lane.ledger().marks();
            assert_eq!(
                marks,
                SinkMarks::default(),
                "its logs are read from their beginning"
            );
        }
        for position in 0..MESSAGES {
            let is_there = !lost.contains(&position) && !gone.contains(&position);
            assert_eq!(
                house.payload(position),
                is_there.then(|| payload(position)),
                "position {position}\n{report}"
            );
        }
        let fresh = house.submission(Some("fresh"), b"fresh", 2, Guarantee::AtLeastOnce);
        assert_eq!(house.publish(fresh).position.0, report.next_position);
        assert!(report.next_position >= MESSAGES);
        drop(house);
        self.check_sound();
        assert!(self.repair(false).is_healthy, "{}", self.repair(false));
        report
    }

    fn check_sound(&self) {
        let walk = verify(Arc::clone(&self.disk), options(&self.dir, &self.clock)).expect("walks");
        assert_eq!(walk.problems, Vec::<String>::new());
    }
}

fn try_repair(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    accept_loss: bool,
) -> Result<RepairReport, JournalError> {
    let options = RepairOptions {
        dir: dir.to_path_buf(),
        accept_loss,
        segment_bytes: SEGMENT_BYTES,
        seed: 5,
    };
    repair(disk, &options)
}

fn positions(spans: &[causeway::journal::Span]) -> BTreeSet<u64> {
    spans.iter().flat_map(|span| span.range()).collect()
}

/// Plays it on the simulated disk and on the real one.
fn on_both(play: impl Fn(Before)) {
    play(build(sim_disk(), PathBuf::from("/data/journal")));
    let dir = tempfile::tempdir().expect("temp dir");
    play(build(Arc::new(RealDisk), dir.path().join("journal")));
}

fn sim_disk() -> Arc<dyn Disk> {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("/data")).expect("no faults");
    disk.sync_dir(Path::new("/")).expect("no faults");
    Arc::new(disk)
}

fn refused(before: &Before) -> JournalError {
    let error = before.open().err().expect("a damaged journal is refused");
    let advice = advice(&error).unwrap_or_else(|| panic!("no advice on: {error}"));
    assert!(advice.contains("causeway journal repair"), "{advice}");
    error
}

#[test]
fn a_healthy_journal_is_left_alone() {
    on_both(|before| {
        let content = before.content();
        let report = before.repair(true);
        assert!(report.is_healthy && !report.is_applied, "{report}");
        assert!(report.to_string().contains("healthy"));
        assert_eq!(before.content(), content);
        before.check_sound();
    });
}

#[test]
fn a_torn_end_is_no_damage() {
    on_both(|before| {
        before.hit(MESSAGES - 1);
        let report = before.repair(true);
        assert!(report.is_healthy, "{report}");
        assert_eq!(report.notes.len(), 1, "{report}");
        let house = before.open().expect("it is cut");
        assert_eq!(house.payload(MESSAGES - 1), None);
    });
}

#[test]
fn records_in_the_middle() {
    on_both(|before| {
        let lost = [70, 71, 75]
            .into_iter()
            .flat_map(|p| before.hit(p))
            .collect();
        let error = refused(&before);
        assert!(
            matches!(&error, JournalError::Log(OpenError::Corrupt { good_until, valid_from, .. })
                if good_until.0 == 70 && valid_from.0 == 71),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains("before position 70 is whole"), "{text}");
        let report = before.check(&lost, &BTreeSet::new());
        assert_eq!(report.next_position, MESSAGES, "no position was in doubt");
        let kept = PathBuf::from(report.kept_in.expect("originals are kept"));
        let names = before.disk.list(&kept).expect("lists");
        let hit = before.segment_of(70).file_name().expect("has a name");
        assert!(names.iter().any(|n| n.as_str() == hit), "{names:?}");
    });
}

#[test]
fn records_that_the_checkpoint_covers_are_discarded_by_lane() {
    on_both(|before| {
        // 30 is settled for all; 31 and 33 are for both lanes, and 33 is owed by the second alone.
        for position in [30, 31, 33] {
            before.hit(position);
        }
        let report = before.check(&BTreeSet::from([31, 33]), &BTreeSet::from([30]));
        let discarded = [("inbox".to_owned(), 1), ("copy".to_owned(), 2)];
        assert_eq!(report.discarded, BTreeMap::from(discarded));
        let walk = verify(
            Arc::clone(&before.disk),
            options(&before.dir, &before.clock),
        );
        let walk = walk.expect("walks");
        let lost = |lane: &str| walk.lanes[lane].counts.discarded_as(DiscardReason::Lost);
        assert_eq!((lost("copy"), lost("inbox")), (2, 1));
    });
}

#[test]
fn segment_headers() {
    on_both(|before| {
        for position in [20, 70] {
            before.flip(before.segment_of(position), 20);
        }
        assert!(matches!(
            refused(&before),
            JournalError::Log(OpenError::Format { .. })
        ));
        let report = before.check(&BTreeSet::new(), &BTreeSet::new());
        assert_eq!(
            report.skipped_bytes, 0,
            "all batches are found all the same"
        );
    });
}

#[test]
fn a_header_together_with_the_first_batch() {
    on_both(|before| {
        let neighbours = before.neighbours(70);
        let first = *neighbours.first().expect("has some");
        before.flip(before.segment_of(70), 20);
        let lost = before.hit(first);
        refused(&before);
        before.check(&lost, &BTreeSet::new());
    });
}

#[test]
fn records_that_nobody_understands() {
    on_both(|before| {
        let sizes = options(&before.dir, &before.clock).sizes;
        let log_options = log::OpenOptions {
            dir: before.dir.clone(),
            kind: log::LogKind::Journal,
            sizes,
            from: None,
            skip_indexed: false,
            uuid: None,
            seed: 1,
        };
        let opened = log::open(Arc::clone(&before.disk), &log_options, &mut |_, _, _| {});
        let mut log = opened.expect("opens").log;
        log.shared().prepare().expect("prepares");
        let mut batch = log::Batch::new(log.end().position);
        batch.push(&log::Record::new(vec![0x12, 1, 2]));
        batch.push_unpositioned(&log::Record::new(vec![0x71]));
        let stamp = log::Stamp {
            running_ms: log.end().running_ms,
            wall: Wall(log.end().wall_ms),
            epoch: Epoch(1 << 32),
        };
        log.append(&mut batch, stamp, log::Urgency::Essential)
            .expect("appends");
        drop(log);
        let error = refused(&before);
        assert!(matches!(error, JournalError::Record { .. }), "{error}");
        let report = before.check(&BTreeSet::from([MESSAGES]), &BTreeSet::new());
        assert_eq!(report.damage.len(), 2, "{report}");
        assert_eq!(report.next_position, MESSAGES + 1);
    });
}

#[test]
fn both_checkpoints() {
    on_both(|before| {
        before.break_checkpoints();
        let error = refused(&before);
        assert!(matches!(error, JournalError::Checkpoint { .. }), "{error}");
        let report = before.check(&BTreeSet::new(), &BTreeSet::new());
        assert!(report.checkpoint_is_lost && !report.has_new_uuid);
        assert_eq!(report.unnamed_lanes, Vec::<String>::new());
        let settled = (0..MESSAGES).filter(|p| is_settled(*p)).count() as u64;
        assert_eq!(report.pending["inbox"], MESSAGES - settled);
        assert_eq!(report.pending["copy"], MESSAGES / 2);
    });
}

#[test]
fn checkpoints_that_are_deleted_with_the_first_segment() {
    on_both(|before| {
        let first = before.neighbours(0);
        before.remove(before.segment_of(0));
        before.remove(&before.dir.join("checkpoint.a"));
        before.remove(&before.dir.join("checkpoint.b"));
        refused(&before);
        // The names of the lanes were in there.
        let report = before.repair(true);
        assert_eq!(report.unnamed_lanes, ["$lost-1", "$lost-2"]);
        assert!(report.pending["$lost-2"] > 0);
        before.check_sound();
        let house = before.open().expect("opens");
        for position in 0..MESSAGES {
            let is_there = !first.contains(&position);
            assert_eq!(house.payload(position).is_some(), is_there, "{position}");
        }
    });
}

#[test]
fn a_missing_segment() {
    on_both(|before| {
        let lost = before.neighbours(75);
        assert!(lost.iter().all(|p| *p >= COVERED), "{lost:?}");
        before.remove(before.segment_of(75));
        refused(&before);
        let report = before.check(&lost, &BTreeSet::new());
        assert_eq!(report.left_out, 0, "the end is known");
    });
}

#[test]
fn a_missing_segment_that_the_checkpoint_covers() {
    on_both(|before| {
        let there = before.neighbours(30);
        before.remove(before.segment_of(30));
        // Nothing tells a settled record from one that was given back.
        let is_owed = |p: &u64| p % 2 == 1 || !is_settled(*p);
        let lost: BTreeSet<u64> = there.iter().copied().filter(is_owed).collect();
        let report = before.repair(true);
        assert_eq!(positions(&report.lost), lost, "{report}");
        before.check_sound();
        let house = before.open().expect("opens");
        for position in 0..MESSAGES {
            let is_there = !there.contains(&position);
            assert_eq!(house.payload(position).is_some(), is_there, "{position}");
        }
    });
}

#[test]
fn an_end_that_is_lost_gives_no_position_twice() {
    on_both(|before| {
        // All segments from the checkpoint's on.
        let from = before.segment_of(COVERED - 1).to_path_buf();
        let names = before.disk.list(&before.dir).expect("lists");
        for name in names.iter().filter(|n| n.ends_with(".seg")) {
            if before.dir.join(name) >= from {
                before.remove(&before.dir.join(name));
            }
        }
        assert!(matches!(
            refused(&before),
            JournalError::Log(OpenError::BehindCheckpoint { .. })
        ));
        let report = before.repair(true);
        assert_eq!(report.left_out, POSITION_GAP);
        assert_eq!(report.next_position, COVERED + POSITION_GAP);
        let mut house = before.open().expect("opens");
        let fresh = house.submission(None, b"fresh", 1, Guarantee::AtLeastOnce);
        assert_eq!(house.publish(fresh).position.0, report.next_position);
        drop(house);
        before.check_sound();
        assert!(before.repair(false).is_healthy);
    });
}

#[test]
fn everything_at_once() {
    on_both(|before| {
        before.break_checkpoints();
        before.flip(before.segment_of(70), 9);
        let lost = [25, 50, 70].into_iter().flat_map(|p| before.hit(p));
        let lost: BTreeSet<u64> = lost.collect();
        refused(&before);
        let report = before.repair(true);
        // In a segment whose header is lost it can't be known that nothing was compacted away.
        assert_eq!(
            positions(&report.lost),
            BTreeSet::from([25, 50]),
            "{report}"
        );
        before.check_sound();
        let house = before.open().expect("opens");
        for position in 0..MESSAGES {
            let is_there = !lost.contains(&position);
            assert_eq!(house.payload(position).is_some(), is_there, "{position}");
        }
    });
}

#[test]
fn nothing_left_but_garbage_is_a_new_journal() {
    on_both(|before| {
        for (name, bytes) in before.content() {
            let path = before.dir.join(&name);
            if name.ends_with(".idx") {
                before.remove(&path);
                continue;
            }
            let file = before.disk.open(&path).expect("opens");
            file.write_at(&vec![0x55; bytes.len()], 0).expect("writes");
            file.sync().expect("syncs");
        }
        refused(&before);
        let report = before.repair(true);
        assert!(report.is_new_journal && report.has_new_uuid, "{report}");
        let mut house = before.open().expect("opens");
        let fresh = house.submission(None, b"fresh", 1, Guarantee::AtLeastOnce);
        assert_eq!(house.publish(fresh).position.0, 0);
    });
}

#[test]
fn a_repair_that_is_cut_short_anywhere_is_done_by_the_next() {
    let mut rng = fastrand::Rng::with_seed(7);
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("/data")).expect("no faults");
    disk.sync_dir(Path::new("/")).expect("no faults");
    let before = build(Arc::new(disk.clone()), PathBuf::from("/data/journal"));
    before.flip(before.segment_of(20), 20);
    let lost: BTreeSet<u64> = [35, 70, 75]
        .into_iter()
        .flat_map(|p| before.hit(p))
        .collect();
    before.hit(MESSAGES - 1);
    for change in 0.. {
        let damaged = disk.crash(&mut rng);
        damaged.crash_at(change);
        let cut: Arc<dyn Disk> = Arc::new(damaged.clone());
        let first = try_repair(&cut, &before.dir, true);
        if !damaged.is_off() {
            assert!(first.is_ok_and(|r| r.is_applied) && change > 20, "{change}");
            return;
        }
        let after = Before {
            disk: Arc::new(damaged.crash(&mut rng)),
            dir: before.dir.clone(),
            places: BTreeMap::new(),
            clock: before.clock.clone(),
        };
        let second = after.repair(true);
        assert!(second.is_healthy || second.is_applied);
        after.check_sound();
        let mut house = after.open().expect("opens");
        for position in 0..MESSAGES - 1 {
            let expected = (!lost.contains(&position)).then(|| payload(position));
            assert_eq!(
                house.payload(position),
                expected,
                "{position}, cut at {change}"
            );
        }
        let fresh = house.submission(None, b"fresh", 1, Guarantee::AtLeastOnce);
        let position = house.publish(fresh).position.0;
        assert!(position >= MESSAGES - 1, "cut at {change}");
        drop(house);
        assert!(after.repair(false).is_healthy, "cut at {change}");
    }
}
