//! What a plan costs, and that it hangs on the message and not on how many routes there are.
//!
//! Each message matches one route. Larger tables are measured turn about with the one of 10, and twice:
//! with messages for 64 routes that are spread over the table, which tells what the search costs; and
//! with messages for all of them in a shuffled order, where each plan meets a route whose lines of memory
//! others have driven out of the caches.

use super::report::{Row, Size};
use super::support::ratio::{Ratio, interleaved, median};
use bytes::Bytes;
use causeway::clock::Wall;
use causeway::expression::{Program, Scope, Template};
use causeway::message::{Ack, Envelope, Guarantee, Header, MessageId, TopicNames};
use causeway::routing::{
    Arrival, Catalog, HeaderMatch, HeaderSpec, OnError, OnFull, OnReject, Pattern, PlanLimits,
    RouteSpec, Routed, Router, TargetSpec, Unrouted,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const LEAST: usize = 10;
const ROUNDS: usize = 15;
/// A round's plans: every route of the largest table several times.
const PLANS: u64 = 50_000;
/// The routes that messages come for, where it isn't all of them.
const WARM: usize = 64;
const SEED: u64 = 5;

const PAYLOAD: &[u8] = br#"{"id":"o-1847","customer":{"id":77,"country":"de"},"total":129.5,"currency":"EUR","items":[{"sku":"a-1","n":2}],"paid":true}"#;

const PLAIN: &str = "< 1 µs; ≤ 1.5 × 10 routes";
const WHEN: &str = "< 4 µs; ≤ 1.5 × 10 routes";
const TRANSFORM: &str = "< 10 µs; ≤ 1.5 × 10 routes";

/// The route of a number, and what of a message makes it match.
struct Family {
    what: &'static str,
    aim: &'static str,
    route: fn(usize) -> RouteSpec,
    message: fn(usize) -> Message,
}

/// What differs from message to message.
struct Message {
    topic: String,
    header: Bytes,
    source: Arc<str>,
}

const FAMILIES: [Family; 8] = [
    Family {
        what: "literal patterns",
        aim: PLAIN,
        route: |n| route(n, &format!("orders/r{n}/created")),
        message: |n| of_topic(format!("orders/r{n}/created")),
    },
    Family {
        what: "a long prefix, the last level differs",
        aim: PLAIN,
        route: |n| route(n, &format!("eu/plants/7/lines/3/cells/r{n}")),
        message: |n| of_topic(format!("eu/plants/7/lines/3/cells/r{n}")),
    },
    Family {
        what: "patterns with `+`, `{name}` and `#`",
        aim: PLAIN,
        route: |n| route(n, &wildcards(n, ["+", "{shop}", "#"])),
        message: |n| of_topic(wildcards(n, ["a", "b", "c/d"])),
    },
    Family {
        what: "`#` routes of which a header differs",
        aim: PLAIN,
        route: |n| RouteSpec {
            headers: vec![HeaderMatch {
                name: "type".to_owned(),
                value: format!("t{n}"),
            }],
            ..route(n, "#")
        },
        message: |n| Message {
            header: format!("t{n}").into(),
            ..of_topic("orders/7/created".to_owned())
        },
    },
    Family {
        what: "`#` routes of which the source differs",
        aim: PLAIN,
        route: |n| RouteSpec {
            from: vec![format!("source:s{n}")],
            ..route(n, "#")
        },
        message: |n| Message {
            source: format!("source:s{n}").into(),
            ..of_topic("orders/7/created".to_owned())
        },
    },
    Family {
        what: "one `when` on 130 bytes of JSON",
        aim: WHEN,
        route: |n| RouteSpec {
            when: Some(program("payload.total > 100.0 && headers['type'] == 't'")),
            ..route(n, &format!("orders/r{n}/created"))
        },
        message: |n| Message {
            header: Bytes::from_static(b"t"),
            ..of_topic(format!("orders/r{n}/created"))
        },
    },
    Family {
        what: "a `transform` to a new payload, and a key from it",
        aim: TRANSFORM,
        route: |n| {
            let source =
                "{'id': payload.id, 'country': payload.customer.country, 'total': payload.total}";
            let mut spec = route(n, &format!("orders/r{n}/created"));
            spec.transform = Some(program(source));
            spec.targets[0].key = Some(template("${payload.id}"));
            spec
        },
        message: |n| of_topic(format!("orders/r{n}/created")),
    },
    Family {
        what: "a topic, a key and a header rendered without the payload",
        aim: PLAIN,
        route: |n| {
            let mut spec = route(n, &format!("orders/r{n}/{{shop}}"));
            let levels = &["shop"];
            let of_shop = |text| Template::parse(text, levels).expect("a template");
            spec.targets[0].topic = Some(of_shop("shops.${shop}"));
            spec.targets[0].key = Some(of_shop("${shop}"));
            spec.targets[0].headers = Some(vec![HeaderSpec {
                name: "kind".to_owned(),
                value: of_shop("${headers['type']}"),
            }]);
            spec
        },
        message: |n| of_topic(format!("orders/r{n}/berlin")),
    },
];

/// Five kinds, the wildcards in front and behind, one level and any number.
fn wildcards(number: usize, [one, named, many]: [&str; 3]) -> String {
    match number % 5 {
        0 => format!("w{number}/{one}/x"),
        1 => format!("w{number}/{named}/{one}"),
        2 => format!("w{number}/{many}"),
        3 => format!("{many}/w{number}"),
        _ => format!("{named}/w{number}/{many}/z"),
    }
}

fn of_topic(topic: String) -> Message {
    Message {
        topic,
        header: Bytes::from_static(b"pdf"),
        source: "http".into(),
    }
}

fn program(source: &str) -> Program {
    Program::compile(source, &[]).expect("an expression")
}

fn template(text: &str) -> Template {
    Template::parse(text, &[]).expect("a template")
}

fn route(number: usize, pattern: &str) -> RouteSpec {
    let target = TargetSpec {
        destination: "inbox".to_owned(),
        guarantee: Guarantee::AtLeastOnce,
        names: TopicNames::Any,
        topic: None,
        key: None,
        headers: None,
        priority: None,
        delay: None,
        ttl: None,
        on_full: OnFull::Refuse,
        on_reject: OnReject::Skip,
    };
    RouteSpec {
        name: format!("route-{number}"),
        pattern: Pattern::parse(pattern).expect("a pattern"),
        from: Vec::new(),
        headers: Vec::new(),
        headers_any: Vec::new(),
        when: None,
        transform: None,
        stop: false,
        on_error: OnError::Reject,
        ack: Ack::Stored,
        ack_timeout: Duration::from_secs(30),
        targets: vec![target],
    }
}

pub fn routes(size: Size) -> Vec<Row> {
    FAMILIES
        .iter()
        .flat_map(|family| rows(family, size))
        .collect()
}

fn rows(family: &Family, size: Size) -> Vec<Row> {
    let plans = size.of(PLANS);
    let row = |routes: usize, figure| Row {
        what: format!("a plan of {routes} routes: {}", family.what),
        figure,
        aim: family.aim,
    };
    let mut least = Table::new(family, LEAST, LEAST);
    let alone = (0..size.rounds(ROUNDS)).map(|_| least.run(plans).as_secs_f64());
    let alone = median(alone.collect());
    let mut rows = vec![row(LEAST, nanos(alone, plans))];
    for routes in SIZES {
        let mut against = |met: usize| {
            let mut table = Table::new(family, routes, met);
            let rounds = size.rounds(ROUNDS);
            interleaved(rounds, || least.run(plans), || table.run(plans))
        };
        let (warm, cold) = (against(WARM), against(routes));
        rows.push(row(routes, compared(&warm, &cold, plans)));
    }
    rows
}

fn nanos(seconds: f64, plans: u64) -> String {
    format!("{:.0} ns", seconds * 1e9 / plans as f64)
}

/// "180 ns; 1.10 (1.05–1.20) × 10 routes; all in turn: 220 ns, 1.40 ×".
fn compared(warm: &Ratio, cold: &Ratio, plans: u64) -> String {
    let (least, most) = warm.spread();
    let figure = |ratio: &Ratio| nanos(ratio.medians().1.as_secs_f64(), plans);
    format!(
        "{}; {:.2} ({least:.2}–{most:.2}) × 10 routes; all in turn: {}, {:.2} ×",
        figure(warm),
        warm.rate(),
        figure(cold),
        cold.rate(),
    )
}

/// A router, and messages for it.
struct Table {
    router: Router,
    messages: Vec<Message>,
    envelope: Envelope,
    at: usize,
}

impl Table {
    /// Messages come for so many of the routes, spread over all.
    fn new(family: &Family, routes: usize, met: usize) -> Self {
        let specs: Vec<RouteSpec> = (0..routes).map(family.route).collect();
        let limits = PlanLimits {
            payload_bytes: 1 << 20,
            headers: 64,
            header_bytes: 16 << 10,
        };
        let catalog = Catalog::made_up(&specs);
        let router = Router::new(&specs, Unrouted::Reject, &catalog, limits);
        let mut random = fastrand::Rng::with_seed(SEED);
        let largest = SIZES[SIZES.len() - 1];
        // As many for the small table: its messages are as cold.
        let numbers = (0..largest).map(|n| n % met * routes / met);
        let mut numbers: Vec<usize> = numbers.collect();
        random.shuffle(&mut numbers);
        Self {
            router: router.expect("names are in the catalog"),
            messages: numbers.into_iter().map(family.message).collect(),
            envelope: envelope(),
            at: 0,
        }
    }

    /// The time of so many plans, each of another message.
    fn run(&mut self, plans: u64) -> Duration {
        let started = Instant::now();
        for _ in 0..plans {
            self.at = (self.at + 1) % self.messages.len();
            let message = &self.messages[self.at];
            let envelope = &mut self.envelope;
            envelope.topic.clone_from(&message.topic);
            envelope.source.clone_from(&message.source);
            envelope.headers[1].value.clone_from(&message.header);
            let scope = Scope::new(envelope);
            let arrival = Arrival {
                envelope,
                id: &MessageId::None,
                scope: &scope,
                now: Wall(1),
            };
            let planned = self.router.plan(&arrival, &mut Vec::new());
            match black_box(planned) {
                Ok(Routed::To(planned)) => assert_eq!(planned.plan.targets.len(), 1),
                other => panic!("{}: {other:?}", message.topic),
            }
        }
        started.elapsed()
    }
}

fn envelope() -> Envelope {
    let header = |name: &str, value: &'static str| Header {
        name: name.to_owned(),
        value: Bytes::from_static(value.as_bytes()),
    };
    Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: String::new(),
        id: MessageId::None,
        key: None,
        headers: vec![header("Trace", "4bf92f35"), header("Type", "pdf")],
        content_type: Some("application/json".to_owned()),
        payload: Ok(Bytes::from_static(PAYLOAD)),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}
