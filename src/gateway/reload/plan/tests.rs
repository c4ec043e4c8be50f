use super::super::tests::{route, settings, stream};
use super::*;

fn lanes(lanes: &[(&str, Lane)]) -> BTreeMap<String, Lane> {
    let lane = |(name, lane): &(&str, Lane)| ((*name).to_owned(), *lane);
    lanes.iter().map(lane).collect()
}

fn owes(pending: u64) -> Lane {
    Lane {
        pending,
        owed_bytes: 100 * pending,
        ..Lane::default()
    }
}

fn orphan(pending: u64) -> Lane {
    Lane {
        is_orphan: true,
        ..owes(pending)
    }
}

/// From one file to another, with these lanes there.
fn planned(from: &str, to: &str, there: &[(&str, Lane)]) -> Result<Steps, Vec<Refusal>> {
    let from = settings(from);
    let running = Running {
        started: &from,
        in_force: &from,
        lanes: &lanes(there),
    };
    plan(running, settings(to))
}

fn steps(from: &str, to: &str, there: &[(&str, Lane)]) -> Steps {
    planned(from, to, there).expect("it is allowed")
}

/// The names of each kind of step: open, take up, tune, close.
fn names(steps: &Steps) -> [Vec<&str>; 4] {
    [&steps.open, &steps.take_up, &steps.tune, &steps.close]
        .map(|names| names.iter().map(String::as_str).collect())
}

fn one(name: &str, lines: &str) -> String {
    stream("inbox", "") + &stream(name, lines) + &route("all", "#", "inbox")
}

#[test]
fn the_same_file_is_no_step() {
    let file = one("other", "");
    let there = [("inbox", owes(3)), ("other", owes(0)), ("$door", owes(0))];
    let steps = steps(&file, &file, &there);
    assert!(names(&steps).iter().all(Vec::is_empty), "{steps:?}");
    assert_eq!((steps.turn, steps.changed), (vec![], vec![]));
    assert_eq!(*steps.settings, settings(&file));
}

#[test]
fn a_destination_goes_in_two_steps() {
    let file = |routed: &str| stream("a", "") + &stream("b", "") + &route("r", "#", routed);
    let without = stream("a", "") + &route("r", "#", "a");
    // What is owed doesn't matter while a running route leads there: more may be on its way.
    let there = |pending| [("a", owes(9)), ("b", owes(pending))];
    assert_eq!(
        planned(&file("b"), &without, &there(0)),
        Err(vec![Refusal::StillRouted {
            destination: "b".into(),
            routes: vec!["r".into()],
        }])
    );
    steps(&file("b"), &file("a"), &there(5));
    assert_eq!(
        planned(&file("a"), &without, &there(5)),
        Err(vec![Refusal::StillOwed {
            destination: "b".into(),
            pending: 5,
            owed_bytes: 500,
        }])
    );
    let last = steps(&file("a"), &without, &there(0));
    assert_eq!(names(&last), [vec![], vec![], vec![], vec!["b"]]);
    assert_eq!(last.changed, ["-destination b"]);
}

/// A broker's addresses may change; what is owed to one exchange doesn't go to another.
#[test]
fn a_rabbitmq_destination_is_its_virtual_host_and_exchange() {
    use crate::config::settings::{Address, Exchange, Rabbitmq};
    let kind = |url: &str, exchange: Option<&str>| {
        let exchange = exchange.map(|name| Exchange {
            name: name.to_owned(),
            kind: None,
            declare: false,
        });
        DestinationKind::Rabbitmq(Box::new(Rabbitmq {
            urls: vec![Address::new(url.to_owned())],
            username: None,
            password: None,
            tls: None,
            topic: None,
            exchange,
            queues: Vec::new(),
            unroutable: None,
        }))
    };
    let before = kind("amqp://a:5672/%2f", Some("tasks"));
    for (after, is_same) in [
        (kind("amqps://u:p@b", Some("tasks")), true),
        (kind("amqp://a:5672/other", Some("tasks")), false),
        (kind("amqp://a:5672/%2f", Some("jobs")), false),
        (kind("amqp://a:5672/%2f", None), false),
        (
            settings(&one("other", "")).destinations[0].kind.clone(),
            false,
        ),
    ] {
        assert_eq!(is_same_place(&before, &after), is_same, "{}", place(&after));
    }
    let shown = place(&before);
    assert_eq!(shown, "the exchange \"tasks\" of the virtual host \"/\"");
}

#[test]
fn all_that_is_in_the_way_is_said_at_once_with_what_to_do() {
    let from = stream("a", "") + &stream("b", "") + &route("r", "#", "a");
    let refusals = planned(&from, "", &[("a", owes(0)), ("b", owes(1))]);
    let refusals = refusals.expect_err("both are in the way");
    let words: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "\"a\" can't go yet: the running routes r lead to it",
            "\"b\" can't go yet: it is owed 1 deliveries (100 bytes)",
        ]
    );
    assert!(refusals[0].help().contains("two steps"));
    assert!(refusals[1].help().contains("causeway lane drop b"));
}

