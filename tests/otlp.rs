//! Spans of the real process, built with the feature `otlp`, as a collector gets them: over HTTP, in
//! protobuf. The collector is the test's own, and shares nothing with the exporter.

use crate::support::client::Client;
use crate::support::process::{Gateway, START_LIMIT, program};
use crate::support::wait::wait_for;
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";

const SETTINGS: &str = r##"
[destinations.inbox]
type = "stream"

[destinations.flaky]
type = "faulty"
script = "retry first 1"
record = "flaky.record"
retry = { initial = "20ms", max = "50ms" }

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox", "flaky"]

[[routes]]
name = "later"
topic = "later"
to = [{ destination = "inbox", delay = "3s" }]
"##;

/// As opentelemetry-proto has them, as far as they are looked at.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Export {
        #[prost(message, repeated, tag = "1")]
        pub resources: Vec<OfResource>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct OfResource {
        #[prost(message, optional, tag = "1")]
        pub resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub scopes: Vec<OfScope>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct OfScope {
        #[prost(message, repeated, tag = "2")]
        pub spans: Vec<Span>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub span_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        pub name: String,
        #[prost(fixed64, tag = "7")]
        pub start: u64,
        #[prost(fixed64, tag = "8")]
        pub end: u64,
        #[prost(message, repeated, tag = "9")]
        pub attributes: Vec<KeyValue>,
        #[prost(message, optional, tag = "15")]
        pub status: Option<Status>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Status {
        #[prost(int32, tag = "3")]
        pub code: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct KeyValue {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(message, optional, tag = "2")]
        pub value: Option<Value>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Value {
        #[prost(string, optional, tag = "1")]
        pub text: Option<String>,
        #[prost(int64, optional, tag = "3")]
        pub number: Option<i64>,
    }
}

/// A span as it is compared: ids in hex.
#[derive(Clone, Debug)]
struct Span {
    service: String,
    trace: String,
    id: String,
    parent: String,
    name: String,
    attributes: Vec<(String, String)>,
    failed: bool,
}

impl Span {
    fn attribute(&self, key: &str) -> Option<&str> {
        let mut found = self.attributes.iter().filter(|(name, _)| name == key);
        found.next().map(|(_, value)| value.as_str())
    }
}

struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let taken = Arc::clone(&spans);
        // It ends with the process.
        thread::spawn(move || {
            for socket in listener.incoming() {
                let came = take(socket.expect("a connection"));
                taken.lock().expect("no panic").extend(came);
            }
        });
        Self { address, spans }
    }

    /// All spans, once they are so many.
    fn spans(&self, count: usize) -> Vec<Span> {
        wait_for(PATIENCE, || {
            let spans = self.spans.lock().expect("no panic").clone();
            match spans.len() >= count {
                true => Ok(spans),
                false => Err(format!("{count} spans, not {spans:?}")),
            }
        })
    }
}

/// One request of OTLP over HTTP.
fn take(socket: TcpStream) -> Vec<Span> {
    let mut reader = BufReader::new(socket);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_ascii_lowercase()),
        }
    }
    assert_eq!(lines[0], "post /v1/traces http/1.1");
    let header = |name: &str| {
        let mut found = lines.iter().filter_map(|line| line.strip_prefix(name));
        found
            .next()
            .unwrap_or_else(|| panic!("{name} in {lines:?}"))
    };
    assert_eq!(header("content-type: "), "application/x-protobuf");
    assert_eq!(header("x-token: "), "secret");
    let length: usize = header("content-length: ").parse().expect("a number");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let mut socket = reader.into_inner();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    socket.write_all(answer).expect("it listens");
    let export = wire::Export::decode(&body[..]).expect("protobuf");
    export.resources.iter().flat_map(spans_of).collect()
}

