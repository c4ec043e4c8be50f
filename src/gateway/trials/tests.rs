use super::*;
use crate::admin::explanation::{DeliveryIdAnswer, IdFrom};
use crate::message::Guarantee;

fn target(route: &str, destination: &str, topic: &str) -> PlannedTarget {
    PlannedTarget {
        route: Some(route.to_owned()),
        destination: destination.to_owned(),
        guarantee: "at_least_once".to_owned(),
        ack: "stored".to_owned(),
        topic: topic.to_owned(),
        key: None,
        headers: Vec::new(),
        content_type: Some("text/plain".to_owned()),
        payload: Some(Content::Text("x".to_owned())),
        priority: None,
        delay_ms: None,
        ttl_ms: None,
        delivery_id: DeliveryIdAnswer::New,
        dead_letter: None,
    }
}

fn planned(targets: Vec<PlannedTarget>) -> Explanation {
    Explanation {
        topic: "a".to_owned(),
        id: None,
        id_from: IdFrom::Nobody,
        refused: None,
        unrouted: None,
        ack: None,
        ack_timeout_ms: None,
        targets,
        routes: Vec::new(),
    }
}

fn refused(kind: &str) -> Explanation {
    Explanation {
        refused: Some(Refused {
            kind: kind.to_owned(),
            status: 400,
            detail: "why".to_owned(),
        }),
        ..planned(Vec::new())
    }
}

fn wanted(route: &str, destination: &str) -> ExpectedTarget {
    ExpectedTarget {
        route: route.to_owned(),
        destination: destination.to_owned(),
        ..ExpectedTarget::default()
    }
}

fn with_topic(route: &str, destination: &str, topic: &str) -> ExpectedTarget {
    ExpectedTarget {
        topic: Some(topic.to_owned()),
        ..wanted(route, destination)
    }
}

#[test]
fn the_set_is_exact_and_its_order_is_free() {
    let found = planned(vec![target("r", "a", "t"), target("r", "b", "t")]);
    let both = Expected::Targets(vec![wanted("r", "b"), wanted("r", "a")]);
    assert_eq!(differences(&both, &found), [""; 0]);
    let one = Expected::Targets(vec![wanted("r", "b")]);
    assert_eq!(differences(&one, &found), ["not expected: r → a"]);
    let three = Expected::Targets(vec![wanted("r", "b"), wanted("r", "a"), wanted("s", "a")]);
    assert_eq!(differences(&three, &found), ["missing: s → a"]);
    let none = Expected::Targets(Vec::new());
    assert_eq!(differences(&none, &found).len(), 2);
}

/// The first that fits isn't always the one that was meant.
#[test]
fn twins_are_paired_so_that_all_can_hold() {
    let found = planned(vec![target("r", "a", "x"), target("r", "a", "y")]);
    let expected = Expected::Targets(vec![wanted("r", "a"), with_topic("r", "a", "x")]);
    assert_eq!(differences(&expected, &found), [""; 0]);
    let expected = Expected::Targets(vec![with_topic("r", "a", "z"), with_topic("r", "a", "x")]);
    assert_eq!(
        differences(&expected, &found),
        ["r → a: topic is \"y\", not \"z\""]
    );
}

type Change = fn(&mut ExpectedTarget);

