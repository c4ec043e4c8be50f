//! Rejected, mended, redriven: once, with the same delivery id, unless asked otherwise.

use super::house::{House, PATIENCE, settings};
use crate::support::streams::stream_ids;
use crate::support::wait::wait_until;
use serde_json::{Value, json};

const REJECTS: &str = "reject";
const TAKES: &str = "confirm";

/// The same routes, to the stream.
fn to_inbox() -> String {
    settings(TAKES, "").replace("to = [\"shop\"]", "to = [\"inbox\"]")
}

#[test]
fn what_was_rejected_is_listed_shown_and_redriven_once() {
    let mut house = House::start(&settings(REJECTS, ""));
    house.publish("orders/new", 20, 10);
    house.wait_letters("shop", 20);
    assert_eq!(house.offsets("shop"), (0..20).collect::<Vec<_>>());

    let letter = house.done(&["show", "shop", "3"]);
    assert_eq!(letter["topic"], "orders/new");
    let facts = &letter["dead_letter"];
    assert_eq!(
        (&facts["route"], &facts["destination"], &facts["attempts"]),
        (&json!("orders"), &json!("shop"), &json!(1)),
        "{letter:#}"
    );
    assert_eq!(facts["reroute_only"], false);
    assert_eq!(letter["headers"], json!({"kind": "test"}));
    assert_eq!(letter["hidden_headers"], json!(["authorization"]));
    let data = letter["data"].as_str().expect("text");
    assert!(data.ends_with(" xxxxxxxxxx"), "{data}");
    assert!(!letter.to_string().contains("hunter2"), "{letter:#}");

    // Whatever the first try says, it becomes a dead letter again: another one.
    let (code, tried) = house.dlq(&["redrive", "shop", "3", "5"]);
    assert_eq!(code, 1, "{tried:#}");
    assert_eq!(
        (&tried["redriven"], &tried["dead_lettered"]),
        (&json!(2), &json!(2)),
        "{tried:#}"
    );
    house.wait_letters("shop", 20);
    let again = house.done(&["show", "shop", "20"]);
    assert_eq!(again["dead_letter"]["delivery_id"], facts["delivery_id"]);
    assert_eq!(
        again["dead_letter"]["redrive_of"]["position"],
        facts["position"]
    );
    assert_ne!(again["dead_letter"]["position"], facts["position"]);
    let (code, gone) = house.dlq(&["show", "shop", "3"]);
    assert_eq!((code, &gone["error"]["code"]), (4, &json!(4)), "{gone:#}");

    house.tell(&settings(TAKES, ""));
    let redriven = house.done(&["redrive", "shop", "--all"]);
    assert_eq!(
        (
            &redriven["state"],
            &redriven["redriven"],
            &redriven["delivered"]
        ),
        (&json!("done"), &json!(20), &json!(20)),
        "{redriven:#}"
    );
    assert_eq!(house.offsets("shop"), Vec::<u64>::new());
    let none = house.done(&["redrive", "shop", "--all"]);
    assert_eq!(none["redriven"], 0);
    let lane = house.lane("shop");
    assert_eq!(
        (&lane["planned"], &lane["delivered"], &lane["dead_lettered"]),
        (&json!(42), &json!(20), &json!(22)),
        "{lane:#}"
    );
    house.verify();
}

#[test]
fn a_filter_chooses_and_the_rest_stays() {
    let house = House::start(&settings("payload=7 reject; key=k-1 reject", ""));
    house.publish("orders/a", 10, 1);
    house.publish("orders/b", 10, 1);
    house.wait_idle("shop");
    let letters = house.done(&["list", "shop"]);
    let count = letters["letters"].as_array().map_or(0, Vec::len);
    assert!(count >= 4, "{letters:#}");
    house.tell(&settings(TAKES, ""));
    let redriven = house.done(&["redrive", "shop", "--topic", "orders/a", "--reason", "*"]);
    let left = house.done(&["list", "shop"]);
    let left = left["letters"].as_array().expect("a list");
    assert_eq!(redriven["redriven"], json!(count - left.len()));
    assert!(!left.is_empty() && left.len() < count);
    assert!(left.iter().all(|letter| letter["topic"] == "orders/b"));
    for (words, code) in [
        (&["redrive", "shop"][..], 2),
        (&["redrive", "shop", "1", "--all"], 2),
        (&["redrive", "nowhere", "--all"], 4),
        (&["purge", "shop", "--all"], 2),
    ] {
        assert_eq!(
            house.gateway.run(&[&["dlq"], words].concat()).status.code(),
            Some(code)
        );
    }
}

