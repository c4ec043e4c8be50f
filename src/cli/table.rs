//! A status as people read it.

use super::text::{GREEN, RED, YELLOW, escaped, paint};
use crate::admin::status::{ConfigStatus, LaneState, LaneStatus, MemoryStatus, Status};
use std::fmt::Write;

/// The first line says whether all is well; a line a lane follows.
pub(super) fn render(status: &Status, colour: bool) -> String {
    let mut out = String::new();
    let reasons = status.reasons();
    let (word, code) = if reasons.is_empty() {
        ("ready", GREEN)
    } else {
        ("not ready", RED)
    };
    let word = paint(word, code, colour);
    let up = duration(status.uptime_seconds);
    line(
        &mut out,
        format_args!("{} {}: {word}, up {up}", status.gateway, status.version),
    );
    for reason in reasons {
        line(&mut out, format_args!("  {}", paint(&reason, RED, colour)));
    }
    config(&mut out, &status.config, colour);
    let journal = &status.journal;
    line(
        &mut out,
        format_args!(
            "journal: next position {}, {} of {} in {} segments, {} free on the disk",
            journal.next_position,
            bytes(journal.bytes),
            bytes(journal.max_bytes),
            journal.segments,
            bytes(journal.free_bytes)
        ),
    );
    let dedup = &status.dedup;
    line(
        &mut out,
        format_args!(
            "dedup:   {} of {} ids, window {} of {}, {} duplicates, {} evicted",
            dedup.entries,
            dedup.max_entries,
            duration(dedup.true_window_seconds),
            duration(dedup.window_seconds),
            dedup.hits,
            dedup.evictions
        ),
    );
    out.push('\n');
    lanes(&mut out, &status.lanes, colour);
    out
}

fn config(out: &mut String, config: &ConfigStatus, colour: bool) {
    let ConfigStatus {
        generation, since, ..
    } = config;
    line(
        out,
        format_args!("config:  generation {generation} since {since}"),
    );
    for name in &config.restart_needed {
        let words = paint(&format!("{name} waits for a restart"), YELLOW, colour);
        line(out, format_args!("  {words}"));
    }
    if let Some(last) = &config.last_reload
        && let Some(error) = &last.error
    {
        let words = format!("the last reload ({}, {}) was refused:", last.at, last.by);
        line(out, format_args!("  {}", paint(&words, RED, colour)));
        for words in error.lines() {
            line(out, format_args!("    {}", escaped(words)));
        }
    }
}

const HEADINGS: [&str; 9] = [
    "LANE",
    "STATE",
    "PENDING",
    "OWED",
    "LAG",
    "DELIVERED",
    "DEAD",
    "DISCARDED",
    "RETRIES",
];
const STATE_COLUMN: usize = 1;

fn lanes(out: &mut String, lanes: &[LaneStatus], colour: bool) {
    let rows: Vec<_> = lanes.iter().map(cells).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADINGS[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(width);
    line(
        out,
        format_args!("{}", join(&HEADINGS.map(str::to_owned), &widths).trim_end()),
    );
    for (row, lane) in rows.into_iter().zip(lanes) {
        let mut padded = pad(&row, &widths);
        padded[STATE_COLUMN] = paint(&padded[STATE_COLUMN], state_colour(lane.state), colour);
        line(out, format_args!("{}", padded.join("  ").trim_end()));
        for why in lane.stopped_by.iter().chain(&lane.last_error) {
            line(out, format_args!("  {}", escaped(why)));
        }
        let waits = matches!(
            lane.state,
            LaneState::Open | LaneState::Stopped | LaneState::RateLimited
        );
        if let Some(seconds) = lane.next_try_seconds.filter(|_| waits) {
            line(out, format_args!("  next try in {seconds:.1} s"));
        }
        if let Some(memory) = &lane.memory {
            in_memory(out, memory);
        }
    }
}

/// What is at_most_once has no columns: it owes nothing, and few have it.
fn in_memory(out: &mut String, memory: &MemoryStatus) {
    let reasons = memory.discarded.iter().filter(|(_, count)| **count > 0);
    let reasons: Vec<_> = reasons
        .map(|(why, count)| format!("{count} {why}"))
        .collect();
    let discarded = match reasons.is_empty() {
        true => "0".to_owned(),
        false => reasons.join(", "),
    };
    line(
        out,
        format_args!(
            "  at_most_once: {}, {} pending ({} of {}), {} delivered, discarded: {discarded}",
            memory.state,
            memory.pending,
            bytes(memory.bytes),
            bytes(memory.max_bytes),
            memory.delivered
        ),
    );
    for why in memory.stopped_by.iter().chain(&memory.last_error) {
        line(out, format_args!("    {}", escaped(why)));
    }
}

fn cells(lane: &LaneStatus) -> [String; HEADINGS.len()] {
    [
        lane.name.clone(),
        lane.state.as_str().to_owned(),
        lane.pending.to_string(),
        bytes(lane.owed_bytes),
        duration(lane.lag_seconds),
        lane.delivered.to_string(),
        lane.dead_lettered.to_string(),
        lane.discarded_sum().to_string(),
        lane.retries.to_string(),
    ]
}

fn join(row: &[String; HEADINGS.len()], widths: &[usize; HEADINGS.len()]) -> String {
    pad(row, widths).join("  ")
}

/// Text to the left, numbers to the right.
fn pad(row: &[String; HEADINGS.len()], widths: &[usize]) -> Vec<String> {
    let cell = |(column, text): (usize, &String)| match column <= STATE_COLUMN {
        true => format!("{text:<width$}", width = widths[column]),
        false => format!("{text:>width$}", width = widths[column]),
    };
    row.iter().enumerate().map(cell).collect()
}

const fn state_colour(state: LaneState) -> &'static str {
    match state {
        LaneState::Running => GREEN,
        LaneState::Holding
        | LaneState::Paused
        | LaneState::Dropping
        | LaneState::HalfOpen
        | LaneState::RateLimited => YELLOW,
        LaneState::Stopped | LaneState::Orphaned | LaneState::Open => RED,
    }
}

