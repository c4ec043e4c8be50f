//! What a publisher is told.

use super::Position;
use std::sync::Arc;

/// The answer to a publish that was taken, and to a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// None in a look-up by position, when only the id's hash is left.
    pub id: Option<String>,
    /// None if nothing was journalled (`[unrouted] action = "drop"`, a plan that is at_most_once).
    pub position: Option<Position>,
    pub duplicate: bool,
    pub targets: Arc<[TargetState]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState {
    pub route: Arc<str>,
    pub destination: Arc<str>,
    pub state: DeliveryState,
}

/// Parsed by people outside: names as `as_str` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    Received,
    Stored,
    Delivered,
    DeadLettered,
    Discarded,
    Unknown,
}

impl DeliveryState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Stored => "stored",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
            Self::Discarded => "discarded",
            Self::Unknown => "unknown",
        }
    }

    /// The state of the whole: `stored` while any is pending, else `dead_lettered` if any is,
    /// else `delivered` if any, else `discarded`. Nobody knows what becomes of one that is `received`:
    /// it counts only where there is nothing else.
    #[must_use]
    pub fn of_all(states: impl IntoIterator<Item = Self>) -> Self {
        let (mut dead, mut delivered, mut unknown) = (false, false, false);
        let (mut received, mut discarded) = (false, false);
        for state in states {
            match state {
                Self::Stored => return Self::Stored,
                Self::Received => received = true,
                Self::DeadLettered => dead = true,
                Self::Delivered => delivered = true,
                Self::Unknown => unknown = true,
                Self::Discarded => discarded = true,
            }
        }
        match (dead, delivered, unknown) {
            (true, _, _) => Self::DeadLettered,
            (_, true, _) => Self::Delivered,
            (_, _, true) => Self::Unknown,
            _ if received && !discarded => Self::Received,
            _ => Self::Discarded,
        }
    }
}

/// Why a publish was not taken. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("{what} is {actual} bytes, more than the limit of {limit} ({setting})")]
    TooLarge {
        what: &'static str,
        actual: usize,
        limit: usize,
        setting: &'static str,
    },
    /// Of what isn't counted in bytes.
    #[error("{actual} {what}, more than the limit of {limit} ({setting})")]
    TooMany {
        what: &'static str,
        actual: usize,
        limit: usize,
        setting: &'static str,
    },
    #[error("an id is needed: {0}")]
    IdNeeded(String),
    #[error("no route matches this message, of the topic {topic:?}")]
    NoRoute { topic: String },
    /// An expression failed, or rendered what can't be delivered, and the route says
    /// `on_error = "reject"`.
    #[error("the route {route:?} refuses it: {reason}")]
    RouteRefused { route: String, reason: String },
    #[error(
        "the id {id:?} was used for another payload, key or content type at position {position}"
    )]
    Conflict { id: String, position: Position },
    #[error("the backlog of destination {lane:?} is full ({limit_bytes} bytes)")]
    BacklogFull { lane: String, limit_bytes: u64 },
    #[error("the journal is full: {0}")]
    JournalFull(String),
    #[error("no room for another id: {entries} ids of exactly-once messages fill the dedup window")]
    DedupFull { entries: usize },
    #[error("too many publishes wait to be stored")]
    Busy,
    #[error("the gateway is stopping")]
    Stopping,
    #[error("the journal takes no writes until it is restarted: {0}")]
    JournalFailed(String),
    #[error("an earlier message that it must not overtake was refused")]
    EarlierRefused {
        /// As that one.
        is_retriable: bool,
    },
}

impl Refusal {
    /// Whether the same publish may succeed later.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(
            self,
            Self::BacklogFull { .. }
                | Self::JournalFull(_)
                | Self::DedupFull { .. }
                | Self::Busy
                | Self::Stopping
                | Self::JournalFailed(_)
                | Self::EarlierRefused { is_retriable: true }
        )
    }

    /// What `reason` may say.
    pub const REASONS: [&'static str; 14] = [
        "malformed",
        "too_large",
        "too_many",
        "id_needed",
        "no_route",
        "route_refused",
        "conflict",
        "backlog_full",
        "journal_full",
        "dedup_full",
        "busy",
        "stopping",
        "journal_failed",
        "earlier_refused",
    ];

    /// The `reason` label of metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::TooMany { .. } => "too_many",
            Self::IdNeeded(_) => "id_needed",
            Self::NoRoute { .. } => "no_route",
            Self::RouteRefused { .. } => "route_refused",
            Self::Conflict { .. } => "conflict",
            Self::BacklogFull { .. } => "backlog_full",
            Self::JournalFull(_) => "journal_full",
            Self::DedupFull { .. } => "dedup_full",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::JournalFailed(_) => "journal_failed",
            Self::EarlierRefused { .. } => "earlier_refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DeliveryState::{
        self, DeadLettered, Delivered, Discarded, Received, Stored, Unknown,
    };

    #[test]
    fn what_is_only_received_counts_where_there_is_nothing_else() {
        for (states, whole) in [
            (&[Received, Received] as &[_], Received),
            (&[Received, Stored], Stored),
            (&[Stored, Received], Stored),
            (&[Received, Delivered], Delivered),
            (&[Received, DeadLettered, Delivered], DeadLettered),
            (&[Received, Discarded], Discarded),
            (&[Received, Unknown], Unknown),
            (&[], Discarded),
        ] {
            let got = DeliveryState::of_all(states.iter().copied());
            assert_eq!(got, whole, "{states:?}");
        }
    }
}
