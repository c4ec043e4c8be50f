use super::*;
use crate::expression::value;
use fastrand::Rng;

fn read(json: &[u8]) -> Result<Doc, EvalError> {
    Doc::read(json, &Budget::default()).map_err(|fault| *fault)
}

fn written(json: &[u8]) -> Result<String, EvalError> {
    let budget = Budget::default();
    let doc = read(json)?;
    let mut writer = Writer::new(&budget);
    writer
        .value(&value::Value::json(doc.root()))
        .map_err(|fault| *fault)?;
    let out = writer.finish().map_err(|fault| *fault)?;
    Ok(String::from_utf8(out).expect("JSON is text"))
}

#[test]
fn values_are_read_and_written_as_they_are() {
    for json in [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "\"a\\\"b\"",
        "[]",
        "{}",
        "[1,[2,[]],{\"a\":{}}]",
        r#"{"a":[{"b":null},false],"c":"d"}"#,
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "1000000000000000000000000000001",
        "[1e30,123456789012345678901234567890,\"12345678901234567890123\",-5]",
        r#"{"12345678901234567890123":12345678901234567890124}"#,
    ] {
        let expected = json.replace("1e30", "1e+30");
        let written = written(json.as_bytes()).map(|it| it.replace("e30", "e+30"));
        assert_eq!(written.as_deref(), Ok(expected.as_str()), "{json}");
    }
    assert_eq!(written(b" {\"a\" : 1 } \n").as_deref(), Ok("{\"a\":1}"));
    assert_eq!(written(b"1.0").as_deref(), Ok("1.0"));
    assert_eq!(written("\"\\u00e9\"".as_bytes()).as_deref(), Ok("\"é\""));
}

#[test]
fn what_is_no_json_says_where() {
    for (json, line, column) in [
        (&b"{\"a\": 1,\n  x}"[..], 2, 3),
        (b" ", 1, 1),
        (b"{} {}", 1, 4),
        (b"[1,]", 1, 4),
        (b"\"\xff\"", 1, 2),
        (b"{\n\"a\": \"\xe9\"}", 2, 7),
        (b"01", 1, 2),
        (b"1e400", 1, 5),
        (b"\"\\ud800\"", 1, 8),
        (b"nul", 1, 3),
        (b"\xef\xbb\xbf{}", 1, 1),
    ] {
        let read = read(json).map(drop);
        assert_eq!(read, Err(EvalError::NotJson { line, column }), "{json:?}");
    }
    assert_eq!(read(b"").map(drop), Err(EvalError::Empty));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(MAX_PAYLOAD_DEPTH).as_bytes()).is_ok());
    let limit = MAX_PAYLOAD_DEPTH;
    for depth in [limit + 1, 100_000] {
        let refused = read(nested(depth).as_bytes()).map(drop);
        assert_eq!(refused, Err(EvalError::PayloadTooDeep { limit }));
    }
}

#[test]
fn names_that_stand_twice_are_found_when_asked_for() {
    let doc = read(br#"{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}"#).expect("JSON");
    let budget = Budget::default();
    let field = |of: Ref<'static>, name: &str| of.field(name, &budget);
    let doc: &'static Doc = Box::leak(Box::new(doc));
    assert!(matches!(field(doc.root(), "a"), Ok(Field::Twice)));
    let Ok(Field::Value(b)) = field(doc.root(), "b") else {
        panic!("`b` stands once");
    };
    assert!(matches!(field(b, "c"), Ok(Field::Twice)));
    assert!(matches!(field(b, "d"), Ok(Field::Absent)));
    let wide: Vec<String> = (0..100).map(|n| format!("\"k{}\": 1", n % 99)).collect();
    let wide = format!("{{{}}}", wide.join(","));
    assert!(matches!(
        written(wide.as_bytes()),
        Err(EvalError::NoJson { .. })
    ));
}

fn random_json(random: &mut Rng, depth: u32, out: &mut String) {
    let some = |random: &mut Rng| random.usize(0..4);
    match random.u8(0..if depth == 0 { 7 } else { 9 }) {
        0 => out.push_str("null"),
        1 => out.push_str("true"),
        2 => out.push_str(&random.i64(..).to_string()),
        3 => out.push_str(&random.i32(-9..9).to_string()),
        4 => out.push_str(&format!("{:?}", random.f64() * 1e3)),
        5 => out.push_str(&format!("{}{}", random.u64(1..), random.u64(..))),
        6 => out.push_str(["\"\"", "\"a\\n\"", "\"é\\u00e9\"", "\"\\\\\\\"9\""][some(random)]),
        7 => {
            out.push('[');
            for at in 0..some(random) {
                out.push_str(if at > 0 { ", " } else { "" });
                random_json(random, depth - 1, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            for at in 0..some(random) {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&format!("\"k{at}\":"));
                random_json(random, depth - 1, out);
            }
            out.push('}');
        }
    }
}

/// Read and written, it is what `serde_json` reads.
#[test]
fn random_json_is_kept() {
    for seed in 0..2_000 {
        let mut random = Rng::with_seed(seed);
        let mut json = String::new();
        random_json(&mut random, 4, &mut json);
        let written =
            written(json.as_bytes()).unwrap_or_else(|e| panic!("seed {seed}: {json}: {e}"));
        let theirs: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let ours: serde_json::Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(ours, theirs, "seed {seed}: {json}");
        // And digits are the same, which a double would have rounded.
        let digits = |text: &str| -> Vec<String> {
            let whole = |n: &&str| !n.contains(['.', 'e', 'E']);
            numbers(text).filter(whole).map(str::to_owned).collect()
        };
        assert_eq!(digits(&written), digits(&json), "seed {seed}");
    }
}

#[test]
fn damaged_json_is_refused_as_elsewhere() {
    let mut refused = 0;
    for seed in 0..3_000 {
        let mut random = Rng::with_seed(seed);
        let mut json = String::new();
        random_json(&mut random, 3, &mut json);
        let mut bytes = json.into_bytes();
        let at = random.usize(0..bytes.len());
        match random.u8(0..3) {
            0 => bytes[at] ^= 1 << random.u8(0..8),
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, b"{}[],:\"\\0-e."[random.usize(0..12)]),
        }
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
        let ours = read(&bytes).is_ok();
        assert_eq!(
            ours,
            theirs,
            "seed {seed}: {}",
            String::from_utf8_lossy(&bytes)
        );
        refused += u32::from(!ours);
    }
    assert!((300..2_900).contains(&refused), "{refused}");
}

#[test]
fn numbers_as_text_are_short() {
    for (number, text) in [
        (1.0, "1"),
        (1.5, "1.5"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e21"),
        (1e-7, "0.0000001"),
        (1e-8, "1e-8"),
        (0.0, "0"),
        (f64::INFINITY, "inf"),
    ] {
        assert_eq!(number_text(number), text);
    }
}
