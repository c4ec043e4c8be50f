//! Streams on the real disk, and on one that fails and fills up. Crashes at any byte are in the
//! simulation.

mod disk;
mod model;
mod release;
mod rendered;
mod room;

use super::*;
use crate::log::disk::RealDisk;
use crate::message::Tombstone;
use bytes::Bytes;
use std::fs;
use std::path::Path;

const SEGMENT_BYTES: u64 = 64 * 1024;
const JOURNAL: LogUuid = LogUuid(77);
const ALL: usize = usize::MAX;

fn options(dir: &Path) -> StreamOptions {
    StreamOptions {
        dir: dir.join("stream"),
        kind: LogKind::Stream,
        sizes: Sizes {
            min_segment_bytes: SEGMENT_BYTES,
            max_segment_bytes: SEGMENT_BYTES,
            reserve_segments: 0,
        },
        retention: Retention::default(),
        max_bytes: None,
        keep_free_bytes: 0,
        room_told: None,
        seed: 7,
    }
}

fn dead_letters(dir: &Path, max_bytes: Option<u64>) -> StreamOptions {
    StreamOptions {
        kind: LogKind::DeadLetters,
        max_bytes,
        ..options(dir)
    }
}

fn journal(mark: u64) -> JournalState {
    JournalState {
        uuid: JOURNAL,
        epoch: Epoch(3),
        next_position: Position(1_000_000),
        mark,
    }
}

fn open(options: StreamOptions, mark: u64) -> Opened {
    StreamLog::open(Arc::new(RealDisk), options, journal(mark)).expect("opens")
}

/// The delivery (n, 0), with so large a payload.
fn record(n: u64, payload_bytes: usize) -> StreamRecord {
    StreamRecord {
        journal: JOURNAL,
        at: DeliveryId::new(n, 0),
        accepted: Wall(n),
        epoch: Epoch(3),
        id_kind: IdKind::Publisher,
        id: format!("id-{n}"),
        delivery_id: format!("delivery-{n}"),
        route: Some("route".to_owned()),
        topic: "topic".to_owned(),
        key: None,
        headers: vec![],
        content_type: None,
        payload: if payload_bytes == 0 {
            Err(Tombstone)
        } else {
            Ok(Bytes::from(vec![n as u8; payload_bytes]))
        },
        dead_letter: None,
    }
}

fn append(log: &mut StreamLog, records: &[StreamRecord], wall: u64) -> Appended {
    let borrowed: Vec<_> = records.iter().map(StreamRecord::borrowed).collect();
    log.append(&borrowed, Mono(wall), Wall(wall))
}

/// Appends the deliveries of a range with payloads of 1000 bytes; all of them must fit.
fn fill(log: &mut StreamLog, range: Range<u64>, wall: u64) {
    let records: Vec<_> = range.map(|n| record(n, 1000)).collect();
    let appended = append(log, &records, wall);
    assert_eq!((appended.done, appended.stopped), (records.len(), None));
}

fn positions(page: &Page) -> Vec<u64> {
    page.records.iter().map(|(_, r)| r.at.position.0).collect()
}

fn all(log: &StreamLog) -> Vec<u64> {
    positions(&log.reader().read(From::Earliest, ALL, ALL).expect("reads"))
}

