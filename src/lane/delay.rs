//! Deliveries that wait for a time of day, in coarse buckets, so that ten million of them cost a
//! few bytes each.
//!
//! A bucket's width grows with its distance: 256 ms, then 16 s, 17 min and 18 h. When a wide one
//! comes due its deliveries are read again and parked more finely. None is early; the finest
//! width is how late one may be.

use super::positions::Positions;
use crate::clock::Wall;
use crate::message::DeliveryId;
use std::collections::BTreeMap;

/// Widths of the levels as powers of two of a millisecond; each level has `SLOTS` buckets.
const LEVELS: [u32; 4] = [8, 14, 20, 26];
const SLOTS: u64 = 64;

#[derive(Debug, Default)]
pub(super) struct Delayed {
    /// By the wall time at which the bucket is looked at.
    buckets: BTreeMap<u64, Positions>,
}

impl Delayed {
    /// Parks a delivery; the bytes that this costs more.
    pub fn insert(&mut self, at: DeliveryId, not_before: Wall, wall: Wall) -> u64 {
        let bucket = self.buckets.entry(wake_for(not_before, wall)).or_default();
        let before = bucket.cost_bytes();
        bucket.insert(at);
        bucket.cost_bytes() - before
    }

    /// Takes out up to `max` of those whose bucket is due; with the bytes that this gives back.
    pub fn take_due(&mut self, wall: Wall, max: usize) -> (Vec<DeliveryId>, u64) {
        let (mut due, mut freed) = (Vec::new(), 0);
        while due.len() < max
            && let Some(mut bucket) = self.buckets.first_entry().filter(|b| *b.key() <= wall.0)
        {
            let before = bucket.get().cost_bytes();
            for at in bucket.get().page(max - due.len()) {
                bucket.get_mut().remove(at);
                due.push(at);
            }
            freed += before - bucket.get().cost_bytes();
            if bucket.get().is_empty() {
                bucket.remove();
            }
        }
        (due, freed)
    }

    /// When the first bucket is due.
    pub fn next_wake(&self) -> Option<Wall> {
        self.buckets.keys().next().map(|at| Wall(*at))
    }

    pub fn len(&self) -> u64 {
        self.buckets.values().map(Positions::len).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = DeliveryId> + '_ {
        self.buckets.values().flat_map(Positions::iter)
    }
}

fn wake_for(not_before: Wall, wall: Wall) -> u64 {
    let ahead = not_before.0.saturating_sub(wall.0);
    let finest = LEVELS[0];
    if ahead < SLOTS << finest {
        return not_before.0.div_ceil(1 << finest) << finest;
    }
    // At least one width of the level is ahead, so the start of the bucket is in the future.
    for shift in &LEVELS[1..] {
        if ahead < SLOTS << shift {
            return (not_before.0 >> shift) << shift;
        }
    }
    let coarsest = LEVELS[LEVELS.len() - 1];
    ((wall.0 + (SLOTS << coarsest)) >> coarsest) << coarsest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_wakes_in_the_future_and_the_finest_never_early() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            let wall = Wall(1_700_000_000_000 + rng.u64(0..1 << 40));
            let bits = rng.u32(1..36);
            let not_before = Wall(wall.0 + 1 + rng.u64(0..1 << bits));
            let wake = wake_for(not_before, wall);
            assert!(wake > wall.0, "{wall:?} {not_before:?} {wake}");
            assert!(wake <= not_before.0 + 255, "{wall:?} {not_before:?} {wake}");
            if not_before.0 - wall.0 < SLOTS << LEVELS[0] {
                assert!(wake >= not_before.0, "{wall:?} {not_before:?} {wake}");
            }
        }
    }

    #[test]
    fn spread_over_a_month_they_fill_few_buckets() {
        let mut delayed = Delayed::default();
        let wall = Wall(1_700_000_000_000);
        let mut cost = 0;
        for n in 0..200_000 {
            let not_before = Wall(wall.0 + n * 13_000);
            cost += delayed.insert(DeliveryId::new(n, 0), not_before, wall);
        }
        assert!(delayed.buckets.len() <= LEVELS.len() * (SLOTS as usize + 2));
        assert!(cost < 200_000 * 8, "{cost}");
        let (due, freed) = delayed.take_due(Wall(u64::MAX), usize::MAX);
        assert_eq!((due.len(), freed), (200_000, cost));
        assert_eq!(delayed.next_wake(), None);
    }
}
