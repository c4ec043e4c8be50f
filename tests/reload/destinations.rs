//! Destinations that come, change and go while the gateway runs (promise 9).

use super::{
    PATIENCE, counts, ends_well, faulty, pending, publish, refused, reload, route, started, status,
    stream, taken, to_inbox, wait_until,
};
use crate::support::process::Gateway;
use crate::support::streams::stream_ids;
use serde_json::json;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

fn with_events() -> String {
    to_inbox("all") + &stream("events") + &route("events", "events/#", "\"events\"")
}

fn stream_status(gateway: &Gateway, name: &str) -> u16 {
    let answer = gateway
        .client(PATIENCE)
        .get(&format!("/v1/streams/{name}?from=earliest"));
    answer.unwrap_or_else(|t| panic!("read: {t}")).status
}

#[test]
fn a_stream_is_added_and_goes_in_two_steps_and_comes_back() {
    let gateway = started(&to_inbox("all"));
    assert_eq!(stream_status(&gateway, "events"), 404);
    taken(&gateway, &with_events());
    assert_eq!(publish(&gateway, "events/a", "e1"), 202);
    wait_until("it is delivered", || {
        stream_ids(&gateway, "events") == ["e1"]
    });

    let said = refused(&gateway, &to_inbox("all"));
    assert!(
        said.contains("the running routes events lead to it"),
        "{said}"
    );
    assert!(said.contains("two steps"), "{said}");
    assert_eq!(publish(&gateway, "events/a", "e2"), 202, "nothing changed");

    let unrouted = to_inbox("all") + &stream("events");
    let answer = taken(&gateway, &unrouted);
    assert_eq!(answer["changed"], json!(["-route events"]));
    assert_eq!(publish(&gateway, "events/a", "e3"), 404);
    assert_eq!(
        stream_ids(&gateway, "events"),
        ["e1", "e2"],
        "it can still be read"
    );
    wait_until("nothing is owed", || pending(&gateway, "events") == 0);
    let answer = taken(&gateway, &to_inbox("all"));
    assert_eq!(answer["changed"], json!(["-destination events"]));
    assert_eq!(stream_status(&gateway, "events"), 404);
    assert!(!counts(&gateway).contains_key("events"));

    // Its folder stayed: it goes on where it was.
    taken(&gateway, &with_events());
    assert_eq!(publish(&gateway, "events/a", "e4"), 202);
    wait_until("it is delivered", || {
        stream_ids(&gateway, "events") == ["e1", "e2", "e4"]
    });
    ends_well(gateway);
}

#[test]
fn what_is_owed_keeps_its_destination() {
    let with = |script: &str| to_inbox("all") + &faulty("slow", script);
    let routed = |script: &str| with(script) + &route("slow", "slow", "\"slow\"");
    let gateway = started(&routed("hang"));
    for id in ["a", "b"] {
        assert_eq!(publish(&gateway, "slow", id), 202);
    }
    taken(&gateway, &with("hang"));
    let said = refused(&gateway, &to_inbox("all"));
    assert!(
        said.contains("\"slow\" can't go yet: it is owed 2 deliveries"),
        "{said}"
    );
    assert!(said.contains("causeway lane drop slow"), "{said}");
    // Its script is tuning: it is changed live, and now it takes what it is owed.
    let answer = taken(&gateway, &with("confirm"));
    assert_eq!(answer["changed"], json!(["~destination slow"]));
    wait_until("it is settled", || pending(&gateway, "slow") == 0);
    taken(&gateway, &to_inbox("all"));
    let record = fs::read_to_string(gateway.folder().join("slow.record"));
    assert_eq!(record.expect("it was written").lines().count(), 2);
    ends_well(gateway);
}

#[test]
fn what_is_owed_never_goes_elsewhere() {
    let file = |destination: &str| to_inbox("all") + destination + &route("x", "x", "\"x\"");
    let gateway = started(&file(&stream("x")));
    let said = refused(&gateway, &file(&faulty("x", "")));
    assert!(
        said.contains("\"x\" is a stream and would become a faulty"),
        "{said}"
    );
    assert_eq!(publish(&gateway, "x", "a"), 202);
    wait_until("it is delivered", || stream_ids(&gateway, "x") == ["a"]);
    // In steps it may.
    taken(&gateway, &(to_inbox("all") + &stream("x")));
    wait_until("nothing is owed", || pending(&gateway, "x") == 0);
    taken(&gateway, &to_inbox("all"));
    taken(&gateway, &file(&faulty("x", "")));
    assert_eq!(publish(&gateway, "x", "b"), 202);
    wait_until("it is settled", || pending(&gateway, "x") == 0);
    let record = fs::read_to_string(gateway.folder().join("x.record"));
    assert_eq!(record.expect("it was written").lines().count(), 1);
    ends_well(gateway);
}

/// The record of the names is durable before a plan has them: else the journal would know what is
/// owed, but not to whom.
#[test]
fn new_names_survive_a_kill_right_after_the_reload() {
    let mut file = to_inbox("all");
    let mut gateway = started(&file);
    for round in 0..3 {
        let name = format!("new{round}");
        file += &(stream(&name) + &route(&name, &name, &format!("\"{name}\"")));
        taken(&gateway, &file);
        assert_eq!(publish(&gateway, &name, &format!("id-{round}")), 202);
        gateway.kill();
        gateway.start().unwrap();
        let expected = [format!("id-{round}")];
        wait_until("it is delivered", || {
            stream_ids(&gateway, &name) == expected
        });
    }
    ends_well(gateway);
}

