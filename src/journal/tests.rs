//! The journal on the real disk: the plain ways. Crashes are in tests/, under simulated disks.

use super::*;
use crate::clock::{Clock, Wall};
use crate::faults::Faults;
use crate::log::Sizes;
use crate::log::disk::RealDisk;
use crate::message::{
    Ack, DeliveryId, DeliveryState, Envelope, Guarantee, MessageId, Outcome, Plan, Position,
    Refusal, Target,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

const SEGMENT_BYTES: u64 = 256 * 1024;

pub(super) struct House {
    pub(super) journal: Journal,
    pub(super) keeper: Keeper,
    pub(super) lane: LaneId,
    route: RouteId,
}

pub(super) fn options(dir: &Path, clock: &Clock) -> JournalOptions {
    JournalOptions {
        dir: dir.join("journal"),
        sizes: Sizes {
            min_segment_bytes: SEGMENT_BYTES,
            max_segment_bytes: SEGMENT_BYTES,
            reserve_segments: 1,
        },
        max_bytes: 64 * SEGMENT_BYTES,
        keep_free_bytes: 0,
        window: WindowLimits {
            window: Duration::from_secs(600),
            max_entries: 100_000,
        },
        clock: clock.clone(),
        seed: 11,
        faults: Faults::none(),
        progress: Arc::default(),
    }
}

pub(super) fn house(dir: &Path, clock: &Clock) -> House {
    let Opened {
        mut journal,
        mut keeper,
        ..
    } = open(Arc::new(RealDisk), options(dir, clock)).expect("opens");
    let lane = journal.intern_lane("inbox");
    let route = journal.intern_route("all");
    keeper.step();
    House {
        journal,
        keeper,
        lane,
        route,
    }
}

impl House {
    pub(super) fn submission(&self, id: Option<&str>, payload: &str) -> Submission {
        let envelope = Envelope {
            principal: "anonymous".into(),
            source: "http".into(),
            topic: "a/b".into(),
            id: id.map_or(MessageId::None, |id| MessageId::Publisher(id.into())),
            key: None,
            headers: Vec::new(),
            content_type: None,
            payload: Ok(Bytes::copy_from_slice(payload.as_bytes())),
            priority: None,
            deliver_at: None,
            expires_at: None,
            extensions: Vec::new(),
        };
        let target = Target::to(self.route, self.lane, Guarantee::AtLeastOnce);
        let plan = Plan {
            ack: Ack::Stored,
            ack_timeout: Duration::from_secs(1),
            targets: vec![target],
        };
        let hasher = &self.journal.shared().hasher;
        let fingerprint = id.map(|id| Fingerprint {
            key: hasher.fingerprint(fingerprint::Identity {
                principal: Some("anonymous"),
                topic: Some("a/b"),
                id,
            }),
            content: hasher.content(&envelope),
            derived: false,
        });
        Submission::new(Arc::new(Message { envelope, plan }), fingerprint)
    }

    pub(super) fn publish(&mut self, submissions: Vec<Submission>) -> Vec<Answer> {
        let mut queue = VecDeque::from(submissions);
        let mut answers = Vec::new();
        while !queue.is_empty() {
            let step = self.journal.step(&mut queue, &mut VecDeque::new());
            answers.extend(step.answers);
            self.keeper.step();
        }
        answers
    }

    fn settle(&mut self, positions: impl Iterator<Item = u64>, size_bytes: u32, outcome: Outcome) {
        let lane = self.lane;
        let settlements = positions
            .map(|p| Settlement {
                lane,
                at: DeliveryId::new(p, 0),
                outcome,
                size_bytes,
            })
            .collect();
        let group = SettleGroup {
            lane,
            settlements,
            marks: SinkMarks::default(),
        };
        self.journal
            .step(&mut VecDeque::new(), &mut VecDeque::from([group]));
    }

    fn state(&self, position: u64) -> DeliveryState {
        self.journal
            .shared()
            .state_of(DeliveryId::new(position, 0), self.lane)
    }
}

#[test]
fn duplicates_conflicts_and_states_survive_a_restart() {
    let dir = tempfile::tempdir().expect("temp dir");
    let clock = Clock::manual(Wall(1_000_000));
    let mut house = super::tests::house(dir.path(), &clock);
    let batch = vec![
        house.submission(Some("one"), "x"),
        house.submission(Some("one"), "x"),
        house.submission(Some("one"), "y"),
        house.submission(None, "x"),
    ];
    let size = batch[0].size_bytes();
    let answers = house.publish(batch);
    let accepted = answers[0].clone().expect("fresh");
    assert_eq!(
        (accepted.position, accepted.is_duplicate()),
        (Position(0), false)
    );
    let duplicate = answers[1].clone().expect("a duplicate");
    assert_eq!(
        (duplicate.position, duplicate.is_duplicate()),
        (Position(0), true)
    );
    assert!(matches!(
        answers[2],
        Err(Refusal::Conflict {
            position: Position(0),
            ..
        })
    ));
    let unnamed = answers[3].clone().expect("fresh");
    assert_eq!(unnamed.position, Position(1));
    house.settle(0..1, size, Outcome::DeadLettered);
    assert_eq!(house.state(0), DeliveryState::DeadLettered);
    assert_eq!(house.state(1), DeliveryState::Stored);
    drop(house);

    let mut house = super::tests::house(dir.path(), &clock);
    assert_eq!(house.state(0), DeliveryState::DeadLettered);
    assert_eq!(house.state(1), DeliveryState::Stored);
    let again = vec![
        house.submission(Some("one"), "x"),
        house.submission(Some("two"), "x"),
    ];
    let answers = house.publish(again);
    let again = answers[0].clone().expect("a duplicate");
    assert!(
        again.is_duplicate() && again.position == Position(0),
        "{again:?}"
    );
    assert_eq!(answers[1].clone().expect("fresh").position, Position(2));
    clock.advance(Duration::from_secs(601));
    let late = vec![house.submission(Some("one"), "x")];
    assert!(
        !house.publish(late)[0]
            .clone()
            .expect("fresh")
            .is_duplicate(),
        "the window has passed"
    );
}

/// However they fall into batches: what was decided before the refused one stands, what comes after
/// it in the chain doesn't.
#[test]
fn a_refusal_breaks_its_chain_and_no_other() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut house = house(dir.path(), &Clock::manual(Wall(1_000_000)));
    let (chain, other) = (Chain::default(), Chain::default());
    let linked = |house: &House, id, payload, chain: &Chain| Submission {
        chain: Some(chain.clone()),
        ..house.submission(id, payload)
    };
    let first = vec![
        linked(&house, Some("one"), "x", &chain),
        linked(&house, Some("one"), "y", &chain),
        linked(&house, Some("two"), "x", &chain),
        linked(&house, Some("three"), "x", &other),
    ];
    let answers = house.publish(first);
    let broken = Err(Refusal::EarlierRefused {
        is_retriable: false,
    });
    assert!(answers[0].is_ok() && answers[3].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(Refusal::Conflict { .. })));
    assert_eq!(answers[2], broken);
    let later = vec![
        linked(&house, Some("one"), "x", &chain),
        linked(&house, None, "x", &other),
        house.submission(Some("two"), "x"),
    ];
    let answers = house.publish(later);
    assert_eq!(answers[0], broken);
    assert!(answers[1].is_ok() && answers[2].is_ok(), "{answers:?}");
}

