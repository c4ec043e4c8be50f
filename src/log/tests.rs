//! The log on the real disk: the plain ways. Crashes are in tests/ under simulated disks.

use super::disk::RealDisk;
use super::*;
use crate::clock::Wall;
use crate::message::{Epoch, Position};
use std::path::Path;
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 64 * 1024;

fn options(dir: &Path, from: Option<Cursor>) -> OpenOptions {
    OpenOptions {
        dir: dir.to_path_buf(),
        kind: LogKind::Journal,
        sizes: Sizes {
            min_segment_bytes: SEGMENT_BYTES,
            max_segment_bytes: SEGMENT_BYTES,
            reserve_segments: 1,
        },
        from,
        skip_indexed: false,
        uuid: None,
        seed: 7,
    }
}

fn stamp(ms: u64) -> Stamp {
    Stamp {
        running_ms: ms,
        wall: Wall(1_000_000 + ms),
        epoch: Epoch(1),
    }
}

fn body(n: u64) -> Vec<u8> {
    let mut body = n.to_le_bytes().to_vec();
    body.resize(8 + (n % 700) as usize, n as u8);
    body
}

/// Opens the log and returns what it visited.
fn reopen(dir: &Path, from: Option<Cursor>) -> (Recovered, Vec<(u64, Vec<u8>)>) {
    let mut seen = Vec::new();
    let recovered = open(
        Arc::new(RealDisk),
        &options(dir, from),
        &mut |_, found, known| {
            if known == Known::Covered {
                return;
            }
            for record in Records::new(&found.header, found.body) {
                let record = record.expect("checked by the scan");
                seen.push((record.position.expect("positioned").0, record.body.to_vec()));
            }
        },
    )
    .expect("opens");
    (recovered, seen)
}

fn append(log: &mut Log, range: std::ops::Range<u64>) {
    let mut batch = Batch::new(log.end().position);
    for n in range.clone() {
        assert_eq!(batch.push(&Record::new(body(n))), Position(n));
    }
    while log.shared().ready() < 3 {
        log.shared().prepare().expect("prepares");
    }
    log.append(&mut batch, stamp(range.end), Urgency::Normal)
        .expect("appends");
}

#[test]
fn what_was_appended_is_read_back_after_reopening() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (recovered, seen) = reopen(dir.path(), None);
    assert!(seen.is_empty() && recovered.is_new);
    let mut log = recovered.log;
    for n in 0..200 {
        append(&mut log, n * 5..n * 5 + 5);
    }
    let reader = log.reader();
    assert_eq!(
        reader
            .read(Position(777))
            .expect("reads")
            .expect("is there")
            .body,
        body(777)
    );
    assert_eq!(reader.read(Position(1000)).expect("reads"), None);
    let wanted: Vec<_> = [3, 4, 400, 999, 2000].map(Position).to_vec();
    let got = reader.read_many(&wanted, usize::MAX).expect("reads");
    assert_eq!(
        got.iter().map(|r| r.position.0).collect::<Vec<_>>(),
        [3, 4, 400, 999]
    );
    let page = reader
        .read_from(Position(500), 100, usize::MAX)
        .expect("reads");
    assert_eq!(
        page.iter().map(|r| r.position.0).collect::<Vec<_>>(),
        (500..600).collect::<Vec<_>>()
    );
    let middle = log.end();
    append(&mut log, 1000..1003);
    drop(log);

    let (recovered, seen) = reopen(dir.path(), None);
    assert_eq!(seen, (0..1003).map(|n| (n, body(n))).collect::<Vec<_>>());
    assert_eq!(recovered.log.end().position, Position(1003));
    assert_eq!(recovered.cut, None);
    let (recovered, seen) = reopen(dir.path(), Some(middle));
    assert_eq!(seen, (1000..1003).map(|n| (n, body(n))).collect::<Vec<_>>());
    let mut log = recovered.log;
    append(&mut log, 1003..1010);
    assert_eq!(
        log.reader()
            .read(Position(1))
            .expect("reads")
            .expect("is there")
            .body,
        body(1)
    );
}

#[test]
fn the_reserve_is_for_essential_batches() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = reopen(dir.path(), None).0.log;
    assert_eq!(log.room(Urgency::Normal), 0, "no reserve yet");
    log.shared().prepare().expect("prepares");
    let here = log.room(Urgency::Normal);
    assert_eq!(here, SEGMENT_BYTES - SEGMENT_HEADER_BYTES);
    let mut batch = Batch::new(Position(0));
    batch.push(&Record::new(vec![1; here as usize - 200]));
    log.append(&mut batch, stamp(1), Urgency::Normal)
        .expect("fits");
    let mut more = Batch::new(log.end().position);
    more.push(&Record::new(vec![1; 1000]));
    assert!(matches!(
        log.append(&mut more, stamp(2), Urgency::Normal),
        Err(AppendError::NoRoom)
    ));
    log.append(&mut more, stamp(2), Urgency::Essential)
        .expect("uses the reserve");
    assert_eq!(log.room(Urgency::Normal), 0, "the reserve is gone");
}

