//! Time, behind a value, so that tests and the simulation own it.
//!
//! Retries and windows run on `Mono`, which never goes back; `deliver_at`, ttl and what people
//! read run on `Wall`.

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

#[derive(Clone, Debug)]
pub enum Clock {
    System {
        started: Instant,
    },
    /// Set by hand: (monotone, wall) in milliseconds.
    Manual(Arc<(AtomicU64, AtomicU64)>),
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
