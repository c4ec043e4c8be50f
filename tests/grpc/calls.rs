//! Publish, PublishBatch and GetMessage: what becomes of a message, and how it is told.

use super::started;
use crate::support::grpc::v1::DeliveryState::{Delivered, Stored};
use crate::support::grpc::{Client, Why, by_id, connect, message, publish, result, v1, why};
use std::time::{Duration, Instant, SystemTime};
use tonic::{Code, Request};

async fn publish_one(client: &mut Client, message: v1::Message) -> Result<v1::Receipt, Why> {
    let answer = client.publish(publish(message)).await;
    let answer = answer.map_err(|status| why(&status))?.into_inner();
    Ok(answer.receipt.expect("a receipt"))
}

async fn look_up(client: &mut Client, id: &str, topic: &str) -> v1::Receipt {
    let found = client.get_message(by_id(id, topic)).await;
    let found = found.unwrap_or_else(|status| panic!("{id}: {status:?}"));
    found.into_inner().receipt.expect("a receipt")
}

/// The whole of the stream, as far as it goes now.
async fn inbox(client: &mut Client, limit: u64) -> Vec<v1::StreamMessage> {
    let request = v1::SubscribeRequest {
        stream: "inbox".to_owned(),
        from: None,
        limit,
    };
    let pages = client.subscribe(request).await;
    let mut pages = pages.unwrap_or_else(|s| panic!("{s:?}")).into_inner();
    let mut all = Vec::new();
    while let Some(page) = pages.message().await.expect("a page") {
        all.extend(page.messages);
    }
    all
}

#[tokio::test]
async fn a_publish_ends_as_its_message_does() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let first = publish_one(&mut client, message("all/a", "one", "x")).await;
    let first = first.expect("taken");
    assert_eq!((first.id.as_str(), first.duplicate), ("one", false));
    assert_eq!(first.targets[0].destination, "inbox");
    assert_eq!(first.targets[0].route, "all");

    let again = publish_one(&mut client, message("all/a", "one", "x")).await;
    let again = again.expect("taken before");
    assert_eq!((again.position, again.duplicate), (first.position, true));

    let other = publish_one(&mut client, message("all/a", "one", "y")).await;
    let other = other.expect_err("another message");
    assert!(other.is(Code::AlreadyExists, "ID_CONFLICT"), "{other:?}");
    let position = first.position.expect("kept").to_string();
    assert_eq!(
        other.facts,
        [
            ("id".to_owned(), "one".to_owned()),
            ("position".to_owned(), position)
        ]
        .into()
    );

    let fresh = publish_one(&mut client, message("all/a", "", "x")).await;
    assert!(!fresh.expect("taken").id.is_empty(), "an id is made");

    let nowhere = publish_one(&mut client, message("else", "", "x")).await;
    let nowhere = nowhere.expect_err("no route");
    assert!(nowhere.is(Code::NotFound, "NO_ROUTE"), "{nowhere:?}");
    let refused = publish_one(&mut client, message("refused", "", "no JSON")).await;
    let refused = refused.expect_err("its expression fails");
    assert!(refused.is(Code::FailedPrecondition, "ROUTE_REFUSED"));
    assert_eq!(refused.facts["route"], "refused");

    let sure = publish_one(&mut client, message("sure/taken", "", "x")).await;
    assert_eq!(sure.expect("delivered").state(), Delivered);
    let picky = publish_one(&mut client, message("sure/picky", "p", "x")).await;
    let picky = picky.expect_err("rejected there");
    assert!(picky.is(Code::FailedPrecondition, "DEAD_LETTERED"));
    assert_eq!(picky.facts["state"], "dead_lettered");
    assert_eq!(picky.facts["id"], "p");
    let short = publish_one(&mut client, message("sure/short", "s", "x")).await;
    let short = short.expect_err("nobody answers there");
    assert!(short.is(Code::DeadlineExceeded, "OUTCOME_PENDING"));
    assert_eq!(short.facts["state"], "stored");
    assert_eq!(
        look_up(&mut client, "s", "sure/short").await.state(),
        Stored
    );
    let mut late = message("sure/taken", "late", "x");
    late.ttl = Some(prost_types::Duration::default());
    let late = publish_one(&mut client, late).await;
    let late = late.expect_err("worthless when it came");
    assert!(late.is(Code::FailedPrecondition, "DISCARDED"), "{late:?}");

    let unknown = client.get_message(by_id("who", "all/a")).await;
    let unknown = why(&unknown.expect_err("nobody"));
    assert!(unknown.is(Code::NotFound, "UNKNOWN_MESSAGE"), "{unknown:?}");
    let at = v1::GetMessageRequest {
        position: first.position,
        ..v1::GetMessageRequest::default()
    };
    let at = client.get_message(at).await.expect("it is there");
    assert_eq!(at.into_inner().receipt.expect("a receipt").id, "one");
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let header = |name: &str, value: &'static [u8]| v1::Header {
        name: name.to_owned(),
        value: value.into(),
    };
    let full = v1::Message {
        key: b"\xff\x00key"[..].into(),
        content_type: "image/png".to_owned(),
        headers: vec![
            header("X-Raw", b"\xff\xfe\0"),
            header("twice", b"1"),
            header("twice", b""),
        ],
        ..message("all/full", "full", "payload")
    };
    let empty = message("all/empty", "empty", "");
    let tombstone = v1::Message {
        payload: None,
        ..message("all/none", "none", "")
    };
    for message in [full, empty, tombstone] {
        publish_one(&mut client, message).await.expect("taken");
    }
    let got = inbox(&mut client, 3).await;
    assert_eq!(got[0].key, &b"\xff\x00key"[..]);
    assert_eq!(got[0].content_type, "image/png");
    assert_eq!(got[0].payload.as_deref(), Some(&b"payload"[..]));
    let headers = got[0]
        .headers
        .iter()
        .map(|h| (h.name.as_str(), &h.value[..]));
    let headers: Vec<_> = headers
        .filter(|(name, _)| !name.starts_with("causeway"))
        .collect();
    let expected = [
        ("x-raw", &b"\xff\xfe\0"[..]),
        ("twice", b"1"),
        ("twice", b""),
    ];
    assert_eq!(headers, expected);
    let time = SystemTime::try_from(got[0].time.expect("a time")).expect("after 1970");
    assert!(
        time.elapsed()
            .is_ok_and(|ago| ago < Duration::from_secs(60))
    );
    assert_eq!(got[1].payload.as_deref(), Some(&b""[..]));
    assert_eq!(got[2].payload, None);
}

