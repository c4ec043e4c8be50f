//! What a client can make the gateway hold: bounded, whatever it sends.

use super::{SETTINGS, started};
use crate::support::grpc::{connect, message, publish, v1, why};
use crate::support::process::{Gateway, program};
use crate::support::raw_grpc::{Raw, framed};
use flate2::{Compress, Compression, FlushCompress};
use prost::Message;
use std::io::Write;
use std::time::{Duration, Instant};
use tonic::Code;

/// Beyond what it had before.
const GROWTH_BYTES: u64 = 96 << 20;
const GIB: usize = 1 << 30;

fn rss_bytes(gateway: &Gateway) -> u64 {
    let pid = gateway.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.expect("Linux").trim().trim_end_matches(" kB");
    kib.parse::<u64>().expect("Linux") * 1024
}

/// About a GiB of zeros: one MiB, flushed so that its bytes may be repeated.
fn gzip_bomb() -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut piece = Vec::with_capacity(64 << 10);
    let zeros = vec![0; 1 << 20];
    let done = compress.compress_vec(&zeros, &mut piece, FlushCompress::Full);
    done.expect("it fits");
    let mut bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    for _ in 0..GIB >> 20 {
        bomb.extend_from_slice(&piece);
    }
    bomb
}

fn zstd_bomb() -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("a level");
    encoder.window_log(27).expect("a window");
    let zeros = vec![0; 1 << 20];
    for _ in 0..GIB >> 20 {
        encoder.write_all(&zeros).expect("memory");
    }
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn a_gibibyte_of_zeros_is_refused_without_being_held() {
    let settings = SETTINGS.replace("payload = \"64KiB\"", "payload = \"1MiB\"");
    let mut gateway = Gateway::new(&program(), &settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let before = rss_bytes(&gateway);
    for (coding, bomb) in [("gzip", gzip_bomb()), ("zstd", zstd_bomb())] {
        assert!(bomb.len() < 2 << 20, "{coding}: {}", bomb.len());
        let raw = Raw::connect(gateway.grpc).await;
        let body = framed(true, &bomb);
        for method in [
            "Publish",
            "PublishBatch",
            "PublishStream",
            "Publish",
            "PublishStream",
        ] {
            let headers = [("grpc-encoding", coding)];
            let answer = raw.call(method, &headers, body.clone()).await;
            let refused = why(answer.status.as_ref().expect("a status"));
            assert!(
                refused.is(Code::InvalidArgument, "TOO_LARGE"),
                "{coding}: {refused:?}"
            );
        }
    }
    let grown = rss_bytes(&gateway) - before;
    assert!(grown < GROWTH_BYTES, "{grown} bytes");
}

#[tokio::test]
async fn a_batch_of_millions_of_empty_messages_is_refused_without_being_held() {
    let gateway = started();
    let before = rss_bytes(&gateway);
    let raw = Raw::connect(gateway.grpc).await;
    let empty = |count: usize| b"\x0a\0".repeat(count);
    let too_large = raw
        .call("PublishBatch", &[], framed(false, &empty(3_000_000)))
        .await;
    let too_large = why(too_large.status.as_ref().expect("a status"));
    assert!(
        too_large.is(Code::InvalidArgument, "TOO_LARGE"),
        "{too_large:?}"
    );
    let small = zstd::encode_all(&empty(2_000_000)[..], 1).expect("memory");
    let headers = [("grpc-encoding", "zstd")];
    let too_many = raw
        .call("PublishBatch", &headers, framed(true, &small))
        .await;
    let too_many = why(too_many.status.as_ref().expect("a status"));
    assert!(
        too_many.is(Code::InvalidArgument, "TOO_MANY"),
        "{too_many:?}"
    );
    assert_eq!(too_many.facts["actual"], "2000000");
    // As many as may be: each refused by itself.
    let all = raw
        .call("PublishBatch", &[], framed(false, &empty(10_000)))
        .await;
    assert_eq!(all.status.expect("a status").code(), Code::Ok);
    let all = v1::PublishBatchResponse::decode(all.body.slice(5..)).expect("results");
    assert_eq!(all.results.len(), 10_000);
    // A message of as many headers.
    let headers = b"\x22\0".repeat(50_000);
    let length = headers.len();
    let mut request = vec![0x0a];
    prost::encoding::encode_varint(length as u64, &mut request);
    request.extend_from_slice(&headers);
    let answer = raw.call("Publish", &[], framed(false, &request)).await;
    let refused = why(answer.status.as_ref().expect("a status"));
    assert!(refused.is(Code::InvalidArgument, "TOO_MANY"), "{refused:?}");
    let grown = rss_bytes(&gateway) - before;
    assert!(grown < GROWTH_BYTES, "{grown} bytes");
}

/// Others fill the room for what is in flight: who comes is held back for a moment, then refused.
#[tokio::test]
async fn without_room_a_call_is_refused_after_a_moment() {
    let settings = SETTINGS.replace("[limits]", "[limits]\nin_flight_bytes = \"128KiB\"");
    let mut gateway = Gateway::new(&program(), &settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let mut client = connect(gateway.grpc).await;
    let large = "x".repeat(60 << 10);
    let mut held = Vec::new();
    for id in ["1", "2"] {
        let mut client = connect(gateway.grpc).await;
        let message = publish(message("sure/hung/1", id, &large));
        held.push(tokio::spawn(async move { client.publish(message).await }));
    }
    let mut found = 0;
    let is_there = async {
        while found < 2 {
            let id = (found + 1).to_string();
            let asked = crate::support::grpc::by_id(&id, "sure/hung/1");
            match client.get_message(asked).await {
                Ok(_) => found += 1,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    is_there.await;
    let asked = Instant::now();
    let refused = client.publish(publish(message("all/a", "", &large))).await;
    let refused = refused.expect_err("no room");
    assert!(
        why(&refused).is(Code::ResourceExhausted, "IN_FLIGHT_FULL"),
        "{refused:?}"
    );
    assert!(
        asked.elapsed() >= Duration::from_secs(4),
        "held back at first"
    );
    use tonic_types::StatusExt;
    let details = refused.get_error_details();
    let quota = details.quota_failure().expect("whose");
    assert_eq!(quota.violations[0].subject, "limits.in_flight_bytes");
    assert!(details.retry_info().is_some());
    // What is small still passes.
    let small = client.publish(publish(message("all/a", "", "x"))).await;
    small.expect("room");
    held.into_iter().for_each(|held| held.abort());
}

/// Small messages get longer by being compressed: a stream of them must not eat the room of all.
#[tokio::test]
async fn a_long_stream_of_compressed_messages_gives_back_its_room() {
    use tonic::codec::CompressionEncoding::Gzip;
    let settings = SETTINGS.replace("[limits]", "[limits]\nin_flight_bytes = \"128KiB\"");
    let mut gateway = Gateway::new(&program(), &settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let client = connect(gateway.grpc).await;
    let mut client = client.send_compressed(Gzip);
    let mut stream = crate::support::grpc::Stream::open(&mut client).await;
    // 20 bytes each would be lost: more than there are.
    for sequence in 0..8_000 {
        stream.send(sequence, false, message("all/a", "", "")).await;
        let (answered, receipt) = stream.next().await;
        assert_eq!(answered, sequence);
        receipt.unwrap_or_else(|why| panic!("{sequence}: {why:?}"));
    }
}
