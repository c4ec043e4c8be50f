//! Limits, full disks, failing disks, retention.

use super::disk::{FailingDisk, Trouble};
use super::*;

#[test]
fn retention_by_size_drops_whole_segments_up_to_the_mark() {
    let dir = tempfile::tempdir().expect("temp dir");
    let retention = Retention {
        max_bytes: Some(3 * SEGMENT_BYTES),
        max_age: None,
    };
    let options = StreamOptions {
        retention,
        ..options(dir.path())
    };
    let mut log = open(options.clone(), 0).log;
    fill(&mut log, 0..500, 1);
    let reader = log.reader();
    assert_eq!(log.retain(Wall(2)), 0, "nothing is settled");
    let segments = log.log.shared().segments();
    let ends: Vec<_> = segments.iter().map(|s| s.extent().end_position.0).collect();
    drop(segments);
    log.advance_mark(ends[1] - 1);
    assert_eq!(log.retain(Wall(2)), 1, "the second reaches the mark");
    log.advance_mark(500);
    let before = log.stats();
    assert_eq!(log.retain(Wall(2)), ends.len() - 1 - 3);
    let after = log.stats();
    assert!(after.bytes < before.bytes);
    assert_eq!((after.segments, after.earliest), (3, ends[ends.len() - 4]));
    let gone = reader.read(From::Offset(after.earliest - 1), ALL, ALL);
    assert!(matches!(gone, Err(ReadError::Gone { earliest }) if earliest == after.earliest));
    let page = reader.read(From::Earliest, ALL, ALL).expect("reads");
    assert_eq!(positions(&page), (after.earliest..500).collect::<Vec<_>>());
    fill(&mut log, 500..600, 3);
    assert_eq!(log.stats().bytes, after.bytes, "files are used again");
    drop(log);

    let opened = open(options.clone(), 500);
    assert_eq!((opened.held.len(), opened.next_offset), (100, 600));
    assert_eq!(opened.log.stats().earliest, after.earliest);
    drop(opened);
    let refused = StreamLog::open(Arc::new(RealDisk), options, journal(after.earliest - 1));
    assert!(matches!(refused, Err(OpenError::Trimmed { .. })));
}

#[test]
fn retention_by_age_goes_by_a_segments_last_record_and_keeps_the_last() {
    let dir = tempfile::tempdir().expect("temp dir");
    let options = StreamOptions {
        retention: Retention {
            max_bytes: None,
            max_age: Some(Duration::from_secs(10)),
        },
        ..options(dir.path())
    };
    let mut log = open(options.clone(), 0).log;
    for n in 0..200 {
        fill(&mut log, n..n + 1, n * 1000);
    }
    log.advance_mark(200);
    assert_eq!(log.retain(Wall(0)), 0);
    let first_end = log.log.shared().segments()[0].extent().end_position.0;
    let last_of_first = (first_end - 1) * 1000;
    assert_eq!(log.retain(Wall(last_of_first + 10_000)), 0);
    assert_eq!(log.retain(Wall(last_of_first + 10_001)), 1);
    drop(log);
    let mut log = open(options, 200).log;
    log.retain(Wall(u64::MAX));
    let stats = log.stats();
    assert_eq!((stats.segments, stats.next_offset), (1, 200));
    assert!(stats.earliest < 200, "the last with records stays");
    assert_eq!(log.retain(Wall(u64::MAX)), 0);
}

