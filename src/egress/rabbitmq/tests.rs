//! Against servers that say nothing, or too little. Real ones: tests/egress/, tests/rabbitmq/.

mod server;

use super::publication::tests::delivery;
use super::*;
use crate::egress::TlsOptions;
use crate::message::LogUuid;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(30);

fn rabbitmq(urls: Vec<String>, timeout: Duration) -> Rabbitmq {
    let options = RabbitmqOptions {
        urls,
        username: None,
        password: Some("hunter2".to_owned()),
        tls: TlsOptions::default(),
        topic: None,
        exchange: None,
        queues: Vec::new(),
        timeout,
    };
    let names = Arc::new(NameBook::new(LogUuid(7), vec!["route".into()]));
    let made = Rabbitmq::new(options, names, "sink".into(), "gw", Clock::system());
    made.unwrap_or_else(|why| panic!("{why}"))
}

/// Else the client's thread would wait for its first words for ever, and each try would leave another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_given_up_and_let_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("amqp://{}", listener.local_addr().expect("bound"));
    let rabbitmq = rabbitmq(vec![url], Duration::from_millis(200));
    let batch = [delivery(|_, _| {}), delivery(|_, _| {})];
    let (attempted, said) = tokio::join!(rabbitmq.deliver(&batch, false), async {
        let (mut stream, _) = listener.accept().await.expect("it comes");
        let mut said = Vec::new();
        // To the end of the connection, which is the client's to make.
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        read.expect("it is let go").expect("it is closed");
        said
    });
    assert_eq!(said, b"AMQP\0\0\x09\x01");
    assert_eq!(attempted.verdicts.len(), 2);
    for verdict in &attempted.verdicts {
        let (kind, why) = verdict.failure().expect("nothing was delivered");
        assert_eq!(kind, "retry");
        assert!(why.contains("no connection in time"), "{why}");
    }
    // Nobody dials again before the pause is over.
    let again = rabbitmq.deliver(&batch, false).await;
    assert!(again.verdicts[0].after() > Duration::ZERO);
    rabbitmq.close().await;
}

#[tokio::test]
async fn one_that_isnt_there_is_told_without_a_secret() {
    let rabbitmq = rabbitmq(vec!["amqp://127.0.0.1:1/%2f".to_owned()], PATIENCE);
    let attempted = rabbitmq.deliver(&[delivery(|_, _| {})], true).await;
    let (kind, why) = attempted.verdicts[0].failure().expect("nobody is there");
    assert_eq!(kind, "retry");
    assert!(why.starts_with("no connection to 127.0.0.1:1: "), "{why}");
    assert!(!why.contains("hunter2"), "{why}");
}

/// The time of an attempt is the silent one's alone, and the next attempt isn't.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_silent_server_another_is_found() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listeners = [&silent, &other];
    let urls = listeners.map(|it| format!("amqp://{}", it.local_addr().expect("bound")));
    let rabbitmq = rabbitmq(urls.into(), Duration::from_millis(200));
    let batch = [delivery(|_, _| {})];
    let attempted = rabbitmq.deliver(&batch, false).await;
    let (kind, why) = attempted.verdicts[0].failure().expect("nobody answered");
    assert_eq!(kind, "retry");
    assert!(why.contains("no connection in time"), "{why}");
    let pause = attempted.verdicts[0].after();
    let attempt = async {
        tokio::time::sleep(pause).await;
        rabbitmq.deliver(&batch, false).await
    };
    let (_, came) = tokio::join!(attempt, tokio::time::timeout(PATIENCE, other.accept()));
    came.expect("its turn comes").expect("it is asked");
}

/// The client pins returns on whichever confirm it reads next: the first return comes with the second
/// message's confirm, the second return with none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirm_with_anothers_return_proves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("amqp://{}", listener.local_addr().expect("bound"));
    let rabbitmq = rabbitmq(vec![url], PATIENCE);
    let to = |topic: &'static str| delivery(move |_, target| target.topic = Some(topic.into()));
    let batch = [to("first"), to("second"), to("third")];
    let answers = |publishes: &[server::Publish]| {
        let mut answers = [
            server::returned(&publishes[0]),
            server::returned(&publishes[1]),
        ]
        .concat();
        answers.extend(server::ack(publishes[1].channel, 2));
        answers
    };
    let (attempted, ()) = tokio::join!(
        rabbitmq.deliver(&batch, false),
        server::serve(&listener, batch.len(), answers)
    );
    let kinds = attempted.verdicts.iter().map(Verdict::failure);
    let kinds: Vec<_> = kinds.map(|failure| failure.map(|(kind, _)| kind)).collect();
    assert_eq!(kinds, [Some("reject"), Some("unknown"), Some("unknown")]);
}

/// Nothing came with it, so no return was waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirm_with_nothing_is_believed_though_others_are_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("amqp://{}", listener.local_addr().expect("bound"));
    let rabbitmq = rabbitmq(vec![url], PATIENCE);
    let to = |topic: &'static str| delivery(move |_, target| target.topic = Some(topic.into()));
    let batch = [to("first"), to("second")];
    let answers = |publishes: &[server::Publish]| server::ack(publishes[0].channel, 1);
    let (attempted, ()) = tokio::join!(
        rabbitmq.deliver(&batch, false),
        server::serve(&listener, batch.len(), answers)
    );
    assert_eq!(attempted.verdicts[0], Verdict::Delivered);
    let (kind, _) = attempted.verdicts[1].failure().expect("it was lost");
    assert_eq!(kind, "unknown");
}
