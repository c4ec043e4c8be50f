//! What a file says of one RabbitMQ destination.

use crate::egress::TlsOptions;
use std::time::Duration;

#[derive(Clone)]
pub struct RabbitmqOptions {
    /// Of one cluster, tried in turn.
    pub urls: Vec<String>,
    /// In place of the URLs' own.
    pub username: Option<String>,
    pub password: Option<String>,
    pub tls: TlsOptions,
    /// The routing key, if the target names no topic.
    pub topic: Option<String>,
    /// `None`: the default exchange.
    pub exchange: Option<RabbitmqExchange>,
    pub queues: Vec<RabbitmqQueue>,
    /// One attempt.
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct RabbitmqExchange {
    pub name: String,
    /// Known where it is declared.
    pub kind: Option<RabbitmqKind>,
    /// Without it the exchange must be there.
    pub declare: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RabbitmqKind {
    Direct,
    Topic,
    Fanout,
    Headers,
}

#[derive(Clone, Debug)]
pub struct RabbitmqQueue {
    pub name: String,
    /// Routing keys.
    pub bind: Vec<String>,
    /// Names and values of headers.
    pub bind_headers: Vec<(String, String)>,
    /// All of these headers, or any.
    pub bind_all: bool,
    /// Without it the queue must be there.
    pub declare: bool,
    pub is_quorum: Option<bool>,
    pub max_priority: Option<u8>,
    pub max_length: Option<u32>,
    pub ttl: Option<Duration>,
    pub dead_letter_exchange: Option<String>,
}
