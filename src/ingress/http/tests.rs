//! The listener over real sockets, with a scripted front in place of the door.

mod batch;
mod cloudevents;
mod coded;
mod counted;
mod events;
mod foreign;
mod h2c;
mod harness;
mod hostile;

use super::*;
use crate::clock::Wall;
use crate::ingress::listener;
use crate::message::MessageId;
use bytes::Bytes;
use harness::{
    CONNECTION_LIMIT, NOW, PATIENCE, PAYLOAD_LIMIT, answer, ask, begun, finished, request, send,
    start,
};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn a_publish_becomes_an_envelope_and_its_receipt_the_answer() {
    let running = start().await;
    let headers = "Content-Type: application/json\r\nIdempotency-Key: \"o-1\"\r\n\
                   Causeway-Key: k1\r\nCauseway-Priority: 9\r\nCauseway-Ttl: 1s\r\n\
                   Causeway-Header-Type: pdf\r\n";
    let publish = request("POST", "/v1/topics/orders/a%20b", headers, b"{\"n\":1}");
    let got = answer(send(running.address, &publish).await).await;
    assert_eq!(got.status, 202);
    assert_eq!(
        got.json(),
        json!({"id": "o-1", "position": 7, "duplicate": false, "state": "stored",
               "targets": [{"route": "all", "destination": "inbox", "state": "stored"}]})
    );
    let envelopes = running.script.envelopes.lock().expect("no panic");
    let header = crate::message::Header {
        name: "type".into(),
        value: "pdf".into(),
    };
    assert_eq!(
        *envelopes,
        [Envelope {
            principal: "anonymous".into(),
            source: "http".into(),
            topic: "orders/a b".into(),
            id: MessageId::Publisher("o-1".into()),
            key: Some("k1".into()),
            headers: vec![header],
            content_type: Some("application/json".into()),
            payload: Ok(Bytes::from_static(b"{\"n\":1}")),
            priority: Some(9),
            deliver_at: None,
            expires_at: Some(Wall(NOW.0 + 1_000)),
            extensions: Vec::new(),
        }]
    );
}

#[tokio::test]
async fn an_empty_body_is_an_empty_payload() {
    let running = start().await;
    assert_eq!(ask(&running, "POST", "/v1/topics/a", b"").await.status, 202);
    let envelopes = running.script.envelopes.lock().expect("no panic");
    assert_eq!(envelopes[0].payload, Ok(Bytes::new()));
}

#[tokio::test]
async fn what_is_not_taken_is_a_problem() {
    let running = start().await;
    let got = ask(&running, "POST", "/v1/topics/nowhere", b"x").await;
    assert_eq!((got.status, got.problem().as_str()), (404, "no-route"));
    assert_eq!(got.json()["topic"], "nowhere");

    let bad = request("POST", "/v1/topics/a", "Causeway-Delay: soon\r\n", b"x");
    let got = answer(send(running.address, &bad).await).await;
    assert_eq!((got.status, got.problem().as_str()), (400, "malformed"));
    assert_eq!(got.json()["header"], "causeway-delay");

    let got = ask(&running, "POST", "/elsewhere", b"x").await;
    assert_eq!((got.status, got.problem().as_str()), (404, "unknown-path"));

    let got = ask(&running, "DELETE", "/v1/topics/a", b"").await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (405, "unknown-method")
    );
    assert!(
        got.head.to_ascii_lowercase().contains("\r\nallow: post"),
        "{}",
        got.head
    );
}

