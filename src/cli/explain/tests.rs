use super::render::text;
use super::*;
use crate::admin::explanation::{
    Content, DeliveryIdAnswer, IdFrom, PlannedTarget, Refused, RouteAnswer, Unrouted,
};

fn target() -> PlannedTarget {
    PlannedTarget {
        route: Some("orders".to_owned()),
        destination: "inbox".to_owned(),
        guarantee: "exactly_once".to_owned(),
        ack: "delivered".to_owned(),
        topic: "orders/north".to_owned(),
        key: Some(Content::Text("ann".to_owned())),
        headers: vec![
            ("kind".to_owned(), Content::Text("te\u{1b}st".to_owned())),
            ("raw".to_owned(), Content::of(b"\xff")),
        ],
        content_type: Some("application/json".to_owned()),
        payload: Some(Content::Text("{ \"total\": 12 }".to_owned())),
        priority: Some(9),
        delay_ms: Some(5_000),
        ttl_ms: Some(3_600_000),
        delivery_id: DeliveryIdAnswer::Is("5b4f".to_owned()),
        dead_letter: None,
    }
}

fn explanation() -> Explanation {
    Explanation {
        topic: "orders/north".to_owned(),
        id: Some("order-1".to_owned()),
        id_from: IdFrom::Publisher,
        refused: None,
        unrouted: None,
        ack: Some("delivered".to_owned()),
        ack_timeout_ms: Some(30_000),
        targets: vec![target()],
        routes: vec![
            route("orders", true, None, 0),
            route("jobs", false, Some("its topic is \"jobs/#\""), 3),
        ],
    }
}

fn route(name: &str, matched: bool, reason: Option<&str>, distance: u32) -> RouteAnswer {
    RouteAnswer {
        route: name.to_owned(),
        matched,
        reason: reason.map(str::to_owned),
        distance,
    }
}

const PLAIN: Shown = Shown {
    colour: false,
    all: false,
};

#[test]
fn a_plan_is_shown_whole() {
    let expected = "\
orders/north: 1 delivery
  id   order-1, the publisher's
  ack  delivered, HTTP and gRPC wait up to 30s for it

orders → inbox  exactly_once, acknowledged when delivered
  topic        orders/north
  key          ann
  headers      kind: te\\u{1b}st
               raw: base64:/w==
  content type application/json
  payload      {\"total\":12}
  priority     9
  delay        5s
  ttl          1h
  delivery id  5b4f

not matched:
  jobs  its topic is \"jobs/#\"
";
    assert_eq!(text(&explanation(), PLAIN), expected);
}

#[test]
fn refusals_and_what_no_route_takes() {
    let refused = Explanation {
        refused: Some(Refused {
            kind: "no-route".to_owned(),
            status: 404,
            detail: "no route matches this message, of the topic \"x\"".to_owned(),
        }),
        unrouted: Some(Unrouted::Reject),
        id: None,
        id_from: IdFrom::Nobody,
        ack: None,
        targets: Vec::new(),
        ..explanation()
    };
    let shown = text(&refused, PLAIN);
    assert!(shown.contains("\nmatched: orders\n"), "{shown}");
    assert!(
        shown.starts_with("orders/north: refused\n  no route matches"),
        "{shown}"
    );
    assert!(shown.contains("(HTTP 404 no-route)"), "{shown}");
    assert!(
        shown.contains("id   none: it gets one of its own"),
        "{shown}"
    );

    let dead = Explanation {
        unrouted: Some(Unrouted::DeadLetter),
        targets: vec![PlannedTarget {
            route: None,
            dead_letter: Some("no route matches the message".to_owned()),
            delivery_id: DeliveryIdAnswer::Unknown,
            ..target()
        }],
        ..explanation()
    };
    let shown = text(&dead, PLAIN);
    assert!(shown.contains("into the door's dead letters"), "{shown}");
    assert!(shown.contains("(no route) → inbox"), "{shown}");
    assert!(shown.contains("--live"), "{shown}");
}

#[test]
fn of_many_routes_the_nearest_are_shown_in_their_order() {
    let many = (0..20).map(|n| route(&format!("r{n}"), false, Some("no"), 20 - n));
    let many = Explanation {
        routes: many.collect(),
        ..explanation()
    };
    let shown = text(&many, PLAIN);
    let names: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("  r")?.split(' ').next())
        .collect();
    assert_eq!(names, ["15", "16", "17", "18", "19"]);
    assert!(shown.contains("… and 15 more (--all)"), "{shown}");
    let all = text(&many, Shown { all: true, ..PLAIN });
    assert!(all.contains("  r0 "), "{all}");
    assert!(!all.contains("--all"), "{all}");
}

#[test]
fn a_question_is_a_line_of_a_batch() {
    let sample = Sample {
        topic: "a".to_owned(),
        data: Some(Data::Text("{}".to_owned())),
        id: Some("i".to_owned()),
        headers: vec![
            ("k".to_owned(), "1".to_owned()),
            ("a".to_owned(), "2".to_owned()),
            ("k".to_owned(), "3".to_owned()),
        ],
        from: Some("mqtt".to_owned()),
        ..Sample::default()
    };
    // The headers in their order, as the file's rules see them.
    assert_eq!(
        serde_json::to_string(&question(&sample)).expect("plain values"),
        r#"{"topic":"a","id":"i","headers":{"k":"1","a":"2","k":"3"},"#.to_owned()
            + r#""content_type":"application/json","data_base64":"e30=","from":"mqtt"}"#
    );
}

#[test]
fn an_explanation_survives_its_json() {
    let json = serde_json::to_value(explanation()).expect("plain values");
    let again: Explanation = serde_json::from_value(json).expect("its own");
    assert_eq!(again, explanation());
}
