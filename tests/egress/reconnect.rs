//! The server goes away and comes back: the lane finds it again by itself, and nothing is lost.

use super::harness::{Cannot, Harness, Message, Mood};
use super::world::World;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    world.start();
    let mut n = 0;
    for _ in 0..3 {
        let mut next = || {
            n += 1;
            Message::new("anew", n).keyed(&format!("k{}", n % 4))
        };
        let (here, gone): (Vec<_>, Vec<_>) = (0..20).map(|i| (i < 10, next())).partition(|m| m.0);
        let messages = |some: Vec<(bool, Message)>| some.into_iter().map(|m| m.1);
        world.publish(&messages(here).collect::<Vec<_>>());
        world.wait_settled();
        world.be(Mood::Gone)?;
        world.publish(&messages(gone).collect::<Vec<_>>());
        world.wait_retry();
        // It looks for the server by itself: nobody has to resume it.
        let state = world.lane()["state"].clone();
        let tries = ["running", "open", "half_open"];
        assert!(tries.iter().any(|s| state == *s), "{state}");
        world.be(Mood::Well)?;
        world.wait_settled();
    }
    world.account(0);
    Ok(())
}