#[tokio::test]
async fn a_message_waits_for_its_time() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let delayed = v1::Message {
        delay: Some(prost_types::Duration {
            seconds: 0,
            nanos: 300_000_000,
        }),
        priority: Some(255),
        ..message("sure/taken", "delayed", "x")
    };
    let asked = Instant::now();
    publish_one(&mut client, delayed).await.expect("delivered");
    assert!(asked.elapsed() >= Duration::from_millis(290), "too early");
    let past = v1::Message {
        deliver_at: Some(prost_types::Timestamp {
            seconds: 1,
            nanos: 0,
        }),
        ..message("sure/taken", "past", "x")
    };
    publish_one(&mut client, past).await.expect("delivered");
}

#[tokio::test]
async fn a_batch_answers_each_message_and_keeps_the_order_of_keys() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let keyed = |key: &'static str, topic: &str, id: &str| v1::Message {
        key: key.into(),
        ..message(topic, id, "x")
    };
    let messages = vec![
        keyed("a", "all/1", "1"),
        keyed("b", "nowhere", "2"),
        keyed("b", "all/3", "3"),
        keyed("a", "all/4", "4"),
        keyed("a", "all/1", "1"),
        keyed("", "", "6"),
        keyed("", "all/7", "7"),
    ];
    let request = v1::PublishBatchRequest { messages };
    let answer = client.publish_batch(request).await.expect("answered");
    let results = answer.into_inner().results.into_iter();
    let results: Vec<_> = results.map(|r| result(Some(r))).collect();
    assert_eq!(results.len(), 7);
    let position = |i: usize| results[i].as_ref().expect("taken").position;
    assert!(position(0) < position(3) && position(3) < position(6));
    assert!(results[4].as_ref().is_ok_and(|r| r.duplicate));
    let refused = |i: usize| results[i].as_ref().expect_err("refused").clone();
    assert!(refused(1).is(Code::NotFound, "NO_ROUTE"), "{results:?}");
    assert!(refused(2).is(Code::Aborted, "EARLIER_REFUSED"));
    assert!(refused(5).is(Code::InvalidArgument, "MALFORMED"));

    let empty = client
        .publish_batch(v1::PublishBatchRequest::default())
        .await;
    let empty = why(&empty.expect_err("nothing in it"));
    assert!(empty.is(Code::InvalidArgument, "MALFORMED"), "{empty:?}");
}

