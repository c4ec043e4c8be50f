use super::*;
use crate::message::LaneId;
use fastrand::Rng;

const HISTORIES: u64 = 1_500;
const STEPS: usize = 60;
const LANE: LaneId = LaneId(4);

const OUTCOMES: [Outcome; 4] = [
    Outcome::Delivered,
    Outcome::DeadLettered,
    Outcome::Discarded(DiscardReason::Dropped),
    Outcome::Discarded(DiscardReason::Expired),
];

/// Each delivery with its bytes and, once settled, its outcome (`None` when that was forgotten).
#[derive(Default)]
struct Model(BTreeMap<DeliveryId, (u32, Fate)>);

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Owed,
    Settled(Outcome),
    /// Settled, but its record left the log.
    Forgotten(Outcome),
}

impl Model {
    fn owed(&self) -> Vec<DeliveryId> {
        let owed = self.0.iter().filter(|(_, (_, fate))| *fate == Fate::Owed);
        owed.map(|(at, _)| *at).collect()
    }

    fn owed_bytes(&self) -> u64 {
        let owed = self.0.values().filter(|(_, fate)| *fate == Fate::Owed);
        owed.map(|(bytes, _)| u64::from(*bytes)).sum()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts {
            planned: self.0.len() as u64,
            ..Counts::default()
        };
        for (_, fate) in self.0.values() {
            match fate {
                Fate::Settled(outcome) | Fate::Forgotten(outcome) => *counts.of(*outcome) += 1,
                Fate::Owed => {}
            }
        }
        counts
    }
}

struct History {
    seed: u64,
    rng: Rng,
    next: u64,
    ledger: LaneLedger,
    model: Model,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::with_seed(seed),
            // Near the end of a bitmap, so that runs cross it.
            next: (1 << 32) - 40,
            ledger: LaneLedger::default(),
            model: Model::default(),
        }
    }

    fn step(&mut self) {
        match self.rng.u8(..12) {
            0..=5 => self.owe(),
            6..=8 => self.settle(),
            9 => self.lose(),
            10 => self.forget(),
            _ => self.restart(),
        }
        self.compare();
    }

    fn owe(&mut self) {
        for ordinal in 0..self.rng.u16(1..3) {
            let at = DeliveryId::new(self.next, ordinal);
            let bytes = self.rng.u32(..1000);
            assert_eq!(self.ledger.owe(at, bytes.into()), Ok(()));
            let again = self.ledger.owe(at, bytes.into());
            assert_eq!(again, Err(LedgerError::OwedTwice { at }));
            self.model.0.insert(at, (bytes, Fate::Owed));
        }
        self.next += self.rng.u64(1..3);
    }

    fn settle(&mut self) {
        let mut settlements = Vec::new();
        for at in self.model.owed() {
            if self.rng.u8(..3) != 0 {
                let outcome = OUTCOMES[if self.rng.bool() {
                    0
                } else {
                    self.rng.usize(..4)
                }];
                let Some((size_bytes, fate)) = self.model.0.get_mut(&at) else {
                    continue;
                };
                *fate = Fate::Settled(outcome);
                settlements.push(Settlement {
                    lane: LANE,
                    at,
                    outcome,
                    size_bytes: *size_bytes,
                });
            }
        }
        let marks = SinkMarks {
            sink: self.rng.u64(..9),
            dead_letters: 0,
        };
        let mut record = Vec::new();
        SettlementGroup::of(LANE, marks, &settlements).encode(&mut record);
        let group = SettlementGroup::decode(&record).expect("it was just encoded");
        let before = self.ledger.marks();
        assert_eq!(self.ledger.apply(&group), Ok(()), "seed {}", self.seed);
        assert_eq!(self.ledger.marks(), before.max(marks));

        for settlement in settlements {
            let unchanged = self.ledger.clone();
            let error = self.ledger.settle(&settlement).unwrap_err();
            assert!(matches!(
                error,
                LedgerError::NotOwed {
                    owed: 0,
                    len: 1,
                    ..
                }
            ));
            assert_eq!(self.ledger, unchanged, "seed {}", self.seed);
        }
    }

    fn range(&mut self) -> RangeInclusive<u64> {
        let start = self.next - self.rng.u64(..60);
        start..=start + self.rng.u64(..5)
    }

    fn lose(&mut self) {
        let range = self.range();
        let mut bytes = 0;
        let mut count = 0;
        for at in self.model.owed() {
            if range.contains(&at.position.0)
                && let Some((size_bytes, fate)) = self.model.0.get_mut(&at)
            {
                *fate = Fate::Settled(Outcome::Discarded(DiscardReason::Lost));
                bytes += u64::from(*size_bytes);
                count += 1;
            }
        }
        assert_eq!(self.ledger.lose(range, bytes), count, "seed {}", self.seed);
    }

    fn forget(&mut self) {
        let range = self.range();
        for (at, (_, fate)) in &mut self.model.0 {
            if let Fate::Settled(outcome) = *fate
                && range.contains(&at.position.0)
            {
                *fate = Fate::Forgotten(outcome);
            }
        }
        self.ledger.forget_positions(range);
    }

    fn restart(&mut self) {
        let mut checkpoint = vec![1, 2, 3];
        self.ledger.encode(&mut checkpoint);
        checkpoint.push(4);
        let mut reader = Reader::new(&checkpoint);
        reader.take("what is before", 3).unwrap();
        let restored = LaneLedger::decode(&mut reader).expect("it was just encoded");
        assert_eq!(reader.rest(), [4], "seed {}", self.seed);
        assert_eq!(restored, self.ledger, "seed {}", self.seed);
        self.ledger = restored;
    }

    fn compare(&self) {
        let (seed, ledger) = (self.seed, &self.ledger);
        assert_eq!(ledger.check(), Ok(()), "seed {seed}");
        let mut owed: Vec<_> = ledger.owed().iter().collect();
        owed.sort_unstable();
        assert_eq!(owed, self.model.owed(), "seed {seed}");
        assert_eq!(ledger.owed_bytes(), self.model.owed_bytes(), "seed {seed}");
        assert_eq!(*ledger.counts(), self.model.counts(), "seed {seed}");
        for (at, (_, fate)) in &self.model.0 {
            let expected = match fate {
                Fate::Owed => DeliveryState::Stored,
                Fate::Settled(Outcome::DeadLettered) => DeliveryState::DeadLettered,
                Fate::Settled(Outcome::Discarded(reason)) => {
                    assert_eq!(ledger.discard_reason(*at), Some(*reason), "seed {seed}");
                    DeliveryState::Discarded
                }
                Fate::Settled(Outcome::Delivered) | Fate::Forgotten(_) => DeliveryState::Delivered,
            };
            assert_eq!(ledger.state(*at), expected, "seed {seed}, {at}");
        }
    }
}

