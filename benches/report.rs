//! How figures are taken and written down.

use super::support::ratio::{Ratio, median};
use std::time::{Duration, Instant};

/// One row of the table.
pub struct Row {
    pub what: String,
    pub figure: String,
    pub aim: &'static str,
}

/// A small fraction of the size, to see that a bench runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Full,
    Small,
}

const SMALL_PART: u64 = 100;

impl Size {
    pub fn of(self, full: u64) -> u64 {
        match self {
            Self::Full => full,
            Self::Small => full.div_ceil(SMALL_PART),
        }
    }

    pub fn time(self, full: Duration) -> Duration {
        match self {
            Self::Full => full,
            Self::Small => full.div_f64(SMALL_PART as f64),
        }
    }

    /// Rounds are what makes a figure of many: they go down less.
    pub fn rounds(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Small => full.min(3),
        }
    }
}

/// Adds up pieces of time, with nothing of what lies between them.
#[derive(Default)]
pub struct Stopwatch {
    pub total: Duration,
    pub longest: Duration,
}

impl Stopwatch {
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        let took = started.elapsed();
        self.total += took;
        self.longest = self.longest.max(took);
        done
    }
}

/// "0.93 (0.88–0.97): 131 k/s against 141 k/s".
pub fn compared(ratio: &Ratio, records: u64) -> String {
    let (least, most) = ratio.spread();
    let (one, two) = ratio.medians();
    format!(
        "{:.2} ({least:.2}–{most:.2}): {} against {}",
        ratio.rate(),
        rate(records, one),
        rate(records, two),
    )
}

pub fn rate(count: u64, took: Duration) -> String {
    let each_second = count as f64 / took.as_secs_f64();
    if each_second >= 1e6 {
        format!("{:.2} M/s", each_second / 1e6)
    } else {
        format!("{:.1} k/s", each_second / 1e3)
    }
}

/// "0.412 s (0.400–0.470)".
pub fn times(all: &[Duration]) -> String {
    let seconds: Vec<f64> = all.iter().map(Duration::as_secs_f64).collect();
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = seconds.iter().copied().fold(0.0, f64::max);
    format!("{:.3} s ({least:.3}–{most:.3})", median(seconds))
}

pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
