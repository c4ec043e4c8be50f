use super::super::router::tests::{LIMITS, NOW, envelope, plan_with_skips, route, target};
use super::super::{
    Catalog, CompileError, HeaderSpec, OnError, RouteSpec, Routed, Router, Skip, Span, TargetSpec,
    Unrouted,
};
use super::*;
use crate::clock::Wall;
use crate::expression::Program;
use crate::message::{Envelope, MAX_KEY_BYTES};

fn template(text: &str) -> Option<Template> {
    Some(Template::parse(text, &["shop"]).unwrap_or_else(|e| panic!("{text}: {e}")))
}

fn order() -> Envelope {
    let header = |name: &str, value: &'static [u8]| Header {
        name: name.into(),
        value: Bytes::from_static(value),
    };
    Envelope {
        headers: vec![header("Type", b"pdf"), header("raw", b"\xff\x00")],
        payload: Ok(Bytes::from_static(
            br#"{"id":"o-1","n":300,"wait":"5s","text":"a+b","items":[1,2]}"#,
        )),
        content_type: Some("text/plain".into()),
        ..envelope("orders/berlin")
    }
}

fn of_route(change: impl FnOnce(&mut RouteSpec)) -> RouteSpec {
    let mut spec = route("orders", "orders/{shop}", vec![target("inbox")]);
    change(&mut spec);
    spec
}

fn of_target(change: impl FnOnce(&mut TargetSpec)) -> RouteSpec {
    of_route(|spec| change(&mut spec.targets[0]))
}

fn plan_of(specs: &[RouteSpec], envelope: &Envelope) -> (Result<Routed, Refusal>, Vec<Skip>) {
    let catalog = Catalog::made_up(specs);
    let router = Router::new(specs, Unrouted::Reject, &catalog, LIMITS);
    plan_with_skips(&router.expect("names are in the catalog"), envelope)
}

fn targets(specs: &[RouteSpec], envelope: &Envelope) -> Vec<Target> {
    match plan_of(specs, envelope).0 {
        Ok(Routed::To(planned)) => {
            assert_eq!(planned.on_full.len(), planned.plan.targets.len());
            planned.plan.targets
        }
        other => panic!("a plan was expected: {other:?}"),
    }
}

fn only(spec: RouteSpec) -> Target {
    let mut targets = targets(&[spec], &order());
    assert_eq!(targets.len(), 1);
    targets.remove(0)
}

/// The reason of the refusal of the order.
fn refused(spec: RouteSpec) -> String {
    match plan_of(&[spec], &order()).0 {
        Err(Refusal::RouteRefused { route, reason }) => {
            assert_eq!(route, "orders");
            reason
        }
        other => panic!("a refusal was expected: {other:?}"),
    }
}

#[test]
fn every_field_is_rendered() {
    let rendered = only(of_target(|t| {
        t.topic = template("shops.${shop}");
        t.key = template("${payload.id}");
        t.headers = Some(vec![
            HeaderSpec {
                name: "Kind".into(),
                value: template("${headers['type']}-${payload.n}").expect("a template"),
            },
            HeaderSpec {
                name: "raw".into(),
                value: template("${headers['raw']}").expect("a template"),
            },
            HeaderSpec {
                name: "fixed".into(),
                value: template("$${x}").expect("a template"),
            },
        ]);
        t.priority = template("${payload.n > 100 ? 9 : 1}");
        t.delay = template("${payload.wait}").map(Span::Template);
        t.ttl = template("1h").map(Span::Template);
    }));
    assert_eq!(rendered.topic.as_deref(), Some("shops.berlin"));
    assert_eq!(rendered.key.as_deref(), Some(&b"o-1"[..]));
    let headers = rendered.headers.expect("the target's own");
    let headers: Vec<_> = headers.iter().map(|h| (&*h.name, &h.value[..])).collect();
    assert_eq!(
        headers,
        [
            ("Kind", &b"pdf-300"[..]),
            ("raw", b"\xff\x00"),
            ("fixed", b"${x}")
        ]
    );
    assert_eq!(rendered.priority, Some(9));
    assert_eq!(rendered.not_before, Some(Wall(NOW.0 + 5_000)));
    assert_eq!(rendered.expires_at, Some(Wall(NOW.0 + 3_600_000)));
    assert_eq!(rendered.payload, None);
}

#[test]
fn what_is_not_written_is_the_envelopes() {
    let bare = only(of_target(|_| {}));
    let expected = Target::to(
        RouteId(1),
        crate::message::LaneId(1),
        Guarantee::AtLeastOnce,
    );
    assert_eq!(bare, expected);
}

