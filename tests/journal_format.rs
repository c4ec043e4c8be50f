//! Guards docs/JOURNAL.md: a small journal, made with a fixed seed and clock, is byte for byte what
//! is checked in, and what is checked in opens and says what it should.
//!
//! A change on purpose is free until 1.0: `CAUSEWAY_BLESS=1 cargo test journal_format` writes the
//! fixture anew; change docs/JOURNAL.md and the version numbers with it.

use crate::support::journal_house::{House, manual_clock, options};
use causeway::clock::Clock;
use causeway::journal::{DOOR_LANE, LaneModes, SinkMarks, Submission, verify};
use causeway::log::disk::{Disk, RealDisk};
use causeway::message::{
    DeliveryId, DeliveryState, DiscardReason, Guarantee, LogUuid, Message, Outcome, Position,
    TraceContext, record,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const FIXTURE: &str = "tests/fixtures/journal.txt";
const ROW_BYTES: usize = 32;
/// Enough to fill the segments that compaction rewrites, and those that it leaves alone.
const FILLERS: u64 = 20;
const FILLER_BYTES: usize = 4000;
const FIRST_FILLER: u64 = 3;
const LAST: u64 = FIRST_FILLER + FILLERS;
const DIVERTED: u64 = LAST + 1;
const END: u64 = DIVERTED + 1;
/// Owed for ever, in a segment that is compacted.
const STUCK: u64 = 5;

type Files = BTreeMap<String, Vec<u8>>;

fn at(position: u64, ordinal: u16) -> DeliveryId {
    DeliveryId::new(position, ordinal)
}

/// Of the lane `copy`, with a barrier.
fn modes() -> LaneModes {
    LaneModes::new(true, vec![Position(DIVERTED)]).expect("one ascends")
}

fn context() -> TraceContext {
    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    TraceContext::read(PARENT, [&b"rojo=1"[..]]).expect("it is valid")
}

/// The same as part of a trace.
fn traced(submission: &Submission) -> Submission {
    let mut message = Message::clone(submission.message());
    message.envelope.came_with(Some(context()));
    Submission::new(Arc::new(message), submission.fingerprint)
}

/// All kinds of records, a compacted segment, a checkpoint, and a tail behind it.
fn build(dir: &Path) {
    let clock = manual_clock();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut house = House::open(&disk, dir, &clock).expect("opens");
    let marks = |sink, dead_letters| SinkMarks { sink, dead_letters };
    let both = house.submission(Some("both"), b"for both", 2, Guarantee::AtLeastOnce);
    house.publish(both);
    clock.advance(Duration::from_millis(10));
    let plain = house.submission(None, b"no id", 1, Guarantee::AtLeastOnce);
    house.publish(plain);
    let once = house.submission(Some("once"), b"exactly", 1, Guarantee::ExactlyOnce);
    house.publish(once);
    house.settle(0, &[at(0, 0)], Outcome::Delivered, marks(1, 0));
    house.settle(1, &[at(0, 1)], Outcome::DeadLettered, marks(0, 1));
    let expired = Outcome::Discarded(DiscardReason::Expired);
    house.settle(0, &[at(1, 0)], expired, marks(1, 0));
    for n in 0..FILLERS {
        clock.advance(Duration::from_millis(100));
        let filler = [b'a' + n as u8; FILLER_BYTES];
        let id = format!("filler-{n}");
        let filler = house.submission(Some(&id), &filler, 1, Guarantee::AtLeastOnce);
        house.publish(filler);
        house.keeper.step();
    }
    let settled: Vec<_> = (FIRST_FILLER..FIRST_FILLER + FILLERS)
        .filter(|p| *p != STUCK)
        .map(|p| at(p, 0))
        .collect();
    house.settle(0, &settled, Outcome::Delivered, marks(19, 0));
    house.checkpoint();
    let last = house.submission(
        Some("last"),
        b"after the checkpoint",
        1,
        Guarantee::AtLeastOnce,
    );
    house.publish(traced(&last));
    house.journal.intern_route("late");
    let (copy, sink) = (house.lanes[1], Some(LogUuid(7)));
    house.journal.describe_lane(copy, modes(), sink);
    let mut diverted = house.submission(Some("full"), b"diverted", 2, Guarantee::AtLeastOnce);
    diverted.dead_letter_when_full = vec![false, true];
    let shared = Arc::clone(house.journal.shared());
    let full = shared.lane(house.lanes[1]).expect("is there");
    full.backlog_bytes.store(0, Ordering::Relaxed);
    house.publish(diverted);
    house.settle(0, &[at(2, 0)], Outcome::Delivered, marks(20, 0));
}

fn read(dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir).expect("lists") {
        let entry = entry.expect("lists");
        let name = entry.file_name().into_string().expect("is ASCII");
        files.insert(name, std::fs::read(entry.path()).expect("reads"));
    }
    files
}