#[test]
fn every_field_that_is_said_is_compared() {
    let found = planned(vec![PlannedTarget {
        headers: vec![
            ("kind".to_owned(), Content::Text("a".to_owned())),
            ("kind".to_owned(), Content::Text("b".to_owned())),
            ("other".to_owned(), Content::Text("c".to_owned())),
        ],
        payload: Some(Content::Text("{\"n\": 1}".to_owned())),
        priority: Some(1),
        delay_ms: Some(5_000),
        dead_letter: Some("broken".to_owned()),
        ..target("r", "a", "t")
    }]);
    let holds = ExpectedTarget {
        guarantee: Some(Guarantee::AtLeastOnce),
        content_type: Some("text/plain".to_owned()),
        headers: vec![
            ("kind".to_owned(), "a".to_owned()),
            ("kind".to_owned(), "b".to_owned()),
        ],
        data: Some(Data::Json(json!({"n": 1}))),
        priority: Some(1),
        delay: Some(Duration::from_secs(5)),
        dead_letter: Some(true),
        ..with_topic("r", "a", "t")
    };
    let expected = Expected::Targets(vec![holds.clone()]);
    assert_eq!(differences(&expected, &found), [""; 0]);
    let changes: [(Change, &str); 10] = [
        (
            |t| t.guarantee = Some(Guarantee::ExactlyOnce),
            "guarantee is at_least_once, not exactly_once",
        ),
        (
            |t| t.topic = Some("u".to_owned()),
            "topic is \"t\", not \"u\"",
        ),
        (
            |t| t.key = Some("k".to_owned()),
            "there is no key; expected was \"k\"",
        ),
        (
            |t| t.content_type = Some("x".to_owned()),
            "content_type is \"text/plain\", not \"x\"",
        ),
        (
            |t| t.data = Some(Data::Text("y".to_owned())),
            "data is \"{\\\"n\\\": 1}\", not \"y\"",
        ),
        (|t| t.priority = Some(2), "priority is 1, not 2"),
        (
            |t| t.delay = Some(Duration::from_secs(6)),
            "delay is 5000ms, not 6000ms",
        ),
        (
            |t| t.ttl = Some(Duration::from_secs(6)),
            "there is no ttl; expected was 6000ms",
        ),
        (
            |t| t.dead_letter = Some(false),
            "it is dead-lettered: broken",
        ),
        (
            |t| t.headers = vec![("kind".to_owned(), "a".to_owned())],
            "header kind is \"a\", \"b\", not \"a\"",
        ),
    ];
    for (change, words) in changes {
        let mut other = holds.clone();
        change(&mut other);
        let lines = differences(&Expected::Targets(vec![other]), &found);
        assert_eq!(lines, [format!("r → a: {words}")]);
    }
}

#[test]
fn refusals_and_what_no_route_takes() {
    let needed = Expected::Refused("id-needed".to_owned());
    let none = Expected::Targets(Vec::new());
    assert_eq!(differences(&needed, &refused("id-needed")), [""; 0]);
    assert_eq!(
        differences(&needed, &refused("no-route")),
        ["refused as \"id-needed\" was expected: it is refused as \"no-route\": why"]
    );
    assert_eq!(
        differences(&needed, &planned(vec![target("r", "a", "t")])),
        ["refused as \"id-needed\" was expected: it is sent r → a"]
    );
    assert_eq!(differences(&none, &refused("no-route")), [""; 0]);
    assert_eq!(
        differences(&none, &refused("too-large")),
        ["it is refused as \"too-large\": why"]
    );
    let dropped = Explanation {
        unrouted: Some(Unrouted::Drop),
        ..planned(Vec::new())
    };
    assert_eq!(differences(&none, &dropped), [""; 0]);
    let dead = Explanation {
        unrouted: Some(Unrouted::DeadLetter),
        ..planned(vec![PlannedTarget {
            route: None,
            ..target("", "$door", "t")
        }])
    };
    assert_eq!(differences(&none, &dead), [""; 0]);
    assert_eq!(
        differences(&Expected::Targets(vec![wanted("r", "a")]), &dead),
        ["missing: r → a"]
    );
}

/// What `explain --save` writes holds at once.
#[test]
fn a_saved_case_holds() {
    let publish = Sample {
        topic: "a".to_owned(),
        data: Some(Data::Text("x".to_owned())),
        ..Sample::default()
    };
    let own = PlannedTarget {
        payload: Some(Content::Text("{\"n\":[1.5,null]}".to_owned())),
        key: Some(Content::of(b"\xff")),
        ttl_ms: Some(10),
        ..target("r", "b", "t")
    };
    for found in [
        planned(vec![target("r", "a", "t"), own]),
        planned(Vec::new()),
        refused("id-needed"),
        refused("no-route"),
    ] {
        let case = case_of(&publish, &found);
        assert_eq!(differences(&case.expected, &found), [""; 0]);
        let text = crate::config::cases::to_toml(&case);
        let read = crate::config::cases::read("t", &text).unwrap_or_else(|r| panic!("{r:?}"));
        assert_eq!(differences(&read[0].expected, &found), [""; 0], "{text}");
    }
}