#[test]
fn the_ledger_is_as_the_model_says_over_restarts_too() {
    let mut total = Counts::default();
    for seed in 0..HISTORIES {
        let mut history = History::new(seed);
        for _ in 0..STEPS {
            history.step();
        }
        let counts = history.ledger.counts();
        total.delivered += counts.delivered;
        total.dead_lettered += counts.dead_lettered;
        for reason in DiscardReason::ALL {
            total.discarded[reason as usize] += counts.discarded_as(reason);
        }
    }
    let happened = total.discarded.iter().all(|n| *n > 1_000) && total.dead_lettered > 1_000;
    assert!(happened && total.delivered > 1_000, "{total:?}");
}

#[test]
fn a_run_that_is_not_wholly_owed_changes_nothing() {
    let mut ledger = LaneLedger::default();
    for position in [1, 2, 4] {
        ledger.owe(DeliveryId::new(position, 0), 10).unwrap();
    }
    let unchanged = ledger.clone();
    let mut run = SettledRun {
        outcome: Outcome::Delivered,
        start: DeliveryId::new(1, 0),
        len: 4,
        bytes: 30,
    };
    let (start, len, owed) = (run.start, 4, 3);
    let error = LedgerError::NotOwed { start, len, owed };
    assert_eq!(ledger.settle_run(&run), Err(error));
    run.len = u64::MAX - 1;
    let error = ledger.settle_run(&run).unwrap_err();
    assert!(matches!(error, LedgerError::NotOwed { owed: 3, .. }));
    (run.len, run.bytes) = (2, 31);
    let error = LedgerError::MoreThanOwed {
        start,
        bytes: 31,
        owed_bytes: 30,
    };
    assert_eq!(ledger.settle_run(&run), Err(error));
    assert_eq!(ledger, unchanged);
}

#[test]
fn what_is_owed_stays_owed_when_records_are_forgotten() {
    let mut ledger = LaneLedger::default();
    let at = DeliveryId::new(7, 1);
    ledger.owe(at, 10).unwrap();
    ledger.forget_positions(0..=u64::MAX);
    assert_eq!(ledger.state(at), DeliveryState::Stored);
}

