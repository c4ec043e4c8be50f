//! Coded bodies over the wire.

use super::harness::{PAYLOAD_LIMIT, Running, answer, ask, request, send, start};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

fn gzip_of(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("in memory");
    encoder.finish().expect("in memory")
}

async fn publish(running: &Running, coding: &str, body: &[u8]) -> super::harness::Answer {
    let header = format!("Content-Encoding: {coding}\r\nContent-Type: text/plain\r\n");
    let request = request("POST", "/v1/topics/a", &header, body);
    answer(send(running.address, &request).await).await
}

#[tokio::test]
async fn a_coded_body_becomes_the_payload_that_was_meant() {
    let running = start().await;
    let zstd_of = |content: &[u8]| zstd::encode_all(content, 3).expect("in memory");
    let full = vec![b'x'; PAYLOAD_LIMIT];
    let all = [
        ("gzip", gzip_of(b"hello"), &b"hello"[..]),
        ("X-Gzip", gzip_of(b""), b""),
        ("zstd", zstd_of(b"hello"), b"hello"),
        ("identity", b"hello".to_vec(), b"hello"),
        ("gzip", gzip_of(&full), &full),
        ("zstd", zstd_of(&full), &full),
    ];
    for (i, (coding, body, payload)) in all.iter().enumerate() {
        assert_eq!(
            publish(&running, coding, body).await.status,
            202,
            "{coding}"
        );
        let envelopes = running.script.envelopes.lock().expect("no panic");
        assert_eq!(envelopes[i].payload.as_deref(), Ok(*payload), "{coding}");
        assert_eq!(envelopes[i].content_type.as_deref(), Some("text/plain"));
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused() {
    let running = start().await;
    for coding in ["br", "gzip, zstd", "deflate"] {
        let got = publish(&running, coding, b"x").await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (415, "content-encoding")
        );
        assert!(
            got.head.contains("accept-encoding: gzip, zstd"),
            "{}",
            got.head
        );
    }
    let whole = gzip_of(b"hello");
    let cut = &whole[..whole.len() - 1];
    let followed = [&whole[..], b"more"].concat();
    for (coding, body, why) in [
        ("gzip", &b""[..], "ends before"),
        ("zstd", b"", "ends before"),
        ("gzip", b"plain", "doesn't begin"),
        ("zstd", b"plain", "Unknown frame"),
        ("gzip", cut, "ends before"),
        ("gzip", &followed, "something else follows"),
    ] {
        let got = publish(&running, coding, body).await;
        assert_eq!((got.status, got.problem().as_str()), (400, "malformed"));
        let detail = got.json()["detail"].to_string();
        assert!(detail.contains(why), "{detail}");
    }
    assert!(running.script.envelopes.lock().expect("ok").is_empty());
}

#[tokio::test]
async fn the_limit_is_that_of_the_payload() {
    let running = start().await;
    let more = gzip_of(&vec![0; PAYLOAD_LIMIT + 1]);
    let got = publish(&running, "gzip", &more).await;
    assert_eq!((got.status, got.problem().as_str()), (413, "too-large"));
    assert_eq!(got.json()["actual"], PAYLOAD_LIMIT + 1);
    assert_eq!(got.json()["setting"], "limits.payload");
    // A coded form that is far longer than a payload isn't read.
    let long = publish(&running, "gzip", &vec![0; 4 * PAYLOAD_LIMIT]).await;
    assert_eq!((long.status, long.problem().as_str()), (413, "too-large"));
    // Nothing of them is still in flight.
    let full = vec![b'x'; PAYLOAD_LIMIT];
    assert_eq!(
        ask(&running, "POST", "/v1/topics/a", &full).await.status,
        202
    );
}