/// Waits for deliveries run beside each other: were they added up, these would take a minute.
#[tokio::test]
async fn a_batch_waits_for_all_deliveries_at_once() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let ids: Vec<String> = (0..60).map(|i| i.to_string()).collect();
    let messages = ids.iter().map(|id| message("sure/second", id, "x"));
    let request = v1::PublishBatchRequest {
        messages: messages.collect(),
    };
    let started = Instant::now();
    let answer = client.publish_batch(request).await.expect("answered");
    assert!(started.elapsed() < Duration::from_secs(20));
    for ended in answer.into_inner().results {
        let pending = result(Some(ended)).expect_err("nothing is delivered");
        assert!(pending.is(Code::DeadlineExceeded, "OUTCOME_PENDING"));
    }
}

#[tokio::test]
async fn events_of_one_key_keep_their_order_in_a_batch() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let header = |name: &str, value: &str| v1::Header {
        name: name.to_owned(),
        value: value.to_owned().into(),
    };
    let event = |id: &str, payload: &'static str| v1::Message {
        headers: vec![
            header("ce-specversion", "1.0"),
            header("ce-id", id),
            header("ce-source", "/here"),
            header("ce-type", "t"),
            header("ce-partitionkey", "k"),
        ],
        ..message("all/e", "", payload)
    };
    let first = publish_one(&mut client, event("1", "x")).await;
    assert_eq!(first.expect("taken").id, "/here 1");
    let request = v1::PublishBatchRequest {
        messages: vec![event("1", "y"), event("2", "x")],
    };
    let answer = client.publish_batch(request).await.expect("answered");
    let mut results = answer.into_inner().results.into_iter();
    let conflict = result(results.next()).expect_err("another event under its id");
    assert!(
        conflict.is(Code::AlreadyExists, "ID_CONFLICT"),
        "{conflict:?}"
    );
    let behind = result(results.next()).expect_err("behind it");
    assert!(behind.is(Code::Aborted, "EARLIER_REFUSED"), "{behind:?}");
}

#[tokio::test]
async fn what_is_wrong_is_told_in_a_text_that_fits_into_headers() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let event = v1::Message {
        content_type: "application/cloudevents+json".to_owned(),
        ..message("all/e", "", &format!("\"{}\"", "x".repeat(60_000)))
    };
    let refused = client.publish(publish(event)).await.expect_err("no event");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().len() < 2_000,
        "{}",
        refused.message().len()
    );
}

fn limit<T>(request: &mut Request<T>) {
    request.set_timeout(Duration::from_millis(150));
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_not_the_message() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    let mut request = Request::new(publish(message("sure/hung/1", "h", "x")));
    limit(&mut request);
    let over = client.publish(request).await.expect_err("nobody answers");
    // Whoever is first: the library watches the time, too.
    let codes = [Code::DeadlineExceeded, Code::Cancelled];
    assert!(codes.contains(&over.code()), "{over:?}");
    assert_eq!(
        look_up(&mut client, "h", "sure/hung/1").await.state(),
        Stored
    );
    let again = publish(message("sure/hung/1", "h", "x"));
    let mut again = Request::new(again);
    limit(&mut again);
    // A duplicate waits for the same outcome.
    assert!(client.publish(again).await.is_err());
    let mut unclear = Request::new(publish(message("all/a", "", "x")));
    let timeout = "soon".parse().expect("ASCII");
    unclear.metadata_mut().insert("grpc-timeout", timeout);
    let unclear = why(&client.publish(unclear).await.expect_err("not a time"));
    assert!(
        unclear.is(Code::InvalidArgument, "MALFORMED"),
        "{unclear:?}"
    );
}

#[tokio::test]
async fn both_codings_both_ways() {
    use tonic::codec::CompressionEncoding::{Gzip, Zstd};
    let gateway = started();
    let text = "a text that repeats ".repeat(1_000);
    for (number, (to, back)) in [(Gzip, Zstd), (Zstd, Gzip)].into_iter().enumerate() {
        let client = connect(gateway.grpc).await;
        let mut client = client.send_compressed(to).accept_compressed(back);
        let id = format!("{to}");
        let request = Request::new(publish(message("all/coded", &id, &text)));
        let answer = client.publish(request).await.expect("taken");
        let coding = answer.metadata().get("grpc-encoding");
        assert_eq!(
            coding.and_then(|c| c.to_str().ok()),
            Some(format!("{back}").as_str())
        );
        assert_eq!(answer.into_inner().receipt.expect("a receipt").id, id);
        let got = inbox(&mut client, number as u64 + 1).await;
        assert_eq!(got[number].payload.as_deref(), Some(text.as_bytes()));
    }
}
