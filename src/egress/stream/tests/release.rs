//! Room of letters that are gone, whatever of it is gone and when.

use super::*;
use roaring::RoaringTreemap;

fn gone(offsets: impl IntoIterator<Item = u64>) -> RoaringTreemap {
    offsets.into_iter().collect()
}

fn release_all(log: &mut StreamLog, gone: &RoaringTreemap) -> u64 {
    let mut rounds = 0;
    while log.release(gone) {
        rounds += 1;
        assert!(rounds < 100, "it never ends");
    }
    rounds
}

#[test]
fn segments_without_a_letter_go_and_those_with_few_are_put_together() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let dir = tempfile::tempdir().expect("temp dir");
        let options = dead_letters(dir.path(), None);
        let mut log = open(options.clone(), 0).log;
        let count = rng.u64(300..900);
        let mut next = 0;
        while next < count {
            let end = count.min(next + rng.u64(1..12));
            fill(&mut log, next..end, 1);
            next = end;
        }
        let mark = rng.u64(count / 2..=count);
        log.advance_mark(mark);
        let share = rng.u64(1..30);
        let mut out = RoaringTreemap::new();
        for round in 0..4 {
            for offset in 0..mark {
                let chosen = round == 3 || rng.u64(..30) < share;
                if chosen && offset % 50 != 7 {
                    out.insert(offset);
                }
            }
            release_all(&mut log, &out);
            let left: Vec<u64> = all(&log)
                .into_iter()
                .filter(|n| !out.contains(*n))
                .collect();
            let expected: Vec<u64> = (0..count).filter(|n| !out.contains(*n)).collect();
            assert_eq!(left, expected, "seed {seed}, round {round}");
        }
        assert!(!log.release(&out), "seed {seed}: nothing is left to do");
        let bytes = log.stats().bytes;
        let needed = (count - out.len()) * 1200 + 6 * SEGMENT_BYTES;
        assert!(
            bytes < needed,
            "seed {seed}: {bytes} bytes, {needed} would do"
        );
        drop(log);
        if rng.bool() {
            // A crash before they were written.
            for name in file_names(&options, ".idx") {
                fs::remove_file(options.dir.join(name)).expect("it is there");
            }
        }
        let opened = open(options, mark);
        let left = all(&opened.log).into_iter().filter(|n| !out.contains(*n));
        assert_eq!(left.count() as u64, count - out.len(), "seed {seed}");
        assert_eq!(opened.next_offset, count, "seed {seed}");
    }
}

#[test]
fn what_is_not_settled_stays_whatever_is_said_to_be_gone() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut log = open(dead_letters(dir.path(), None), 0).log;
    fill(&mut log, 0..400, 1);
    release_all(&mut log, &gone(0..400));
    assert_eq!(all(&log).len(), 400);
    log.advance_mark(400);
    release_all(&mut log, &gone(0..400));
    let left = all(&log);
    assert!(left.len() < 100 && left.last() == Some(&399), "{left:?}");
    fill(&mut log, 400..410, 1);
    assert_eq!(log.next_offset(), 410);
}