/// The record of the stream has the delivery id that readers drop doubles by.
fn delivery_ids(house: &House) -> Vec<(String, String)> {
    let read = house.client().get("/v1/streams/inbox?format=cloudevents");
    let read = read.expect("an answer").json().expect("JSON");
    let events = read.as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .map(|event| (text(&event["id"]), text(&event["causewaytopic"])))
        .collect()
}

#[test]
fn rerouted_letters_go_where_routes_lead_now_and_new_ids_are_new() {
    let mut house = House::start(&settings(REJECTS, ""));
    house.publish("orders/new", 3, 1);
    house.wait_letters("shop", 3);
    house.tell(&to_inbox());

    // Nothing leads to the shop any more.
    let (code, kept) = house.dlq(&["redrive", "shop", "--all"]);
    assert_eq!((code, &kept["kept"]), (1, &json!(3)), "{kept:#}");
    let why = kept["kept_first"][0]["why"].as_str().expect("text");
    assert!(why.contains("leads to \"shop\""), "{why}");

    let redriven = house.done(&["redrive", "shop", "--all", "--reroute"]);
    assert_eq!(redriven["delivered"], 3, "{redriven:#}");
    let mut ids = stream_ids(&house.gateway, "inbox");
    ids.sort();
    assert_eq!(ids, ["m-0", "m-1", "m-2"]);
    let first: Vec<_> = delivery_ids(&house).into_iter().map(|(id, _)| id).collect();

    // As if each had been published there: a publish of the same id has the same delivery id.
    let explained = house.gateway.run(&[
        "--json",
        "explain",
        "orders/new",
        "-d",
        "x",
        "--id",
        "m-0",
        "--key",
        "k-0",
    ]);
    let explained: Value = serde_json::from_slice(&explained.stdout).expect("JSON");
    let expected = explained["targets"][0]["delivery_id"]["is"].as_str();
    let expected = expected.unwrap_or_else(|| panic!("{explained:#}"));
    assert!(
        first.iter().any(|id| id == expected),
        "{first:?} {expected}"
    );

    let other = settings(REJECTS, "").replace("orders/#", "+/#");
    house.tell(&other);
    house.publish("others/new", 1, 1);
    house.wait_letters("shop", 1);
    let letter = house.done(&["list", "shop"]);
    let offset = letter["letters"][0]["offset"].to_string();
    let was = &letter["letters"][0]["dead_letter"]["delivery_id"];
    let (_, again) = house.dlq(&["redrive", "shop", &offset, "--new-id"]);
    assert_eq!(again["dead_lettered"], 1, "{again:#}");
    house.wait_letters("shop", 1);
    let new = house.done(&["list", "shop"]);
    let is = &new["letters"][0]["dead_letter"]["delivery_id"];
    assert_ne!(is, was);
    // From here on that is its id.
    let offset = new["letters"][0]["offset"].to_string();
    house.dlq(&["redrive", "shop", &offset]);
    house.wait_letters("shop", 1);
    let same = house.done(&["list", "shop"]);
    assert_eq!(&same["letters"][0]["dead_letter"]["delivery_id"], is);
    house.verify();
}

