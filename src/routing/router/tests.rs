use super::super::{OnReject, Pattern, Span, TargetSpec};
use super::*;
use crate::expression::{Program, Template};
use crate::message::TopicNames;
use crate::routing::draft::MAX_PLAN_TARGETS;

pub(in crate::routing) const NOW: Wall = Wall(1_000_000);

pub(in crate::routing) const LIMITS: PlanLimits = PlanLimits {
    payload_bytes: 1 << 20,
    headers: 64,
    header_bytes: 16 << 10,
};

pub(in crate::routing) fn envelope(topic: &str) -> Envelope {
    Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: topic.into(),
        id: MessageId::Publisher("id-1".into()),
        key: None,
        headers: Vec::new(),
        content_type: None,
        payload: Ok(Bytes::from_static(b"{}")),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}

pub(in crate::routing) fn target(destination: &str) -> TargetSpec {
    TargetSpec {
        destination: destination.into(),
        guarantee: Guarantee::AtLeastOnce,
        names: TopicNames::Any,
        topic: None,
        key: None,
        headers: None,
        priority: None,
        delay: None,
        ttl: None,
        on_full: OnFull::Refuse,
        on_reject: OnReject::Skip,
    }
}

pub(in crate::routing) fn route(name: &str, pattern: &str, targets: Vec<TargetSpec>) -> RouteSpec {
    RouteSpec {
        name: name.into(),
        pattern: Pattern::parse(pattern).expect("a good pattern"),
        from: Vec::new(),
        headers: Vec::new(),
        headers_any: Vec::new(),
        when: None,
        transform: None,
        stop: false,
        on_error: OnError::Reject,
        ack: Ack::Stored,
        ack_timeout: Duration::from_secs(30),
        targets,
    }
}

fn catalog() -> Catalog {
    Catalog {
        routes: HashMap::from([("all".into(), RouteId(1)), ("orders".into(), RouteId(2))]),
        memory_lanes: HashMap::from([("inbox".into(), LaneId(3)), ("audit".into(), LaneId(4))]),
        lanes: HashMap::from([("inbox".into(), LaneId(1)), ("audit".into(), LaneId(2))]),
        unrouted_route: RouteId(0),
        door_lane: LaneId(0),
        alternates: HashMap::new(),
    }
}

fn router(specs: &[RouteSpec], unrouted: Unrouted) -> Router {
    Router::new(specs, unrouted, &catalog(), LIMITS).expect("names are in the catalog")
}

/// What `on_error = "skip"` passed over, too.
pub(in crate::routing) fn plan_with_skips(
    router: &Router,
    envelope: &Envelope,
) -> (Result<Routed, Refusal>, Vec<Skip>) {
    let mut skips = Vec::new();
    let arrival = Arrival {
        envelope,
        id: &envelope.id,
        scope: &Scope::new(envelope),
        now: NOW,
    };
    let routed = router.plan(&arrival, &mut skips);
    (routed, skips)
}

fn plan(router: &Router, envelope: &Envelope) -> Result<Routed, Refusal> {
    plan_with_skips(router, envelope).0
}

fn planned(router: &Router, envelope: &Envelope) -> Planned {
    match plan(router, envelope) {
        Ok(Routed::To(planned)) => planned,
        other => panic!("a plan was expected: {other:?}"),
    }
}

#[test]
fn all_matching_routes_apply_in_order() {
    let mut audit = target("audit");
    (audit.topic, audit.on_full) = (Template::parse("log", &[]).ok(), OnFull::DeadLetter);
    let routes = [
        route("all", "#", vec![target("inbox")]),
        route("orders", "orders/#", vec![audit, target("inbox")]),
    ];
    let router = router(&routes, Unrouted::Reject);

    let both = planned(&router, &envelope("orders/1"));
    let got: Vec<_> = both
        .plan
        .targets
        .iter()
        .map(|t| (t.route.0, t.lane.0))
        .collect();
    assert_eq!(got, [(1, 1), (2, 2), (2, 1)]);
    assert_eq!(both.plan.targets[1].topic.as_deref(), Some("log"));
    assert_eq!(
        both.on_full,
        [OnFull::Refuse, OnFull::DeadLetter, OnFull::Refuse]
    );

    let one = planned(&router, &envelope("clicks"));
    assert_eq!(
        one.plan.targets,
        [Target::to(RouteId(1), LaneId(1), Guarantee::AtLeastOnce)]
    );
}

#[test]
fn the_strongest_ack_wins_with_its_longest_wait() {
    let with = |name, ack, seconds| RouteSpec {
        ack,
        ack_timeout: Duration::from_secs(seconds),
        ..route(name, "#", vec![target("inbox")])
    };
    let seconds = |specs: &[RouteSpec]| {
        let plan = planned(&router(specs, Unrouted::Reject), &envelope("a")).plan;
        (plan.ack, plan.ack_timeout.as_secs())
    };
    let weak = with("all", Ack::Stored, 90);
    let strong = with("orders", Ack::Delivered, 10);
    assert_eq!(
        seconds(&[weak.clone(), strong.clone()]),
        (Ack::Delivered, 10)
    );
    assert_eq!(seconds(&[strong.clone(), weak]), (Ack::Delivered, 10));
    assert_eq!(
        seconds(&[strong, with("all", Ack::Delivered, 20)]),
        (Ack::Delivered, 20)
    );
}

