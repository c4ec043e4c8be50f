//! The shapes of plans: which route and lane each ordinal has, as one number.
//!
//! A look-up by id must name the targets even when the record has left the log; the window's
//! entry keeps this number for it.
//!
//! Routes that match a topic make few shapes, but nothing forces them to. So there are at most
//! `MAX_SHAPES` with `MAX_SHAPE_TARGETS` targets (about 10 MiB); a plan beyond that is accepted
//! all the same, with the shape `UNKNOWN`: once its record is gone, a look-up knows its position
//! but not its targets. Shapes are never dropped: a journal's checkpoint holds them all.

use super::idtable::Targets;
use crate::message::wire::{Problem, Reader, WireError, put_varint};
use crate::message::{LaneId, RouteId};
use hashbrown::HashTable;
use std::hash::{DefaultHasher, Hasher};

pub const MAX_SHAPES: usize = 65_536;
pub const MAX_SHAPE_TARGETS: usize = 1 << 20;

/// The shape of a plan that found no room.
pub const UNKNOWN: u32 = u32::MAX;

const TARGET_LEAST_BYTES: usize = 2;
const MEMO_SHAPES: usize = 16;

#[derive(Clone, Debug, Default)]
pub struct Shapes {
    /// The targets of all shapes, one after the other.
    targets: Vec<(RouteId, LaneId)>,
    /// Where each shape ends in `targets`.
    ends: Vec<usize>,
    numbers: HashTable<u32>,
}

impl Shapes {
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Route and lane of each ordinal; `None` for `UNKNOWN`.
    #[must_use]
    pub fn get(&self, shape: u32) -> Option<&[(RouteId, LaneId)]> {
        of(&self.targets, &self.ends, shape)
    }

    /// The number of a shape. Those of the records after a checkpoint, interned in the order of
    /// their positions, get the same numbers again.
    pub fn intern<I>(&mut self, targets: I) -> u32
    where
        I: IntoIterator<Item = (RouteId, LaneId)>,
        I::IntoIter: Clone,
    {
        let targets = targets.into_iter();
        let hash = hash(targets.clone());
        let is_it = |shape: &u32| {
            let known = self.get(*shape).into_iter().flatten();
            known.copied().eq(targets.clone())
        };
        if let Some(shape) = self.numbers.find(hash, is_it) {
            return *shape;
        }
        let more = targets.clone().count();
        if self.len() == MAX_SHAPES || self.targets.len() + more > MAX_SHAPE_TARGETS {
            return UNKNOWN;
        }
        self.add(hash, targets)
    }

    fn add(&mut self, its_hash: u64, its_targets: impl Iterator<Item = (RouteId, LaneId)>) -> u32 {
        let Self {
            targets,
            ends,
            numbers,
        } = self;
        let shape = ends.len() as u32;
        targets.extend(its_targets);
        ends.push(targets.len());
        numbers.insert_unique(its_hash, shape, |shape| {
            hash(of(targets, ends, *shape).into_iter().flatten().copied())
        });
        shape
    }

    /// Appends the whole for the checkpoint; varints: the number of shapes, for each the number of
    /// its targets, for each its route and lane.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        for shape in 0..self.len() as u32 {
            let targets = self.get(shape).unwrap_or_default();
            put_varint(out, targets.len() as u64);
            for (route, lane) in targets {
                put_varint(out, route.0.into());
                put_varint(out, lane.0.into());
            }
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, WireError> {
        let mut shapes = Self::default();
        for expected in 0..reader.count("shapes", 1)? {
            let before = reader.clone();
            let mut targets = Vec::new();
            for _ in 0..reader.count("shape", TARGET_LEAST_BYTES)? {
                let route = RouteId(reader.varint_as("shape's route")?);
                targets.push((route, LaneId(reader.varint_as("shape's lane")?)));
            }
            // A shape that stands twice, or one too many, would shift the numbers.
            if shapes.intern(targets) as usize != expected {
                return Err(before.error("shape", Problem::OutOfRange));
            }
        }
        Ok(shapes)
    }
}

/// The shapes that were asked for last, for the journal's thread: no lock, no hashing of all targets.
pub struct ShapeMemo {
    known: [Option<(Targets, u32)>; MEMO_SHAPES],
}

impl ShapeMemo {
    pub const fn new() -> Self {
        Self {
            known: [const { None }; MEMO_SHAPES],
        }
    }