/// `512 B`, `1.5 KiB`
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0.5s`, `59s`, `10m`, `3h20m`, `2d4h`
fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds as u64;
    let (large, small) = match whole {
        0..60 => return format!("{whole}s"),
        60..3_600 => ((whole / 60, "m"), (whole % 60, "s")),
        3_600..86_400 => ((whole / 3_600, "h"), (whole / 60 % 60, "m")),
        _ => ((whole / 86_400, "d"), (whole / 3_600 % 24, "h")),
    };
    match small.0 {
        0 => format!("{}{}", large.0, large.1),
        rest => format!("{}{}{rest}{}", large.0, large.1, small.1),
    }
}

fn line(out: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(out, "{words}").expect("writing to a String can't fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::sample;

    #[test]
    fn a_status_is_a_table() {
        let mut status = sample();
        status.lanes[1].last_error = Some("gone\x1b[2J".into());
        assert_eq!(
            render(&status, false),
            "edge-1 0.1.0: ready, up 1m1s\n\
             config:  generation 3 since 2026-11-21T18:00:00.000Z\n\
             journal: next position 40, 0 B of 0 B in 0 segments, 0 B free on the disk\n\
             dedup:   5 of 0 ids, window 0.0s of 10m, 0 duplicates, 0 evicted\n\
             \n\
             LANE       STATE     PENDING     OWED   LAG  DELIVERED  DEAD  DISCARDED  RETRIES\n\
             inbox      running         3  4.0 KiB  1.5s         14     2          1        6\n\
             \x20 refused by \"inbox\"\n\
             \x20 at_most_once: running, 2 pending (2.0 KiB of 16.0 MiB), 5 delivered, discarded: 1 full, 1 unknown\n\
             old \"one\"  orphaned        3  4.0 KiB  1.5s         14     2          6        6\n\
             \x20 gone\\u{1b}[2J\n"
        );
    }

    #[test]
    fn what_is_wrong_is_said_first_and_in_colour_if_asked() {
        let mut status = sample();
        status.not_ready.push("stopping".into());
        let text = render(&status, true);
        assert!(text.contains(": \x1b[31mnot ready\x1b[0m, up"), "{text}");
        assert_eq!(text.lines().nth(1), Some("  \x1b[31mstopping\x1b[0m"));
        assert!(text.contains("\x1b[32mrunning \x1b[0m"), "{text}");
    }

    #[test]
    fn what_of_the_file_is_not_in_force_is_said() {
        let mut status = sample();
        status.config.restart_needed = vec!["[listen] http".into()];
        status.config.last_reload = Some(crate::admin::status::LastReload {
            at: "T".into(),
            by: "SIGHUP".into(),
            ok: false,
            changed: Vec::new(),
            error: Some("routes.toml:1:1: error: x\n1 | y".into()),
        });
        let text = render(&status, false);
        let lines: Vec<&str> = text.lines().skip(2).take(4).collect();
        assert_eq!(
            lines,
            [
                "  [listen] http waits for a restart",
                "  the last reload (T, SIGHUP) was refused:",
                "    routes.toml:1:1: error: x",
                "    1 | y",
            ]
        );
    }

    #[test]
    fn sizes_and_times_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (10 << 30, "10.0 GiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (seconds, text) in [
            (0.25, "0.2s"),
            (59.9, "59s"),
            (600.0, "10m"),
            (12_000.0, "3h20m"),
            (187_200.0, "2d4h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
