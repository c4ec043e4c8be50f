use super::*;
use crate::message::{Ack, Guarantee, LaneId, MessageId, Plan, RouteId, Tombstone};
use bytes::Bytes;

fn wanted(pattern: &str) -> Wanted {
    Wanted {
        pattern: Pattern::parse(pattern).expect("a pattern"),
        refused: false,
        share: Share::ALL,
        rate: u32::MAX,
        limit: None,
        seed: 7,
    }
}

fn passed(topic: &str, payload_bytes: usize) -> Passed {
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: topic.into(),
        id: MessageId::None,
        key: None,
        headers: Vec::new(),
        content_type: None,
        payload: match payload_bytes {
            0 => Err(Tombstone),
            bytes => Ok(Bytes::from(vec![0; bytes])),
        },
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    };
    Passed {
        at: Wall(0),
        became: Became::Dropped,
        id: None,
        body: Body::Bare(Arc::new(envelope)),
    }
}

fn offer(taps: &Taps, now: u64, topic: &str, payload_bytes: usize) {
    taps.offer(Mono(now), topic, false, || passed(topic, payload_bytes));
}

fn topics(reader: &TapReader) -> Vec<String> {
    let next = || Some(reader.next()?.envelope().topic.clone());
    std::iter::from_fn(next).collect()
}

#[test]
fn each_tap_gets_what_it_asked_for() {
    let taps = Arc::new(Taps::default());
    assert!(!taps.is_watched());
    let orders = taps.open(wanted("orders/#")).expect("room");
    let all = taps
        .open(Wanted {
            refused: true,
            ..wanted("#")
        })
        .expect("room");
    assert!(taps.is_watched());
    offer(&taps, 0, "orders/a", 1);
    offer(&taps, 0, "jobs", 1);
    taps.offer(Mono(0), "orders/b", true, || passed("orders/b", 1));
    assert_eq!(topics(&orders), ["orders/a"]);
    assert_eq!(topics(&all), ["orders/a", "jobs", "orders/b"]);
    let counts = Counts {
        matched: 3,
        shown: 3,
        ..Counts::default()
    };
    assert_eq!(all.counts(), counts);
    drop(orders);
    assert_eq!(taps.count(), 1);
    drop(all);
    assert!(!taps.is_watched());
}

#[test]
fn a_copy_is_made_only_for_somebody() {
    let taps = Arc::new(Taps::default());
    let _reader = taps.open(wanted("a")).expect("room");
    taps.offer(Mono(0), "b", false, || panic!("nobody wants it"));
    taps.offer(Mono(0), "a", true, || panic!("nobody wants refusals"));
}

#[test]
fn who_does_not_read_loses_copies_and_holds_no_more_than_it_may() {
    let taps = Arc::new(Taps::default());
    let reader = taps.open(wanted("#")).expect("room");
    let extra = 10;
    for _ in 0..QUEUE_COPIES + extra {
        offer(&taps, 0, "a", 1);
    }
    assert_eq!(reader.counts().by_queue, extra as u64);
    assert_eq!(topics(&reader).len(), QUEUE_COPIES);

    let large = QUEUE_BYTES / 4;
    for _ in 0..10 {
        offer(&taps, 0, "b", large);
    }
    // Three and what they cost besides; a fourth doesn't fit.
    assert_eq!(topics(&reader), ["b", "b", "b"]);
    offer(&taps, 0, "huge", 2 * QUEUE_BYTES);
    offer(&taps, 0, "c", 1);
    assert_eq!(topics(&reader), ["huge"]);
    let counts = reader.counts();
    assert_eq!(counts.by_queue, extra as u64 + 7 + 1);
    assert_eq!(counts.matched, counts.shown + counts.by_queue);
    assert_eq!(reader.tap.state().bytes, 0);
}

/// A route's transform makes payloads that only the plan has: they are in memory all the same.
#[test]
fn what_routes_made_of_a_message_counts() {
    let Body::Bare(envelope) = passed("a", 1).body else {
        panic!("it is bare");
    };
    let mut target = Target::to(RouteId(0), LaneId(0), Guarantee::AtLeastOnce);
    target.payload = Some(Bytes::from(vec![0; QUEUE_BYTES / 2]));
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: std::time::Duration::ZERO,
        targets: vec![target],
    };
    let message = Message {
        envelope: Envelope::clone(&envelope),
        plan,
    };
    let planned = Passed {
        body: Body::Planned(Arc::new(message)),
        ..passed("a", 1)
    };
    let taps = Arc::new(Taps::default());
    let reader = taps.open(wanted("#")).expect("room");
    for _ in 0..5 {
        taps.offer(Mono(0), "a", false, || planned.clone());
    }
    assert_eq!((topics(&reader).len(), reader.counts().by_queue), (1, 4));
    assert_eq!(reader.tap.state().bytes, 0);
}