#[test]
fn the_envelopes_own_topic_must_be_known_where_no_other_is_written() {
    let long = envelope(&format!("orders/{}", "x".repeat(249)));
    let short = envelope(&format!("orders/{}", "x".repeat(248)));
    let spec = of_target(|t| t.names = TopicNames::Rabbitmq);
    let specs = std::slice::from_ref(&spec);
    assert_eq!(targets(specs, &short)[0].topic, None);
    match plan_of(specs, &long).0 {
        Err(Refusal::RouteRefused { reason, .. }) => assert_eq!(
            reason,
            "the topic for \"inbox\": it has 256 bytes, and RabbitMQ's routing keys have at most 255"
        ),
        other => panic!("{other:?}"),
    }
    let written = of_target(|t| {
        t.names = TopicNames::Rabbitmq;
        t.topic = template("orders");
    });
    assert_eq!(targets(&[written], &long)[0].topic, Some("orders".into()));
}

#[test]
fn targets_see_what_transform_made() {
    let spec = of_route(|spec| {
        spec.transform = Program::compile("{'number': payload.id, 'shop': shop}", &["shop"]).ok();
        spec.targets[0].key = template("${payload.number}");
        let mut other = target("audit");
        other.topic = template("${payload.shop}");
        spec.targets.push(other);
    });
    // The next route sees what was received.
    let next = of_target(|t| t.key = template("${payload.id}"));
    let next = RouteSpec {
        name: "next".into(),
        ..next
    };
    let targets = targets(&[spec, next], &order());
    let payload: serde_json::Value =
        serde_json::from_slice(targets[0].payload.as_ref().expect("a new payload")).expect("JSON");
    assert_eq!(
        payload,
        serde_json::json!({"number": "o-1", "shop": "berlin"})
    );
    assert_eq!(targets[0].key.as_deref(), Some(&b"o-1"[..]));
    assert_eq!(targets[1].topic.as_deref(), Some("berlin"));
    assert_eq!(targets[1].payload, targets[0].payload);
    assert_eq!(targets[2].payload, None);
    assert_eq!(targets[2].key.as_deref(), Some(&b"o-1"[..]));
}

#[test]
fn the_earlier_end_and_the_later_start_hold() {
    let spec = of_target(|t| {
        t.ttl = Some(Span::Fixed(Duration::from_secs(10)));
        t.delay = template("${payload.wait}").map(Span::Template);
    });
    let times = |expires_at, deliver_at| {
        let envelope = Envelope {
            expires_at,
            deliver_at,
            ..order()
        };
        let target = targets(std::slice::from_ref(&spec), &envelope).remove(0);
        let after = |time: Option<Wall>| time.map(|t| t.0 - NOW.0);
        (after(target.expires_at), after(target.not_before))
    };
    let at = |millis| Some(Wall(NOW.0 + millis));
    assert_eq!(times(None, None), (Some(10_000), Some(5_000)));
    assert_eq!(times(at(9_000), at(4_000)), (Some(9_000), Some(5_000)));
    assert_eq!(times(at(11_000), at(6_000)), (Some(10_000), Some(6_000)));
    assert_eq!(times(None, Some(Wall(1))), (Some(10_000), Some(5_000)));
}

#[test]
fn what_can_not_be_delivered_is_said() {
    let long = "a".repeat(MAX_KEY_BYTES);
    let routing_key = "a".repeat(250);
    let wildcard =
        "the topic for \"inbox\": it has a wildcard in it, `+` or `#`: these are for patterns";
    let cases: Vec<(RouteSpec, &str)> = vec![
        (
            of_target(|t| t.topic = template("${payload.text}")),
            wildcard,
        ),
        (
            of_target(|t| t.topic = template("${''}")),
            "the topic for \"inbox\": it is empty",
        ),
        (
            of_target(|t| t.topic = template("${'a\\u0000'}")),
            "the topic for \"inbox\": it has a NUL character in it",
        ),
        (
            of_target(|t| {
                t.names = TopicNames::Rabbitmq;
                t.topic = template(&format!("{routing_key}${{shop}}"));
            }),
            "the topic for \"inbox\": it has 256 bytes, and RabbitMQ's routing keys have at most 255",
        ),
        (
            of_target(|t| t.key = template(&format!("{long}${{shop}}"))),
            "the key for \"inbox\": it has 4102 bytes, more than 4096",
        ),
        (
            of_target(|t| t.priority = template("${payload.n}")),
            "the priority for \"inbox\": it isn't between 0 and 255",
        ),
        (
            of_target(|t| t.priority = template("${-1}")),
            "the priority for \"inbox\": it isn't between 0 and 255",
        ),
        (
            of_target(|t| t.delay = template("${payload.id}").map(Span::Template)),
            "the delay for \"inbox\": it is no length of time: write 500ms, 30s or 10m",
        ),
        (
            of_target(|t| t.delay = template("-${payload.wait}").map(Span::Template)),
            "the delay for \"inbox\": it is no length of time: write 500ms, 30s or 10m",
        ),
        (
            of_target(|t| t.ttl = template("99999${payload.n}d").map(Span::Template)),
            "the ttl for \"inbox\": it is no length of time: write 500ms, 30s or 10m",
        ),
        (
            of_target(|t| {
                let header = |n| HeaderSpec {
                    name: format!("h{n}"),
                    value: template("${topic}").expect("a template"),
                };
                t.headers = Some((0..65).map(header).collect());
            }),
            "the headers for \"inbox\": they are 65, more than the limit of 64 (limits.headers)",
        ),
        (
            of_target(|t| {
                let header = |n| HeaderSpec {
                    name: format!("h{n}"),
                    value: template(&format!("{long}${{shop}}")).expect("a template"),
                };
                t.headers = Some((0..4).map(header).collect());
            }),
            "the headers for \"inbox\": they have 16416 bytes, more than the limit of 16384 (limits.header_bytes)",
        ),
    ];
    for (spec, reason) in cases {
        assert_eq!(refused(spec), reason);
    }
}

