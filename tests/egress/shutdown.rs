//! The gateway ends, in order or killed, while deliveries are in flight: nothing is lost.

use super::harness::{Cannot, Harness, Message, Mood};
use super::world::{PATIENCE, World};
use std::time::Duration;

/// Beyond `drain_timeout` and one attempt.
const END_LIMIT: Duration = Duration::from_secs(60);

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    // What can't be made to hang may have delivered some by then: that is no matter.
    let hangs = world.be(Mood::Hangs).is_ok();
    world
        .gateway
        .variable("CAUSEWAY__GATEWAY__DRAIN_TIMEOUT", "2s");
    world.start();
    let message = |part: &str, n: usize| Message::new(part, n).keyed(&format!("k{}", n % 9));
    let first: Vec<Message> = (0..100).map(|n| message("term", n)).collect();
    world.publish(&first);
    world
        .gateway
        .terminate(END_LIMIT)
        .expect("it ends in order");
    world.start();
    let second: Vec<Message> = (0..100).map(|n| message("kill", n)).collect();
    world.publish(&second);
    world.gateway.kill();
    if hangs {
        world.be(Mood::Well)?;
    }
    world.start();
    let third: Vec<Message> = (0..100).map(|n| message("busy", n)).collect();
    world.publish(&third);
    // Some of these may be in flight.
    world
        .gateway
        .terminate(END_LIMIT)
        .expect("it ends in order");
    world.gateway.spawn();
    world.gateway.wait_ready(PATIENCE).expect("it starts again");
    world.account(0);
    Ok(())
}
