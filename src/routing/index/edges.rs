//! One table for all steps of a trie, (from, text) → to, built once. A text of up to 22 bytes
//! stands in its slot: a look-up among tens of thousands touches one line of memory.

use hashbrown::{DefaultHashBuilder, HashMap};
use std::hash::BuildHasher;

const SHORT_BYTES: usize = 22;
/// At most every second slot is taken, so that runs of taken ones stay short.
const SLOTS_PER_EDGE: usize = 2;
const MIN_SLOTS: usize = 2;

#[derive(Clone, Debug)]
pub(super) struct Edges {
    /// A power of two; a text is in the first free slot from where its hash points to.
    slots: Vec<Slot>,
    hasher: DefaultHashBuilder,
}

/// Half a line of memory, and never across two.
#[derive(Clone, Debug)]
#[repr(align(32))]
struct Slot {
    from: u32,
    to: u32,
    /// `None`: the slot is free.
    text: Option<Text>,
}

#[derive(Clone, Debug)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT_BYTES] },
    Long(Box<[u8]>),
}

/// The hash of a text, to look for it in several places.
#[derive(Clone, Copy)]
pub(super) struct Hashed<'a> {
    text: &'a [u8],
    hash: u64,
}

impl Text {
    fn new(text: &[u8]) -> Self {
        if text.len() > SHORT_BYTES {
            return Self::Long(text.into());
        }
        let mut bytes = [0; SHORT_BYTES];
        bytes[..text.len()].copy_from_slice(text);
        Self::Short {
            len: text.len() as u8,
            bytes,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl Edges {
    pub(super) fn hashed<'a>(&self, text: &'a [u8]) -> Hashed<'a> {
        let hash = self.hasher.hash_one(text);
        Hashed { text, hash }
    }

    pub(super) fn find(&self, from: u32, hashed: Hashed<'_>) -> Option<u32> {
        let mut at = self.first(from, hashed.hash);
        loop {
            let slot = &self.slots[at];
            let text = slot.text.as_ref()?;
            if slot.from == from && text.bytes() == hashed.text {
                return Some(slot.to);
            }
            at = (at + 1) % self.slots.len();
        }
    }

    pub(super) fn get(&self, from: u32, text: &[u8]) -> Option<u32> {
        self.find(from, self.hashed(text))
    }

    fn first(&self, from: u32, hash: u64) -> usize {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (hash ^ u64::from(from).wrapping_mul(ODD)).wrapping_mul(ODD);
        (mixed >> 32) as usize % self.slots.len()
    }
}

/// The table in the making.
#[derive(Debug, Default)]
pub(super) struct Building(HashMap<(u32, Box<[u8]>), u32>);

impl Building {
    /// Where a step leads; to `fresh` if it is a new one.
    pub(super) fn step(&mut self, from: u32, text: &[u8], fresh: u32) -> u32 {
        *self.0.entry((from, text.into())).or_insert(fresh)
    }

    pub(super) fn build(self) -> Edges {
        let free = Slot {
            from: 0,
            to: 0,
            text: None,
        };
        let slots = (self.0.len() * SLOTS_PER_EDGE).next_power_of_two();
        let mut edges = Edges {
            slots: vec![free; slots.max(MIN_SLOTS)],
            hasher: DefaultHashBuilder::default(),
        };
        for ((from, text), to) in self.0 {
            let mut at = edges.first(from, edges.hashed(&text).hash);
            while edges.slots[at].text.is_some() {
                at = (at + 1) % edges.slots.len();
            }
            edges.slots[at] = Slot {
                from,
                to,
                text: Some(Text::new(&text)),
            };
        }
        edges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_and_no_other() {
        let mut building = Building::default();
        let text = |n: u32| "é".repeat(n as usize % 30) + &n.to_string();
        for n in 0..3_000 {
            assert_eq!(building.step(n % 7, text(n).as_bytes(), n), n);
        }
        assert_eq!(building.step(1, text(1).as_bytes(), 5_000), 1);
        let edges = building.build();
        for n in 0..3_000 {
            assert_eq!(edges.get(n % 7, text(n).as_bytes()), Some(n));
            assert_eq!(edges.get((n + 1) % 7, text(n).as_bytes()), None);
        }
        assert_eq!(edges.get(0, b""), None);
        assert_eq!(Building::default().build().get(0, b""), None);
    }

    #[test]
    fn a_slot_is_half_a_line() {
        assert_eq!(size_of::<Slot>(), 32);
    }
}
