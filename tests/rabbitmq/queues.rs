//! Queues as the file asks for them, and what a message is in one.

use super::house::{House, PATIENCE};
use crate::support::rabbit::{self, Rabbit, header, ids};
use crate::support::wait::wait_for;
use lapin::ExchangeKind;
use serde_json::json;

#[test]
fn each_is_declared_as_it_is_asked_for() {
    let Some(server) = rabbit::shared("rabbitmq::queues::each_is_declared") else {
        return;
    };
    let mut house = House::start(
        &server,
        r#"
        queues = [
            { name = "asked-classic", type = "classic", max_priority = 9, max_length = 7, ttl = "1m", dead_letter_exchange = "asked" },
            { name = "asked-quorum", type = "quorum", max_length = 7, ttl = "1m", dead_letter_exchange = "asked" },
        ]"#,
    );
    house.publish_plain(&["asked-classic", "asked-quorum"]);
    house.wait_settled(0);
    let mut asked = json!({
        "x-queue-type": "quorum",
        "x-max-length": 7,
        "x-overflow": "reject-publish",
        "x-message-ttl": 60_000,
        "x-dead-letter-exchange": "asked",
    });
    let declared = |name: &str| {
        let path = format!("/api/queues/%2f/{name}");
        let queue = rabbit::manage(&server, "GET", &path, &json!(null));
        assert_eq!(queue["durable"], true, "{queue}");
        queue["arguments"].clone()
    };
    assert_eq!(declared("asked-quorum"), asked);
    asked["x-queue-type"] = json!("classic");
    asked["x-max-priority"] = json!(9);
    assert_eq!(declared("asked-classic"), asked);
    let rabbit = Rabbit::connect(&server);
    for queue in ["asked-classic", "asked-quorum"] {
        assert_eq!(ids(&rabbit.drain(queue)), [queue]);
    }
}

#[test]
fn what_expires_goes_on_by_the_dead_letter_exchange() {
    let Some(server) = rabbit::shared("rabbitmq::queues::what_expires") else {
        return;
    };
    let rabbit = Rabbit::connect(&server);
    rabbit.exchange("late-dead", ExchangeKind::Fanout);
    rabbit.queue("late-dead", &[]);
    rabbit.bind("late-dead", "late-dead", "");
    let keys = r#"queues = [{ name = "late", ttl = "200ms", dead_letter_exchange = "late-dead" }]"#;
    let mut house = House::start(&server, keys);
    house.publish_plain(&["late"]);
    house.wait_settled(0);
    wait_for(PATIENCE, || match &ids(&rabbit.drain("late-dead"))[..] {
        [] => Err("nothing expired".to_owned()),
        came => {
            assert_eq!(came, ["late"]);
            Ok(())
        }
    });
    assert!(rabbit.drain("late").is_empty());
}

#[test]
fn one_that_isnt_ours_is_waited_for_and_bound() {
    let Some(server) = rabbit::shared("rabbitmq::queues::one_that_isnt_ours") else {
        return;
    };
    let mut house = House::start(
        &server,
        r#"
        exchange = { name = "sought", kind = "direct", declare = true }
        queues = [{ name = "sought", bind = ["a.b", "c"], declare = false }]"#,
    );
    house.publish_plain(&["a/b", "c"]);
    house.wait_error("the queue \"sought\": NOT_FOUND - no queue 'sought' in vhost '/'");
    let rabbit = Rabbit::connect(&server);
    rabbit.queue("sought", &[]);
    house.wait_settled(0);
    let mut came = ids(&rabbit.drain("sought"));
    came.sort();
    assert_eq!(came, ["a/b", "c"]);
}

