//! Promise 7: the first deliveries of a key come in the order of acceptance, whatever fails meanwhile.

use super::harness::{Cannot, Harness, Message, Mood, Taken};
use super::world::World;
use std::collections::{BTreeMap, BTreeSet};

const KEYS: usize = 5;
const ROUNDS: usize = 8;
const ROUND: usize = 50;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    world.start();
    let moods = [Mood::Fails, Mood::Gone, Mood::Hangs, Mood::Forgets];
    for round in 0..ROUNDS {
        // What a server can't be made to do is left out here: its own scenario says so.
        let upset = round % 2 == 1 && world.be(moods[round / 2 % moods.len()]).is_ok();
        let message = |n: usize| {
            let key = format!("k{}", n % KEYS);
            Message::new(&format!("round{round}"), n).keyed(&key)
        };
        let messages: Vec<Message> = (0..ROUND).map(message).collect();
        world.publish(&messages);
        if upset {
            world.wait_retry();
            world.be(Mood::Well)?;
        }
    }
    let took = world.account(0);
    assert_in_order(&took);
    Ok(())
}

/// By the numbers in their ids, among the first of each delivery.
fn assert_in_order(took: &[Taken]) {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for taken in took.iter().filter(|taken| seen.insert(taken.id.clone())) {
        let number = taken.id.strip_prefix("round").and_then(|rest| {
            let (round, n) = rest.split_once('-')?;
            Some((round.parse().ok()?, n.parse::<usize>().ok()?))
        });
        let number = number.unwrap_or_else(|| panic!("{taken:?}"));
        let before = last.insert(number.1 % KEYS, number);
        assert!(before < Some(number), "{number:?} after {before:?}");
    }
    assert_eq!(seen.len(), ROUNDS * ROUND);
}