    /// The number of a plan's shape; `intern` is asked where it isn't known here.
    pub fn number(
        &mut self,
        targets: impl Iterator<Item = (RouteId, LaneId)> + Clone,
        intern: impl FnOnce(&Targets) -> u32,
    ) -> u32 {
        let place = targets
            .clone()
            .next()
            .map_or(0, |(route, _)| route.0 as usize);
        let known = &mut self.known[place % MEMO_SHAPES];
        if let Some((its_targets, shape)) = known
            && its_targets.iter().copied().eq(targets.clone())
        {
            return *shape;
        }
        let targets: Targets = targets.collect();
        let shape = intern(&targets);
        *known = Some((targets, shape));
        shape
    }
}

fn of<'a>(
    targets: &'a [(RouteId, LaneId)],
    ends: &[usize],
    shape: u32,
) -> Option<&'a [(RouteId, LaneId)]> {
    let shape = shape as usize;
    let end = *ends.get(shape)?;
    let start = shape.checked_sub(1).map_or(0, |before| ends[before]);
    Some(&targets[start..end])
}

fn hash(targets: impl Iterator<Item = (RouteId, LaneId)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (route, lane) in targets {
        hasher.write_u32(route.0);
        hasher.write_u32(lane.0);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    fn random(rng: &mut Rng) -> Vec<(RouteId, LaneId)> {
        let target = |rng: &mut Rng| (RouteId(rng.u32(..4)), LaneId(rng.u32(..300)));
        (0..rng.usize(1..5)).map(|_| target(rng)).collect()
    }

    fn stored(shapes: &Shapes) -> Vec<u8> {
        let mut out = Vec::new();
        shapes.encode(&mut out);
        out
    }

    #[test]
    fn a_shape_keeps_its_number_over_restarts() {
        let mut rng = Rng::with_seed(1);
        let mut shapes = Shapes::default();
        let mut known: Vec<Vec<(RouteId, LaneId)>> = Vec::new();
        for step in 0..5_000 {
            let targets = random(&mut rng);
            let shape = shapes.intern(targets.iter().copied());
            match known.iter().position(|k| *k == targets) {
                Some(number) => assert_eq!(shape as usize, number),
                None => {
                    assert_eq!(shape as usize, known.len());
                    known.push(targets.clone());
                }
            }
            assert_eq!(shapes.get(shape), Some(&targets[..]));
            if step % 1_000 == 0 {
                let bytes = stored(&shapes);
                let mut reader = Reader::new(&bytes);
                shapes = Shapes::decode(&mut reader).unwrap();
                assert_eq!(reader.finish("shapes"), Ok(()));
                assert_eq!(stored(&shapes), bytes);
            }
        }
        assert!(known.len() > 1_000);
        assert_eq!(shapes.get(UNKNOWN), None);
        assert_eq!(shapes.get(shapes.len() as u32), None);
    }

    #[test]
    fn beyond_the_bounds_a_shape_is_unknown_and_the_known_ones_stay() {
        let one = |n: u32| [(RouteId(n), LaneId(0))];
        let mut shapes = Shapes::default();
        for n in 0..MAX_SHAPES as u32 {
            assert_eq!(shapes.intern(one(n)), n);
        }
        assert_eq!(shapes.intern(one(u32::MAX)), UNKNOWN);
        assert_eq!(shapes.intern(one(7)), 7);

        let mut shapes = Shapes::default();
        let wide = |n: u32| vec![(RouteId(n), LaneId(0)); MAX_SHAPE_TARGETS / 2];
        assert_eq!([0, 1, 2].map(|n| shapes.intern(wide(n))), [0, 1, UNKNOWN]);
    }

    #[test]
    fn damaged_shapes_are_refused_and_never_panic() {
        let mut rng = Rng::with_seed(2);
        let mut shapes = Shapes::default();
        for _ in 0..50 {
            shapes.intern(random(&mut rng));
        }
        let whole = stored(&shapes);
        for cut in 0..whole.len() {
            assert!(Shapes::decode(&mut Reader::new(&whole[..cut])).is_err());
        }
        let mut decodable = 0;
        for seed in 0..5_000 {
            let mut rng = Rng::with_seed(seed);
            let mut damaged = whole.clone();
            let at = rng.usize(..damaged.len());
            damaged[at] = rng.u8(..);
            let mut reader = Reader::new(&damaged);
            if let Ok(shapes) = Shapes::decode(&mut reader) {
                decodable += 1;
                let again = Shapes::decode(&mut Reader::new(&stored(&shapes))).unwrap();
                assert_eq!(stored(&again), stored(&shapes), "seed {seed}");
            }
        }
        assert!(decodable > 100, "only {decodable} damaged shapes decode");
        // One shape twice.
        let twice = [2, 1, 5, 6, 1, 5, 6];
        assert!(Shapes::decode(&mut Reader::new(&twice)).is_err());
    }
}