fn file_names(options: &StreamOptions, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(&options.dir).expect("lists");
    let names = entries.map(|e| e.expect("entry").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = names.filter(|n| n.ends_with(extension)).collect();
    names.sort();
    names
}

#[test]
fn what_is_appended_is_read_by_offset_also_after_reopening() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(options(dir.path()), 0).log;
    let reader = log.reader();
    let empty = reader.read(From::Earliest, ALL, ALL).expect("reads");
    assert_eq!((empty.records.len(), empty.next), (0, 0));
    let records: Vec<_> = (0..500).map(|n| record(n, (n % 700) as usize)).collect();
    let appended = append(&mut log, &records, 10);
    assert_eq!(
        (appended.done, appended.offsets, appended.held),
        (500, 0..500, 0)
    );
    for reader in [reader, open(options(dir.path()), 0).log.reader()] {
        assert_eq!(reader.bounds(), (0, 500));
        let page = reader.read(From::Offset(120), 7, ALL).expect("reads");
        assert_eq!(page.next, 127);
        for (i, (offset, got)) in page.records.iter().enumerate() {
            assert_eq!((*offset, got), (120 + i as u64, &records[120 + i]));
        }
        let page = reader.read(From::Offset(0), ALL, 1).expect("reads");
        assert_eq!(page.records.len(), 1, "one record however small the limit");
        assert_eq!(
            reader.read(From::Latest, ALL, ALL).expect("reads").next,
            500
        );
        let at_end = reader.read(From::Offset(500), ALL, ALL).expect("reads");
        assert_eq!((at_end.records.len(), at_end.next), (0, 500));
        let beyond = reader.read(From::Offset(501), ALL, ALL);
        assert!(matches!(beyond, Err(ReadError::Beyond { next: 500 })));
    }
}

#[test]
fn a_delivery_is_never_held_twice() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(options(dir.path()), 0).log;
    let twice: Vec<_> = [1, 2, 2, 1, 3].map(|n| record(n, 10)).to_vec();
    let appended = append(&mut log, &twice, 1);
    assert_eq!(
        (appended.done, appended.held, appended.offsets),
        (5, 2, 0..3)
    );
    let again = append(&mut log, &twice, 2);
    assert_eq!((again.done, again.held, again.offsets), (5, 5, 3..3));
    let mut other = record(2, 10);
    other.at = DeliveryId::new(2, 1);
    assert_eq!(append(&mut log, &[other], 3).held, 0, "another ordinal");
    assert_eq!(all(&log), [1, 2, 3, 2]);
    drop(log);

    let opened = open(options(dir.path()), 1);
    let expected = [(2, 0), (3, 0), (2, 1)].map(|(p, o)| DeliveryId::new(p, o));
    assert_eq!((opened.held, opened.next_offset), (expected.to_vec(), 4));
    let mut log = opened.log;
    let next: Vec<_> = [3, 4].map(|n| record(n, 10)).to_vec();
    let appended = append(&mut log, &next, 4);
    assert_eq!(
        (appended.done, appended.held, appended.offsets),
        (2, 1, 4..5)
    );
    log.advance_mark(2);
    assert_eq!(append(&mut log, &next, 5).held, 2, "still after the mark");
    log.advance_mark(5);
    assert_eq!(log.stats().mark, 5);
    assert!(log.tail.is_empty() && log.held.is_empty());
    log.advance_mark(50);
    assert_eq!(log.stats().mark, 5, "a mark beyond the end is no news");
    assert_eq!(open(options(dir.path()), 5).held, []);
}

#[test]
fn records_of_another_journal_are_not_held() {
    let dir = tempfile::tempdir().expect("temp dir");
    fill(&mut open(options(dir.path()), 0).log, 0..5, 1);
    let other = JournalState {
        uuid: LogUuid(78),
        next_position: Position(2),
        ..journal(0)
    };
    let opened = StreamLog::open(Arc::new(RealDisk), options(dir.path()), other).expect("opens");
    assert_eq!((opened.held, opened.next_offset), (vec![], 5));
    let mut log = opened.log;
    let mut same_position = record(1, 10);
    same_position.journal = LogUuid(78);
    assert_eq!(append(&mut log, &[same_position], 2).offsets, 5..6);
    assert_eq!(open(options(dir.path()), 0).held.len(), 5);
}

#[test]
fn a_double_in_the_tail_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(options(dir.path()), 0).log;
    fill(&mut log, 0..3, 1);
    // The journal's fault: it said that all is settled and sends one again.
    log.advance_mark(3);
    fill(&mut log, 1..2, 2);
    drop(log);
    let refused = StreamLog::open(Arc::new(RealDisk), options(dir.path()), journal(1));
    let Err(OpenError::Double {
        at, first, second, ..
    }) = refused
    else {
        panic!("a double was not refused");
    };
    assert_eq!((at, first, second), (DeliveryId::new(1, 0), 1, 3));
    assert_eq!(open(options(dir.path()), 2).held.len(), 2);
}

