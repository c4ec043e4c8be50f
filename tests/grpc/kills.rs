//! Subscribe across kills: what a reader saw is what stands there in the end.

use super::SETTINGS;
use crate::support::grpc::v1::subscribe_request::From;
use crate::support::grpc::{PATIENCE, connect, endpoint, message, v1};
use crate::support::process::{Gateway, program};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const KILLS: u64 = 10;
/// Records that a reader sees between two kills.
const BETWEEN: u64 = 60;

/// Publishes until `stop`, under fresh ids; nobody cares which of them are taken.
async fn publish(address: SocketAddr, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(channel) = endpoint(address).connect().await else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut client = crate::support::grpc::Client::new(channel);
        let messages = || (0..8).map(|_| message("all/a", "", "x")).collect();
        loop {
            let batch = v1::PublishBatchRequest {
                messages: messages(),
            };
            if stop.load(Ordering::Relaxed) || client.publish_batch(batch).await.is_err() {
                break;
            }
        }
    }
}

/// Each record that comes, from call to call, until there are so many as `until` says.
async fn read(
    address: SocketAddr,
    seen: Arc<AtomicU64>,
    until: Arc<AtomicU64>,
) -> (Vec<(u64, String)>, u64) {
    let (mut records, mut calls) = (Vec::new(), 0);
    let mut next = 0;
    while next < until.load(Ordering::SeqCst) {
        let Ok(channel) = endpoint(address).connect().await else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        let request = v1::SubscribeRequest {
            stream: "inbox".to_owned(),
            from: Some(From::Offset(next)),
            limit: 0,
        };
        let Ok(pages) = crate::support::grpc::Client::new(channel)
            .subscribe(request)
            .await
        else {
            continue;
        };
        calls += 1;
        let mut pages = pages.into_inner();
        while next < until.load(Ordering::SeqCst)
            && let Ok(Some(page)) = pages.message().await
        {
            records.extend(page.messages.into_iter().map(|m| (m.offset, m.id)));
            next = page.next;
            seen.store(next, Ordering::SeqCst);
        }
    }
    (records, calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscribe_client_that_resumes_across_ten_kills_sees_each_offset_once() {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, until) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(u64::MAX)),
    );
    let publishing = tokio::spawn(publish(gateway.grpc, Arc::clone(&stop)));
    let reading = tokio::spawn(read(gateway.grpc, Arc::clone(&seen), Arc::clone(&until)));
    for _ in 0..KILLS {
        let from = seen.load(Ordering::SeqCst);
        let goes_on = async {
            while seen.load(Ordering::SeqCst) < from + BETWEEN {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, goes_on).await.expect("it is read");
        gateway = tokio::task::spawn_blocking(move || {
            gateway.kill();
            gateway.start().unwrap_or_else(|why| panic!("{why}"));
            gateway
        })
        .await
        .expect("it starts again");
    }
    stop.store(true, Ordering::Relaxed);
    publishing.await.expect("no panic");
    let last = message("sure/taken", "last", "x");
    let mut client = connect(gateway.grpc).await;
    let last = client.publish(crate::support::grpc::publish(last)).await;
    last.expect("delivered");
    // All that stands there in the end, read at once.
    let latest = v1::SubscribeRequest {
        stream: "inbox".to_owned(),
        from: Some(From::Start(v1::Start::Latest.into())),
        limit: 0,
    };
    let mut latest = client.subscribe(latest).await.expect("there").into_inner();
    let end = latest
        .message()
        .await
        .expect("a page")
        .expect("a page")
        .next;
    until.store(end, Ordering::SeqCst);
    // It may have them all, and wait for more.
    let more = crate::support::grpc::publish(message("all/a", "more", "x"));
    client.publish(more).await.expect("taken");
    let (mut records, calls) = timeout(PATIENCE, reading)
        .await
        .expect("in time")
        .expect("no panic");
    records.truncate(usize::try_from(end).expect("not so many"));
    let whole = v1::SubscribeRequest {
        stream: "inbox".to_owned(),
        from: None,
        limit: end,
    };
    let mut whole = client.subscribe(whole).await.expect("there").into_inner();
    let mut stands = Vec::new();
    while let Some(page) = whole.message().await.expect("a page") {
        stands.extend(page.messages.into_iter().map(|m| (m.offset, m.id)));
    }
    assert!(calls > KILLS, "{calls} calls for {KILLS} kills");
    let offsets: Vec<u64> = records.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, Vec::from_iter(0..end));
    assert_eq!(records, stands);
    assert_eq!(stands.last().map(|(_, id)| id.as_str()), Some("last"));
}
