//! Streams read as server-sent events from the real program: over kills, beside readers that
//! don't read, and while retention drops what they wanted.

use crate::support::client::{Client, Response};
use crate::support::events::{Event, EventStream, Next, NotOpened};
use crate::support::load::{Load, load};
use crate::support::metrics;
use crate::support::process::{Gateway, program};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// For anything that should come without delay, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

const SETTINGS: &str = "[destinations.inbox]\ntype = \"stream\"\n\n\
    [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"inbox\"]\n";

fn started(settings: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), settings);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

fn open(gateway: &Gateway, query: &str, last: Option<u64>) -> EventStream {
    EventStream::open(gateway.http, "inbox", query, last, ANSWER_LIMIT)
        .unwrap_or_else(|e| panic!("{query} {last:?}: {e:?}"))
}

fn refused(gateway: &Gateway, query: &str, last: Option<u64>) -> Response {
    match EventStream::open(gateway.http, "inbox", query, last, ANSWER_LIMIT) {
        Err(NotOpened::Refused(response)) => response,
        Err(NotOpened::Trouble(e)) => panic!("{query} {last:?}: {e}"),
        Ok(_) => panic!("{query} {last:?}: it opened"),
    }
}

/// # Panics
/// If nothing comes in time, or the connection breaks.
fn next(events: &mut EventStream) -> Option<Event> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match events.next() {
            Next::Event(event) => return Some(event),
            Next::End => return None,
            Next::Nothing => assert!(Instant::now() < deadline, "nothing for {PATIENCE:?}"),
            Next::Broken(e) => panic!("the connection broke: {e}"),
        }
    }
}

/// The offset and the id of an ordinary event, whose own id is the offset.
fn offset_and_id(event: &Event) -> (u64, String) {
    assert_eq!(event.kind, "message", "{event:?}");
    let record: Value = serde_json::from_str(&event.data).expect("an event holds JSON");
    let offset = record["offset"].as_u64().expect("an offset");
    assert_eq!(event.id.as_deref(), Some(offset.to_string().as_str()));
    let id = record["id"].as_str().expect("a message has an id");
    (offset, id.to_owned())
}

fn publish(client: &mut Client, id: &str) -> bool {
    let headers = [("idempotency-key", id)];
    matches!(client.post("/v1/topics/a", &headers, id.as_bytes()), Ok(r) if matches!(r.status, 200 | 202))
}

/// All of the stream, by pages.
fn pages(gateway: &Gateway) -> Vec<(u64, String)> {
    let mut client = gateway.client(ANSWER_LIMIT);
    let mut all = Vec::new();
    loop {
        let target = format!("/v1/streams/inbox?from={}&limit=1000", all.len());
        let page = client
            .get(&target)
            .expect("an answer")
            .json()
            .expect("JSON");
        let messages = page["messages"].as_array().expect("a page");
        if messages.is_empty() {
            return all;
        }
        let pair = |m: &Value| Some((m["offset"].as_u64()?, m["id"].as_str()?.to_owned()));
        all.extend(
            messages
                .iter()
                .map(|m| pair(m).expect("an offset and an id")),
        );
    }
}

/// Follows until it has seen `count` events, from connection to connection.
fn follow(http: SocketAddr, count: usize) -> (Vec<(u64, String)>, usize) {
    let (mut seen, mut connections) = (Vec::<(u64, String)>::new(), 0);
    let deadline = Instant::now() + 4 * PATIENCE;
    while seen.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} events",
            seen.len()
        );
        let last = seen.last().map(|(offset, _)| *offset);
        let opened = EventStream::open(http, "inbox", "", last, ANSWER_LIMIT);
        let Ok(mut events) = opened else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        connections += 1;
        while seen.len() < count && Instant::now() < deadline {
            match events.next() {
                Next::Event(event) => seen.push(offset_and_id(&event)),
                Next::Nothing => {}
                Next::End | Next::Broken(_) => break,
            }
        }
    }
    (seen, connections)
}