#[test]
fn full_dead_letters_refuse_and_keep_what_they_have() {
    let dir = tempfile::tempdir().expect("temp dir");
    let options = dead_letters(dir.path(), Some(4 * SEGMENT_BYTES));
    let mut log = open(options.clone(), 0).log;
    assert_eq!(log.stats().ready_segments, 1, "the reserve is made at open");
    let records: Vec<_> = (0..300).map(|n| record(n, 1000)).collect();
    let appended = append(&mut log, &records, 1);
    let stopped = appended.stopped.expect("full");
    assert!(stopped.is_retriable(), "{stopped}");
    assert!((200..240).contains(&appended.done), "{}", appended.done);
    assert_eq!(appended.in_doubt, 0);
    let stats = log.stats();
    assert_eq!((stats.bytes, stats.failure), (4 * SEGMENT_BYTES, None));
    for _ in 0..3 {
        drop(log);
        let opened = open(options.clone(), 0);
        assert_eq!(opened.held.len(), appended.done);
        log = opened.log;
        let again = append(&mut log, &records, 2);
        assert_eq!((again.done, again.held), (appended.done, appended.done));
        assert_eq!(
            log.stats().bytes,
            4 * SEGMENT_BYTES,
            "a restart makes no room"
        );
    }
    let stream = StreamOptions {
        kind: LogKind::Stream,
        ..options
    };
    let refused = StreamLog::open(Arc::new(RealDisk), stream, journal(0));
    assert!(
        matches!(refused, Err(OpenError::Log(_))),
        "another kind of log"
    );
}

#[test]
fn dead_letters_fit_into_their_reserve_when_the_disk_is_full() {
    let dir = tempfile::tempdir().expect("temp dir");
    let disk = FailingDisk::new();
    let options = StreamOptions {
        keep_free_bytes: 1 << 40,
        ..dead_letters(dir.path(), None)
    };
    disk.set_free(1 << 30);
    let mut log = StreamLog::open(disk.shared(), options, journal(0))
        .expect("opens")
        .log;
    assert_eq!(log.stats().ready_segments, 1, "also from what is kept free");
    disk.set_free(0);
    let records: Vec<_> = (0..300).map(|n| record(n, 1000)).collect();
    let appended = append(&mut log, &records, 1);
    assert!(appended.done > 100, "two segments: {}", appended.done);
    assert!(matches!(appended.stopped, Some(StreamError::NoRoom { .. })));
    assert_eq!(log.failure(), None);
}

#[test]
fn a_full_disk_is_no_room_and_works_again_when_room_returns() {
    for by_error in [false, true] {
        let dir = tempfile::tempdir().expect("temp dir");
        let disk = FailingDisk::new();
        let options = StreamOptions {
            keep_free_bytes: 1000,
            ..options(dir.path())
        };
        let mut log = StreamLog::open(disk.shared(), options, journal(0))
            .expect("opens")
            .log;
        fill(&mut log, 0..10, 1);
        if by_error {
            disk.set(Trouble::FullFor(SEGMENT_BYTES));
        } else {
            disk.set_free(SEGMENT_BYTES + 999);
        }
        let records: Vec<_> = (10..200).map(|n| record(n, 1000)).collect();
        let appended = append(&mut log, &records, 2);
        let stopped = appended.stopped.expect("full");
        assert!(matches!(stopped, StreamError::NoRoom { .. }), "{stopped}");
        assert!(
            appended.done > 30,
            "what fits is written: {}",
            appended.done
        );
        assert_eq!((appended.in_doubt, log.failure()), (0, None));
        let written = 10 + appended.done as u64;
        assert_eq!(all(&log), (0..written).collect::<Vec<_>>());
        log.prepare_ahead();
        assert_eq!((log.stats().ready_segments, log.failure()), (0, None));
        disk.set(Trouble::None);
        disk.set_free(u64::MAX);
        let appended = append(&mut log, &records, 3);
        assert_eq!((appended.done, appended.stopped), (190, None));
        assert_eq!(appended.held as u64, written - 10);
        assert_eq!(all(&log), (0..200).collect::<Vec<_>>());
        log.prepare_ahead();
        assert_eq!(log.stats().ready_segments, 1);
    }
}

#[test]
fn a_full_disk_takes_what_retention_gave_back() {
    let dir = tempfile::tempdir().expect("temp dir");
    let disk = FailingDisk::new();
    let options = StreamOptions {
        retention: Retention {
            max_bytes: Some(2 * SEGMENT_BYTES),
            max_age: None,
        },
        ..options(dir.path())
    };
    let mut log = StreamLog::open(disk.shared(), options, journal(0))
        .expect("opens")
        .log;
    fill(&mut log, 0..300, 1);
    disk.set_free(0);
    log.advance_mark(300);
    assert!(log.retain(Wall(2)) > 1);
    fill(&mut log, 300..350, 3);
}

