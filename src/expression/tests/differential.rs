//! Random small expressions, against the interpreter of the crate `cel`.

use super::*;
use cel::{Context, Value};
use fastrand::Rng;

const CASES: u64 = 3_000;
/// No object has two names: the crate doesn't keep their order, over which loops go.
const PAYLOAD: &str = r#"{"n": 3, "m": -2, "d": 1.5, "t": "ab", "b": true, "z": null, "l": [1, 2, 3],
    "s": ["a", "b"], "o": {"n": 7}, "u": {}}"#;

fn payload() -> Value {
    let json: serde_json::Value = serde_json::from_str(PAYLOAD).expect("JSON");
    from_json(&json)
}

/// Not by serde, which makes every number unsigned.
fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(it) => Value::Bool(*it),
        serde_json::Value::Number(it) => match it.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(it.as_f64().expect("a number")),
        },
        serde_json::Value::String(it) => it.as_str().into(),
        serde_json::Value::Array(it) => it.iter().map(from_json).collect::<Vec<Value>>().into(),
        serde_json::Value::Object(it) => it
            .iter()
            .map(|(name, value)| (name.as_str(), from_json(value)))
            .collect::<std::collections::HashMap<&str, Value>>()
            .into(),
    }
}

/// In a form that both can be brought to; maps sorted.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(it) => it.to_string(),
        Value::Int(it) => it.to_string(),
        Value::UInt(it) => it.to_string(),
        Value::Float(it) => format!("{it:?}"),
        Value::String(it) => format!("{:?}", it.as_str()),
        Value::List(it) => {
            let parts: Vec<String> = it.iter().map(show).collect();
            format!("[{}]", parts.join(","))
        }
        Value::Map(it) => {
            let mut parts: Vec<String> = it
                .map
                .iter()
                .map(|(key, value)| format!("{:?}:{}", key.to_string(), show(value)))
                .collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        other => format!("{other:?}"),
    }
}

fn show_ours(json: &str) -> String {
    show(&from_json(&serde_json::from_str(json).expect("JSON")))
}

/// An expression of about this depth. `vars` are of the loops around it.
fn expression(random: &mut Rng, depth: u32, vars: usize) -> String {
    const LEAVES: [&str; 27] = [
        "1",
        "2",
        "0",
        "-1",
        "1.5",
        "2.0",
        "2u",
        "'a'",
        "'ab'",
        "''",
        "true",
        "false",
        "null",
        "payload.n",
        "payload.m",
        "payload.d",
        "payload.t",
        "payload.b",
        "payload.z",
        "payload.l",
        "payload.s",
        "payload.o",
        "payload.o.n",
        "payload.u",
        "payload.missing",
        "[1, 2]",
        "{'n': 1}",
    ];
    if depth == 0 || random.u8(0..8) == 0 {
        if vars > 0 && random.bool() {
            return format!("v{}", random.usize(0..vars));
        }
        return LEAVES[random.usize(0..LEAVES.len())].to_owned();
    }
    let kind = random.u8(0..16);
    let mut part = || expression(random, depth - 1, vars);
    match kind {
        0..=5 => {
            let (a, b) = (part(), part());
            let operators = [
                "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in",
            ];
            let operator = operators[random.usize(0..operators.len())];
            format!("({a} {operator} {b})")
        }
        6 => format!("({} ? {} : {})", part(), part(), part()),
        7 => format!("!({})", part()),
        8 => format!("-({})", part()),
        9 => format!("[{}, {}]", part(), part()),
        10 => format!("{{'a': {}}}", part()),
        11 => format!("({})[{}]", part(), part()),
        12 => format!("({}).n", part()),
        13 => {
            let fields = [
                "payload.n",
                "payload.missing",
                "payload.o.n",
                "payload.o.q",
                "payload.u.a",
            ];
            format!("has({})", fields[random.usize(0..fields.len())])
        }
        14 => {
            let globals = ["size", "int", "double", "dyn"];
            let name = globals[random.usize(0..globals.len())];
            format!("{name}({})", expression(random, depth - 1, vars))
        }
        _ if vars < MAX_LOOPS => {
            let range = part();
            let macros = ["all", "exists", "exists_one", "map", "filter"];
            let name = macros[random.usize(0..macros.len())];
            let body = expression(random, depth - 1, vars + 1);
            format!("({range}).{name}(v{vars}, {body})")
        }
        _ => part(),
    }
}

#[test]
fn random_expressions_mean_what_they_mean_elsewhere() {
    let mut context = Context::default();
    context.add_variable_from_value("payload", payload());
    let envelope = envelope(PAYLOAD);
    let mut good = 0;
    for seed in 0..CASES {
        let mut random = Rng::with_seed(seed);
        let source = expression(&mut random, 3, 0);
        let theirs = cel::Program::compile(&source)
            .unwrap_or_else(|e| panic!("seed {seed}: {source}: {e}"))
            .execute(&context)
            .map(|value| show(&value))
            .map_err(|error| error.to_string());
        let ours =
            Program::compile(&source, &[]).map(|program| program.transform(&Scope::new(&envelope)));
        let ours = match ours {
            Ok(ours) => ours
                .map(|made| show_ours(std::str::from_utf8(&made.json).expect("text")))
                .map_err(|error| error.to_string()),
            Err(error) => panic!("seed {seed}: {source}: {error:?}"),
        };
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "seed {seed}: {source}"),
            (Err(_), Err(_)) => {}
            _ => panic!("seed {seed}: {source}: ours {ours:?}, theirs {theirs:?}"),
        }
        good += u64::from(ours.is_ok());
    }
    assert!(good > CASES / 10, "{good} of {CASES} have a value");
}
