//! A lane that becomes strict, or keyed again, by a reload (promises 5 and 7).

use super::{PATIENCE, ends_well, publish, route, started, stream, taken, wait_until};
use crate::support::process::Gateway;
use crate::support::streams::stream_ids;

const STRICT: &str = "{ destination = \"inbox\", guarantee = \"exactly_once\" }";

fn file(to: &str) -> String {
    stream("inbox") + &route("all", "all", to)
}

fn publish_delayed(gateway: &Gateway, id: &str) -> u16 {
    let headers = [("idempotency-key", id), ("causeway-delay", "1500ms")];
    let answer = gateway
        .client(PATIENCE)
        .post("/v1/topics/all", &headers, b"x");
    answer.unwrap_or_else(|t| panic!("publish: {t}")).status
}

/// What was accepted in one mode is settled in it; what comes after the change waits for that.
#[test]
fn what_was_delayed_before_the_lane_became_strict_keeps_its_delay() {
    let gateway = started(&file("\"inbox\""));
    assert_eq!(publish_delayed(&gateway, "delayed"), 202);
    assert_eq!(publish(&gateway, "all", "before"), 202);
    taken(&gateway, &file(STRICT));
    assert_eq!(publish(&gateway, "all", "strict"), 202);
    assert_eq!(
        publish_delayed(&gateway, "refused"),
        400,
        "a strict lane can't delay"
    );
    taken(&gateway, &file("\"inbox\""));
    assert_eq!(publish(&gateway, "all", "after"), 202);
    wait_until("all is delivered", || {
        stream_ids(&gateway, "inbox").len() == 4
    });
    assert_eq!(
        stream_ids(&gateway, "inbox"),
        ["before", "delayed", "strict", "after"]
    );
    assert_eq!(publish_delayed(&gateway, "again"), 202);
    ends_well(gateway);
}

/// The barriers are the journal's: a start between finds them.
#[test]
fn a_kill_between_a_change_and_its_end_changes_no_order() {
    let mut gateway = started(&file("\"inbox\""));
    assert_eq!(publish_delayed(&gateway, "delayed"), 202);
    taken(&gateway, &file(STRICT));
    assert_eq!(publish(&gateway, "all", "strict"), 202);
    gateway.kill();
    gateway.start().unwrap();
    wait_until("all is delivered", || {
        stream_ids(&gateway, "inbox").len() == 2
    });
    assert_eq!(stream_ids(&gateway, "inbox"), ["delayed", "strict"]);
    ends_well(gateway);
}

#[test]
fn changes_to_and_fro_with_nothing_between_leave_nothing() {
    let gateway = started(&file("\"inbox\""));
    assert_eq!(publish_delayed(&gateway, "first"), 202);
    for to in [STRICT, "\"inbox\"", STRICT, "\"inbox\""] {
        taken(&gateway, &file(to));
    }
    // Were a barrier left, this would wait for the first.
    assert_eq!(publish(&gateway, "all", "second"), 202);
    wait_until("all is delivered", || {
        stream_ids(&gateway, "inbox").len() == 2
    });
    assert_eq!(stream_ids(&gateway, "inbox"), ["second", "first"]);
    ends_well(gateway);
}
