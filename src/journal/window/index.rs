//! From a hash to slots of the slab.
//!
//! Many small tables instead of a large one: each grows by itself, so that growth copies little
//! at a time and the whole is never there twice.
//!
//! A cell holds half of the hash beside the slot's number. So a look costs one miss of the
//! processor's cache, where control bytes apart from the numbers cost two, and neither growth nor
//! removal reads the slab. Cells stand in the order of their homes (Robin Hood): a search ends at the
//! first cell that is nearer to its home than it would be itself, and a removal moves the rest
//! back, so that a table which is always full leaves no traces of what went.

use std::hint::black_box;

const SHARDS: usize = 256;
const EMPTY: u64 = u64::MAX;
/// A table grows before more of its cells than this are taken: fuller, and a removal has rows of
/// dozens to move.
const FULL: (usize, usize) = (3, 4);
const FIRST_CELLS: usize = 8;
/// Most searches and removals end within so many cells of the home: in its cache line or the next.
const PROBED_CELLS: usize = 7;

pub struct Index {
    shards: Box<[Shard]>,
    len: usize,
}

#[derive(Default)]
struct Shard {
    cells: Box<[u64]>,
    len: usize,
}

impl Index {
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            len: 0,
        }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let shard = &self.shards[shard_of(hash)];
        let found = shard.find(tag_of(hash), is_it)?;
        Some(slot_of(shard.cells[found]))
    }

    /// Reads what `find`, `insert` and `remove` with this hash read.
    pub fn warm(&self, hash: u64) {
        let shard = &self.shards[shard_of(hash)];
        let home = shard.home(tag_of(hash));
        for at in [home, home + PROBED_CELLS] {
            if let Some(cell) = shard.cells.get(at) {
                black_box(*cell);
            }
        }
    }

    pub fn insert(&mut self, hash: u64, at: u32) {
        self.shards[shard_of(hash)].insert(tag_of(hash), at);
        self.len += 1;
    }

    /// False if it wasn't there.
    pub fn remove(&mut self, hash: u64, at: u32) -> bool {
        let shard = &mut self.shards[shard_of(hash)];
        let Some(found) = shard.find(tag_of(hash), |there| there == at) else {
            return false;
        };
        shard.remove(found);
        self.len -= 1;
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let cells = self.shards.iter().flat_map(|shard| &shard.cells);
        let taken = cells.filter(|cell| **cell != EMPTY);
        taken.map(|cell| slot_of(*cell))
    }

    pub fn memory_bytes(&self) -> usize {
        let cells: usize = self.shards.iter().map(|shard| shard.cells.len()).sum();
        cells * size_of::<u64>() + SHARDS * size_of::<Shard>()
    }

    /// What growth takes for a moment beyond `memory_bytes`.
    #[cfg(test)]
    pub fn largest_shard_bytes(&self) -> usize {
        let sizes = self.shards.iter().map(|shard| size_of_val(&*shard.cells));
        sizes.max().unwrap_or(0)
    }
}

impl Shard {
    /// The cell of the first slot under the tag that is the one looked for.
    fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.cells.is_empty() {
            return None;
        }
        let mut at = self.home(tag);
        for distance in 0..self.cells.len() {
            let cell = self.cells[at];
            if cell == EMPTY || self.distance(cell, at) < distance {
                return None;
            }
            if tag_of_cell(cell) == tag && is_it(slot_of(cell)) {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    fn insert(&mut self, tag: u32, slot: u32) {
        if (self.len + 1) * FULL.1 > self.cells.len() * FULL.0 {
            self.grow();
        }
        self.put(cell(tag, slot));
        self.len += 1;
    }

    /// There is an empty cell. Whoever is nearer to its home gives way.
    fn put(&mut self, mut cell: u64) {
        let mut at = self.home(tag_of_cell(cell));
        let mut distance = 0;
        while self.cells[at] != EMPTY {
            let there = self.distance(self.cells[at], at);
            if there < distance {
                std::mem::swap(&mut self.cells[at], &mut cell);
                distance = there;
            }
            at = self.after(at);
            distance += 1;
        }
        self.cells[at] = cell;
    }

    /// Moves those that follow back by one, up to the first that is at home.
    fn remove(&mut self, mut at: usize) {
        loop {
            let next = self.after(at);
            let cell = self.cells[next];
            if cell == EMPTY || self.distance(cell, next) == 0 {
                break;
            }
            self.cells[at] = cell;
            at = next;
        }
        self.cells[at] = EMPTY;
        self.len -= 1;
    }

    /// By a quarter: doubling would leave it three eighths full. An id takes 14 bytes of it at most.
    fn grow(&mut self) {
        let cells = (self.cells.len() + self.cells.len() / 4).max(FIRST_CELLS);
        let old = std::mem::replace(&mut self.cells, vec![EMPTY; cells].into());
        for cell in old {
            if cell != EMPTY {
                self.put(cell);
            }
        }
    }

    /// Spreads all tags evenly over however many cells there are.
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.cells.len() as u64) >> u32::BITS) as usize
    }

    fn distance(&self, cell: u64, at: usize) -> usize {
        let home = self.home(tag_of_cell(cell));
        if at >= home {
            at - home
        } else {
            at + self.cells.len() - home
        }
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.cells.len() {
            0
        } else {
            at + 1
        }
    }
}

const fn shard_of(hash: u64) -> usize {
    (hash >> 56) as usize % SHARDS
}

/// Other bits than the shard's.
const fn tag_of(hash: u64) -> u32 {
    (hash >> 24) as u32
}

const fn cell(tag: u32, slot: u32) -> u64 {
    (tag as u64) << u32::BITS | slot as u64
}

const fn tag_of_cell(cell: u64) -> u32 {
    (cell >> u32::BITS) as u32
}

const fn slot_of(cell: u64) -> u32 {
    cell as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Against a plain set: few tags, so that slots collide, and tables that are always full.
    #[test]
    fn it_finds_what_was_inserted_and_not_removed() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut index = Index::new();
        let mut model = BTreeSet::new();
        let hash = |rng: &mut fastrand::Rng| rng.u64(0..3) << 56 | rng.u64(0..400) << 46;
        for step in 0..60_000_u32 {
            let is_growing = step < 2_000;
            let (hash, slot) = (hash(&mut rng), rng.u32(0..8));
            let was_there = model.contains(&(hash, slot));
            let found = index.find(hash, |at| at == slot);
            assert_eq!(found, was_there.then_some(slot));
            if was_there && !is_growing {
                assert!(index.remove(hash, slot));
                model.remove(&(hash, slot));
            } else if !was_there {
                assert!(!index.remove(hash, slot));
                index.insert(hash, slot);
                model.insert((hash, slot));
            }
            assert_eq!(index.len(), model.len());
        }
        let slots = |each: &mut dyn Iterator<Item = u32>| {
            let mut slots: Vec<u32> = each.collect();
            slots.sort_unstable();
            slots
        };
        let expected = slots(&mut model.iter().map(|(_, slot)| *slot));
        assert_eq!(slots(&mut index.iter()), expected);
    }
}
