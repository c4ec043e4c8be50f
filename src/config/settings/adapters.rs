//! What the file says of brokers and services: the keys of a destination and of its connection
//! together, as plain data. What they mean to a client is the destination's own matter.

use crate::config::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// Host and port of some of them.
    pub brokers: Vec<String>,
    /// As written: which of them may be set is checked by who knows the client.
    pub properties: BTreeMap<String, Plain>,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
    /// The target's topic, if the target names none.
    pub topic: Option<String>,
    /// `None`: topics are never created.
    pub create: Option<Create>,
    /// The header whose value is the partition.
    pub partition_header: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OAuthBearer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    pub partitions: i32,
    pub replication: i32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rabbitmq {
    /// Of one cluster; at least one. Their virtual host is the same.
    pub urls: Vec<Address>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub tls: Option<Tls>,
    /// The routing key, if the target names no topic.
    pub topic: Option<String>,
    /// `None`: the default exchange, which leads straight to the queue that the routing key names.
    pub exchange: Option<Exchange>,
    pub queues: Vec<Queue>,
    /// The destination of what no queue takes; else it goes to the dead letters.
    pub unroutable: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub name: String,
    /// Known where it is declared.
    pub kind: Option<ExchangeKind>,
    /// Without it the exchange must be there.
    pub declare: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    Direct,
    Topic,
    Fanout,
    Headers,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    pub name: String,
    /// Routing keys.
    pub bind: Vec<String>,
    pub bind_headers: BTreeMap<String, Plain>,
    pub bind_match: BindMatch,
    /// Without it the queue must be there; its bindings are made either way.
    pub declare: bool,
    pub kind: Option<QueueKind>,
    pub max_priority: Option<u8>,
    pub max_length: Option<u32>,
    pub ttl: Option<Duration>,
    pub dead_letter_exchange: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindMatch {
    #[default]
    All,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    Classic,
    Quorum,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub url: Address,
    pub tls: Option<Tls>,
    /// Standard Webhooks: one signature of each.
    pub secrets: Vec<Secret>,
    pub format: WebhookFormat,
    /// Names of headers that travel along, in small letters.
    pub headers: Vec<String>,
    /// Requests at once.
    pub concurrency: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookFormat {
    /// CloudEvents, with the attributes as headers.
    #[default]
    Binary,
    /// CloudEvents, all of it in the body.
    Structured,
    Raw,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Grpc {
    pub url: Address,
    pub tls: Option<Tls>,
}

/// The contents of the files, so that a reload sees that they changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// Certificates, PEM. `None`: those that the client trusts by itself.
    pub ca: Option<Arc<str>>,
    pub identity: Option<Identity>,
    /// If it isn't the host's.
    pub server_name: Option<String>,
}

/// Who we are: both PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub cert: Arc<str>,
    pub key: Secret,
}

/// A URL. What prints it leaves out a name, a password and a query, where tokens like to be.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

/// A value as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    Text(String),
    Whole(i64),
    Fraction(f64),
    Boolean(bool),
}

/// Decoded: none in the URL is `/`, which clients write as `%2f`.
#[must_use]
pub fn virtual_host(url: &Address) -> String {
    let url = url.expose();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['?', '#']).next().unwrap_or_default();
    let (_, path) = host.split_once('/').unwrap_or((host, "%2f"));
    let path = if path.is_empty() { "%2f" } else { path };
    percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .into_owned()
}

impl Rabbitmq {
    /// Of all its URLs.
    #[must_use]
    pub fn virtual_host(&self) -> String {
        self.urls.first().map_or_else(|| "/".into(), virtual_host)
    }

    /// That of the default exchange is empty.
    #[must_use]
    pub fn exchange_name(&self) -> &str {
        let exchange = self.exchange.as_ref();
        exchange.map_or("", |exchange| exchange.name.as_str())
    }
}

impl Address {
    #[must_use]
    pub const fn new(url: String) -> Self {
        Self(url)
    }

    /// For the one place that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let (rest, query) = match rest.find(['?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
        let query = if query.is_empty() { "" } else { "?…" };
        write!(f, "{scheme}://{host}{path}{query}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Sasl {
    #[must_use]
    pub fn user(&self) -> &str {
        self.username.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn secret(&self) -> &str {
        self.password.as_ref().map_or("", Secret::expose)
    }
}

impl Mechanism {
    /// As Kafka calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Fraction(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_neither_password_nor_query() {
        for (url, shown) in [
            ("http://localhost:1", "http://localhost:1"),
            ("https://a:hunter2@h:1/p/q?token=x", "https://h:1/p/q?…"),
            ("amqp://a:p@ss@h:1/%2f", "amqp://h:1/%2f"),
            ("https://h?k=/a@b", "https://h?…"),
            ("https://h/a@b", "https://h/a@b"),
        ] {
            let address = Address::new(url.to_owned());
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("{shown:?}"));
            assert_eq!(address.expose(), url);
        }
    }
}
