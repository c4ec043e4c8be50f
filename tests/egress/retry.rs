//! What may pass is tried again until it does, and nothing is delivered meanwhile.

use super::harness::{Cannot, Harness, Message, Mood};
use super::world::World;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    world.be(Mood::Fails)?;
    world.start();
    let messages: Vec<Message> = (0..10)
        .map(|n| Message::new("again", n).keyed(&format!("k{}", n % 3)))
        .collect();
    world.publish(&messages);
    world.wait_retry();
    assert_eq!(world.counts().delivered, 0);
    assert_eq!(world.counts().pending, 10);
    world.be(Mood::Well)?;
    world.account(0);
    Ok(())
}
