use super::*;
use crate::clock::{Clock, Wall};
use crate::egress::faulty::Faulty;
use crate::egress::{Egress, KeyOrder};
use crate::faults::Faults;
use crate::lane::{
    BreakerPolicy, Command, LaneHandle, LaneSettings, Limits, Mode, OnReject, Parts, RetryPolicy,
};
use crate::message::{
    Ack, Envelope, Epoch, Guarantee, LaneId, Message, MessageId, Plan, RouteId, Target,
};
use crate::spans::Spans;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const LANE: LaneId = LaneId(2);

fn delivery(position: u64, key: Option<&'static str>) -> Delivery {
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "a/b".into(),
        id: MessageId::None,
        key: key.map(|key| Bytes::from_static(key.as_bytes())),
        headers: Vec::new(),
        content_type: None,
        payload: Ok(Bytes::from_static(b"x")),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    };
    let plan = Plan {
        ack: Ack::Received,
        ack_timeout: Duration::from_secs(30),
        targets: vec![Target::to(RouteId(1), LANE, Guarantee::AtMostOnce)],
    };
    Delivery {
        at: DeliveryId::new(position, 0),
        known_as: None,
        accepted: Wall(1),
        epoch: Epoch(1),
        identity: None,
        size_bytes: 100,
        dead_letter: None,
        message: Arc::new(Message { envelope, plan }),
    }
}

const ROOM: Room = Room {
    count: 100,
    bytes: 1 << 20,
};

fn taken(memory: &Memory, room: Room) -> Vec<Delivery> {
    match memory.take_fresh(room) {
        Fresh::Deliveries(deliveries) => deliveries,
        Fresh::Lagging => panic!("it never lags"),
    }
}

fn adds_up(counts: &MemoryCounts) {
    let discarded: u64 = Discard::ALL
        .iter()
        .map(|why| counts.discarded_as(*why))
        .sum();
    assert_eq!(
        counts.planned,
        counts.delivered + discarded + counts.pending,
        "{counts:?}"
    );
}

#[test]
fn turns_are_in_the_order_of_arrival_and_full_discards_the_new_one() {
    let memory = Memory::new();
    memory.open(3 * (DELIVERY_BYTES + 100), false);
    memory.take_in([9, 4].map(|position| delivery(position, None)), false);
    memory.take_in(
        [delivery(Position::IN_MEMORY.0, None), delivery(7, None)],
        false,
    );
    let one = taken(&memory, Room { count: 1, ..ROOM });
    assert_eq!(one[0].position(), Position(9));
    let rest = taken(&memory, ROOM);
    let known: Vec<u64> = rest.iter().map(|d| d.position().0).collect();
    assert_eq!(known, [4, Position::IN_MEMORY.0]);
    let turns: Vec<u64> = one.iter().chain(&rest).map(|d| d.at.position.0).collect();
    assert!(turns.is_sorted() && turns[0] >= Position::IN_MEMORY.0);
    let counts = memory.counts();
    assert_eq!((counts.pending, counts.discarded_as(Discard::Full)), (3, 1));
    adds_up(&counts);
    // What was taken is kept until it is settled: a retry reads it again.
    let ids: Vec<DeliveryId> = rest.iter().map(|d| d.at).collect();
    let read = memory.read(&ids, 1).expect("they are kept");
    assert_eq!(read.len(), 1, "the bytes suffice for one");
    assert_eq!(memory.close(), 3);
    memory.take_in([delivery(10, None)], false);
    let counts = memory.counts();
    assert_eq!(
        (counts.pending, counts.discarded_as(Discard::Stopped)),
        (0, 4)
    );
    assert_eq!(counts.pending_bytes, 0);
    adds_up(&counts);
}

#[test]
fn without_a_lane_nothing_is_kept() {
    let memory = Memory::new();
    memory.limit(1 << 20);
    memory.take_in([delivery(1, None)], false);
    let counts = memory.counts();
    assert_eq!(
        (counts.pending, counts.discarded_as(Discard::Stopped)),
        (0, 1)
    );
    adds_up(&counts);
}

/// The rest of a short disk belongs to what is stored. What goes elsewhere takes nothing of it.
#[test]
fn a_short_disk_takes_no_more_of_it() {
    for (on_disk, taken) in [(true, 1), (false, 3)] {
        let memory = Memory::new();
        memory.open(1 << 20, on_disk);
        memory.take_in([delivery(1, None)], false);
        memory.take_in([delivery(2, None), delivery(3, None)], true);
        let counts = memory.counts();
        let discarded = counts.discarded_as(Discard::Full);
        assert_eq!((counts.pending, discarded), (taken, 3 - taken), "{on_disk}");
        adds_up(&counts);
    }
}