fn spans_of(of: &wire::OfResource) -> Vec<Span> {
    let resource = of.resource.clone().unwrap_or_default();
    let attributes = attributes(&resource.attributes);
    let service = attributes.iter().find(|(key, _)| key == "service.name");
    let service = service.map(|(_, name)| name.clone()).unwrap_or_default();
    let spans = of.scopes.iter().flat_map(|scope| &scope.spans);
    let span = |span: &wire::Span| {
        assert!(span.start > 0 && span.end >= span.start, "{span:?}");
        Span {
            service: service.clone(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name.clone(),
            attributes: self::attributes(&span.attributes),
            failed: span.status.as_ref().is_some_and(|status| status.code == 2),
        }
    };
    spans.map(span).collect()
}

fn attributes(pairs: &[wire::KeyValue]) -> Vec<(String, String)> {
    let text = |value: &wire::Value| match (&value.text, value.number) {
        (Some(text), _) => text.clone(),
        (None, number) => number.map(|n| n.to_string()).unwrap_or_default(),
    };
    let pair = |p: &wire::KeyValue| {
        (
            p.key.clone(),
            p.value.as_ref().map(text).unwrap_or_default(),
        )
    };
    pairs.iter().map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn gateway(collector: SocketAddr) -> Gateway {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    for (name, value) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &*format!("http://{collector}"),
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=secret"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_SERVICE_NAME", "edge"),
    ] {
        gateway.variable(name, value);
    }
    gateway
}

fn publish(client: &mut Client, topic: &str, id: &str, parent: Option<&str>) -> u16 {
    let headers = [("idempotency-key", id), ("content-type", "text/plain")];
    let parent = parent.map(|parent| ("traceparent", parent));
    let headers: Vec<_> = headers.into_iter().chain(parent).collect();
    let answer = client.post(&format!("/v1/topics/{topic}"), &headers, b"x");
    answer.unwrap_or_else(|t| panic!("{topic}: {t}")).status
}

/// The header of each message in the stream, by id.
fn delivered(gateway: &Gateway, count: usize) -> Vec<(String, Option<String>)> {
    let mut client = gateway.client(PATIENCE);
    wait_for(PATIENCE, || {
        let page = client
            .get("/v1/streams/inbox?from=0")
            .map_err(|t| t.to_string())?;
        let page = page.json()?;
        let messages = page["messages"].as_array().cloned().unwrap_or_default();
        let header = |m: &serde_json::Value| {
            let parent = m["headers"]["traceparent"].as_str().map(str::to_owned);
            (m["id"].as_str().unwrap_or_default().to_owned(), parent)
        };
        match messages.len() == count {
            true => Ok(messages.iter().map(header).collect()),
            false => Err(format!("{count} messages, not {page}")),
        }
    })
}

