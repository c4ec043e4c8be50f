use super::*;
use crate::clock::Wall;
use crate::message::wire::{Problem, put_varint};
use crate::message::{
    Ack, DeliveryId, Envelope, Extension, Header, Message, MessageId, Plan, RedriveNames, Target,
    Tombstone, TraceContext,
};
use bytes::Bytes;
use fastrand::Rng;
use std::fmt::Write;
use std::time::Duration;

const HISTORIES: u64 = 3_000;

fn bytes(rng: &mut Rng) -> Bytes {
    let len = match rng.u8(..10) {
        0 => 0,
        1 => rng.usize(100..400),
        _ => rng.usize(..12),
    };
    (0..len).map(|_| rng.u8(..)).collect()
}

fn text(rng: &mut Rng) -> String {
    (0..rng.usize(..9)).map(|_| rng.char(..)).collect()
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.bool().then(|| make(rng))
}

fn wall(rng: &mut Rng) -> Wall {
    Wall(rng.u64(..) >> rng.u32(..64))
}

fn headers(rng: &mut Rng) -> Vec<Header> {
    let header = |rng: &mut Rng| Header {
        name: text(rng),
        value: bytes(rng),
    };
    (0..rng.usize(..4)).map(|_| header(rng)).collect()
}

fn extension(rng: &mut Rng) -> Extension {
    match rng.u8(..7) {
        0 => Extension::SourcePosition(bytes(rng)),
        1 => Extension::MqttPacket(bytes(rng)),
        2 => Extension::SplitIndex(rng.u32(..)),
        3 => Extension::RedriveOf(DeliveryId::new(rng.u64(..), rng.u16(..))),
        4 => Extension::TraceContext(trace_context(rng)),
        5 => Extension::RedriveNames(Box::new(RedriveNames {
            id: text(rng),
            identity: maybe(rng, |r| r.u128(..)),
            delivery_id: maybe(rng, text),
        })),
        _ => Extension::Other(rng.u16(tag::REDRIVE_NAMES + 1..), bytes(rng)),
    }
}

fn trace_context(rng: &mut Rng) -> TraceContext {
    let (trace, span) = (rng.u128(1..), rng.u64(1..));
    let parent = format!("00-{trace:032x}-{span:016x}-{:02x}", rng.u8(..4));
    let state = format!("k{}={}", rng.u8(..), "v".repeat(rng.usize(1..250)));
    let state = maybe(rng, |_| state);
    let state = state.iter().map(|state| state.as_bytes());
    TraceContext::read(parent.as_bytes(), state).expect("it is valid")
}

fn target(rng: &mut Rng) -> Target {
    let guarantee = [
        Guarantee::AtMostOnce,
        Guarantee::AtLeastOnce,
        Guarantee::ExactlyOnce,
    ][rng.usize(..3)];
    let bare = Target::to(RouteId(rng.u32(..)), LaneId(rng.u32(..300)), guarantee);
    if rng.bool() {
        return bare;
    }
    Target {
        topic: maybe(rng, text),
        key: maybe(rng, bytes),
        headers: maybe(rng, headers),
        payload: maybe(rng, bytes),
        priority: maybe(rng, |r| r.u8(..)),
        not_before: maybe(rng, wall),
        expires_at: maybe(rng, wall),
        dead_letter: maybe(rng, text),
        ..bare
    }
}

fn message(rng: &mut Rng) -> Message {
    let envelope = Envelope {
        principal: text(rng).into(),
        source: text(rng).into(),
        topic: text(rng),
        id: match rng.u8(..3) {
            0 => MessageId::None,
            1 => MessageId::Publisher(text(rng)),
            _ => MessageId::Derived(text(rng)),
        },
        key: maybe(rng, bytes),
        headers: headers(rng),
        content_type: maybe(rng, text),
        payload: maybe(rng, bytes).ok_or(Tombstone),
        priority: maybe(rng, |r| r.u8(..)),
        deliver_at: maybe(rng, wall),
        expires_at: maybe(rng, wall),
        extensions: (0..rng.usize(..4)).map(|_| extension(rng)).collect(),
    };
    let plan = Plan {
        ack: [Ack::Received, Ack::Stored, Ack::Delivered][rng.usize(..3)],
        ack_timeout: Duration::new(rng.u64(..), rng.u32(..1_000_000_000)),
        targets: (0..rng.usize(1..6)).map(|_| target(rng)).collect(),
    };
    Message { envelope, plan }
}

