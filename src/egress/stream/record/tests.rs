use super::*;
use crate::egress::Names;
use fastrand::Rng;
use std::fmt::Write;

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

/// Any record of this journal and delivery.
pub fn any(rng: &mut Rng, journal: LogUuid, at: DeliveryId) -> StreamRecord {
    let header = |rng: &mut Rng| Header {
        name: text(rng),
        value: bytes(rng),
    };
    let letter = |rng: &mut Rng| DeadLetter {
        destination: text(rng),
        reason: text(rng),
        attempts: rng.u32(..) >> rng.u32(..32),
        first_attempt: maybe(rng, wall),
        last_attempt: maybe(rng, wall),
        origin: maybe(rng, bytes),
    };
    StreamRecord {
        journal,
        at,
        accepted: wall(rng),
        epoch: Epoch(rng.u64(..)),
        id_kind: [IdKind::Publisher, IdKind::Derived, IdKind::Generated][rng.usize(..3)],
        id: text(rng),
        delivery_id: text(rng),
        route: maybe(rng, text),
        topic: text(rng),
        key: maybe(rng, bytes),
        headers: (0..rng.usize(..4)).map(|_| header(rng)).collect(),
        content_type: maybe(rng, text),
        payload: maybe(rng, bytes).ok_or(Tombstone),
        dead_letter: maybe(rng, letter),
    }
}

fn record(seed: u64) -> (StreamRecord, Bytes) {
    let mut rng = Rng::with_seed(seed);
    let journal = LogUuid(rng.u128(..));
    let at = DeliveryId::new(rng.u64(..) >> rng.u32(..64), rng.u16(..));
    let record = any(&mut rng, journal, at);
    let mut out = Vec::new();
    encode(&record.borrowed(), &mut out);
    assert!(out.len() <= most_bytes(&record.borrowed()), "seed {seed}");
    (record, out.into())
}

#[test]
fn what_is_encoded_is_decoded_and_shares_its_bytes() {
    let mut shared = 0;
    for seed in 0..HISTORIES {
        let (record, bytes) = record(seed);
        let decoded = decode(&bytes);
        assert_eq!(decoded.as_ref(), Ok(&record), "seed {seed}");
        assert_eq!(peek(&bytes), Ok((record.journal, record.at)), "seed {seed}");
        let decoded = decoded.expect("compared above");
        let values = decoded.headers.into_iter().map(|h| h.value);
        let parts = values.chain(decoded.key).chain(decoded.payload.ok());
        for part in parts.filter(|p| !p.is_empty()) {
            let range = bytes.as_ptr_range();
            assert!(range.contains(&part.as_ptr()), "seed {seed}");
            shared += 1;
        }
    }
    assert!(shared > HISTORIES, "only {shared} parts were looked at");
}

#[test]
fn a_record_cut_anywhere_or_with_more_after_it_is_refused() {
    for seed in 0..300 {
        let (_, bytes) = record(seed);
        for cut in 0..bytes.len() {
            let decoded = decode(&bytes.slice(..cut));
            assert!(
                matches!(&decoded, Err(RecordError::Wire(e)) if e.problem == Problem::CutShort),
                "seed {seed}, cut at {cut}: {decoded:?}"
            );
        }
        let longer: Bytes = [&bytes[..], &[0]].concat().into();
        let decoded = decode(&longer);
        assert!(
            matches!(&decoded, Err(RecordError::Wire(e)) if e.problem == Problem::Trailing),
            "seed {seed}: {decoded:?}"
        );
    }
}

/// What decodes at all must be a value that its own encoding gives back.
#[test]
fn damaged_records_never_panic() {
    let mut decodable = 0;
    for seed in 0..HISTORIES {
        let mut rng = Rng::with_seed(seed);
        let mut damaged: Vec<u8> = if rng.u8(..8) == 0 {
            (0..rng.usize(..200)).map(|_| rng.u8(..)).collect()
        } else {
            record(seed).1.to_vec()
        };
        if let Some(first) = damaged.first_mut() {
            *first = RECORD_V1;
        }
        for _ in 0..rng.usize(1..4) {
            if damaged.len() > 1 {
                let at = rng.usize(1..damaged.len());
                damaged[at] = rng.u8(..);
            }
        }
        let _ = peek(&damaged);
        if let Ok(record) = decode(&damaged.into()) {
            decodable += 1;
            let mut again = Vec::new();
            encode(&record.borrowed(), &mut again);
            assert_eq!(decode(&again.into()), Ok(record), "seed {seed}");
        }
    }
    assert!(decodable > 100, "only {decodable} damaged records decode");
}

#[test]
fn another_version_is_named() {
    let other = Bytes::from_static(&[0x42, 0, 0]);
    assert_eq!(decode(&other), Err(RecordError::Version { found: 0x42 }));
    assert_eq!(peek(&other), Err(RecordError::Version { found: 0x42 }));
}

