//! An event's id as a message's: made of its source and id, which name it together.

use crate::message::MAX_ID_BYTES;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

const KEY: &[u8; 16] = b"causeway.cevents";

/// The source, a space and the id: a source has no space in it, so no two events share it. If that is
/// longer than an id may be: `ce:` and 32 hexadecimal digits hashed of both, which have no space in them.
///
/// The key of the hash is no secret. Who finds two events with one hash gains nothing: whoever may publish to a
/// topic may use any id there.
#[must_use]
pub fn message_id(source: &str, id: &str) -> String {
    if source.len() + 1 + id.len() <= MAX_ID_BYTES {
        return format!("{source} {id}");
    }
    let mut hasher = SipHasher24::new_with_key(KEY);
    for part in [source, id] {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part.as_bytes());
    }
    format!("ce:{:032x}", hasher.finish128().as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_and_id_are_told_apart_at_any_length() {
        assert_eq!(message_id("/a", "b c"), "/a b c");
        let longest = "i".repeat(MAX_ID_BYTES - 3);
        assert_eq!(message_id("/a", &longest), format!("/a {longest}"));
        let long = "i".repeat(MAX_ID_BYTES);
        let hashed = message_id("/a", &long);
        assert_eq!(hashed.len(), 35);
        assert!(
            hashed.starts_with("ce:") && !hashed.contains(' '),
            "{hashed}"
        );
        assert_ne!(hashed, message_id("/ai", &long[1..]));
        assert_ne!(hashed, message_id("/b", &long));
        assert_ne!(hashed, message_id(&long, "/a"));
    }

    /// Guards it: the window and consumers drop doubles by these ids.
    #[test]
    fn the_ids_are_as_checked_in() {
        let id = message_id("https://example.com/a", &"x".repeat(300));
        assert_eq!(id, "ce:c29fac49833f87997ce80f1437a668fc");
    }
}
