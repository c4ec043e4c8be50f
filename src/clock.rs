//! Time, behind a value, so that tests and the simulation own it.
//!
//! What lives here: clocks, points in time, and how lengths of time are written.
//!
//! Retries and windows run on `Mono`, which never goes back; `deliver_at`, ttl and what people
//! read run on `Wall`.

mod rfc3339;

pub use rfc3339::{parse_rfc3339, show_rfc3339};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds of monotone time since the clock was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// Milliseconds since 1970 by the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Mono {
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(millis(d)))
    }

    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Wall {
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(millis(d)))
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) const DURATION_UNITS_MS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Longer than any run: what is added to a time must not leave its range.
pub(crate) const MAX_DURATION_MS: u64 = 100 * 365 * 86_400_000;

/// `100ms`, `30s`, `10m`, `24h`, `7d`: as people write lengths of time.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let factor = DURATION_UNITS_MS.iter().find(|(name, _)| *name == unit)?.1;
    let millis = number.checked_mul(factor)?;
    (millis <= MAX_DURATION_MS).then(|| Duration::from_millis(millis))
}

/// The number in front and the unit behind it, one space between them allowed.
pub(crate) fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.strip_prefix(' ').unwrap_or(unit)))
}

#[derive(Clone, Debug)]
pub enum Clock {
    System {
        started: Instant,
    },
    /// Set by hand: (monotone, wall) in milliseconds.
    Manual(Arc<(AtomicU64, AtomicU64)>),
    /// A millisecond goes by whenever somebody looks.
    #[cfg(test)]
    Ticking(Arc<AtomicU64>),
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self::System {
            started: Instant::now(),
        }
    }

    #[must_use]
    pub fn manual(wall: Wall) -> Self {
        Self::Manual(Arc::new((AtomicU64::new(0), AtomicU64::new(wall.0))))
    }

    #[must_use]
    pub fn mono(&self) -> Mono {
        match self {
            Self::System { started } => Mono(millis(started.elapsed())),
            Self::Manual(times) => Mono(times.0.load(Ordering::Relaxed)),
            #[cfg(test)]
            Self::Ticking(time) => Mono(time.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Microseconds since the clock was made, to measure with.
    #[must_use]
    pub fn micros(&self) -> u64 {
        match self {
            Self::System { started } => {
                u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
            }
            Self::Manual(times) => times.0.load(Ordering::Relaxed) * 1000,
            #[cfg(test)]
            Self::Ticking(time) => time.load(Ordering::Relaxed) * 1000,
        }
    }

    #[must_use]
    pub fn wall(&self) -> Wall {
        match self {
            Self::System { .. } => Wall(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, millis),
            ),
            Self::Manual(times) => Wall(times.1.load(Ordering::Relaxed)),
            #[cfg(test)]
            Self::Ticking(time) => Wall(time.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock on; does nothing to the system's.
    pub fn advance(&self, d: Duration) {
        if let Self::Manual(times) = self {
            times.0.fetch_add(millis(d), Ordering::Relaxed);
            times.1.fetch_add(millis(d), Ordering::Relaxed);
        }
    }
}