#[test]
fn a_missing_field_is_told_with_its_target() {
    let reason = refused(of_target(|t| t.key = template("${payload.gone}")));
    assert!(reason.starts_with("the key for \"inbox\": "), "{reason}");
    assert!(reason.contains("gone"), "{reason}");
    let reason = refused(of_route(|r| {
        r.when = Program::compile("payload.gone", &[]).ok()
    }));
    assert!(
        reason.starts_with("`when`: ") && reason.contains("gone"),
        "{reason}"
    );
    let reason = refused(of_route(|r| {
        r.transform = Program::compile("payload.gone", &[]).ok()
    }));
    assert!(
        reason.starts_with("`transform`: ") && reason.contains("gone"),
        "{reason}"
    );
}

/// A second target, and another route, which are well.
fn with_others(spec: RouteSpec, on_error: OnError) -> [RouteSpec; 2] {
    let mut spec = RouteSpec { on_error, ..spec };
    spec.targets.push(target("audit"));
    [spec, route("all", "#", vec![target("inbox")])]
}

#[test]
fn on_error_says_what_becomes_of_a_target() {
    let failing = || of_target(|t| t.key = template("${payload.gone}"));
    let skipped = with_others(failing(), OnError::Skip);
    let (plan, skips) = plan_of(&skipped, &order());
    assert!(plan.is_ok());
    let lanes: Vec<_> = targets(&skipped, &order())
        .iter()
        .map(|t| (t.route.0, t.lane.0))
        .collect();
    assert_eq!(lanes, [(1, 2), (2, 1)]);
    let skip = &skips[0];
    assert_eq!((skips.len(), &*skip.route), (1, "orders"));
    assert_eq!(skip.destination.as_deref(), Some("inbox"));
    assert!(skip.reason.contains("gone"), "{skip:?}");

    let held = targets(&with_others(failing(), OnError::DeadLetter), &order());
    let reasons: Vec<bool> = held.iter().map(|t| t.dead_letter.is_some()).collect();
    assert_eq!(reasons, [true, false, false]);
    assert_eq!(held[0].key, None, "it is held as it was received");
}

#[test]
fn on_error_says_what_becomes_of_a_route() {
    let when = || of_route(|r| r.when = Program::compile("payload.gone == 1", &[]).ok());
    let transform = || of_route(|r| r.transform = Program::compile("payload.gone", &[]).ok());
    for failing in [when, transform as fn() -> RouteSpec] {
        let (plan, skips) = plan_of(&with_others(failing(), OnError::Skip), &order());
        let Ok(Routed::To(planned)) = plan else {
            panic!("{plan:?}");
        };
        let lanes: Vec<_> = planned.plan.targets.iter().map(|t| t.route.0).collect();
        assert_eq!(lanes, [2]);
        assert_eq!((skips.len(), skips[0].destination.as_ref()), (1, None));

        let held = targets(&with_others(failing(), OnError::DeadLetter), &order());
        let reasons: Vec<bool> = held.iter().map(|t| t.dead_letter.is_some()).collect();
        assert_eq!(reasons, [true, true, false]);
    }
    // Alone, and passed over, it is as if there were no route; and it is counted.
    for failing in [when(), transform()] {
        let alone = RouteSpec {
            on_error: OnError::Skip,
            ..failing
        };
        let (plan, skips) = plan_of(&[alone], &order());
        assert!(matches!(plan, Err(Refusal::NoRoute { .. })), "{plan:?}");
        assert_eq!(skips.len(), 1);
    }
}

