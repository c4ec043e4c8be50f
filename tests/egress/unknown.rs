//! An answer that is lost leaves the delivery in doubt: it is sent again, under the same delivery id.

use super::harness::{Cannot, Harness, Message, Mood};
use super::world::{PATIENCE, World};
use crate::support::wait::wait_for;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    world.be(Mood::Forgets)?;
    world.start();
    let message = Message::new("doubt", 0).keyed("k");
    world.publish(std::slice::from_ref(&message));
    wait_for(PATIENCE, || match world.took().len() {
        2.. => Ok(()),
        n => Err(format!("taken {n} times")),
    });
    assert_eq!(world.state(&message), "stored", "nobody confirmed it");
    world.be(Mood::Well)?;
    let took = world.account(0);
    assert!(took.len() >= 2, "{took:?}");
    Ok(())
}
