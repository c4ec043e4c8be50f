//! A compressed set of deliveries: what a lane owes, holds, or has dead-lettered.
//!
//! Positions are dense and most plans name a lane once, so it is a roaring bitmap of positions
//! for each ordinal: ten million owed deliveries in a row cost about a megabyte.

use super::{DeliveryId, Ordinal, Position};
use roaring::RoaringTreemap;
use std::ops::RangeInclusive;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliverySet {
    /// Sorted by ordinal; no bitmap in it is empty.
    by_ordinal: Vec<(Ordinal, RoaringTreemap)>,
}

impl DeliverySet {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            by_ordinal: Vec::new(),
        }
    }

    /// False if it was there.
    pub fn insert(&mut self, at: DeliveryId) -> bool {
        match self
            .by_ordinal
            .binary_search_by_key(&at.ordinal, |(o, _)| *o)
        {
            Ok(i) => self.by_ordinal[i].1.insert(at.position.0),
            Err(i) => {
                let mut bitmap = RoaringTreemap::new();
                bitmap.insert(at.position.0);
                self.by_ordinal.insert(i, (at.ordinal, bitmap));
                true
            }
        }
    }

    /// False if it wasn't there.
    pub fn remove(&mut self, at: DeliveryId) -> bool {
        let Ok(i) = self
            .by_ordinal
            .binary_search_by_key(&at.ordinal, |(o, _)| *o)
        else {
            return false;
        };
        let removed = self.by_ordinal[i].1.remove(at.position.0);
        if self.by_ordinal[i].1.is_empty() {
            self.by_ordinal.remove(i);
        }
        removed
    }

    #[must_use]
    pub fn contains(&self, at: DeliveryId) -> bool {
        self.by_ordinal
            .binary_search_by_key(&at.ordinal, |(o, _)| *o)
            .is_ok_and(|i| self.by_ordinal[i].1.contains(at.position.0))
    }

    /// Whether any ordinal of this position is in the set.
    #[must_use]
    pub fn contains_position(&self, position: Position) -> bool {
        self.by_ordinal.iter().any(|(_, b)| b.contains(position.0))
    }

    #[must_use]
    pub fn len(&self) -> u64 {
        self.by_ordinal.iter().map(|(_, b)| b.len()).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_ordinal.is_empty()
    }

    #[must_use]
    pub fn first(&self) -> Option<DeliveryId> {
        self.next_from(DeliveryId::default())
    }

    #[must_use]
    pub fn last_position(&self) -> Option<Position> {
        let last = self.by_ordinal.iter().filter_map(|(_, b)| b.max()).max();
        last.map(Position)
    }

    /// The least delivery that is not before `from`.
    #[must_use]
    pub fn next_from(&self, from: DeliveryId) -> Option<DeliveryId> {
        self.by_ordinal
            .iter()
            .filter_map(|(ordinal, bitmap)| {
                let start = from.position.0 + u64::from(*ordinal < from.ordinal);
                let position = from_position(bitmap, start).next()?;
                Some(DeliveryId {
                    position: Position(position),
                    ordinal: *ordinal,
                })
            })
            .min()
    }

    /// Up to `max` deliveries that are not before `from`, in order.
    #[must_use]
    pub fn page_from(&self, from: DeliveryId, max: usize) -> Vec<DeliveryId> {
        let mut all: Vec<DeliveryId> = Vec::new();
        for (ordinal, bitmap) in &self.by_ordinal {
            let start = from.position.0 + u64::from(*ordinal < from.ordinal);
            all.extend(from_position(bitmap, start).take(max).map(|p| DeliveryId {
                position: Position(p),
                ordinal: *ordinal,
            }));
        }
        if self.by_ordinal.len() > 1 {
            all.sort_unstable();
            all.truncate(max);
        }
        all
    }

    /// Adds the positions in the range to `out`.
    pub fn collect_positions(&self, positions: RangeInclusive<u64>, out: &mut RoaringTreemap) {
        for (_, bitmap) in &self.by_ordinal {
            let found = from_position(bitmap, *positions.start());
            out.extend(found.take_while(|p| positions.contains(p)));
        }
    }

    /// How many deliveries have a position in the range.
    #[must_use]
    pub fn count_in(&self, positions: RangeInclusive<u64>) -> u64 {
        self.by_ordinal
            .iter()
            .map(|(_, b)| b.range_cardinality(positions.clone()))
            .sum()
    }

    /// What of it has a position in the range.
    #[must_use]
    pub fn within(&self, positions: RangeInclusive<u64>) -> Self {
        let mut part = Self::new();
        for (ordinal, bitmap) in &self.by_ordinal {
            let from_start = from_position(bitmap, *positions.start());
            let inside: RoaringTreemap = from_start.take_while(|p| p <= positions.end()).collect();
            if !inside.is_empty() {
                part.by_ordinal.push((*ordinal, inside));
            }
        }
        part
    }

    /// Puts in all that the other has.
    pub fn union_with(&mut self, other: &Self) {
        for (ordinal, bitmap) in &other.by_ordinal {
            match self.by_ordinal.binary_search_by_key(ordinal, |(o, _)| *o) {
                Ok(i) => self.by_ordinal[i].1 |= bitmap,
                Err(i) => self.by_ordinal.insert(i, (*ordinal, bitmap.clone())),
            }
        }
    }

    /// How many deliveries of one ordinal have a position in the range.
    #[must_use]
    pub fn count_run(&self, ordinal: Ordinal, positions: RangeInclusive<u64>) -> u64 {
        match self.by_ordinal.binary_search_by_key(&ordinal, |(o, _)| *o) {
            Ok(i) => self.by_ordinal[i].1.range_cardinality(positions),
            Err(_) => 0,
        }
    }

    /// Puts in consecutive deliveries of one ordinal, and says how many weren't there.
    pub fn insert_run(&mut self, ordinal: Ordinal, positions: RangeInclusive<u64>) -> u64 {
        if positions.is_empty() {
            return 0;
        }
        match self.by_ordinal.binary_search_by_key(&ordinal, |(o, _)| *o) {
            Ok(i) => self.by_ordinal[i].1.insert_range(positions),
            Err(i) => {
                self.by_ordinal.insert(i, (ordinal, RoaringTreemap::new()));
                self.by_ordinal[i].1.insert_range(positions)
            }
        }
    }

    /// Takes out consecutive deliveries of one ordinal.
    pub fn remove_run(&mut self, ordinal: Ordinal, positions: RangeInclusive<u64>) {
        if let Ok(i) = self.by_ordinal.binary_search_by_key(&ordinal, |(o, _)| *o) {
            self.by_ordinal[i].1.remove_range(positions);
            if self.by_ordinal[i].1.is_empty() {
                self.by_ordinal.remove(i);
            }
        }
    }

    /// Takes out everything in the range of positions.
    pub fn remove_positions(&mut self, positions: RangeInclusive<u64>) {
        for (_, bitmap) in &mut self.by_ordinal {
            bitmap.remove_range(positions.clone());
        }
        self.by_ordinal.retain(|(_, b)| !b.is_empty());
    }

    pub fn iter(&self) -> impl Iterator<Item = DeliveryId> + '_ {
        self.by_ordinal.iter().flat_map(|(ordinal, bitmap)| {
            bitmap.iter().map(|p| DeliveryId {
                position: Position(p),
                ordinal: *ordinal,
            })
        })
    }

    /// Appends the set's portable encoding: u16 count, then for each ordinal u16, u32 length and
    /// the roaring treemap format.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.by_ordinal.len() as u16).to_le_bytes());
        for (ordinal, bitmap) in &self.by_ordinal {
            out.extend_from_slice(&ordinal.0.to_le_bytes());
            out.extend_from_slice(&(bitmap.serialized_size() as u32).to_le_bytes());
            bitmap
                .serialize_into(&mut *out)
                .expect("writing to a Vec can't fail");
        }
    }

    /// Reads what `encode` wrote from the front of `input` and moves it on; `None` if it is damaged.
    pub fn decode(input: &mut &[u8]) -> Option<Self> {
        let mut set = Self::new();
        for _ in 0..u16::from_le_bytes(take(input)?) {
            let ordinal = Ordinal(u16::from_le_bytes(take(input)?));
            let len = u32::from_le_bytes(take(input)?) as usize;
            if input.len() < len {
                return None;
            }
            let (bytes, rest) = input.split_at(len);
            let bitmap = RoaringTreemap::deserialize_from(bytes).ok()?;
            let follows = set
                .by_ordinal
                .last()
                .is_none_or(|(before, _)| *before < ordinal);
            if bitmap.is_empty() || !follows {
                return None;
            }
            *input = rest;
            set.by_ordinal.push((ordinal, bitmap));
        }
        Some(set)
    }
}

fn from_position(bitmap: &RoaringTreemap, start: u64) -> impl Iterator<Item = u64> + '_ {
    let mut positions = bitmap.iter();
    positions.advance_to(start);
    positions
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}
