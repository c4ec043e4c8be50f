//! What a target renders is what the sinks hold: streams and dead letters alike.

use super::*;
use crate::clock::Clock;
use crate::egress::NameBook;
use crate::message::{
    Ack, Delivery, Envelope, Guarantee, Header, LaneId, Message, MessageId, Plan, RouteId, Target,
};
use std::sync::Arc;
use std::time::Duration;

fn header(name: &str, value: &'static [u8]) -> Header {
    Header {
        name: name.to_owned(),
        value: Bytes::from_static(value),
    }
}

fn envelope(content_type: Option<&str>) -> Envelope {
    Envelope {
        principal: "p".into(),
        source: "http".into(),
        topic: "orders/7".to_owned(),
        id: MessageId::Publisher("id".to_owned()),
        key: Some(Bytes::from_static(b"k")),
        headers: vec![header("h", b"received")],
        content_type: content_type.map(str::to_owned),
        payload: Ok(Bytes::from_static(b"received")),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: vec![],
    }
}

/// To a bare target, and to one that renders everything.
fn deliveries(content_type: Option<&str>) -> [Delivery; 2] {
    let bare = Target::to(RouteId(0), LaneId(1), Guarantee::AtLeastOnce);
    let rendered = Target {
        topic: Some("rendered".to_owned()),
        key: Some(Bytes::from_static(b"rk")),
        headers: Some(vec![header("r", b"\xff")]),
        payload: Some(Bytes::from_static(b"{\"n\":1}")),
        ..bare.clone()
    };
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::ZERO,
        targets: vec![bare, rendered],
    };
    let message = Arc::new(Message {
        envelope: envelope(content_type),
        plan,
    });
    [0, 1].map(|ordinal| Delivery {
        at: DeliveryId::new(4, ordinal),
        known_as: None,
        accepted: Wall(9),
        epoch: Epoch(1),
        identity: Some(5),
        size_bytes: 0,
        dead_letter: None,
        message: Arc::clone(&message),
    })
}

fn stream(log: StreamLog, deliveries: &[Delivery]) {
    let stream = StreamDestination::new(log, names(), "inbox".into(), Clock::system());
    assert_eq!(stream.append(deliveries).verdicts.len(), 2);
}

fn bury(log: StreamLog, deliveries: &[Delivery]) {
    let letter = |delivery| Letter {
        delivery,
        reason: "why",
        attempts: 0,
        first_attempt: None,
        last_attempt: None,
    };
    let letters: Vec<_> = deliveries.iter().map(letter).collect();
    let sink = DeadLetterLog::new(log, names(), "inbox".into(), Clock::system());
    assert_eq!(sink.bury(&letters).count, 2);
}

fn names() -> Arc<NameBook> {
    Arc::new(NameBook::new(JOURNAL, vec!["orders".into()]))
}

type Write = fn(StreamLog, &[Delivery]);

fn written(options: StreamOptions, write: Write, content_type: Option<&str>) -> [StreamRecord; 2] {
    let log = open(options, 0).log;
    let reader = log.reader();
    write(log, &deliveries(content_type));
    let page = reader.read(From::Earliest, ALL, ALL).expect("reads");
    let mut records = page.records.into_iter().map(|(_, record)| record);
    [(); 2].map(|()| records.next().expect("two records"))
}

/// A dead letter has all of the message, with this target alone, though the payload stands in it once.
fn check_origin(record: &StreamRecord, delivery: &Delivery) {
    let Some(letter) = &record.dead_letter else {
        assert_eq!(origin::decode(record), None);
        return;
    };
    let facts = (&*letter.destination, &*letter.reason, letter.attempts);
    assert_eq!(facts, ("inbox", "why", 0));
    let bytes = letter.origin.as_ref().expect("it has one");
    let (raw, _) = crate::message::record::decode(bytes).expect("it can be read");
    let own = raw.plan.targets[0].payload.as_deref();
    let received = raw.envelope.payload.as_deref();
    assert!(
        own.or(received.ok()) == Some(&[]),
        "the payload stands there twice"
    );
    let found = origin::decode(record).expect("it has one");
    let found = found.expect("it can be read");
    assert_eq!(found.message.envelope, delivery.message.envelope);
    assert_eq!(found.target(), delivery.target());
    assert_eq!(found.identity, delivery.identity);
}

#[test]
fn sinks_hold_what_was_rendered() {
    let dir = tempfile::tempdir().expect("temp dir");
    for (number, content_type, own) in [
        (0, None, "application/json"),
        (1, Some("text/plain"), "application/json"),
        (2, Some("application/order+json"), "application/order+json"),
    ] {
        let dir = dir.path().join(number.to_string());
        let sinks: [(StreamOptions, Write); 2] = [
            (options(&dir.join("a")), stream),
            (dead_letters(&dir.join("b"), None), bury),
        ];
        for (options, write) in sinks {
            std::fs::create_dir_all(options.dir.parent().expect("a parent")).expect("a folder");
            let [bare, rendered] = written(options, write, content_type);
            assert_eq!(
                (&*bare.topic, bare.key.as_deref()),
                ("orders/7", Some(&b"k"[..]))
            );
            assert_eq!(bare.headers, [header("h", b"received")]);
            assert_eq!(bare.content_type.as_deref(), content_type);
            assert_eq!(bare.payload.as_deref(), Ok(&b"received"[..]));
            assert_eq!(
                (&*rendered.topic, rendered.key.as_deref()),
                ("rendered", Some(&b"rk"[..]))
            );
            assert_eq!(rendered.headers, [header("r", b"\xff")]);
            assert_eq!(rendered.content_type.as_deref(), Some(own));
            assert_eq!(rendered.payload.as_deref(), Ok(&b"{\"n\":1}"[..]));
            let given = deliveries(content_type);
            for (record, delivery) in [bare, rendered].iter().zip(&given) {
                check_origin(record, delivery);
            }
        }
    }
}