#[test]
fn a_journal_that_is_behind_its_stream_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    fill(&mut open(options(dir.path()), 0).log, 0..5, 1);
    let behind = JournalState {
        next_position: Position(4),
        ..journal(0)
    };
    let refused = StreamLog::open(Arc::new(RealDisk), options(dir.path()), behind);
    let Err(error @ OpenError::JournalBehind { .. }) = refused else {
        panic!("a journal without what it delivered was not refused");
    };
    let text = error.to_string();
    assert!(text.contains("offset 4 holds delivery 4/0"), "{text}");
    assert!(
        text.contains("restored from an older copy or cut"),
        "{text}"
    );
}

#[test]
fn a_lost_stream_begins_at_the_mark_so_that_no_offset_is_given_twice() {
    let dir = tempfile::tempdir().expect("temp dir");
    for _ in 0..2 {
        let opened = open(options(dir.path()), 9);
        assert_eq!((opened.lost_mark, opened.next_offset), (Some(9), 9));
        assert_eq!(opened.log.reader().bounds(), (9, 9));
    }
    let mut log = open(options(dir.path()), 9).log;
    let gone = log.reader().read(From::Offset(8), ALL, ALL);
    assert!(matches!(gone, Err(ReadError::Gone { earliest: 9 })));
    fill(&mut log, 0..5, 1);
    assert_eq!(all(&log), [0, 1, 2, 3, 4]);
    // The old mark comes again and covers nothing that is new.
    log.advance_mark(9);
    assert_eq!(log.held.len(), 5);
    drop(log);
    let opened = open(options(dir.path()), 9);
    assert_eq!((opened.lost_mark, opened.held.len()), (None, 5));
    assert_eq!(opened.log.reader().bounds(), (9, 14));
}

#[test]
fn an_older_copy_of_a_stream_goes_on_at_the_mark() {
    let dir = tempfile::tempdir().expect("temp dir");
    fill(&mut open(options(dir.path()), 0).log, 0..5, 1);
    let opened = open(options(dir.path()), 9);
    assert_eq!((opened.lost_mark, opened.held.len()), (Some(9), 5));
    let mut log = opened.log;
    let reader = log.reader();
    let gap = reader.read(From::Offset(6), ALL, ALL).expect("reads");
    assert_eq!(
        (gap.records.len(), gap.next),
        (0, 9),
        "a reader doesn't spin"
    );
    fill(&mut log, 9..80, 2);
    for reader in [reader, open(options(dir.path()), 9).log.reader()] {
        assert_eq!(reader.bounds(), (0, 80));
        let page = reader.read(From::Offset(3), 4, ALL).expect("reads");
        assert_eq!((positions(&page), page.next), (vec![3, 4, 9, 10], 11));
        let offsets: Vec<_> = page.records.iter().map(|(o, _)| *o).collect();
        assert_eq!(offsets, [3, 4, 9, 10]);
        let page = reader.read(From::Offset(7), 1, ALL).expect("reads");
        assert_eq!((positions(&page), page.next), (vec![9], 10));
    }
}

#[test]
fn what_does_not_fit_into_a_segment_is_too_large_and_stops_nothing_else() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(options(dir.path()), 0).log;
    let mut records: Vec<_> = (0..5).map(|n| record(n, 1000)).collect();
    records[2] = record(2, SEGMENT_BYTES as usize);
    let appended = append(&mut log, &records, 1);
    assert_eq!(
        (appended.done, appended.offsets, appended.in_doubt),
        (2, 0..2, 0)
    );
    let stopped = appended.stopped.expect("stopped");
    assert!(matches!(stopped, StreamError::TooLarge { limit, .. } if limit < SEGMENT_BYTES));
    assert!(!stopped.is_retriable());
    assert_eq!(append(&mut log, &records[3..], 2).done, 2);
    assert_eq!(all(&log), [0, 1, 3, 4]);

    // The largest that fits does, wherever the log stands.
    let StreamError::TooLarge { bytes, limit } = stopped else {
        unreachable!("checked above");
    };
    let around = bytes as usize - SEGMENT_BYTES as usize;
    for n in 5..9 {
        let largest = record(n, limit as usize - around - 8);
        let appended = append(&mut log, &[largest], n);
        assert_eq!((appended.done, appended.stopped), (1, None));
    }
    let page = open(options(dir.path()), 0)
        .log
        .reader()
        .read(From::Offset(4), ALL, ALL);
    assert_eq!(positions(&page.expect("reads")), [5, 6, 7, 8]);
}