fn everything() -> StreamRecord {
    let header = |name: &str, value: &'static [u8]| Header {
        name: name.to_owned(),
        value: Bytes::from_static(value),
    };
    StreamRecord {
        journal: LogUuid(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        at: DeliveryId::new(1000, 2),
        accepted: Wall(1_700_000_000_000),
        epoch: Epoch(0x0000_0003_89ab_cdef),
        id_kind: IdKind::Derived,
        id: "o-7".to_owned(),
        delivery_id: "d-7".to_owned(),
        route: Some("orders".to_owned()),
        topic: "orders/7".to_owned(),
        key: Some(Bytes::from_static(b"k\x00")),
        headers: vec![header("X-A", b"1"), header("x-a", b"\xff")],
        content_type: Some("text/plain".to_owned()),
        payload: Ok(Bytes::from_static(b"hello")),
        dead_letter: Some(DeadLetter {
            origin: None,
            destination: "inbox".to_owned(),
            reason: "too large".to_owned(),
            attempts: 300,
            first_attempt: Some(Wall(5)),
            last_attempt: Some(Wall(600)),
        }),
    }
}

fn least() -> StreamRecord {
    StreamRecord {
        journal: LogUuid(1),
        at: DeliveryId::new(0, 0),
        accepted: Wall(0),
        epoch: Epoch(0),
        id_kind: IdKind::Publisher,
        id: "i".to_owned(),
        delivery_id: "d".to_owned(),
        route: None,
        topic: "t".to_owned(),
        key: None,
        headers: vec![],
        content_type: None,
        payload: Err(Tombstone),
        dead_letter: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String can't fail");
        text
    })
}

/// Guards the format against accidental change: streams on disk hold these bytes.
#[test]
fn the_format_is_as_checked_in() {
    for (record, bytes) in [(everything(), EVERYTHING), (least(), LEAST)] {
        let mut out = Vec::new();
        encode(&record.borrowed(), &mut out);
        assert_eq!(hex(&out), bytes);
        assert_eq!(decode(&out.into()), Ok(record));
    }
}

#[test]
fn a_delivery_is_what_its_target_says_else_what_its_envelope_says() {
    use crate::message::{Ack, Envelope, Guarantee, LaneId, Message, Plan, RouteId, Target};
    let bare = Target::to(RouteId(1), LaneId(1), Guarantee::AtLeastOnce);
    let rendered = Target {
        topic: Some("rendered".to_owned()),
        key: Some(Bytes::from_static(b"rk")),
        headers: Some(vec![]),
        payload: Some(Bytes::from_static(b"{}")),
        ..bare.clone()
    };
    let header = Header {
        name: "h".to_owned(),
        value: Bytes::from_static(b"v"),
    };
    let envelope = Envelope {
        principal: "p".into(),
        source: "http".into(),
        topic: "t".to_owned(),
        id: MessageId::None,
        key: None,
        headers: vec![header.clone()],
        content_type: Some("text/plain".to_owned()),
        payload: Err(Tombstone),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: vec![],
    };
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: std::time::Duration::ZERO,
        targets: vec![bare, rendered],
    };
    let message = std::sync::Arc::new(Message { envelope, plan });
    let names = Names {
        journal: LogUuid(7),
        id: "made",
        delivery_id: "d",
        route: Some("r"),
    };
    let delivery = |ordinal| Delivery {
        at: DeliveryId::new(4, ordinal),
        known_as: None,
        accepted: Wall(9),
        epoch: Epoch(1),
        identity: None,
        size_bytes: 0,
        dead_letter: None,
        message: std::sync::Arc::clone(&message),
    };
    let delivery = [delivery(0), delivery(1)];
    let plain = NewRecord::of(&delivery[0], names);
    let (topic, key, headers) = (plain.topic, plain.key, plain.headers);
    assert_eq!((topic, key, headers), ("t", None, Headers::of(&[header])));
    assert_eq!((plain.payload, plain.id_kind), (None, IdKind::Generated));
    let rendered = NewRecord::of(&delivery[1], names);
    let (topic, key, headers) = (rendered.topic, rendered.key, rendered.headers);
    assert_eq!(
        (topic, key, headers),
        ("rendered", Some(&b"rk"[..]), Headers::of(&[]))
    );
    assert_eq!(rendered.payload, Some(&b"{}"[..]));
    assert_eq!(plain.content_type, Some("text/plain"));
    let json = Some("application/json");
    assert_eq!(rendered.content_type, json, "the payload is the target's");
    assert_eq!(rendered.at, DeliveryId::new(4, 1));
}

const LEAST: &str = "410001000000000000000000000000000000000000000000000000000001690164017400";

const EVERYTHING: &str = "\
    417dffeeddccbbaa99887766554433221100e8070280d095ffbc31efcdab8903000000036f2d3703\
    642d37066f7264657273086f72646572732f37026b000203582d41013103782d6101ff0a74657874\
    2f706c61696e05696e626f7809746f6f206c61726765ac020305d8040568656c6c6f\
    ";
