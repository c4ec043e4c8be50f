mod included;
mod secrets;

use super::settings::{DestinationKind, Retention, Retry};
use super::*;
use crate::door::identity::Scope;
use crate::message::{Ack, Guarantee};
use crate::routing::{OnFull, OnReject, Unrouted};
use std::time::Duration;

const FILE: &str = r##"
version = 1
[listen]
http = "127.0.0.1:8080"
[destinations.inbox]
type = "stream"
[[routes]]
name = "all"
topic = "#"
to = ["inbox"]
"##;

/// A configuration that lives as long as its folder.
struct Config {
    _folder: tempfile::TempDir,
    sources: Sources,
}

fn config(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("routes.toml");
    std::fs::write(&file, text).expect("the file can be written");
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    let flags = flags
        .iter()
        .map(|(name, key, value)| Flag {
            name: (*name).into(),
            key: (*key).into(),
            value: (*value).into(),
        })
        .collect();
    Config {
        _folder: folder,
        sources: Sources {
            file,
            environment,
            flags,
        },
    }
}

fn good(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Settings {
    let config = config(text, environment, flags);
    load(&config.sources)
        .unwrap_or_else(|report| panic!("{}", report.to_text()))
        .0
}

fn bad(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Vec<Problem> {
    let config = config(text, environment, flags);
    let report = load(&config.sources).expect_err("an error");
    report
        .problems
        .into_iter()
        .filter(|p| p.severity == Severity::Error)
        .collect()
}

fn bad_variable(name: &str, value: &str) -> Problem {
    let mut problems = bad(FILE, &[(name, value)], &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let settings = good(FILE, &[], &[]);
    let seconds = Duration::from_secs;
    assert_eq!(settings.gateway.name, "edge-1");
    assert_eq!(settings.gateway.data_dir, std::path::Path::new("./data"));
    assert_eq!(settings.gateway.drain_timeout, seconds(20));
    assert!(!settings.anonymous);
    assert_eq!(settings.listen.admin, None);
    assert_eq!(settings.listen.health, None);
    let limits = &settings.limits;
    assert_eq!(
        (limits.payload_bytes, limits.headers, limits.header_bytes),
        (1 << 20, 64, 16 << 10)
    );
    assert_eq!((limits.topic_bytes, limits.topic_levels), (512, 32));
    assert_eq!(
        (limits.connections, limits.in_flight_bytes),
        (10_000, 64 << 20)
    );
    assert_eq!(settings.journal.max_bytes, 10 << 30);
    assert_eq!(
        (settings.dedup.window, settings.dedup.max_entries),
        (seconds(600), 1_000_000)
    );
    assert_eq!(settings.identities, []);
    assert_eq!(settings.unrouted, Unrouted::Reject);
    assert_eq!(settings.door_dead_letters_max_bytes, 256 << 20);

    let inbox = &settings.destinations[0];
    let retention = Retention {
        max_bytes: 1 << 30,
        max_age: seconds(7 * 86_400),
    };
    assert_eq!(inbox.kind, DestinationKind::Stream { retention });
    assert_eq!(
        (inbox.lane.backlog_bytes, inbox.lane.timeout),
        (1 << 30, seconds(30))
    );
    let retry = Retry {
        initial: Duration::from_millis(100),
        max: seconds(30),
        give_up_after: seconds(86_400),
    };
    assert_eq!(inbox.lane.retry, retry);
    assert_eq!(inbox.lane.dead_letters_max_bytes, 256 << 20);
    assert_eq!(
        (inbox.lane.on_full, inbox.lane.on_reject),
        (OnFull::Refuse, OnReject::Skip)
    );
    assert!(!inbox.lane.strict);

    let route = &settings.routes[0];
    assert_eq!((route.ack, route.ack_timeout), (Ack::Stored, seconds(30)));
    let target = &route.targets[0];
    assert_eq!(target.guarantee, Guarantee::AtLeastOnce);
    assert_eq!((&target.topic, &target.delay), (&None, &None));
    assert_eq!(
        (target.on_full, target.on_reject),
        (OnFull::Refuse, OnReject::Skip)
    );
}

#[test]
fn every_limit_is_documented() {
    let defaults = include_str!("defaults.toml").split("[limits]").nth(1);
    let table = defaults
        .and_then(|rest| rest.split("\n[").next())
        .expect("it is there");
    let keys: Vec<&str> = table
        .lines()
        .filter_map(|l| Some(l.split_once(" = ")?.0))
        .collect();
    assert_eq!(keys.len(), 7, "{keys:?}");
    let page = std::fs::read_to_string("docs/LIMITS.md").expect("the page is there");
    for key in keys {
        assert!(page.contains(&format!("| `limits.{key}` |")), "{key}");
    }
}

/// The file says otherwise than every default, and parts of it than each other.
fn everything() -> Settings {
    let text = std::fs::read_to_string("tests/config/good_everything_built.toml").expect("a case");
    good(&text, &[], &[])
}

#[test]
fn the_files_word_counts() {
    let settings = everything();
    assert!(settings.anonymous);
    assert_eq!(settings.gateway.drain_timeout, Duration::ZERO);
    assert_eq!(settings.limits.in_flight_bytes, 8_000_000);
    let scopes: Vec<Scope> = settings.identities.iter().map(|rule| rule.scope).collect();
    let scope = |topic| Scope {
        principal: false,
        topic,
    };
    assert_eq!(scopes, [scope(true), scope(false)]);
    assert_eq!(settings.unrouted, Unrouted::DeadLetter);
}

#[test]
fn a_destination_overrides_the_defaults_key_by_key() {
    let settings = everything();
    let seconds = Duration::from_secs;
    let [audit, inbox] = &settings.destinations[..] else {
        panic!("two destinations: {:?}", settings.destinations);
    };
    assert_eq!(
        (audit.name.as_str(), inbox.name.as_str()),
        ("audit", "inbox")
    );
    let retry = |max| Retry {
        initial: seconds(1),
        max: seconds(max),
        give_up_after: seconds(3 * 86_400),
    };
    assert_eq!(
        (&audit.lane.retry, &inbox.lane.retry),
        (&retry(2), &retry(7))
    );
    assert_eq!(
        (audit.lane.backlog_bytes, inbox.lane.backlog_bytes),
        (3 << 30, 6 << 30)
    );
    assert_eq!(
        (audit.lane.timeout, inbox.lane.timeout),
        (seconds(8), seconds(3))
    );
    assert_eq!(audit.lane.dead_letters_max_bytes, 9 << 30);
    assert_eq!(inbox.lane.dead_letters_max_bytes, 4 << 30);
    assert_eq!((audit.lane.strict, inbox.lane.strict), (false, true));
    let retention = Retention {
        max_bytes: 5 << 30,
        max_age: seconds(7 * 86_400),
    };
    assert_eq!(inbox.kind, DestinationKind::Stream { retention });
}

#[test]
fn a_route_overrides_its_destinations() {
    let settings = everything();
    let seconds = Duration::from_secs;
    let [orders, rest] = &settings.routes[..] else {
        panic!("two routes: {:?}", settings.routes);
    };
    assert_eq!((orders.ack, orders.ack_timeout), (Ack::Stored, seconds(6)));
    assert_eq!((rest.ack, rest.ack_timeout), (Ack::Delivered, seconds(5)));
    assert_eq!(orders.targets[0].guarantee, Guarantee::ExactlyOnce);
    assert_eq!(
        orders.targets[0].topic.as_ref().and_then(|t| t.as_plain()),
        Some("all ${orders}")
    );
    assert_eq!(
        orders.targets[1].delay,
        Some(crate::routing::Span::Fixed(seconds(5)))
    );
    let policies = |route: &crate::routing::RouteSpec| {
        route
            .targets
            .iter()
            .map(|t| (t.on_full, t.on_reject))
            .collect::<Vec<_>>()
    };
    // The route's own word, then the destination's, then the default's.
    assert_eq!(
        policies(orders),
        [
            (OnFull::DeadLetter, OnReject::Skip),
            (OnFull::DeadLetter, OnReject::Block)
        ]
    );
    assert_eq!(
        policies(rest),
        [
            (OnFull::DeadLetter, OnReject::Block),
            (OnFull::Refuse, OnReject::Skip)
        ]
    );
}

#[test]
fn the_environment_stands_over_the_file_and_flags_over_both() {
    let environment = [
        ("CAUSEWAY__GATEWAY__NAME", "007"),
        ("CAUSEWAY__GATEWAY__DATA_DIR", "1_000"),
        ("CAUSEWAY__GATEWAY__DRAIN_TIMEOUT", "1s"),
        ("CAUSEWAY__AUTH__ANONYMOUS", "true"),
        ("CAUSEWAY__LISTEN__HTTP__ADDRESS", "0.0.0.0:1"),
        ("CAUSEWAY__LIMITS__HEADERS", "1_000"),
        ("CAUSEWAY__LIMITS__PAYLOAD", "2048"),
        ("CAUSEWAY__DESTINATIONS__INBOX__RETRY__MAX", "9s"),
        ("CAUSEWAY__DESTINATIONS__EXTRA__TYPE", "stream"),
        ("CAUSEWAY_PORT", "tcp://10.0.0.1:80"),
        ("PATH", "/bin"),
    ];
    let settings = good(
        FILE,
        &environment,
        &[("--drain", "gateway.drain_timeout", "2s")],
    );
    assert_eq!(settings.gateway.name, "007");
    assert_eq!(settings.gateway.data_dir, std::path::Path::new("1_000"));
    assert_eq!(settings.gateway.drain_timeout, Duration::from_secs(2));
    assert_eq!(settings.listen.http, "0.0.0.0:1".parse().ok());
    assert_eq!(
        (settings.limits.headers, settings.limits.payload_bytes),
        (1_000, 2_048)
    );
    let names: Vec<&str> = settings
        .destinations
        .iter()
        .map(|d| d.name.as_str())
        .collect();
    assert_eq!(names, ["extra", "inbox"]);
    assert_eq!(
        settings.destinations[1].lane.retry.max,
        Duration::from_secs(9)
    );
    assert_eq!(
        settings.destinations[1].lane.retry.initial,
        Duration::from_millis(100)
    );
}

#[test]
fn what_is_wrong_in_the_environment_names_the_variable() {
    for (name, value) in [
        ("CAUSEWAY__LIMITS__HEADERS", "many"),
        ("CAUSEWAY__LIMITS__HEADERS", "100000"),
        ("CAUSEWAY__LIMITS__PAYLOAD", "big"),
        ("CAUSEWAY__AUTH__ANONYMOUS", "1"),
        ("CAUSEWAY__LISTEN__MQTT", "127.0.0.1:1"),
        ("CAUSEWAY__LISTEN__HTTP", "0.0.0.0:8080"),
        ("CAUSEWAY__LISTEN__HTPP", "127.0.0.1:1"),
        ("CAUSEWAY__SECRETS", "hunter2"),
        ("CAUSEWAY__DESTINATIONS__INBOX__PASSWORD", "hunter2"),
        ("CAUSEWAY__DESTINATIONS__INBOX__TYPE", "hunter2"),
        ("CAUSEWAY__ROUTES", "[]"),
        ("CAUSEWAY__ROUTES__0__NAME", "x"),
        ("CAUSEWAY__IDENTITY__0__ID", "payload.id"),
        ("CAUSEWAY__", "x"),
        ("CAUSEWAY____NAME", "x"),
        ("CAUSEWAY__LISTEN", "127.0.0.1:1"),
    ] {
        let problem = bad_variable(name, value);
        assert_eq!(
            problem.place,
            Place::Environment(name.into()),
            "{problem:?}"
        );
        assert!(problem.help.is_some());
        assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
    }
}

#[test]
fn variables_that_contradict_each_other_are_refused() {
    for pair in [
        [
            ("CAUSEWAY__LISTEN__HTTP", "127.0.0.1:1"),
            ("CAUSEWAY__LISTEN__HTTP__ADDRESS", "127.0.0.1:2"),
        ],
        [
            ("CAUSEWAY__GATEWAY__NAME", "a"),
            ("CAUSEWAY__Gateway__Name", "b"),
        ],
    ] {
        let problems = bad(FILE, &pair, &[]);
        assert!(problems[0].message.contains("another"), "{problems:?}");
    }
}

#[test]
fn what_is_wrong_with_a_flag_names_the_flag() {
    let problems = bad(FILE, &[], &[("--drain", "gateway.drain_timeout", "soon")]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].place, Place::Flag("--drain".into()));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let report = check(&Sources::file("no/such/routes.toml"));
    assert!(report.has_errors());
    let text = report.to_text();
    assert!(
        text.starts_with("no/such/routes.toml: error: the file can't be read"),
        "{text}"
    );

    let config = config("", &[], &[]);
    std::fs::write(&config.sources.file, b"version = 1\nname = \"\xff\"\n").expect("written");
    let report = check(&config.sources);
    assert_eq!(report.problems[0].message, "line 2 is no UTF-8");
}

#[test]
fn problems_can_be_read_by_programs() {
    let config = config(&format!("{FILE}\nto_ = 1\n"), &[("CAUSEWAY__X", "1")], &[]);
    let json = check(&config.sources).to_json();
    let file = config.sources.file.display().to_string();
    assert_eq!(json["ok"], false);
    assert_eq!(json["file"], file.as_str());
    assert_eq!(
        json["problems"][0],
        serde_json::json!({
            "severity": "error",
            "file": file,
            "line": 12,
            "column": 1,
            "width": 3,
            "message": "unknown key `to_` in [[routes]]",
            "help": "did you mean `to`?",
        })
    );
    assert_eq!(json["problems"][1]["environment"], "CAUSEWAY__X");
}

#[test]
fn a_route_becomes_what_it_says() {
    use crate::routing::{HeaderMatch, OnError, Span};
    let text = std::fs::read_to_string("tests/config/good_targets.toml").expect("a case");
    let settings = good(&text, &[], &[]);
    let route = &settings.routes[0];
    let header = |name: &str, value: &str| HeaderMatch {
        name: name.into(),
        value: value.into(),
    };
    assert_eq!(route.from, ["http"]);
    assert_eq!(
        route.headers,
        [header("type", "pdf"), header("cost", "${5}")]
    );
    assert_eq!(
        route.headers_any,
        [header("colour", "red"), header("size", "big")]
    );
    assert!(route.stop);
    assert_eq!(route.on_error, OnError::Reject);
    let source = |program: &Option<crate::expression::Program>| {
        program.as_ref().map(|p| p.source().to_owned())
    };
    assert_eq!(source(&route.when).as_deref(), Some("payload.total > 100"));
    assert_eq!(
        source(&route.transform).as_deref(),
        Some("{'id': payload.id}")
    );
    let priorities: Vec<_> = route.targets[..4]
        .iter()
        .filter_map(|t| t.priority.as_ref().map(|p| p.source()))
        .collect();
    assert_eq!(priorities, ["0", "255", "9", "${int(headers['priority'])}"]);
    let seconds = |n| Some(Span::Fixed(Duration::from_secs(n)));
    assert_eq!(
        (&route.targets[4].delay, &route.targets[4].ttl),
        (&seconds(5), &seconds(3_600))
    );
    assert_eq!(route.targets[5].delay, None);
    assert!(matches!(route.targets[6].delay, Some(Span::Template(_))));
    assert!(matches!(route.targets[6].ttl, Some(Span::Template(_))));
    let keyed = &route.targets[7];
    let text = |t: &Option<crate::expression::Template>| t.as_ref().map(|t| t.source().to_owned());
    assert_eq!(text(&keyed.topic).as_deref(), Some("orders.${shop}"));
    assert_eq!(text(&keyed.key).as_deref(), Some("${payload.id}"));
    assert_eq!(keyed.headers, None);
    let headers = route.targets[8].headers.as_ref().expect("it has some");
    let pairs: Vec<_> = headers
        .iter()
        .map(|h| (&*h.name, h.value.source()))
        .collect();
    assert_eq!(pairs, [("fixed", "x"), ("shop", "${shop}")]);
    assert_eq!(route.targets[9].headers.as_deref(), Some(&[][..]));
}

#[test]
fn a_route_can_take_from_a_source() {
    let source = "[sources.clicks]\ntype = \"mqtt\"\nurl = \"mqtt://a\"\ntopics = [\"a\"]\n";
    let from = FILE.replace("to = [", "from = [\"clicks\"]\nto = [");
    let problems = bad(&format!("{from}{source}"), &[], &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("not built in"));
    let origin = |name: &str| resolve::origin(name, &["clicks"]);
    assert_eq!(origin("clicks").as_deref(), Some("source:clicks"));
    assert_eq!(origin("grpc").as_deref(), Some("grpc"));
    assert_eq!(origin("orders"), None);
}

#[cfg(feature = "faults")]
#[test]
fn the_test_build_has_a_faulty_destination() {
    let faulty = |rest: &str| {
        let stream = "type = \"stream\"";
        FILE.replace(
            stream,
            "type = \"faulty\"\nscript = \"a ${b} $${c}\"\nrecord = \"./r\"",
        )
        .replace("to = [\"inbox\"]", rest)
    };
    let settings = good(&faulty("to = [\"inbox\"]"), &[], &[]);
    let expected = DestinationKind::Faulty {
        script: "a ${b} $${c}".into(),
        record: "./r".into(),
    };
    assert_eq!(settings.destinations[0].kind, expected);
    let strict = "to = [{ destination = \"inbox\", guarantee = \"exactly_once\" }]";
    assert!(
        bad(&faulty(strict), &[], &[])[0]
            .message
            .contains("can't deliver exactly_once")
    );
}

#[cfg(not(feature = "faults"))]
#[test]
fn only_the_test_build_has_a_faulty_destination() {
    let problems = bad(&FILE.replace("\"stream\"", "\"faulty\""), &[], &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

/// Who talks to a running gateway finds it, whatever became of the file.
#[test]
fn where_it_listens_is_read_of_a_file_with_problems() {
    let text = "include = [\"none.toml\"]\nversion = 7\n[listen]\nadmin = \"127.0.0.1:9190\"\n\
        http = \"nowhere\"\n[destinations.a]\ntype = \"rabbitmq\"\npassword = { env = \"NONE\" }\n";
    let ports = |text: &str, environment: &[(&str, &str)]| {
        let config = config(text, environment, &[]);
        let listen = listen(&config.sources)?;
        Some((
            listen.http.map(|address| address.port()),
            listen.admin.map(|address| address.port()),
        ))
    };
    assert_eq!(ports(text, &[]), Some((None, Some(9190))));
    let http = [("CAUSEWAY__LISTEN__HTTP", "[::1]:81")];
    assert_eq!(ports(text, &http), Some((Some(81), Some(9190))));
    assert_eq!(ports("version = 1", &[]), Some((None, None)));
    assert_eq!(ports("[listen", &[]), None);
}
