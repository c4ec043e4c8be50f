//! Expressions and templates of whatever bytes, over payloads of whatever bytes: never a panic,
//! never more steps than the budget, always an end.

use bytes::Bytes;
use causeway::expression::{
    CompileError, EvalError, MAX_SOURCE_BYTES, MAX_STEPS, Program, Scope, Template,
};
use causeway::message::{Envelope, Header, MessageId, Tombstone};
use fastrand::Rng;

const GROWN: u64 = 12_000;
const MUTATED: u64 = 15_000;
const RANDOM: u64 = 4_000;
const LEVELS: [&str; 2] = ["shop", "kind"];
const BOUND: [(&str, &str); 2] = [("shop", "7"), ("kind", "é")];

const GOOD: [&str; 16] = [
    "payload.total > 100 && headers['type'] == 'pdf'",
    "'urgent' in headers && headers['urgent'] == '1' ? 9 : 1",
    "{'id': payload.order_id, 'total': payload.total, 'all': payload}",
    "payload.items.filter(i, i.n > 1).map(i, i.sku).join('-')",
    "payload.all(a, payload.all(b, a == b || true))",
    "has(payload.a.b) ? string(payload.a.b) : 'none'",
    "hash(payload) + hash('a' + shop)",
    "levels.exists(l, l.startsWith('a') && l.size() > 3)",
    "b'\\xff' + bytes('é') == b\"\"\"x\"\"\"",
    "[1, 2u, 3.5e1, -0x1F, null, true][payload.n % 4]",
    "payload['the name'][0].x.split(',').map(p, int(p) + 1)",
    "type(payload.n) == int || type(dyn(payload.n)) in [uint, double]",
    "r'\\d' + '''a'b''' + \"\\u00e9\" // comment\n + topic.replace('/', '.')",
    "json(payload).substring(0, 10).upperAscii().trim()",
    "!(1.0 / 0.0 < 2.0) != (--1 == 1)",
    "payload.exists_one(x, x.y[0] == key && content_type == source)",
];

const PAYLOADS: [&str; 8] = [
    r#"{"total": 120, "order_id": "o-1", "n": 3, "a": {"b": 1.5}, "items": [{"sku": "x", "n": 2}]}"#,
    r#"[1, 2, 3, "a", null, [4], {"y": [1]}]"#,
    r#"{"the name": [{"x": "1,2"}], "n": 18446744073709551616, "n": 1}"#,
    "",
    "not JSON",
    "[[[[[[[[[[]]]]]]]]]]",
    "-1e308",
    "\"\\ud83d\\ude00\"",
];

fn envelope(payload: Option<Vec<u8>>) -> Envelope {
    let header = |name: &str, value: &'static [u8]| Header {
        name: name.into(),
        value: Bytes::from_static(value),
    };
    Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "a/7/é".into(),
        id: MessageId::None,
        key: None,
        headers: vec![header("Type", b"pdf"), header("raw", b"\xff")],
        content_type: None,
        payload: payload.map(Bytes::from).ok_or(Tombstone),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}

/// A mark that is within the text, and words.
fn check_refusal(text: &str, error: &CompileError, what: &str) {
    let marked = text.get(error.range.clone());
    assert!(marked.is_some(), "{what}: {error:?} of {text:?}");
    assert!(!error.message.is_empty(), "{what}: {text:?}");
    let is_control = |c: char| c.is_control();
    assert!(
        !error.message.contains(is_control),
        "{what}: {error:?} of {text:?}"
    );
}

/// Whether it can be loaded; everything that can is evaluated in every way.
fn run(text: &str, payload: Option<Vec<u8>>, what: &str) -> bool {
    let envelope = envelope(payload);
    let scope = Scope::new(&envelope);
    let bound = scope.with_levels(&BOUND);
    match Template::parse(text, &LEVELS) {
        Ok(template) => {
            check_fault(template.text(&bound).err(), &scope, what);
            check_fault(template.bytes(&bound).err(), &scope, what);
            check_fault(template.integer(&bound).err(), &scope, what);
        }
        Err(error) => check_refusal(text, &error, what),
    }
    let scope = Scope::new(&envelope);
    let bound = scope.with_levels(&BOUND);
    match Program::compile(text, &LEVELS) {
        Ok(program) => {
            check_fault(program.is_true(&bound).err(), &scope, what);
            check_fault(program.id(&bound).err(), &scope, what);
            let made = program.transform(&bound);
            if let Ok(made) = &made {
                let json = serde_json::from_slice::<serde_json::Value>(&made.json);
                assert!(json.is_ok(), "{what}: {text:?} gives {:?}", made.json);
            }
            check_fault(made.err(), &scope, what);
            true
        }
        Err(error) => {
            check_refusal(text, &error, what);
            false
        }
    }
}

