//! From a hash to slots of the slab.
//!
//! Many small tables instead of a large one: each grows by itself, so that growth copies little
//! at a time and the whole is never there twice.

use hashbrown::HashTable;
use std::hint::black_box;

const SHARDS: usize = 256;

pub struct Index {
    shards: Box<[HashTable<u32>]>,
    len: usize,
}

impl Index {
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            len: 0,
        }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[shard(hash)]
            .find(hash, |at| is_it(*at))
            .copied()
    }

    /// Reads what `find`, `insert` and `remove` with this hash read.
    pub fn warm(&self, hash: u64) {
        black_box(self.shards[shard(hash)].find(hash, |at| *black_box(at) == u32::MAX));
    }

    /// `hash_of` gives the hash of each slot that is in the index.
    pub fn insert(&mut self, hash: u64, at: u32, hash_of: impl Fn(u32) -> u64) {
        let table = &mut self.shards[shard(hash)];
        if table.len() == table.capacity() {
            *table = rebuilt(table, &hash_of);
        }
        table.insert_unique(hash, at, |at| hash_of(*at));
        self.len += 1;
    }

    /// False if it wasn't there.
    pub fn remove(&mut self, hash: u64, at: u32) -> bool {
        match self.shards[shard(hash)].find_entry(hash, |found| *found == at) {
            Ok(entry) => {
                entry.remove();
                self.len -= 1;
                true
            }
            Err(_) => false,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.shards.iter().flatten().copied()
    }

    pub fn memory_bytes(&self) -> usize {
        let tables: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        tables + SHARDS * size_of::<HashTable<u32>>()
    }

    /// What growth takes for a moment beyond `memory_bytes`.
    #[cfg(test)]
    pub fn largest_shard_bytes(&self) -> usize {
        let sizes = self.shards.iter().map(HashTable::allocation_size);
        sizes.max().unwrap_or(0)
    }
}

/// The table needs neither the low bits nor the top seven for more than itself.
const fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

/// A table with a third more room than entries. Left to itself the table would double as soon as
/// removed entries have used it up while it is half full: 23 bytes an entry, this way 15 at most.
fn rebuilt(table: &HashTable<u32>, hash_of: impl Fn(u32) -> u64) -> HashTable<u32> {
    let mut larger = HashTable::with_capacity(table.len() + table.len() / 3 + 1);
    for at in table {
        larger.insert_unique(hash_of(*at), *at, |at| hash_of(*at));
    }
    larger
}