#[test]
fn a_second_has_so_many_copies() {
    let taps = Arc::new(Taps::default());
    let reader = taps
        .open(Wanted {
            rate: 3,
            ..wanted("#")
        })
        .expect("room");
    for now in [0, 1, 2, 3, 999, 1_000, 1_500, 5_000] {
        offer(&taps, now, "a", 1);
    }
    assert_eq!(topics(&reader).len(), 6);
    assert_eq!(reader.counts().by_rate, 2);
}

#[test]
fn a_sample_is_about_its_share_and_the_rest_is_counted() {
    let taps = Arc::new(Taps::default());
    let share = Share::parse("1/10").expect("a share");
    let reader = taps
        .open(Wanted {
            share,
            ..wanted("#")
        })
        .expect("room");
    for _ in 0..5_000 {
        offer(&taps, 0, "a", 1);
    }
    let shown = topics(&reader).len() as u64;
    // Seeded: five standard deviations are 106.
    assert!((394..=606).contains(&shown), "{shown}");
    let counts = reader.counts();
    assert_eq!((counts.by_sample, counts.matched), (5_000 - shown, 5_000));
}

#[test]
fn a_share_is_a_part_of_all() {
    for (text, share) in [
        ("1/10", Some(0.1)),
        ("0.25", Some(0.25)),
        ("1", Some(1.0)),
        ("2/2", Some(1.0)),
        ("0", None),
        ("0/5", None),
        ("1/0", None),
        ("0/0", None),
        ("3/2", None),
        ("-0.5", None),
        ("NaN", None),
        ("inf", None),
        ("half", None),
        ("1/2/3", None),
        ("", None),
    ] {
        assert_eq!(Share::parse(text), share.map(Share), "{text:?}");
    }
}

#[tokio::test]
async fn it_ends_at_its_limit_or_at_the_stop_when_all_was_taken() {
    let taps = Arc::new(Taps::default());
    let limited = taps
        .open(Wanted {
            limit: Some(2),
            ..wanted("#")
        })
        .expect("room");
    let endless = taps.open(wanted("#")).expect("room");
    for _ in 0..3 {
        offer(&taps, 0, "a", 1);
    }
    limited.news().await;
    assert_eq!(limited.end(), None);
    assert_eq!(topics(&limited).len(), 2);
    assert_eq!(limited.end(), Some(End::Limit));
    assert_eq!(limited.counts().matched, 2);
    endless.news().await;
    assert_eq!(topics(&endless).len(), 3);
    taps.close();
    endless.news().await;
    assert_eq!(endless.end(), Some(End::Stopping));
    assert_eq!(limited.end(), Some(End::Limit));
    offer(&taps, 0, "a", 1);
    assert_eq!(topics(&endless).len(), 0);
    let again = taps.open(wanted("#")).err();
    assert_eq!(again, Some(OpenError::Stopping));
    drop((limited, endless));
    taps.all_gone().await;
}

#[test]
fn there_are_so_many_taps_at_one_time() {
    let taps = Arc::new(Taps::default());
    let mut readers: Vec<TapReader> = (0..MAX_TAPS)
        .map(|_| taps.open(wanted("#")).expect("room"))
        .collect();
    assert_eq!(taps.open(wanted("#")).err(), Some(OpenError::Full));
    readers.pop();
    assert!(taps.open(wanted("#")).is_ok());
}

/// Publishers on several threads, a watcher that takes what it gets: nothing is lost uncounted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_matched_was_shown_or_counted() {
    const EACH: u64 = 20_000;
    let taps = Arc::new(Taps::default());
    let reader = taps.open(wanted("#")).expect("room");
    let publishers: Vec<_> = (0..3)
        .map(|_| {
            let taps = Arc::clone(&taps);
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    offer(&taps, 0, "a", 1);
                }
            })
        })
        .collect();
    let closing = std::thread::spawn({
        let taps = Arc::clone(&taps);
        move || {
            for publisher in publishers {
                publisher.join().expect("it publishes");
            }
            taps.close();
        }
    });
    let mut shown = 0;
    while reader.end().is_none() {
        reader.news().await;
        while reader.next().is_some() {
            shown += 1;
        }
    }
    closing.join().expect("it closes");
    let counts = reader.counts();
    assert_eq!((counts.matched, counts.shown), (3 * EACH, shown));
    assert_eq!(counts.matched, shown + counts.by_queue);
}
