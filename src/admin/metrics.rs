//! A status as Prometheus reads it (text format 0.0.4).

mod page;
#[cfg(test)]
mod tests;

use super::status::{
    ConfigStatus, DedupStatus, GrpcStatus, HttpStatus, JournalStatus, LaneState, LaneStatus,
    MemoryStatus, ProcessStatus, Status, StreamStatus, Times,
};
use crate::clock::Wall;
use crate::histogram::Observed;
use page::Page;
use std::time::Duration;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const READY: &str = "1 if publishes are taken.";
const STARTED: &str = "When it began, since 1970.";

/// Every metric with its help, type and samples.
#[must_use]
pub fn render(status: &Status) -> String {
    let mut page = Page(String::with_capacity(8 << 10));
    build_info(&mut page, &status.gateway, &status.version);
    page.gauge(
        "causeway_uptime_seconds",
        "Since the start.",
        status.uptime_seconds,
    );
    process(&mut page, &status.process);
    let ready = u8::from(status.reasons().is_empty());
    page.gauge("causeway_ready", READY, ready);
    config(&mut page, &status.config);
    times(&mut page, &status.times);
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
    memories(&mut page, &status.lanes);
    streams(&mut page, &status.streams);
    http(&mut page, &status.http);
    grpc(&mut page, &status.grpc);
    page.0
}

/// Under the names that every client library of Prometheus gives them.
fn process(page: &mut Page, process: &ProcessStatus) {
    page.gauge(
        "process_start_time_seconds",
        STARTED,
        process.start_time_seconds,
    );
    page.counter(
        "process_cpu_seconds_total",
        "CPU time of all its threads.",
        process.cpu_seconds,
    );
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory that it has now.",
            process.resident_memory_bytes,
        ),
        (
            "process_open_fds",
            "Files and connections open.",
            process.open_fds,
        ),
        ("process_max_fds", "The limit of these.", process.max_fds),
    ] {
        if let Some(value) = value {
            page.gauge(name, help, value);
        }
    }
}

fn times(page: &mut Page, times: &Times) {
    let help = "From the call at the door until the publisher can be told that it was taken, the wait of \
                ack = delivered included; duplicates too.";
    page.histogram("causeway_accept_seconds", help, &times.accept);
    let help =
        "Of each message in the journal: from its hand-over to the journal until it is durable.";
    page.histogram("causeway_store_seconds", help, &times.store);
    let help = "Writing a batch to the journal and fdatasync of it.";
    page.histogram("causeway_journal_sync_seconds", help, &times.sync);
}

/// While the gateway starts: what is known without it.
#[must_use]
pub fn render_starting(gateway: &str, started: Wall) -> String {
    let mut page = Page(String::new());
    build_info(&mut page, gateway, env!("CARGO_PKG_VERSION"));
    page.gauge("causeway_ready", READY, 0);
    let started = Duration::from_millis(started.0).as_secs_f64();
    page.gauge("process_start_time_seconds", STARTED, started);
    page.0
}