fn fingerprint(rng: &mut Rng) -> Fingerprint {
    Fingerprint {
        key: rng.u128(..),
        content: rng.u64(..),
        derived: rng.bool(),
    }
}

fn record(rng: &mut Rng) -> (Message, Option<Fingerprint>, Bytes) {
    let message = message(rng);
    let fingerprint = maybe(rng, fingerprint);
    let mut out = Vec::new();
    encode(&message, fingerprint.as_ref(), &mut out);
    (message, fingerprint, out.into())
}

fn peek_of(message: &Message, fingerprint: Option<Fingerprint>) -> Peek {
    let head = |t: &Target| TargetHead {
        route: t.route,
        lane: t.lane,
        guarantee: t.guarantee,
        is_dead_letter: t.dead_letter.is_some(),
    };
    Peek {
        fingerprint,
        targets: message.plan.targets.iter().map(head).collect(),
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    for seed in 0..HISTORIES {
        let (message, fingerprint, record) = record(&mut Rng::with_seed(seed));
        let decoded = decode(&record);
        assert_eq!(decoded, Ok((message.clone(), fingerprint)), "seed {seed}");
        let peeked = peek(&record);
        assert_eq!(peeked, Ok(peek_of(&message, fingerprint)), "seed {seed}");
    }
}

#[test]
fn encode_appends() {
    let (message, fingerprint, alone) = record(&mut Rng::with_seed(1));
    let mut out = b"before".to_vec();
    encode(&message, fingerprint.as_ref(), &mut out);
    assert_eq!(out, [b"before", &alone[..]].concat());
}

#[test]
fn payload_key_and_header_values_share_the_record() {
    let mut shared = 0;
    for seed in 0..200 {
        let (_, _, record) = record(&mut Rng::with_seed(seed));
        let (message, _) = decode(&record).unwrap();
        let envelope = message.envelope;
        let values = envelope.headers.into_iter().map(|h| h.value);
        let parts = values.chain(envelope.key).chain(envelope.payload.ok());
        for part in parts.filter(|p| !p.is_empty()) {
            assert!(
                record.as_ptr_range().contains(&part.as_ptr()),
                "seed {seed}"
            );
            shared += 1;
        }
    }
    assert!(shared > 200, "only {shared} parts were looked at");
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    for seed in 0..300 {
        let (message, fingerprint, record) = record(&mut Rng::with_seed(seed));
        for cut in 0..record.len() {
            let decoded = decode(&record.slice(..cut));
            assert!(
                matches!(&decoded, Err(RecordError::Wire(e)) if e.problem == Problem::CutShort),
                "seed {seed}, cut at {cut}: {decoded:?}"
            );
            if let Ok(peeked) = peek(&record[..cut]) {
                assert_eq!(peeked, peek_of(&message, fingerprint), "seed {seed}");
            }
        }
    }
}

#[test]
fn bytes_after_the_record_are_refused() {
    let (_, _, record) = record(&mut Rng::with_seed(3));
    let longer: Bytes = [&record[..], &[0]].concat().into();
    let error = WireError {
        what: "record",
        offset: record.len(),
        problem: Problem::Trailing,
    };
    assert_eq!(decode(&longer), Err(RecordError::Wire(error)));
}

#[test]
fn another_version_is_named() {
    let record = Bytes::from_static(&[0x12, 0, 0]);
    assert_eq!(decode(&record), Err(RecordError::Version { found: 0x12 }));
    assert_eq!(peek(&record), Err(RecordError::Version { found: 0x12 }));
}

/// What decodes at all must be a value that its own encoding gives back.
#[test]
fn damaged_records_never_panic() {
    let mut decodable = 0;
    for seed in 0..HISTORIES {
        let mut rng = Rng::with_seed(seed);
        let mut damaged = if rng.u8(..8) == 0 {
            (0..rng.usize(..200)).map(|_| rng.u8(..)).collect()
        } else {
            record(&mut rng).2.to_vec()
        };
        if let Some(first) = damaged.first_mut() {
            *first = ENVELOPE_V1;
        }
        for _ in 0..rng.usize(1..4) {
            if damaged.len() > 1 {
                let at = rng.usize(1..damaged.len());
                damaged[at] = rng.u8(..);
            }
        }
        let _ = peek(&damaged);
        if let Ok((message, fingerprint)) = decode(&damaged.into()) {
            decodable += 1;
            let mut again = Vec::new();
            encode(&message, fingerprint.as_ref(), &mut again);
            let decoded = decode(&again.into());
            assert_eq!(decoded, Ok((message, fingerprint)), "seed {seed}");
        }
    }
    assert!(decodable > 100, "only {decodable} damaged records decode");
}

#[test]
fn counts_and_lengths_are_checked_before_room_is_made() {
    // A plan of 2^60 targets, in ten bytes.
    let mut record = vec![ENVELOPE_V1, 0, 1, 0, 0];
    put_varint(&mut record, 1 << 60);
    record.extend([0; 30]);
    let error = decode(&record.into()).unwrap_err();
    assert!(matches!(error, RecordError::Wire(e) if e.what == "targets"));
}

fn everything() -> (Message, Fingerprint) {
    let header = |name: &str, value: &'static [u8]| Header {
        name: name.to_owned(),
        value: Bytes::from_static(value),
    };
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "orders/7/created".to_owned(),
        id: MessageId::Publisher("o-7".to_owned()),
        key: Some(Bytes::from_static(b"k\x00")),
        headers: vec![header("X-A", b"1"), header("x-a", b"\xff")],
        content_type: Some("text/plain".to_owned()),
        payload: Ok(Bytes::from_static(b"hello")),
        priority: Some(9),
        deliver_at: Some(Wall(1_700_000_000_000)),
        expires_at: Some(Wall(1_700_000_360_000)),
        extensions: vec![
            Extension::SourcePosition(Bytes::from_static(b"sp")),
            Extension::MqttPacket(Bytes::from_static(b"mp")),
            Extension::SplitIndex(300),
            Extension::RedriveOf(DeliveryId::new(1000, 2)),
            Extension::Other(500, Bytes::from_static(b"new")),
        ],
    };
    let full = Target {
        topic: Some("t".to_owned()),
        key: Some(Bytes::from_static(b"tk")),
        headers: Some(vec![header("h", b"v")]),
        payload: Some(Bytes::from_static(b"{}")),
        priority: Some(3),
        not_before: Some(Wall(5)),
        expires_at: Some(Wall(600)),
        dead_letter: Some("no route".to_owned()),
        ..Target::to(RouteId(200), LaneId(3), Guarantee::ExactlyOnce)
    };
    let bare = Target::to(RouteId(0), LaneId(1), Guarantee::AtLeastOnce);
    let plan = Plan {
        ack: Ack::Delivered,
        ack_timeout: Duration::new(30, 5),
        targets: vec![full, bare],
    };
    let fingerprint = Fingerprint {
        key: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        content: 0x0123_4567_89ab_cdef,
        derived: true,
    };
    (Message { envelope, plan }, fingerprint)
}

