//! Subscribe: from where, how far, and what a reader is told when it can't go on.

use super::started;
use crate::support::grpc::v1::subscribe_request::From;
use crate::support::grpc::{Client, PATIENCE, connect, message, v1, why};
use crate::support::process::{Gateway, program};
use std::collections::VecDeque;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

struct Reader {
    pages: Streaming<v1::SubscribeResponse>,
    ready: VecDeque<v1::StreamMessage>,
    next: u64,
}

impl Reader {
    async fn open(client: &mut Client, from: Option<From>, limit: u64) -> Result<Self, Status> {
        let request = v1::SubscribeRequest {
            stream: "inbox".to_owned(),
            from,
            limit,
        };
        let pages = client.subscribe(request).await?.into_inner();
        Ok(Self {
            pages,
            ready: VecDeque::new(),
            next: 0,
        })
    }

    async fn next(&mut self) -> Result<Option<v1::StreamMessage>, Status> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            let page = timeout(PATIENCE, self.pages.message()).await;
            let Some(page) = page.expect("in time")? else {
                return Ok(None);
            };
            self.next = page.next;
            self.ready.extend(page.messages);
        }
    }

    async fn offsets(&mut self, count: usize) -> Vec<u64> {
        let mut offsets = Vec::new();
        while offsets.len() < count {
            let next = self.next().await.expect("a record");
            offsets.push(next.expect("a record").offset);
        }
        offsets
    }
}

async fn publish_many(client: &mut Client, count: u64, payload: &str) {
    let messages = (0..count).map(|_| message("all/a", "", payload)).collect();
    let request = v1::PublishBatchRequest { messages };
    let answer = client.publish_batch(request).await.expect("answered");
    for result in answer.into_inner().results {
        crate::support::grpc::result(Some(result)).expect("taken");
    }
}

#[tokio::test]
async fn a_stream_is_read_from_where_it_is_asked_for() {
    let gateway = started();
    let mut client = connect(gateway.grpc).await;
    publish_many(&mut client, 10, "x").await;
    let mut all = Reader::open(&mut client, None, 10).await.expect("there");
    assert_eq!(all.offsets(10).await, Vec::from_iter(0..10));
    assert_eq!(all.next().await.expect("OK").map(|m| m.offset), None);
    assert_eq!(all.next, 10);
    let mut some = Reader::open(&mut client, Some(From::Offset(4)), 3).await;
    let some = some.as_mut().expect("there");
    assert_eq!(some.offsets(3).await, [4, 5, 6]);
    assert!(some.next().await.expect("OK").is_none());
    let latest = Some(From::Start(v1::Start::Latest.into()));
    let mut latest = Reader::open(&mut client, latest, 0).await.expect("there");
    let mut ahead = Reader::open(&mut client, Some(From::Offset(12)), 0).await;
    // Its first answer says where it is.
    let page = latest
        .pages
        .message()
        .await
        .expect("a page")
        .expect("a page");
    assert_eq!((page.messages.len(), page.next), (0, 10));
    publish_many(&mut client, 5, "x").await;
    assert_eq!(latest.offsets(5).await, [10, 11, 12, 13, 14]);
    assert_eq!(
        ahead.as_mut().expect("there").offsets(3).await,
        [12, 13, 14]
    );

    let unknown = v1::SubscribeRequest {
        stream: "outbox".to_owned(),
        ..Default::default()
    };
    let unknown = why(&client.subscribe(unknown).await.expect_err("unknown"));
    assert!(unknown.is(Code::NotFound, "UNKNOWN_STREAM"), "{unknown:?}");
    let start = Reader::open(&mut client, Some(From::Start(9)), 0).await;
    let start = why(&start.err().expect("no such start"));
    assert!(start.is(Code::InvalidArgument, "MALFORMED"), "{start:?}");
}

/// One that doesn't read holds nobody, sees no hole, and is told what is left when it comes too late.
#[tokio::test]
async fn what_is_no_longer_kept_is_never_skipped() {
    let settings = super::SETTINGS.replace(
        "type = \"stream\"",
        "type = \"stream\"\nretention = { max_bytes = \"4MiB\" }",
    );
    let mut gateway = Gateway::new(&program(), &settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let mut client = connect(gateway.grpc).await;
    publish_many(&mut client, 1, "x").await;
    let mut slow = connect(gateway.grpc).await;
    let mut slow = Reader::open(&mut slow, None, 0).await.expect("there");
    let payload = "x".repeat(60 << 10);
    let gone = loop {
        publish_many(&mut client, 60, &payload).await;
        if let Err(status) = Reader::open(&mut client, Some(From::Offset(200)), 1).await {
            break why(&status);
        }
    };
    assert!(gone.is(Code::OutOfRange, "OFFSET_GONE"), "{gone:?}");
    let earliest: u64 = gone.facts["earliest"].parse().expect("a number");
    let mut seen = 0;
    let end = loop {
        match slow.next().await {
            Ok(message) => assert_eq!(message.expect("no end").offset, seen),
            Err(status) => break why(&status),
        }
        seen += 1;
    };
    assert!(end.is(Code::OutOfRange, "OFFSET_GONE"), "{end:?}");
    assert!(seen < earliest, "{seen} of {earliest} were buffered");
    let mut again = Reader::open(&mut client, Some(From::Offset(earliest)), 1).await;
    let again = again.as_mut().expect("kept");
    assert_eq!(again.offsets(1).await, [earliest]);
}
