//! What evaluation may cost.

use super::*;

fn numbers(count: usize) -> String {
    let numbers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

fn steps(source: &str, envelope: &Envelope) -> u64 {
    let scope = Scope::new(envelope);
    drop(program(source).transform(&scope));
    scope.steps()
}

/// A node each; a name of a path each; a value of the payload each, and one for 8 bytes of it;
/// an element of a loop each; an equality; what is written as JSON.
#[test]
fn steps_are_counted_exactly() {
    let envelope = envelope("[1,2,3]");
    // The node, and writing it.
    assert_eq!(steps("true", &envelope), 2);
    // Operator, two constants, writing.
    assert_eq!(steps("1 < 2", &envelope), 4);
    // Loop and range; the payload's 4 values; for each of 3 elements itself, operator, slot and
    // constant; writing.
    assert_eq!(steps("payload.all(x, x > 0)", &envelope), 2 + 4 + 3 * 4 + 1);
    // Read once, however often it is asked for.
    let scope = Scope::new(&envelope);
    assert_eq!(program("payload[0] == 2").is_true(&scope), Ok(false));
    let first = scope.steps();
    assert_eq!(
        program("payload[0] == 2").is_true(&scope.with_levels(&[])),
        Ok(false)
    );
    assert_eq!(scope.steps() - first, first - 4);
}

#[test]
fn the_budget_stops_a_square_at_once() {
    let envelope = envelope(&numbers(2_000));
    let scope = Scope::new(&envelope);
    let square = program("payload.all(a, payload.all(b, a == b || true))");
    let stopped = square.is_true(&scope);
    assert_eq!(stopped, Err(EvalError::Budget { limit: MAX_STEPS }));
    assert_eq!(scope.steps(), MAX_STEPS);
    // What comes after it for this envelope doesn't begin.
    let after = program("true").is_true(&scope);
    assert_eq!(after, Err(EvalError::Budget { limit: MAX_STEPS }));
    assert_eq!(scope.steps(), MAX_STEPS);
    assert_eq!(program("true").is_true(&Scope::new(&envelope)), Ok(true));
}

/// No `||` makes an answer of an evaluation that was stopped.
#[test]
fn the_end_of_the_budget_is_not_absorbed() {
    let envelope = envelope(&numbers(2_000));
    for source in [
        "payload.all(a, payload.all(b, a == b || true)) || true",
        "payload.exists(a, payload.all(b, a == b || true) && false) || true",
        "!(payload.all(a, payload.all(b, a == b || true)) && false)",
    ] {
        let stopped = program(source).is_true(&Scope::new(&envelope));
        assert_eq!(
            stopped,
            Err(EvalError::Budget { limit: MAX_STEPS }),
            "{source}"
        );
    }
}

#[test]
fn a_loop_over_a_hundred_thousand_elements_is_within_it() {
    let envelope = envelope(&numbers(100_000));
    let scope = Scope::new(&envelope);
    assert_eq!(program("payload.all(x, x >= 0)").is_true(&scope), Ok(true));
    assert!(scope.steps() < MAX_STEPS, "{}", scope.steps());
}

#[test]
fn what_is_built_is_bounded() {
    let text = "x".repeat(100_000);
    let envelope = envelope(&format!(r#"{{"t": "{text}"}}"#));
    // 40 × 10 texts of 100 kB.
    let tens = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]";
    for source in [
        format!("{tens}.map(a, {tens}.map(b, payload.t + payload.t))"),
        format!("{tens}.map(a, {tens}.map(b, payload.t.replace('x', 'xxxxxxxxxx')))"),
        format!("{tens}.map(a, {tens}.map(b, payload.t))"),
        format!("{tens}.map(a, payload.t.split(''))"),
        "payload.t.replace('', payload.t)".to_owned(),
    ] {
        let error = json(&source, &envelope).expect_err(&source);
        assert!(error.is_final(), "{source}: {error}");
    }
}

#[test]
fn a_payload_that_is_too_large_is_not_read() {
    let wide = numbers(2_000_000);
    let scope_of = |payload: &str| envelope(payload);
    let envelope = scope_of(&wide);
    let scope = Scope::new(&envelope);
    let read = program("payload.all(x, true)").is_true(&scope);
    assert_eq!(read, Err(EvalError::Budget { limit: MAX_STEPS }));
}

/// What is as deep as it may be is evaluated on a small stack, without optimisation.
#[test]
fn the_deepest_expression_needs_little_stack() {
    let sources = [
        format!("{}1{}", "(".repeat(31), ")".repeat(31)),
        format!("{}1{}", "[".repeat(31), "]".repeat(31)),
        format!("{}1{}", "{'a': ".repeat(31), "}".repeat(31)),
        format!("{}1{}", "dyn(".repeat(31), ")".repeat(31)),
        format!("1{}", " + 1".repeat(63)),
        format!("{}1", "true ? 1 : ".repeat(63)),
        format!("{{'a': 1}}{}", ".a".repeat(60)),
        format!("[1]{}", ".map(x, x)".repeat(30)),
        format!(
            "[{}1{}] == [{}1{}]",
            "[".repeat(25),
            "]".repeat(25),
            "[".repeat(25),
            "]".repeat(25)
        ),
        format!("{}true", "true && ".repeat(500)),
        format!("{}payload{}", "[".repeat(31), "]".repeat(31)),
        format!(
            "{}payload{} == {}payload{}",
            "[".repeat(30),
            "]".repeat(30),
            "[".repeat(30),
            "]".repeat(30)
        ),
    ];
    let deep = MAX_PAYLOAD_DEPTH - 31;
    let deep = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    for source in sources {
        let envelope = envelope(&deep);
        let evaluate = move || {
            let refused = Program::compile(&source, &[]).err();
            assert_eq!(refused, None, "{source}");
            drop(json(&source, &envelope));
        };
        let thread = std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(evaluate);
        thread.expect("a thread").join().expect("no panic");
    }
}
