//! How long things take, counted in fixed buckets: a few relaxed additions for each, no lock, no
//! allocation.
//!
//! What lives here: the counting and its result as a value. What must not: what is measured, how
//! it is written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of what should take milliseconds. In microseconds; what takes longer is in a bucket without end.
pub const SHORT: &Bounds = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// Of what may have to wait for hours, measured in milliseconds.
pub const LONG: &Bounds = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
    86_400_000_000,
];

/// As many for each, so that a tally needs no allocation.
pub type Bounds = [u64; 17];
const BUCKETS: usize = 18;

/// Shared; whoever measures adds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

/// Many of one batch, to be added at once.
#[derive(Debug)]
pub struct Tally {
    bounds: &'static Bounds,
    buckets: [u32; BUCKETS],
    sum_micros: u64,
}

/// What a histogram held at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Upper bound in seconds (the bound itself is within), and how many took no longer. The rest
    /// took longer than the last.
    pub buckets: Vec<(f64, u64)>,
    pub count: u64,
    pub sum_seconds: f64,
}

fn bucket_of(bounds: &Bounds, micros: u64) -> usize {
    bounds.partition_point(|bound| *bound < micros)
}

impl Histogram {
    #[must_use]
    pub fn new(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            buckets: Default::default(),
            sum_micros: AtomicU64::new(0),
        }
    }

    pub fn record(&self, micros: u64) {
        self.buckets[bucket_of(self.bounds, micros)].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// An empty one, for `add`.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        Tally {
            bounds: self.bounds,
            buckets: [0; BUCKETS],
            sum_micros: 0,
        }
    }

    pub fn add(&self, tally: &Tally) {
        for (bucket, count) in self.buckets.iter().zip(tally.buckets) {
            if count > 0 {
                bucket.fetch_add(count.into(), Ordering::Relaxed);
            }
        }
        if tally.sum_micros > 0 {
            self.sum_micros
                .fetch_add(tally.sum_micros, Ordering::Relaxed);
        }
    }

    /// The count is that of the buckets, whatever is added meanwhile.
    #[must_use]
    pub fn observed(&self) -> Observed {
        let sum_micros = self.sum_micros.load(Ordering::Relaxed);
        let mut count = 0;
        let mut counted = self.buckets.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
        let buckets = self.bounds.iter().map(|bound| seconds(*bound));
        Observed {
            buckets: buckets.zip(counted.by_ref()).collect(),
            count: counted.last().unwrap_or_default(),
            sum_seconds: seconds(sum_micros),
        }
    }
}

impl Tally {
    pub fn record(&mut self, micros: u64) {
        self.buckets[bucket_of(self.bounds, micros)] += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_in_its_bucket_and_all_above() {
        let histogram = Histogram::new(SHORT);
        for micros in [
            0,
            100,
            101,
            999,
            1_000,
            30_000_000,
            30_000_001,
            u64::MAX >> 8,
        ] {
            histogram.record(micros);
        }
        let observed = histogram.observed();
        let upto = |seconds: f64| {
            let mut buckets = observed.buckets.iter();
            buckets.find(|(bound, _)| *bound == seconds).map(|b| b.1)
        };
        assert_eq!(observed.buckets.len(), SHORT.len());
        assert_eq!(upto(0.000_1), Some(2), "a bound is within its bucket");
        assert_eq!((upto(0.000_5), upto(0.001)), (Some(3), Some(5)));
        assert_eq!((upto(30.0), observed.count), (Some(6), 8));
        assert!(observed.buckets.is_sorted());
        let empty = Histogram::new(LONG).observed();
        assert_eq!((empty.count, empty.sum_seconds), (0, 0.0));
    }

    #[test]
    fn a_tally_adds_what_its_parts_would() {
        let (one_by_one, at_once) = (Histogram::new(LONG), Histogram::new(LONG));
        let mut tally = at_once.tally();
        for n in 0..1_000_u64 {
            let micros = n * n * n;
            one_by_one.record(micros);
            tally.record(micros);
        }
        at_once.add(&tally);
        assert_eq!(at_once.observed(), one_by_one.observed());
        assert_eq!(at_once.observed().count, 1_000);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Histogram::new(SHORT);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let histogram = &histogram;
                scope.spawn(move || (0..10_000).for_each(|n| histogram.record(thread * n)));
            }
        });
        let observed = histogram.observed();
        assert_eq!(observed.count, 40_000);
        assert_eq!(observed.sum_seconds, 6.0 * 49_995_000.0 / 1e6);
    }
}