/// As `hexdump` does: `*` stands for rows like the one before it.
fn dump(files: &Files) -> String {
    let mut text = String::new();
    for (name, bytes) in files {
        writeln!(text, "file {name} {}", bytes.len()).expect("a String takes all");
        let mut before: Option<&[u8]> = None;
        let mut repeats = false;
        for (i, row) in bytes.chunks(ROW_BYTES).enumerate() {
            if before == Some(row) {
                if !repeats {
                    text.push_str("*\n");
                }
                repeats = true;
                continue;
            }
            (before, repeats) = (Some(row), false);
            write!(text, "{:08x} ", i * ROW_BYTES).expect("a String takes all");
            for byte in row {
                write!(text, "{byte:02x}").expect("a String takes all");
            }
            text.push('\n');
        }
    }
    text
}

fn undump(text: &str) -> Files {
    let mut files = Files::new();
    let mut name = "";
    let mut repeats = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["file", its_name, len] => {
                end_repeats(&mut files, name, None, &mut repeats);
                name = its_name;
                let len = len.parse().expect("a length");
                files.insert(name.to_owned(), Vec::with_capacity(len));
                files.insert(format!("{name} length"), vec![0; len]);
            }
            ["*"] => repeats = true,
            [offset, hex] => {
                let offset = usize::from_str_radix(offset, 16).expect("an offset");
                end_repeats(&mut files, name, Some(offset), &mut repeats);
                let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex");
                let row = (0..hex.len()).step_by(2).map(byte);
                files.get_mut(name).expect("was begun").extend(row);
            }
            _ => panic!("not a line of a fixture: {line}"),
        }
    }
    end_repeats(&mut files, name, None, &mut repeats);
    files.retain(|name, _| !name.ends_with(" length"));
    files
}

/// Repeats the last row up to the offset, or the file's end.
fn end_repeats(files: &mut Files, name: &str, until: Option<usize>, repeats: &mut bool) {
    if std::mem::take(repeats) {
        let until = until.unwrap_or_else(|| files[&format!("{name} length")].len());
        let bytes = files.get_mut(name).expect("was begun");
        let row = bytes[bytes.len() - ROW_BYTES..].to_vec();
        while bytes.len() < until {
            bytes.extend_from_slice(&row);
        }
    }
}

fn fixture() -> String {
    std::fs::read_to_string(FIXTURE)
        .unwrap_or_else(|e| panic!("{FIXTURE}: {e}; CAUSEWAY_BLESS=1 writes it"))
}

#[test]
fn the_bytes_are_as_checked_in() {
    let dir = tempfile::tempdir().expect("temp dir");
    build(dir.path());
    let files = read(dir.path());
    let made = dump(&files);
    assert!(undump(&made) == files, "the dump tells all of the bytes");
    if std::env::var_os("CAUSEWAY_BLESS").is_some() {
        std::fs::write(FIXTURE, &made).expect("writes the fixture");
    }
    let expected = fixture();
    let mut file = "";
    for (number, (made, expected)) in made.lines().zip(expected.lines()).enumerate() {
        if made.starts_with("file ") {
            file = made;
        }
        assert!(
            made == expected,
            "the journal's format changed, in {file}, line {}:\n  made     {made}\n  expected \
             {expected}\nIf that is on purpose: CAUSEWAY_BLESS=1, and docs/JOURNAL.md",
            number + 1
        );
    }
    assert_eq!(made.lines().count(), expected.lines().count());
}

