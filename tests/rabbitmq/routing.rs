//! Which queues a message reaches, by each kind of exchange, and what else it is there.

use super::house::{House, PATIENCE};
use crate::support::brokers::done;
use crate::support::rabbit::{self, Rabbit, ids};
use crate::support::wait::wait_until;
use serde_json::json;
use std::collections::BTreeSet;

/// The seeds' example: three queues with the bindings `*.error`, `web.*` and `#`.
#[test]
fn a_topic_exchange_leads_to_the_queues_whose_bindings_match() {
    let Some(server) = rabbit::shared("rabbitmq::routing::a_topic_exchange") else {
        return;
    };
    let mut house = House::start(
        &server,
        r##"
        exchange = { name = "logs", kind = "topic", declare = true }
        queues = [
            { name = "logs-errors", bind = ["*.error"] },
            { name = "logs-web", bind = ["web.*"], type = "quorum" },
            { name = "logs-all", bind = ["#"] },
        ]"##,
    );
    house.publish_plain(&["web/error", "web/info", "db/error", "cache/warning"]);
    house.wait_settled(0);
    let rabbit = Rabbit::connect(&server);
    let sorted = |queue| {
        let mut ids = ids(&rabbit.drain(queue));
        ids.sort();
        ids
    };
    assert_eq!(sorted("logs-errors"), ["db/error", "web/error"]);
    assert_eq!(sorted("logs-web"), ["web/error", "web/info"]);
    assert_eq!(
        sorted("logs-all"),
        ["cache/warning", "db/error", "web/error", "web/info"]
    );
}

#[test]
fn a_headers_exchange_leads_where_all_headers_match_or_any() {
    let Some(server) = rabbit::shared("rabbitmq::routing::a_headers_exchange") else {
        return;
    };
    let mut house = House::start(
        &server,
        r#"
        exchange = { name = "papers", kind = "headers", declare = true }
        queues = [
            { name = "papers-all", bind_headers = { type = "pdf", pages = 7 }, bind_match = "all" },
            { name = "papers-any", bind_headers = { type = "pdf", pages = 7 }, bind_match = "any" },
        ]"#,
    );
    house.publish(&[
        ("p", "both", json!({ "type": "pdf", "pages": "7" })),
        ("p", "one", json!({ "type": "pdf", "pages": "8" })),
        ("p", "none", json!({ "type": "txt" })),
    ]);
    house.wait_settled(1);
    assert!(house.last_error().contains("312 NO_ROUTE"));
    let rabbit = Rabbit::connect(&server);
    assert_eq!(ids(&rabbit.drain("papers-all")), ["both"]);
    let any: BTreeSet<String> = ids(&rabbit.drain("papers-any")).into_iter().collect();
    assert_eq!(any, BTreeSet::from(["both".to_owned(), "one".to_owned()]));
}

#[test]
fn a_fanout_leads_to_all_its_queues() {
    let Some(server) = rabbit::shared("rabbitmq::routing::a_fanout") else {
        return;
    };
    let mut house = House::start(
        &server,
        r#"
        exchange = { name = "news", kind = "fanout", declare = true }
        queues = [{ name = "news-1" }, { name = "news-2" }, { name = "news-3" }]"#,
    );
    house.publish_plain(&["a/b", "c"]);
    house.wait_settled(0);
    let rabbit = Rabbit::connect(&server);
    for queue in ["news-1", "news-2", "news-3"] {
        assert_eq!(ids(&rabbit.drain(queue)).len(), 2, "{queue}");
    }
}

#[test]
fn the_default_exchange_leads_straight_to_a_queue() {
    let Some(server) = rabbit::shared("rabbitmq::routing::the_default_exchange") else {
        return;
    };
    let keys = r#"queues = [{ name = "jobs.small" }]"#;
    let mut house = House::start(&server, keys);
    house.publish_plain(&["jobs/small", "jobs/large"]);
    house.wait_settled(1);
    let error = house.last_error();
    let words = "unroutable: 312 NO_ROUTE: no queue takes it from the default exchange by the routing \
                 key \"jobs.large\"";
    assert!(error.contains(words), "{error}");
    let rabbit = Rabbit::connect(&server);
    assert_eq!(ids(&rabbit.drain("jobs.small")), ["jobs/small"]);
}

/// A return that were given to another message would bury that one, and lose its own.
#[test]
fn each_return_is_its_own_messages_under_load() {
    let Some(server) = rabbit::shared("rabbitmq::routing::each_return") else {
        return;
    };
    let mut house = House::start(
        &server,
        r#"
        exchange = { name = "half", kind = "direct", declare = true }
        queues = [{ name = "half", bind = ["yes"] }]"#,
    );
    let mut routed = BTreeSet::new();
    let mut unroutable = 0;
    // Half of them, then one in twenty.
    for every in [2, 20] {
        for round in 0..8 {
            let id = |n: usize| format!("{every}-{round}-{n}");
            let ids: Vec<String> = (0..250).map(id).collect();
            let message = |(n, id): (usize, &'_ String)| -> (&str, String) {
                match n % every {
                    1 => ("no", id.clone()),
                    _ => ("yes", id.clone()),
                }
            };
            let messages: Vec<_> = ids.iter().enumerate().map(message).collect();
            unroutable += messages.iter().filter(|m| m.0 == "no").count() as u64;
            let yes = messages.iter().filter(|m| m.0 == "yes");
            routed.extend(yes.map(|m| m.1.clone()));
            let lines: Vec<_> = messages.iter().map(|m| (m.0, &*m.1, json!({}))).collect();
            house.publish(&lines);
        }
    }
    house.wait_settled(unroutable);
    let came = ids(&Rabbit::connect(&server).drain("half"));
    assert_eq!(came.len(), routed.len(), "each once");
    assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), routed);
}

#[test]
fn priorities_and_expirations_are_the_queues_to_keep() {
    let Some(server) = rabbit::shared("rabbitmq::routing::priorities") else {
        return;
    };
    let keys = r#"queues = [{ name = "urgent", max_priority = 9 }, { name = "brief" }]"#;
    let mut house = House::start(&server, keys);
    let mut client = house.gateway.client(PATIENCE);
    for (priority, id) in [("1", "low"), ("9", "high"), ("5", "middle")] {
        let headers = [("causeway-priority", priority), ("idempotency-key", id)];
        let answer = client.post("/v1/topics/urgent", &headers, b"x");
        assert_eq!(answer.expect("an answer").status, 202);
    }
    let headers = [("causeway-ttl", "3s"), ("idempotency-key", "brief")];
    let answer = client.post("/v1/topics/brief", &headers, b"x");
    assert_eq!(answer.expect("an answer").status, 202);
    house.published = 4;
    house.wait_settled(0);
    let rabbit = Rabbit::connect(&server);
    assert_eq!(ids(&rabbit.drain("urgent")), ["high", "middle", "low"]);
    wait_until(PATIENCE, "the brief one expires", || {
        // What the management API counts is late.
        let queues = done(server.ctl(&["list_queues", "-q", "name", "messages"]));
        queues.lines().any(|line| line == "brief\t0")
    });
    assert!(rabbit.drain("brief").is_empty());
}
