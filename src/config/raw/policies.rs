//! `[defaults]`, and what of it routes, targets and destinations may say otherwise.

use super::{MAX_SIZE, SHORTEST};
use crate::config::reader::Table;
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
    pub timeout: Option<Duration>,
    pub retry_initial: Option<Duration>,
    pub retry_max: Option<Duration>,
    pub retry_give_up_after: Option<Duration>,
    pub dead_letters_max_bytes: Option<u64>,
}

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
    const BUILT: [(&str, Guarantee); 2] = [
        ("at_least_once", Guarantee::AtLeastOnce),
        ("exactly_once", Guarantee::ExactlyOnce),
    ];
    table.choice("guarantee", &BUILT, &["at_most_once"])
}

pub(super) fn read_ack(table: &Table<'_>) -> Option<Ack> {
    const ALL: [(&str, Ack); 3] = [
        ("received", Ack::Received),
        ("stored", Ack::Stored),
        ("delivered", Ack::Delivered),
    ];
    let ack = table.choice("ack", &ALL, &[])?;
    if ack == Ack::Received {
        table.reader.error(
            &table.path.name("ack"),
            "ack = \"received\" goes with guarantee = \"at_most_once\" only, which is not built in",
            "write ack = \"stored\": it waits for one fsync, which many messages share",
        );
        return None;
    }
    Some(ack)
}

/// The keys of `[defaults]` that destinations have too.
pub(super) fn read_lane_policies(table: &Table<'_>, policies: &mut Policies) {
    policies.backlog_bytes = table.size("backlog", 1..=MAX_SIZE);
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