#[test]
fn loss_beyond_what_is_known_leaves_no_bytes_behind() {
    let mut ledger = LaneLedger::default();
    ledger.owe(DeliveryId::new(7, 0), 10).unwrap();
    assert_eq!(ledger.lose(0..=u64::MAX, 0), 1);
    assert_eq!(ledger.check(), Ok(()));
    assert_eq!(
        ledger.state(DeliveryId::new(7, 0)),
        DeliveryState::Discarded
    );
}

#[test]
fn counts_that_do_not_add_up_are_seen() {
    let mut ledger = LaneLedger::default();
    ledger.owe(DeliveryId::new(1, 0), 10).unwrap();
    ledger.counts.delivered += 1;
    assert!(ledger.check().is_err());
    ledger.counts.delivered -= 1;
    assert_eq!(ledger.check(), Ok(()));
    ledger.owed = DeliverySet::new();
    ledger.counts.planned -= 1;
    assert!(ledger.check().is_err(), "bytes are owed for nothing");
}

#[test]
fn damaged_checkpoints_never_panic() {
    let mut ledger = LaneLedger::default();
    for position in 0..200 {
        let ordinal = u16::try_from(position % 3).unwrap();
        ledger
            .owe(DeliveryId::new(position * 7, ordinal), 5)
            .unwrap();
    }
    let dead: Vec<_> = ledger.owed().iter().take(40).collect();
    for (i, at) in dead.into_iter().enumerate() {
        let outcome = OUTCOMES[1 + i % 3];
        let lane = LANE;
        let size_bytes = 5;
        ledger
            .settle(&Settlement {
                lane,
                at,
                outcome,
                size_bytes,
            })
            .unwrap();
    }
    let mut whole = Vec::new();
    ledger.encode(&mut whole);
    for cut in 0..whole.len() {
        assert!(
            LaneLedger::decode(&mut Reader::new(&whole[..cut])).is_err(),
            "cut at {cut}"
        );
    }
    let mut decodable = 0;
    for seed in 0..5_000 {
        let mut rng = Rng::with_seed(seed);
        let mut damaged = whole.clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(1..damaged.len());
            damaged[at] = rng.u8(..);
        }
        if let Ok(ledger) = LaneLedger::decode(&mut Reader::new(&damaged)) {
            decodable += 1;
            let mut again = Vec::new();
            ledger.encode(&mut again);
            assert_eq!(
                LaneLedger::decode(&mut Reader::new(&again)),
                Ok(ledger),
                "seed {seed}"
            );
        }
    }
    assert!(
        decodable > 100,
        "only {decodable} damaged checkpoints decode"
    );
}

#[test]
fn what_is_owed_together_is_owed_one_by_one() {
    let mut rng = fastrand::Rng::with_seed(11);
    for round in 0..500 {
        let (mut together, mut singly) = (LaneLedger::default(), LaneLedger::default());
        let mut batch: Vec<(DeliveryId, u64)> = Vec::new();
        let mut position = 0;
        for _ in 0..rng.u64(0..60) {
            position += rng.u64(1..3);
            for ordinal in 0..rng.u16(1..3) {
                batch.push((DeliveryId::new(position, ordinal), rng.u64(1..500)));
            }
        }
        assert_eq!(together.owe_all(batch.iter().copied()), Ok(()));
        for (at, bytes) in &batch {
            assert_eq!(singly.owe(*at, *bytes), Ok(()));
        }
        assert_eq!(together, singly, "round {round}");
        if let Some(again) = batch.last() {
            let twice = together.owe_all([*again]);
            assert_eq!(twice, Err(LedgerError::OwedTwice { at: again.0 }));
        }
    }
}

/// A ledger without gone letters is written as it was before there were any.
#[test]
fn gone_letters_are_kept_and_only_then_another_version_is_written() {
    let mut ledger = LaneLedger::default();
    let bytes = |ledger: &LaneLedger| {
        let mut out = Vec::new();
        ledger.encode(&mut out);
        out
    };
    let before = bytes(&ledger);
    assert_eq!(before[0], LEDGER_V1);
    let gone = GoneLetters::redriven(crate::journal::LetterId {
        lane: LANE,
        offset: 1 << 40,
    });
    ledger.note_gone(&gone, 0);
    let after = bytes(&ledger);
    assert_eq!(after[0], LEDGER_V2);
    for (bytes, count) in [(&before, 0), (&after, 1)] {
        let mut reader = Reader::new(bytes);
        let read = LaneLedger::decode(&mut reader).expect("it can be read");
        reader.finish("ledger").expect("nothing is left");
        assert_eq!(read.gone_letters().len(), count);
    }
    for cut in 0..after.len() {
        assert!(LaneLedger::decode(&mut Reader::new(&after[..cut])).is_err());
    }
}