fn check_fault(fault: Option<EvalError>, scope: &Scope<'_>, what: &str) {
    assert!(
        scope.steps() <= MAX_STEPS,
        "{what}: {} steps",
        scope.steps()
    );
    let Some(fault) = fault else { return };
    assert!(!fault.to_string().is_empty(), "{what}: {fault:?}");
    if matches!(fault, EvalError::Budget { .. }) {
        assert_eq!(scope.steps(), MAX_STEPS, "{what}");
    }
}

fn payload(random: &mut Rng) -> Option<Vec<u8>> {
    let mut bytes = PAYLOADS[random.usize(0..PAYLOADS.len())]
        .as_bytes()
        .to_vec();
    match random.u8(0..8) {
        0 => return None,
        1 => mutate(&mut bytes, random),
        2 => return Some(wide(random)),
        _ => {}
    }
    Some(bytes)
}

/// A list that makes loops long.
fn wide(random: &mut Rng) -> Vec<u8> {
    let count = random.usize(0..300);
    let numbers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    format!("[{}]", numbers.join(",")).into_bytes()
}

/// One change anywhere.
fn mutate(bytes: &mut Vec<u8>, random: &mut Rng) {
    const PIECES: [&str; 20] = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "\\",
        "${",
        "&&",
        "||",
        "?",
        ":",
        ".",
        ",",
        "=",
        "-",
        "!",
        "\u{1F600}",
    ];
    let at = random.usize(0..=bytes.len());
    let end = random.usize(at..=bytes.len().min(at + 12));
    match random.u8(0..6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.insert(at, random.u8(..)),
        3 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
        4 => {
            let piece = PIECES[random.usize(0..PIECES.len())].repeat(random.usize(1..4));
            drop(bytes.splice(at..at, piece.bytes()));
        }
        _ => {
            let piece = bytes[at..end].to_vec();
            let to = random.usize(0..=bytes.len());
            drop(bytes.splice(to..to, piece));
        }
    }
}

/// By the grammar, and more often than not without meaning.
fn grow(random: &mut Rng, depth: u32, out: &mut String) {
    const LEAVES: [&str; 22] = [
        "1",
        "-7",
        "2.5",
        "3u",
        "'a'",
        "'é,b'",
        "b'\\xff'",
        "true",
        "null",
        "payload",
        "payload.n",
        "payload.items",
        "payload['the name']",
        "headers",
        "headers.type",
        "topic",
        "levels",
        "shop",
        "x",
        "int",
        "[]",
        "{}",
    ];
    const JOINTS: [&str; 16] = [
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        " == ",
        " != ",
        " < ",
        " <= ",
        " > ",
        " >= ",
        " && ",
        " || ",
        " in ",
        " ? 1 : ",
        " ? null : ",
    ];
    const CALLS: [&str; 21] = [
        "size",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "bool",
        "type",
        "dyn",
        "hash",
        "json",
        "trim",
        "split",
        "join",
        "replace",
        "substring",
        "contains",
        "startsWith",
        "lowerAscii",
        "has",
        "nothing",
    ];
    const LOOPS: [&str; 5] = ["all", "exists", "exists_one", "map", "filter"];
    if depth == 0 {
        return out.push_str(LEAVES[random.usize(0..LEAVES.len())]);
    }
    match random.u8(0..10) {
        0..=2 => {
            grow(random, depth - 1, out);
            out.push_str(JOINTS[random.usize(0..JOINTS.len())]);
            grow(random, depth - 1, out);
        }
        3 => {
            out.push_str(["!", "-", "("][random.usize(0..3)]);
            let open = out.ends_with('(');
            grow(random, depth - 1, out);
            out.push_str(if open { ")" } else { "" });
        }
        4 => {
            out.push_str(CALLS[random.usize(0..CALLS.len())]);
            out.push('(');
            grow(random, depth - 1, out);
            out.push(')');
        }
        5 | 6 => {
            grow(random, depth - 1, out);
            out.push('.');
            let is_loop = random.bool();
            let names: &[&str] = if is_loop { &LOOPS } else { &CALLS };
            out.push_str(names[random.usize(0..names.len())]);
            out.push('(');
            for at in 0..random.usize(0..3) + usize::from(is_loop) {
                out.push_str(if at > 0 { ", " } else { "" });
                if at == 0 && is_loop {
                    out.push('x');
                } else {
                    grow(random, depth - 1, out);
                }
            }
            out.push(')');
        }
        7 => {
            out.push('[');
            grow(random, depth - 1, out);
            out.push_str(", ");
            grow(random, depth - 1, out);
            out.push(']');
        }
        8 => {
            out.push_str("{'a': ");
            grow(random, depth - 1, out);
            out.push('}');
        }
        _ => {
            grow(random, depth - 1, out);
            out.push('[');
            grow(random, depth - 1, out);
            out.push(']');
        }
    }
}

