//! When to try again, and what is known of a delivery that failed.

use crate::clock::{Mono, Wall};
use crate::message::DeliveryId;
use fastrand::Rng;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub initial: Duration,
    pub max: Duration,
    /// Since the first failure in this run; then it is dead-lettered.
    pub give_up_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            give_up_after: Duration::from_secs(24 * 3600),
        }
    }
}

impl RetryPolicy {
    /// Exponential, with full jitter: anything up to twice what the attempt before had at most.
    #[must_use]
    pub fn back_off(&self, attempts: u32, rng: &mut Rng) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let ceiling = self.initial.saturating_mul(1 << doublings).min(self.max);
        jittered(Duration::ZERO, ceiling, rng)
    }
}

/// Anything from one to the other, but something.
pub(super) fn jittered(from: Duration, to: Duration, rng: &mut Rng) -> Duration {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let from = ms(from).max(1);
    Duration::from_millis(rng.u64(from..=ms(to).max(from)))
}

/// What a lane remembers of a delivery that was tried and is not settled.
#[derive(Clone, Debug)]
pub(super) struct Retry {
    pub at: DeliveryId,
    pub attempts: u32,
    /// `None` while no failure counts towards giving up.
    pub first_failure: Option<Mono>,
    pub first_attempt: Wall,
    pub last_attempt: Wall,
    pub reason: Arc<str>,
    /// An attempt's outcome was unknown: it may have been applied.
    pub in_doubt: bool,
    /// Rejected, and the lane blocks on rejects.
    pub blocked: bool,
}

impl Retry {
    pub fn new(at: DeliveryId, started: Wall, reason: Arc<str>) -> Self {
        Self {
            at,
            attempts: 0,
            first_failure: None,
            first_attempt: started,
            last_attempt: started,
            reason,
            in_doubt: false,
            blocked: false,
        }
    }

    /// When to try again after a failure that may pass, or `None` if it is time to give up. The
    /// last try is made when the time is up, not before; any other not before `after`, which is the
    /// destination's wish.
    pub fn next_try(
        &mut self,
        policy: &RetryPolicy,
        now: Mono,
        after: Duration,
        rng: &mut Rng,
    ) -> Option<Mono> {
        let first = *self.first_failure.get_or_insert(now);
        let end = first.plus(policy.give_up_after);
        let wait = policy.back_off(self.attempts, rng).max(after);
        (now < end).then(|| now.plus(wait).min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(30),
        give_up_after: Duration::from_secs(60),
    };

    #[test]
    fn back_off_doubles_to_the_maximum_and_jitters_fully() {
        let mut rng = Rng::with_seed(1);
        for (attempts, ceiling_ms) in [(1, 100), (2, 200), (5, 1600), (10, 30_000), (99, 30_000)] {
            let delays: Vec<_> = (0..2000)
                .map(|_| POLICY.back_off(attempts, &mut rng).as_millis())
                .collect();
            assert!(
                delays.iter().all(|d| (1..=ceiling_ms).contains(d)),
                "{attempts}"
            );
            assert!(delays.iter().any(|d| *d < ceiling_ms / 10), "{attempts}");
            assert!(
                delays.iter().any(|d| *d > ceiling_ms * 9 / 10),
                "{attempts}"
            );
        }
    }

    #[test]
    fn gives_up_at_its_time_and_tries_once_more_then() {
        let mut rng = Rng::with_seed(2);
        let mut retry = Retry::new(DeliveryId::new(0, 0), Wall(0), "busy".into());
        let (mut now, mut tries) = (Mono(5), 0);
        while let Some(next) = retry.next_try(&POLICY, now, Duration::ZERO, &mut rng) {
            assert!(next > now && next <= Mono(60_005));
            retry.attempts += 1;
            (now, tries) = (next, tries + 1);
        }
        assert_eq!(now, Mono(60_005));
        assert!(tries > 3);
    }

    #[test]
    fn a_destinations_wish_is_waited_for_but_not_beyond_giving_up() {
        let mut rng = Rng::with_seed(3);
        let mut retry = Retry::new(DeliveryId::new(0, 0), Wall(0), "busy".into());
        for (now, after_s, due) in [(0, 10, 10_000), (10_000, 20, 30_000), (30_000, 99, 60_000)] {
            let after = Duration::from_secs(after_s);
            let next = retry.next_try(&POLICY, Mono(now), after, &mut rng);
            assert_eq!(next, Some(Mono(due)));
            retry.attempts += 1;
        }
    }
}
