//! How calls end when the gateway does, or the client.

use super::{SETTINGS, started};
use crate::support::grpc::{PATIENCE, Stream, by_id, connect, endpoint, message, v1, why};
use crate::support::process::{Gateway, program};
use rustix::process::Signal;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// At the end each message of a stream was answered, or its client told that the gateway stops; what was
/// answered is there after the next start, and what was told so may be sent again.
#[tokio::test]
async fn a_stop_leaves_nobody_without_an_answer() {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.variable("CAUSEWAY__GATEWAY__DRAIN_TIMEOUT", "1s");
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let mut client = connect(gateway.grpc).await;
    let mut stream = Stream::open(&mut client).await;
    let requests = stream.requests.clone();
    let send = tokio::spawn(async move {
        for sequence in 0.. {
            let topic = match sequence % 50 {
                49 => "sure/hung/1",
                _ => "all/a",
            };
            let request = v1::PublishStreamRequest {
                sequence,
                message: Some(message(topic, &format!("m{sequence}"), "x")),
                ordered: false,
            };
            if requests.send(request).await.is_err() {
                return;
            }
        }
    });
    let mut subscribed = client
        .subscribe(v1::SubscribeRequest {
            stream: "inbox".to_owned(),
            ..Default::default()
        })
        .await
        .expect("a stream")
        .into_inner();
    let mut answered = HashSet::new();
    let end = loop {
        match stream.next_or_end().await {
            Ok(Some((sequence, Ok(_)))) => assert!(answered.insert(sequence), "{sequence} twice"),
            Ok(Some((sequence, Err(why)))) => {
                let pending = why.is(Code::DeadlineExceeded, "OUTCOME_PENDING");
                assert!(
                    pending || why.code == Code::Unavailable,
                    "{sequence}: {why:?}"
                );
            }
            Ok(None) => panic!("an end without a status"),
            Err(status) => break status,
        }
        if answered.len() == 500 {
            gateway.signal(Signal::TERM);
        }
    };
    assert!(why(&end).is(Code::Unavailable, "STOPPING"), "{end:?}");
    send.await.expect("no panic");
    let read_to_end = async {
        loop {
            match subscribed.message().await {
                Ok(Some(_)) => {}
                end => return end,
            }
        }
    };
    let end = timeout(PATIENCE, read_to_end).await.expect("in time");
    let end = end.expect_err("told so");
    assert!(why(&end).is(Code::Unavailable, "STOPPING"), "{end:?}");
    let gateway = tokio::task::spawn_blocking(move || {
        while gateway.ended().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        gateway.start().unwrap_or_else(|why| panic!("{why}"));
        gateway
    });
    let gateway = gateway.await.expect("it starts again");
    let mut client = connect(gateway.grpc).await;
    for sequence in answered {
        let found = client
            .get_message(by_id(&format!("m{sequence}"), "all/a"))
            .await;
        found.unwrap_or_else(|s| panic!("m{sequence} had a receipt: {s:?}"));
    }
}

#[tokio::test]
async fn health_is_told_to_those_who_watch() {
    let gateway = started();
    let channel = endpoint(gateway.grpc).connect().await.expect("there");
    let mut health = HealthClient::new(channel.clone());
    let service = "causeway.v1.Gateway".to_owned();
    for service in [String::new(), service.clone()] {
        let now = health.check(HealthCheckRequest { service }).await;
        let now = now.expect("known").into_inner();
        assert_eq!(now.status(), ServingStatus::Serving);
    }
    let unknown = "else".to_owned();
    let unknown = health.check(HealthCheckRequest { service: unknown }).await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
    let watch = health.watch(HealthCheckRequest { service }).await;
    let mut watch = watch.expect("watched").into_inner();
    let mut next = async || {
        let next = timeout(PATIENCE, watch.message()).await.expect("in time");
        next.map(|next| next.map(|next| next.status()))
    };
    assert_eq!(next().await.expect("now"), Some(ServingStatus::Serving));
    // What waits for a delivery keeps the gateway from ending at once.
    let mut client = crate::support::grpc::Client::new(channel);
    let mut stream = Stream::open(&mut client).await;
    stream
        .send(1, false, message("sure/hung/1", "h", "x"))
        .await;
    stream.send(2, false, message("all/a", "a", "x")).await;
    assert_eq!(stream.next().await.0, 2);
    gateway.signal(Signal::TERM);
    assert_eq!(next().await.expect("told"), Some(ServingStatus::NotServing));
}
