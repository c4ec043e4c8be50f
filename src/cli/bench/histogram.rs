//! Latencies in buckets whose width is below 1 % of what they hold: any number of them in 35 KiB.

use std::time::Duration;

/// Of each power of two, so many buckets.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Microseconds; whatever is longer (12 days) counts as this.
const MAX_MICROS: u64 = (1 << 40) - 1;

#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// As many as the longest needs.
    buckets: Vec<u64>,
    count: u64,
    sum_micros: u128,
    min: Option<Duration>,
    max: Duration,
}

/// Below twice the steps each microsecond has its own bucket; above, each power of two has as many.
const fn bucket_of(micros: u64) -> usize {
    let power = 63 - (micros | STEPS).leading_zeros();
    let shift = power - STEP_BITS;
    ((shift as u64) * STEPS + (micros >> shift)) as usize
}

/// The greatest that a bucket holds.
const fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let step = bucket - shift * STEPS;
    ((step + 1) << shift) - 1
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            buckets: Vec::new(),
            count: 0,
            sum_micros: 0,
            min: None,
            max: Duration::ZERO,
        }
    }

    /// So many messages had this latency.
    pub fn add(&mut self, latency: Duration, messages: u64) {
        if messages == 0 {
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(MAX_MICROS);
        let bucket = bucket_of(micros.min(MAX_MICROS));
        self.reach(bucket + 1);
        self.buckets[bucket] += messages;
        self.count += messages;
        self.sum_micros += u128::from(micros) * u128::from(messages);
        self.min = Some(self.min.map_or(latency, |min| min.min(latency)));
        self.max = self.max.max(latency);
    }

    fn reach(&mut self, buckets: usize) {
        if self.buckets.len() < buckets {
            self.buckets.resize(buckets, 0);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.reach(other.buckets.len());
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum_micros += other.sum_micros;
        self.min = match (self.min, other.min) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.max = self.max.max(other.max);
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub const fn max(&self) -> Duration {
        self.max
    }

    pub fn min(&self) -> Duration {
        self.min.unwrap_or_default()
    }

    pub fn mean(&self) -> Duration {
        let mean = self.sum_micros / u128::from(self.count.max(1));
        Duration::from_micros(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// What that part of all had at most: never less than it truly is, at most 1 % more.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = ((part * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper(bucket)).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKETS: usize = bucket_of(MAX_MICROS) + 1;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        for bucket in 1..BUCKETS {
            let (below, at) = (upper(bucket - 1), upper(bucket));
            assert_eq!(bucket_of(below) + 1, bucket_of(below + 1), "{bucket}");
            assert_eq!(bucket_of(at), bucket);
            let width = at - below;
            assert!(width == 1 || width * 100 <= at, "{bucket}: {width} of {at}");
        }
        assert_eq!(upper(BUCKETS - 1), MAX_MICROS);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_list() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for count in [1, 2, 3, 10, 1_000, 9_999] {
            let mut whole = Histogram::new();
            let mut half = Histogram::new();
            let mut all = Vec::new();
            for number in 0..count {
                let bits = random.u32(1..38);
                let micros = random.u64(..1 << bits);
                all.push(micros);
                let to = if number % 2 == 0 {
                    &mut whole
                } else {
                    &mut half
                };
                to.add(Duration::from_micros(micros), 1);
            }
            whole.merge(&half);
            all.sort_unstable();
            for part in [0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = ((part * count as f64).ceil() as usize).max(1);
                let exact = all[rank - 1];
                let found = whole.quantile(part).as_micros() as u64;
                let is_near = found >= exact && found <= exact + exact / 100 + 1;
                assert!(
                    is_near,
                    "seed {seed}, {part} of {count}: {found}, exactly {exact}"
                );
            }
            assert_eq!(whole.max().as_micros() as u64, all[count - 1]);
            assert_eq!(whole.min().as_micros() as u64, all[0]);
        }
    }

    #[test]
    fn none_and_the_longest_are_no_trouble() {
        let mut histogram = Histogram::new();
        assert!(histogram.is_empty());
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        histogram.add(Duration::MAX, 3);
        assert_eq!(histogram.max(), Duration::MAX);
        assert_eq!(histogram.quantile(0.5), Duration::from_micros(MAX_MICROS));
    }
}
