//! In which mode a lane settles what, over the restarts that changed its mode.
//!
//! A mode changes at a barrier: what was accepted before it is settled in the mode of that time,
//! what comes after waits for that. Whoever starts the gateway again before that is done must find
//! the same barriers, or deliveries would be settled in a mode that their route didn't ask for.

use crate::message::Position;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneModes {
    /// Journal order for all it delivers, up to the first barrier.
    is_strict: bool,
    /// At each the mode turns into the other. Strictly ascending.
    barriers: Vec<Position>,
}

impl LaneModes {
    #[must_use]
    pub const fn always(is_strict: bool) -> Self {
        Self {
            is_strict,
            barriers: Vec::new(),
        }
    }

    /// None if the barriers don't ascend.
    #[must_use]
    pub fn new(is_strict: bool, barriers: Vec<Position>) -> Option<Self> {
        barriers.is_sorted_by(|a, b| a < b).then_some(Self {
            is_strict,
            barriers,
        })
    }

    #[must_use]
    pub const fn is_strict_first(&self) -> bool {
        self.is_strict
    }

    /// Behind the last barrier.
    #[must_use]
    pub const fn is_strict_last(&self) -> bool {
        self.is_strict ^ (self.barriers.len() % 2 == 1)
    }

    #[must_use]
    pub fn barriers(&self) -> &[Position] {
        &self.barriers
    }

    #[must_use]
    pub fn barriers_behind(&self, position: Position) -> usize {
        let passed = self.barriers.partition_point(|at| *at <= position);
        self.barriers.len() - passed
    }

    /// Each barrier with what the lane is from there on.
    pub fn changes(&self) -> impl Iterator<Item = (Position, bool)> + '_ {
        let mut is_strict = self.is_strict;
        self.barriers.iter().map(move |barrier| {
            is_strict = !is_strict;
            (*barrier, is_strict)
        })
    }

    /// The modes from a start on after which `is_strict` is what is accepted, from `next` on.
    /// `owed`: the first and the last position of which the lane owes something.
    #[must_use]
    pub fn from_start(
        mut self,
        is_strict: bool,
        owed: Option<(Position, Position)>,
        next: Position,
    ) -> Self {
        let Some((first, last)) = owed else {
            return Self::always(is_strict);
        };
        self.pass(first);
        if self.is_strict_last() != is_strict {
            // A change with nothing owed behind it is taken back.
            if self.barriers.pop_if(|barrier| last < *barrier).is_none() {
                self.barriers.push(next);
            }
        }
        self
    }

    /// The same while the lane runs. It may have turned at a barrier already, though nothing is
    /// owed behind it: only one at `next`, behind which nothing was accepted, is taken back.
    #[must_use]
    pub fn turned(
        mut self,
        is_strict: bool,
        owed: Option<(Position, Position)>,
        next: Position,
    ) -> Self {
        let Some((first, _)) = owed else {
            return Self::always(is_strict);
        };
        self.pass(first);
        let differs = self.is_strict_last() != is_strict;
        if differs && self.barriers.pop_if(|barrier| *barrier >= next).is_none() {
            self.barriers.push(next);
        }
        self
    }

    /// Forgets the barriers up to the first that is owed.
    fn pass(&mut self, first: Position) {
        let passed = self.barriers.len() - self.barriers_behind(first);
        self.is_strict ^= passed % 2 == 1;
        self.barriers.drain(..passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(is_strict: bool, barriers: &[u64]) -> LaneModes {
        let barriers = barriers.iter().copied().map(Position).collect();
        LaneModes::new(is_strict, barriers).expect("they ascend")
    }

    fn owed(first: u64, last: u64) -> Option<(Position, Position)> {
        Some((Position(first), Position(last)))
    }

    #[test]
    fn a_barrier_stays_until_what_is_before_it_is_settled() {
        let changing = LaneModes::always(false).from_start(true, owed(3, 9), Position(10));
        assert_eq!(changing, modes(false, &[10]));
        let again = changing.from_start(true, owed(3, 14), Position(15));
        assert_eq!(again, modes(false, &[10]));
        let done = again.clone().from_start(true, owed(10, 14), Position(20));
        assert_eq!(done, LaneModes::always(true));
        let idle = again.from_start(true, None, Position(20));
        assert_eq!(idle, LaneModes::always(true));
    }

    #[test]
    fn a_change_back_is_another_barrier_or_none() {
        let changing = modes(false, &[10]);
        let back = changing
            .clone()
            .from_start(false, owed(3, 14), Position(15));
        assert_eq!(back, modes(false, &[10, 15]));
        let changes: Vec<_> = back.changes().collect();
        assert_eq!(changes, [(Position(10), true), (Position(15), false)]);
        assert!(!back.is_strict_last());
        let later = back.from_start(false, owed(12, 17), Position(18));
        assert_eq!(later, modes(true, &[15]));
        // Nothing was accepted in the mode that was given up.
        let unused = changing.from_start(false, owed(3, 9), Position(10));
        assert_eq!(unused, LaneModes::always(false));
    }

    /// Whatever is restarted or reloaded when: a position keeps the mode that it was accepted in for as long
    /// as it is owed.
    #[test]
    fn what_is_owed_keeps_the_mode_it_was_accepted_in() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut modes = LaneModes::default();
            let mut accepted: Vec<(u64, bool)> = Vec::new();
            let mut next = 0;
            for _ in 0..20 {
                let wanted = rng.bool();
                let owed = accepted.first().zip(accepted.last());
                let owed = owed.map(|(first, last)| (Position(first.0), Position(last.0)));
                modes = match rng.bool() {
                    true => modes.from_start(wanted, owed, Position(next)),
                    false => modes.turned(wanted, owed, Position(next)),
                };
                for (position, was) in &accepted {
                    let passed = modes.barriers.iter().filter(|b| b.0 <= *position).count();
                    let is = modes.is_strict ^ (passed % 2 == 1);
                    assert_eq!(is, *was, "seed {seed}, position {position}: {modes:?}");
                }
                assert_eq!(modes.is_strict_last(), wanted, "seed {seed}");
                for _ in 0..rng.u8(..4) {
                    accepted.push((next, wanted));
                    next += rng.u64(1..3);
                }
                accepted.retain(|_| rng.u8(..3) > 0);
            }
        }
    }
}
