//! When what stands at a position was accepted, about: what a lane's lag in seconds is told by.
//!
//! Pure. The journal's thread notes a batch now and then; a look-up gives the time of the last one
//! noted at or before a position, so that a lag is never shown too small.

use crate::clock::Wall;
use crate::message::Position;

/// Batches nearer than this to the last one noted aren't.
const LEAST_MS: u64 = 250;
/// At so many every second one is forgotten, and half as many are noted from then on.
const MOST: usize = 4096;

#[derive(Debug)]
pub struct AcceptTimes {
    /// In order of both.
    noted: Vec<(Position, Wall)>,
    every_ms: u64,
}

impl Default for AcceptTimes {
    fn default() -> Self {
        Self {
            noted: Vec::new(),
            every_ms: LEAST_MS,
        }
    }
}

impl AcceptTimes {
    /// A batch from this position on was accepted at this time.
    pub fn note(&mut self, first: Position, at: Wall) {
        if let Some((position, wall)) = self.noted.last_mut() {
            if first == *position {
                // The end of what there was: only that it came later was known.
                *wall = at.max(*wall);
            }
            if first <= *position || at.0 < wall.0 + self.every_ms {
                return;
            }
        }
        if self.noted.len() >= MOST {
            let mut nth = 0;
            self.noted.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.every_ms *= 2;
        }
        self.noted.push((first, at));
    }

    /// Puts in what is known of elder positions than those noted so far, in any order.
    pub fn note_elder(&mut self, first: Position, at: Wall) {
        let place = self.noted.partition_point(|(known, _)| *known < first);
        let follows = place == 0 || self.noted[place - 1].1 <= at;
        let precedes = self
            .noted
            .get(place)
            .is_none_or(|(known, wall)| *known > first && *wall >= at);
        if follows && precedes && self.noted.len() < MOST {
            self.noted.insert(place, (first, at));
        }
    }

    /// The latest time that is known to be no later than the position's.
    #[must_use]
    pub fn of(&self, position: Position) -> Option<Wall> {
        let place = self.noted.partition_point(|(known, _)| *known <= position);
        place.checked_sub(1).map(|last| self.noted[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_the_last_batch_noted_before() {
        let mut times = AcceptTimes::default();
        assert_eq!(times.of(Position(0)), None);
        times.note(Position(5), Wall(1_000));
        times.note(Position(7), Wall(1_100)); // Too near.
        times.note(Position(9), Wall(9_000));
        for (position, wall) in [(5, 1_000), (8, 1_000), (9, 9_000), (99, 9_000)] {
            assert_eq!(times.of(Position(position)), Some(Wall(wall)));
        }
        assert_eq!(times.of(Position(4)), None);
        times.note_elder(Position(2), Wall(500));
        times.note_elder(Position(3), Wall(2_000)); // Later than 5: it can't be.
        assert_eq!(times.of(Position(4)), Some(Wall(500)));
        times.note_elder(Position(100), Wall(9_500));
        times.note(Position(100), Wall(70_000));
        assert_eq!(times.of(Position(100)), Some(Wall(70_000)));
    }

    #[test]
    fn years_of_batches_take_a_bounded_room_and_stay_in_order() {
        let mut times = AcceptTimes::default();
        for n in 0..1_000_000 {
            times.note(Position(n), Wall(n * 300));
        }
        assert!(times.noted.len() <= MOST && times.noted.len() >= MOST / 2);
        assert!(times.noted.is_sorted());
        for n in (0..1_000_000).step_by(997) {
            let told = times.of(Position(n)).expect("the first is kept");
            assert!(told.0 <= n * 300 && told.0 + 2 * times.every_ms >= n * 300);
        }
    }
}