#[test]
fn all_kinds_of_records_are_in_the_fixture() {
    let dir = tempfile::tempdir().expect("temp dir");
    write(dir.path(), &undump(&fixture()));
    let mut kinds = BTreeSet::new();
    let survey = causeway::log::salvage::survey(
        &RealDisk,
        dir.path(),
        causeway::log::LogKind::Journal,
        None,
        &mut |_, found| {
            for raw in causeway::log::Records::new(&found.header, found.body).flatten() {
                kinds.insert(raw.body[0]);
            }
        },
    );
    assert!(survey.expect("reads").files.iter().all(|f| !f.is_damaged()));
    assert_eq!(kinds, BTreeSet::from([0x11, 0x21, 0x31, 0x41, 0x51]));
}

fn write(dir: &Path, files: &Files) {
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).expect("writes");
    }
}

#[test]
fn what_is_checked_in_opens_and_says_what_it_should() {
    let dir = tempfile::tempdir().expect("temp dir");
    write(dir.path(), &undump(&fixture()));
    let clock: Clock = manual_clock();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let walk = verify(Arc::clone(&disk), options(dir.path(), &clock)).expect("walks");
    assert_eq!(walk.problems, Vec::<String>::new());
    let json = walk.to_json();
    assert_eq!(json["next_position"], END);
    // With an id: both, once, the fillers, last, full.
    assert_eq!(json["ids"], FILLERS + 4);
    let lanes = json["lanes"].as_array().expect("is a list");
    let lane = |name: &str| lanes.iter().find(|l| l["name"] == name).expect("is there");
    let inbox = lane("inbox");
    assert_eq!(inbox["planned"], END);
    assert_eq!(inbox["delivered"], FILLERS - 1 + 2);
    assert_eq!(inbox["discarded"]["expired"], 1);
    assert_eq!(inbox["pending"], 3);
    let copy = lane("copy");
    assert_eq!(
        (&copy["planned"], &copy["dead_lettered"]),
        (&1.into(), &1.into())
    );
    assert_eq!(lane("$door")["pending"], 1);

    let mut house = House::open(&disk, dir.path(), &clock).expect("opens");
    let shared = Arc::clone(house.journal.shared());
    let state = |position, ordinal, lane| shared.state_of(at(position, ordinal), lane);
    assert_eq!(state(0, 0, house.lanes[0]), DeliveryState::Delivered);
    assert_eq!(state(0, 1, house.lanes[1]), DeliveryState::DeadLettered);
    assert_eq!(state(2, 0, house.lanes[0]), DeliveryState::Delivered);
    assert_eq!(state(DIVERTED, 1, DOOR_LANE), DeliveryState::Stored);
    assert_eq!(state(STUCK, 0, house.lanes[0]), DeliveryState::Stored);
    let marks = shared
        .lane(house.lanes[0])
        .expect("is there")
        .ledger()
        .marks();
    assert_eq!(
        marks,
        SinkMarks {
            sink: 20,
            dead_letters: 0
        }
    );
    let known = shared.read_catalog(|catalog| catalog.lane(house.lanes[1]).cloned());
    assert_eq!(known.expect("is there").modes, modes());
    let stuck = [b'a' + (STUCK - FIRST_FILLER) as u8; FILLER_BYTES];
    assert_eq!(house.payload(STUCK), Some(stuck.to_vec()));
    assert_eq!(house.payload(STUCK + 1), None, "compacted away");
    assert_eq!(house.payload(LAST), Some(b"after the checkpoint".to_vec()));
    let last = shared
        .reader
        .read(Position(LAST))
        .expect("reads")
        .expect("is there");
    let (last, _) = record::decode(&last.body).expect("reads");
    assert_eq!(last.envelope.trace_context(), Some(&context()));
    for (id, payload, position) in [("both", "for both", 0), ("once", "exactly", 2)] {
        let again = house.submission(Some(id), payload.as_bytes(), 1, Guarantee::AtLeastOnce);
        let accepted = house.publish(again);
        assert_eq!(
            (accepted.position.0, accepted.is_duplicate()),
            (position, true)
        );
    }
}
