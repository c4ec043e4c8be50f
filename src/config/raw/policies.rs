//! `[defaults]`, and what of it routes, targets and destinations may say otherwise.

use super::{MAX_SIZE, SHORTEST};
use crate::config::reader::Table;
use crate::config::settings::Rate;
use crate::message::{Ack, Guarantee};
use crate::routing::{OnError, OnFull, OnReject};
use std::time::Duration;

/// The keys of `[defaults]`, of which destinations and routes have some too.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Policies {
    pub guarantee: Option<Guarantee>,
    pub ack: Option<Ack>,
    pub ack_timeout: Option<Duration>,
    pub on_error: Option<OnError>,
    pub on_full: Option<OnFull>,
    pub on_reject: Option<OnReject>,
    pub backlog_bytes: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub timeout: Option<Duration>,
    pub retry_initial: Option<Duration>,
    pub retry_max: Option<Duration>,
    pub retry_give_up_after: Option<Duration>,
    pub dead_letters_max_bytes: Option<u64>,
    pub batch_count: Option<usize>,
    pub batch_bytes: Option<u64>,
    pub batch_time: Option<Duration>,
    pub breaker_failures: Option<u32>,
    pub breaker_probe_every: Option<Duration>,
    /// No key of `[defaults]`: two destinations together would take twice as many.
    pub rate: Option<Rate>,
}

/// More would be no limit.
const MAX_RATE: u64 = 10_000_000;
/// A lane has only so many in memory.
const MAX_BATCH: u64 = 8_192;
const MAX_BATCH_BYTES: u64 = 16 << 20;
const MAX_BREAKER_FAILURES: u64 = 1_000_000;

pub(super) fn read_defaults(root: &Table<'_>) -> Policies {
    let table = root.table_or_empty("defaults");
    let mut policies = Policies::default();
    read_route_policies(&table, &mut policies);
    read_lane_policies(&table, &mut policies);
    read_shared_policies(&table, &mut policies);
    table.finish();
    policies
}

/// The keys of `[defaults]` that routes have too.
pub(super) fn read_route_policies(table: &Table<'_>, policies: &mut Policies) {
    const ON_ERROR: [(&str, OnError); 3] = [
        ("reject", OnError::Reject),
        ("skip", OnError::Skip),
        ("dead_letter", OnError::DeadLetter),
    ];
    policies.guarantee = read_guarantee(table);
    policies.ack = read_ack(table);
    policies.ack_timeout = table.duration("ack_timeout", SHORTEST);
    policies.on_error = table.choice("on_error", &ON_ERROR, &[]);
}

pub(super) fn read_guarantee(table: &Table<'_>) -> Option<Guarantee> {
    const ALL: [(&str, Guarantee); 3] = [
        ("at_most_once", Guarantee::AtMostOnce),
        ("at_least_once", Guarantee::AtLeastOnce),
        ("exactly_once", Guarantee::ExactlyOnce),
    ];
    table.choice("guarantee", &ALL, &[])
}

pub(super) fn read_ack(table: &Table<'_>) -> Option<Ack> {
    const ALL: [(&str, Ack); 3] = [
        ("received", Ack::Received),
        ("stored", Ack::Stored),
        ("delivered", Ack::Delivered),
    ];
    table.choice("ack", &ALL, &[])
}

/// The keys of `[defaults]` that destinations have too.
pub(super) fn read_lane_policies(table: &Table<'_>, policies: &mut Policies) {
    policies.backlog_bytes = table.size("backlog", 1..=MAX_SIZE);
    policies.memory_bytes = table.size("memory", 1..=MAX_SIZE);
    policies.timeout = table.duration("timeout", SHORTEST);
    if let Some(retry) = table.table("retry") {
        policies.retry_initial = retry.duration("initial", SHORTEST);
        policies.retry_max = retry.duration("max", SHORTEST);
        policies.retry_give_up_after = retry.duration("give_up_after", SHORTEST);
        retry.finish();
    }
    if let Some(dead_letters) = table.table("dead_letters") {
        policies.dead_letters_max_bytes = dead_letters.size("max_bytes", 1..=MAX_SIZE);
        dead_letters.finish();
    }
    if let Some(batch) = table.table("batch") {
        let count = batch.count("count", 1..=MAX_BATCH);
        policies.batch_count = count.and_then(|n| usize::try_from(n).ok());
        policies.batch_bytes = batch.size("bytes", 1..=MAX_BATCH_BYTES);
        policies.batch_time = batch.duration("time", Duration::ZERO);
        batch.finish();
    }
    if let Some(breaker) = table.table("breaker") {
        let failures = breaker.count("failures", 1..=MAX_BREAKER_FAILURES);
        policies.breaker_failures = failures.and_then(|n| u32::try_from(n).ok());
        policies.breaker_probe_every = breaker.duration("probe_every", SHORTEST);
        breaker.finish();
    }
}

/// Of a destination alone.
pub(super) fn read_rate(table: &Table<'_>) -> Option<Rate> {
    let rate = table.table("rate")?;
    let number = |key| {
        rate.count(key, 1..=MAX_RATE)
            .and_then(|n| u32::try_from(n).ok())
    };
    let (per_second, burst) = (number("per_second"), number("burst"));
    if per_second.is_none() && !rate.has("per_second") {
        rate.reader.error(
            &rate.path,
            "a rate needs `per_second`",
            "write it like rate = { per_second = 100, burst = 100 }",
        );
    }
    rate.finish();
    let per_second = per_second?;
    Some(Rate {
        per_second,
        burst: burst.unwrap_or(per_second),
    })
}

/// The keys of `[defaults]` that both have.
pub(super) fn read_shared_policies(table: &Table<'_>, policies: &mut Policies) {
    const ON_FULL: [(&str, OnFull); 2] = [
        ("refuse", OnFull::Refuse),
        ("dead_letter", OnFull::DeadLetter),
    ];
    const ON_REJECT: [(&str, OnReject); 2] = [("skip", OnReject::Skip), ("block", OnReject::Block)];
    policies.on_full = table.choice("on_full", &ON_FULL, &[]);
    policies.on_reject = table.choice("on_reject", &ON_REJECT, &[]);
}
