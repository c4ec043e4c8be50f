use super::*;
use crate::message::Tombstone;
use bytes::Bytes;

fn envelope(topic: &str, id: MessageId, payload: &str) -> Envelope {
    Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: topic.into(),
        id,
        key: None,
        headers: Vec::new(),
        content_type: None,
        payload: Ok(Bytes::copy_from_slice(payload.as_bytes())),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}

fn rule(topic: &str, id: &str) -> IdentityRule {
    IdentityRule {
        topic: Pattern::parse(topic).expect("a good pattern"),
        id: Program::compile(id, &[]).expect("a good expression"),
        scope: Scope::default(),
    }
}

fn identify(identities: &Identities, envelope: &Envelope) -> Result<(MessageId, Scope), Refusal> {
    identities.identify(envelope, &expression::Scope::new(envelope))
}

fn derived(id: &str, payload: &str) -> Result<String, Refusal> {
    let identities = Identities::new(vec![rule("#", id)]);
    let (id, scope) = identify(&identities, &envelope("a", MessageId::None, payload))?;
    assert_eq!(scope, Scope::default());
    match id {
        MessageId::Derived(id) => Ok(id),
        other => panic!("{other:?} is not derived"),
    }
}

#[test]
fn the_first_matching_rule_decides() {
    let global = Scope {
        principal: false,
        topic: false,
    };
    let mut first = rule("orders/#", "payload.order_id");
    first.scope = global;
    let identities = Identities::new(vec![first, rule("orders/+", "payload.other")]);
    let publisher = MessageId::Publisher("p".into());

    let order = envelope("orders/1", publisher.clone(), r#"{"order_id": "o-1"}"#);
    let expected = (MessageId::Derived("o-1".into()), global);
    assert_eq!(identify(&identities, &order), Ok(expected));

    // A rule that matches and fails is no reason to try the next, or the publisher's id.
    let nameless = envelope("orders/1", publisher.clone(), r#"{"other": "x"}"#);
    assert!(matches!(
        identify(&identities, &nameless),
        Err(Refusal::IdNeeded(_))
    ));

    let click = envelope("clicks", publisher.clone(), "not JSON");
    assert_eq!(
        identify(&identities, &click),
        Ok((publisher, Scope::default()))
    );
    let click = envelope("clicks", MessageId::None, "");
    assert_eq!(
        identify(&identities, &click),
        Ok((MessageId::None, Scope::default()))
    );
}

#[test]
fn scalars_are_ids_as_they_are_written() {
    for (payload, id) in [
        (r#"{"a": {"b": "x"}}"#, "x"),
        (
            r#"{"z": [1, {"a": 2}], "a": {"c": null, "b": "ü\n\u0041"}, "q": 1.5e3}"#,
            "ü\nA",
        ),
        (
            r#"{"a": {"b": 18446744073709551616000}}"#,
            "18446744073709551616000",
        ),
        (r#"{"a": {"b": -7}}"#, "-7"),
        (r#"{"a": {"b": true}}"#, "true"),
        (r#"{"\u0061": {"b": false}}  "#, "false"),
    ] {
        assert_eq!(
            derived("payload.a.b", payload),
            Ok(id.to_owned()),
            "{payload}"
        );
    }
}

#[test]
fn what_gives_no_id_is_refused() {
    let needed = [
        "{}",
        r#"{"a": {}}"#,
        r#"{"a": "b"}"#,
        r#"{"a": 1}"#,
        r#"{"a": 1.5}"#,
        r#"{"a": -1}"#,
        r#"{"a": true}"#,
        r#"{"a": null}"#,
        r#"{"a": [{"b": 1}]}"#,
        r#"{"a": {"b": null}}"#,
        r#"{"a": {"b": ""}}"#,
        r#"{"b": "x"}"#,
        "[]",
        "3",
    ];
    for payload in needed {
        let refused = derived("payload.a.b", payload);
        assert!(
            matches!(refused, Err(Refusal::IdNeeded(_))),
            "{payload}: {refused:?}"
        );
    }
    let malformed = [
        "",
        "x",
        r#"{"a": {"b": "x"}"#,
        r#"{"a": {"b": "x"}} {}"#,
        r#"{"a": {"b": "\ud800"}}"#,
        r#"{"a": {"b": 1.0}}"#,
        r#"{"a": {"b": 1e3}}"#,
        r#"{"a": {"b": []}}"#,
        r#"{"a": {"b": {}}}"#,
        r#"{"a": {"b": "x", "b": "y"}}"#,
        r#"{"a": {"b": "x"}, "a": {}}"#,
    ];
    for payload in malformed {
        let refused = derived("payload.a.b", payload);
        assert!(
            matches!(refused, Err(Refusal::Malformed(_))),
            "{payload}: {refused:?}"
        );
    }
    let mut bare = envelope("a", MessageId::Publisher("p".into()), "");
    bare.payload = Err(Tombstone);
    let refused = identify(&Identities::new(vec![rule("#", "payload.a")]), &bare);
    assert!(matches!(refused, Err(Refusal::IdNeeded(_))), "{refused:?}");
}

#[test]
fn a_derived_id_is_bounded() {
    let payload = |len| format!(r#"{{"a": "{}"}}"#, "x".repeat(len));
    assert!(derived("payload.a", &payload(MAX_ID_BYTES)).is_ok());
    assert_eq!(
        derived("payload.a", &payload(MAX_ID_BYTES + 1)),
        Err(too_long(MAX_ID_BYTES + 1))
    );
}

#[test]
fn refusals_do_not_quote_the_payload() {
    for payload in [
        r#"{"a": {"hunter2": 1}}"#,
        r#"hunter2"#,
        r#"{"a": "x", "a": "hunter2"}"#,
    ] {
        let words = derived("payload.a", payload)
            .expect_err("no id")
            .to_string();
        assert!(
            words.contains("payload.a") && !words.contains("hunter2"),
            "{words}"
        );
    }
}

#[test]
fn deep_payloads_are_refused_not_followed() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert!(derived("payload.b", &deep).is_err());
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(derived("payload.b", &deep).is_err());
}

/// Exactly what the client reads.
#[test]
fn a_refusal_says_what_the_rule_is_and_what_it_lacks() {
    let words = |id: &str, payload: &str| derived(id, payload).expect_err(payload).to_string();
    let path = "payload.order.id";
    assert_eq!(
        words(path, r#"{"order": {}}"#),
        "an id is needed: it is payload.order.id; the payload has no `order.id`; where it may be \
         missing, ask first: `has(payload.order.id) && …`"
    );
    assert_eq!(
        words(path, r#"{"order": {"id": null}}"#),
        "an id is needed: it is payload.order.id; `payload.order.id` is null, and a value is needed"
    );
    assert_eq!(
        words(path, r#"{"order": {"id": ""}}"#),
        "an id is needed: it is payload.order.id, which is empty"
    );
    assert_eq!(
        words(path, r#"{"order": {"id": [1]}}"#),
        "an id is needed: it is payload.order.id; `payload.order.id` must be text, a whole \
         number, true or false, and is a list"
    );
    assert_eq!(
        words(path, "order"),
        "an id is needed: it is payload.order.id; the payload is not JSON that can be read \
         (line 1, column 1)"
    );
}

#[test]
fn an_id_can_be_any_expression() {
    assert_eq!(
        derived(
            "payload.shop + '-' + string(payload.n)",
            r#"{"shop": "s", "n": 7}"#
        ),
        Ok("s-7".to_owned())
    );
    // Of the bytes, whatever they are.
    let hash = derived("hash(payload)", "not JSON").expect("an id");
    assert_eq!(hash.len(), 32);
    assert_ne!(derived("hash(payload)", "not  JSON"), Ok(hash));
    let missing = derived("headers['x-id']", "");
    assert!(matches!(missing, Err(Refusal::IdNeeded(_))), "{missing:?}");
}

#[test]
fn an_id_can_be_a_level_of_the_topic() {
    let mut rule = rule("orders/{number}/#", "''");
    rule.id = Program::compile("number", &["number"]).expect("a level");
    let order = envelope("orders/7/created", MessageId::None, "");
    let found = identify(&Identities::new(vec![rule]), &order);
    assert_eq!(
        found,
        Ok((MessageId::Derived("7".into()), Scope::default()))
    );
}
