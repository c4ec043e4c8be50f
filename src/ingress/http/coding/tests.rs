//! Decoders byte by byte, and bodies that were made to hurt.

use super::*;
use crate::ingress::in_flight::InFlight;
use axum::http::HeaderName;
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, GzBuilder};
use std::io::Write;

const LIMIT: usize = 300 << 10;
const BOMB_BYTES: usize = 1 << 30;

fn text() -> Vec<u8> {
    (0..400)
        .flat_map(|i| format!("line {i}\n").into_bytes())
        .collect()
}

fn gzip_of(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd_of(content: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).expect("memory");
    encoder.include_checksum(true).expect("known");
    encoder.window_log(window_log).expect("legal");
    encoder.write_all(content).expect("in memory");
    encoder.finish().expect("in memory")
}

/// With every part that a header may have.
fn adorned_gzip_of(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .extra(&b"extra"[..])
        .filename("a name")
        .comment("a comment")
        .write(Vec::new(), Compression::default());
    encoder.write_all(content).expect("in memory");
    let mut bytes = encoder.finish().expect("in memory");
    let header = 10 + 2 + b"extra".len() + b"a name\0".len() + b"a comment\0".len();
    bytes[3] |= 1 << 1;
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[..header]);
    let crc = (crc.sum() as u16).to_le_bytes();
    bytes.splice(header..header, crc);
    bytes
}

/// A frame that says nothing but how long it is (RFC 8878, 3.1.2).
fn skippable_frame() -> Vec<u8> {
    [&0x184d_2a50_u32.to_le_bytes()[..], &[3, 0, 0, 0], b"abc"].concat()
}

fn decode_in(
    coding: Coding,
    coded: &[u8],
    chunk: usize,
    room: usize,
) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(coding)?.expect("a coding");
    let mut decoded = Vec::new();
    let mut output = vec![0; room];
    for mut chunk in coded.chunks(chunk) {
        loop {
            let step = decoder.step(chunk, &mut output)?;
            decoded.extend_from_slice(&output[..step.written]);
            chunk = &chunk[step.read..];
            if chunk.is_empty() && step.written < room {
                break;
            }
        }
    }
    decoder.finish()?;
    Ok(decoded)
}

fn decode(coding: Coding, coded: &[u8]) -> Result<Vec<u8>, DecodeError> {
    decode_in(coding, coded, usize::MAX, 64 << 10)
}

fn desk(payload_bytes: usize, in_flight_bytes: usize) -> Desk {
    Desk::new(&Limits {
        payload_bytes,
        in_flight: InFlight::new(in_flight_bytes),
    })
}

fn of(values: &[&str]) -> Result<Coding, Problem> {
    let mut headers = HeaderMap::new();
    for value in values {
        let name = HeaderName::from_static("content-encoding");
        headers.append(name, HeaderValue::from_str(value).expect("legal"));
    }
    Coding::of(&headers)
}

#[test]
fn one_known_coding_is_accepted() {
    use Coding::{Gzip, Identity, Zstd};
    for (values, coding) in [
        (&[][..], Some(Identity)),
        (&["identity"], Some(Identity)),
        (&["gzip"], Some(Gzip)),
        (&["X-GZip"], Some(Gzip)),
        (&["ZSTD"], Some(Zstd)),
        (&["identity, gzip"], Some(Gzip)),
        (&["gzip", "identity"], Some(Gzip)),
        (&[" gzip ,"], Some(Gzip)),
        (&["gzip, gzip"], None),
        (&["gzip", "zstd"], None),
        (&["br"], None),
        (&["deflate"], None),
        (&["gzip;q=1"], None),
    ] {
        assert_eq!(of(values).ok(), coding, "{values:?}");
    }
    let mut headers = HeaderMap::new();
    let bytes = HeaderValue::from_bytes(b"gzip\xff").expect("opaque bytes are legal");
    headers.insert("content-encoding", bytes);
    assert_eq!(Coding::of(&headers).expect_err("unknown").status, 415);
}