#[test]
fn a_reader_that_comes_back_sees_each_offset_once_and_in_order() {
    const MESSAGES: usize = 1_000;
    const KILLS: u32 = 6;
    let mut gateway = started(SETTINGS);
    let http = gateway.http;
    let (seen, connections) = thread::scope(|scope| {
        let reader = scope.spawn(move || follow(http, MESSAGES));
        let publisher = scope.spawn(|| {
            let mut client = Client::new(http, ANSWER_LIMIT);
            for number in 0..MESSAGES {
                let id = format!("m{number}");
                let deadline = Instant::now() + PATIENCE;
                while !publish(&mut client, &id) {
                    assert!(Instant::now() < deadline, "publish of {id}");
                    thread::sleep(Duration::from_millis(2));
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        for kill in 1..=KILLS {
            thread::sleep(Duration::from_millis(200));
            match kill % 3 {
                0 => gateway
                    .terminate(STOP_LIMIT)
                    .unwrap_or_else(|why| panic!("{why}")),
                _ => gateway.kill(),
            }
            gateway.start().unwrap_or_else(|why| panic!("{why}"));
        }
        assert!(
            !publisher.is_finished(),
            "all kills came while it published"
        );
        publisher.join().expect("no panic");
        reader.join().expect("no panic")
    });
    assert!(connections > 2, "{connections} connections");
    assert_eq!(seen, pages(&gateway));
    let offsets: Vec<u64> = seen.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (0..MESSAGES as u64).collect::<Vec<_>>());
}

#[test]
fn the_stop_ends_streams_in_order() {
    let mut gateway = started(SETTINGS);
    assert!(publish(&mut gateway.client(ANSWER_LIMIT), "one"));
    let mut events = open(&gateway, "", None);
    for (name, value) in [("cache-control", "no-store"), ("x-accel-buffering", "no")] {
        assert_eq!(events.head.header(name), Some(value));
    }
    let event = next(&mut events).expect("the record");
    assert_eq!(offset_and_id(&event), (0, "one".to_owned()));
    let started = Instant::now();
    gateway
        .terminate(STOP_LIMIT)
        .unwrap_or_else(|why| panic!("{why}"));
    assert!(started.elapsed() < STOP_LIMIT / 2, "nobody was waited for");
    assert_eq!(next(&mut events), None);
}

/// Of the process, in bytes, without what the kernel holds for it.
fn memory(gateway: &Gateway) -> u64 {
    let pid = gateway.pid().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kib = line
        .and_then(|l| l.trim().strip_suffix("kB"))
        .map(str::trim);
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("Linux tells RssAnon")
        * 1024
}

fn metric(gateway: &Gateway, name: &str) -> f64 {
    let page = gateway
        .health_client()
        .get("/metrics")
        .expect("health answers");
    let samples = metrics::parse(&String::from_utf8_lossy(&page.body)).expect("metrics");
    let sample = samples.iter().find(|s| s.name == name);
    sample.unwrap_or_else(|| panic!("no {name}")).value
}

#[test]
fn readers_that_do_not_read_delay_nobody_and_hold_little() {
    /// More than there are places for pages.
    const STALLED: usize = 40;
    /// Two pages and a record each, in the connection and before it, and the allocator's share.
    const MEMORY_EACH: u64 = 1 << 20;
    const RECORDS: u64 = 1_000;
    let gateway = started(SETTINGS);
    // 32 MiB: what the sockets' buffers take, and more.
    load(
        &gateway,
        &Load {
            messages: RECORDS,
            payload_bytes: 32 << 10,
            ..Load::new("a")
        },
    );
    let open_all = || -> Vec<_> { (0..STALLED).map(|_| open(&gateway, "", None)).collect() };
    // The first of them also fill what the threads that read keep for the next time.
    let first = open_all();
    exchange(&gateway, RECORDS, 50);
    let before = memory(&gateway);
    let second = open_all();
    exchange(&gateway, RECORDS + 50, 50);
    let held = memory(&gateway).saturating_sub(before);
    let allowed = STALLED as u64 * MEMORY_EACH;
    assert!(
        held < allowed,
        "{held} bytes for {STALLED} readers, {allowed} are theirs"
    );
    let there = metric(&gateway, "causeway_http_event_readers");
    assert!(there >= 2.0 * STALLED as f64, "{there} readers");
    let mut client = gateway.client(ANSWER_LIMIT);
    let page = client.get("/v1/streams/inbox?limit=2").expect("an answer");
    assert_eq!(page.status, 200, "{page}");

    // One that reads again has missed nothing.
    let mut again = first.into_iter().next_back().expect("one of many");
    for offset in 0..RECORDS + 100 {
        let event = next(&mut again).expect("the stream goes on");
        assert_eq!(event.id, Some(offset.to_string()));
    }
    drop(second);
}

/// Publishes one by one, and sees each come as an event in time.
fn exchange(gateway: &Gateway, end: u64, count: u64) {
    let mut reader = open(gateway, "?from=latest", None);
    let mut client = gateway.client(ANSWER_LIMIT);
    for offset in end..end + count {
        let id = format!("m{offset}");
        let started = Instant::now();
        assert!(publish(&mut client, &id), "{id}");
        let event = next(&mut reader).expect("the record");
        assert_eq!(offset_and_id(&event), (offset, id));
        let took = started.elapsed();
        assert!(took < ANSWER_LIMIT, "{took:?}");
    }
}

#[test]
fn what_is_no_longer_kept_is_never_skipped() {
    let settings = SETTINGS.replace(
        "type = \"stream\"",
        "type = \"stream\"\nretention = { max_bytes = \"4MiB\" }",
    );
    let gateway = started(&settings);
    assert!(publish(&mut gateway.client(ANSWER_LIMIT), "first"));
    let mut slow = open(&gateway, "", None);
    let deadline = Instant::now() + PATIENCE;
    // Whole segments go, and the sockets' buffers must be behind them.
    while metric(&gateway, "causeway_stream_earliest_offset") < 1_000.0 {
        assert!(Instant::now() < deadline, "nothing is trimmed");
        load(
            &gateway,
            &Load {
                messages: 500,
                payload_bytes: 32 << 10,
                ..Load::new("a")
            },
        );
    }
    let mut seen = 0;
    let gone = loop {
        let event = next(&mut slow).expect("it says why it ends");
        if event.kind == "gone" {
            break event;
        }
        assert_eq!(event.id, Some(seen.to_string()));
        seen += 1;
    };
    let mut earliest = serde_json::from_str::<Value>(&gone.data).expect("JSON")["earliest"]
        .as_u64()
        .expect("the earliest offset");
    assert!(
        seen > 0 && earliest > seen,
        "{seen} were seen, {earliest} is the earliest"
    );
    assert_eq!(next(&mut slow), None);

    // Who comes back without having looked is told so again.
    let told = refused(&gateway, "", Some(seen - 1));
    assert_eq!(told.status, 410, "{told}");
    let mut from_there = loop {
        let query = format!("?from={earliest}&limit=3");
        match EventStream::open(gateway.http, "inbox", &query, None, ANSWER_LIMIT) {
            Ok(events) => break events,
            // More was trimmed since it was told.
            Err(NotOpened::Refused(told)) if told.status == 410 => {
                let later = told.json().expect("JSON")["earliest"]
                    .as_u64()
                    .expect("an offset");
                assert!(later > earliest, "{later} after {earliest}");
                earliest = later;
            }
            Err(e) => panic!("{query}: {e:?}"),
        }
    };
    for offset in earliest..earliest + 3 {
        let event = next(&mut from_there).expect("an event");
        assert_eq!(event.id, Some(offset.to_string()));
    }
    assert_eq!(next(&mut from_there), None);
}

#[test]
fn a_page_that_waits_is_woken_by_the_record_and_by_the_stop() {
    let mut gateway = started(SETTINGS);
    let wait = |from: u64| {
        let mut client = gateway.client(2 * PATIENCE);
        thread::spawn(move || {
            let target = format!("/v1/streams/inbox?from={from}&wait=60s&limit=5");
            let started = Instant::now();
            let page = client
                .get(&target)
                .expect("an answer")
                .json()
                .expect("JSON");
            (page, started.elapsed())
        })
    };
    let (first, second) = (wait(0), wait(1));
    // Whether it waits already or not yet: it gets the record either way.
    assert!(publish(&mut gateway.client(ANSWER_LIMIT), "one"));
    let (page, took) = first.join().expect("no panic");
    assert_eq!(
        (&page["messages"][0]["id"], &page["next"]),
        (&"one".into(), &1.into())
    );
    assert!(took < PATIENCE, "{took:?}");
    assert!(!second.is_finished(), "nothing is there for it");
    gateway
        .terminate(STOP_LIMIT)
        .unwrap_or_else(|why| panic!("{why}"));
    let (page, took) = second.join().expect("no panic");
    assert_eq!(page["next"], 1);
    assert!(took < PATIENCE, "{took:?}");
}
