//! Requests that a browser makes for somebody else's page.

use super::harness::{answer, send, start, start_guarded};
use super::*;
use crate::ingress::listener::{ConnectionLimits, Foreign, bind, serve};

async fn ask(running: &super::harness::Running, head: &str) -> super::harness::Answer {
    let request = format!("{head}content-length: 1\r\nconnection: close\r\n\r\nx");
    answer(send(running.address, request.as_bytes()).await).await
}

#[tokio::test]
async fn a_local_listener_serves_this_machine_only() {
    let running = start_guarded().await;
    let own = format!("host: {}\r\n", running.address);
    for (headers, status, kind) in [
        (own.as_str(), 202, ""),
        (
            "Host: localhost\r\nOrigin: http://localhost:3000\r\n",
            202,
            "",
        ),
        ("Host: localhost\r\nSec-Fetch-Site: same-site\r\n", 202, ""),
        ("Host: evil.example\r\n", 403, "foreign-host"),
        (
            "Host: localhost\r\nOrigin: https://evil.example\r\n",
            403,
            "foreign-origin",
        ),
        ("Host: localhost\r\nOrigin: null\r\n", 403, "foreign-origin"),
        (
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
            403,
            "foreign-origin",
        ),
        ("", 400, "malformed"),
        ("Host: localhost\r\nHost: localhost\r\n", 400, "malformed"),
        ("Host: \r\n", 403, "foreign-host"),
    ] {
        let got = ask(
            &running,
            &format!("POST /v1/topics/a HTTP/1.1\r\n{headers}"),
        )
        .await;
        assert_eq!(got.status, status, "{headers:?}");
        if status != 202 {
            assert_eq!(got.problem(), kind, "{headers:?}");
        }
        let lower = got.head.to_ascii_lowercase();
        assert!(!lower.contains("access-control"), "{lower}");
    }
    let whole = "POST http://evil.example/v1/topics/a HTTP/1.1\r\nhost: localhost\r\n";
    assert_eq!(ask(&running, whole).await.status, 403);
    // Before HTTP/1.1 nobody had to say whom they ask.
    assert_eq!(
        ask(&running, "POST /v1/topics/a HTTP/1.0\r\n").await.status,
        202
    );
    assert_eq!(running.script.envelopes.lock().expect("no panic").len(), 4);
    assert_eq!(
        running.counters.connections.foreign(),
        [(Foreign::Host, 3), (Foreign::Origin, 2), (Foreign::Site, 1)]
    );
}

#[tokio::test]
async fn a_preflight_is_never_allowed() {
    let running = start_guarded().await;
    for (origin, status) in [("http://localhost:3000", 405), ("http://evil.example", 403)] {
        let head = format!(
            "OPTIONS /v1/topics/a HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\n"
        );
        let got = ask(&running, &head).await;
        assert_eq!(got.status, status, "{origin}");
        assert!(
            !got.head.to_ascii_lowercase().contains("access-control"),
            "{}",
            got.head
        );
    }
}

#[tokio::test]
async fn a_listener_for_the_network_knows_no_names() {
    let anywhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let listener = bind(anywhere, "listen.http").await.expect("a free port");
    let address = (
        std::net::Ipv4Addr::LOCALHOST,
        listener.local_addr().expect("bound").port(),
    );
    let counters = Arc::new(Counters::default());
    let router = Router::new().fallback(|| async { "served" });
    let router = guarded(router, &listener, Arc::clone(&counters));
    let limits = ConnectionLimits {
        connections: 4,
        head_bytes: 8_192,
        head_lines: 100,
    };
    let stop = watch::Sender::new(false);
    let served = tokio::spawn(serve(
        listener,
        router,
        limits,
        Arc::clone(&counters.connections),
        stop.subscribe(),
    ));
    let head = "GET / HTTP/1.1\r\nhost: gateway.example\r\nconnection: close\r\n\r\n";
    let got = answer(send(address.into(), head.as_bytes()).await).await;
    assert_eq!((got.status, got.body.as_slice()), (200, &b"served"[..]));
    served.abort();

    let unguarded = start().await;
    let got = ask(
        &unguarded,
        "POST /v1/topics/a HTTP/1.1\r\nhost: evil.example\r\n",
    )
    .await;
    assert_eq!(got.status, 202);
}
