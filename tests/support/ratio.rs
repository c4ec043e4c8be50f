//! Comparing two rates on a machine that others use as well: turn about, in one run.

use std::fmt;
use std::time::Duration;

/// What each took for the same work, round by round.
#[derive(Clone, Debug, Default)]
pub struct Ratio {
    one: Vec<Duration>,
    two: Vec<Duration>,
}

/// Does `one` and `two` in turn, changing who goes first; each returns what it took.
pub fn interleaved(
    rounds: usize,
    mut one: impl FnMut() -> Duration,
    mut two: impl FnMut() -> Duration,
) -> Ratio {
    let mut ratio = Ratio::default();
    for round in 0..rounds {
        if round % 2 == 0 {
            ratio.one.push(one());
            ratio.two.push(two());
        } else {
            ratio.two.push(two());
            ratio.one.push(one());
        }
    }
    ratio
}

impl Ratio {
    /// The rate of the first as a part of the rate of the second: the median over the rounds,
    /// each of which saw the same weather.
    pub fn rate(&self) -> f64 {
        median(self.rates())
    }

    /// The least and the greatest of the rounds' ratios.
    pub fn spread(&self) -> (f64, f64) {
        let rates = self.rates();
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        (least, rates.iter().copied().fold(0.0, f64::max))
    }

    /// What each took in the middle round of its own.
    pub fn medians(&self) -> (Duration, Duration) {
        let of = |all: &[Duration]| {
            Duration::from_secs_f64(median(all.iter().map(Duration::as_secs_f64).collect()))
        };
        (of(&self.one), of(&self.two))
    }

    fn rates(&self) -> Vec<f64> {
        let rounds = self.one.iter().zip(&self.two);
        rounds
            .map(|(one, two)| two.as_secs_f64() / one.as_secs_f64())
            .collect()
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, two) = self.medians();
        let (one, two) = (one.as_secs_f64(), two.as_secs_f64());
        let (least, most) = self.spread();
        write!(
            f,
            "{one:.3} s against {two:.3} s: {:.2} ({least:.2}–{most:.2}) of its rate",
            self.rate()
        )
    }
}

/// # Panics
/// Of nothing there is no median.
pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    if all.len() % 2 == 1 {
        all[middle]
    } else {
        f64::midpoint(all[middle - 1], all[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_round_changes_nothing() {
        let mut first = [10, 10, 500].map(Duration::from_millis).into_iter();
        let mut second = [5, 5, 5].map(Duration::from_millis).into_iter();
        let ratio = interleaved(3, || first.next().unwrap(), || second.next().unwrap());
        assert!((ratio.rate() - 0.5).abs() < 1e-9, "{ratio}");
        let (least, most) = ratio.spread();
        assert!((least - 0.01).abs() < 1e-9 && (most - 0.5).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
