//! What the server confirmed is settled as delivered: once, whole, in order; and a publisher who waits for that
//! is told.

use super::harness::{Cannot, Harness, Message};
use super::world::World;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    world.start();
    let message = |n| {
        Message::new("plain", n)
            .keyed("k")
            .header("type", b"pdf")
            .header("x-two", b"2")
    };
    let messages: Vec<Message> = (0..20).map(message).collect();
    world.publish(&messages);
    let mut bare = Message::new("bare", 0);
    bare.content_type = None;
    world.publish(&[bare]);

    let awaited = Message::new("awaited", 0).awaited();
    let answers = world.try_publish(std::slice::from_ref(&awaited));
    assert_eq!(answers[0]["status"], 200, "{}", answers[0]);
    assert_eq!(answers[0]["state"], "delivered", "{}", answers[0]);
    world.owe(&awaited);

    let took = world.account(0);
    assert_eq!(took.len(), 22, "each once: {took:?}");
    let plain = took.iter().filter(|taken| taken.id.starts_with("plain"));
    let expected = messages.iter().map(|message| message.id.as_str());
    assert!(plain.map(|taken| &*taken.id).eq(expected), "{took:?}");
    assert_eq!(world.state(&messages[0]), "delivered");
    Ok(())
}