#[test]
fn a_failed_write_or_sync_is_final_until_it_is_opened_anew() {
    for trouble in [Trouble::FailSync, Trouble::FailWrite] {
        let dir = tempfile::tempdir().expect("temp dir");
        let disk = FailingDisk::new();
        let opened = StreamLog::open(disk.shared(), options(dir.path()), journal(0));
        let mut log = opened.expect("opens").log;
        fill(&mut log, 0..3, 1);
        let reader = log.reader();
        disk.set(trouble);
        let records: Vec<_> = (3..6).map(|n| record(n, 1000)).collect();
        let appended = append(&mut log, &records, 2);
        let stopped = appended.stopped.expect("failed");
        assert!(matches!(stopped, StreamError::Failed { .. }) && !stopped.is_retriable());
        assert_eq!((appended.done, appended.in_doubt), (0, 3));
        disk.set(Trouble::None);
        let again = append(&mut log, &records, 3);
        assert_eq!((again.done, again.in_doubt), (0, 0));
        assert!(matches!(again.stopped, Some(StreamError::Failed { .. })));
        assert!(log.stats().failure.is_some());
        assert_eq!(reader.bounds(), (0, 3), "nobody reads what is in doubt");
        drop(log);
        let opened = open(options(dir.path()), 0);
        let on_disk = opened.held.len();
        assert!(on_disk == 3 || on_disk == 6, "a batch is there or isn't");
        let appended = append(&mut { opened.log }, &records, 4);
        assert_eq!((appended.done, appended.held), (3, on_disk - 3));
    }
}

#[test]
fn a_failed_sync_of_a_new_segment_is_final_too() {
    let dir = tempfile::tempdir().expect("temp dir");
    let disk = FailingDisk::new();
    let opened = StreamLog::open(disk.shared(), options(dir.path()), journal(0));
    let mut log = opened.expect("opens").log;
    disk.set(Trouble::FailSync);
    log.prepare_ahead();
    disk.set(Trouble::None);
    let appended = append(&mut log, &[record(0, 10)], 1);
    assert!(matches!(appended.stopped, Some(StreamError::Failed { .. })));
    assert_eq!(appended.in_doubt, 0, "it was not tried");
}

#[test]
fn a_failed_trim_ends_trimming_but_no_writes() {
    let dir = tempfile::tempdir().expect("temp dir");
    let disk = FailingDisk::new();
    let options = StreamOptions {
        retention: Retention {
            max_bytes: Some(SEGMENT_BYTES),
            max_age: None,
        },
        ..options(dir.path())
    };
    let opened = StreamLog::open(disk.shared(), options.clone(), journal(0));
    let mut log = opened.expect("opens").log;
    fill(&mut log, 0..300, 1);
    log.advance_mark(300);
    disk.set(Trouble::FailNames);
    log.retain(Wall(2));
    assert!(log.stats().trim_failure.is_some());
    disk.set(Trouble::None);
    fill(&mut log, 300..400, 3);
    log.advance_mark(400);
    assert_eq!(
        log.retain(Wall(4)),
        0,
        "a gap in the files would be refused at start"
    );
    drop(log);
    let mut log = open(options, 400).log;
    assert_eq!(all(&log), (0..400).collect::<Vec<_>>());
    assert!(log.retain(Wall(5)) > 0);
}

#[test]
fn larger_records_are_taken_after_the_segment_size_was_raised() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(options(dir.path()), 0).log;
    fill(&mut log, 0..10, 1);
    log.prepare_ahead();
    drop(log);
    let mut larger = options(dir.path());
    larger.sizes.min_segment_bytes = 2 * SEGMENT_BYTES;
    larger.sizes.max_segment_bytes = 2 * SEGMENT_BYTES;
    let mut log = open(larger.clone(), 0).log;
    assert_eq!(log.stats().ready_segments, 1);
    let appended = append(&mut log, &[record(10, SEGMENT_BYTES as usize + 1000)], 2);
    assert_eq!((appended.done, appended.stopped), (1, None));
    drop(log);
    assert_eq!(open(larger, 0).held.len(), 11);
}
