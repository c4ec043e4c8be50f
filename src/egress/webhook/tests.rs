//! Against a server that is scripted to the byte. The whole gateway before a real one: tests/egress/.

mod tls;

use super::*;
use crate::message::{
    Ack, DeliveryId, Envelope, Epoch, Guarantee, Header, LaneId, LogUuid, Message, MessageId, Plan,
    RouteId, Target,
};
use hyper::body::Bytes;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn delivery(position: u64) -> Delivery {
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "jobs/small".into(),
        id: MessageId::Publisher(format!("id-{position}")),
        key: None,
        headers: vec![Header {
            name: "Kind".into(),
            value: Bytes::from_static(b"pdf"),
        }],
        content_type: None,
        payload: Ok(Bytes::from(format!("payload {position}"))),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    };
    let targets = vec![Target::to(RouteId(0), LaneId(1), Guarantee::AtLeastOnce)];
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::ZERO,
        targets,
    };
    Delivery {
        at: DeliveryId::new(position, 0),
        known_as: None,
        accepted: crate::clock::Wall(1),
        epoch: Epoch(9),
        identity: None,
        size_bytes: 10,
        dead_letter: None,
        message: Arc::new(Message { envelope, plan }),
    }
}

/// The same with another envelope.
pub(super) fn with(mut delivery: Delivery, change: impl FnOnce(&mut Envelope)) -> Delivery {
    let mut message = Message::clone(&delivery.message);
    change(&mut message.envelope);
    delivery.message = Arc::new(message);
    delivery
}

pub(super) fn names() -> Arc<NameBook> {
    Arc::new(NameBook::new(LogUuid(7), vec!["route".into()]))
}

fn options(url: String) -> WebhookOptions {
    WebhookOptions {
        url,
        tls: TlsOptions::default(),
        secrets: Vec::new(),
        format: WebhookFormat::Raw,
        headers: Vec::new(),
        concurrency: 16,
        timeout: PATIENCE,
    }
}

fn webhook(options: &WebhookOptions) -> Webhook {
    let made = Webhook::new(
        options,
        names(),
        "hook".into(),
        "gw".into(),
        Clock::system(),
    );
    made.unwrap_or_else(|why| panic!("{why}"))
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, url)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.expect("it comes").0
}

/// One whole request: its head and body. `None` at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

async fn one(webhook: &Webhook, position: u64) -> Verdict {
    let attempted = webhook.deliver(&[delivery(position)], false).await;
    let [verdict] = &attempted.verdicts[..] else {
        panic!("one of one: {attempted:?}");
    };
    verdict.clone()
}

fn kind(verdict: &Verdict) -> (&str, &str) {
    verdict.failure().unwrap_or(("delivered", ""))
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        let mut bodies = Vec::new();
        while let Some((_, body)) = read_request(&mut stream).await {
            bodies.push(body);
            stream.write_all(OK.as_bytes()).await.expect("written");
        }
        bodies
    });
    let webhook = webhook(&options(url));
    for position in 0..3 {
        assert_eq!(one(&webhook, position).await, Verdict::Delivered);
    }
    drop(webhook);
    let bodies = server.await.expect("no panic");
    assert_eq!(bodies, [b"payload 0", b"payload 1", b"payload 2"]);
}

#[tokio::test]
async fn a_connection_that_the_service_closed_is_no_failure() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        for _ in 0..3 {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.expect("a request");
            stream.write_all(OK.as_bytes()).await.expect("written");
            // Closed although nobody said so.
        }
    });
    let webhook = webhook(&options(url));
    for position in 0..3 {
        assert_eq!(one(&webhook, position).await, Verdict::Delivered);
        // Until the close is seen a request might go its way: that would be in doubt, rightly.
        let pool = &webhook.service().pool;
        while pool.has_open_idle() {
            tokio::task::yield_now().await;
        }
    }
    server.await.expect("no panic");
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        read_request(&mut stream).await.expect("a request");
        stream.write_all(OK.as_bytes()).await.expect("written");
        read_request(&mut stream).await
    });
    let webhook = webhook(&options(url));
    assert_eq!(one(&webhook, 1).await, Verdict::Delivered);
    assert!(webhook.service().pool.has_open_idle());
    // From here on the clock runs ahead while everybody waits.
    tokio::time::pause();
    assert_eq!(server.await.expect("no panic"), None);
    assert!(!webhook.service().pool.has_open_idle());
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_holds_nothing_up() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
        let mut head = [0; 100];
        stream.read_exact(&mut head).await.expect("its beginning");
        stream.write_all(answer.as_bytes()).await.expect("written");
        stream
    });
    let hook = webhook(&options(url));
    let large = with(delivery(1), |envelope| {
        envelope.payload = Ok(Bytes::from(vec![b'x'; 32 << 20]));
    });
    let attempted = hook.deliver(&[large], false).await;
    assert_eq!(kind(&attempted.verdicts[0]).0, "reject", "{attempted:?}");
    assert!(!hook.service().pool.has_open_idle());
    drop(server.await);
}

