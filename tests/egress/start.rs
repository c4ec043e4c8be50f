//! A server that is gone at the gateway's start stops nobody; when it comes it gets everything.

use super::harness::{Cannot, Harness, Message, Mood};
use super::world::World;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    world.be(Mood::Gone)?;
    world.start();
    let messages: Vec<Message> = (0..10)
        .map(|n| Message::new("early", n).keyed("k"))
        .collect();
    world.publish(&messages);
    world.wait_retry();
    world.be(Mood::Well)?;
    let took = world.account(0);
    let expected = messages.iter().map(|message| message.id.as_str());
    let mut seen = std::collections::BTreeSet::new();
    let firsts = took.iter().filter(|taken| seen.insert(taken.id.as_str()));
    assert!(firsts.map(|taken| &*taken.id).eq(expected), "{took:?}");
    Ok(())
}