#[test]
fn the_later_of_delay_and_deliver_at_holds() {
    let mut delayed = target("inbox");
    delayed.delay = Some(Span::Fixed(Duration::from_millis(500)));
    let router = router(
        &[route("all", "#", vec![delayed, target("audit")])],
        Unrouted::Reject,
    );
    let not_before = |deliver_at: Option<u64>| {
        let envelope = Envelope {
            deliver_at: deliver_at.map(Wall),
            ..envelope("a")
        };
        let targets = planned(&router, &envelope).plan.targets;
        [
            targets[0].not_before.map(|t| t.0),
            targets[1].not_before.map(|t| t.0),
        ]
    };
    assert_eq!(not_before(None), [Some(1_000_500), None]);
    assert_eq!(
        not_before(Some(1_000_400)),
        [Some(1_000_500), Some(1_000_400)]
    );
    assert_eq!(
        not_before(Some(1_000_600)),
        [Some(1_000_600), Some(1_000_600)]
    );
    assert_eq!(
        not_before(Some(1_000_000)),
        [Some(1_000_500), None],
        "now is no delay"
    );
}

#[test]
fn the_expiry_is_carried() {
    let router = router(
        &[route("all", "#", vec![target("inbox")])],
        Unrouted::Reject,
    );
    let envelope = Envelope {
        expires_at: Some(Wall(9)),
        ..envelope("a")
    };
    assert_eq!(
        planned(&router, &envelope).plan.targets[0].expires_at,
        Some(Wall(9))
    );
}

#[test]
fn unrouted_is_rejected_held_or_dropped() {
    let routes = [route("orders", "orders/#", vec![target("inbox")])];
    let other = envelope("clicks");
    assert_eq!(
        plan(&router(&routes, Unrouted::Reject), &other),
        Err(Refusal::NoRoute {
            topic: "clicks".into()
        })
    );
    assert_eq!(
        plan(&router(&routes, Unrouted::Drop), &other),
        Ok(Routed::Drop)
    );

    let held = planned(&router(&routes, Unrouted::DeadLetter), &other).plan;
    assert_eq!(held.ack, Ack::Stored);
    assert_eq!(held.targets.len(), 1);
    assert_eq!(
        (held.targets[0].route, held.targets[0].lane),
        (RouteId(0), LaneId(0))
    );
    assert_eq!(
        held.targets[0].dead_letter.as_deref(),
        Some("no route matches the message")
    );
}

#[test]
fn exactly_once_needs_an_id_and_can_not_delay() {
    let mut once = target("inbox");
    once.guarantee = Guarantee::ExactlyOnce;
    let routes = [
        route("orders", "orders/#", vec![once]),
        route("all", "clicks", vec![target("inbox")]),
    ];
    let router = router(&routes, Unrouted::Reject);
    assert!(
        planned(&router, &envelope("orders/1"))
            .plan
            .is_exactly_once()
    );

    let nameless = Envelope {
        id: MessageId::None,
        ..envelope("orders/1")
    };
    assert!(matches!(
        plan(&router, &nameless),
        Err(Refusal::IdNeeded(_))
    ));
    let nameless = Envelope {
        id: MessageId::None,
        ..envelope("clicks")
    };
    assert!(
        plan(&router, &nameless).is_ok(),
        "its own target is at_least_once"
    );

    // The lane is strict for all that it delivers, whichever route sends it there.
    let later = Envelope {
        deliver_at: Some(Wall(NOW.0 + 1)),
        ..envelope("clicks")
    };
    assert!(matches!(plan(&router, &later), Err(Refusal::Malformed(_))));
}

#[test]
fn a_plan_is_bounded() {
    let routes = [route(
        "all",
        "#",
        vec![target("inbox"); MAX_PLAN_TARGETS + 1],
    )];
    let router = router(&routes, Unrouted::Reject);
    assert!(matches!(
        plan(&router, &envelope("a")),
        Err(Refusal::TooMany {
            limit: MAX_PLAN_TARGETS,
            ..
        })
    ));
}

#[test]
fn names_must_be_in_the_catalog() {
    let compile =
        |spec: RouteSpec| Router::new(&[spec], Unrouted::Reject, &catalog(), LIMITS).err();
    assert_eq!(
        compile(route("new", "#", vec![target("inbox")])),
        Some(CompileError::UnknownRoute("new".into()))
    );
    assert_eq!(
        compile(route("all", "#", vec![target("nowhere")])),
        Some(CompileError::UnknownDestination {
            route: "all".into(),
            destination: "nowhere".into()
        })
    );
    assert_eq!(
        compile(route("all", "#", vec![])),
        Some(CompileError::NoTargets("all".into()))
    );
}

/// The payload is read once, whoever asks: here two routes.
#[test]
fn what_is_evaluated_shares_one_scope() {
    let reading = |name: &str| RouteSpec {
        when: Program::compile("payload.n == 1", &[]).ok(),
        ..route(name, "#", vec![target("inbox")])
    };
    let steps = |routes: &[RouteSpec]| {
        let envelope = Envelope {
            payload: Ok(Bytes::from_static(br#"{"n":1,"more":[1,2,3,4,5,6,7,8,9]}"#)),
            ..envelope("a")
        };
        let scope = Scope::new(&envelope);
        let arrival = Arrival {
            envelope: &envelope,
            id: &envelope.id,
            scope: &scope,
            now: NOW,
        };
        let routed = router(routes, Unrouted::Reject).plan(&arrival, &mut Vec::new());
        assert!(matches!(routed, Ok(Routed::To(_))), "{routed:?}");
        scope.steps()
    };
    let (one, two) = (
        steps(&[reading("all")]),
        steps(&[reading("all"), reading("orders")]),
    );
    assert!(two > one, "the second counts: {one}, {two}");
    assert!(two < 2 * one, "the payload is read once: {one}, {two}");
}
