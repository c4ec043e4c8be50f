//! PublishStream: what is answered when, and in which order.

use super::started;
use crate::support::grpc::v1::DeliveryState::Stored;
use crate::support::grpc::{self, PATIENCE, Stream, Why, by_id, connect, message, v1};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Code;

/// More than fit into any window, so that both directions are under way together.
const MANY: u64 = 5_000;

#[tokio::test]
async fn each_message_is_answered_once() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let mut stream = Stream::open(&mut client).await;
    let requests = stream.requests.clone();
    let send = async move {
        for sequence in 0..MANY {
            let message = message("all/many", &format!("m{sequence}"), "x");
            let request = crate::support::grpc::v1::PublishStreamRequest {
                sequence,
                message: Some(message),
                ordered: false,
            };
            requests.send(request).await.expect("it is open");
        }
    };
    drop(std::mem::replace(
        &mut stream.requests,
        tokio::sync::mpsc::channel(1).0,
    ));
    let mut seen = vec![false; MANY as usize];
    let receive = async {
        while let Some((sequence, answer)) = stream.next_or_end().await.expect("OK at the end") {
            let receipt = answer.expect("taken");
            assert_eq!(receipt.id, format!("m{sequence}"));
            let seen = &mut seen[usize::try_from(sequence).expect("ours")];
            assert!(!std::mem::replace(seen, true), "{sequence} twice");
        }
    };
    tokio::join!(send, receive);
    assert!(seen.into_iter().all(|seen| seen));
}

#[tokio::test]
async fn one_that_waits_holds_nobody_back() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let mut stream = Stream::open(&mut client).await;
    stream
        .send(1, false, message("sure/hung/1", "h", "x"))
        .await;
    for sequence in 2..10 {
        let id = sequence.to_string();
        stream
            .send(sequence, false, message("all/a", &id, "x"))
            .await;
        let (answered, receipt) = stream.next().await;
        assert_eq!(answered, sequence);
        assert_eq!(receipt.expect("taken").id, id);
    }
    stream.send(10, false, message("nowhere", "", "x")).await;
    let (answered, refusal) = stream.next().await;
    assert_eq!(answered, 10);
    assert!(
        refusal
            .expect_err("no route")
            .is(Code::NotFound, "NO_ROUTE")
    );
    stream.send(11, false, message("all/a", "11", "x")).await;
    assert!(stream.next().await.1.is_ok(), "a refusal ends nothing");

    // Taken back half way: what was handed over is stored.
    drop(stream);
    let found = client.get_message(by_id("h", "sure/hung/1")).await;
    let found = found.expect("stored").into_inner().receipt;
    assert_eq!(found.expect("a receipt").state(), Stored);
}

#[tokio::test]
async fn an_ordered_stream_answers_in_order_and_takes_nothing_behind_a_refusal() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let mut stream = Stream::open(&mut client).await;
    // The one that is answered last comes first.
    stream.send(7, true, message("sure/short", "s", "x")).await;
    stream.send(3, true, message("all/a", "a", "x")).await;
    stream.send(9, true, message("nowhere", "n", "x")).await;
    stream.send(1, false, message("all/a", "b", "x")).await;
    let (sequence, pending) = stream.next().await;
    assert_eq!(sequence, 7);
    assert!(pending.is_err_and(|why| why.is(Code::DeadlineExceeded, "OUTCOME_PENDING")));
    let (sequence, taken) = stream.next().await;
    assert_eq!((sequence, taken.expect("taken").id), (3, "a".to_owned()));
    let (sequence, refused) = stream.next().await;
    assert_eq!(sequence, 9);
    assert!(refused.is_err_and(|why| why.is(Code::NotFound, "NO_ROUTE")));
    let (sequence, behind) = stream.next().await;
    assert_eq!(sequence, 1);
    assert!(behind.is_err_and(|why| why.is(Code::Aborted, "EARLIER_REFUSED")));
    let found = client.get_message(by_id("b", "all/a")).await;
    assert_eq!(found.expect_err("not taken").code(), Code::NotFound);
}