struct EveryTenth;

impl Keep for EveryTenth {
    fn keeps(&mut self, position: Position, _: &[u8]) -> bool {
        position.0.is_multiple_of(10)
    }
    fn instead(&mut self) -> Vec<Record> {
        vec![Record::new(b"ids".to_vec())]
    }
}

#[test]
fn compaction_keeps_positions_and_retired_files_are_written_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = reopen(dir.path(), None).0.log;
    for n in 0..200 {
        append(&mut log, n * 5..n * 5 + 5);
    }
    let sealed: Vec<_> = log
        .shared()
        .segments()
        .into_iter()
        .rev()
        .skip(1)
        .rev()
        .collect();
    let compacted = compact(log.shared(), &sealed[1..], &mut EveryTenth).expect("compacts");
    assert!(compacted.is_some_and(|s| s.header.compacted));
    let reader = log.reader();
    let first = sealed[1].extent().first_position.0;
    let end = sealed[sealed.len() - 1].extent().end_position.0;
    for n in 0..1000 {
        let kept = n < first || n >= end || n % 10 == 0;
        let got = reader.read(Position(n)).expect("reads");
        assert_eq!(
            got.map(|r| r.body.to_vec()),
            kept.then(|| body(n)),
            "position {n}"
        );
    }
    let cursor = log.end();
    let mut sealed = sealed;
    sealed.truncate(1);
    log.shared().retire(&sealed).expect("retires");
    drop(sealed);
    let before = log.shared().total_bytes();
    log.shared().prepare().expect("prepares");
    assert_eq!(
        log.shared().total_bytes(),
        before,
        "the retired file is used again"
    );
    for n in 1000..1300 {
        append(&mut log, n..n + 1);
    }
    drop((log, reader));
    let (recovered, seen) = reopen(dir.path(), Some(cursor));
    assert_eq!(seen.len(), 300);
    assert_eq!(
        recovered.unindexed.len(),
        1,
        "the compacted one has no index yet"
    );
    let got = recovered
        .log
        .reader()
        .read(Position(end / 10 * 10))
        .expect("reads");
    assert!(got.is_some());
}

#[test]
fn a_compacted_segment_stands_for_what_was_dropped_at_its_start_too() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = reopen(dir.path(), None).0.log;
    for n in 0..200 {
        append(&mut log, n * 5..n * 5 + 5);
    }
    let mut sealed = log.shared().segments();
    sealed.pop();
    let (first, second) = sealed.split_at(sealed.len() / 2);
    let compacted = [first, second].map(|run| {
        let start = run[0].extent().first_position;
        let end = run[run.len() - 1].extent().end_position;
        let mut keep = From(Position(start.0 + 50));
        let segment = compact(log.shared(), run, &mut keep).expect("compacts");
        (segment.expect("something is kept").path.clone(), start, end)
    });
    let cursor = log.end();
    drop((log, sealed));
    // Its index was not written yet when the process ended.
    let log = reopen(dir.path(), Some(cursor)).0.log;
    for (path, start, end) in compacted {
        for position in [start, Position(start.0 + 49), Position(end.0 - 1)] {
            let found = log.shared().segment_of(position);
            assert_eq!(
                found.map(|s| s.path.clone()),
                Some(path.clone()),
                "{position:?}"
            );
        }
    }
}

/// Keeps what stands at this position or later.
struct From(Position);

impl Keep for From {
    fn keeps(&mut self, position: Position, _: &[u8]) -> bool {
        position >= self.0
    }

    fn instead(&mut self) -> Vec<Record> {
        vec![Record::new(b"what was dropped".to_vec())]
    }
}

#[test]
fn a_torn_tail_is_cut_and_damage_in_the_middle_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = reopen(dir.path(), None).0.log;
    append(&mut log, 0..5);
    let first_end = log.end().offset;
    append(&mut log, 5..9);
    let second_end = log.end().offset;
    append(&mut log, 9..12);
    let file = Arc::clone(&log.active().file);
    drop(log);
    let flip = |offset: u64| {
        let mut byte = [0];
        file.read_at(&mut byte, offset).expect("reads");
        file.write_at(&[byte[0] ^ 1], offset).expect("writes");
    };
    flip(second_end + 100);
    let (recovered, seen) = reopen(dir.path(), None);
    assert_eq!(seen.len(), 9);
    assert_eq!(recovered.cut.map(|c| c.offset), Some(second_end));
    drop(recovered.log);
    flip(first_end - 9);
    let refused = open(
        Arc::new(RealDisk),
        &options(dir.path(), None),
        &mut |_, _, _| {},
    );
    let Err(OpenError::Corrupt {
        good_until,
        valid_from,
        ..
    }) = refused
    else {
        panic!("damage in the middle was not refused")
    };
    assert_eq!((good_until, valid_from), (Position(0), Position(5)));
}