#[test]
fn sealed_segments_get_an_index_and_are_packed() {
    let dir = tempfile::tempdir().expect("temp dir");
    let options = options(dir.path());
    let mut log = open(options.clone(), 0).log;
    fill(&mut log, 0..300, 1);
    let sealed = log.stats().segments - 1;
    assert_eq!(sealed, 5, "about 58 of 1,100 bytes fit into one");
    let indexes = file_names(&options, ".idx");
    assert_eq!(indexes.len(), sealed);
    for segment in &log.log.shared().segments()[..sealed] {
        let wasted = SEGMENT_BYTES - segment.extent().data_end;
        assert!(wasted < 1200, "{wasted} bytes of a segment are wasted");
    }
    drop(log);
    fs::remove_file(options.dir.join(&indexes[1])).expect("removes");
    let log = open(options.clone(), 0).log;
    assert_eq!(all(&log), (0..300).collect::<Vec<_>>());
    assert_eq!(file_names(&options, ".idx"), indexes, "written again");
}

#[test]
fn recorded_times_never_go_back() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(options(dir.path()), 0).log;
    fill(&mut log, 0..1, 5000);
    fill(&mut log, 1..2, 4000);
    assert_eq!(log.log.end().wall_ms, 5000);
    assert_eq!(log.log.end().running_ms, 5000);
    drop(log);
    let mut log = open(options(dir.path()), 0).log;
    fill(&mut log, 2..3, 100);
    assert_eq!(log.log.end().wall_ms, 5000);
    assert_eq!(log.log.end().running_ms, 5100, "the clock began anew");
}

#[tokio::test]
async fn readers_wait_for_what_is_not_there_yet() {
    /// A wake-up that doesn't come must fail, not hang.
    const PATIENCE: Duration = Duration::from_secs(30);
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(options(dir.path()), 0).log;
    let wait = |reader: StreamReader, offset| {
        tokio::spawn(tokio::time::timeout(PATIENCE, async move {
            reader.wait_for(offset).await
        }))
    };
    let waiting = wait(log.reader(), 2);
    tokio::task::yield_now().await;
    fill(&mut log, 0..2, 1);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "offset 2 isn't written yet");
    fill(&mut log, 2..3, 1);
    assert_eq!(waiting.await.expect("no panic"), Ok(Ok(3)));
    assert_eq!(log.reader().wait_for(0).await, Ok(3), "there already");
    let waiting = wait(log.reader(), 3);
    drop(log);
    assert_eq!(waiting.await.expect("no panic"), Ok(Err(Closed)));
}

#[test]
fn a_torn_tail_is_cut_reported_and_not_held() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(options(dir.path()), 0).log;
    fill(&mut log, 0..3, 1);
    let end = log.log.end().offset;
    fill(&mut log, 3..5, 2);
    let path = log.log.active().path.clone();
    drop(log);
    let mut bytes = fs::read(&path).expect("reads");
    bytes[end as usize + 200] ^= 1;
    fs::write(&path, bytes).expect("writes");
    let opened = open(options(dir.path()), 0);
    assert_eq!((opened.held.len(), opened.next_offset), (3, 3));
    assert_eq!(opened.cut.map(|c| c.offset), Some(end));
    let mut log = opened.log;
    fill(&mut log, 3..5, 3);
    assert_eq!(all(&log), [0, 1, 2, 3, 4]);
}