/// All of it comes in one piece: what is before the broken one is no part of what it breaks.
#[tokio::test]
async fn what_breaks_in_the_middle_takes_nothing_with_it_that_was_before() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let request = |sequence, ordered, message| v1::PublishStreamRequest {
        sequence,
        message,
        ordered,
    };
    let sent = |id| Some(message("all/a", id, "x"));
    let requests = futures_util::stream::iter([
        request(1, true, sent("1")),
        request(2, false, sent("2")),
        request(3, false, None),
        request(4, false, sent("4")),
    ]);
    let answers = client.publish_stream(requests).await.expect("it is open");
    let mut answers = answers.into_inner();
    let mut heard = Vec::new();
    while let Some(answer) = answers.message().await.expect("it goes on") {
        heard.push((answer.sequence, grpc::result(answer.result).err()));
    }
    let refused =
        |why: &Option<Why>, code, reason| why.as_ref().is_some_and(|w| w.is(code, reason));
    assert_eq!(heard.iter().map(|h| h.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((&heard[0].1, &heard[1].1), (&None, &None));
    assert!(
        refused(&heard[2].1, Code::InvalidArgument, "MALFORMED"),
        "{heard:?}"
    );
    assert!(
        refused(&heard[3].1, Code::Aborted, "EARLIER_REFUSED"),
        "{heard:?}"
    );
}

#[tokio::test]
async fn order_is_asked_for_at_first() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let mut stream = Stream::open(&mut client).await;
    stream.send(1, false, message("all/a", "1", "x")).await;
    stream.send(2, true, message("all/a", "2", "x")).await;
    for _ in 0..2 {
        match stream.next().await {
            (1, answer) => assert!(answer.is_ok(), "{answer:?}"),
            (_, answer) => {
                let why = answer.expect_err("too late");
                assert!(why.is(Code::InvalidArgument, "MALFORMED"), "{why:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_message_that_is_missing_or_too_large_is_refused() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let mut stream = Stream::open(&mut client).await;
    let none = crate::support::grpc::v1::PublishStreamRequest {
        sequence: 4,
        ..Default::default()
    };
    stream.requests.send(none).await.expect("open");
    let (sequence, missing) = stream.next().await;
    assert_eq!(sequence, 4);
    assert!(missing.is_err_and(|why| why.is(Code::InvalidArgument, "MALFORMED")));
    // Above the limit of the payload, and below that of what is read.
    let large = "x".repeat((64 << 10) + 1);
    stream.send(5, false, message("all/a", "5", &large)).await;
    let (_, large) = stream.next().await;
    let large = large.expect_err("too large");
    assert!(large.is(Code::InvalidArgument, "TOO_LARGE"), "{large:?}");
    assert_eq!(large.facts["setting"], "limits.payload");
    stream.send(6, false, message("all/a", "6", "x")).await;
    assert!(stream.next().await.1.is_ok());
    // What isn't read at all ends the stream, behind the answers of all that were.
    let huge = "x".repeat(1 << 20);
    stream.send(7, false, message("all/a", "7", &huge)).await;
    let status = stream.next_or_end().await.expect_err("the end");
    let why = crate::support::grpc::why(&status);
    assert!(why.is(Code::InvalidArgument, "TOO_LARGE"), "{why:?}");
}

#[tokio::test]
async fn a_reload_changes_the_routes_of_a_stream_that_is_open() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let mut stream = Stream::open(&mut client).await;
    stream.send(0, false, message("new/a", "0", "x")).await;
    let refused = stream.next().await.1.expect_err("no route yet");
    assert!(refused.is(Code::NotFound, "NO_ROUTE"), "{refused:?}");
    let new = "\n[[routes]]\nname = \"new\"\ntopic = \"new/#\"\nto = [\"inbox\"]\n";
    gateway.configure(&format!("{}{new}", super::SETTINGS));
    let reloaded = gateway.run(&["reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    stream.send(1, false, message("new/a", "1", "x")).await;
    assert_eq!(stream.next().await.1.expect("taken").id, "1");
}

/// A client that doesn't read its receipts isn't read from; the memory that it takes is bounded.
#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let mut stream = Stream::open(&mut client).await;
    let payload = "x".repeat(1 << 10);
    let mut sent = 0_u64;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request = crate::support::grpc::v1::PublishStreamRequest {
            sequence: sent,
            message: Some(message("all/full", &sent.to_string(), &payload)),
            ordered: false,
        };
        tokio::select! {
            sending = stream.requests.send(request) => sending.expect("open"),
            () = sleep(Duration::from_secs(1)) => break,
        }
        sent += 1;
        assert!(Instant::now() < deadline && sent < 200_000, "{sent} taken");
    }
    for _ in 0..sent {
        assert!(stream.next().await.1.is_ok());
    }
}
