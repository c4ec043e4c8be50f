use super::*;
use serde_json::json;

fn good(text: &str) -> Vec<Case> {
    read("t.toml", text).unwrap_or_else(|report| panic!("{}", report.to_text()))
}

fn bad(text: &str) -> String {
    match read("t.toml", text) {
        Err(report) => report.to_text(),
        Ok(cases) => panic!("{cases:?}"),
    }
}

#[test]
fn every_field_is_read() {
    let cases = good(
        r#"
[[test]]
name = "all"
publish = { topic = "a/b", data = { n = 1, l = [true, "x"] }, id = "i", key = "k", headers = { Kind = "pdf", x = ["1", "2"] }, content_type = "application/json", from = "clicks" }
expect = [{ route = "r", destination = "d", guarantee = "exactly_once", topic = "t", key = "k2", headers = { a = "b" }, content_type = "text/plain", data = "x", priority = 9, delay = "5s", ttl = "1h", dead_letter = false }]

[[test]]
publish = { topic = "none", data_base64 = "/w==" }
expect = []

[[test]]
refused = "id-needed"
[test.publish]
topic = "c"
"#,
    );
    let [all, none, refused] = &cases[..] else {
        panic!("{cases:?}");
    };
    assert_eq!((all.name.as_deref(), all.line), (Some("all"), 2));
    let envelope = all.publish.envelope();
    assert_eq!(&*envelope.source, "source:clicks");
    assert_eq!(envelope.payload, Ok(r#"{"l":[true,"x"],"n":1}"#.into()));
    let headers: Vec<_> = envelope.headers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(headers, ["kind", "x", "x"]);
    let Expected::Targets(targets) = &all.expected else {
        panic!("{all:?}");
    };
    assert_eq!(targets[0].guarantee, Some(Guarantee::ExactlyOnce));
    assert_eq!(targets[0].delay, Some(Duration::from_secs(5)));
    assert_eq!(targets[0].priority, Some(9));
    assert_eq!(targets[0].dead_letter, Some(false));
    assert_eq!(none.expected, Expected::Targets(Vec::new()));
    assert_eq!(none.publish.content_type(), "application/octet-stream");
    assert_eq!(refused.expected, Expected::Refused("id-needed".to_owned()));
    assert_eq!(&*refused.publish.envelope().source, "http");
}

#[test]
fn expectations_may_be_blocks() {
    let cases = good(
        "[[test]]\npublish.topic = \"a\"\n[[test.expect]]\nroute = \"r\"\ndestination = \"d\"\n",
    );
    let Expected::Targets(targets) = &cases[0].expected else {
        panic!("{cases:?}");
    };
    assert_eq!(targets[0].route, "r");
}

#[test]
fn all_errors_are_told_at_once_with_their_places() {
    let text = bad(r#"top = 1

[[test]]
publihs = { topic = "a" }
expect = [{ route = "r", destinatoin = "d" }, 3]

[[test]]
publish = { topic = 1, data = 1, data_base64 = "!" }
refused = "No Type"

[[test]]
publish = { topic = "a", data = 1979-05-27, headers = { a = 1 } }
expect = [{ route = "r", destination = "d", guarantee = "exactly_onec", delay = "5", priority = 256, dead_letter = "no" }]

[[test]]
publish = { topic = "a" }

[[test]]
publish = { topic = "a" }
expect = []
refused = "no-route"
"#);
    for words in [
        "t.toml:1:1: error: unknown key `top` at the top of the file",
        "t.toml:4:1: error: unknown key `publihs` in [[test]]",
        "help: did you mean `publish`?",
        "`publish` is missing in [[test]]",
        "t.toml:5:26: error: unknown key `destinatoin` in expect",
        "`destination` is missing in expect",
        "t.toml:5:47: error: an entry of `expect` must be a table",
        "t.toml:8:21: error: `topic` must be text",
        "there is `data` too",
        "this isn't base64",
        "t.toml:9:11: error: `refused` is no type of a problem",
        "JSON has no dates",
        "a header's value must be text",
        "did you mean \"exactly_once\"?",
        "`delay` must be a duration",
        "`priority` must be a whole number up to 255",
        "`dead_letter` must be true or false",
        "t.toml:15:1: error: it isn't said what is expected",
        "it can't be delivered and refused",
        "t.toml: 18 errors",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn what_is_no_toml_and_what_has_no_case() {
    assert!(bad("[[test]\n").contains("this is no TOML"));
    assert!(bad("").contains("there is no case in it"));
    assert!(bad("test = 1\n").contains("must be a list of tables"));
}

/// Whatever can be said is read as it was meant.
#[test]
fn what_is_written_is_read_again() {
    let mut random = fastrand::Rng::with_seed(5);
    let words = |random: &mut fastrand::Rng| -> String {
        let pool = [
            'a', '"', '\'', '\\', '\n', '\u{1}', 'é', ' ', '{', '#', '\u{7f}',
        ];
        (0..random.usize(0..6))
            .map(|_| pool[random.usize(0..pool.len())])
            .collect()
    };
    for round in 0..500 {
        let option = |random: &mut fastrand::Rng| random.bool().then(|| words(random));
        let data = |random: &mut fastrand::Rng| match random.u8(0..4) {
            0 => None,
            1 => Some(Data::Text(words(random))),
            2 => Some(Data::Json(
                json!({words(random): [1, -2.5, true, {}, words(random)]}),
            )),
            _ => Some(Data::Bytes(vec![255, 0].into())),
        };
        let headers = |random: &mut fastrand::Rng| match random.u8(0..3) {
            0 => Vec::new(),
            1 => vec![("k".to_owned(), words(random))],
            _ => vec![
                ("x.y".to_owned(), words(random)),
                ("x.y".to_owned(), words(random)),
            ],
        };
        let r = &mut random;
        let target = ExpectedTarget {
            route: words(r),
            destination: words(r),
            guarantee: r.bool().then_some(Guarantee::AtLeastOnce),
            topic: option(r),
            key: option(r),
            headers: headers(r),
            content_type: option(r),
            data: data(r),
            priority: r.bool().then(|| r.u8(..)),
            delay: r.bool().then(|| Duration::from_millis(r.u64(0..100_000))),
            ttl: r.bool().then(|| Duration::from_secs(r.u64(0..100_000))),
            dead_letter: r.bool().then(|| r.bool()),
        };
        let case = Case {
            name: option(r),
            line: 1,
            publish: Sample {
                topic: words(r),
                data: data(r),
                id: option(r),
                key: option(r),
                headers: headers(r),
                content_type: option(r),
                from: option(r),
            },
            expected: match r.u8(0..3) {
                0 => Expected::Refused("id-needed".to_owned()),
                1 => Expected::Targets(Vec::new()),
                _ => Expected::Targets(vec![target.clone(), target]),
            },
        };
        let text = to_toml(&case);
        assert_eq!(good(&text), [case], "round {round}:\n{text}");
    }
}

/// Whatever people type: cases, or an answer whose every place is in the file.
#[test]
fn damaged_files_are_answered() {
    const PIECES: [&str; 11] = [
        "\"",
        "'",
        "\n",
        "[",
        "]",
        "=",
        ".",
        "é",
        "{",
        "\0",
        "[[test]]\n",
    ];
    let whole = "[[test]]\nname = \"a\"\npublish = { topic = \"a\", data = [1, { b = 2.5 }] }\n\
                 expect = [{ route = \"r\", destination = \"d\", delay = \"5s\" }]\n\n\
                 [[test]]\npublish.topic = \"b\"\nrefused = \"no-route\"\n";
    assert_eq!(good(whole).len(), 2);
    for seed in 0..2_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut text = whole.to_owned();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..=text.len());
            if !text.is_char_boundary(at) {
                continue;
            }
            match random.u8(0..4) {
                0 => text.truncate(at),
                1 if at < text.len() => drop(text.remove(at)),
                _ => text.insert_str(at, PIECES[random.usize(0..PIECES.len())]),
            }
        }
        let Err(report) = read("t.toml", &text) else {
            continue;
        };
        assert!(report.has_errors(), "seed {seed}");
        let lines = text.split('\n').count();
        for problem in &report.problems {
            if let crate::config::Place::At(spot) = &problem.place {
                let inside = (1..=lines).contains(&spot.line) && spot.column >= 1;
                assert!(inside, "seed {seed}: {problem:?}");
            }
        }
    }
}