#[test]
fn the_doors_own_letters_are_rerouted_once_a_route_is_there() {
    let unrouted = "[unrouted]\naction = \"dead_letter\"\n";
    let mut house = House::start(&(settings(TAKES, "") + unrouted));
    house.publish("strays/a", 5, 1);
    house.wait_letters("$door", 5);
    let list = house.done(&["list", "@door"]);
    assert_eq!(
        list["letters"][0]["dead_letter"]["reroute_only"], true,
        "{list:#}"
    );
    let (code, kept) = house.dlq(&["redrive", "@door", "--all"]);
    assert_eq!((code, &kept["kept"]), (1, &json!(5)), "{kept:#}");
    let (code, kept) = house.dlq(&["redrive", "@door", "--all", "--reroute"]);
    assert_eq!(
        (code, &kept["kept"]),
        (1, &json!(5)),
        "no route yet: {kept:#}"
    );
    let routed = settings(TAKES, "").replace("orders/#", "strays/#");
    house.tell(&(routed + unrouted));
    let redriven = house.done(&["redrive", "@door", "--all", "--reroute"]);
    assert_eq!(redriven["delivered"], 5, "{redriven:#}");
    assert_eq!(house.received().len(), 5);
    assert_eq!(house.offsets("@door"), Vec::<u64>::new());
    house.verify();
}

#[test]
fn what_is_exported_can_be_published_again() {
    let house = House::start(&settings(REJECTS, ""));
    house.publish("orders/new", 4, 10);
    house.wait_letters("shop", 4);
    let file = house.gateway.folder().join("letters.ndjson");
    let to = file.to_str().expect("UTF-8");
    let wrote = house.done(&["export", "shop", "--to", to]);
    assert_eq!(wrote["letters"], 4);
    let lines = std::fs::read(&file).expect("it is there");
    assert!(String::from_utf8_lossy(&lines).contains("hunter2"));
    let (code, _) = house.dlq(&["export", "shop", "--to", to]);
    assert_eq!(code, 1, "it is there already");
    let redacted = house.gateway.run(&["dlq", "export", "shop", "--redact"]);
    assert!(redacted.status.success());
    let redacted = String::from_utf8_lossy(&redacted.stdout).into_owned();
    assert_eq!(
        (redacted.lines().count(), redacted.contains("hunter2")),
        (4, false)
    );

    // Another gateway takes them as they came.
    let other = House::start(&to_inbox());
    let headers = [("content-type", "application/x-ndjson")];
    let got = other.client().post("/v1/batch", &headers, &lines);
    let got = got.expect("an answer");
    assert_eq!(got.status, 200, "{got}");
    wait_until(PATIENCE, "all is there", || {
        stream_ids(&other.gateway, "inbox").len() == 4
    });
}

#[test]
fn a_redrive_leaves_the_lane_to_fresh_messages() {
    let slow = "delay 5..6";
    let house = House::start(&settings(REJECTS, ""));
    house.publish("orders/new", 3000, 1);
    house.wait_letters("shop", 3000);
    house.tell(&settings(slow, ""));
    let (status, redrive) = house.post("/api/v1/dead-letters/shop/redrive", &json!({"all": true}));
    assert_eq!(status, 202, "{redrive:#}");
    let id = redrive["id"].as_str().expect("text").to_owned();
    let (status, refused) = house.post("/api/v1/dead-letters/shop/redrive", &json!({"all": true}));
    assert_eq!(
        (status, &refused["redrive"]),
        (409, &json!(id)),
        "{refused:#}"
    );
    let path = format!("/api/v1/redrives/{id}");
    wait_until(PATIENCE, "it is on its way", || {
        house.get(&path)["redriven"].as_u64() > Some(100)
    });
    let before = house.get(&path);
    let got = house.client().post(
        "/v1/topics/orders/fresh",
        &[("idempotency-key", "fresh")],
        b"x",
    );
    assert_eq!(got.expect("an answer").status, 202);
    wait_until(PATIENCE, "the fresh one is there", || {
        house.received().iter().any(|got| got.id == "fresh")
    });
    let after = house.get(&path);
    assert_eq!(after["state"], "running", "{before:#} {after:#}");
    let on_the_way = after["redriven"].as_u64().expect("a number")
        - before["delivered"].as_u64().expect("a number");
    assert!(on_the_way < 2000, "{before:#} {after:#}");
    let (_, stopped) = house.post(&format!("{path}/stop"), &json!({}));
    assert_eq!(stopped["id"], json!(id));
    wait_until(PATIENCE, "it stops", || {
        house.get(&path)["state"] == "stopped"
    });
    let ended = house.get(&path);
    let redriven = ended["redriven"].as_u64().expect("a number");
    assert_eq!(house.offsets("shop").len() as u64, 3000 - redriven);
}
