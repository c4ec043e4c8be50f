//! gRPC as nobody should send it: refused in words, nothing published, and others served as before.

use super::started;
use crate::support::grpc::{Why, connect, message, publish, v1, why};
use crate::support::process::Gateway;
use crate::support::raw_grpc::{Answer, Raw, frame, framed, head, socket, until_closed};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code::{InvalidArgument, NotFound, Ok as Fine, PermissionDenied, Unimplemented};

fn refusal(answer: &Answer) -> Why {
    why(answer.status.as_ref().expect("a status"))
}

/// A message of someone else, all the time.
async fn others_are_served(gateway: &Gateway) {
    let mut client = connect(gateway.grpc).await;
    let answer = client.publish(publish(message("all/a", "", "x"))).await;
    answer.expect("others are served");
}

fn request(message: &v1::Message) -> Vec<u8> {
    publish(message.clone()).encode_to_vec()
}

#[tokio::test]
async fn messages_that_are_none_are_refused() {
    let gateway = started();
    let raw = Raw::connect(gateway.grpc).await;
    let good = request(&message("all/a", "good", "x"));
    // A topic of the bytes 0xff 0xfe.
    let no_text = b"\x0a\x04\x0a\x02\xff\xfe";
    let endless = b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let mut flagged = framed(false, &good);
    flagged[0] = 7;
    for (body, what) in [
        (framed(false, &good[..good.len() - 1]), "truncated"),
        (framed(false, no_text), "no UTF-8"),
        (framed(false, endless), "a length beyond the end"),
        (framed(false, b"\x0f\x01"), "no such wire type"),
        (framed(false, b""), "no message in it"),
        (framed(false, &good)[..9].to_vec(), "half a message"),
        (b"\0\0".to_vec(), "half a prefix"),
        (Vec::new(), "nothing"),
        (flagged, "a flag that isn't one"),
        (framed(true, &good), "compressed, without a coding"),
        (b"\0\xff\xff\xff\xff".to_vec(), "4 GiB are to come"),
    ] {
        for method in ["Publish", "PublishBatch", "PublishStream", "Subscribe"] {
            let answer = raw.call(method, &[], body.clone()).await;
            let status = answer.status.as_ref().expect("a status");
            // An empty stream is no fault, and some are requests of another kind.
            if method == "PublishStream" && body.is_empty() || method == "Subscribe" {
                assert!(
                    [Fine, InvalidArgument, NotFound].contains(&status.code()),
                    "{what}"
                );
                continue;
            }
            if method == "PublishStream" && answer.body.len() > 5 {
                // Its own refusal, and the stream went on.
                let answer = v1::PublishStreamResponse::decode(answer.body.slice(5..));
                let result = crate::support::grpc::result(answer.expect("one").result);
                assert_eq!(result.expect_err(what).code, InvalidArgument, "{what}");
                continue;
            }
            assert_eq!(answer.http, 200);
            if method == "PublishBatch" && status.code() == Fine {
                // The request is one, and what is in it isn't.
                let answer = v1::PublishBatchResponse::decode(answer.body.slice(5..));
                let results = answer.expect("results").results;
                for result in results
                    .into_iter()
                    .map(|r| crate::support::grpc::result(Some(r)))
                {
                    assert_eq!(result.expect_err(what).code, InvalidArgument, "{what}");
                }
                continue;
            }
            assert_eq!(
                status.code(),
                InvalidArgument,
                "{method}: {what}: {status:?}"
            );
            let reason = why(status).reason;
            let expected = if what.contains("GiB") {
                "TOO_LARGE"
            } else {
                "MALFORMED"
            };
            assert_eq!(reason, expected, "{method}: {what}: {status:?}");
        }
    }
    let mut client = connect(gateway.grpc).await;
    let found = client
        .get_message(crate::support::grpc::by_id("good", "all/a"))
        .await;
    assert_eq!(found.expect_err("never taken").code(), NotFound);

    // Fields of a later contract are passed over.
    let unknown = [&good[..], b"\xa2\x1f\x03abc\xa8\x1f\x05"].concat();
    let answer = raw.call("Publish", &[], framed(false, &unknown)).await;
    assert_eq!(answer.status.expect("a status").code(), Fine);
}

