mod ends;
mod turns;

use super::*;
use crate::clock::Wall;
use crate::egress::faulty::{Faulty, Script};
use crate::egress::{KeyOrder, Shape};
use crate::lane::{BreakerPolicy, LaneEnded, Limits, Mode, OnReject, RetryPolicy, Room};
use crate::message::{
    Ack, DiscardReason, Envelope, Epoch, Guarantee, LaneId, Message, MessageId, Outcome, Plan,
    Position, RouteId, Settlement, Target,
};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// No test waits longer than this for what it expects.
const PATIENCE: Duration = Duration::from_secs(20);

/// A journal of one lane, in memory.
#[derive(Default)]
struct MemoryFeed {
    inner: Mutex<Inner>,
    more: Notify,
    settled: Notify,
}

#[derive(Default)]
struct Inner {
    journal: Vec<Delivery>,
    next: usize,
    /// Of the takes, these in a hundred find that the lane lags.
    lag_percent: u8,
    lagging: bool,
    rng: fastrand::Rng,
    settled: Vec<(Settlement, SinkMarks)>,
    fail: Option<FeedError>,
    panics: bool,
    turns: Vec<(Mode, Position)>,
}

impl MemoryFeed {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no test panics while it holds this")
    }

    fn publish(&self, deliveries: impl IntoIterator<Item = Delivery>) {
        self.inner().journal.extend(deliveries);
        self.more.notify_one();
    }

    fn outcomes(&self) -> HashMap<u64, Outcome> {
        let inner = self.inner();
        inner
            .settled
            .iter()
            .map(|(s, _)| (s.at.position.0, s.outcome))
            .collect()
    }

    async fn wait_for_settled(&self, count: usize) {
        let reached = async {
            while self.inner().settled.len() < count {
                self.settled.notified().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await;
        let settled = self.inner().settled.len();
        assert!(
            in_time.is_ok() && settled == count,
            "{settled} of {count} settled"
        );
    }
}

impl Inner {
    fn take(&mut self, room: Room) -> Vec<Delivery> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < room.count
            && let Some(next) = self.journal.get(self.next)
        {
            bytes += u64::from(next.size_bytes);
            if bytes > room.bytes && !taken.is_empty() {
                break;
            }
            taken.push(next.clone());
            self.next += 1;
        }
        taken
    }
}

impl Feed for MemoryFeed {
    fn take_fresh(&self, room: Room) -> Fresh {
        let mut inner = self.inner();
        let percent = inner.lag_percent;
        inner.lagging |= inner.next < inner.journal.len() && inner.rng.u8(..100) < percent;
        if inner.lagging {
            Fresh::Lagging
        } else {
            Fresh::Deliveries(inner.take(room))
        }
    }

    fn take_stored(&self, room: Room) -> Result<Vec<Delivery>, FeedError> {
        let mut inner = self.inner();
        inner.lagging = false;
        if inner.panics {
            drop(inner);
            panic!("planted in the feed");
        }
        inner.fail.clone().map_or_else(|| Ok(inner.take(room)), Err)
    }

    fn read(&self, ids: &[DeliveryId], max_bytes: u64) -> Result<Vec<Delivery>, FeedError> {
        let inner = self.inner();
        let (mut read, mut bytes) = (Vec::new(), 0);
        for at in ids {
            let found = inner.journal.iter().find(|delivery| delivery.at == *at);
            let delivery = found.ok_or(FeedError::Gone(*at))?;
            bytes += u64::from(delivery.size_bytes);
            if bytes > max_bytes && !read.is_empty() {
                break;
            }
            read.push(delivery.clone());
        }
        Ok(read)
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        marks: SinkMarks,
    ) -> Result<(), FeedError> {
        let mut inner = self.inner();
        let last = settlements.len().saturating_sub(1);
        for (i, settlement) in settlements.into_iter().enumerate() {
            let marks = if i == last {
                marks
            } else {
                SinkMarks::default()
            };
            inner.settled.push((settlement, marks));
        }
        drop(inner);
        self.settled.notify_one();
        Ok(())
    }

