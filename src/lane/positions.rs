//! A set of waiting deliveries that knows about how much memory it takes.

use crate::message::{DeliveryId, DeliverySet};

/// A bitmap's blocks hold this many positions: 2^16.
const BLOCK_SHIFT: u32 = 16;
/// From this many positions on a block is a plain bitmap of 8 KiB.
const DENSE: u64 = 4096;
/// Upper estimates of what the allocator gives for an empty set's maps, for a block, and for one
/// position of a sparse block.
const SET_BYTES: u64 = 640;
const BLOCK_BYTES: u64 = 96;
const POSITION_BYTES: u64 = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Positions {
    set: DeliverySet,
    cost_bytes: u64,
    len: u64,
    /// (block, positions in it) of the last insertion: most insertions go to the same block.
    last: Option<(u64, u64)>,
}

impl Positions {
    /// False if it was there.
    pub fn insert(&mut self, at: DeliveryId) -> bool {
        let block = at.position.0 >> BLOCK_SHIFT;
        let before = self.count_in(block);
        if !self.set.insert(at) {
            return false;
        }
        if self.len == 0 {
            self.cost_bytes += SET_BYTES;
        }
        self.len += 1;
        self.cost_bytes += block_cost(before + 1) - block_cost(before);
        self.last = Some((block, before + 1));
        true
    }

    /// False if it wasn't there.
    pub fn remove(&mut self, at: DeliveryId) -> bool {
        if !self.set.remove(at) {
            return false;
        }
        let block = at.position.0 >> BLOCK_SHIFT;
        if let Some((last, count)) = &mut self.last
            && *last == block
        {
            *count -= 1;
        }
        let after = self.count_in(block);
        self.len -= 1;
        self.cost_bytes -= block_cost(after + 1) - block_cost(after);
        if self.len == 0 {
            *self = Self::default();
        }
        true
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn cost_bytes(&self) -> u64 {
        self.cost_bytes
    }

    /// The `max` least.
    pub fn page(&self, max: usize) -> Vec<DeliveryId> {
        self.set.page_from(DeliveryId::default(), max)
    }

    pub fn iter(&self) -> impl Iterator<Item = DeliveryId> + '_ {
        self.set.iter()
    }

    fn count_in(&self, block: u64) -> u64 {
        match self.last {
            Some((last, count)) if last == block => count,
            _ => {
                let first = block << BLOCK_SHIFT;
                self.set.count_in(first..=first + ((1 << BLOCK_SHIFT) - 1))
            }
        }
    }
}

/// What a block with this many positions costs. A function of the set alone, so that costs that
/// are added and taken away never drift.
fn block_cost(positions: u64) -> u64 {
    match positions {
        0 => 0,
        n => BLOCK_BYTES + POSITION_BYTES * n.min(DENSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_given_back_whole() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut set = Positions::default();
        let mut inside = Vec::new();
        for _ in 0..20_000 {
            if inside.is_empty() || rng.u8(..) < 150 {
                let at = DeliveryId::new(rng.u64(0..400_000), rng.u16(0..2));
                if set.insert(at) {
                    inside.push(at);
                }
            } else {
                let at = inside.swap_remove(rng.usize(..inside.len()));
                assert!(set.remove(at));
            }
            assert_eq!(set.len(), inside.len() as u64);
        }
        for at in inside {
            assert!(set.remove(at));
        }
        assert_eq!((set.len(), set.cost_bytes()), (0, 0));
    }

    #[test]
    fn ten_million_in_a_row_cost_under_two_megabytes() {
        let mut dense = 0;
        for _ in 0..(10_000_000_u64 >> BLOCK_SHIFT) + 1 {
            dense += block_cost(1 << BLOCK_SHIFT);
        }
        assert!(dense < 2_000_000, "{dense}");
    }
}