fn settings() -> LaneSettings {
    LaneSettings {
        lane: LANE,
        mode: Mode::Keyed,
        key_order: KeyOrder::PrefixPerKey,
        // Nothing waits for an operator.
        on_reject: OnReject::Block,
        on_reject_of: std::collections::HashMap::new(),
        retry: RetryPolicy {
            initial: Duration::from_millis(1),
            max: Duration::from_millis(2),
            give_up_after: Duration::from_secs(60),
        },
        breaker: BreakerPolicy {
            failures: u32::MAX,
            ..BreakerPolicy::default()
        },
        rate: None,
        batch_time: Duration::ZERO,
        limits: Limits::default(),
        volatile: true,
    }
}

fn lane(memory: &Arc<Memory>, faulty: &Faulty) -> LaneHandle {
    let key_order = faulty.key_order();
    LaneHandle::spawn(Parts {
        name: "inbox".into(),
        settings: LaneSettings {
            key_order,
            ..settings()
        },
        egress: Arc::new(Egress::Faulty(faulty.clone())),
        feed: Arc::clone(memory),
        dead_letters: Arc::clone(memory),
        clock: Clock::system(),
        faults: Faults::none(),
        spans: Spans::default(),
        seed: 1,
        first: Vec::new(),
    })
}

/// Promise 14, with many of a key in a batch and without a key: what is unknown is never sent again,
/// what is retried is, in order, and what is rejected holds nothing.
#[tokio::test]
async fn an_unknown_outcome_is_the_last_attempt() {
    const COUNT: u64 = 400;
    let orders = [
        KeyOrder::OneAtATime,
        KeyOrder::PrefixPerKey,
        KeyOrder::Pipelined,
    ];
    for (key, key_order) in [Some("k"), None]
        .into_iter()
        .flat_map(|k| orders.map(|o| (k, o)))
    {
        let what = format!("{key:?} {key_order:?}");
        let memory = Arc::new(Memory::new());
        memory.open(1 << 20, false);
        memory.take_in((0..COUNT).map(|n| delivery(n, key)), false);
        let script = "seed 5; unknown 10%; reject 10%; retry 20%".parse();
        let script = script.unwrap_or_else(|e| panic!("{e}"));
        let faulty = Faulty::in_memory(script, key_order, None);
        let lane = lane(&memory, &faulty);
        let view = lane
            .clone()
            .wait_for(|view| {
                let counts = view.counts;
                counts.delivered + counts.dead_lettered == COUNT
            })
            .await;
        lane.stop(Duration::from_secs(10)).await;
        let counts = memory.counts();
        adds_up(&counts);
        assert_eq!((counts.planned, counts.pending), (COUNT, 0), "{what}");
        let (unknown, rejected) = (Discard::Unknown, Discard::Rejected);
        let given_up = [unknown, rejected].map(|why| counts.discarded_as(why));
        assert!(given_up.iter().all(|n| *n > 0), "{what}: {counts:?}");
        assert_eq!(
            given_up,
            [view.counts.unknown, view.counts.rejected],
            "{what}"
        );
        // The destination applied what it was unknown about: each came once.
        let mut turns: Vec<DeliveryId> = faulty.received().iter().map(|r| r.at).collect();
        assert_eq!(turns.len() as u64, counts.delivered + given_up[0], "{what}");
        assert!(key.is_none() || turns.is_sorted(), "{what}: {turns:?}");
        turns.sort_unstable();
        turns.dedup();
        assert_eq!(turns.len() as u64, counts.delivered + given_up[0], "{what}");
    }
}

#[tokio::test]
async fn what_is_dropped_or_over_its_time_is_counted() {
    let memory = Arc::new(Memory::new());
    memory.open(1 << 20, false);
    let mut late = delivery(0, None);
    let mut message = Message::clone(&late.message);
    message.envelope.expires_at = Some(Wall(1));
    late.message = Arc::new(message);
    memory.take_in(
        [late, delivery(1, Some("k")), delivery(2, Some("k"))],
        false,
    );
    let script = "retry".parse().unwrap_or_else(|e| panic!("{e}"));
    let faulty = Faulty::in_memory(script, KeyOrder::OneAtATime, None);
    let mut lane = lane(&memory, &faulty);
    lane.wait_for(|view| view.counts.retries > 2).await;
    let drop = Command::Drop {
        discard: true,
        until: memory.end(),
    };
    lane.send(drop).await.expect("it runs");
    lane.wait_for(|view| view.pending == 0).await;
    // It goes on with what comes after.
    faulty.follow("confirm".parse().unwrap_or_else(|e| panic!("{e}")));
    memory.take_in([delivery(3, Some("k"))], false);
    lane.wait_for(|view| view.counts.delivered == 1).await;
    lane.stop(Duration::from_secs(10)).await;
    let counts = memory.counts();
    adds_up(&counts);
    let of = |why| counts.discarded_as(why);
    assert_eq!(
        (counts.delivered, of(Discard::Expired), of(Discard::Dropped)),
        (1, 1, 2)
    );
}
