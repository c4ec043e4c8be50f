use super::*;

pub(super) fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn matching_by_example() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "a/b",
            &["a/b"],
            &["a", "a/b/c", "A/b", "a/b/", "/a/b", "a//b"],
        ),
        ("+", &["a", ""], &["a/b", "$a"]),
        ("a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/b/c"]),
        ("a/{x}/c", &["a/b/c"], &["a/c"]),
        ("#", &["a", "a/b/c", "", "/"], &["$a", "$a/b"]),
        ("a/#", &["a", "a/b", "a/b/c", "a/"], &["b", "ab", "ab/c"]),
        ("#/z", &["z", "a/z", "a/b/z", "z/z"], &["z/a", "$a/z"]),
        ("#/$a", &["b/$a"], &["$a", "$b/$a"]),
        (
            "a/#/z",
            &["a/z", "a/b/z", "a/z/z", "a/z/b/z"],
            &["a", "z", "a/z/b", "az"],
        ),
        ("#/m/#", &["m", "a/m", "m/a", "a/m/b", "m/m"], &["a", "a/b"]),
        (
            "a/#/b/#/c",
            &["a/b/c", "a/x/b/c", "a/b/x/c", "a/c/b/b/c"],
            &["a/c", "a/c/b"],
        ),
        ("+/#/+", &["a/b", "a/x/b"], &["a", "$a/b"]),
        ("$sys/#", &["$sys", "$sys/a"], &["sys"]),
        ("a/$b", &["a/$b"], &["a/b"]),
        ("{x}/a", &["b/a"], &["$b/a"]),
    ];
    for (text, hits, misses) in cases {
        for topic in *hits {
            assert!(pattern(text).matches(topic), "{text} must match {topic:?}");
        }
        for topic in *misses {
            assert!(
                !pattern(text).matches(topic),
                "{text} must not match {topic:?}"
            );
        }
    }
}

#[test]
fn named_levels_bind() {
    let orders = pattern("orders/{shop}/#/{last}");
    assert_eq!(orders.names().collect::<Vec<_>>(), ["shop", "last"]);
    assert_eq!(
        orders.bind("orders/7/a/b/c"),
        Some(vec![("shop", "7"), ("last", "c")])
    );
    assert_eq!(
        orders.bind("orders/7/c"),
        Some(vec![("shop", "7"), ("last", "c")])
    );
    assert_eq!(orders.bind("orders/7"), None);
    assert_eq!(pattern("#/{x}/#").bind("a/b"), Some(vec![("x", "a")]));
}

#[test]
fn what_is_no_pattern_says_why() {
    use PatternError::*;
    let level = |level: &str| level.to_owned();
    let long = "a".repeat(MAX_PATTERN_BYTES + 1);
    for (text, error) in [
        ("", Empty),
        (
            long.as_str(),
            TooLong {
                bytes: MAX_PATTERN_BYTES + 1,
            },
        ),
        ("a\0", Nul),
        (
            "a+/b",
            PartOfLevel {
                wildcard: '+',
                level: level("a+"),
            },
        ),
        (
            "a/b#",
            PartOfLevel {
                wildcard: '#',
                level: level("b#"),
            },
        ),
        (
            "a/##",
            PartOfLevel {
                wildcard: '#',
                level: level("##"),
            },
        ),
        ("{}", BadName { level: level("{}") }),
        ("{a", BadName { level: level("{a") }),
        ("a}", BadName { level: level("a}") }),
        (
            "x{a}",
            BadName {
                level: level("x{a}"),
            },
        ),
        (
            "{1a}",
            BadName {
                level: level("{1a}"),
            },
        ),
        (
            "{a-b}",
            BadName {
                level: level("{a-b}"),
            },
        ),
        ("{a}/{a}", NameTwice { name: level("a") }),
    ] {
        assert_eq!(Pattern::parse(text), Err(error), "{text:?}");
    }
}

/// With backtracking into every `#` this would take longer than the universe has time.
#[test]
fn many_wildcards_stay_cheap() {
    let many = format!("{}/z", vec!["#/a"; 200].join("/"));
    let topic = vec!["a"; 1_000].join("/");
    assert!(!pattern(&many).matches(&topic));
    assert!(pattern(&many).matches(&format!("{topic}/z")));
}

/// The plain meaning of a pattern: tries everything, every `#` short first.
fn naive<'a>(levels: &'a [Level], topic: &[&'a str], bound: &mut Vec<(&'a str, &'a str)>) -> bool {
    let Some((level, rest)) = levels.split_first() else {
        return topic.is_empty();
    };
    match level {
        Level::Many => (0..=topic.len()).any(|taken| naive(rest, &topic[taken..], bound)),
        _ => {
            let Some((part, others)) = topic.split_first() else {
                return false;
            };
            match level {
                Level::Literal(literal) if literal != part => return false,
                Level::Named(name) => bound.push((name, part)),
                _ => {}
            }
            let matched = naive(rest, others, bound);
            if !matched && matches!(level, Level::Named(_)) {
                bound.pop();
            }
            matched
        }
    }
}

pub(super) fn random_pattern(random: &mut fastrand::Rng) -> String {
    let mut names = ["{x}", "{y}", "{z}"].into_iter();
    let levels: Vec<&str> = (0..random.usize(1..8))
        .map(|_| match random.u8(0..10) {
            0..=2 => "#",
            3 => "+",
            4 => names.next().unwrap_or("+"),
            5 => "b",
            6 => "",
            7 => "$a",
            _ => "a",
        })
        .collect();
    levels.join("/")
}

pub(super) fn random_topic(random: &mut fastrand::Rng) -> String {
    let levels: Vec<&str> = (0..random.usize(1..10))
        .map(|_| ["a", "a", "a", "b", "b", "", "$a"][random.usize(0..7)])
        .collect();
    levels.join("/")
}

#[test]
fn agrees_with_the_naive_matcher() {
    let mut matched = 0;
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let text = random_pattern(&mut random);
        let Ok(pattern) = Pattern::parse(&text) else {
            assert_eq!(text, "", "seed {seed}");
            continue;
        };
        let topic = random_topic(&mut random);
        let parts: Vec<&str> = topic.split('/').collect();
        let mut bound = Vec::new();
        let hidden = topic.starts_with('$') && text.starts_with(['#', '+', '{']);
        let expected = (!hidden && naive(&pattern.levels, &parts, &mut bound)).then_some(bound);
        assert_eq!(
            pattern.bind(&topic),
            expected,
            "seed {seed}: {text:?} on {topic:?}"
        );
        assert_eq!(pattern.matches(&topic), expected.is_some(), "seed {seed}");
        matched += usize::from(expected.is_some());
    }
    assert!(
        (2_000..18_000).contains(&matched),
        "the cases are one-sided: {matched} match"
    );
}
