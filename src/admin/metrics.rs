//! A status as Prometheus reads it (text format 0.0.4).

use super::status::{
    ConfigStatus, DedupStatus, HttpStatus, JournalStatus, LaneState, LaneStatus, Status,
    StreamStatus,
};
use std::fmt::{Display, Write};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric with its help, type and samples.
#[must_use]
pub fn render(status: &Status) -> String {
    let mut page = Page(String::with_capacity(8 << 10));
    page.family("causeway_build_info", "gauge", "What is running.")
        .sample(
            &[("gateway", &status.gateway), ("version", &status.version)],
            1,
        );
    page.gauge(
        "causeway_uptime_seconds",
        "Since the start.",
        status.uptime_seconds,
    );
    let ready = u8::from(status.reasons().is_empty());
    page.gauge("causeway_ready", "1 if publishes are taken.", ready);
    config(&mut page, &status.config);
    journal(&mut page, &status.journal);
    dedup(&mut page, &status.dedup);
    let mut refusals = page.family(
        "causeway_refusals_total",
        "counter",
        "Publishes refused, by reason.",
    );
    for (reason, count) in &status.refusals {
        refusals.sample(&[("reason", reason)], count);
    }
    let help = "Targets, or whole routes, passed over for on_error = skip.";
    let mut skips = page.family("causeway_route_skipped_total", "counter", help);
    for (route, count) in &status.route_skips {
        skips.sample(&[("route", route)], count);
    }
    lanes(&mut page, &status.lanes);
    streams(&mut page, &status.streams);
    http(&mut page, &status.http);
    page.0
}

fn config(page: &mut Page, config: &ConfigStatus) {
    page.gauge(
        "causeway_config_generation",
        "Of the configuration: 1 at the start, one more for each reload that was taken.",
        config.generation,
    );
    let last = config.last_reload.as_ref();
    page.gauge(
        "causeway_config_last_reload_ok",
        "0 if the last reload was refused.",
        u8::from(last.is_none_or(|last| last.ok)),
    );
    page.gauge(
        "causeway_config_restart_needed",
        "Settings of the last reload that wait for a restart.",
        config.restart_needed.len(),
    );
    let mut reloads = page.family("causeway_reloads_total", "counter", "Reloads, by result.");
    for (result, count) in [
        ("ok", config.reloads_ok),
        ("refused", config.reloads_refused),
    ] {
        reloads.sample(&[("result", result)], count);
    }
}

fn journal(page: &mut Page, journal: &JournalStatus) {
    let failed = u8::from(journal.failed.is_some());
    page.gauge(
        "causeway_journal_failed",
        "1 if it takes no writes until a restart.",
        failed,
    );
    page.gauge(
        "causeway_journal_next_position",
        "Of the next message.",
        journal.next_position,
    );
    page.gauge(
        "causeway_journal_bytes",
        "That it takes on the disk.",
        journal.bytes,
    );
    page.gauge(
        "causeway_journal_max_bytes",
        "Its limit.",
        journal.max_bytes,
    );
    page.gauge("causeway_journal_segments", "Its files.", journal.segments);
    page.gauge(
        "causeway_journal_free_bytes",
        "Left on its file system.",
        journal.free_bytes,
    );
    page.counter(
        "causeway_journal_syncs_total",
        "Calls of fdatasync.",
        journal.syncs,
    );
    page.counter(
        "causeway_journal_sync_seconds_total",
        "Spent in them.",
        journal.sync_seconds,
    );
    page.counter(
        "causeway_journal_batches_total",
        "Batches written.",
        journal.batches,
    );
    let help = "Records in these batches.";
    page.counter(
        "causeway_journal_batch_records_total",
        help,
        journal.batch_records,
    );
}

fn dedup(page: &mut Page, dedup: &DedupStatus) {
    page.gauge(
        "causeway_dedup_entries",
        "Ids in the window.",
        dedup.entries,
    );
    page.gauge(
        "causeway_dedup_max_entries",
        "The limit.",
        dedup.max_entries,
    );
    page.counter(
        "causeway_dedup_hits_total",
        "Publishes that were duplicates.",
        dedup.hits,
    );
    let help = "Publishes under the id of another message.";
    page.counter("causeway_dedup_conflicts_total", help, dedup.conflicts);
    page.counter(
        "causeway_dedup_evictions_total",
        "Ids gone before their time.",
        dedup.evictions,
    );
    page.gauge(
        "causeway_dedup_window_seconds",
        "As configured.",
        dedup.window_seconds,
    );
    let help = "How far back every id is known now.";
    page.gauge(
        "causeway_dedup_true_window_seconds",
        help,
        dedup.true_window_seconds,
    );
}