#[test]
fn stop_counts_for_a_route_that_matched_only() {
    let behind = || route("behind", "#", vec![target("inbox")]);
    let routes = |change: &dyn Fn(&mut RouteSpec)| {
        let mut spec = of_route(|r| (r.stop, r.on_error) = (true, OnError::Skip));
        change(&mut spec);
        let (plan, _) = plan_of(&[spec, behind()], &order());
        let Ok(Routed::To(planned)) = plan else {
            return vec![];
        };
        planned.plan.targets.iter().map(|t| t.route.0).collect()
    };
    assert_eq!(routes(&|_| {}), [1]);
    let when = |source: &'static str| {
        move |r: &mut RouteSpec| r.when = Program::compile(source, &["shop"]).ok()
    };
    assert_eq!(routes(&when("shop == 'berlin'")), [1]);
    assert_eq!(routes(&when("shop == 'paris'")), [2]);
    assert_eq!(routes(&when("payload.gone")), [2], "skipped, so no match");
    let skipped = |r: &mut RouteSpec| r.targets[0].key = template("${payload.gone}");
    assert_eq!(
        routes(&skipped),
        [0; 0],
        "it matched, and its target was skipped"
    );
    let held = |r: &mut RouteSpec| {
        when("payload.gone")(r);
        r.on_error = OnError::DeadLetter;
    };
    assert_eq!(routes(&held), [1]);
}

/// It would refuse the envelope.
#[test]
fn behind_a_stop_nothing_is_evaluated() {
    let stop = of_route(|r| r.stop = true);
    let failing = RouteSpec {
        name: "behind".into(),
        ..of_route(|r| r.when = Program::compile("payload.gone", &[]).ok())
    };
    assert_eq!(targets(&[stop, failing], &order()).len(), 1);
}

#[test]
fn a_strict_lane_delays_nothing() {
    let mut once = target("inbox");
    once.guarantee = Guarantee::ExactlyOnce;
    let strict = route("once", "clicks", vec![once]);
    let delayed = of_target(|t| t.delay = template("${payload.wait}").map(Span::Template));
    let (plan, _) = plan_of(&[strict.clone(), delayed], &order());
    let Err(Refusal::RouteRefused { reason, .. }) = plan else {
        panic!("{plan:?}");
    };
    assert!(reason.starts_with("the delay for \"inbox\": "), "{reason}");
    let at_once = of_target(|t| t.delay = template("${'0s'}").map(Span::Template));
    assert_eq!(targets(&[strict, at_once], &order())[0].not_before, None);
}

#[test]
fn a_plan_must_fit_into_a_record() {
    let limit = LIMITS.record_bytes();
    let spec = |copies: usize| {
        of_route(|r| {
            r.transform = Program::compile("payload", &[]).ok();
            r.targets = vec![target("inbox"); copies];
        })
    };
    let envelope = |bytes: usize| Envelope {
        payload: Ok(format!("\"{}\"", "a".repeat(bytes)).into()),
        ..order()
    };
    assert_eq!(targets(&[spec(2)], &envelope(600 << 10)).len(), 2);
    let (plan, _) = plan_of(&[spec(3)], &envelope(600 << 10));
    let Err(Refusal::TooLarge {
        actual,
        limit: told,
        setting,
        ..
    }) = plan
    else {
        panic!("{plan:?}");
    };
    assert_eq!((told, setting), (limit, "limits.payload"));
    assert!(actual > limit && actual < limit + (1 << 20), "{actual}");

    // One payload alone.
    let grown = of_route(|r| r.transform = Program::compile("[payload, payload]", &[]).ok());
    let (plan, _) = plan_of(&[grown], &envelope(600 << 10));
    let Err(Refusal::RouteRefused { reason, .. }) = plan else {
        panic!("{plan:?}");
    };
    assert!(reason.starts_with("`transform`: "), "{reason}");
    assert!(LIMITS.record_bytes() == 2 << 20);
}

#[test]
fn what_could_never_be_delivered_is_refused_at_load() {
    let compiled = |spec: RouteSpec| {
        let specs = [spec];
        let catalog = Catalog::made_up(&specs);
        match Router::new(&specs, Unrouted::Reject, &catalog, LIMITS) {
            Err(CompileError::Unfit { route, reason }) => {
                assert_eq!(route, "orders");
                reason
            }
            other => panic!("{other:?}"),
        }
    };
    for (spec, reason) in [
        (
            of_target(|t| t.topic = template("")),
            "the topic for \"inbox\": it is empty",
        ),
        (
            of_target(|t| t.priority = template("256")),
            "the priority for \"inbox\": it isn't between 0 and 255",
        ),
        (
            of_target(|t| t.priority = template("high")),
            "the priority for \"inbox\": it is no whole number",
        ),
        (
            of_target(|t| t.ttl = template("soon").map(Span::Template)),
            "the ttl for \"inbox\": it is no length of time: write 500ms, 30s or 10m",
        ),
    ] {
        assert_eq!(compiled(spec), reason);
    }
}