#[test]
fn a_lane_is_fed_what_it_owes_in_order_from_memory_and_from_segments() {
    let dir = tempfile::tempdir().expect("temp dir");
    let clock = Clock::manual(Wall(1_000_000));
    let mut house = super::tests::house(dir.path(), &clock);
    for n in 0..30_u64 {
        let batch = (0..100)
            .map(|i| house.submission(None, &format!("{n}-{i}")))
            .collect();
        house.publish(batch);
    }
    let lane = house.lane;
    drop(house);
    let mut house = super::tests::house(dir.path(), &clock);
    let shared = Arc::clone(house.journal.shared());
    let state = shared.lane(lane).expect("is there");
    let feed = feed::LaneFeed::new(Arc::clone(&shared), state, None);
    let mut seen = Vec::new();
    let first = feed.take(100, 10_000).expect("reads");
    seen.extend(first.iter().map(|d| d.at.position.0));
    let more = (0..100)
        .map(|i| house.submission(None, &format!("30-{i}")))
        .collect();
    house.publish(more);
    loop {
        let taken = feed.take(64, usize::MAX).expect("reads");
        if taken.is_empty() {
            break;
        }
        for delivery in &taken {
            let n = delivery.at.position.0;
            let expected = format!("{}-{}", n / 100, n % 100);
            assert_eq!(delivery.message.envelope.payload, Ok(Bytes::from(expected)));
        }
        seen.extend(taken.iter().map(|d| d.at.position.0));
    }
    assert_eq!(seen, (0..3100).collect::<Vec<_>>());
    let live = vec![house.submission(None, "live")];
    house.publish(live);
    assert_eq!(feed.take(10, 1000).expect("from memory").len(), 1);
}

