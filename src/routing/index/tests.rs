//! The index against the plain meaning: every pattern tried, every condition looked at.

use super::*;
use crate::message::{Header, MessageId};
use crate::routing::HeaderMatch;
use bytes::Bytes;
use fastrand::Rng;

const HISTORIES: u64 = 6_000;
const TOPICS: usize = 8;

type Spec = (Pattern, Asked);

/// Levels that collide often: empty ones, `$`, letters of several bytes, prefixes of each other.
const LITERALS: [&str; 9] = ["a", "a", "b", "ab", "", "$a", "$", "ä", "日本"];

fn level(rng: &mut Rng, names: &mut u8) -> String {
    match rng.u8(..10) {
        0 | 1 => "#".into(),
        2 => "+".into(),
        3 => {
            *names += 1;
            format!("{{n{names}}}")
        }
        _ => LITERALS[rng.usize(..LITERALS.len())].into(),
    }
}

fn pattern(rng: &mut Rng) -> Pattern {
    loop {
        let mut names = 0;
        let levels = (0..rng.usize(1..6)).map(|_| level(rng, &mut names));
        let text = levels.collect::<Vec<_>>().join("/");
        if let Ok(pattern) = Pattern::parse(&text) {
            return pattern;
        }
    }
}

fn topic(rng: &mut Rng) -> String {
    let level = |rng: &mut Rng| LITERALS[rng.usize(..LITERALS.len())];
    let levels = (0..rng.usize(1..8)).map(|_| level(rng));
    levels.collect::<Vec<_>>().join("/")
}

fn wanted(rng: &mut Rng, most: usize) -> Vec<HeaderMatch> {
    let one = |rng: &mut Rng| HeaderMatch {
        name: name(rng),
        value: ["", "1", "2", "ü"][rng.usize(..4)].into(),
    };
    (0..rng.usize(..=most)).map(|_| one(rng)).collect()
}

/// Sometimes more names than are looked up one by one.
fn name(rng: &mut Rng) -> String {
    let names = rng.u8(2..12);
    format!("h{}", rng.u8(..names))
}

fn asked(rng: &mut Rng) -> Asked {
    let sources = ["http", "grpc", "source:a", "source:b"];
    let from = (0..rng.usize(..3)).map(|_| sources[rng.usize(..4)].to_owned());
    let from = from.collect();
    let alternatives = if rng.u8(..20) == 0 { 80 } else { 2 };
    Asked {
        from,
        headers: wanted(rng, 3),
        headers_any: wanted(rng, alternatives),
    }
}

