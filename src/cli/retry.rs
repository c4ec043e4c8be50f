//! When a command tries again, and when it gives up.

use std::time::Duration;
use tokio::time::{Instant, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Pauses that grow from one failure to the next, within a limit that starts anew with each success.
#[derive(Debug)]
pub(super) struct Patience {
    /// `None`: for ever.
    limit: Option<Duration>,
    failing_since: Option<Instant>,
    next: Duration,
}

impl Patience {
    pub const fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            failing_since: None,
            next: FIRST_PAUSE,
        }
    }

    pub const fn succeeded(&mut self) {
        self.failing_since = None;
        self.next = FIRST_PAUSE;
    }

    pub const fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// Sleeps, at least as long as the gateway asked for; false: the limit is reached.
    pub async fn pause(&mut self, asked: Option<Duration>) -> bool {
        let Some(pause) = self.step(asked, Instant::now()) else {
            return false;
        };
        sleep(pause).await;
        true
    }

    fn step(&mut self, asked: Option<Duration>, now: Instant) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert(now);
        // Clients that failed together don't come back together.
        let pause = self.next.mul_f64(0.75 + fastrand::f64() / 2.0);
        let pause = pause.max(asked.unwrap_or_default());
        self.next = (self.next * 2).min(MAX_PAUSE);
        let Some(limit) = self.limit else {
            return Some(pause);
        };
        // The last try is at the limit, not before it.
        let left = limit.saturating_sub(now - since);
        (!left.is_zero()).then(|| pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn pauses_grow_until_the_limit_and_the_last_try_is_at_it() {
        let start = Instant::now();
        let mut now = start;
        let mut patience = Patience::new(Some(LIMIT));
        let mut longest = Duration::ZERO;
        while let Some(pause) = patience.step(None, now) {
            assert!(pause <= MAX_PAUSE.mul_f64(1.25), "{pause:?}");
            longest = longest.max(pause);
            now += pause;
        }
        assert_eq!(now - start, LIMIT);
        assert!(longest > FIRST_PAUSE * 4, "{longest:?}");
        patience.succeeded();
        let pause = patience.step(None, now).expect("the limit starts anew");
        assert!(pause <= FIRST_PAUSE.mul_f64(1.25), "{pause:?}");
    }

    #[test]
    fn what_the_gateway_asks_for_is_kept() {
        let now = Instant::now();
        let asked = Some(Duration::from_secs(7));
        let mut patience = Patience::new(Some(LIMIT));
        assert_eq!(patience.step(asked, now), asked);
        let later = now + Duration::from_secs(7);
        assert_eq!(patience.step(asked, later), Some(Duration::from_secs(3)));
        let mut none = Patience::new(Some(Duration::ZERO));
        assert_eq!(none.step(asked, now), None);
        let mut endless = Patience::new(None);
        assert_eq!(endless.step(asked, now), asked);
        assert_eq!(endless.step(asked, now + LIMIT * 100), asked);
    }
}