#[tokio::test]
async fn a_large_body_is_refused_after_the_client_could_send_it() {
    let running = start().await;
    let body = vec![b'x'; 1 << 20];
    let got = ask(&running, "POST", "/v1/topics/a", &body).await;
    assert_eq!((got.status, got.problem().as_str()), (413, "too-large"));
    assert_eq!(got.json()["actual"], 1 << 20);
    assert_eq!(got.json()["limit"], PAYLOAD_LIMIT);
    assert_eq!(got.json()["setting"], "limits.payload");

    // Without an announced length, the limit holds as the bytes come.
    let mut chunked = b"POST /v1/topics/a HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\
                        transfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..3 {
        chunked.extend_from_slice(format!("190\r\n{}\r\n", "y".repeat(400)).as_bytes());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let got = answer(send(running.address, &chunked).await).await;
    assert_eq!((got.status, got.problem().as_str()), (413, "too-large"));
    assert!(
        running
            .script
            .envelopes
            .lock()
            .expect("no panic")
            .is_empty()
    );

    let fits = vec![b'x'; PAYLOAD_LIMIT];
    assert_eq!(
        ask(&running, "POST", "/v1/topics/a", &fits).await.status,
        202
    );
}

#[tokio::test]
async fn a_client_that_goes_away_takes_nothing_back() {
    let running = start().await;
    let body = vec![b'x'; PAYLOAD_LIMIT];
    let gone = send(
        running.address,
        &request("POST", "/v1/topics/held/1", "", &body),
    )
    .await;
    begun(&running, 1).await;
    drop(gone);

    // Its bytes are still in flight: another body of that size finds no room.
    let got = ask(&running, "POST", "/v1/topics/a", &body).await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (503, "in-flight-full")
    );
    assert!(got.head.contains("retry-after: 1"), "{}", got.head);
    assert_eq!(*running.script.finished.borrow(), 0);

    running.script.gate.add_permits(1);
    finished(&running, 1).await;
    let retried = async {
        while ask(&running, "POST", "/v1/topics/a", &body).await.status != 202 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, retried)
        .await
        .expect("the room is given back");
}

#[tokio::test]
async fn a_connection_above_the_limit_is_told_so() {
    let running = start().await;
    let mut kept = Vec::new();
    for i in 0..CONNECTION_LIMIT {
        let publish = request("POST", &format!("/v1/topics/held/{i}"), "", b"x");
        kept.push(send(running.address, &publish).await);
    }
    begun(&running, CONNECTION_LIMIT).await;
    let got = ask(&running, "POST", "/v1/topics/a", b"x").await;
    assert_eq!((got.status, got.problem().as_str()), (503, "connections"));
    assert_eq!(got.json()["setting"], "limits.connections");
    assert_eq!(running.counters.connections.refused_connections(), 1);

    running.script.gate.add_permits(CONNECTION_LIMIT);
    for socket in kept {
        assert_eq!(answer(socket).await.status, 202);
    }
    let free_again = async {
        while ask(&running, "POST", "/v1/topics/a", b"x").await.status != 202 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, free_again)
        .await
        .expect("places are given back");
}

#[tokio::test]
async fn stopping_lets_requests_end() {
    let running = start().await;
    // Kept open by its client, and idle.
    let idle = send(
        running.address,
        b"GET /v1/messages/7 HTTP/1.1\r\nhost: g\r\n\r\n",
    )
    .await;
    idle.readable().await.expect("its first answer");
    let busy = send(
        running.address,
        &request("POST", "/v1/topics/held/1", "", b"x"),
    )
    .await;
    begun(&running, 1).await;
    let waiting = request("GET", "/v1/streams/inbox?from=latest&wait=60s", "", b"");
    let waiting = send(running.address, &waiting).await;
    let reader_is_there = async {
        while running.script.stream_end.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reader_is_there).await.expect("in time");

    running.stop.send_replace(true);
    let got = answer(waiting).await;
    assert_eq!(
        (got.status, got.json()),
        (200, json!({"messages": [], "next": 4}))
    );
    assert_eq!(answer(idle).await.status, 200);
    assert!(!running.served.is_finished());
    assert!(TcpStream::connect(running.address).await.is_err());
    running.script.gate.add_permits(1);
    assert_eq!(answer(busy).await.status, 202);
    timeout(PATIENCE, running.served)
        .await
        .expect("in time")
        .expect("no panic");
}

