//! What a destination says of one attempt, what it promises about order, and how it likes batches.

use std::sync::Arc;
use std::time::Duration;

/// The end of one attempt of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Confirmed by the destination: it keeps it as durably as it can.
    Delivered,
    /// Not applied; may succeed later, and not before `after` where the destination says so.
    Retry {
        reason: Arc<str>,
        after: Option<Duration>,
    },
    /// Not applied, and never will be.
    Reject { reason: Arc<str> },
    /// Nobody knows whether it was applied: it is sent again with the same delivery id, or, if it is
    /// at_most_once, never.
    Unknown { reason: Arc<str> },
    /// Not applied, and the destination takes nothing until something is mended: credentials, a
    /// missing exchange. The lane stops, and tries one now and then to see whether it is.
    Fatal { reason: Arc<str> },
    /// Not applied, and the destination wants nothing more: the lane pauses, until it is resumed.
    Pause { reason: Arc<str> },
    /// Not applied, and nothing is tried any more until an operator resumes the lane: to try
    /// would be wrong, as after a failed fsync.
    Halt { reason: Arc<str> },
}

impl Verdict {
    /// Its kind and the reason, if it wasn't delivered.
    #[must_use]
    pub fn failure(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Delivered => None,
            Self::Retry { reason, .. } => Some(("retry", reason)),
            Self::Reject { reason } => Some(("reject", reason)),
            Self::Unknown { reason } => Some(("unknown", reason)),
            Self::Fatal { reason } => Some(("fatal", reason)),
            Self::Halt { reason } => Some(("halt", reason)),
            Self::Pause { reason } => Some(("pause", reason)),
        }
    }

    /// How long it is no use to try again, as the destination says.
    #[must_use]
    pub fn after(&self) -> Duration {
        match self {
            Self::Retry { after, .. } => after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    /// Of the next of a batch that is applied in its order alone, behind these: none, if it may be tried.
    #[must_use]
    pub fn behind(before: &[Self]) -> Option<Self> {
        let has_failed = before.last().is_some_and(|last| *last != Self::Delivered);
        has_failed.then(|| Self::retry("not tried: an earlier one failed"))
    }

    pub fn retry(reason: impl Into<Arc<str>>) -> Self {
        Self::retry_after(reason, None)
    }

    pub fn retry_after(reason: impl Into<Arc<str>>, after: Option<Duration>) -> Self {
        Self::Retry {
            reason: reason.into(),
            after,
        }
    }

    pub fn reject(reason: impl Into<Arc<str>>) -> Self {
        Self::Reject {
            reason: reason.into(),
        }
    }

    pub fn unknown(reason: impl Into<Arc<str>>) -> Self {
        Self::Unknown {
            reason: reason.into(),
        }
    }

    pub fn pause(reason: impl Into<Arc<str>>) -> Self {
        Self::Pause {
            reason: reason.into(),
        }
    }

    pub fn fatal(reason: impl Into<Arc<str>>) -> Self {
        Self::Fatal {
            reason: reason.into(),
        }
    }

    pub fn halt(reason: impl Into<Arc<str>>) -> Self {
        Self::Halt {
            reason: reason.into(),
        }
    }
}

/// How a destination keeps the order of a key.
///
/// Two lanes call a destination that has at_most_once targets, too, each from a task of its own: all of
/// this holds of the calls of one lane, and of a key's deliveries in different lanes no order is asked.
/// So a destination takes calls of another lane at any moment between. What it holds back for a key that
/// failed in one lane it may hold back in the other, if it says `Retry` of that: `Unknown` would be the
/// other's last word on what is at_most_once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOrder {
    /// It keeps none among what is sent at once: at most one delivery of a key is unconfirmed.
    OneAtATime,
    /// Many of one key may be in a batch, in order. After the first that isn't delivered it
    /// applies none of that key's later ones in the batch and says `Retry` of them. Only one
    /// batch is in flight.
    PrefixPerKey,
    /// It keeps the order of a key over calls: many of one key may be in flight, in several
    /// batches. A call hands its whole batch over before it waits for anything: the first poll of
    /// one call ends before the next call begins, in journal order. Of a key whose delivery it
    /// neither applied nor rejected it applies none of the later ones in calls that began before it
    /// returned that verdict, and says `Retry`, `Unknown` or `Fatal` of them, too. A reject holds nothing.
    /// What of a strict lane is sent is one batch at a time, as with `PrefixPerKey`.
    ///
    /// First polls of different lanes' calls may meet: each hands its batch over as one, under a lock
    /// of the destination's own that nobody waits under. A call's own failures bar what follows it in
    /// its lane until it returns, whatever the other lane's calls come to meanwhile.
    Pipelined,
}

/// What batches a destination is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub batch_count: usize,
    /// One delivery may be larger.
    pub batch_bytes: u64,
    /// Batches at once, where order allows it.
    pub flights: usize,
    /// How long a lane may rest after it began a batch, for the next one to grow, where nobody
    /// waits for the outcome.
    pub rest: Duration,
}

impl Shape {
    /// Large batches, few at once.
    pub const BULK: Self = Self {
        batch_count: 1024,
        batch_bytes: 4 << 20,
        flights: 4,
        rest: Duration::ZERO,
    };
}
