//! Purged letters are gone for good, and their room is given back: a lane that was stopped goes on.

use super::house::{House, PATIENCE, settings};
use crate::support::process::folder_bytes;
use crate::support::wait::wait_until;
use serde_json::json;

/// Two segments, whatever is written down.
const SMALL: &str = "dead_letters = { max_bytes = \"1MiB\" }";
const LARGE: usize = 100_000;

#[test]
fn a_full_log_stops_its_lane_and_a_purge_lets_it_go_on() {
    let mut house = House::start(&settings("reject", SMALL));
    house.publish("orders/new", 80, LARGE);
    wait_until(PATIENCE, "its lane stops", || {
        house.lane("shop")["state"] == "stopped"
    });
    let lane = house.lane("shop");
    assert!(lane["pending"].as_u64() > Some(0), "{lane:#}");
    let logs = house.done(&["list"]);
    let shop = logs["logs"].as_array().expect("a list");
    let shop = shop.iter().find(|log| log["name"] == "shop");
    assert_eq!(
        shop.map(|log| &log["is_full"]),
        Some(&json!(true)),
        "{logs:#}"
    );

    let listed = house.offsets("shop").len();
    let purged = house.done(&["purge", "shop", "--all", "--yes"]);
    assert_eq!(purged["purged"], json!(listed));
    wait_until(PATIENCE, "it goes on", || {
        house.lane("shop")["dead_letters"].as_u64() > Some(0)
    });
    while house.lane("shop")["pending"] != json!(0) {
        house.done(&["purge", "shop", "--all", "--yes"]);
    }
    let lane = house.lane("shop");
    assert_eq!(lane["dead_lettered"], 80, "{lane:#}");
    let before = house.offsets("shop");
    house.gateway.kill();
    house.gateway.start().unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(house.offsets("shop"), before, "purged letters came back");
    house.verify();
}

#[test]
fn a_redrive_empties_a_full_log_though_its_lane_is_stopped() {
    let mut house = House::start(&settings("reject", SMALL));
    house.publish("orders/new", 80, LARGE);
    wait_until(PATIENCE, "its lane stops", || {
        house.lane("shop")["state"] == "stopped"
    });
    house.tell(&settings("confirm", SMALL));
    wait_until(PATIENCE, "all is delivered", || {
        // What was judged before goes into the dead letters still: room comes, more follows.
        house.dlq(&["redrive", "shop", "--all"]);
        let lane = house.lane("shop");
        lane["pending"] == json!(0) && lane["dead_letters"] == json!(0)
    });
    let times = house.times_received();
    assert_eq!(times.len(), 80);
    house.verify();
}

#[test]
fn room_between_letters_that_stay_is_given_back() {
    let mut house = House::start(&settings("reject", ""));
    house.publish("orders/new", 120, LARGE);
    house.wait_letters("shop", 120);
    let folder = house.gateway.data().join("dead").join("shop");
    let full = folder_bytes(&folder);
    // The first and each tenth stay, so that no segment is empty.
    let gone: Vec<String> = (0..120)
        .filter(|n| n % 10 != 0)
        .map(|n| n.to_string())
        .collect();
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    let purge = [&["purge", "shop", "--yes"], &gone[..]].concat();
    assert_eq!(house.done(&purge)["purged"], 108);
    let stay: Vec<u64> = (0..120).filter(|n| n % 10 == 0).collect();
    assert_eq!(house.offsets("shop"), stay);
    // Two files are kept for reuse.
    wait_until(PATIENCE, "its room is given back", || {
        folder_bytes(&folder) + (3 << 20) < full
    });
    assert_eq!(house.offsets("shop"), stay);
    house.gateway.kill();
    house.gateway.start().unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(house.offsets("shop"), stay);
    house.tell(&settings("confirm", ""));
    let redriven = house.done(&["redrive", "shop", "--all"]);
    assert_eq!(redriven["delivered"], 12, "{redriven:#}");
    house.verify();
}