#[tokio::test]
async fn fields_that_cannot_be_are_named() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let good = || message("all/a", "", "x");
    let span = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let unnamed = v1::Header::default();
    let cases = [
        (
            "message.priority",
            v1::Message {
                priority: Some(256),
                ..good()
            },
        ),
        (
            "message.delay",
            v1::Message {
                delay: span(-1, 0),
                ..good()
            },
        ),
        (
            "message.delay",
            v1::Message {
                delay: span(i64::MAX, 0),
                ..good()
            },
        ),
        (
            "message.ttl",
            v1::Message {
                ttl: span(0, -1),
                ..good()
            },
        ),
        (
            "message.delay",
            v1::Message {
                delay: span(1, 0),
                deliver_at: at(1, 0),
                ..good()
            },
        ),
        (
            "message.deliver_at",
            v1::Message {
                deliver_at: at(i64::MAX, 0),
                ..good()
            },
        ),
        (
            "message.deliver_at",
            v1::Message {
                deliver_at: at(1, i32::MAX),
                ..good()
            },
        ),
        (
            "message.headers[0].name",
            v1::Message {
                headers: vec![unnamed],
                ..good()
            },
        ),
    ];
    for (field, message) in cases {
        use tonic_types::StatusExt;
        let status = client.publish(publish(message)).await.expect_err(field);
        assert!(
            why(&status).is(InvalidArgument, "MALFORMED"),
            "{field}: {status:?}"
        );
        let bad = status.get_error_details().bad_request().cloned();
        assert_eq!(bad.expect("names it").field_violations[0].field, field);
    }
    let header = |i: usize| v1::Header {
        name: format!("h{i}"),
        value: "x".into(),
    };
    let many = v1::Message {
        headers: (0..65).map(header).collect(),
        ..good()
    };
    let status = client.publish(publish(many)).await.expect_err("too many");
    assert!(why(&status).is(InvalidArgument, "TOO_MANY"), "{status:?}");
    for topic in ["", "a//b", "/a", "$door/a"] {
        let status = client.publish(publish(message(topic, "", "x"))).await;
        assert_eq!(
            status.expect_err(topic).code(),
            InvalidArgument,
            "{topic:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_call_is_told_so() {
    let gateway = started();
    let raw = Raw::connect(gateway.grpc).await;
    let uri = "http://localhost/causeway.v1.Gateway/Publish";
    assert_eq!(raw.ask("GET", uri, &[], Vec::new()).await.http, 405);
    for kind in ["application/json", "application/grpcx", "text/plain"] {
        let answer = raw
            .call("Publish", &[("content-type", kind)], Vec::new())
            .await;
        assert_eq!(answer.http, 415, "{kind}");
    }
    let good = framed(false, &request(&message("all/a", "", "x")));
    let proto = [("content-type", "application/grpc+proto")];
    let answer = raw.call("Publish", &proto, good.clone()).await;
    assert_eq!(answer.status.expect("a status").code(), Fine);

    let unknown = raw.call("Nothing", &[], good.clone()).await;
    assert!(refusal(&unknown).is(Unimplemented, "UNKNOWN_METHOD"));
    let foreign = "http://evil.example/causeway.v1.Gateway/Publish";
    let foreign = raw.ask("POST", foreign, &[], good.clone()).await;
    assert!(refusal(&foreign).is(PermissionDenied, "FOREIGN_HOST"));
    let origin = [("origin", "http://evil.example")];
    let foreign = raw.call("Publish", &origin, good.clone()).await;
    assert!(refusal(&foreign).is(PermissionDenied, "FOREIGN_ORIGIN"));

    let coded = [("grpc-encoding", "br")];
    for method in [
        "Publish",
        "PublishBatch",
        "PublishStream",
        "Subscribe",
        "GetMessage",
    ] {
        let answer = raw.call(method, &coded, good.clone()).await;
        let accepted = answer.headers.get("grpc-accept-encoding");
        let accepted = accepted.and_then(|a| a.to_str().ok()).unwrap_or_default();
        assert!(
            accepted.contains("gzip") && accepted.contains("zstd"),
            "{method}: {accepted}"
        );
        assert!(
            refusal(&answer).is(Unimplemented, "CONTENT_ENCODING"),
            "{method}"
        );
    }
    let many: Vec<_> = (0..101).map(|_| ("x", "y")).collect();
    let answer = raw.call("Publish", &many, good.clone()).await;
    let too_many = refusal(&answer);
    assert!(
        too_many.is(InvalidArgument, "HEAD_TOO_LARGE"),
        "{too_many:?}"
    );
    assert_eq!(too_many.facts["limit"], "100");

    let mut http1 = TcpStream::connect(gateway.grpc).await.expect("there");
    let get = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    http1.write_all(get).await.expect("taken");
    let mut got = String::new();
    http1.read_to_string(&mut got).await.expect("an answer");
    assert!(got.starts_with("HTTP/1.1 505 "), "{got}");
}

/// Calls of one connection beyond those that are served at one time: refused or the connection
/// closed, and others don't notice.
#[tokio::test]
async fn ten_thousand_calls_of_a_connection_hold_nobody_up() {
    let gateway = started();
    let mut socket = socket(gateway.grpc).await;
    let block = head("/causeway.v1.Gateway/PublishStream");
    let mut flood = Vec::new();
    for i in 0..10_000_u32 {
        // Its body never comes.
        flood.extend_from_slice(&frame(1, 0x4, 2 * i + 1, &block));
    }
    let (mut read, mut write) = socket.split();
    let mut buffer = vec![0; 64 << 10];
    let mut got = Vec::new();
    let reading = async {
        // RST_STREAM with REFUSED_STREAM, or GOAWAY.
        let refused = frame(3, 0, 0, &7_u32.to_be_bytes());
        loop {
            let count = read.read(&mut buffer).await.unwrap_or_default();
            got.extend_from_slice(&buffer[..count]);
            let is_refused = got
                .windows(13)
                .any(|w| w[..5] == refused[..5] && w[9..] == refused[9..]);
            if count == 0 || is_refused {
                return;
            }
        }
    };
    let _ = tokio::join!(write.write_all(&flood), reading);
    others_are_served(&gateway).await;
    let open = raw_calls_open(&gateway);
    assert!(open <= 256, "{open} files are open");
}

/// Sockets and files: what a flood may not add to.
fn raw_calls_open(gateway: &Gateway) -> usize {
    let pid = gateway.pid().expect("it runs");
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
    files.expect("Linux").count()
}

#[tokio::test]
async fn calls_that_are_taken_back_at_once_end_the_connection() {
    let gateway = started();
    let block = head("/causeway.v1.Gateway/Publish");
    let mut flood = Vec::new();
    for i in 0..2_000_u32 {
        flood.extend_from_slice(&frame(1, 0x4 | 0x1, 2 * i + 1, &block));
        flood.extend_from_slice(&frame(3, 0, 2 * i + 1, &8_u32.to_be_bytes()));
    }
    let got = until_closed(socket(gateway.grpc).await, &flood).await;
    // The last frame says why: enhance your calm (RFC 9113, 7).
    let is_calmed = got.windows(4).any(|w| w == 11_u32.to_be_bytes());
    assert!(is_calmed || got.is_empty(), "{got:?}");
    others_are_served(&gateway).await;
}

#[tokio::test]
async fn a_head_without_an_end_ends_the_connection() {
    let gateway = started();
    let block = head("/causeway.v1.Gateway/Publish");
    let mut flood = frame(1, 0, 1, &block);
    let more = [&[0x00, 1, b'x', 0x7f, 0x81, 0x7e][..], &[b'y'; 16_256]].concat();
    for _ in 0..1_000 {
        flood.extend_from_slice(&frame(9, 0, 1, &more));
    }
    until_closed(socket(gateway.grpc).await, &flood).await;
    others_are_served(&gateway).await;
}

#[tokio::test]
async fn a_frame_of_sixteen_megabytes_ends_the_connection() {
    let gateway = started();
    let block = head("/causeway.v1.Gateway/Publish");
    let mut flood = frame(1, 0x4, 1, &block);
    flood.extend_from_slice(&frame(0, 0, 1, &vec![0; (16 << 20) - 1]));
    until_closed(socket(gateway.grpc).await, &flood).await;
    others_are_served(&gateway).await;
}
