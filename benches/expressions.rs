//! What expressions cost: the conditions, transforms and templates of a small JSON message, and
//! the worst that the step budget allows.

use super::report::{Row, Size};
use super::support::ratio::median;
use bytes::Bytes;
use causeway::expression::{MAX_STEPS, Program, Scope, Template};
use causeway::message::{Envelope, Header, MessageId};
use std::fs;
use std::hint::black_box;

const EVALUATIONS: u64 = 1_000_000;
const ROUNDS: usize = 5;
const ELEMENTS: usize = 100_000;
const WORST_ROUNDS: u64 = 100;
/// 130 bytes, as the notes have it.
const PAYLOAD: &str = r#"{"order_id":"o-20261121-000017","total":120,"currency":"EUR","customer":{"id":4711,"country":"AT"},"items":[{"sku":"a-1","n":2}]}"#;

pub fn expressions(size: Size) -> Vec<Row> {
    let mut rows = vec![
        when("headers['type'] == 'pdf'", "", size),
        when("payload.total > 100", "", size),
        when(
            "payload.total > 100 && headers['type'] == 'pdf'",
            "< 2 µs, parse included",
            size,
        ),
        when(
            "payload.customer.country in ['AT', 'DE', 'CH'] && payload.items.exists(i, i.n > 1)",
            "",
            size,
        ),
        transform(size),
        template(size),
        compile(size),
    ];
    rows.extend(
        WORST
            .iter()
            .map(|(source, payload)| worst(source, payload(), size)),
    );
    rows
}

type Worst = (&'static str, fn() -> String);

/// Each over 100,000 elements.
const WORST: [Worst; 8] = [
    ("payload.all(x, x >= 0)", numbers),
    ("payload.all(a, payload.all(b, a == b || true))", numbers),
    ("payload.map(x, [x, x])", numbers),
    ("payload.all(x, x.a == 1 || true)", numbers),
    ("payload.all(x, x.contains('ab') || true)", texts),
    (
        "size(payload.map(x, x + x).join(',').split(',')) > 0",
        texts,
    ),
    ("payload.all(x, x.a + x.b > 0)", objects),
    ("json(payload) == ''", objects),
];

fn numbers() -> String {
    list(|n| n.to_string())
}

fn texts() -> String {
    list(|n| format!("\"text {n}\""))
}

fn objects() -> String {
    list(|n| format!("{{\"a\":{n},\"b\":2}}"))
}

fn list(element: impl Fn(usize) -> String) -> String {
    let elements: Vec<String> = (0..ELEMENTS).map(element).collect();
    format!("[{}]", elements.join(","))
}

fn envelope(payload: &str) -> Envelope {
    let header = |name: &str, value: &'static str| Header {
        name: name.into(),
        value: Bytes::from_static(value.as_bytes()),
    };
    Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "orders/7/created".into(),
        id: MessageId::None,
        key: None,
        headers: vec![header("traceparent", "00-1-2-01"), header("Type", "pdf")],
        content_type: Some("application/json".into()),
        payload: Ok(Bytes::copy_from_slice(payload.as_bytes())),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}

/// One evaluation in nanoseconds, each in a scope of its own.
fn nanos(size: Size, evaluate: impl Fn(&Scope<'_>)) -> f64 {
    let envelope = envelope(PAYLOAD);
    let count = size.of(EVALUATIONS);
    let round = |_| {
        let before = cpu_millis();
        for _ in 0..count {
            evaluate(&Scope::new(black_box(&envelope)));
        }
        (cpu_millis() - before) * 1e6 / count as f64
    };
    median((0..size.rounds(ROUNDS)).map(round).collect())
}

fn row(what: String, nanos: f64, aim: &'static str) -> Row {
    Row {
        what,
        figure: format!("{:.2} µs of CPU", nanos / 1e3),
        aim,
    }
}

fn when(source: &str, aim: &'static str, size: Size) -> Row {
    let program = Program::compile(source, &[]).expect("an expression");
    let took = nanos(size, |scope| {
        black_box(program.is_true(scope).expect("a value"));
    });
    row(format!("when `{source}`"), took, aim)
}

fn transform(size: Size) -> Row {
    let source = "{'id': payload.order_id, 'total': payload.total, 'to': payload.customer.country}";
    let program = Program::compile(source, &[]).expect("an expression");
    let took = nanos(size, |scope| {
        black_box(program.transform(scope).expect("a value"));
    });
    row(
        format!("transform `{source}`"),
        took,
        "< 5 µs, parse included",
    )
}

fn template(size: Size) -> Row {
    let text = "orders.${shop}.${payload.customer.id}";
    let template = Template::parse(text, &["shop"]).expect("a template");
    let took = nanos(size, |scope| {
        let bound = [("shop", "7")];
        let text = template.text(&scope.with_levels(&bound));
        black_box(text.expect("a text"));
    });
    row(format!("template `{text}`"), took, "")
}

/// What loading a file with many of them costs.
fn compile(size: Size) -> Row {
    let source = "payload.total > 100 && headers['type'] == 'pdf'";
    let count = size.of(EVALUATIONS / 100);
    let before = cpu_millis();
    for _ in 0..count {
        black_box(Program::compile(black_box(source), &[]).expect("an expression"));
    }
    let nanos = (cpu_millis() - before) * 1e6 / count as f64;
    row(format!("compiling `{source}`"), nanos, "")
}

/// Of this thread so far, to the nanosecond.
fn cpu_millis() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = stat.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanos.expect("Linux") / 1e6
}

/// Over many elements: the CPU time in the middle of all rounds, and the steps.
fn worst(source: &str, payload: String, size: Size) -> Row {
    let program = Program::compile(source, &[]).expect("an expression");
    let envelope = envelope(&payload);
    let mut millis = Vec::new();
    let mut steps = 0;
    for _ in 0..size.of(WORST_ROUNDS).max(3) {
        let scope = Scope::new(&envelope);
        let before = cpu_millis();
        drop(black_box(program.transform(&scope)));
        millis.push(cpu_millis() - before);
        steps = scope.steps();
    }
    let end = if steps == MAX_STEPS { ", stopped" } else { "" };
    Row {
        what: format!("{ELEMENTS} elements, `{source}`"),
        figure: format!("{:.1} ms of CPU, {steps} steps{end}", median(millis)),
        aim: "≤ 10 ms",
    }
}