    fn turns(&self) -> Vec<(Mode, Position)> {
        std::mem::take(&mut self.inner().turns)
    }

    async fn more(&self) {
        self.more.notified().await;
    }
}

#[derive(Default)]
struct MemorySink {
    state: Mutex<SinkState>,
    /// Held by a test: a write that has begun doesn't end.
    disk: Mutex<()>,
    writes: Notify,
}

#[derive(Default)]
struct SinkState {
    letters: Vec<DeadLetter>,
    /// Letters that fit into one write; none: full.
    room: Option<usize>,
    failed: bool,
}

impl MemorySink {
    fn state(&self) -> MutexGuard<'_, SinkState> {
        self.state
            .lock()
            .expect("no test panics while it holds this")
    }
}

impl DeadLetterSink for MemorySink {
    fn write(&self, letters: &[DeadLetter]) -> Result<Written, SinkError> {
        self.writes.notify_one();
        drop(self.disk.lock());
        let mut state = self.state();
        if state.failed {
            return Err(SinkError::Failed("planted".into()));
        }
        let count = state.room.unwrap_or(usize::MAX).min(letters.len());
        if count == 0 {
            return Err(SinkError::Full("planted".into()));
        }
        state.letters.extend_from_slice(&letters[..count]);
        Ok(Written {
            count,
            next: Position(state.letters.len() as u64),
        })
    }
}

struct Rig {
    ends: Ends,
    faulty: Faulty,
    handle: LaneHandle,
}

/// What a lane is joined to, besides its destination.
#[derive(Clone, Default)]
struct Ends {
    feed: Arc<MemoryFeed>,
    sink: Arc<MemorySink>,
}

fn script(text: &str) -> Script {
    text.parse().expect("the script is right")
}

fn spawn(faulty: Faulty, limits: Limits, ends: Ends) -> Rig {
    spawn_by(Clock::system(), faulty, limits, ends)
}

fn spawn_by(clock: Clock, faulty: Faulty, limits: Limits, ends: Ends) -> Rig {
    let retry = RetryPolicy {
        initial: Duration::from_millis(2),
        max: Duration::from_millis(10),
        give_up_after: Duration::from_secs(60),
    };
    let settings = LaneSettings {
        lane: LaneId(1),
        mode: Mode::Keyed,
        key_order: faulty.key_order(),
        on_reject: OnReject::Skip,
        on_reject_of: HashMap::new(),
        retry,
        breaker: BreakerPolicy {
            failures: u32::MAX,
            ..BreakerPolicy::default()
        },
        rate: None,
        batch_time: Duration::ZERO,
        limits,
        volatile: false,
    };
    let handle = LaneHandle::spawn(Parts {
        name: "lane".into(),
        spans: crate::spans::Spans::default(),
        settings,
        egress: Arc::new(Egress::Faulty(faulty.clone())),
        feed: Arc::clone(&ends.feed),
        dead_letters: Arc::clone(&ends.sink),
        clock,
        faults: Faults::none(),
        seed: 1,
        first: Vec::new(),
    });
    Rig {
        ends,
        faulty,
        handle,
    }
}

fn rig_with(text: &str, prepare: impl FnOnce(&Ends)) -> Rig {
    let ends = Ends::default();
    prepare(&ends);
    let timeout = Some(Duration::from_millis(30));
    let faulty = Faulty::in_memory(script(text), KeyOrder::OneAtATime, timeout);
    spawn(faulty, Limits::default(), ends)
}

fn rig(text: &str) -> Rig {
    rig_with(text, |_| {})
}

fn delivery(position: u64, key: u64, payload: &'static str) -> Delivery {
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "jobs/small".into(),
        id: MessageId::None,
        key: Some(Bytes::from(key.to_string())),
        headers: Vec::new(),
        content_type: None,
        payload: Ok(Bytes::from_static(payload.as_bytes())),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    };
    let targets = vec![Target::to(RouteId(1), LaneId(1), Guarantee::AtLeastOnce)];
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::ZERO,
        targets,
    };
    Delivery {
        at: DeliveryId::new(position, 0),
        known_as: None,
        accepted: Wall(1),
        epoch: Epoch(1),
        identity: None,
        size_bytes: 50,
        dead_letter: None,
        message: Arc::new(Message { envelope, plan }),
    }
}

