//! A server of the test's own that is stopped, starved, frozen and killed under load: nothing is lost.

use super::house::{House, PATIENCE};
use crate::support::brokers::{Own, done, own_rabbitmq};
use crate::support::rabbit::{Rabbit, ids};
use crate::support::wait::wait_for;
use causeway_brokers::rabbitmq::Rabbitmq;
use serde_json::json;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

const ROUND: usize = 40;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(20);
/// How long each trouble lasts.
const TROUBLE: Duration = Duration::from_secs(4);

/// Publishes for a while; each has an id of its own.
fn load(house: &mut House, name: &str, duration: Duration) {
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < duration {
        let ids: Vec<String> = (n..n + ROUND).map(|n| format!("{name}-{n}")).collect();
        let messages: Vec<_> = ids.iter().map(|id| ("work", &**id, json!({}))).collect();
        house.publish(&messages);
        n += ROUND;
        thread::sleep(BETWEEN_ROUNDS);
    }
}

fn wait_all(house: &House) {
    wait_for(PATIENCE, || match house.counts() {
        counts if counts.pending == 0 && counts.planned == house.published => Ok(()),
        counts => Err(format!("{counts}: {}", house.last_error())),
    });
}

#[test]
fn stopped_starved_frozen_and_killed_it_loses_nothing() {
    let test = "rabbitmq::trouble::stopped_starved_frozen_and_killed_it_loses_nothing";
    let Some(mut server) = own_rabbitmq(test) else {
        return;
    };
    let mut house = House::start(&server, r#"queues = [{ name = "work" }]"#);
    // It takes frames of any size: a client that made room for 32 of them would have none for itself.
    let frames = |max| format!("application:set_env(rabbit, frame_max, {max}), ok.");
    done(server.ctl(&["eval", &frames(0)]));
    load(&mut house, "before", Duration::from_secs(1));
    wait_all(&house);
    done(server.ctl(&["eval", &frames(128 << 10)]));

    let before = connections(&server);
    thread::scope(|scope| {
        scope.spawn(|| done(server.ctl(&["close_all_connections", "--vhost", "/", "go away"])));
        load(&mut house, "closed", TROUBLE);
    });
    wait_all(&house);
    let after = connections(&server);
    assert!(!after.is_empty() && before.is_disjoint(&after), "{after:?}");

    done(server.ctl(&["stop_app"]));
    load(&mut house, "stopped", TROUBLE);
    house.wait_error("no connection to");
    done(server.ctl(&["start_app"]));
    wait_all(&house);

    // 0: all memory is too much.
    done(server.ctl(&["set_vm_memory_high_watermark", "0"]));
    load(&mut house, "starved", TROUBLE);
    house.wait_error("connection.blocked");
    let held = house.counts();
    assert!(held.pending > 0, "{held}");
    done(server.ctl(&["set_vm_memory_high_watermark", "0.4"]));
    wait_all(&house);

    done(server.freeze());
    load(&mut house, "frozen", TROUBLE);
    house.wait_error("no confirm within");
    done(server.resume());
    wait_all(&house);

    server.kill();
    load(&mut house, "killed", TROUBLE);
    done(server.start());
    wait_all(&house);
    assert_all_came(&house, &server);
}

/// Their clients' addresses.
fn connections(server: &Rabbitmq) -> BTreeSet<String> {
    let all = done(server.ctl(&["list_connections", "-q", "name"]));
    let named = all.lines().filter(|line| line.contains("->"));
    named.map(str::to_owned).collect()
}

fn assert_all_came(house: &House, server: &Own<Rabbitmq>) {
    house.wait_settled(0);
    let came = ids(&Rabbit::connect(server).drain("work"));
    let distinct: BTreeSet<&String> = came.iter().collect();
    assert_eq!(distinct.len() as u64, house.published, "lost");
    eprintln!(
        "{} messages, {} doubles",
        distinct.len(),
        came.len() - distinct.len()
    );
}
