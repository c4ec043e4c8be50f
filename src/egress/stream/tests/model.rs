//! Seeded histories of everything that a lane does with a stream, against a plain list.

use super::*;
use crate::egress::stream::record::tests::any;
use fastrand::Rng;

const HISTORIES: u64 = 12;
const STEPS: usize = 40;

/// What should be in the stream, whatever was sent how often.
struct Model {
    rng: Rng,
    log: Option<StreamLog>,
    options: StreamOptions,
    /// By offset, from the very first.
    written: Vec<StreamRecord>,
    next_position: u64,
    mark: u64,
}

impl Model {
    fn new(seed: u64, dir: &Path) -> Self {
        let options = StreamOptions {
            retention: Retention {
                max_bytes: Some(2 * SEGMENT_BYTES),
                max_age: None,
            },
            ..options(dir)
        };
        Self {
            rng: Rng::with_seed(seed),
            log: Some(open(options.clone(), 0).log),
            options,
            written: Vec::new(),
            next_position: 0,
            mark: 0,
        }
    }

    fn log(&mut self) -> &mut StreamLog {
        self.log.as_mut().expect("is open between steps")
    }

    /// New records, and some that were sent since the mark.
    fn send(&mut self) {
        let mut batch = Vec::new();
        for _ in 0..self.rng.usize(1..60) {
            if self.rng.bool() && self.mark < self.written.len() as u64 {
                let again = self.rng.usize(self.mark as usize..self.written.len());
                batch.push(self.written[again].clone());
                continue;
            }
            let at = DeliveryId::new(self.next_position, self.rng.u16(..3));
            self.next_position += 1;
            let mut record = any(&mut self.rng, JOURNAL, at);
            if self.rng.u8(..4) == 0 {
                record.payload = Ok(vec![1; self.rng.usize(..20_000)].into());
            }
            self.written.push(record.clone());
            batch.push(record);
        }
        let appended = append(self.log(), &batch, 1);
        assert_eq!((appended.done, &appended.stopped), (batch.len(), &None));
        assert_eq!(appended.offsets.end, self.written.len() as u64);
    }

    fn reopen(&mut self) {
        self.log = None;
        let state = JournalState {
            next_position: Position(self.next_position),
            ..journal(self.mark)
        };
        let opened = StreamLog::open(Arc::new(RealDisk), self.options.clone(), state);
        let opened = opened.expect("opens");
        let expected: Vec<_> = self.written[self.mark as usize..]
            .iter()
            .map(|r| r.at)
            .collect();
        assert_eq!(opened.held, expected);
        assert_eq!((opened.cut, opened.lost_mark), (None, None));
        self.log = Some(opened.log);
    }

    fn step(&mut self) {
        match self.rng.u8(..8) {
            0 => self.reopen(),
            1 => {
                self.mark = self.rng.u64(self.mark..=self.written.len() as u64);
                let mark = self.mark;
                self.log().advance_mark(mark);
            }
            2 => {
                self.log().retain(Wall(1));
            }
            3 => self.log().prepare_ahead(),
            _ => self.send(),
        }
        self.check();
    }

    fn check(&mut self) {
        let mark = self.mark;
        let reader = self.log().reader();
        let (earliest, next) = reader.bounds();
        assert_eq!(next, self.written.len() as u64);
        assert!(earliest <= mark, "trimmed at {earliest}, mark {mark}");
        let from = self.rng.u64(earliest..=next);
        let count = self.rng.usize(1..200);
        let page = reader.read(From::Offset(from), count, ALL).expect("reads");
        assert_eq!(page.records.len(), count.min((next - from) as usize));
        for (i, (offset, record)) in page.records.iter().enumerate() {
            assert_eq!(*offset, from + i as u64);
            assert_eq!(record, &self.written[*offset as usize]);
        }
    }
}

#[test]
fn a_stream_is_what_was_sent_each_once() {
    let mut trimmed = 0;
    for seed in 0..HISTORIES {
        println!("seed {seed}");
        let dir = tempfile::tempdir().expect("temp dir");
        let mut model = Model::new(seed, dir.path());
        for _ in 0..STEPS {
            model.step();
        }
        trimmed += model.log().stats().earliest;
    }
    assert!(trimmed > 0, "no history reached the retention");
}