fn build_info(page: &mut Page, gateway: &str, version: &str) {
    let labels = [("gateway", gateway), ("version", version)];
    page.family("causeway_build_info", "gauge", "What is running.")
        .sample(&labels, 1);
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

/// Of the destinations that at_most_once targets lead to.
fn memories(page: &mut Page, lanes: &[LaneStatus]) {
    let memories = lanes.iter().filter_map(LaneStatus::memory_named);
    let memories: Vec<(&str, &MemoryStatus)> = memories.collect();
    let mut of_each = |name: &str, kind, help, value: fn(&MemoryStatus) -> u64| {
        let mut family = page.family(name, kind, help);
        for (lane, memory) in &memories {
            family.sample(&[("lane", lane)], value(memory));
        }
    };
    let help = "Deliveries of at_most_once targets: delivered + discarded + pending.";
    of_each("causeway_memory_planned_total", "counter", help, |m| {
        m.planned
    });
    let help = "Of these, those that the destination confirmed.";
    of_each("causeway_memory_delivered_total", "counter", help, |m| {
        m.delivered
    });
    let help = "Of these, those that are in memory.";
    of_each("causeway_memory_pending", "gauge", help, |m| m.pending);
    let help = "What they take in memory.";
    of_each("causeway_memory_bytes", "gauge", help, |m| m.bytes);
    let help = "The limit of that.";
    of_each("causeway_memory_max_bytes", "gauge", help, |m| m.max_bytes);
    let help = "Of these, those that were given up, by reason.";
    let mut discarded = page.family("causeway_memory_discarded_total", "counter", help);
    for (lane, memory) in &memories {
        for (reason, count) in &memory.discarded {
            discarded.sample(&[("lane", lane), ("reason", reason)], count);
        }
    }
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
    let help = "Deliveries handed to the destination, repeated ones too.";
    of_each("causeway_lane_attempts_total", "counter", help, |l| {
        l.attempts as f64
    });
    let help = "Attempts whose outcome nobody knows: they are repeated.";
    of_each("causeway_lane_unknown_total", "counter", help, |l| {
        l.unknown as f64
    });
    let help = "Attempts that the destination refused for good.";
    of_each("causeway_lane_rejected_total", "counter", help, |l| {
        l.rejected as f64
    });
    let help = "How often the destination failed so that its circuit opened.";
    of_each("causeway_lane_circuit_opened_total", "counter", help, |l| {
        l.circuit_opened as f64
    });
    let help = "Dead letters that are kept.";
    of_each("causeway_lane_dead_letters", "gauge", help, |l| {
        l.dead_letters as f64
    });
    let help = "Dead letters that were redriven.";
    of_each(
        "causeway_lane_dead_letters_redriven_total",
        "counter",
        help,
        |l| l.dead_letters_redriven as f64,
    );
    let help = "Dead letters that were purged.";
    of_each(
        "causeway_lane_dead_letters_purged_total",
        "counter",
        help,
        |l| l.dead_letters_purged as f64,
    );
    let help = "Bytes of its dead letters.";
    of_each("causeway_lane_dead_letter_bytes", "gauge", help, |l| {
        l.dead_letter_bytes as f64
    });
    let help = "The limit of its dead letters.";
    let limit = |l: &LaneStatus| l.dead_letter_max_bytes as f64;
    of_each("causeway_lane_dead_letter_max_bytes", "gauge", help, limit);
    lane_times(page, lanes);
    lane_ends(page, lanes);
}

fn lane_times(page: &mut Page, lanes: &[LaneStatus]) {
    let mut of_each = |name: &str, help, observed: fn(&LaneStatus) -> &Observed| {
        let mut family = page.family(name, "histogram", help);
        for lane in lanes {
            family.observed(&[("lane", &lane.name)], observed(lane));
        }
    };
    let help =
        "From a message's acceptance until the destination confirmed it, its delay included.";
    of_each("causeway_lane_delivery_seconds", help, |l| {
        &l.times.delivery
    });
    let help = "From handing a batch to the destination until its verdicts.";
    of_each("causeway_lane_attempt_seconds", help, |l| &l.times.attempt);
}

fn lane_ends(page: &mut Page, lanes: &[LaneStatus]) {
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

fn grpc(page: &mut Page, grpc: &GrpcStatus) {
    let help = "Calls that were ended, by method and code.";
    let mut family = page.family("causeway_grpc_calls_total", "counter", help);
    for calls in &grpc.calls {
        let labels = [("method", &*calls.method), ("code", &*calls.code)];
        family.sample(&labels, calls.count);
    }
    let mut family = page.family("causeway_grpc_open_calls", "gauge", "Calls that go on.");
    for (method, count) in &grpc.open_calls {
        family.sample(&[("method", method)], count);
    }
    let help = "Connections, and calls, refused at limits.connections.";
    page.counter(
        "causeway_grpc_refused_connections_total",
        help,
        grpc.refused_connections,
    );
    let help = "Calls refused on a listener for this machine only, by reason.";
    let mut family = page.family("causeway_grpc_foreign_requests_total", "counter", help);
    for (reason, count) in &grpc.foreign {
        family.sample(&[("reason", reason)], count);
    }
    let help = "Connections that the gateway ended, by reason.";
    let mut family = page.family("causeway_grpc_ended_connections_total", "counter", help);
    for (reason, count) in &grpc.ended {
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