#[test]
fn however_it_is_cut_it_decodes_to_the_same() {
    let gzip = [gzip_of(&text()), adorned_gzip_of(b"tail"), gzip_of(b"")].concat();
    let zstd = [
        skippable_frame(),
        zstd_of(&text(), 10),
        skippable_frame(),
        zstd_of(b"tail", 23),
        zstd_of(b"", 20),
    ]
    .concat();
    let expected = [&text()[..], b"tail"].concat();
    for (coding, coded) in [(Coding::Gzip, gzip), (Coding::Zstd, zstd)] {
        for chunk in [1, 2, 3, 7, 64, coded.len()] {
            for room in [1, 5, 1_000, 64 << 10] {
                let decoded = decode_in(coding, &coded, chunk, room);
                let same = decoded.as_ref() == Ok(&expected);
                assert!(
                    same,
                    "{coding:?} in {chunk} to {room}: {:?}",
                    decoded.map(|d| d.len())
                );
            }
        }
    }
}

#[test]
fn a_cut_body_is_never_taken_for_a_whole_one() {
    for (coding, coded) in [
        (Coding::Gzip, adorned_gzip_of(&text())),
        (Coding::Zstd, zstd_of(&text(), 20)),
    ] {
        for length in 0..coded.len() {
            let error = decode(coding, &coded[..length]).expect_err("cut");
            assert!(
                matches!(error, DecodeError::Truncated(_)),
                "{coding:?} {length}: {error}"
            );
        }
    }
}

#[test]
fn damage_never_gives_another_content() {
    for (coding, coded) in [
        (Coding::Gzip, adorned_gzip_of(&text())),
        (Coding::Zstd, zstd_of(&text(), 20)),
    ] {
        let mut refused = 0;
        for bit in 0..coded.len() * 8 {
            let mut damaged = coded.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match decode(coding, &damaged) {
                Ok(decoded) => assert!(decoded == text(), "{coding:?}, bit {bit}"),
                Err(_) => refused += 1,
            }
        }
        // What remains is in fields that say nothing about the content.
        assert!(
            refused > coded.len() * 8 * 9 / 10,
            "{coding:?}: {refused} of {}",
            coded.len() * 8
        );
    }
}

#[test]
fn what_follows_the_data_is_not_dropped_silently() {
    for (coding, coded) in [
        (Coding::Gzip, gzip_of(b"x")),
        (Coding::Zstd, zstd_of(b"x", 20)),
    ] {
        for garbage in [
            &b"\0"[..],
            b"\0\0\0\0\0\0\0\0",
            b"garbage",
            b"\x1f",
            b"\x28",
        ] {
            let error = decode(coding, &[&coded, garbage].concat()).expect_err("more than one");
            assert!(error.to_string().len() > 20, "{coding:?}: {error}");
        }
    }
    let error = decode(Coding::Gzip, &[&gzip_of(b"x")[..], b"y"].concat()).expect_err("garbage");
    assert_eq!(
        error.to_string(),
        "the body isn't valid gzip: something else follows the gzip data"
    );
}

#[test]
fn a_frame_may_ask_for_eight_mebibytes_and_no_more() {
    let coded = zstd_of(&text(), 23);
    let mut zstd = Zstd::new().expect("memory");
    let mut output = vec![0; 64 << 10];
    zstd.step(&coded, &mut output).expect("legal");
    let held = zstd.memory_bytes();
    assert!((8 << 20..9 << 20).contains(&held), "{held}");

    // A content size of an exbibyte, declared in nine bytes.
    let single_segment = [&0xfd2f_b528_u32.to_le_bytes()[..], &[0b1110_0000]].concat();
    let exbibyte = [
        &single_segment[..],
        &(1_u64 << 60).to_le_bytes(),
        &[1, 0, 0],
    ]
    .concat();
    for coded in [zstd_of(&text(), 24), exbibyte] {
        let mut zstd = Zstd::new().expect("memory");
        let error = zstd.step(&coded, &mut output).expect_err("too large");
        assert!(error.to_string().contains("windows up to 8 MiB"), "{error}");
        assert!(zstd.memory_bytes() < 1 << 20);
    }
}

