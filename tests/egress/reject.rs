//! What the server refuses for good goes to the dead letters with its own words, and its key goes on.

use super::harness::{Cannot, Harness, Message};
use super::world::World;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    let (bad, words) = world.harness.poison(Message::new("bad", 0).keyed("k"))?;
    world.start();
    let before = Message::new("before", 0).keyed("k");
    let after = Message::new("after", 0).keyed("k");
    world.publish(&[before, bad.clone(), after.clone()]);
    world.wait_state(&bad, "dead_lettered");
    world.wait_state(&after, "delivered");
    world.wait_error(words);
    let took = world.account(1);
    assert!(took.iter().all(|taken| taken.id != bad.id), "{took:?}");
    Ok(())
}