#[test]
fn grown_expressions_end() {
    let mut good = 0;
    for seed in 0..GROWN {
        let mut random = Rng::with_seed(seed);
        let mut text = String::new();
        let depth = random.u32(1..5);
        grow(&mut random, depth, &mut text);
        if random.u8(0..4) == 0 {
            text = format!("a-${{{text}}}");
        }
        let payload = payload(&mut random);
        good += u64::from(run(&text, payload, &format!("seed {seed}")));
    }
    assert!(
        (GROWN / 10..GROWN).contains(&good),
        "{good} of {GROWN} are good"
    );
}

#[test]
fn mutated_expressions_end() {
    let mut good = 0;
    for seed in 0..MUTATED {
        let mut random = Rng::with_seed(seed);
        let mut bytes = GOOD[random.usize(0..GOOD.len())].as_bytes().to_vec();
        for _ in 0..random.usize(1..5) {
            mutate(&mut bytes, &mut random);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let payload = payload(&mut random);
        good += u64::from(run(&text, payload, &format!("seed {seed}")));
    }
    assert!(
        (10..MUTATED).contains(&good),
        "{good} of {MUTATED} are good"
    );
}

#[test]
fn the_expressions_that_are_mutated_are_good() {
    for text in GOOD {
        assert!(run(text, Some(PAYLOADS[0].into()), text), "{text}");
    }
}

#[test]
fn random_bytes_are_answered() {
    for seed in 0..RANDOM {
        let mut random = Rng::with_seed(seed);
        let alphabet: &[u8] = match seed % 4 {
            0 => b"",
            1 => b"()[]{}.,?:+-*/%!<>=&|'\"\\$ \nabx01_\xc3\xa9",
            2 => b"({[. x1+!?:,&|",
            _ => b"'\"\\rbuxU0179a \n",
        };
        let length = random.usize(0..if seed % 50 == 0 { MAX_SOURCE_BYTES } else { 80 });
        let byte = |random: &mut Rng| match alphabet {
            [] => random.u8(..),
            some => some[random.usize(0..some.len())],
        };
        let bytes: Vec<u8> = (0..length).map(|_| byte(&mut random)).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        run(&text, Some(PAYLOADS[0].into()), &format!("seed {seed}"));
    }
}

/// What is short and deep, or long and flat, up to the limits: on a test's stack, which is 2 MiB.
#[test]
fn hostile_shapes_are_answered() {
    let full = |piece: &str| piece.repeat(MAX_SOURCE_BYTES / piece.len());
    for piece in [
        "(",
        "[",
        "{",
        "!",
        "-",
        "a.",
        "a[",
        "a(",
        "{'a':",
        "[1,",
        "1+",
        "a?",
        "a?b:",
        "true||",
        "a&&",
        "x.map(x,",
        "'",
        "\\",
        "${",
        "}",
        "-1",
        "1.",
        "0x",
        "b'a'",
        "a{",
        "a.b.c{",
        ".",
        ",",
        "\u{1F600}",
        "//",
        "in ",
        "1 in ",
        "has(",
        "`",
        "!(",
    ] {
        for end in ["", "1", "x", ")", "]", "}"] {
            let text = format!("{}{end}", full(piece));
            run(&text, Some(PAYLOADS[0].into()), piece);
            let short = format!("{}{end}", piece.repeat(30));
            run(&short, Some(PAYLOADS[1].into()), piece);
        }
    }
    // As long as may be, and good.
    for text in [
        format!("1{}", " || 1 == 1".repeat(400)),
        format!("[1{}]", ",1".repeat(2_000)),
        format!(
            "{{'a0': 1{}}}",
            (1..300).map(|n| format!(",'a{n}': 1")).collect::<String>()
        ),
        format!("size(1{})", ", 1".repeat(1_000)),
    ] {
        run(&text, Some(PAYLOADS[0].into()), &text[..20]);
    }
}