#[test]
fn a_sampled_trace_goes_through_the_gateway_and_others_only_pass() {
    let collector = Collector::start();
    let mut gateway = gateway(collector.address);
    gateway.start().unwrap();
    let mut client = gateway.client(PATIENCE);
    let sampled = format!("00-{TRACE_ID}-{SPAN_ID}-01");
    let not_sampled = format!("00-{TRACE_ID}-{SPAN_ID}-00");
    assert_eq!(
        publish(&mut client, "all/x", "sampled", Some(&sampled)),
        202
    );
    assert_eq!(
        publish(&mut client, "all/x", "not", Some(&not_sampled)),
        202
    );
    assert_eq!(publish(&mut client, "all/x", "none", None), 202);
    assert_eq!(
        publish(&mut client, "nowhere", "refused", Some(&sampled)),
        404
    );
    let headers = delivered(&gateway, 3);
    let header = |id: &str| {
        headers
            .iter()
            .find(|(i, _)| i == id)
            .and_then(|h| h.1.clone())
    };
    // Two of the publishes, one of the store, one of the stream, two of the flaky one.
    collector.spans(6);
    gateway.terminate(START_LIMIT).unwrap();
    let spans = collector.spans(6);
    assert_eq!(spans.len(), 6, "{spans:#?}");
    assert!(
        spans
            .iter()
            .all(|s| s.trace == TRACE_ID && s.service == "edge")
    );
    let named = |name: &str| -> Vec<&Span> { spans.iter().filter(|s| s.name == name).collect() };
    let accepts = named("accept");
    assert!(accepts.len() == 2 && accepts.iter().all(|s| s.parent == SPAN_ID));
    let refused = accepts.iter().find(|s| s.failed).expect("one was refused");
    assert_eq!(refused.attribute("error.type"), Some("no_route"));
    let accept = accepts.iter().find(|s| !s.failed).expect("one was taken");
    assert_eq!(
        accept.attribute("messaging.destination.name"),
        Some("all/x")
    );
    assert_eq!(accept.attribute("messaging.message.id"), Some("sampled"));
    let stores = named("store");
    assert_eq!((stores.len(), &stores[0].parent), (1, &accept.id));
    assert_eq!(stores[0].attribute("causeway.position"), Some("0"));
    let attempts = named("deliver");
    assert!(attempts.iter().all(|s| s.parent == accept.id));
    let to = |lane: &str| -> Vec<&&Span> {
        let is_to = |s: &&&Span| s.attribute("causeway.destination") == Some(lane);
        attempts.iter().filter(is_to).collect()
    };
    let failures: Vec<_> = to("flaky")
        .iter()
        .map(|s| s.attribute("error.type"))
        .collect();
    assert_eq!(failures, [Some("retry"), None]);
    let [inbox] = to("inbox")[..] else {
        panic!("one attempt at the stream: {attempts:?}");
    };
    // What is delivered belongs to the span of its delivery.
    let expected = format!("00-{TRACE_ID}-{}-01", inbox.id);
    assert_eq!(header("sampled"), Some(expected));
    assert_eq!(header("not"), Some(not_sampled));
    assert_eq!(header("none"), None);
}

/// The journal keeps whose span it is: the delivery of another process belongs to it.
#[test]
fn a_trace_begun_here_goes_on_after_kill_nine() {
    let collector = Collector::start();
    let mut gateway = gateway(collector.address);
    gateway.variable("OTEL_TRACES_SAMPLER", "always_on");
    gateway.start().unwrap();
    let mut client = gateway.client(PATIENCE);
    assert_eq!(publish(&mut client, "later", "root", None), 202);
    let before = collector.spans(2);
    gateway.kill();
    gateway.start().unwrap();
    delivered(&gateway, 1);
    let spans = collector.spans(3);
    let accept = before
        .iter()
        .find(|s| s.name == "accept")
        .expect("exported");
    assert_eq!(accept.parent, "", "nobody's");
    let deliver = spans
        .iter()
        .find(|s| s.name == "deliver")
        .expect("exported");
    assert_eq!(
        (&deliver.trace, &deliver.parent),
        (&accept.trace, &accept.id)
    );
}

/// It takes connections and answers none.
#[test]
fn a_collector_that_hangs_holds_nothing_up() {
    const MESSAGES: usize = 3_000;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut gateway = gateway(listener.local_addr().expect("bound"));
    gateway.variable("OTEL_BSP_MAX_QUEUE_SIZE", "64");
    gateway.start().unwrap();
    let mut client = gateway.client(PATIENCE);
    let sampled = format!("00-{TRACE_ID}-{SPAN_ID}-01");
    let begun = Instant::now();
    for n in 0..MESSAGES {
        let status = publish(&mut client, "all/x", &n.to_string(), Some(&sampled));
        assert_eq!(status, 202, "after {:?}", begun.elapsed());
    }
    let words = "traces are not exported";
    wait_for(PATIENCE, || match gateway.log_tail().contains(words) {
        true => Ok(()),
        false => Err(words.to_owned()),
    });
    gateway.terminate(START_LIMIT).unwrap();
}

#[test]
fn a_sampler_that_there_is_not_is_refused() {
    let mut gateway = gateway("127.0.0.1:9".parse().expect("an address"));
    gateway.variable("OTEL_TRACES_SAMPLER", "sometimes");
    let why = gateway.start().expect_err("it doesn't start");
    assert!(
        why.contains("OTEL_TRACES_SAMPLER=sometimes: write always_on"),
        "{why}"
    );
}
