//! TLS with a certificate of our own, and several servers.

use super::house::House;
use crate::support::brokers::done;
use crate::support::rabbit::{self, Rabbit, ids};
use causeway_brokers::rabbitmq::USER;
use std::net::TcpListener;

#[test]
fn over_tls_and_past_servers_that_arent_there() {
    let Some(server) = rabbit::shared("rabbitmq::secure::over_tls") else {
        return;
    };
    let (user, password) = USER;
    let address = server.ports().amqps();
    let tls = server.tls();
    let path = |path: &std::path::Path| path.display().to_string();
    // Nobody listens on port 1, and this one says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let urls = format!(
        "[\"amqps://127.0.0.1:1/%2f\", \"amqps://127.0.0.1:{port}/%2f\", \"amqps://{address}/%2f\"]"
    );
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

#[test]
fn the_certificate_is_the_login() {
    let Some(server) = rabbit::shared("rabbitmq::secure::the_certificate_is_the_login") else {
        return;
    };
    let address = server.ports().amqps();
    let url = format!("\"amqps://{address}/%2f?auth_mechanism=external\"");
    let tls = server.tls();
    let ca = format!("ca = \"{}\"", tls.ca().display());
    let queue = "queues = [{ name = \"certified\" }]";
    let mut nobody = House::start_at(&url, &format!("tls = {{ {ca} }}\n{queue}"));
    nobody.publish_plain(&["certified"]);
    nobody.wait_error("ACCESS_REFUSED");
    let own = format!(
        "cert = \"{}\", key = \"{}\"",
        tls.client_certificate().display(),
        tls.client_key().display()
    );
    let mut house = House::start_at(&url, &format!("tls = {{ {ca}, {own} }}\n{queue}"));
    house.publish_plain(&["certified"]);
    house.wait_settled(0);
    let users = done(server.ctl(&["list_connections", "-q", "user", "ssl"]));
    let is_ours = |line: &str| line.contains("CN=causeway-client") && line.contains("true");
    assert!(users.lines().any(is_ours), "{users}");
    let came = ids(&Rabbit::connect(&server).drain("certified"));
    assert_eq!(came, ["certified"], "of the one with a certificate alone");
}