async fn shows(rig: &mut Rig, state: &str) -> LaneView {
    let wanted = rig.handle.wait_for(|view| view.state.as_str() == state);
    let view = tokio::time::timeout(PATIENCE, wanted)
        .await
        .unwrap_or_else(|_| panic!("{state}"));
    assert_eq!(view.state.as_str(), state);
    view
}

/// A batch waits for others to join it, for an hour here, unless somebody waits for it.
#[tokio::test]
async fn a_lane_rests_between_batches_that_nobody_waits_for() {
    let faulty = Faulty::in_memory(script(""), KeyOrder::OneAtATime, None);
    let resting = faulty.shaped(Shape {
        rest: Duration::from_secs(3_600),
        ..Shape::BULK
    });
    let rig = spawn(resting, Limits::default(), Ends::default());
    rig.ends.feed.publish([delivery(0, 0, "first")]);
    rig.ends.feed.wait_for_settled(1).await;
    rig.ends.feed.publish([delivery(1, 1, "rests")]);
    let taken = async {
        while rig.ends.feed.inner().next < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("taken");
    assert_eq!(rig.ends.feed.inner().settled.len(), 1);

    let mut awaited = delivery(2, 2, "awaited");
    let message = Arc::get_mut(&mut awaited.message).expect("just made");
    message.plan.ack = Ack::Delivered;
    rig.ends.feed.publish([awaited]);
    rig.ends.feed.wait_for_settled(3).await;
}

#[tokio::test]
async fn everything_is_settled_once_and_in_the_order_of_its_key() {
    let text = "seed 3; payload=bad reject; delay 0..2; retry 20%; unknown 10%; lost 5%; hang 1%";
    let limits = Limits {
        batch_count: 7,
        memory_count: 40,
        memory_bytes: 3000,
        keys: 8,
        ..Limits::default()
    };
    for key_order in [
        KeyOrder::OneAtATime,
        KeyOrder::PrefixPerKey,
        KeyOrder::Pipelined,
    ] {
        let ends = Ends::default();
        ends.sink.state().room = Some(2);
        ends.feed.inner().lag_percent = 40;
        let timeout = Some(Duration::from_millis(30));
        let rig = spawn(
            Faulty::in_memory(script(text), key_order, timeout),
            limits,
            ends,
        );
        let count = 600;
        for chunk in 0..6 {
            rig.ends
                .feed
                .publish((chunk * 100..(chunk + 1) * 100).map(|position| {
                    let payload = if position % 37 == 5 { "bad" } else { "good" };
                    delivery(position, position % 11, payload)
                }));
            tokio::task::yield_now().await;
        }
        rig.ends.feed.wait_for_settled(count).await;
        let view = rig.handle.stop(PATIENCE).await;
        assert_eq!((view.pending, view.in_flight, view.in_memory), (0, 0, 0));
        let outcomes = rig.ends.feed.outcomes();
        assert_eq!(outcomes.len(), count, "one was settled twice");
        check_order(&rig.faulty, &outcomes);
        check_dead_letters(&rig.ends.feed, &rig.ends.sink);
    }
}

fn check_order(faulty: &Faulty, outcomes: &HashMap<u64, Outcome>) {
    let mut first = HashSet::new();
    let mut last_of_key: HashMap<Vec<u8>, u64> = HashMap::new();
    for receipt in faulty.received() {
        let position = receipt.at.position.0;
        if first.insert(position) {
            let key = receipt.key.expect("all have one");
            let before = last_of_key.insert(key, position);
            assert!(before < Some(position), "{position} came after {before:?}");
        }
    }
    for (position, outcome) in outcomes {
        let wanted = if position % 37 == 5 {
            Outcome::DeadLettered
        } else {
            Outcome::Delivered
        };
        assert_eq!(
            (*outcome, first.contains(position)),
            (wanted, wanted == Outcome::Delivered)
        );
    }
}

/// A mark never covers a dead letter that isn't settled with it or before.
fn check_dead_letters(feed: &MemoryFeed, sink: &MemorySink) {
    let (mut settled, mut last_mark) = (HashSet::new(), 0);
    let letters: Vec<_> = sink
        .state()
        .letters
        .iter()
        .map(|letter| letter.delivery.at)
        .collect();
    for (settlement, marks) in &feed.inner().settled {
        settled.insert(settlement.at);
        if let Some(mark) = marks.dead_letters {
            assert!(
                letters[..mark.0 as usize]
                    .iter()
                    .all(|at| settled.contains(at))
            );
            last_mark = mark.0;
        }
    }
    assert_eq!(last_mark, letters.len() as u64);
    assert_eq!(letters.iter().collect::<HashSet<_>>().len(), letters.len());
}

#[tokio::test]
async fn pauses_resumes_and_drops() {
    let mut rig = rig("payload=bad fatal");
    rig.handle.send(Command::Pause).await.expect("it runs");
    shows(&mut rig, "paused").await;
    rig.ends
        .feed
        .publish((0..5).map(|n| delivery(n, n, "good")));
    let fed = rig.handle.wait_for(|view| view.pending == 5);
    assert_eq!(fed.await.in_flight, 0);
    assert!(rig.faulty.received().is_empty());
    rig.handle.send(Command::Resume).await.expect("it runs");
    rig.ends.feed.wait_for_settled(5).await;
    rig.ends
        .feed
        .publish([delivery(5, 1, "bad"), delivery(6, 1, "good")]);
    let view = shows(&mut rig, "stopped").await;
    assert_eq!(
        &*view.last_error.expect("it was fatal").reason,
        "the script says fatal"
    );
    let drop = Command::Drop {
        discard: true,
        until: Position(7),
    };
    rig.handle.send(drop).await.expect("it runs");
    rig.ends.feed.wait_for_settled(7).await;
    let dropped = Outcome::Discarded(DiscardReason::Dropped);
    assert_eq!(
        (rig.ends.feed.outcomes()[&5], rig.ends.feed.outcomes()[&6]),
        (dropped, dropped)
    );
    rig.handle.send(Command::Resume).await.expect("it runs");
    rig.ends.feed.publish([delivery(7, 1, "good")]);
    rig.ends.feed.wait_for_settled(8).await;
    assert_eq!(rig.ends.feed.outcomes()[&7], Outcome::Delivered);
}

#[tokio::test]
async fn a_full_dead_letter_log_stops_the_lane_until_there_is_room() {
    let mut rig = rig_with("payload=bad reject", |ends| {
        ends.sink.state().room = Some(0)
    });
    rig.ends.feed.publish([delivery(0, 1, "bad")]);
    let view = shows(&mut rig, "stopped").await;
    let LaneState::Stopped { reason } = view.state else {
        unreachable!("as it was asked for")
    };
    assert!(reason.contains("full"), "{reason}");
    rig.ends.feed.publish([delivery(1, 2, "good")]);
    let fed = rig.handle.wait_for(|view| view.pending == 2).await;
    assert_eq!(fed.counts.attempts, 1, "nothing else is tried");
    rig.ends.sink.state().room = None;
    rig.ends.feed.wait_for_settled(2).await;
    shows(&mut rig, "running").await;
}

/// A call that ends as it begins: what failed in it is due before the clock moves, and is tried again.
#[tokio::test(start_paused = true)]
async fn what_failed_as_it_began_is_tried_again() {
    let clock = Clock::manual(Wall(1));
    let faulty = Faulty::in_memory(script("fatal first 2"), KeyOrder::Pipelined, None);
    let ends = Ends::default();
    ends.feed.publish([delivery(0, 0, "a")]);
    let rig = spawn_by(clock.clone(), faulty, Limits::default(), ends);
    let settled = rig.ends.feed.wait_for_settled(1);
    tokio::pin!(settled);
    while tokio::time::timeout(Duration::from_secs(1), &mut settled)
        .await
        .is_err()
    {
        clock.advance(BreakerPolicy::default().probe_every);
    }
    assert_eq!(rig.ends.feed.outcomes()[&0], Outcome::Delivered);
}
