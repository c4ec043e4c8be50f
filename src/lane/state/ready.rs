//! What may be tried, in journal order; a key is in it under its first delivery.
//!
//! Most come in journal order and leave from the front, so they stand in a queue; only what comes back,
//! after a failure or as the next of its key, is sorted in.

use super::Turn;
use crate::message::DeliveryId;
use std::collections::btree_map::{self, BTreeMap};
use std::collections::{VecDeque, vec_deque};
use std::iter::Peekable;

#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Ascending.
    fresh: VecDeque<(DeliveryId, Turn)>,
    /// None of them is in `fresh`.
    back: BTreeMap<DeliveryId, Turn>,
}

impl Ready {
    /// In place of what was there under the same delivery.
    pub fn insert(&mut self, at: DeliveryId, turn: Turn) {
        let (fresh, back) = (self.fresh.back(), self.back.last_key_value());
        if fresh.is_none_or(|(last, _)| *last < at) && back.is_none_or(|(last, _)| *last < at) {
            return self.fresh.push_back((at, turn));
        }
        match self.find(at) {
            Some(place) => self.fresh[place].1 = turn,
            None => {
                self.back.insert(at, turn);
            }
        }
    }

    fn find(&self, at: DeliveryId) -> Option<usize> {
        self.fresh.binary_search_by_key(&at, |(at, _)| *at).ok()
    }

    pub fn get(&self, at: DeliveryId) -> Option<&Turn> {
        match self.find(at) {
            Some(place) => Some(&self.fresh[place].1),
            None => self.back.get(&at),
        }
    }

    pub fn remove(&mut self, at: DeliveryId) -> Option<Turn> {
        if self.fresh.front().is_some_and(|(first, _)| *first == at) {
            return self.fresh.pop_front().map(|(_, turn)| turn);
        }
        match self.back.remove(&at) {
            Some(turn) => Some(turn),
            None => self.fresh.remove(self.find(at)?).map(|(_, turn)| turn),
        }
    }

    pub fn first(&self) -> Option<(DeliveryId, &Turn)> {
        self.iter().next()
    }

    /// The first one behind `last`.
    pub fn first_behind(&self, last: DeliveryId) -> Option<(DeliveryId, &Turn)> {
        self.iter().find(|(at, _)| *at > last)
    }

    pub fn len(&self) -> usize {
        self.fresh.len() + self.back.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.back.is_empty()
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter {
            fresh: self.fresh.iter().peekable(),
            back: self.back.iter().peekable(),
        }
    }

    /// In no order.
    pub fn into_turns(self) -> impl Iterator<Item = Turn> {
        let fresh = self.fresh.into_iter().map(|(_, turn)| turn);
        fresh.chain(self.back.into_values())
    }
}

/// In journal order.
pub(super) struct Iter<'a> {
    fresh: Peekable<vec_deque::Iter<'a, (DeliveryId, Turn)>>,
    back: Peekable<btree_map::Iter<'a, DeliveryId, Turn>>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (DeliveryId, &'a Turn);

    fn next(&mut self) -> Option<Self::Item> {
        let from_back = match (self.fresh.peek(), self.back.peek()) {
            (Some((fresh, _)), Some((back, _))) => *back < fresh,
            (fresh, _) => fresh.is_none(),
        };
        match from_back {
            true => self.back.next().map(|(at, turn)| (*at, turn)),
            false => self.fresh.next().map(|(at, turn)| (*at, turn)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a sorted map, which is what it stands for.
    #[test]
    fn it_does_what_a_sorted_map_does() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..200 {
            let (mut ready, mut model) = (Ready::default(), BTreeMap::new());
            let mut next = 0;
            for step in 0..200_u64 {
                let near = next + 1 - rng.u64(0..20.min(next + 1));
                let at = DeliveryId::new(if rng.bool() { next } else { near }, 0);
                next = next.max(at.position.0) + 1;
                match rng.u8(0..6) {
                    0..3 => {
                        ready.insert(at, Turn::Key(step));
                        model.insert(at, step);
                    }
                    3 => {
                        let first = model.first_key_value().map(|(at, key)| (*at, *key));
                        assert_eq!(ready.first().map(shown), first, "seed {seed}");
                        let at = first.map_or(at, |(at, _)| at);
                        let taken = ready.remove(at).map(|turn| key_of(&turn));
                        assert_eq!(taken, model.remove(&at), "seed {seed}");
                    }
                    4 => {
                        let taken = ready.remove(at).map(|turn| key_of(&turn));
                        assert_eq!(taken, model.remove(&at), "seed {seed}");
                    }
                    _ => {
                        let found = ready.get(at).map(key_of);
                        assert_eq!(found, model.get(&at).copied(), "seed {seed}");
                        let behind = model.iter().find(|(other, _)| **other > at);
                        let behind = behind.map(|(at, key)| (*at, *key));
                        assert_eq!(ready.first_behind(at).map(shown), behind, "seed {seed}");
                    }
                }
                assert_eq!(ready.len(), model.len(), "seed {seed}");
                assert_eq!(ready.is_empty(), model.is_empty(), "seed {seed}");
            }
            let all: Vec<_> = ready.iter().map(shown).collect();
            assert_eq!(all, Vec::from_iter(model), "seed {seed}");
        }
    }

    fn shown((at, turn): (DeliveryId, &Turn)) -> (DeliveryId, u64) {
        (at, key_of(turn))
    }

    fn key_of(turn: &Turn) -> u64 {
        match turn {
            Turn::Key(key) => *key,
            Turn::Free(_) => unreachable!("the test puts none in"),
        }
    }
}
