//! What the dedup window knows an envelope by.
//!
//! What lives here: the hashing of an identity in its scope, and of what an envelope says. What
//! must not: which scope an identity has (the door knows), what follows from a conflict.
//!
//! Both hashes are keyed with a secret of the journal, so that no publisher can make his id
//! collide with another's. The secret must be as durable as the journal: its ids and the delivery
//! ids made of them (`message::delivery_id`) mean nothing under another one. Two gateways needn't
//! share it.

use crate::message::Envelope;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::fmt;
use std::hash::Hasher as _;
use xxhash_rust::xxh3::xxh3_64_with_seed;

#[derive(Clone, Copy)]
pub struct Hasher {
    secret: [u8; 16],
    content_seed: u64,
}

/// The secret stays out of logs.
impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// The parts of an identity. A part that isn't in its scope is `None`, which differs from an
/// empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    pub principal: Option<&'a str>,
    pub topic: Option<&'a str>,
    pub id: &'a str,
}

impl Hasher {
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        let content_seed = SipHasher24::new_with_key(&secret)
            .hash(b"seed of the content hash")
            .h1;
        Self {
            secret,
            content_seed,
        }
    }

    /// The key of an identity: SipHash-2-4-128 over its parts, each with its length in front, so
    /// that parts which only read the same when strung together still differ.
    #[must_use]
    pub fn fingerprint(&self, identity: Identity) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        for part in [identity.principal, identity.topic, Some(identity.id)] {
            match part {
                None => hasher.write(&[0]),
                Some(text) => {
                    hasher.write(&[1]);
                    hasher.write(&(text.len() as u64).to_le_bytes());
                    hasher.write(text.as_bytes());
                }
            }
        }
        hasher.finish128().as_u128()
    }

    /// What must be equal in two envelopes of one identity: payload, key and content type, where
    /// one that isn't there differs from an empty one.
    #[must_use]
    pub fn content(&self, envelope: &Envelope) -> u64 {
        let parts = [
            envelope.payload.as_deref().ok(),
            envelope.key.as_deref(),
            envelope.content_type.as_deref().map(str::as_bytes),
        ];
        // One hash a part and one over them: nothing is copied, and the places keep them apart.
        let mut whole = [0; 4 * 8];
        for (i, part) in parts.iter().enumerate() {
            if let Some(bytes) = part {
                let hash = xxh3_64_with_seed(bytes, self.content_seed);
                whole[8 * i..8 * (i + 1)].copy_from_slice(&hash.to_le_bytes());
                whole[24 + i] = 1;
            }
        }
        xxh3_64_with_seed(&whole, self.content_seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Header, MessageId, Tombstone};
    use bytes::Bytes;
    use std::collections::HashSet;

    fn identity<'a>(
        principal: Option<&'a str>,
        topic: Option<&'a str>,
        id: &'a str,
    ) -> Identity<'a> {
        Identity {
            principal,
            topic,
            id,
        }
    }

    fn envelope() -> Envelope {
        Envelope {
            principal: "p".into(),
            source: "http".into(),
            topic: "t".to_owned(),
            id: MessageId::Publisher("1".to_owned()),
            key: None,
            headers: vec![],
            content_type: None,
            payload: Ok(Bytes::from_static(b"data")),
            priority: None,
            deliver_at: None,
            expires_at: None,
            extensions: vec![],
        }
    }

    #[test]
    fn identities_that_read_the_same_strung_together_differ() {
        let hasher = Hasher::new([7; 16]);
        let parts = [
            None,
            Some(""),
            Some("a"),
            Some("b"),
            Some("ab"),
            Some("a\0b"),
        ];
        let mut seen = HashSet::new();
        let mut made = 0;
        for principal in parts {
            for topic in parts {
                for id in parts.into_iter().flatten() {
                    seen.insert(hasher.fingerprint(identity(principal, topic, id)));
                    made += 1;
                }
            }
        }
        assert_eq!(seen.len(), made);
    }

    #[test]
    fn the_secret_counts() {
        let (a, b) = (Hasher::new([0; 16]), Hasher::new([1; 16]));
        let same = identity(Some("p"), Some("t"), "1");
        assert_ne!(a.fingerprint(same), b.fingerprint(same));
        assert_ne!(a.content(&envelope()), b.content(&envelope()));
        assert_eq!(a.fingerprint(same), Hasher::new([0; 16]).fingerprint(same));
        assert_eq!(format!("{a:?}"), "Hasher");
    }

    #[test]
    fn content_is_payload_key_and_content_type() {
        let hasher = Hasher::new([7; 16]);
        let with = |change: fn(&mut Envelope)| {
            let mut changed = envelope();
            change(&mut changed);
            hasher.content(&changed)
        };
        let different = [
            with(|_| ()),
            with(|e| e.payload = Err(Tombstone)),
            with(|e| e.payload = Ok(Bytes::new())),
            with(|e| e.payload = Ok(Bytes::from_static(b"Data"))),
            with(|e| e.key = Some(Bytes::new())),
            with(|e| e.key = Some(Bytes::from_static(b"data"))),
            with(|e| e.content_type = Some(String::new())),
            with(|e| e.content_type = Some("data".to_owned())),
        ];
        assert_eq!(HashSet::from(different).len(), different.len());

        let same = with(|e| {
            e.principal = "q".into();
            e.topic = "u".to_owned();
            e.priority = Some(1);
            e.headers.push(Header {
                name: "a".to_owned(),
                value: Bytes::new(),
            });
        });
        assert_eq!(same, different[0]);
    }

    /// Guards both hashes: the keys in the journals that are out there were made by them.
    #[test]
    fn the_hashes_are_as_checked_in() {
        let hasher = Hasher::new(*b"0123456789abcdef");
        let key = hasher.fingerprint(identity(Some("anonymous"), Some("orders/7"), "o-7"));
        assert_eq!(key, 0xcbd4_df3d_c4a3_0dc5_dcc7_656c_8e8e_25cc);
        assert_eq!(hasher.content(&envelope()), 0xe54d_3f52_c5f6_1e43);
    }
}
