//! What an envelope is to an expression.

use super::*;

#[test]
fn variables_are_the_envelopes() {
    let envelope = envelope("{}");
    for (source, expected) in [
        ("topic", r#""orders/7/created""#),
        ("levels", r#"["orders","7","created"]"#),
        ("levels[1]", r#""7""#),
        ("shop", r#""7""#),
        ("key", r#""k-1""#),
        ("headers['type']", r#""pdf""#),
        ("headers.type", r#""pdf""#),
        ("headers['x-id']", r#""x-1""#),
        ("'x-id' in headers", "true"),
        ("'y-id' in headers", "false"),
        ("has(headers.type)", "true"),
        ("has(headers.missing)", "false"),
        ("headers['x-' + 'id']", r#""x-1""#),
        ("headers['raw'] == b'\\xff\\x00'", "true"),
        ("content_type", r#""application/json""#),
        ("source", r#""http""#),
        ("principal", r#""shop""#),
        ("client_id", "null"),
        ("payload", "{}"),
    ] {
        assert_eq!(json(source, &envelope).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn what_an_envelope_lacks_is_null() {
    let mut envelope = without_payload();
    envelope.key = None;
    envelope.content_type = None;
    for source in ["key == null", "content_type == null", "client_id == null"] {
        assert_eq!(json(source, &envelope).as_deref(), Ok("true"), "{source}");
    }
    envelope.key = Some(Bytes::from_static(b"\xff"));
    assert_eq!(json("key == b'\\xff'", &envelope).as_deref(), Ok("true"));
}

#[test]
fn a_hash_is_of_the_bytes() {
    let of = |payload: &str| json("hash(payload)", &envelope(payload));
    assert_eq!(of("not JSON"), json("hash('not JSON')", &envelope("")));
    assert_ne!(of("{}"), of("{ }"));
    assert_eq!(
        json("hash(payload)", &without_payload()),
        Err(EvalError::NoPayload)
    );
}

#[test]
fn a_transform_is_the_payload_of_what_follows() {
    let envelope = envelope(r#"{"id": 7, "text": "a\"b"}"#);
    let scope = Scope::new(&envelope);
    let bound = scope.with_levels(&BOUND);
    let made = program("{'number': payload.id, 'of': shop, 't': payload.text}")
        .transform(&bound)
        .expect("a value");
    assert_eq!(&made.json[..], br#"{"number":7,"of":"7","t":"a\"b"}"#);
    let after = bound.with_payload(&made);
    let template = Template::parse("${payload.number}-${payload.t}-${shop}", &LEVELS);
    let text = template.expect("a template").text(&after);
    assert_eq!(text.as_deref(), Ok("7-a\"b-7"));
    assert_eq!(
        program("hash(payload)").id(&after),
        program("hash(json(payload))").id(&after)
    );
    // The envelope's own is as it was.
    assert_eq!(program("payload.id").id(&bound).as_deref(), Ok("7"));
}

#[test]
fn ids_are_texts() {
    let id = |payload: &str| {
        let envelope = envelope(payload);
        program("payload.a").id(&Scope::new(&envelope))
    };
    for (payload, expected) in [
        (r#"{"a": "x"}"#, "x"),
        (r#"{"a": -7}"#, "-7"),
        (r#"{"a": 18446744073709551615}"#, "18446744073709551615"),
        (
            r#"{"a": 18446744073709551616000}"#,
            "18446744073709551616000",
        ),
        (r#"{"a": true}"#, "true"),
    ] {
        assert_eq!(id(payload).as_deref(), Ok(expected), "{payload}");
    }
    for payload in [
        r#"{"a": 1.0}"#,
        r#"{"a": 1e30}"#,
        r#"{"a": []}"#,
        r#"{"a": {}}"#,
    ] {
        assert!(
            matches!(id(payload), Err(EvalError::Type { .. })),
            "{payload}"
        );
    }
    assert!(matches!(id(r#"{"a": null}"#), Err(EvalError::Null { .. })));
}

#[test]
fn a_condition_is_true_or_false() {
    let envelope = envelope(r#"{"total": 101}"#);
    let scope = Scope::new(&envelope);
    assert_eq!(program("payload.total > 100").is_true(&scope), Ok(true));
    assert_eq!(program("payload.total > 101").is_true(&scope), Ok(false));
    assert!(program("payload.total").is_true(&scope).is_err());
}

#[test]
fn who_reads_the_payload_says_so() {
    for (source, reads) in [
        ("topic == 'a'", false),
        ("headers['a'] == 'payload.x'", false),
        ("true", false),
        ("payload.a == 1", true),
        ("hash(payload) == 'a'", true),
        ("levels.all(l, l == payload.a)", true),
        ("levels.map(l, l != '', [payload])", true),
        ("{'a': 'b'.replace('b', payload.c)}", true),
        ("has(payload.a)", true),
        ("topic in payload.topics", true),
        ("payload.a in ['x']", true),
        ("true ? 1 : -payload.a", true),
    ] {
        assert_eq!(program(source).reads_payload(), reads, "{source}");
    }
    let template = |text: &str| Template::parse(text, &[]).expect(text).reads_payload();
    assert!(template("${topic}/${payload.a}"));
    assert!(!template("payload.a ${topic}"));
}
