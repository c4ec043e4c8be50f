use super::super::status::sample;
use super::*;
use std::collections::BTreeSet;

/// The value of the one sample that begins so.
fn value(page: &str, sample: &str) -> f64 {
    let mut found = page
        .lines()
        .filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = found
        .next()
        .unwrap_or_else(|| panic!("no {sample} in\n{page}"));
    assert_eq!(found.next(), None, "{sample} twice");
    value.parse().expect("a number")
}

#[test]
fn what_was_planned_is_all_accounted_for() {
    let page = render(&sample());
    for lane in ["inbox", "old \\\"one\\\""] {
        let of = |name: &str| value(&page, &format!("causeway_lane_{name}{{lane=\"{lane}\"}}"));
        let discarded = |reason: &str| {
            let labels = format!("{{lane=\"{lane}\",reason=\"{reason}\"}}");
            value(&page, &format!("causeway_lane_discarded_total{labels}"))
        };
        let discarded: f64 = ["dropped", "expired", "lost"].map(discarded).iter().sum();
        let settled = of("delivered_total") + of("dead_lettered_total") + discarded;
        assert_eq!(of("planned_total"), settled + of("pending"));
        assert_eq!(of("lag_seconds"), 1.5);
    }
    assert_eq!(
        value(
            &page,
            "causeway_lane_state{lane=\"inbox\",state=\"running\"}"
        ),
        1.0
    );
    assert_eq!(
        value(
            &page,
            "causeway_lane_state{lane=\"inbox\",state=\"orphaned\"}"
        ),
        0.0
    );
    assert_eq!(value(&page, "causeway_journal_next_position"), 40.0);
    assert_eq!(value(&page, "causeway_uptime_seconds"), 61.25);
    assert_eq!(value(&page, "causeway_config_generation"), 3.0);
    let taken = "causeway_reloads_total{result=\"ok\"}";
    assert_eq!(value(&page, taken), 2.0);
    assert_eq!(
        value(&page, "causeway_refusals_total{reason=\"no_route\"}"),
        2.0
    );
    let skipped = "causeway_route_skipped_total{route=\"orders\"}";
    assert_eq!(value(&page, skipped), 7.0);
    let http = "causeway_http_requests_total{endpoint=\"publish\",status=\"202\"}";
    assert_eq!(value(&page, http), 38.0);
    for (name, expected) in [
        ("causeway_http_event_readers", 3.0),
        ("causeway_http_event_readers_opened_total", 8.0),
        ("causeway_http_refused_event_readers_total", 2.0),
    ] {
        assert_eq!(value(&page, name), expected, "{name}");
    }
    let foreign = "causeway_http_foreign_requests_total{reason=\"host\"}";
    assert_eq!(value(&page, foreign), 2.0);
    let problems = "causeway_http_problems_total{type=\"too-large\"}";
    assert_eq!(value(&page, problems), 4.0);
    let ended = "causeway_http_ended_connections_total{reason=\"silent\"}";
    assert_eq!(value(&page, ended), 5.0);
}

#[test]
fn every_sample_stands_under_its_help_and_type() {
    let page = render(&sample());
    let mut families = BTreeSet::new();
    let mut current = "";
    let mut is_histogram = false;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().expect("a name");
            assert!(families.insert(current), "{current} twice");
            let kind = lines
                .next()
                .and_then(|l| l.strip_prefix("# TYPE "))
                .expect("a type");
            let (name, kind) = kind.split_once(' ').expect("name and kind");
            assert_eq!(name, current);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            is_histogram = kind == "histogram";
            continue;
        }
        let name = line.split(['{', ' ']).next().expect("a name");
        let of_histogram = ["_bucket", "_sum", "_count"].map(|part| format!("{current}{part}"));
        let belongs = name == current || (is_histogram && of_histogram.iter().any(|n| n == name));
        assert!(belongs, "{line}");
    }
    let prefixes = ["causeway_", "process_"];
    let named = |name: &&str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    assert!(families.iter().all(named));
    assert!(page.ends_with('\n'));
}

#[test]
fn the_metrics_that_the_docs_name_are_there() {
    let page = render(&sample());
    for file in ["docs/LIMITS.md", "docs/HTTP.md", "docs/RELOAD.md"] {
        // Cargo runs tests in the package.
        let text = std::fs::read_to_string(file).expect("the page is there");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: Vec<_> = words.filter(|w| w.starts_with("causeway_")).collect();
        assert!(!names.is_empty(), "{file}");
        for name in names {
            assert!(page.contains(&format!("# TYPE {name} ")), "{file}: {name}");
        }
    }
}

#[test]
fn large_counts_stay_exact() {
    let mut status = sample();
    status.lanes[0].delivered = 1_234_567_890_123;
    let page = render(&status);
    assert!(page.contains("causeway_lane_delivered_total{lane=\"inbox\"} 1234567890123\n"));
}

#[test]
fn a_refused_reload_shows_until_another_is_taken() {
    let mut status = sample();
    let last_ok = |status: &Status| value(&render(status), "causeway_config_last_reload_ok");
    assert_eq!(last_ok(&status), 1.0);
    let mut last = crate::admin::status::LastReload {
        at: "now".into(),
        by: "SIGHUP".into(),
        ok: false,
        changed: Vec::new(),
        error: Some("why".into()),
    };
    status.config.last_reload = Some(last.clone());
    assert_eq!(last_ok(&status), 0.0);
    assert_eq!(value(&render(&status), "causeway_ready"), 1.0);
    last.ok = true;
    status.config.last_reload = Some(last);
    assert_eq!(last_ok(&status), 1.0);
}

#[test]
fn a_failed_journal_is_not_ready() {
    let mut status = sample();
    assert_eq!(value(&render(&status), "causeway_ready"), 1.0);
    status.journal.failed = Some("EIO".into());
    assert_eq!(value(&render(&status), "causeway_ready"), 0.0);
    assert_eq!(value(&render(&status), "causeway_journal_failed"), 1.0);
}