#[test]
fn a_lane_that_falls_behind_reads_what_it_missed_and_goes_on_from_memory() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().expect("temp dir");
    let clock = Clock::manual(Wall(1_000_000));
    let mut house = super::tests::house(dir.path(), &clock);
    let state = house.journal.shared().lane(house.lane).expect("is there");
    let shared = Arc::clone(house.journal.shared());
    let feed = feed::LaneFeed::new(shared, Arc::clone(&state), None);
    // The inbox holds 16,384.
    let (mut published, mut next, mut gaps) = (0_u64, 0_u64, 0);
    while published < 120_000 {
        let count = rng.u64(1..6_000);
        let batch = (0..count).map(|_| house.submission(None, "p")).collect();
        house.publish(batch);
        published += count;
        gaps += usize::from(state.inbox.gap_until().is_some());
        for _ in 0..rng.usize(0..3) {
            for delivery in feed.take(rng.usize(1..4_000), usize::MAX).expect("reads") {
                assert_eq!(delivery.at.position.0, next, "seed {seed}");
                next += 1;
            }
        }
    }
    while let taken = feed.take(4_096, usize::MAX).expect("reads")
        && !taken.is_empty()
    {
        for delivery in taken {
            assert_eq!(delivery.at.position.0, next, "seed {seed}");
            next += 1;
        }
    }
    assert_eq!(next, published, "seed {seed}");
    assert!(gaps > 0, "it never fell behind: seed {seed}");
}

#[test]
fn what_is_wanted_first_is_read_first_however_few_bytes_are_allowed() {
    let dir = tempfile::tempdir().expect("temp dir");
    let clock = Clock::manual(Wall(1_000_000));
    let mut house = super::tests::house(dir.path(), &clock);
    let batch = (0..10).map(|_| house.submission(None, &"p".repeat(500)));
    let batch = batch.collect();
    house.publish(batch);
    let shared = Arc::clone(house.journal.shared());
    let state = shared.lane(house.lane).expect("is there");
    let feed = feed::LaneFeed::new(Arc::clone(&shared), state, None);
    let wanted = [7, 8, 2, 3, 1].map(|p| DeliveryId::new(p, 0));
    let read = |max_bytes| -> Vec<u64> {
        let read = feed.read_many(&wanted, max_bytes).expect("all are owed");
        read.iter().map(|d| d.at.position.0).collect()
    };
    assert_eq!(read(1), [7]);
    assert_eq!(read(1500), [7, 8, 2]);
    assert_eq!(read(usize::MAX), [7, 8, 2, 3, 1]);
}

#[test]
fn a_lane_that_is_stuck_costs_its_own_bytes_and_no_more() {
    let dir = tempfile::tempdir().expect("temp dir");
    let clock = Clock::manual(Wall(1_000_000));
    let mut house = super::tests::house(dir.path(), &clock);
    let payload = "p".repeat(1000);
    let size = house.submission(None, &payload).size_bytes();
    for n in 0..300_u64 {
        let batch = (0..100).map(|_| house.submission(None, &payload)).collect();
        for answer in house.publish(batch) {
            answer.expect("there is room");
        }
        // One of each hundred stays owed for ever.
        house.settle(n * 100 + 1..n * 100 + 100, size, Outcome::Delivered);
        let image = house.journal.checkpoint_image();
        house.keeper.checkpoint(&image);
        house.keeper.step();
    }
    let total = house.journal.shared().reader.shared().total_bytes();
    assert!(
        total < 12 * SEGMENT_BYTES,
        "30 MB went through, 0.3 MB is owed, and {total} bytes are kept"
    );
    let lane = house.lane;
    drop(house);
    let walk = verify(Arc::new(RealDisk), options(dir.path(), &clock)).expect("walks");
    assert_eq!(walk.problems, Vec::<String>::new());
    assert_eq!(walk.lanes["inbox"].pending, 300);
    let house = super::tests::house(dir.path(), &clock);
    let shared = Arc::clone(house.journal.shared());
    let state = shared.lane(lane).expect("is there");
    let feed = feed::LaneFeed::new(Arc::clone(&shared), state, None);
    let mut seen = Vec::new();
    while let Some(last) = feed.take(1000, usize::MAX).expect("reads").last() {
        seen.push(last.at.position.0);
    }
    assert_eq!(seen.last(), Some(&29_900));
}
