//! What a server refuses, and what becomes of it when it no longer does.

use super::house::{House, PATIENCE};
use crate::support::rabbit::{self, MAX_MESSAGE_BYTES, Rabbit, ids};
use crate::support::wait::wait_for;
use lapin::ExchangeKind;
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn a_full_queue_is_waited_for() {
    let Some(server) = rabbit::shared("rabbitmq::refusals::a_full_queue") else {
        return;
    };
    let keys = r#"queues = [{ name = "small", max_length = 5 }]"#;
    let mut house = House::start(&server, keys);
    let ids_of = |n: usize| format!("m-{n}");
    let all: Vec<String> = (0..20).map(ids_of).collect();
    let messages: Vec<_> = all.iter().map(|id| ("small", &**id, json!({}))).collect();
    house.publish(&messages);
    house.wait_error("(nack)");
    let rabbit = Rabbit::connect(&server);
    let mut came = BTreeSet::new();
    wait_for(PATIENCE, || {
        came.extend(ids(&rabbit.drain("small")));
        match came.len() {
            20 => Ok(()),
            n => Err(format!("{n} of 20: {}", house.last_error())),
        }
    });
    house.wait_settled(0);
}

/// The envelope's topic, and what a template makes of a message: 255 bytes travel, 256 are refused whole.
#[test]
fn a_routing_key_that_is_too_long_is_refused_at_the_door() {
    let test = "rabbitmq::refusals::a_routing_key_that_is_too_long";
    let Some(server) = rabbit::shared(test) else {
        return;
    };
    let rabbit = Rabbit::connect(&server);
    rabbit.queue("keys", &[]);
    rabbit.exchange("keys", ExchangeKind::Fanout);
    rabbit.bind("keys", "keys", "");
    let to = r#"{ destination = "sink", topic = "t.${headers['rest']}" }"#;
    let keys = format!(
        "exchange = {{ name = \"keys\" }}\n\n\
         [[routes]]\nname = \"rendered\"\ntopic = \"rendered\"\nstop = true\nto = [{to}]"
    );
    let house = House::start(&server, &keys);
    let mut client = house.gateway.client(PATIENCE);
    let mut publish = |topic: &str, rest: &str| {
        let headers = [("causeway-header-rest", rest)];
        let answer = client.post(&format!("/v1/topics/{topic}"), &headers, b"x");
        answer.unwrap_or_else(|t| panic!("{t}"))
    };
    let text = |bytes: usize| "x".repeat(bytes);
    for (topic, rest) in [(text(256), String::new()), ("rendered".into(), text(254))] {
        let answer = publish(&topic, &rest);
        assert_eq!(answer.status, 422, "{answer}");
        let said = answer.json().expect("a problem").to_string();
        let why = "it has 256 bytes, and RabbitMQ's routing keys have at most 255";
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(house.counts().planned, 0);
    for (topic, rest) in [(text(255), String::new()), ("rendered".into(), text(253))] {
        let answer = publish(&topic, &rest);
        assert_eq!(answer.status, 202, "{answer}");
    }
    wait_for(PATIENCE, || match house.counts() {
        counts if counts.delivered == 2 => Ok(()),
        counts => Err(format!("{counts}: {}", house.last_error())),
    });
    assert_eq!(rabbit.drain("keys").len(), 2);
}

#[test]
fn an_exchange_that_isnt_there_holds_all_in_the_servers_words() {
    let Some(server) = rabbit::shared("rabbitmq::refusals::an_exchange_that_isnt_there") else {
        return;
    };
    let keys = r#"exchange = { name = "later" }"#;
    let mut house = House::start(&server, keys);
    house.publish_plain(&["a"]);
    house.wait_error("the exchange \"later\": NOT_FOUND - no exchange 'later' in vhost '/'");
    let rabbit = Rabbit::connect(&server);
    rabbit.queue("later", &[]);
    rabbit.exchange("later", ExchangeKind::Fanout);
    // The first of them may find no queue bound yet: then it is among the dead letters.
    rabbit.bind("later", "later", "");
    wait_for(PATIENCE, || match house.counts().pending {
        0 => Ok(()),
        n => Err(format!("{n}: {}", house.last_error())),
    });
    // While it is in use it goes, and the server closes the channel.
    let path = "/api/exchanges/%2f/later";
    rabbit::manage(&server, "DELETE", path, &json!(null));
    house.publish_plain(&["b", "c"]);
    house.wait_error("NOT_FOUND - no exchange 'later' in vhost '/'");
    let before = house.counts().dead_lettered;
    rabbit.exchange("later", ExchangeKind::Fanout);
    rabbit.bind("later", "later", "");
    wait_for(PATIENCE, || match house.counts() {
        counts if counts.pending == 0 && counts.planned == 3 => Ok(()),
        counts => Err(format!("{counts}: {}", house.last_error())),
    });
    let came: BTreeSet<String> = ids(&rabbit.drain("later")).into_iter().collect();
    let buried = house.counts().dead_lettered;
    assert!(before <= 1 && buried <= 3);
    assert_eq!(came.len() as u64 + buried, 3, "{came:?}");
}

#[test]
fn what_is_there_in_another_way_is_told_in_the_servers_words() {
    let Some(server) = rabbit::shared("rabbitmq::refusals::in_another_way") else {
        return;
    };
    let rabbit = Rabbit::connect(&server);
    rabbit.queue("other", &[]);
    let keys = r#"queues = [{ name = "other", max_length = 5 }]"#;
    let mut house = House::start(&server, keys);
    house.publish_plain(&["other"]);
    house.wait_error("the queue \"other\": PRECONDITION_FAILED - inequivalent arg 'x-max-length'");
    wait_for(PATIENCE, || match house.lane()["state"].as_str() {
        Some("stopped") => Ok(()),
        state => Err(format!("it is {state:?}")),
    });
    rabbit::manage(&server, "DELETE", "/api/queues/%2f/other", &json!(null));
    house.wait_settled(0);
    assert_eq!(ids(&rabbit.drain("other")), ["other"]);
}

/// The server closes the channel, on which many others are unconfirmed.
#[test]
fn of_many_those_that_are_too_large_are_found() {
    let Some(server) = rabbit::shared("rabbitmq::refusals::of_many") else {
        return;
    };
    let mut house = House::start(&server, r#"queues = [{ name = "many" }]"#);
    let large = "x".repeat(MAX_MESSAGE_BYTES + 1);
    let line = |n: usize| {
        let data = if n % 20 == 7 { &*large } else { "small" };
        format!(
            "{}\n",
            json!({ "topic": "many", "id": format!("n-{n}"), "data": data })
        )
    };
    let lines: Vec<String> = (0..60).map(line).collect();
    house.publish_lines(&lines);
    house.wait_settled(3);
    let error = house.last_error();
    assert!(
        error.contains("PRECONDITION_FAILED - message size"),
        "{error}"
    );
    let came: BTreeSet<String> = ids(&Rabbit::connect(&server).drain("many"))
        .into_iter()
        .collect();
    assert_eq!(came.len(), 57);
    assert!(["n-7", "n-27", "n-47"].iter().all(|id| !came.contains(*id)));
}
