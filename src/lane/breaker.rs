//! The circuit breaker of a lane, and its limit of rate. Pure: time and chance are handed in.
//!
//! What lives here: whether the destination may be called now, and when it may be next.
//! What must not: which delivery is tried.

use super::retry::{RetryPolicy, jittered};
use super::state::BatchId;
use crate::clock::Mono;
use crate::message::DeliveryId;
use fastrand::Rng;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Calls that fail in a row before the circuit opens: at least 1.
    pub failures: u32,
    /// From the opening to the first probe; it grows to `retry.max`.
    pub probe_every: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 5,
            probe_every: Duration::from_secs(5),
        }
    }
}

/// Closed: everything is tried. Open: nothing is, until a probe of one delivery is due, which
/// closes it if the destination takes it, or rejects it: then it works.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Calls that failed since one that didn't.
    failures: u32,
    /// Who failed in them. While that is one delivery alone others are tried at once: the fault
    /// may be its own, and it holds its key, not the others.
    culprit: Culprit,
    open: Option<Open>,
    opened: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Culprit {
    #[default]
    Nobody,
    One(DeliveryId),
    Many,
}

#[derive(Debug)]
struct Open {
    reason: Arc<str>,
    /// By a verdict that the destination takes nothing, or by failures in a row.
    fatal: bool,
    probes: u32,
    next: Mono,
    probe: Option<BatchId>,
    last_probed: Option<DeliveryId>,
}

/// What may be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    All,
    /// One delivery: the first after this one, or the first.
    Probe(Option<DeliveryId>),
    /// One delivery that isn't this one.
    Other(DeliveryId),
    None,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It took something, or refused it for good.
    Answered,
    /// Nothing was taken; of this one if it was alone.
    Failed(Option<DeliveryId>, Arc<str>),
    /// Likewise, and nothing will be until something is mended.
    Fatal(Arc<str>),
}

/// An open circuit, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCircuit {
    pub reason: Arc<str>,
    pub fatal: bool,
    pub probing: bool,
    pub next_probe: Mono,
}

impl Breaker {
    pub fn leave(&self, now: Mono) -> Leave {
        let Some(open) = &self.open else {
            return Leave::All;
        };
        match self.culprit {
            _ if open.probe.is_some() => Leave::None,
            _ if open.next <= now => Leave::Probe(open.last_probed),
            Culprit::One(at) if !open.fatal => Leave::Other(at),
            _ => Leave::None,
        }
    }

    /// When it may be tried next; `None` if it may be now, or if a probe is under way.
    pub fn next_probe(&self) -> Option<Mono> {
        let open = self.open.as_ref().filter(|open| open.probe.is_none());
        open.map(|open| open.next)
    }

    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// A batch of one begins while it is open.
    pub fn probes(&mut self, batch: BatchId, at: DeliveryId) {
        if let Some(open) = &mut self.open {
            open.probe = Some(batch);
            open.last_probed = Some(at);
        }
    }

    /// True if this was a probe that failed.
    pub fn heard(
        &mut self,
        batch: BatchId,
        call: Call,
        now: Mono,
        (policy, retry): (&BreakerPolicy, &RetryPolicy),
        rng: &mut Rng,
    ) -> bool {
        let (alone, reason, fatal) = match call {
            Call::Answered => {
                self.close();
                return false;
            }
            Call::Failed(alone, reason) => (alone, reason, false),
            Call::Fatal(reason) => (None, reason, true),
        };
        self.failures = self.failures.saturating_add(1);
        self.culprit = match (self.culprit, alone) {
            (Culprit::Nobody, Some(at)) => Culprit::One(at),
            (Culprit::One(other), Some(at)) if other == at => Culprit::One(at),
            _ => Culprit::Many,
        };
        let Some(open) = &mut self.open else {
            if fatal || self.failures >= policy.failures {
                self.opened += 1;
                self.open = Some(Open {
                    reason,
                    fatal,
                    probes: 0,
                    next: now.plus(interval(policy, retry, 0, rng)),
                    probe: None,
                    last_probed: None,
                });
            }
            return false;
        };
        if open.probe != Some(batch) {
            // It began before the circuit opened.
            open.fatal |= fatal;
            return false;
        }
        open.probes = open.probes.saturating_add(1);
        open.next = now.plus(interval(policy, retry, open.probes, rng));
        (open.reason, open.fatal, open.probe) = (reason, fatal, None);
        true
    }

    pub fn close(&mut self) {
        (self.failures, self.culprit, self.open) = (0, Culprit::Nobody, None);
    }

    pub fn view(&self) -> Option<OpenCircuit> {
        self.open.as_ref().map(|open| OpenCircuit {
            reason: Arc::clone(&open.reason),
            fatal: open.fatal,
            probing: open.probe.is_some(),
            next_probe: open.next,
        })
    }
}

/// Doubles with each probe that failed, up to the longest of a retry; from half of it to the whole.
fn interval(policy: &BreakerPolicy, retry: &RetryPolicy, probes: u32, rng: &mut Rng) -> Duration {
    let ceiling = policy.probe_every.saturating_mul(1 << probes.min(31));
    let ceiling = ceiling.min(retry.max.max(policy.probe_every));
    jittered(ceiling / 2, ceiling, rng)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatePolicy {
    /// Deliveries, at least 1.
    pub per_second: u32,
    /// Deliveries at once after a rest, at least 1.
    pub burst: u32,
}

/// A token bucket: a delivery tried costs a token.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// In thousandths: a rate a second fills so many a millisecond.
    level: u64,
    at: Mono,
}

const TOKEN: u64 = 1000;