#[tokio::test]
async fn messages_are_looked_up() {
    let running = start().await;
    let got = ask(&running, "GET", "/v1/messages/7", b"").await;
    assert_eq!((got.status, &got.json()["id"]), (200, &json!("seventh")));
    let got = ask(&running, "GET", "/v1/messages?id=o%2B1&topic=a%2Fb+c", b"").await;
    assert_eq!((got.status, &got.json()["id"]), (200, &json!("o+1")));
    for (target, status, kind) in [
        ("/v1/messages/8", 404, "unknown-message"),
        ("/v1/messages?id=a&topic=b", 404, "unknown-message"),
        ("/v1/messages/first", 400, "malformed"),
        ("/v1/messages?id=a", 400, "malformed"),
        ("/v1/messages?id=a&topic=b&x=1", 400, "malformed"),
    ] {
        let got = ask(&running, "GET", target, b"").await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (status, kind),
            "{target}"
        );
    }
}

#[tokio::test]
async fn streams_are_read_in_pages() {
    let running = start().await;
    let got = ask(&running, "GET", "/v1/streams/inbox?limit=1", b"").await;
    assert_eq!(got.status, 200);
    assert_eq!(
        got.json(),
        json!({"next": 3, "messages": [{"offset": 2, "id": "m2", "topic": "a", "headers": {},
               "time": "1970-01-01T00:16:40.000Z", "data": "hello"}]})
    );
    let got = ask(&running, "GET", "/v1/streams/inbox?from=3", b"").await;
    assert_eq!(
        (
            &got.json()["next"],
            got.json()["messages"].as_array().map(Vec::len)
        ),
        (&json!(4), Some(1))
    );

    let got = ask(&running, "GET", "/v1/streams/inbox?from=0", b"").await;
    assert_eq!((got.status, got.problem().as_str()), (410, "offset-gone"));
    assert_eq!(got.json()["earliest"], 2);
    for (target, status, kind) in [
        ("/v1/streams/outbox", 404, "unknown-stream"),
        ("/v1/streams/inbox?from=first", 400, "malformed"),
        ("/v1/streams/inbox?limit=0", 400, "malformed"),
        ("/v1/streams/inbox?limit=1001", 400, "malformed"),
        ("/v1/streams/inbox?wait=61s", 400, "malformed"),
        ("/v1/streams/inbox?wait=5", 400, "malformed"),
        ("/v1/streams/inbox?form=3", 400, "malformed"),
    ] {
        let got = ask(&running, "GET", target, b"").await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (status, kind),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_reader_may_wait_for_the_stream_to_grow() {
    let running = start().await;
    let got = ask(
        &running,
        "GET",
        "/v1/streams/inbox?from=latest&wait=1ms",
        b"",
    )
    .await;
    assert_eq!(got.json(), json!({"messages": [], "next": 4}));
    let waiting = request("GET", "/v1/streams/inbox?from=latest&wait=60s", "", b"");
    let waiting = send(running.address, &waiting).await;
    let reader_is_there = async {
        while running.script.stream_end.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reader_is_there).await.expect("in time");
    running.script.stream_end.send_replace(5);
    let got = answer(waiting).await;
    assert_eq!(
        (&got.json()["messages"][0]["offset"], &got.json()["next"]),
        (&json!(4), &json!(5))
    );
}

#[tokio::test]
async fn answers_are_counted() {
    let running = start().await;
    ask(&running, "POST", "/v1/topics/a", b"x").await;
    ask(&running, "POST", "/v1/topics/a", b"x").await;
    ask(&running, "GET", "/v1/messages/8", b"").await;
    ask(&running, "GET", "/", b"").await;
    let counted = |endpoint, status, count| Answered {
        endpoint,
        status,
        count,
    };
    assert_eq!(
        running.counters.answered(),
        [
            counted(Endpoint::Publish, 202, 2),
            counted(Endpoint::Message, 404, 1),
            counted(Endpoint::Other, 404, 1),
        ]
    );
}

#[tokio::test]
async fn an_address_in_use_names_the_setting() {
    let running = start().await;
    let error = listener::bind(running.address, "listen.http")
        .await
        .expect_err("it is taken");
    let text = error.to_string();
    assert!(
        text.contains("(listen.http)") && text.contains(&running.address.to_string()),
        "{text}"
    );
}
