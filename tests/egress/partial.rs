//! Of many that are sent together some are refused: exactly those go to the dead letters.

use super::harness::{Cannot, Harness, Message};
use super::world::World;

const MESSAGES: usize = 200;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    let (mut messages, mut bad) = (Vec::new(), Vec::new());
    for n in 0..MESSAGES {
        let message = Message::new("some", n);
        let message = match n % 4 {
            0 => message,
            _ => message.keyed(&format!("k{}", n % 7)),
        };
        if n % 10 == 3 {
            let (message, _) = world.harness.poison(message)?;
            bad.push(message.id.clone());
            messages.push(message);
        } else {
            messages.push(message);
        }
    }
    world.start();
    world.publish(&messages);
    let took = world.account(bad.len() as u64);
    assert!(
        took.iter().all(|taken| !bad.contains(&taken.id)),
        "{took:?}"
    );
    assert_eq!(took.len(), MESSAGES - bad.len(), "each once");
    Ok(())
}