/// Zeros, many times as many as it has bytes.
fn gzip_bomb() -> Vec<u8> {
    const BLOCK_BYTES: usize = 1 << 20;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; BLOCK_BYTES]).expect("in memory");
    encoder.flush().expect("in memory");
    let block = encoder.get_ref().clone();
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    [&header[..], &block.repeat(BOMB_BYTES / BLOCK_BYTES)].concat()
}

/// A frame of blocks that are one byte, repeated (RFC 8878, 3.1.1.2).
fn zstd_bomb() -> Vec<u8> {
    const BLOCK_BYTES: usize = 128 << 10;
    let window_of_8_mib = (23 - 10) << 3;
    let header = [&0xfd2f_b528_u32.to_le_bytes()[..], &[0, window_of_8_mib]].concat();
    let size_and_type = (BLOCK_BYTES as u32) << 3 | 1 << 1;
    let block = [&size_and_type.to_le_bytes()[..3], &[0]].concat();
    [header, block.repeat(BOMB_BYTES / BLOCK_BYTES)].concat()
}

#[tokio::test]
async fn a_bomb_stops_at_the_limit() {
    for (coding, bomb) in [(Coding::Gzip, gzip_bomb()), (Coding::Zstd, zstd_bomb())] {
        // Room for the coded form, and for one payload only.
        let desk = desk(2 << 20, 2 << 20);
        assert!(bomb.len() < 2 << 20, "{coding:?}: {}", bomb.len());
        let refused = desk
            .receive(Body::from(bomb), coding, desk.payload_limit)
            .await;
        let problem = refused.err().expect("too large");
        assert_eq!(
            (problem.status.as_u16(), problem.kind),
            (413, Kind::TooLarge)
        );
        assert!(problem.detail.contains("2097153"), "{}", problem.detail);
        assert_eq!(desk.in_flight.available_permits(), 2 << 20);
        assert_eq!(desk.decoding.available_permits(), DECODED_AT_ONCE);
    }
}

#[tokio::test]
async fn the_share_covers_what_is_larger() {
    let content = vec![7_u8; LIMIT];
    let noise = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with({
        let mut noise = noise;
        move || noise.u8(..)
    })
    .take(LIMIT)
    .collect();
    for (coding, coded, content) in [
        (Coding::Gzip, gzip_of(&content), &content),
        (Coding::Zstd, zstd_of(&content, 20), &content),
        (Coding::Gzip, gzip_of(&noise), &noise),
        (Coding::Zstd, zstd_of(&noise, 20), &noise),
    ] {
        // Just what one payload needs.
        let desk = desk(LIMIT, LIMIT);
        let received = desk
            .receive(Body::from(coded.clone()), coding, desk.payload_limit)
            .await;
        let received = received.expect("it fits");
        assert!(received.payload == content[..]);
        assert_eq!(received.share.num_permits(), LIMIT);
        assert_eq!(desk.in_flight.available_permits(), 0);
        let another = desk
            .receive(Body::from(coded), coding, desk.payload_limit)
            .await;
        assert_eq!(another.err().expect("no room").kind, Kind::InFlightFull);
    }
}

#[tokio::test]
async fn others_have_their_turn_while_a_body_is_decoded() {
    let desk = desk(LIMIT, LIMIT);
    let coded = gzip_of(&vec![7_u8; LIMIT]);
    let mut decoding =
        std::pin::pin!(desk.receive(Body::from(coded), Coding::Gzip, desk.payload_limit));
    let mut turns = 0;
    let received = std::future::poll_fn(|cx| {
        turns += 1;
        decoding.as_mut().poll(cx)
    })
    .await;
    assert!(received.is_ok());
    assert!(turns >= LIMIT / STEP_BYTES, "{turns}");
}
