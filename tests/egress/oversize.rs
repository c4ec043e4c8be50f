//! What is too large for the server is refused at the door or dead-lettered, and holds nothing up.

use super::harness::{Cannot, Harness, Message};
use super::world::World;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    let large = world
        .harness
        .oversize(Message::new("large", 0).keyed("k"))?;
    world.start();
    let answers = world.try_publish(std::slice::from_ref(&large));
    let is_taken = matches!(answers[0]["status"].as_u64(), Some(200 | 202));
    let after = Message::new("after", 0).keyed("k");
    world.publish(std::slice::from_ref(&after));
    world.wait_state(&after, "delivered");
    if is_taken {
        world.owe(&large);
        world.wait_state(&large, "dead_lettered");
    } else {
        assert_eq!(answers[0]["status"], 413, "{}", answers[0]);
    }
    world.account(u64::from(is_taken));
    Ok(())
}