impl Bucket {
    pub const fn full(policy: RatePolicy) -> Self {
        Self {
            level: policy.burst as u64 * TOKEN,
            at: Mono(0),
        }
    }

    /// How many may be tried now.
    pub fn tokens(&mut self, policy: RatePolicy, now: Mono) -> usize {
        let (level, at) = self.level_at(policy, now);
        (self.level, self.at) = (level, at);
        usize::try_from(level / TOKEN).unwrap_or(usize::MAX)
    }

    pub fn take(&mut self, count: usize) {
        self.level = self.level.saturating_sub(count as u64 * TOKEN);
    }

    /// How long until there is a token.
    pub fn wait(&self, policy: RatePolicy, now: Mono) -> Duration {
        let (level, _) = self.level_at(policy, now);
        let missing = TOKEN.saturating_sub(level);
        Duration::from_millis(missing.div_ceil(u64::from(policy.per_second.max(1))))
    }

    fn level_at(&self, policy: RatePolicy, now: Mono) -> (u64, Mono) {
        let passed_ms = now.0.saturating_sub(self.at.0);
        let filled = passed_ms.saturating_mul(u64::from(policy.per_second));
        let most = u64::from(policy.burst.max(1)) * TOKEN;
        (
            self.level.saturating_add(filled).min(most),
            Mono(now.0.max(self.at.0)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        probe_every: Duration::from_secs(5),
    };
    const RETRY: RetryPolicy = RetryPolicy {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(30),
        give_up_after: Duration::from_secs(3600),
    };

    fn at(position: u64) -> DeliveryId {
        DeliveryId::new(position, 0)
    }

    fn failed(position: u64) -> Call {
        Call::Failed(Some(at(position)), "down".into())
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_by_a_probe() {
        let (mut breaker, mut rng) = (Breaker::default(), Rng::with_seed(1));
        let hear = |breaker: &mut Breaker, batch, call, now, rng: &mut Rng| {
            breaker.heard(BatchId(batch), call, Mono(now), (&POLICY, &RETRY), rng)
        };
        for n in 0..2 {
            hear(&mut breaker, n, failed(n), 0, &mut rng);
        }
        hear(&mut breaker, 2, Call::Answered, 0, &mut rng);
        for n in 3..6 {
            assert_eq!(breaker.leave(Mono(0)), Leave::All, "{n}");
            hear(&mut breaker, n, failed(n), 0, &mut rng);
        }
        assert_eq!(breaker.leave(Mono(0)), Leave::None);
        let (mut now, mut longest) = (0, 0);
        for n in 10..30 {
            let due = breaker.next_probe().expect("it is open").0;
            assert!(due > now + 2_499 && due <= now + 30_000, "{now} {due}");
            longest = longest.max(due - now);
            assert_eq!(breaker.leave(Mono(due - 1)), Leave::None);
            now = due;
            let last = (n > 10).then(|| at(n - 1));
            assert_eq!(breaker.leave(Mono(now)), Leave::Probe(last));
            breaker.probes(BatchId(n), at(n));
            assert_eq!(breaker.leave(Mono(now)), Leave::None, "one at a time");
            assert!(
                !hear(&mut breaker, 1, failed(1), now, &mut rng),
                "not the probe"
            );
            assert!(hear(&mut breaker, n, failed(n), now, &mut rng));
        }
        assert!(longest > 20_000, "{longest}");
        breaker.probes(BatchId(99), at(99));
        hear(&mut breaker, 99, Call::Answered, now, &mut rng);
        assert_eq!(
            (breaker.leave(Mono(now)), breaker.opened()),
            (Leave::All, 1)
        );
    }

    #[test]
    fn one_that_fails_alone_keeps_no_other_back() {
        let (mut breaker, mut rng) = (Breaker::default(), Rng::with_seed(1));
        for _ in 0..9 {
            breaker.heard(BatchId(1), failed(7), Mono(0), (&POLICY, &RETRY), &mut rng);
        }
        assert_eq!(breaker.leave(Mono(0)), Leave::Other(at(7)));
        breaker.probes(BatchId(2), at(8));
        breaker.heard(BatchId(2), failed(8), Mono(0), (&POLICY, &RETRY), &mut rng);
        assert_eq!(breaker.leave(Mono(0)), Leave::None);
    }

    #[test]
    fn a_fatal_verdict_opens_at_once() {
        let (mut breaker, mut rng) = (Breaker::default(), Rng::with_seed(1));
        let fatal = Call::Fatal("who are you?".into());
        breaker.heard(BatchId(1), fatal, Mono(0), (&POLICY, &RETRY), &mut rng);
        assert_eq!(breaker.leave(Mono(0)), Leave::None);
        assert!(breaker.view().is_some_and(|open| open.fatal));
    }

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        let policy = RatePolicy {
            per_second: 30,
            burst: 4,
        };
        let (mut bucket, mut rng) = (Bucket::full(policy), Rng::with_seed(1));
        let (mut now, mut taken) = (Mono(0), 0);
        while now.0 < 100_000 {
            let count = bucket.tokens(policy, now);
            assert!(count <= 4);
            let take = rng.usize(0..=count);
            bucket.take(take);
            taken += take as u64;
            assert!(taken * 1000 <= 4_000 + now.0 * 30, "{taken} at {now:?}");
            if bucket.tokens(policy, now) == 0 {
                let wait = bucket.wait(policy, now);
                let just_before = Mono(now.plus(wait).0 - 1);
                assert_eq!(bucket.tokens(policy, just_before), 0);
                now = now.plus(wait);
                assert!(bucket.tokens(policy, now) > 0);
            }
        }
        assert!(taken > 2_900, "{taken}");
    }
}
