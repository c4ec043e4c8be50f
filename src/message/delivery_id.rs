//! The id that a delivery travels under, the same at every attempt (promise 5).
//!
//! What lives here: its making, pure. What must not: where a destination puts it.
//!
//! It is hashed from things that no publisher chooses: the fingerprint of an identity is itself a
//! hash under the journal's secret, a generated id is the journal's own, the names are the
//! operator's. So nobody can aim at another's id, and 128 bits keep chance away; a fixed key does.
//! The secret lasts as long as its journal, hence so do these ids; two gateways give two ids.

use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

const KEY: &[u8; 16] = b"causeway.deliver";

/// What makes a message this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// `Fingerprint::key`.
    Identity(u128),
    /// It came without an id and got this one.
    Generated(&'a str),
}

/// 32 lower-case hexadecimal digits: legal wherever an id of up to 128 characters is.
///
/// `nth` tells apart targets of one plan with the same route and destination
/// (`Plan::nth_of_its_kind`). It isn't the ordinal, which shifts as soon as an unrelated route
/// matches too.
#[must_use]
pub fn delivery_id(origin: Origin, route: &str, destination: &str, nth: u16) -> String {
    let mut hasher = SipHasher24::new_with_key(KEY);
    match origin {
        Origin::Identity(key) => {
            hasher.write(&[0]);
            hasher.write(&key.to_le_bytes());
        }
        Origin::Generated(id) => {
            hasher.write(&[1]);
            write_part(&mut hasher, id);
        }
    }
    write_part(&mut hasher, route);
    write_part(&mut hasher, destination);
    hasher.write(&nth.to_le_bytes());
    hexadecimal(hasher.finish128().as_u128())
}

/// Once a delivery: formatting would take several times as long.
fn hexadecimal(number: u128) -> String {
    let digit = |nibble| char::from_digit(nibble, 16).expect("it is less than 16");
    let nibbles = (0..32)
        .rev()
        .map(|place| (number >> (4 * place)) as u32 & 0xf);
    nibbles.map(digit).collect()
}

/// With its length in front, so that parts never run into each other.
fn write_part(hasher: &mut SipHasher24, part: &str) {
    hasher.write(&(part.len() as u64).to_le_bytes());
    hasher.write(part.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_part_counts() {
        let origins = [
            Origin::Identity(0),
            Origin::Identity(1),
            Origin::Identity(1 << 64),
            Origin::Generated(""),
            Origin::Generated("a"),
            Origin::Generated("ab"),
        ];
        let names = ["", "a", "b", "ab", "a\0b"];
        let mut ids = HashSet::new();
        let mut made = 0;
        for origin in origins {
            for route in names {
                for destination in names {
                    for nth in [0, 1, 256] {
                        let id = delivery_id(origin, route, destination, nth);
                        assert_eq!(id.len(), 32);
                        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
                        ids.insert(id);
                        made += 1;
                    }
                }
            }
        }
        assert_eq!(ids.len(), made);
    }

    /// Guards it: consumers out there drop doubles by these ids.
    #[test]
    fn the_ids_are_as_checked_in() {
        let id = delivery_id(Origin::Identity(7), "orders", "inbox", 0);
        assert_eq!(id, "5b4f419d284e3d379d6c850831ef9d76");
        let id = delivery_id(Origin::Generated("0a1b2c3d-1-7"), "orders", "inbox", 1);
        assert_eq!(id, "5b5692368f9fe93906a6ed45b31bf007");
    }
}
