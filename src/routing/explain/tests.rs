use super::super::router::tests::{LIMITS, NOW, envelope, plan_with_skips, route, target};
use super::super::{Catalog, OnError, RouteSpec, Unrouted};
use super::*;
use crate::expression::{Program, Scope, Template};
use crate::message::{Guarantee, Header};
use bytes::Bytes;
use fastrand::Rng;

fn router(specs: &[RouteSpec]) -> Router {
    let catalog = Catalog::made_up(specs);
    Router::new(specs, Unrouted::Reject, &catalog, LIMITS).expect("names are in the catalog")
}

fn explained(router: &Router, envelope: &Envelope) -> Explanation {
    router.explain(&Arrival {
        envelope,
        id: &envelope.id,
        scope: &Scope::new(envelope),
        now: NOW,
    })
}

fn one(name: &str, pattern: &str) -> RouteSpec {
    route(name, pattern, vec![target("inbox")])
}

fn header(name: &str, value: &str) -> HeaderMatch {
    HeaderMatch {
        name: name.into(),
        value: value.into(),
    }
}

fn with_headers(pairs: &[(&str, &'static [u8])]) -> Envelope {
    let header = |(name, value): &(&str, &'static [u8])| Header {
        name: (*name).into(),
        value: Bytes::from_static(value),
    };
    Envelope {
        headers: pairs.iter().map(header).collect(),
        ..envelope("orders/7")
    }
}

fn words(specs: &[RouteSpec], envelope: &Envelope) -> Vec<(String, String)> {
    let explanation = explained(&router(specs), envelope);
    let told = explanation.unmatched.into_iter();
    told.map(|(route, why)| (route, why.to_string())).collect()
}

#[test]
fn each_route_tells_its_first_reason() {
    let mut from = one("from", "orders/#");
    from.from = vec!["grpc".into(), "source:clicks".into()];
    let mut missing = one("missing", "#");
    missing.headers = vec![header("kind", "pdf")];
    let mut other = one("other", "#");
    other.headers = vec![header("type", "png")];
    let mut long = one("long", "#");
    long.headers = vec![header("long", "1")];
    let mut any = one("any", "#");
    any.headers_any = vec![header("a", "1"), header("b", "2")];
    let mut stop = one("stop", "orders/+");
    stop.stop = true;
    // Its `from` doesn't fit either, but the topic comes first.
    let mut both = one("both", "clicks/#");
    both.from = vec!["grpc".into()];
    let specs = [
        from,
        missing,
        other,
        long,
        any,
        stop,
        both,
        one("behind", "#"),
    ];
    let long = Box::leak(vec![b'x'; 65].into_boxed_slice());
    let envelope = with_headers(&[("Type", b"pdf"), ("Long", long)]);
    let explanation = explained(&router(&specs), &envelope);
    assert_eq!(explanation.matched, ["stop"]);
    let expected = [
        (
            "from",
            "it comes from `http`, the route takes `grpc`, `source:clicks`",
        ),
        ("missing", "the header `kind` is missing, it must be `pdf`"),
        ("other", "the header `type` is `pdf`, it must be `png`"),
        ("long", "the header `long` isn't `1`"),
        ("any", "none of the headers is there: `a = 1`, `b = 2`"),
        (
            "both",
            "the topic's level 1 is `orders`, the pattern wants `clicks`",
        ),
        (
            "behind",
            "the route \"stop\" before it matched and stops the search",
        ),
    ];
    let expected = expected.map(|(route, why)| (route.to_owned(), why.to_owned()));
    assert_eq!(words(&specs, &envelope), expected);
}

#[test]
fn targets_have_their_names() {
    let specs = [
        route("a", "#", vec![target("inbox"), target("audit")]),
        one("b", "orders/#"),
    ];
    let explanation = explained(&router(&specs), &envelope("orders/7"));
    let names: Vec<_> = explanation
        .targets
        .iter()
        .map(|t| (&*t.route, &*t.destination))
        .collect();
    assert_eq!(names, [("a", "inbox"), ("a", "audit"), ("b", "inbox")]);

    let catalog = Catalog::made_up(&specs[1..]);
    let held = Router::new(&specs[1..], Unrouted::DeadLetter, &catalog, LIMITS);
    let explanation = explained(&held.expect("names"), &envelope("clicks"));
    let names: Vec<_> = explanation
        .targets
        .iter()
        .map(|t| (&*t.route, &*t.destination))
        .collect();
    assert_eq!(names, [(DOOR_NAME, DOOR_NAME)]);
    assert_eq!(explanation.matched, [""; 0]);
}

#[test]
fn a_refusal_tells_which_routes_were_not_looked_at() {
    let mut failing = one("failing", "#");
    failing.when = Program::compile("headers['x'] == '1'", &[]).ok();
    let specs = [one("first", "#"), failing, one("behind", "#")];
    let explanation = explained(&router(&specs), &envelope("a"));
    assert!(matches!(
        explanation.routed,
        Err(Refusal::RouteRefused { .. })
    ));
    assert_eq!(explanation.matched, ["first"]);
    let [(failing, why), (behind, behind_why)] = &explanation.unmatched[..] else {
        panic!("{explanation:?}");
    };
    assert_eq!((&**failing, &**behind), ("failing", "behind"));
    assert!(matches!(why, Why::WhenFailed(reason) if reason.starts_with("`when`: ")));
    assert_eq!(
        *behind_why,
        Why::Refused {
            by: "failing".into()
        }
    );
}

const PATTERNS: [&str; 10] = [
    "#", "a/#", "+/b", "{x}/b", "a/b", "#/b", "a/#/b", "b/{x}", "a", "$a/#",
];
const TOPICS: [&str; 7] = ["a", "a/b", "b/b", "a/c/b", "$a/b", "c", "a//b"];
const WHENS: [&str; 5] = [
    "headers['k'] == '1'",
    "payload.n > 1",
    "payload.missing == 1",
    "topic == 'a/b'",
    "true",
];

fn random_route(rng: &mut Rng, number: usize) -> RouteSpec {
    let mut once_in = |many: u8| rng.u8(..many) == 0;
    let (from, headers, any) = (once_in(6), once_in(4), once_in(6));
    let (when, transform, stop, key) = (once_in(3), once_in(5), once_in(6), once_in(5));
    let (exact, delayed) = (once_in(30), once_in(8));
    let mut of_route = target(["inbox", "audit"][rng.usize(..2)]);
    if key {
        let texts = ["${payload.id}", "k-${topic}", "plain", "${headers['k']}"];
        of_route.key = Template::parse(texts[rng.usize(..4)], &[]).ok();
    }
    if delayed {
        of_route.topic = Template::parse("${headers['to']}", &[]).ok();
    }
    if exact {
        of_route.guarantee = Guarantee::ExactlyOnce;
    }
    let targets = vec![of_route, target("inbox")][..rng.usize(1..=2)].to_vec();
    let mut spec = route(
        &format!("r{number}"),
        PATTERNS[rng.usize(..PATTERNS.len())],
        targets,
    );
    if from {
        spec.from = vec![["http", "grpc"][rng.usize(..2)].into()];
    }
    if headers {
        spec.headers = vec![header("k", ["1", "2"][rng.usize(..2)])];
    }
    if any {
        spec.headers_any = vec![header("k", "2"), header("to", "x")];
    }
    if when {
        spec.when = Program::compile(WHENS[rng.usize(..WHENS.len())], &[]).ok();
    }
    if transform {
        let source = ["{'id': payload.n}", "payload.gone"][rng.usize(..2)];
        spec.transform = Program::compile(source, &[]).ok();
    }
    spec.stop = stop;
    spec.on_error = [OnError::Skip, OnError::DeadLetter, OnError::Reject][rng.usize(..3)];
    spec
}

fn random_envelope(rng: &mut Rng) -> Envelope {
    let mut envelope = envelope(TOPICS[rng.usize(..TOPICS.len())]);
    for (name, values) in [("k", ["1", "2"]), ("To", ["x", "a+b"])] {
        if rng.bool() {
            envelope.headers.push(Header {
                name: name.into(),
                value: Bytes::from_static(values[rng.usize(..2)].as_bytes()),
            });
        }
    }
    let payloads = [&br#"{"n":1,"id":"i"}"#[..], br#"{"n":2}"#, b"no json"];
    envelope.payload = Ok(Bytes::from_static(payloads[rng.usize(..3)]));
    if rng.u8(..10) == 0 {
        envelope.id = crate::message::MessageId::None;
    }
    envelope
}

/// What matches says the plain meaning: every route is looked at, in the order of the file.
fn naively_matched(specs: &[RouteSpec], envelope: &Envelope) -> Vec<String> {
    let mut matched = Vec::new();
    let scope = Scope::new(envelope);
    let is_met = |wanted: &HeaderMatch| {
        envelope
            .header(&wanted.name)
            .is_some_and(|value| value[..] == *wanted.value.as_bytes())
    };
    for spec in specs {
        let fits = spec.pattern.matches(&envelope.topic)
            && (spec.from.is_empty() || spec.from.iter().any(|from| **from == *envelope.source))
            && spec.headers.iter().all(is_met)
            && (spec.headers_any.is_empty() || spec.headers_any.iter().any(is_met));
        if !fits {
            continue;
        }
        let bound = spec.pattern.bind(&envelope.topic).expect("it matches");
        let scope = scope.with_levels(&bound);
        let matches = match spec
            .when
            .as_ref()
            .map_or(Ok(true), |when| when.is_true(&scope))
        {
            Ok(matches) => matches,
            Err(_) => match spec.on_error {
                OnError::DeadLetter => true,
                OnError::Skip => false,
                OnError::Reject => break,
            },
        };
        if matches {
            matched.push(spec.name.clone());
            if spec.stop {
                break;
            }
        }
    }
    matched
}

#[test]
fn the_explanation_is_the_plan() {
    let (mut planned, mut refused, mut skipped) = (0, 0, 0);
    for seed in 0..4_000 {
        let mut rng = Rng::with_seed(seed);
        let specs: Vec<RouteSpec> = (0..rng.usize(1..12))
            .map(|number| random_route(&mut rng, number))
            .collect();
        let router = router(&specs);
        let envelope = random_envelope(&mut rng);
        let (plan, skips) = plan_with_skips(&router, &envelope);
        let explanation = explained(&router, &envelope);
        assert_eq!(explanation.routed, plan, "seed {seed}");
        assert_eq!(explanation.skipped, skips, "seed {seed}");
        check(&specs, &explanation, &envelope, seed);
        planned += usize::from(matches!(plan, Ok(Routed::To(_))));
        refused += usize::from(matches!(plan, Err(Refusal::RouteRefused { .. })));
        skipped += skips.len();
    }
    assert!(
        planned > 1_000 && refused > 200 && skipped > 200,
        "the cases are one-sided: {planned} planned, {refused} refused, {skipped} skipped"
    );
}

fn check(specs: &[RouteSpec], explanation: &Explanation, envelope: &Envelope, seed: u64) {
    // Every route is told of once.
    let unmatched = explanation.unmatched.iter().map(|(name, _)| name);
    let mut all: Vec<&String> = explanation.matched.iter().chain(unmatched).collect();
    all.sort_unstable();
    let mut names: Vec<&String> = specs.iter().map(|spec| &spec.name).collect();
    names.sort_unstable();
    assert_eq!(all, names, "seed {seed}");

    // Those that matched are those of the plan, but for what was passed over.
    let mut of_plan: Vec<&String> = explanation.targets.iter().map(|t| &t.route).collect();
    of_plan.dedup();
    let is_planned = |name: &&String| of_plan.contains(name);
    if matches!(explanation.routed, Ok(Routed::To(_))) {
        let matched = explanation.matched.iter();
        let matched: Vec<&String> = matched
            .filter(|name| is_planned(name) || !is_skipped(explanation, name))
            .collect();
        assert_eq!(matched, of_plan, "seed {seed}");
    }
    let naive = naively_matched(specs, envelope);
    match explanation.routed {
        Ok(_) | Err(Refusal::NoRoute { .. }) => {
            assert_eq!(explanation.matched, naive, "seed {seed}");
        }
        Err(_) => assert!(naive.starts_with(&explanation.matched), "seed {seed}"),
    }
}

fn is_skipped(explanation: &Explanation, name: &str) -> bool {
    explanation.skipped.iter().any(|skip| skip.route == name)
}
