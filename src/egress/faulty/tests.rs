use super::*;
use crate::clock::Wall;
use crate::message::{
    Ack, Envelope, Guarantee, Header, LaneId, Message, MessageId, Plan, RouteId, Target,
};
use bytes::Bytes;

fn delivery(position: u64, key: &'static str, payload: &'static str) -> Delivery {
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "jobs/small".into(),
        id: MessageId::Publisher(format!("id-{position}")),
        key: (!key.is_empty()).then(|| Bytes::from_static(key.as_bytes())),
        headers: vec![Header {
            name: "Kind".into(),
            value: Bytes::from_static(b"pdf"),
        }],
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
        epoch: Epoch(9),
        identity: None,
        size_bytes: 10,
        dead_letter: None,
        message: Arc::new(Message { envelope, plan }),
    }
}

fn faulty(script: &str, key_order: KeyOrder) -> Faulty {
    let script = script.parse().expect("the script is right");
    Faulty::in_memory(script, key_order, Some(Duration::from_millis(20)))
}

/// One letter for each verdict: D, r, j (rejected), u, f.
fn letters(attempted: &Attempted) -> String {
    let letter = |verdict: &Verdict| match verdict {
        Verdict::Delivered => 'D',
        Verdict::Retry { .. } => 'r',
        Verdict::Reject { .. } => 'j',
        Verdict::Unknown { .. } => 'u',
        Verdict::Fatal { .. } | Verdict::Halt { .. } => 'f',
        Verdict::Pause { .. } => 'p',
    };
    attempted.verdicts.iter().map(letter).collect()
}

fn received(faulty: &Faulty) -> Vec<u64> {
    faulty
        .received()
        .iter()
        .map(|receipt| receipt.at.position.0)
        .collect()
}

#[test]
fn rules_decide_in_their_order() {
    let faulty = faulty(
        "payload=bad reject; key=a unknown first 1; key=b lost; topic=jobs/# retry every 3",
        KeyOrder::OneAtATime,
    );
    let batch = [
        delivery(0, "", "good"),
        delivery(1, "", "a bad one"),
        delivery(2, "a", "good"),
        delivery(3, "b", "good"),
        delivery(4, "", "good"),
        delivery(5, "", "good"),
    ];
    let attempted = faulty.step(&batch, false);
    assert_eq!(letters(&attempted), "DjuuDr");
    assert_eq!(received(&faulty), [0, 2, 4]);
    assert_eq!(
        letters(&faulty.step(&batch[2..3], false)),
        "D",
        "its second attempt"
    );
    faulty.follow("header=kind:pdf fatal".parse().expect("right"));
    assert_eq!(letters(&faulty.step(&batch[..1], false)), "f");
    faulty.follow("header=kind:txt fatal".parse().expect("right"));
    assert_eq!(letters(&faulty.step(&batch[..1], false)), "D");
}

#[test]
fn a_prefix_is_kept_per_key_and_in_strict_batches_for_all() {
    let batch = [
        delivery(0, "a", "good"),
        delivery(1, "a", "bad"),
        delivery(2, "b", "good"),
        delivery(3, "a", "good"),
        delivery(4, "", "good"),
    ];
    let prefix = faulty("payload=bad retry", KeyOrder::PrefixPerKey);
    assert_eq!(letters(&prefix.step(&batch, false)), "DrDrD");
    assert_eq!(received(&prefix), [0, 2, 4]);
    let strict = faulty("payload=bad retry", KeyOrder::PrefixPerKey);
    assert_eq!(letters(&strict.step(&batch, true)), "Drrrr");
    let hanging = faulty("payload=bad hang", KeyOrder::PrefixPerKey);
    assert_eq!(letters(&hanging.step(&batch, true)), "Durrr");
    let one = faulty("payload=bad retry", KeyOrder::OneAtATime);
    assert_eq!(letters(&one.step(&batch, false)), "DrDDD");
}

