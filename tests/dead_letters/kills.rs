//! Killed in the middle of a redrive: nothing is lost, no letter is redriven twice, and the same order
//! goes on.

use super::house::{House, settings};
use crate::support::wait::wait_until;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

const LETTERS: u64 = 4000;

#[test]
fn a_redrive_that_is_killed_goes_on_where_it_was() {
    let mut house = House::start(&settings("reject", ""));
    house.publish("orders/new", LETTERS, 20);
    house.wait_letters("shop", LETTERS);
    house.tell(&settings("confirm", ""));
    let mut rng = fastrand::Rng::with_seed(7);
    let mut kills = 0;
    for part in 1..=4 {
        let (status, redrive) =
            house.post("/api/v1/dead-letters/shop/redrive", &json!({"all": true}));
        assert_eq!(status, 202, "{redrive:#}");
        let path = format!("/api/v1/redrives/{}", redrive["id"].as_str().expect("text"));
        let goal = LETTERS / 10 * part / 4 + rng.u64(..200);
        wait_until(Duration::from_secs(60), "some are redriven", || {
            let now = house.get(&path);
            now["redriven"].as_u64() >= Some(goal) || now["state"] != "running"
        });
        if house.get(&path)["state"] == "running" {
            kills += 1;
        }
        house.gateway.kill();
        house.gateway.start().unwrap_or_else(|why| panic!("{why}"));
    }
    assert!(kills >= 2, "only {kills} of the kills came in the middle");
    let rest = house.done(&["redrive", "shop", "--all"]);
    assert_eq!(rest["kept"], 0, "{rest:#}");
    house.wait_idle("shop");
    assert_eq!(house.offsets("shop"), Vec::<u64>::new());

    // Each letter was accepted once more, and no more than once: at one position each. A kill may have
    // it delivered there again, under the same id.
    let received = house.received();
    let positions: BTreeSet<u64> = received.iter().map(|got| got.position).collect();
    let ids: BTreeSet<&str> = received.iter().map(|got| &*got.id).collect();
    assert_eq!(ids.len() as u64, LETTERS, "some are lost");
    assert_eq!(positions.len() as u64, LETTERS, "some were redriven twice");
    let lane = house.lane("shop");
    assert_eq!(
        (&lane["planned"], &lane["delivered"], &lane["dead_lettered"]),
        (&json!(2 * LETTERS), &json!(LETTERS), &json!(LETTERS)),
        "{lane:#}"
    );
    house.verify();
}
