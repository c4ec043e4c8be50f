//! What the rest of the house is started with: every default filled in, every name checked.

mod adapters;

pub use adapters::{
    Address, BindMatch, Create, Exchange, ExchangeKind, Grpc, Identity, Kafka, Mechanism, Plain,
    Queue, QueueKind, Rabbitmq, Sasl, Tls, Webhook, WebhookFormat, virtual_host,
};

use crate::door::identity::IdentityRule;
use crate::door::limits::Limits;
use crate::routing::{OnFull, OnReject, RouteSpec, Unrouted};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub gateway: Gateway,
    pub listen: Listen,
    /// Everybody may publish, from anywhere, as the principal `anonymous`.
    pub anonymous: bool,
    pub limits: Limits,
    pub journal: Journal,
    pub dedup: Dedup,
    /// In the order of the file: the first match wins.
    pub identities: Vec<IdentityRule>,
    /// By name.
    pub destinations: Vec<Destination>,
    /// The door's own dead letters: `[defaults] dead_letters`.
    pub door_dead_letters_max_bytes: u64,
    pub dead_letters: DeadLetters,
    /// In the order of the file.
    pub routes: Vec<RouteSpec>,
    pub unrouted: Unrouted,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    pub name: String,
    /// As written: relative to the process.
    pub data_dir: PathBuf,
    pub drain_timeout: Duration,
    /// Whether a change of the file is a reload.
    pub reload_on_change: bool,
}

/// A listener is on when it is named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listen {
    pub http: Option<SocketAddr>,
    pub grpc: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub health: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    pub max_bytes: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dedup {
    pub window: Duration,
    pub max_entries: usize,
}

/// What of dead letters operators are not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// Names of headers, in small letters.
    pub redact: Vec<String>,
    pub redact_payload: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    pub name: String,
    pub kind: DestinationKind,
    pub lane: LaneSettings,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DestinationKind {
    Stream {
        retention: Retention,
    },
    Kafka(Box<Kafka>),
    Rabbitmq(Box<Rabbitmq>),
    Webhook(Box<Webhook>),
    Grpc(Box<Grpc>),
    /// The test build's: fails as its script says, writes what it took to `record`.
    #[cfg(feature = "faults")]
    Faulty {
        script: String,
        record: PathBuf,
    },
}

impl Destination {
    /// The destination that gets what this one can't route.
    #[must_use]
    pub fn alternate(&self) -> Option<&str> {
        match &self.kind {
            DestinationKind::Rabbitmq(rabbitmq) => rabbitmq.unroutable.as_deref(),
            _ => None,
        }
    }

    /// What messages go to whose target names no topic.
    #[must_use]
    pub fn own_topic(&self) -> Option<&str> {
        match &self.kind {
            DestinationKind::Kafka(kafka) => kafka.topic.as_deref(),
            DestinationKind::Rabbitmq(rabbitmq) => rabbitmq.topic.as_deref(),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    pub max_bytes: u64,
    pub max_age: Duration,
}

/// How a destination's lane works.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneSettings {
    pub backlog_bytes: u64,
    /// What at_most_once deliveries may take in memory.
    pub memory_bytes: u64,
    /// One attempt.
    pub timeout: Duration,
    pub retry: Retry,
    pub dead_letters_max_bytes: u64,
    pub batch: Batch,
    pub breaker: Breaker,
    pub rate: Option<Rate>,
    /// What the destination says; a route may say otherwise (`TargetSpec`).
    pub on_full: OnFull,
    /// Likewise.
    pub on_reject: OnReject,
    /// An exactly_once target delivers here: journal order for all, no delay.
    pub strict: bool,
}

/// What isn't written is as the kind of destination likes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub count: Option<usize>,
    pub bytes: Option<u64>,
    /// How long one may wait to grow.
    pub time: Duration,
}

/// At most so many deliveries a second are tried, after a rest so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// Calls that fail in a row.
    pub failures: u32,
    pub probe_every: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    pub initial: Duration,
    pub max: Duration,
    pub give_up_after: Duration,
}