fn lanes(page: &mut Page, lanes: &[LaneStatus]) {
    let mut of_each = |name: &str, kind, help, value: fn(&LaneStatus) -> f64| {
        let mut family = page.family(name, kind, help);
        for lane in lanes {
            family.sample(&[("lane", &lane.name)], value(lane));
        }
    };
    let help = "Deliveries planned: delivered + dead-lettered + discarded + pending.";
    of_each("causeway_lane_planned_total", "counter", help, |l| {
        l.planned as f64
    });
    let help = "Deliveries that the destination confirmed.";
    of_each("causeway_lane_delivered_total", "counter", help, |l| {
        l.delivered as f64
    });
    let help = "Deliveries put into the dead letters.";
    of_each("causeway_lane_dead_lettered_total", "counter", help, |l| {
        l.dead_lettered as f64
    });
    of_each("causeway_lane_pending", "gauge", "Deliveries owed.", |l| {
        l.pending as f64
    });
    of_each("causeway_lane_owed_bytes", "gauge", "Bytes owed.", |l| {
        l.owed_bytes as f64
    });
    let help = "The limit of the bytes owed.";
    of_each("causeway_lane_backlog_bytes", "gauge", help, |l| {
        l.backlog_bytes as f64
    });
    let help = "Age of the oldest delivery owed.";
    of_each("causeway_lane_lag_seconds", "gauge", help, |l| {
        l.lag_seconds
    });
    let help = "Keys that wait for a retry.";
    of_each("causeway_lane_held_keys", "gauge", help, |l| {
        l.held_keys as f64
    });
    let help = "Attempts that failed and are repeated.";
    of_each("causeway_lane_retries_total", "counter", help, |l| {
        l.retries as f64
    });
    let help = "Bytes of its dead letters.";
    of_each("causeway_lane_dead_letter_bytes", "gauge", help, |l| {
        l.dead_letter_bytes as f64
    });
    let help = "The limit of its dead letters.";
    let limit = |l: &LaneStatus| l.dead_letter_max_bytes as f64;
    of_each("causeway_lane_dead_letter_max_bytes", "gauge", help, limit);

    let help = "Deliveries given up on purpose, by reason.";
    let mut family = page.family("causeway_lane_discarded_total", "counter", help);
    for lane in lanes {
        for (reason, count) in &lane.discarded {
            family.sample(&[("lane", &lane.name), ("reason", reason)], count);
        }
    }
    let mut family = page.family("causeway_lane_state", "gauge", "1 for the state it is in.");
    for lane in lanes {
        for state in LaneState::ALL {
            let is = u8::from(lane.state == state);
            family.sample(&[("lane", &lane.name), ("state", state.as_str())], is);
        }
    }
}

fn http(page: &mut Page, http: &HttpStatus) {
    let mut family = page.family(
        "causeway_http_requests_total",
        "counter",
        "Requests answered.",
    );
    for answers in &http.answers {
        let status = match answers.status {
            0 => "other".to_owned(),
            status => status.to_string(),
        };
        family.sample(
            &[("endpoint", &answers.endpoint), ("status", &status)],
            answers.count,
        );
    }
    let help = "Connections, and requests of HTTP/2, refused at limits.connections.";
    page.counter(
        "causeway_http_refused_connections_total",
        help,
        http.refused_connections,
    );
    let help = "Readers of streams as events.";
    page.gauge("causeway_http_event_readers", help, http.event_readers);
    let help = "Readers of streams as events that came.";
    page.counter(
        "causeway_http_event_readers_opened_total",
        help,
        http.opened_event_readers,
    );
    let help = "Readers of streams as events that found no place.";
    page.counter(
        "causeway_http_refused_event_readers_total",
        help,
        http.refused_event_readers,
    );
    let help = "Requests refused on a listener for this machine only, by reason.";
    let mut family = page.family("causeway_http_foreign_requests_total", "counter", help);
    for (reason, count) in &http.foreign {
        family.sample(&[("reason", reason)], count);
    }
    let help = "Problems answered, to requests and lines of batches, by the end of their type.";
    let mut family = page.family("causeway_http_problems_total", "counter", help);
    for (kind, count) in &http.problems {
        family.sample(&[("type", kind)], count);
    }
    let help = "Connections that the gateway ended, by reason.";
    let mut family = page.family("causeway_http_ended_connections_total", "counter", help);
    for (reason, count) in &http.ended {
        family.sample(&[("reason", reason)], count);
    }
}

fn streams(page: &mut Page, streams: &[StreamStatus]) {
    let mut of_each = |name: &str, help, value: fn(&StreamStatus) -> u64| {
        let mut family = page.family(name, "gauge", help);
        for stream in streams {
            family.sample(&[("stream", &stream.name)], value(stream));
        }
    };
    let help = "The earliest offset that can be read.";
    of_each("causeway_stream_earliest_offset", help, |s| s.earliest);
    let help = "The offset that the next record will get.";
    of_each("causeway_stream_next_offset", help, |s| s.next_offset);
    of_each("causeway_stream_bytes", "Of all its files.", |s| s.bytes);
    let help = "1 if it takes or trims nothing until a restart.";
    of_each("causeway_stream_failed", help, |s| {
        u64::from(s.failed.is_some())
    });
}

struct Page(String);

struct Family<'a> {
    page: &'a mut String,
    name: &'a str,
}

impl Page {
    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        write(
            &mut self.0,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        );
        Family {
            page: &mut self.0,
            name,
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help).sample(&[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help).sample(&[], value);
    }
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.page.push_str(self.name);
        for (i, (name, text)) in labels.iter().enumerate() {
            let mark = if i == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            write(self.page, format_args!("{mark}{name}=\"{text}\""));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        write(self.page, format_args!("{end} {value}\n"));
    }
}

fn write(page: &mut String, words: std::fmt::Arguments<'_>) {
    page.write_fmt(words)
        .expect("writing to a String can't fail");
}

#[cfg(test)]
mod tests {
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
                continue;
            }
            let name = line.split(['{', ' ']).next().expect("a name");
            assert_eq!(name, current, "{line}");
        }
        assert!(families.iter().all(|name| name.starts_with("causeway_")));
        assert!(page.ends_with('\n'));
    }

    #[test]
    fn the_metrics_that_the_docs_name_are_there() {
        let page = render(&sample());
        for file in ["docs/LIMITS.md", "docs/HTTP.md"] {
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
}
