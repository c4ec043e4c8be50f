use super::super::tests::{BOUND, LEVELS, envelope};
use super::*;

fn parse(text: &str) -> Result<Template, CompileError> {
    Template::parse(text, &LEVELS)
}

fn text(text: &str) -> Result<String, EvalError> {
    let envelope =
        envelope(r#"{"n": 7, "t": "x", "d": 1.5, "e": 1e21, "b": true, "digits": "12"}"#);
    let scope = Scope::new(&envelope);
    let template = parse(text).expect(text);
    template.text(&scope.with_levels(&BOUND))
}

#[test]
fn parts_are_joined() {
    for (template, expected) in [
        ("", ""),
        ("plain", "plain"),
        ("orders.${shop}", "orders.7"),
        ("${shop}${payload.t}/${topic}", "7x/orders/7/created"),
        (
            "${payload.n}-${payload.d}-${payload.b}-${1u}",
            "7-1.5-true-1",
        ),
        ("${1.0}", "1"),
        ("${payload.e}", "1e21"),
        ("${'}'}", "}"),
        ("${\"}\"}${'{'}", "}{"),
        ("${{'a': 1}['a']}", "1"),
        ("${{'a': {'b': '}'}}.a.b}", "}"),
        ("${r'\\'}", "\\"),
        ("${'a' // }\n}", "a"),
        ("$${payload.n}", "${payload.n}"),
        ("$$${payload.n}", "$${payload.n}"),
        ("$ $$ {} }", "$ $$ {} }"),
        ("a$", "a$"),
        ("äö${'ü'}ß", "äöüß"),
    ] {
        assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn a_template_without_expressions_is_plain() {
    let plain = |text: &str| parse(text).expect(text).as_plain().map(str::to_owned);
    assert_eq!(plain("").as_deref(), Some(""));
    assert_eq!(plain("a$${b}").as_deref(), Some("a${b}"));
    assert_eq!(plain("${'a'}"), None);
    assert_eq!(parse("a$${b}").expect("good").source(), "a$${b}");
}

#[test]
fn mistakes_are_marked_in_the_whole_text() {
    for (text, range, message) in [
        ("ä${payload.a", "${", "`${` is not closed"),
        ("${", "${", "`${` is not closed"),
        ("a ${}", "", "there is no expression"),
        (
            "ä ${payload.a = 1} b",
            "=",
            "`=` alone has no meaning in an expression",
        ),
        ("ä ${shopp} b", "shopp", "`shopp` is not known"),
        (
            "ä ${headers.x-id}",
            "headers.x-id",
            "`headers.x-id` is a subtraction",
        ),
        ("${'a}", "'", "a text begins here and is not closed"),
        ("${a} ${1 +}", "a", "`a` is not known"),
        ("x${1 +}", "", "the expression ends too early"),
        (
            "${${payload.a}}",
            "$",
            "`$` has no meaning inside an expression",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.message, message, "{text}");
        assert_eq!(&text[error.range], range, "{text}");
    }
    let long = "x".repeat(MAX_TEMPLATE_BYTES + 1);
    assert!(parse(&long).is_err());
}

#[test]
fn whole_numbers_and_bytes_keep_their_type() {
    let envelope = envelope(r#"{"n": 7, "d": 1.5, "digits": "12", "none": null}"#);
    let scope = Scope::new(&envelope);
    let integer = |text: &str| parse(text).expect(text).integer(&scope);
    for (text, expected) in [
        ("9", 9),
        ("-9", -9),
        ("${payload.n}", 7),
        ("${payload.digits}", 12),
        ("1${payload.n}", 17),
        (
            "${'urgent' in headers && headers['urgent'] == '1' ? 9 : 1}",
            1,
        ),
        ("${uint(3)}", 3),
    ] {
        assert_eq!(integer(text), Ok(expected), "{text}");
    }
    for text in [
        "x",
        "${payload.d}",
        "${payload.none}",
        "${18446744073709551615u}",
        "${true}",
        "${'x'}",
    ] {
        assert!(integer(text).is_err(), "{text}");
    }
    let bytes = |text: &str| parse(text).expect(text).bytes(&scope);
    assert_eq!(bytes("${headers['raw']}").as_deref(), Ok(&b"\xff\x00"[..]));
    assert_eq!(
        bytes("a${headers['raw']}").as_deref(),
        Ok(&b"a\xff\x00"[..])
    );
    assert_eq!(bytes("plain").as_deref(), Ok(&b"plain"[..]));
    assert_eq!(bytes("${payload.n}").as_deref(), Ok(&b"7"[..]));
    assert!(bytes("${payload}").is_err());
}