/// It is declared with the next connection, which a reload of a changed file makes; what came meanwhile is
/// unroutable.
#[test]
fn one_that_is_deleted_is_declared_with_the_next_connection() {
    let Some(server) = rabbit::shared("rabbitmq::queues::one_that_is_deleted") else {
        return;
    };
    let keys = |more: &str| {
        format!(
            "exchange = {{ name = \"deleted\", kind = \"direct\", declare = true }}\n\
             queues = [{{ name = \"deleted\", bind = [\"a\"] }}, {{ name = \"kept\", bind = [\"b\"{more}] }}]"
        )
    };
    let mut house = House::start(&server, &keys(""));
    house.publish_plain(&["a"]);
    house.wait_settled(0);
    // With what is in it: somebody wants it so.
    rabbit::manage(&server, "DELETE", "/api/queues/%2f/deleted", &json!(null));
    let publish = |house: &mut House, when: &str| {
        let (a, b) = (format!("a-{when}"), format!("b-{when}"));
        house.publish(&[("a", &*a, json!({})), ("b", &*b, json!({}))]);
    };
    publish(&mut house, "meanwhile");
    house.wait_settled(1);
    let error = house.last_error();
    let words =
        "no queue takes it from the exchange \"deleted\" by the routing key \"a\"".to_owned();
    assert!(
        error.starts_with("unroutable: 312 NO_ROUTE") && error.contains(&words),
        "{error}"
    );

    house.reload(&server, &keys(", \"c\""));
    publish(&mut house, "after");
    house.wait_settled(1);
    let redriven = house.gateway.run(&["dlq", "redrive", "sink", "--all"]);
    assert!(redriven.status.success(), "{redriven:?}");
    // A new plan of its own.
    house.published += 1;
    house.wait_settled(1);
    let rabbit = Rabbit::connect(&server);
    assert_eq!(ids(&rabbit.drain("deleted")), ["a-after", "a-meanwhile"]);
    assert_eq!(ids(&rabbit.drain("kept")), ["b-meanwhile", "b-after"]);
}

#[test]
fn a_message_has_its_properties() {
    let Some(server) = rabbit::shared("rabbitmq::queues::a_message") else {
        return;
    };
    let mut house = House::start(&server, r#"queues = [{ name = "props" }]"#);
    let headers = [
        ("idempotency-key", "props-1"),
        ("content-type", "text/plain"),
        ("causeway-key", "k"),
        ("causeway-priority", "7"),
        ("causeway-ttl", "60s"),
        ("causeway-header-correlation-id", "c-1"),
        ("causeway-header-reply-to", "answers"),
        ("causeway-header-type", "order"),
    ];
    let mut client = house.gateway.client(PATIENCE);
    let answer = client.post("/v1/topics/props", &headers, b"body");
    assert_eq!(answer.expect("an answer").status, 202);
    house.published = 1;
    house.wait_settled(0);
    let came = Rabbit::connect(&server).drain("props");
    let [message] = &came[..] else {
        panic!("{} came", came.len());
    };
    let said = &message.properties;
    let text = |word: &Option<lapin::types::ShortString>| word.as_ref().map(ToString::to_string);
    assert_eq!(*said.delivery_mode(), Some(2), "persistent");
    assert_eq!(*said.priority(), Some(7));
    assert_eq!(text(said.content_type()).as_deref(), Some("text/plain"));
    assert_eq!(text(said.correlation_id()).as_deref(), Some("c-1"));
    assert_eq!(text(said.reply_to()).as_deref(), Some("answers"));
    assert_eq!(text(said.kind()).as_deref(), Some("order"));
    assert!(text(said.message_id()).is_some_and(|id| !id.is_empty()));
    assert!(said.timestamp().is_some_and(|seconds| seconds > 0));
    let left: u64 = text(said.expiration())
        .and_then(|ms| ms.parse().ok())
        .expect("milliseconds");
    assert!((1..=60_000).contains(&left), "{left}");
    assert_eq!(header(message, "causeway-key").as_deref(), Some(&b"k"[..]));
    assert_eq!(
        header(message, "causeway-topic").as_deref(),
        Some(&b"props"[..])
    );
    assert_eq!(message.data, b"body");
}