fn envelope(rng: &mut Rng) -> Envelope {
    let header = |rng: &mut Rng| Header {
        name: match rng.bool() {
            true => name(rng),
            false => name(rng).to_uppercase(),
        },
        value: Bytes::from_static([&b""[..], b"1", b"2", "ü".as_bytes(), b"\xff"][rng.usize(..5)]),
    };
    Envelope {
        principal: "anonymous".into(),
        source: ["http", "mqtt", "source:a"][rng.usize(..3)].into(),
        topic: topic(rng),
        id: MessageId::None,
        key: None,
        headers: (0..rng.usize(..12)).map(|_| header(rng)).collect(),
        content_type: None,
        payload: Ok(Bytes::new()),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}

/// Mostly routes that ask for little, so that many match.
fn specs(rng: &mut Rng) -> Vec<Spec> {
    let few: Vec<Pattern> = (0..3).map(|_| pattern(rng)).collect();
    let spec = |rng: &mut Rng| {
        let pattern = match rng.bool() {
            true => few[rng.usize(..3)].clone(),
            false => pattern(rng),
        };
        let asked = match rng.u8(..3) {
            0 => asked(rng),
            1 => Asked {
                headers: wanted(rng, 1),
                ..Asked::default()
            },
            _ => Asked::default(),
        };
        (pattern, asked)
    };
    (0..rng.usize(1..40)).map(|_| spec(rng)).collect()
}

fn index(specs: &[Spec]) -> Index {
    Index::new(specs.iter().map(|(pattern, asked)| (pattern, asked)))
}

fn naive(specs: &[Spec], envelope: &Envelope) -> Vec<u32> {
    let levels: Vec<&str> = envelope.topic.split('/').collect();
    let fits = |(pattern, asked): &Spec| {
        pattern.matches_levels(&levels) && first_unmet(asked, envelope).is_none()
    };
    let numbered = specs.iter().zip(0..);
    numbered
        .filter(|(spec, _)| fits(spec))
        .map(|(_, number)| number)
        .collect()
}

/// As the router does: what the index doesn't hold is looked at again.
fn found(index: &Index, specs: &[Spec], envelope: &Envelope, scratch: &mut Scratch) -> Vec<u32> {
    index.find(envelope, scratch);
    let fits = |number: &u32| {
        let asked = &specs[*number as usize].1;
        asked.is_indexed() || first_unmet(asked, envelope).is_none()
    };
    scratch.found.iter().copied().filter(fits).collect()
}

#[test]
fn finds_what_the_naive_matcher_finds() {
    let mut scratch = Scratch::default();
    let (mut matched, mut offered) = (0, 0);
    for seed in 0..HISTORIES {
        let mut rng = Rng::with_seed(seed);
        let specs = specs(&mut rng);
        let index = index(&specs);
        for _ in 0..TOPICS {
            let envelope = envelope(&mut rng);
            let expected = naive(&specs, &envelope);
            let found = found(&index, &specs, &envelope, &mut scratch);
            assert_eq!(found, expected, "seed {seed}: {envelope:?}\n{specs:?}");
            matched += expected.len();
            offered += scratch.found.len();
        }
    }
    let cases = HISTORIES as usize * TOPICS;
    assert!(matched > cases, "the cases are one-sided: {matched} match");
    // Only alternatives that are too many are left out of the index.
    assert!(offered < matched + matched / 10, "{offered} for {matched}");
}

/// A place in the set of nodes for each `#`, not a way through the topic for each.
#[test]
fn many_wildcards_stay_cheap() {
    let parse = |text: &str| (Pattern::parse(text).expect("a pattern"), Asked::default());
    let specs: Vec<Spec> = (1..200)
        .map(|count| parse(&format!("{}/z", vec!["#/a"; count].join("/"))))
        .collect();
    let index = index(&specs);
    let mut scratch = Scratch::default();
    let deep = |end: &str| Envelope {
        topic: format!("{}/{end}", vec!["a"; 150].join("/")),
        ..envelope(&mut Rng::with_seed(1))
    };
    assert_eq!(found(&index, &specs, &deep("a"), &mut scratch), [0_u32; 0]);
    let all = found(&index, &specs, &deep("z"), &mut scratch);
    assert_eq!(all, (0..150).collect::<Vec<u32>>());
    assert!(scratch.reached.capacity() <= 4 * index.nodes.len());
}

#[test]
fn a_header_that_stands_twice_counts_once() {
    let headers = |pairs: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| HeaderMatch {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        pairs.iter().map(pair).collect::<Vec<_>>()
    };
    let any = Pattern::parse("#").expect("a pattern");
    let asks = |pairs: &[(&str, &str)]| {
        let asked = Asked {
            headers: headers(pairs),
            ..Asked::default()
        };
        (any.clone(), asked)
    };
    let mut specs = vec![asks(&[("x", "1")]), asks(&[("x", "2")])];
    for many in [false, true] {
        if many {
            // More names than are looked up one by one.
            specs.extend(["p", "q", "r", "s", "t"].map(|name| asks(&[(name, "1")])));
        }
        let mut envelope = envelope(&mut Rng::with_seed(3));
        let header = |name: &str, value: &'static str| Header {
            name: name.to_owned(),
            value: Bytes::from_static(value.as_bytes()),
        };
        envelope.topic = "a".to_owned();
        envelope.headers = vec![header("X", "2"), header("x", "1"), header("X", "2")];
        let index = index(&specs);
        let mut scratch = Scratch::default();
        index.find(&envelope, &mut scratch);
        assert_eq!(scratch.found, [1]);
    }
}
