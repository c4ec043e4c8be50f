//! Events in each mode, there and back; and what isn't one.

use super::*;
use crate::clock::Wall;
use crate::message::{Envelope, Header, MAX_ID_BYTES, MessageId, Tombstone};
use bytes::Bytes;

const LEAST: &str = r#"{"specversion":"1.0","id":"i","source":"/s","type":"t"}"#;

fn envelope() -> Envelope {
    Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "a/b".into(),
        id: MessageId::None,
        key: None,
        headers: Vec::new(),
        content_type: None,
        payload: Err(Tombstone),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}

fn with(members: &str) -> String {
    format!("{},{members}}}", &LEAST[..LEAST.len() - 1])
}

fn read(json: &str) -> Event {
    Event::read(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"))
}

fn written(event: &Event) -> String {
    let mut json = Vec::new();
    event.write(&mut json);
    String::from_utf8(json).expect("JSON is UTF-8")
}

/// As a stream gives it back.
fn record(envelope: &Envelope) -> Event {
    of_record(&Made {
        id: "d1",
        gateway: "edge-1",
        topic: &envelope.topic,
        time: Wall(1_000),
        key: envelope.key.as_deref(),
        headers: &envelope.headers,
        content_type: envelope.content_type.as_deref(),
        payload: envelope.payload.as_ref().ok(),
    })
}

fn of_quoted(
    headers: &[(String, String)],
    content_type: Option<&str>,
) -> Result<Event, EventError> {
    let headers = headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
    Event::of_headers(headers, Quoting::Percent, content_type.map(str::to_owned))
}

fn binary(headers: &[(&str, &str)]) -> Result<Event, EventError> {
    let headers: Vec<_> = headers
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    of_quoted(&headers, None)
}

#[test]
fn an_event_becomes_an_envelope() {
    let json = with(
        r#""time":"2026-01-31T12:00:00.5Z","partitionkey":"k","n":5,"f":false,
            "datacontenttype":"application/vnd.x+json","data":{"a": 1.0}"#,
    );
    let taken = read(&json).into_envelope(envelope()).expect("legal");
    let header = |name: &str, value: &'static str| Header {
        name: name.to_owned(),
        value: value.into(),
    };
    assert_eq!(
        taken,
        Envelope {
            id: MessageId::Publisher("/s i".into()),
            key: Some("k".into()),
            headers: vec![
                header("ce-specversion", "1.0"),
                header("ce-id", "i"),
                header("ce-source", "/s"),
                header("ce-type", "t"),
                header("ce-time", "2026-01-31T12:00:00.5Z"),
                header("ce-partitionkey", "k"),
                header("ce-n", "5"),
                header("ce-f", "false"),
                header("causeway-ce-typed", "n f"),
            ],
            content_type: Some("application/vnd.x+json".into()),
            payload: Ok(Bytes::from_static(br#"{"a": 1.0}"#)),
            ..envelope()
        }
    );
}

#[test]
fn data_is_json_or_text_or_bytes() {
    for (members, content_type, data) in [
        (
            r#""data":{"n": 1.0}"#,
            Some("application/json"),
            Some(&br#"{"n": 1.0}"#[..]),
        ),
        (r#""data":"x""#, Some("application/json"), Some(br#""x""#)),
        (r#""data":null"#, Some("application/json"), Some(b"null")),
        (
            r#""datacontenttype":"text/plain","data":"x\né""#,
            Some("text/plain"),
            Some("x\né".as_bytes()),
        ),
        (
            r#""datacontenttype":"text/plain","data":[1, 2]"#,
            Some("text/plain"),
            Some(b"[1, 2]"),
        ),
        (
            r#""datacontenttype":"text/plain","data":null"#,
            Some("text/plain"),
            None,
        ),
        (
            r#""datacontenttype":null,"data":1"#,
            Some("application/json"),
            Some(b"1"),
        ),
        (r#""data_base64":"/wA=""#, None, Some(b"\xff\0")),
        (r#""data_base64":"""#, None, Some(b"")),
        (
            r#""data_base64":null,"datacontenttype":"text/x""#,
            Some("text/x"),
            None,
        ),
        (r#""subject":null"#, None, None),
    ] {
        let event = read(&with(members));
        assert_eq!(
            (event.content_type(), event.data().map(|d| &d[..])),
            (content_type, data),
            "{members}"
        );
    }
    // Nothing looks into JSON's depth.
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let event = read(&with(&format!("\"data\":{deep}")));
    assert_eq!(event.data().map(|d| &d[..]), Some(deep.as_bytes()));
}

#[test]
fn what_is_not_an_event_names_its_attribute() {
    let name = "n".repeat(MAX_NAME_CHARS + 1);
    let many: Vec<String> = (0..300).map(|n| format!("\"a{n}\":1")).collect();
    for (json, attribute, words) in [
        ("", None, "EOF"),
        ("{", None, "EOF"),
        ("[]", None, "an event, which is an object"),
        ("null", None, "an object"),
        (r#"{"a":1} x"#, None, "trailing"),
        (&with(r#""id":"j""#), Some("id"), "twice"),
        (&LEAST.replace("\"id\":\"i\",", ""), Some("id"), "missing"),
        (&LEAST.replace("\"i\"", "null"), Some("id"), "missing"),
        (&LEAST.replace("\"i\"", "\"\""), Some("id"), "empty"),
        (&LEAST.replace("\"i\"", "7"), Some("id"), "a text"),
        (
            &LEAST.replace("\"i\"", "\"a\\u0000\""),
            Some("id"),
            "U+0000",
        ),
        (
            &LEAST.replace("\"i\"", "\"a\\ud800\""),
            Some("id"),
            "no Unicode",
        ),
        (&LEAST.replace("\"i\"", "\"\\ufffe\""), Some("id"), "U+FFFE"),
        (
            &LEAST.replace("source", "sources"),
            Some("source"),
            "missing",
        ),
        (
            &LEAST.replace("\"/s\"", "\"a b\""),
            Some("source"),
            "a space",
        ),
        (
            &LEAST.replace("\"/s\"", "\"1:2\""),
            Some("source"),
            "no scheme",
        ),
        (&LEAST.replace("\"t\"", "true"), Some("type"), "a text"),
        (
            &LEAST.replace("1.0", "0.3"),
            Some("specversion"),
            "only version 1.0",
        ),
        (
            &LEAST.replace("1.0", "2.0"),
            Some("specversion"),
            "only version 1.0",
        ),
        (
            r#"{"cloudEventsVersion":"0.1"}"#,
            Some("cloudEventsVersion"),
            "lower-case",
        ),
        (r#"{}"#, Some("specversion"), "missing"),
        (&with(r#""time":"yesterday""#), Some("time"), "RFC 3339"),
        (
            &with(r#""time":"2026-01-31T12:00:00""#),
            Some("time"),
            "RFC 3339",
        ),
        (&with(r#""time":1"#), Some("time"), "a text"),
        (&with(r#""subject":"""#), Some("subject"), "empty"),
        (&with(r#""partitionkey":"""#), Some("partitionkey"), "empty"),
        (&with(r#""partitionkey":5"#), Some("partitionkey"), "a text"),
        (&with(r#""dataschema":"é""#), Some("dataschema"), "ASCII"),
        (
            &with(r#""datacontenttype":"""#),
            Some("datacontenttype"),
            "media type",
        ),
        (
            &with(r#""datacontenttype":"text""#),
            Some("datacontenttype"),
            "media type",
        ),
        (
            &with(r#""datacontenttype":1"#),
            Some("datacontenttype"),
            "a text",
        ),
        (
            &with(r#""datacontenttype":"application/cloudevents+json""#),
            Some("datacontenttype"),
            "isn't an event",
        ),
        (
            &with(r#""datacontenttype":"application/cloudevents+xml""#),
            Some("datacontenttype"),
            "isn't an event",
        ),
        (
            &with(r#""data":1,"data_base64":"""#),
            Some("data_base64"),
            "not both",
        ),
        (&with(r#""data_base64":"!""#), Some("data_base64"), "base64"),
        (&with(r#""data_base64":1"#), Some("data_base64"), "a text"),
        (
            &with(r#""datacontenttype":"text/plain","data":"\ud800""#),
            Some("data"),
            "no Unicode",
        ),
        (&with(r#""A":"1""#), Some("A"), "lower-case"),
        (&with(r#""a-b":"1""#), Some("a-b"), "lower-case"),
        (&with(r#""é":"1""#), Some("é"), "lower-case"),
        (&with(r#""":"1""#), Some(""), "empty"),
        (
            &with(&format!("\"{name}\":\"1\"")),
            Some(&format!("{}…", &name[1..])),
            "longer than 64",
        ),
        (&with(r#""x":{}"#), Some("x"), "neither text"),
        (&with(r#""x":[1]"#), Some("x"), "neither text"),
        (&with(r#""x":1.5"#), Some("x"), "of 32 bits"),
        (&with(r#""x":1e3"#), Some("x"), "of 32 bits"),
        (&with(r#""x":2147483648"#), Some("x"), "of 32 bits"),
        (&with(r#""x":"a\u0085""#), Some("x"), "U+0085"),
        (&with(&many.join(",")), None, "more than 256"),
    ] {
        let error = Event::read(json.as_bytes()).expect_err(json);
        assert_eq!(error.attribute_name(), attribute, "{json}: {error}");
        assert!(error.to_string().contains(words), "{json}: {error}");
    }
    assert!(Event::read(b"{\"id\":\"\xff\"}").is_err());
    // Not empty by the rules: those that are.
    read(&with(r#""x":"","y":-2147483648,"z":true"#));
}

#[test]
fn headers_are_quoted_as_http_wants_it() {
    let least = [
        ("ce-specversion", "1.0"),
        ("ce-id", "i"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    let with = |name, value| {
        let mut headers = least.to_vec();
        headers.push((name, value));
        binary(&headers)
    };
    for (value, text) in [
        ("a%20b", "a b"),
        ("%C3%A9é", "éé"),
        ("%e2%82%ac", "€"),
        ("\"a \\\"b\\\\ %25\"", "a \"b\\ %"),
        ("", ""),
        ("a\"b", "a\"b"),
    ] {
        let event = with("ce-x", value).unwrap_or_else(|e| panic!("{value}: {e}"));
        assert_eq!(
            event.attribute("x"),
            Some(&Value::Text(text.into())),
            "{value}"
        );
    }
    for (name, value, attribute, words) in [
        ("ce-x", "%", "x", "two hexadecimal"),
        ("ce-x", "%4", "x", "two hexadecimal"),
        ("ce-x", "%4g", "x", "two hexadecimal"),
        ("ce-x", "%ff", "x", "UTF-8"),
        ("ce-x", "%c3%28", "x", "UTF-8"),
        ("ce-x", "%00", "x", "U+0000"),
        ("ce-x", "\"a", "x", "quoted string"),
        ("ce-x", "\"a\"b", "x", "quoted string"),
        ("ce-x", "\"a\\", "x", "quoted string"),
        ("ce-id", "i", "id", "twice"),
        ("CE-ID", "i", "id", "twice"),
        ("ce-data", "1", "data", "the data's own"),
        ("ce-data_base64", "1", "data_base64", "the data's own"),
        (
            "ce-datacontenttype",
            "text/plain",
            "datacontenttype",
            "content type says it",
        ),
        ("ce-", "1", "", "empty"),
        ("ce-a_b", "1", "a_b", "lower-case"),
        ("ce-time", "now", "time", "RFC 3339"),
    ] {
        let error = with(name, value).expect_err(value);
        assert_eq!(
            error.attribute_name(),
            Some(attribute),
            "{name}: {value}: {error}"
        );
        assert!(
            error.to_string().contains(words),
            "{name}: {value}: {error}"
        );
    }
    let error = binary(&least[1..]).expect_err("without a version");
    assert_eq!(error.attribute_name(), Some("specversion"));
    assert!(is_event(["x", "Ce-Type"].into_iter()));
    assert!(!is_event(["ce", "ce-subject", "xce-id", "é"].into_iter()));
}

#[test]
fn headers_beside_an_event_may_say_the_same() {
    let event = read(&with(
        r#""x":"a b","n":5,"datacontenttype":"text/plain","data":"""#,
    ));
    let agrees = |name: &str, value: &str| {
        event.agrees_with([(name, value.as_bytes())].into_iter(), Quoting::Percent)
    };
    for (name, value) in [
        ("ce-id", "i"),
        ("ce-x", "a%20b"),
        ("ce-n", "5"),
        ("ce-datacontenttype", "text/plain"),
        ("other", "x"),
    ] {
        assert_eq!(agrees(name, value), Ok(()), "{name}");
    }
    for (name, value) in [("ce-id", "j"), ("ce-y", "1"), ("ce-n", "05"), ("ce-x", "%")] {
        let error = agrees(name, value).expect_err(name);
        assert_eq!(error.attribute_name(), name.strip_prefix("ce-"));
    }
}

#[test]
fn an_event_has_one_id_and_its_attributes_once() {
    let id = |id: &str| Envelope {
        id: MessageId::Publisher(id.into()),
        ..envelope()
    };
    let own = read(LEAST).into_envelope(id("/s i")).expect("its own");
    assert_eq!(own.id, MessageId::Publisher("/s i".into()));
    let error = read(LEAST).into_envelope(id("o-1")).expect_err("another");
    assert_eq!(error.attribute_name(), Some("id"));
    let header = Header {
        name: "Ce-Subject".into(),
        value: "x".into(),
    };
    let beside = Envelope {
        headers: vec![header],
        ..envelope()
    };
    let error = read(LEAST).into_envelope(beside).expect_err("twice");
    assert_eq!(error.attribute_name(), Some("Subject"));
    let keyed = Envelope {
        key: Some("mine".into()),
        ..envelope()
    };
    let taken = read(&with(r#""partitionkey":"its""#)).into_envelope(keyed);
    assert_eq!(taken.expect("legal").key.as_deref(), Some(&b"mine"[..]));
    let long = "x".repeat(MAX_ID_BYTES);
    let taken = read(&LEAST.replace("\"i\"", &format!("\"{long}\""))).into_envelope(envelope());
    let id = taken.expect("legal").id;
    assert!(
        id.as_str()
            .is_some_and(|id| id.starts_with("ce:") && id.len() == 35),
        "{id:?}"
    );
}

#[test]
fn any_ingress_takes_in_what_is_an_event() {
    let structured = Envelope {
        content_type: Some("application/cloudevents+json; charset=utf-8".into()),
        payload: Ok(with(r#""data":[1]"#).into()),
        ..envelope()
    };
    let taken = take_in(structured.clone()).expect("an event");
    assert_eq!(taken.content_type.as_deref(), Some("application/json"));
    assert_eq!(taken.payload, Ok(Bytes::from_static(b"[1]")));
    let none = Envelope {
        payload: Err(Tombstone),
        ..structured.clone()
    };
    assert!(matches!(take_in(none), Err(EventError::Malformed(_))));
    for content_type in [
        "application/cloudevents-batch+json",
        "application/cloudevents+avro",
    ] {
        let other = Envelope {
            content_type: Some(content_type.into()),
            ..structured.clone()
        };
        assert!(
            matches!(take_in(other), Err(EventError::ContentType { .. })),
            "{content_type}"
        );
    }

    let header = |name: &str, value: &'static str| Header {
        name: name.to_owned(),
        value: value.into(),
    };
    let in_headers = Envelope {
        headers: vec![
            header("other", "1"),
            header("CE-Id", "a%20"),
            header("ce-source", "/s"),
            header("ce-type", "é"),
            header("ce-specversion", "1.0"),
        ],
        content_type: Some("text/plain".into()),
        payload: Ok(Bytes::from_static(b"x")),
        ..envelope()
    };
    let taken = take_in(in_headers.clone()).expect("an event");
    // No protocol but HTTP quotes.
    assert_eq!(taken.id, MessageId::Publisher("/s a%20".into()));
    let names: Vec<&str> = taken.headers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(
        names,
        ["other", "ce-id", "ce-source", "ce-type", "ce-specversion"]
    );
    assert_eq!(taken.payload, in_headers.payload);
    // A record that is sent again has its id.
    assert_eq!(take_in(taken.clone()), Ok(taken));
    let broken = Envelope {
        headers: vec![header("ce-id", "i")],
        ..in_headers
    };
    assert!(take_in(broken).is_err());
    let plain = Envelope {
        headers: vec![header("ce-subject", "x")],
        content_type: Some("text/plain".into()),
        ..envelope()
    };
    assert_eq!(take_in(plain.clone()), Ok(plain));
}

#[test]
fn what_came_as_no_event_is_made_one() {
    let message = Envelope {
        topic: "orders/a\nb".into(),
        key: Some("k".into()),
        content_type: Some("text/plain".into()),
        payload: Ok(Bytes::from_static(b"hello")),
        ..envelope()
    };
    assert_eq!(
        written(&record(&message)),
        r#"{"specversion":"1.0","id":"d1","source":"edge-1","type":"orders/a%0Ab","#.to_owned()
            + r#""time":"1970-01-01T00:00:01.000Z","partitionkey":"k","#
            + r#""datacontenttype":"text/plain","data":"hello"}"#
    );
    // Keys and content types that no event has are left away; half an event is none.
    let odd = Envelope {
        key: Some(Bytes::from_static(b"\xff")),
        content_type: Some("text\n".into()),
        headers: vec![Header {
            name: "ce-id".into(),
            value: "mine".into(),
        }],
        ..message
    };
    assert_eq!(
        written(&record(&odd)),
        r#"{"specversion":"1.0","id":"d1","source":"edge-1","type":"orders/a%0Ab","#.to_owned()
            + r#""time":"1970-01-01T00:00:01.000Z","data_base64":"aGVsbG8="}"#
    );
    let of_name = |gateway: &str| {
        let made = Made {
            id: "",
            gateway,
            topic: "t",
            time: Wall(0),
            key: None,
            headers: &[],
            content_type: Some("application/cloudevents+json"),
            payload: None,
        };
        written(&of_record(&made))
    };
    let odd = of_name("a:b c/é");
    assert!(odd.contains(r#""source":"a%3Ab%20c%2F%C3%A9""#), "{odd}");
    for gateway in ["a:b c/é", ""] {
        let event = of_name(gateway);
        read(&event);
        assert!(!event.contains("data"), "{event}");
    }
}

fn random_text(rng: &mut fastrand::Rng, longest: usize) -> String {
    const ODD: [char; 12] = [
        'é', '€', '😀', ' ', '"', '%', '\\', '/', '\'', ',', ';', '\u{a0}',
    ];
    let length = rng.usize(1..=longest);
    (0..length)
        .map(|_| match rng.u8(..4) {
            0 => *rng.choice(&ODD).expect("some"),
            _ => rng.char('!'..='~'),
        })
        .collect()
}

fn random_event(rng: &mut fastrand::Rng) -> Event {
    let text = |value: String| Value::Text(value);
    let mut attributes: Vec<(String, Value)> = vec![
        ("specversion".into(), text("1.0".into())),
        ("id".into(), text(random_text(rng, 300))),
        (
            "source".into(),
            text(format!("/s{}?%2{}#f", rng.u32(..), rng.digit(16))),
        ),
        ("type".into(), text(random_text(rng, 40))),
    ];
    let optional = [
        (
            "time",
            text(format!(
                "20{:02}-02-03T04:05:06.{:09}+01:00",
                rng.u8(..99),
                rng.u32(..999_999_999)
            )),
        ),
        ("subject", text(random_text(rng, 20))),
        ("dataschema", text("urn:x:y".into())),
        ("partitionkey", text(random_text(rng, 20))),
        ("n", Value::Integer(rng.i32(..))),
        ("looksint", text(rng.i32(..).to_string())),
        ("truth", Value::Boolean(rng.bool())),
        ("lookstrue", text("true".into())),
        ("empty", text(String::new())),
        ("0", text(random_text(rng, 30))),
    ];
    for (name, value) in optional {
        if rng.bool() {
            attributes.push((name.into(), value));
        }
    }
    rng.shuffle(&mut attributes);
    let attributes = attributes.into_iter();
    let attributes = attributes.map(|(name, value)| Attribute { name, value });
    let (content_type, data): (Option<&str>, Option<Bytes>) = match rng.u8(..8) {
        0 => (None, None),
        1 => (None, Some(random_text(rng, 50).into())),
        2 => (
            Some("application/json"),
            Some("{\"a\": [1.0,\n\"é\"]}".into()),
        ),
        3 => (
            Some("application/json; charset=utf-8"),
            Some("not JSON".into()),
        ),
        4 => (Some("text/plain"), Some(random_text(rng, 50).into())),
        5 => (Some("image/png"), Some(vec![0xff, rng.u8(..)].into())),
        6 => (Some("text/csv; header=\"present\""), Some(Bytes::new())),
        _ => (Some("application/vnd.x+json"), None),
    };
    Event::new(attributes.collect(), content_type.map(str::to_owned))
        .expect("legal")
        .with_data(data)
}

/// All types as texts: what is left of them in headers.
fn untyped(event: &Event) -> Event {
    let attributes = event.attributes().iter().map(|a| Attribute {
        name: a.name.clone(),
        value: Value::Text(a.value.to_string()),
    });
    Event::new(
        attributes.collect(),
        event.content_type().map(str::to_owned),
    )
    .expect("legal")
    .with_data(event.data().cloned())
}

#[test]
fn an_event_is_the_same_in_every_mode_and_after_a_stream() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..2_000 {
        let event = random_event(&mut rng);
        let json = written(&event);
        assert_eq!(read(&json), event, "{json}");

        let quoted = event.quoted_headers();
        assert!(
            quoted
                .iter()
                .all(|(_, v)| v.bytes().all(|b| matches!(b, b'!'..=b'~'))),
            "{quoted:?}"
        );
        let back = of_quoted(&quoted, event.content_type()).expect("as written");
        assert_eq!(
            back.with_data(event.data().cloned()),
            untyped(&event),
            "{quoted:?}"
        );

        let taken = event.clone().into_envelope(envelope()).expect("legal");
        assert_eq!(record(&taken), event, "{json}");

        let mut list = Vec::new();
        write_batch(&[event.clone(), event.clone()], &mut list);
        assert_eq!(list, format!("[{json},{json}]").into_bytes());
    }
}