fn least() -> Message {
    let envelope = Envelope {
        principal: "p".into(),
        source: "s".into(),
        topic: "t".to_owned(),
        id: MessageId::None,
        key: None,
        headers: vec![],
        content_type: None,
        payload: Err(Tombstone),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: vec![],
    };
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::from_secs(30),
        targets: vec![Target::to(RouteId(0), LaneId(0), Guarantee::AtMostOnce)],
    };
    Message { envelope, plan }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String can't fail");
        text
    })
}

/// Guards the format against accidental change: journals on disk hold these bytes.
#[test]
fn the_format_is_as_checked_in() {
    let (message, fingerprint) = everything();
    let mut out = Vec::new();
    encode(&message, Some(&fingerprint), &mut out);
    assert_eq!(hex(&out), EVERYTHING);
    assert_eq!(decode(&out.into()), Ok((message, Some(fingerprint))));

    let mut out = Vec::new();
    encode(&least(), None, &mut out);
    assert_eq!(hex(&out), LEAST);
    assert_eq!(decode(&out.into()), Ok((least(), None)));
}

const LEAST: &str = "1100011e0001000000000170017301740000";

const EVERYTHING: &str = "\
    1103ffeeddccbbaa99887766554433221100efcdab8967452301021e0502c801030e000101ff0174\
    02746b0101680176027b7d0305d804086e6f20726f757465fd09616e6f6e796d6f75730468747470\
    106f72646572732f372f63726561746564036f2d37026b000203582d41013103782d6101ff0a7465\
    78742f706c61696e0980d095ffbc31c0ccabffbc31050102737002026d700302ac020403e80702f4\
    03036e65770568656c6c6f\
    ";