#[test]
fn seeds_reproduce() {
    let script = "seed 5; retry 30%; unknown 20%; lost 10%";
    let batch: Vec<_> = (0..200).map(|n| delivery(n, "", "good")).collect();
    let (one, other) = (
        faulty(script, KeyOrder::OneAtATime),
        faulty(script, KeyOrder::OneAtATime),
    );
    let said = letters(&one.step(&batch, false));
    assert_eq!(said, letters(&other.step(&batch, false)));
    assert!(said.contains('r') && said.contains('u') && said.contains('D'));
}

#[tokio::test]
async fn what_hangs_has_no_known_outcome_and_isnt_applied() {
    let faulty = faulty(
        "key=slow hang; key=late delay 5000; key=late confirm; delay 1..3",
        KeyOrder::OneAtATime,
    );
    let batch = [
        delivery(0, "slow", ""),
        delivery(1, "late", ""),
        delivery(2, "", ""),
    ];
    let started = std::time::Instant::now();
    let attempted = faulty.deliver(&batch, false).await;
    assert!(started.elapsed() >= Duration::from_millis(20));
    assert_eq!(letters(&attempted), "uuD");
    assert_eq!(received(&faulty), [2]);
}

#[test]
fn receipts_go_through_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("received");
    let batch = [delivery(0, "", "x"), delivery(7, "ключ\t", "")];
    for _ in 0..2 {
        let script = Script::default();
        let faulty = Faulty::to_file(script, KeyOrder::OneAtATime, None, &path).expect("a file");
        assert_eq!(letters(&faulty.step(&batch, false)), "DD");
    }
    let text = std::fs::read_to_string(&path).expect("text");
    let read: Vec<_> = text.lines().map(Receipt::from_line).collect();
    let expected: Vec<_> = batch
        .iter()
        .chain(&batch)
        .map(|d| Some(Receipt::of(d)))
        .collect();
    assert_eq!(read, expected);
    let line = text.lines().next_back().expect("four lines");
    for cut in 0..line.len() {
        if let Some(text) = line.get(..cut) {
            assert_eq!(Receipt::from_line(text), None, "{text:?}");
        }
    }
}

#[test]
fn wrong_scripts_are_told_apart() {
    for (script, word) in [
        ("retry sometimes", "how often"),
        ("explode", "no action"),
        ("key=a", "has no action"),
        ("colour=red retry", "no selector"),
        ("key= retry", "needs a value"),
        ("delay", "milliseconds"),
        ("delay 9..3", "more than"),
        ("retry every 0", "never"),
        ("retry 101%", "how often"),
        ("seed x", "not a number"),
        ("reject 5% 5%", "follow"),
    ] {
        let error = script.parse::<Script>().expect_err(script).to_string();
        assert!(error.contains(word) && error.contains(script), "{error}");
    }
}

/// Calls that began before another one returned apply nothing that would overtake what failed in it.
#[tokio::test]
async fn pipelined_calls_keep_the_order_of_a_key() {
    let faulty = faulty(
        "payload=bad retry first 1; payload=ugly reject",
        KeyOrder::Pipelined,
    );
    let first = [
        delivery(0, "a", "good"),
        delivery(1, "a", "bad"),
        delivery(2, "a", "good"),
        delivery(3, "b", "ugly"),
        delivery(4, "b", "good"),
    ];
    let second = [delivery(5, "a", "good"), delivery(6, "b", "good")];
    faulty.follow(
        "delay 1; payload=bad retry first 1; payload=ugly reject"
            .parse()
            .expect("right"),
    );
    let (one, two) = tokio::join!(
        faulty.deliver(&first, false),
        faulty.deliver(&second, false)
    );
    assert_eq!(
        (letters(&one), letters(&two)),
        ("DrrjD".into(), "rD".into())
    );
    let again = faulty
        .deliver(&[delivery(1, "a", "bad"), delivery(2, "a", "good")], false)
        .await;
    assert_eq!(letters(&again), "DD");
    assert_eq!(received(&faulty), [0, 4, 6, 1, 2]);
}