#[test]
fn a_lane_that_was_held_since_the_start_goes_on_when_its_destination_is_back() {
    let with = |script: &str| {
        to_inbox("all") + &faulty("slow", script) + &route("slow", "slow", "\"slow\"")
    };
    let mut gateway = started(&with("hang"));
    for id in ["a", "b", "c"] {
        assert_eq!(publish(&gateway, "slow", id), 202);
    }
    gateway.kill();
    gateway.configure(&to_inbox("all"));
    gateway.start().unwrap();
    assert_eq!(pending(&gateway, "slow"), 3);
    taken(&gateway, &with("confirm"));
    assert_eq!(publish(&gateway, "slow", "d"), 202);
    wait_until("it is settled", || pending(&gateway, "slow") == 0);
    let record = fs::read_to_string(gateway.folder().join("slow.record"));
    let record = record.expect("it was written");
    let mut positions: Vec<_> = record.lines().map(|line| line.split('\t').next()).collect();
    positions.sort_unstable();
    assert_eq!(positions, [Some("0"), Some("1"), Some("2"), Some("3")]);
    ends_well(gateway);
}

/// A stream whose lane was held may have more than the journal has settled: nothing is doubled.
#[test]
fn a_stream_that_is_back_holds_nothing_twice() {
    let mut gateway = started(&with_events());
    let mut published = 0;
    for round in 0..3 {
        for _ in 0..20 {
            let id = format!("e{published:03}");
            assert_eq!(publish(&gateway, "events/a", &id), 202);
            published += 1;
        }
        // Some of it is in the stream and not settled, some isn't there yet.
        gateway.kill();
        gateway.configure(&to_inbox("all"));
        gateway.start().unwrap();
        taken(&gateway, &with_events());
        let expected: Vec<String> = (0..published).map(|n| format!("e{n:03}")).collect();
        wait_until(&format!("round {round} is delivered"), || {
            stream_ids(&gateway, "events") == expected
        });
    }
    ends_well(gateway);
}

#[test]
fn a_backlog_is_raised_live() {
    let with = |backlog: &str| {
        let slow =
            faulty("slow", "hang").replace("timeout", &format!("backlog = \"{backlog}\"\ntimeout"));
        to_inbox("all") + &slow + &route("slow", "slow", "\"slow\"")
    };
    let gateway = started(&with("1B"));
    assert_eq!(publish(&gateway, "slow", "a"), 503);
    let answer = taken(&gateway, &with("1MiB"));
    assert_eq!(answer["changed"], json!(["~destination slow"]));
    assert_eq!(publish(&gateway, "slow", "a"), 202);
    assert_eq!(reload(&gateway).status, 200);
    assert_eq!(pending(&gateway, "slow"), 1);
}

/// One lane is ready to go on, the next isn't: then the first is held as before. If it ran, the next
/// reload would open its stream a second time beside it.
#[test]
fn lanes_that_can_not_all_be_taken_up_stay_held() {
    let lanes = ["first", "second"];
    let routed = lanes.map(|name| stream(name) + &route(name, name, &format!("\"{name}\"")));
    let file = to_inbox("all") + &routed.concat();
    let state = |gateway: &Gateway, lane: &str| {
        let status = status(gateway);
        let shown = status["lanes"].as_array().expect("a list").iter();
        let shown = shown.filter(|shown| shown["name"] == lane);
        shown
            .map(|shown| shown["state"].clone())
            .collect::<Vec<_>>()
    };
    let mut gateway = started(&file);
    let mut published = Vec::new();
    // In both streams, and not yet settled in the journal: that takes luck.
    while pending(&gateway, "first") * pending(&gateway, "second") == 0 {
        assert!(published.len() < 50, "settled each time before the kill");
        gateway.configure(&file);
        gateway.kill();
        gateway.start().unwrap();
        let id = format!("planted-{:02}", published.len());
        published.push(id.clone());
        for lane in lanes {
            assert_eq!(publish(&gateway, lane, &id), 202);
        }
        wait_until("delivered", || {
            lanes
                .iter()
                .all(|lane| stream_ids(&gateway, lane) == published)
        });
        gateway.kill();
        gateway.configure(&to_inbox("all"));
        gateway.start().unwrap();
    }
    // What the second lane owes can't be read.
    let journal = gateway.data().join("journal");
    let planted = published.last().expect("one").as_bytes();
    let (segment, at) = last_of(&journal, planted);
    overwrite(&segment, at, b"X");
    gateway.configure(&file);
    let answer = reload(&gateway);
    assert_eq!(answer.status, 422, "{answer}");
    assert_eq!(state(&gateway, "first"), ["orphaned"]);
    // Held, too, until it looked at what can't be read.
    assert_ne!(state(&gateway, "second"), ["running"]);
    overwrite(&segment, at, &planted[..1]);
    taken(&gateway, &file);
    for lane in lanes {
        wait_until("settled", || pending(&gateway, lane) == 0);
        assert_eq!(publish(&gateway, lane, "more"), 202);
        let expected = [published.as_slice(), &["more".to_owned()]].concat();
        wait_until("delivered", || stream_ids(&gateway, lane) == expected);
    }
    ends_well(gateway);
}

/// The file of the journal's segments in which these bytes stand last, and where.
fn last_of(journal: &Path, bytes: &[u8]) -> (PathBuf, usize) {
    let files = fs::read_dir(journal).expect("a folder").flatten();
    let found = files.filter_map(|file| {
        let text = fs::read(file.path()).ok()?;
        let at = text
            .windows(bytes.len())
            .rposition(|window| window == bytes)?;
        Some((file.path(), at))
    });
    found.max().expect("it is in the journal")
}

fn overwrite(file: &Path, at: usize, bytes: &[u8]) {
    let file = fs::File::options()
        .write(true)
        .open(file)
        .expect("it is there");
    file.write_all_at(bytes, at as u64).expect("writable");
}
