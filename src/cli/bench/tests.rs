//! A bench against scripted gateways on real sockets.

use super::*;
use crate::cli::client::SAY_SERVER;
use crate::cli::exit::Code;
use crate::cli::{Cli, Command};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use clap::Parser;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

fn parsed(words: &str) -> Result<Box<Bench>, clap::Error> {
    let words = format!("causeway bench --topic a {words}");
    match Cli::try_parse_from(words.split_whitespace())?.command {
        Some(Command::Bench(bench)) => Ok(bench),
        other => panic!("{other:?}"),
    }
}

/// On threads of its own, for as long as the test runs.
fn serve(router: Router) -> Server {
    let (to, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a free port");
            to.send(listener.local_addr().expect("bound"))
                .expect("the test waits");
            axum::serve(listener, router).await
        })
    });
    let address = address.recv().expect("it listens").to_string();
    Server::parse(&address, SAY_SERVER).expect("an address")
}

const STORED: &str = r#"{"state":"stored","duplicate":false}"#;

#[test]
fn messages_are_counted_by_what_became_of_them() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let server = serve(Router::new().fallback(move || async move {
        match counter.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => (
                StatusCode::NOT_FOUND,
                r#"{"type":"urn:causeway:problem:no-route"}"#,
            ),
            _ => (StatusCode::ACCEPTED, STORED),
        }
    }));
    let bench =
        parsed("--messages 30 --connections 1 --warm-up 0ms --size 10").expect("understood");
    let reply = run(&bench, &server).expect("it runs");
    assert_eq!(reply.code, Code::Failed, "{}", reply.text);
    assert_eq!(asked.load(Ordering::Relaxed), 30);
    let json = &reply.json;
    assert_eq!((&json["sent"], &json["settled"]), (&30.into(), &20.into()));
    assert_eq!(json["refused"]["no-route"], 10);
    assert_eq!(json["payload_bytes"], 200);
    let bench = parsed("--messages 30 --warm-up 0ms --allow-refusals").expect("understood");
    assert_eq!(run(&bench, &server).expect("it runs").code, Code::Done);
}

#[test]
fn a_batch_has_as_many_lines_as_there_are_messages_left() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let server = serve(Router::new().fallback(move |body: Bytes| async move {
        let lines = body.iter().filter(|b| **b == b'\n').count();
        seen.lock().expect("nobody panicked").push(lines);
        // The last result of a full batch is missing.
        let results = if lines == 10 { 9 } else { lines };
        format!("{{\"status\":202,{}\n", &STORED[1..]).repeat(results)
    }));
    let bench =
        parsed("--messages 25 --connections 1 --warm-up 0ms --batch 10").expect("understood");
    let reply = run(&bench, &server).expect("it runs");
    assert_eq!(*bodies.lock().expect("nobody panicked"), [10, 10, 5]);
    let json = &reply.json;
    assert_eq!(
        (&json["settled"], &json["failed"]["broken"]),
        (&23.into(), &2.into())
    );
    assert_eq!(reply.code, Code::Failed);
}

/// One connection, a message due every 10 ms, and a gateway that stalls once for 500 ms: what was due
/// meanwhile waited, and a clock that starts with the sending wouldn't see it.
#[test]
fn a_stall_is_in_the_latency_of_all_that_waited_behind_it() {
    let asked = Arc::new(AtomicU64::new(0));
    let server = serve(Router::new().fallback(move || {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            if number == 20 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            (StatusCode::ACCEPTED, STORED)
        }
    }));
    let bench =
        parsed("--messages 100 --rate 100 --connections 1 --warm-up 0ms").expect("understood");
    let reply = run(&bench, &server).expect("it runs");
    let latency = |name: &str| reply.json["latency_ms"][name].as_f64().expect("a number");
    assert_eq!(reply.json["settled"], 100);
    assert!(latency("max") >= 500.0, "{}", reply.text);
    // About 50 of the 100 waited up to that long: a tenth of all more than 300 ms.
    assert!(latency("p90") >= 300.0, "{}", reply.text);
}

#[test]
fn what_was_due_and_not_sent_is_told_and_fails() {
    let server = serve(Router::new().fallback(|| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        (StatusCode::ACCEPTED, STORED).into_response()
    }));
    let bench = parsed("--duration 1s --rate 100 --connections 1 --warm-up 0ms --allow-refusals");
    let reply = run(&bench.expect("understood"), &server).expect("it runs");
    let number = |name: &str| reply.json[name].as_u64().expect("a number");
    assert_eq!(number("sent") + number("unsent"), 100, "{}", reply.text);
    assert!(number("unsent") >= 80, "{}", reply.text);
    assert_eq!(reply.code, Code::Failed);
    let max = reply.json["latency_ms"]["p99"].as_f64().expect("a number");
    assert!(max >= 700.0, "{}", reply.text);
}

#[test]
fn the_warm_up_is_in_no_figure() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let server = serve(Router::new().fallback(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { (StatusCode::ACCEPTED, STORED) }
    }));
    for rate in ["", "--rate 500"] {
        asked.store(0, Ordering::Relaxed);
        let words = format!("--messages 20 --connections 2 --warm-up 200ms {rate}");
        let reply = run(&parsed(&words).expect("understood"), &server).expect("it runs");
        assert_eq!(
            (&reply.json["sent"], &reply.json["settled"]),
            (&20.into(), &20.into())
        );
        let warm_up = reply.json["warm_up"]["settled"].as_u64().expect("a number");
        assert!(warm_up > 0, "{rate}: {}", reply.json);
        assert_eq!(warm_up + 20, asked.load(Ordering::Relaxed), "{rate}");
    }
}

#[test]
fn nobody_there_is_said_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    drop(taken);
    let server = Server::parse(&address, SAY_SERVER).expect("an address");
    let failure = run(&parsed("").expect("understood"), &server).expect_err("nobody");
    assert_eq!(failure.code, Code::TryAgain);
}

#[test]
fn what_makes_no_sense_is_not_understood() {
    for words in [
        "--connections 0",
        "--messages 0",
        "--messages 1 --duration 1s",
        "--rate 0",
        "--rate inf",
        "--rate 2000000",
        "--batch 0",
        "--batch 10001",
        "--size 1 -d x",
        "--id-prefix a\"b",
        "--duration soon",
    ] {
        let code = parsed(words).expect_err("not understood").exit_code();
        assert_eq!(code, 2, "{words}");
    }
    let huge = parsed("--size 1000000 --batch 10000").expect("understood");
    assert_eq!(
        huge.checked_messages().err().map(|f| f.code),
        Some(Code::Usage)
    );
}
