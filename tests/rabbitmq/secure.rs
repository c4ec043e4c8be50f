//! TLS with a certificate of our own, and several servers.

use super::house::House;
use crate::support::rabbit::{self, Rabbit, ids};
use causeway_brokers::rabbitmq::USER;

#[test]
fn over_tls_and_past_a_server_that_isnt_there() {
    let Some(server) = rabbit::shared("rabbitmq::secure::over_tls") else {
        return;
    };
    let (user, password) = USER;
    let address = server.ports().amqps();
    let tls = server.tls();
    let path = |path: &std::path::Path| path.display().to_string();
    // Nobody listens on port 1.
    let urls = format!("[\"amqps://127.0.0.1:1/%2f\", \"amqps://{address}/%2f\"]");
    let mut house = House::start_at(
        &urls,
        &format!(
            "username = \"{user}\"\npassword = \"{password}\"\n\
             tls = {{ ca = \"{}\", cert = \"{}\", key = \"{}\", server_name = \"localhost\" }}\n\
             queues = [{{ name = \"secret\" }}]",
            path(&tls.ca()),
            path(&tls.client_certificate()),
            path(&tls.client_key()),
        ),
    );
    house.publish_plain(&["secret"]);
    house.wait_settled(0);
    let rabbit = Rabbit::connect(&server);
    assert_eq!(ids(&rabbit.drain("secret")), ["secret"]);
}

#[test]
fn a_server_that_nobody_vouches_for_gets_nothing() {
    let Some(server) = rabbit::shared("rabbitmq::secure::nobody_vouches") else {
        return;
    };
    let (user, password) = USER;
    let address = server.ports().amqps();
    // One that signs nothing but itself.
    let other = server.tls().client_certificate();
    let mut house = House::start_at(
        &format!("\"amqps://{user}:{password}@{address}/%2f\""),
        &format!(
            "tls = {{ ca = \"{}\" }}\nqueues = [{{ name = \"never\" }}]",
            other.display()
        ),
    );
    house.publish_plain(&["never"]);
    house.wait_error("no TLS with");
    let error = house.last_error();
    assert!(!error.contains(password), "{error}");
}