#[tokio::test]
async fn what_may_have_been_taken_is_in_doubt() {
    for part in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nx: "] {
        let (listener, url) = listen().await;
        let server = tokio::spawn(async move {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.expect("a request");
            stream.write_all(part.as_bytes()).await.expect("written");
        });
        let verdict = one(&webhook(&options(url)), 1).await;
        assert_eq!(kind(&verdict).0, "unknown", "{part:?}: {verdict:?}");
        server.await.expect("no panic");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_in_doubt_and_its_connection_given_up() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut first = accept(&listener).await;
        read_request(&mut first).await.expect("a request");
        // The second isn't sent behind the first, which may still be answered.
        assert_eq!(read_request(&mut first).await, None);
        let mut second = accept(&listener).await;
        read_request(&mut second).await.expect("a request");
        second.write_all(OK.as_bytes()).await.expect("written");
    });
    let mut options = options(url);
    options.timeout = Duration::from_millis(200);
    let hook = webhook(&options);
    let verdict = one(&hook, 1).await;
    assert_eq!(kind(&verdict), ("unknown", "no answer within 200ms"));
    options.timeout = PATIENCE;
    hook.adopt(&options).expect("good options");
    assert_eq!(one(&hook, 1).await, Verdict::Delivered);
    server.await.expect("no panic");
}

#[tokio::test]
async fn what_was_not_sent_is_not_in_doubt() {
    let (listener, url) = listen().await;
    drop(listener);
    let verdict = one(
        &webhook(&options(url.replace("http://", "http://u:hunter2@"))),
        1,
    )
    .await;
    let (kind_of, why) = kind(&verdict);
    assert_eq!(kind_of, "retry");
    assert!(why.contains("no connection to 127.0.0.1:"), "{why}");
    assert!(!why.contains("hunter2"), "{why}");

    // Nobody takes the TLS handshake up: nothing was sent.
    let (listener, url) = listen().await;
    let mut options = options(url.replace("http://", "https://"));
    options.tls.ca = Some(include_str!("../../../tests/fixtures/tls/ca.crt").into());
    options.timeout = Duration::from_millis(200);
    let verdict = one(&webhook(&options), 1).await;
    assert_eq!(kind(&verdict), ("retry", "no connection in time"));
    drop(listener);
}

#[tokio::test]
async fn a_body_without_end_holds_nothing_up_and_fills_no_memory() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 400 No\r\n\r\n"] {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.expect("a request");
            stream.write_all(head.as_bytes()).await.expect("written");
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
    });
    let hook = webhook(&options(url));
    assert_eq!(one(&hook, 1).await, Verdict::Delivered);
    let verdict = one(&hook, 2).await;
    let (kind, why) = kind(&verdict);
    assert_eq!(kind, "reject");
    assert!(why.len() < 400, "{why}");
    server.await.expect("no panic");
}

#[tokio::test]
async fn who_wants_silence_is_left_alone_by_all() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        read_request(&mut stream).await.expect("a request");
        let answer = "HTTP/1.1 429 Slow\r\nretry-after: 3600\r\ncontent-length: 4\r\n\r\nslow";
        stream.write_all(answer.as_bytes()).await.expect("written");
        // Nothing more comes, on this connection or another.
        let more = tokio::select! {
            more = read_request(&mut stream) => more.map(|(head, _)| head),
            _ = listener.accept() => Some("another connection".to_owned()),
        };
        assert_eq!(more, None);
    });
    let hook = webhook(&options(url));
    let verdict = one(&hook, 1).await;
    assert_eq!(kind(&verdict), ("retry", "429 Too Many Requests: slow"));
    assert_eq!(verdict.after(), Duration::from_secs(3600));
    let other = one(&hook, 2).await;
    assert_eq!(kind(&other), kind(&verdict));
    assert!(other.after() > Duration::from_secs(3500), "{other:?}");
    drop(hook);
    server.await.expect("no panic");
}

#[tokio::test]
async fn so_many_at_once_and_no_more() {
    const AT_ONCE: usize = 3;
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        for _ in 0..4 {
            let mut open = Vec::new();
            for _ in 0..AT_ONCE {
                let mut stream = accept(&listener).await;
                read_request(&mut stream).await.expect("a request");
                open.push(stream);
            }
            // A fourth would be here by now if it came at all before one of these is answered: whoever
            // has connected is in the listener's queue.
            let early = futures_util::FutureExt::now_or_never(listener.accept());
            assert!(early.is_none(), "one too many");
            for mut stream in open {
                let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        }
    });
    let mut options = options(url);
    options.concurrency = AT_ONCE;
    let hook = webhook(&options);
    assert_eq!(hook.concurrency(), AT_ONCE);
    let deliveries: Vec<Delivery> = (0..12).map(delivery).collect();
    let attempted = hook.deliver(&deliveries, false).await;
    assert_eq!(attempted.verdicts, vec![Verdict::Delivered; 12]);
    server.await.expect("no panic");
}

#[tokio::test]
async fn strictly_nothing_follows_what_failed() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        for answer in [OK, "HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n"] {
            read_request(&mut stream).await.expect("a request");
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
        assert_eq!(read_request(&mut stream).await, None);
    });
    let hook = webhook(&options(url));
    let deliveries: Vec<Delivery> = (0..4).map(delivery).collect();
    let attempted = hook.deliver(&deliveries, true).await;
    let kinds: Vec<&str> = attempted.verdicts.iter().map(|v| kind(v).0).collect();
    assert_eq!(kinds, ["delivered", "reject", "retry", "retry"]);
    drop(hook);
    server.await.expect("no panic");
}

#[tokio::test]
async fn another_address_is_adopted_and_a_wrong_one_is_not() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        read_request(&mut stream).await.expect("a request");
        stream.write_all(OK.as_bytes()).await.expect("written");
    });
    let nowhere: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let hook = webhook(&options(format!("http://{nowhere}")));
    let wrong = hook.adopt(&options("ftp://x".to_owned()));
    assert!(wrong.is_err());
    assert_eq!(kind(&one(&hook, 1).await).0, "retry");
    hook.adopt(&options(url)).expect("good options");
    assert_eq!(one(&hook, 1).await, Verdict::Delivered);
    server.await.expect("no panic");
}