#[test]
fn a_new_destination_is_opened_and_a_held_one_taken_up() {
    let to = one("other", "");
    let from = stream("inbox", "") + &route("all", "#", "inbox");
    let new = steps(&from, &to, &[("inbox", owes(1))]);
    assert_eq!(names(&new), [vec!["other"], vec![], vec![], vec![]]);
    assert_eq!(new.changed, ["+destination other"]);
    let held = steps(&from, &to, &[("other", orphan(4))]);
    assert_eq!(names(&held), [vec![], vec!["other"], vec![], vec![]]);
    // One that owes nothing any more isn't closed and opened in one step.
    let settled = steps(&from, &to, &[("other", orphan(0))]);
    assert_eq!(names(&settled), [vec![], vec!["other"], vec![], vec![]]);
    let gone = steps(&from, &from, &[("x", orphan(0)), ("y", orphan(1))]);
    assert_eq!(names(&gone), [vec![], vec![], vec![], vec!["x"]]);

    let dropping = Lane {
        is_dropping: true,
        ..orphan(4)
    };
    let leaving = Lane {
        is_leaving: true,
        ..Lane::default()
    };
    for lane in [dropping, leaving] {
        let refused = planned(&from, &to, &[("other", lane)]);
        assert_eq!(refused.map_err(|r| r.len()), Err(1), "{lane:?}");
    }
}

#[test]
fn a_lane_is_told_when_its_destination_or_a_word_of_its_routes_changes() {
    let there = [("inbox", owes(1)), ("other", owes(1))];
    for lines in [
        "backlog = \"1MiB\"",
        "timeout = \"7s\"",
        "retry = { initial = \"1s\" }",
        "dead_letters = { max_bytes = \"1MiB\" }",
        "retention = { max_age = \"1h\" }",
        "on_reject = \"block\"",
    ] {
        let steps = steps(&one("other", ""), &one("other", lines), &there);
        assert_eq!(names(&steps), [vec![], vec![], vec!["other"], vec![]]);
        assert_eq!(steps.changed, ["~destination other"], "{lines}");
    }
    let blocking = one("other", "") + "on_reject = \"block\"\n";
    let steps = steps(&one("other", ""), &blocking, &there);
    assert_eq!(names(&steps), [vec![], vec![], vec!["inbox"], vec![]]);
    assert_eq!(steps.changed, ["~route all"]);
}

#[test]
fn a_lane_turns_strict_with_its_first_exactly_once_target_and_back_with_the_last() {
    let keyed = one("other", "");
    let strict = keyed.clone() + "guarantee = \"exactly_once\"\n";
    let turn = |from: &str, to: &str| steps(from, to, &[]).turn;
    assert_eq!(turn(&keyed, &strict), [("inbox".to_owned(), true)]);
    assert_eq!(turn(&strict, &keyed), [("inbox".to_owned(), false)]);
    assert_eq!(turn(&strict, &strict), []);
}

/// Each stays in the journal's catalog, and in the lane's memory, until what is before it is settled.
#[test]
fn changes_of_mode_that_wait_are_bounded() {
    let keyed = one("other", "");
    let strict = keyed.clone() + "guarantee = \"exactly_once\"\n";
    let turning = |turns| Lane { turns, ..owes(1) };
    let there = [("inbox", turning(MAX_TURNS - 1))];
    assert_eq!(steps(&keyed, &strict, &there).turn.len(), 1);
    let there = [("inbox", turning(MAX_TURNS))];
    let refused = planned(&keyed, &strict, &there).expect_err("it has enough of them");
    let destination = "inbox".to_owned();
    assert_eq!(refused, [Refusal::Turning { destination }]);
    // What else the file changes is taken.
    assert!(planned(&strict, &strict, &there).is_ok());
}

#[test]
fn what_waits_for_a_restart_does_not_keep_the_rest_from_being_taken() {
    let from = one("other", "");
    let to = format!("[listen]\nhttp = \"127.0.0.1:1\"\n{}", one("third", ""));
    let refused = planned(&from, &to, &[("other", owes(1))]);
    assert!(refused.is_err(), "the rest has its own rules");
    let steps = steps(&from, &to, &[]);
    assert_eq!(steps.restart_needed, ["[listen] http"]);
    assert_eq!(steps.changed, ["+destination third", "-destination other"]);
    assert_eq!(steps.settings.listen.http, None);
}

#[cfg(feature = "faults")]
#[test]
fn what_is_owed_to_one_place_never_goes_to_another() {
    let faulty = |record: &str, script: &str| {
        format!(
            "[destinations.x]\ntype = \"faulty\"\nscript = \"{script}\"\nrecord = \"{record}\"\n"
        )
    };
    let there = [("x", owes(0))];
    for (from, to) in [
        (faulty("a", ""), stream("x", "")),
        (stream("x", ""), faulty("a", "")),
        (faulty("a", ""), faulty("b", "")),
    ] {
        let refusals = planned(&from, &to, &there).expect_err("it is re-pointed");
        assert!(matches!(refusals[..], [Refusal::Repointed { .. }]));
    }
    let steps = steps(&faulty("a", "hang"), &faulty("a", ""), &there);
    assert_eq!(names(&steps), [vec![], vec![], vec!["x"], vec![]]);
}
