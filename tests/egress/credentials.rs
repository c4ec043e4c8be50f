//! Wrong credentials: nothing is lost, and the reason is shown; with the right ones it goes on.

use super::harness::{Cannot, Harness, LockedOut, Message, Mood};
use super::world::World;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    world.be(Mood::Locked)?;
    world.start();
    let locked = Message::new("locked", 0).keyed("k");
    world.publish(std::slice::from_ref(&locked));
    let dead_letters = match world.harness.locked_out() {
        LockedOut::Held => {
            world.wait_tried_again();
            world.wait_stopped();
            0
        }
        LockedOut::Rejected => {
            world.wait_state(&locked, "dead_lettered");
            1
        }
    };
    world.wait_error("");
    let shown = world.gateway.log_tail() + &world.lane().to_string();
    assert!(!shown.contains("hunter2"), "a secret is shown: {shown}");
    world.be(Mood::Well)?;
    world.publish(&[Message::new("free", 0).keyed("k")]);
    world.account(dead_letters);
    Ok(())
}
