//! What no queue takes goes on to another destination: each message once, whatever is killed.

use super::house::{House, PATIENCE};
use crate::support::rabbit::{self, Rabbit, ids};
use crate::support::streams::stream_ids;
use crate::support::wait::{wait_for, wait_until};
use causeway_brokers::rabbitmq::Rabbitmq;
use serde_json::{Value, json};

const MESSAGES: usize = 3_000;
const KILLS: usize = 4;
/// What is in the stream at most when it is killed.
const PART: usize = 300;

fn settings(url: &str, alternate: &str) -> String {
    format!(
        "unroutable = \"{alternate}\"\nqueues = [{{ name = \"{url}\" }}]\n\n\
         [destinations.spill]\ntype = \"stream\"\n"
    )
}

fn start(server: &Rabbitmq, queue: &str) -> House {
    House::start(server, &settings(queue, "spill"))
}

fn letters(house: &House) -> u64 {
    house.lane()["dead_letters"].as_u64().unwrap_or_default()
}

fn wait_spilt(house: &House, count: usize) -> Vec<String> {
    wait_for(PATIENCE, || {
        let ids = stream_ids(&house.gateway, "spill");
        match ids.len() >= count && letters(house) == 0 {
            true => Ok(ids),
            false => Err(format!("{} of {count}, {} left", ids.len(), letters(house))),
        }
    })
}

#[test]
fn what_no_queue_takes_goes_on_through_kills() {
    let name = "rabbitmq::alternate::through_kills";
    let Some(server) = rabbit::shared(name) else {
        return;
    };
    let mut house = start(&server, "taken");
    let topic = |n: usize| match n % 3 {
        0 => "taken",
        _ => "nobodys",
    };
    let line = |n: usize| {
        let message = json!({ "topic": topic(n), "id": format!("m-{n:04}"), "data": n });
        format!("{message}\n")
    };
    let lines: Vec<String> = (0..MESSAGES).map(line).collect();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut in_the_middle = 0;
    for (nth, part) in lines.chunks(MESSAGES / KILLS).enumerate() {
        // Each other time it is killed as soon as all is acknowledged.
        let more = match nth % 2 {
            0 => 0,
            _ => rng.usize(1..PART),
        };
        let goal = stream_ids(&house.gateway, "spill").len() + more;
        house.publish_lines(part);
        wait_until(PATIENCE, "some went over", || {
            stream_ids(&house.gateway, "spill").len() >= goal
        });
        let published = house.published as usize * 2 / 3;
        in_the_middle += usize::from(stream_ids(&house.gateway, "spill").len() < published);
        house.gateway.kill();
        house.gateway.start().unwrap_or_else(|why| panic!("{why}"));
    }
    assert!(in_the_middle > 0, "no kill came in the middle");
    let of = |topic_of: &str| -> Vec<String> {
        let all = (0..MESSAGES).filter(|n| topic(*n) == topic_of);
        all.map(|n| format!("m-{n:04}")).collect()
    };
    let nobodys = of("nobodys");
    let mut spilt = wait_spilt(&house, nobodys.len());
    spilt.sort_unstable();
    assert!(
        spilt == nobodys,
        "each once: {} of {}",
        spilt.len(),
        nobodys.len()
    );
    let mut taken = ids(&Rabbit::connect(&server).drain("taken"));
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken, of("taken"));
    house
        .gateway
        .terminate(PATIENCE)
        .unwrap_or_else(|why| panic!("{why}"));
    let output = house.gateway.run(&["journal", "verify", "--json"]);
    let walk: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(walk["problems"], json!([]), "{walk:#}");
}

/// The other queue of the same server, by the alternate's own routing key.
#[test]
fn it_keeps_its_id_and_has_the_alternates_topic() {
    let Some(server) = rabbit::shared("rabbitmq::alternate::id_and_topic") else {
        return;
    };
    let url = server.ports().url();
    let keys = format!(
        "unroutable = \"rest\"\n\n[destinations.rest]\ntype = \"rabbitmq\"\nurl = \"{url}\"\n\
         topic = \"rest\"\nqueues = [{{ name = \"rest\" }}]\n"
    );
    let mut house = House::start(&server, &keys);
    let rabbit = Rabbit::connect(&server);
    rabbit.queue("rest", &[]);
    house.publish(&[("nobodys/a", "o-1", json!({"type": "pdf"}))]);
    let mut came = Vec::new();
    wait_until(PATIENCE, "it goes over", || {
        came.extend(rabbit.drain("rest"));
        !came.is_empty()
    });
    assert_eq!(ids(&came), ["o-1"]);
    assert_eq!(came[0].routing_key.as_str(), "rest");
    wait_until(PATIENCE, "no letter is left", || letters(&house) == 0);
}

/// Letters of before go over as well; and the alternate goes in two steps.
#[test]
fn it_can_come_and_go() {
    let Some(server) = rabbit::shared("rabbitmq::alternate::come_and_go") else {
        return;
    };
    let url = server.ports().url();
    let file = |more: &str| {
        format!(
            "[destinations.sink]\ntype = \"rabbitmq\"\nurl = \"{url}\"\n{more}\n\
             [[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [\"sink\"]\n"
        )
    };
    let spill = "[destinations.spill]\ntype = \"stream\"\n";
    let mut house = House::start(&server, "");
    house.publish_plain(&["nobodys/before"]);
    house.wait_settled(1);
    let reload = |house: &House, settings: &str| {
        house.gateway.configure(settings);
        let output = house.gateway.run(&["reload"]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    };
    let (is_taken, said) = reload(&house, &file(&format!("unroutable = \"spill\"\n{spill}")));
    assert!(is_taken, "{said}");
    house.publish_plain(&["nobodys/after"]);
    let mut spilt = wait_spilt(&house, 2);
    spilt.sort_unstable();
    assert_eq!(spilt, ["nobodys/after", "nobodys/before"]);

    let (is_taken, said) = reload(&house, &file(""));
    assert!(!is_taken, "{said}");
    let words = "\"spill\" can't go yet: what \"sink\" can't route goes there";
    assert!(said.contains(words), "{said}");
    let (is_taken, said) = reload(&house, &file(spill));
    assert!(is_taken, "{said}");
    // Until nothing is on its way there any more.
    wait_until(PATIENCE, "the alternate can go", || {
        reload(&house, &file("")).0
    });
    house.publish_plain(&["nobodys/last"]);
    wait_until(PATIENCE, "it stays in the dead letters", || {
        letters(&house) == 1
    });
}
