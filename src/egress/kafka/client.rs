//! What a file says of a cluster, as librdkafka is told. Pure.
//!
//! What a promise hangs on is set last: no property says otherwise.

use crate::egress::TlsOptions;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use std::fmt;
use std::time::Duration;

/// What a file says of one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Host and port of some of them.
    pub brokers: Vec<String>,
    /// The gateway's name.
    pub client_id: String,
    /// Those of the allowed ones that the file sets.
    pub properties: Vec<(String, String)>,
    pub tls: Option<TlsOptions>,
    pub sasl: Option<KafkaLogin>,
    /// Of what names no topic itself.
    pub topic: Option<String>,
    /// Of topics that aren't there: partitions and copies. `None`: they are never created.
    pub create: Option<(i32, i32)>,
    /// The header whose value is a partition.
    pub partition_header: Option<String>,
    /// How long what is in flight may take while settings change.
    pub timeout: Duration,
}

#[derive(Clone, PartialEq, Eq)]
pub struct KafkaLogin {
    /// As Kafka calls it.
    pub mechanism: &'static str,
    pub username: String,
    /// Or the token, of `OAUTHBEARER`.
    pub password: String,
}

/// Without the password.
impl fmt::Debug for KafkaLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLogin")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

pub const OAUTHBEARER: &str = "OAUTHBEARER";

/// What librdkafka puts into one batch where no topic takes less.
pub const BATCH_BYTES: usize = 1_000_000;

/// Of properties: what may be set, and why no other may.
const TUNING: [&str; 42] = [
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "client.dns.lookup",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "linger.ms",
    "log.connection.close",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.ms",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    "sticky.partitioning.linger.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// What an idempotent producer keeps in order.
const MAX_IN_FLIGHT: i64 = 5;

/// Why a property can't be set to this, and what to write instead.
#[must_use]
pub fn property_problem(name: &str, value: &str) -> Option<(String, String)> {
    const PROMISE: &str = "a promise hangs on it";
    let (why, help) = match name {
        "max.in.flight" | "max.in.flight.requests.per.connection" => {
            match value.parse::<i64>() {
                Ok(1..=MAX_IN_FLIGHT) => return None,
                _ => (
                    "more of them don't keep their order".to_owned(),
                    format!("write 1 to {MAX_IN_FLIGHT}, or take it out"),
                ),
            }
        }
        "bootstrap.servers" | "metadata.broker.list" => (
            "there is a key for it".to_owned(),
            "write brokers = [\"host:9092\"]".to_owned(),
        ),
        "client.id" => (
            "it is the gateway's name".to_owned(),
            "write name = \"…\" in [gateway]".to_owned(),
        ),
        _ if name.starts_with("sasl.") || name == "security.protocol" => (
            "there is a key for it".to_owned(),
            "write sasl = { mechanism = \"…\", … }, and tls = {} for an encrypted connection"
                .to_owned(),
        ),
        _ if TUNING.contains(&name) => return None,
        _ if name.starts_with("ssl.") || name.contains(".ssl.") => (
            "there is a key for it".to_owned(),
            "write tls = { ca = \"…\", cert = \"…\", key = \"…\" }".to_owned(),
        ),
        "acks" | "request.required.acks" => (
            PROMISE.to_owned(),
            "take it out: it is always \"all\"".to_owned(),
        ),
        "message.timeout.ms" | "delivery.timeout.ms" => (
            PROMISE.to_owned(),
            "take it out: what may have been written is never given up; `retry.give_up_after` ends what fails"
                .to_owned(),
        ),
        "partitioner" => (
            PROMISE.to_owned(),
            "take it out: a key goes where Kafka's own Java producer puts it".to_owned(),
        ),
        "allow.auto.create.topics" => (
            "topics are never created by accident".to_owned(),
            "write create = { partitions = 6, replication = 3 }".to_owned(),
        ),
        "queue.buffering.max.messages" | "queue.buffering.max.kbytes" => (
            "what waits in the client is bounded by the lane".to_owned(),
            "write batch = { count = 256, bytes = \"1MiB\" } in the destination: at most 8 batches wait"
                .to_owned(),
        ),
        "enable.idempotence" | "enable.gapless.guarantee" | "transactional.id" | "retries"
        | "message.send.max.retries" | "queuing.strategy" => {
            (PROMISE.to_owned(), "take it out".to_owned())
        }
        _ => (
            "it isn't among those that are known to break no promise".to_owned(),
            format!("take it out; these may be set: {}", TUNING.join(", ")),
        ),
    };
    Some((format!("`{name}` can't be set to this here: {why}"), help))
}

/// What is wrong with properties together: what librdkafka itself says of them.
///
/// # Errors
/// librdkafka's words.
pub fn check_properties(properties: &[(String, String)]) -> Result<(), String> {
    let mut config = ClientConfig::new();
    for (name, value) in properties {
        config.set(name, value);
    }
    let native = config.create_native_config();
    native.map(drop).map_err(|e| e.to_string())
}

impl KafkaOptions {
    /// `batch_bytes`: no batch is larger, so that no topic refuses one whose records it would take.
    pub(super) fn client(&self, batch_bytes: usize) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        let asked_batch = self
            .properties
            .iter()
            .find(|(name, _)| name == "batch.size");
        let asked_batch = asked_batch.and_then(|(_, value)| value.parse().ok());
        let batch_bytes = asked_batch.unwrap_or(BATCH_BYTES).min(batch_bytes);
        for (name, value) in [
            ("message.max.bytes", "100000000"),
            ("reconnect.backoff.max.ms", "1000"),
            ("socket.keepalive.enable", "true"),
        ] {
            config.set(name, value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, value) in [
            ("bootstrap.servers", &*self.brokers.join(",")),
            ("client.id", &self.client_id),
            ("batch.size", &batch_bytes.to_string()),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
            // What may have been written is never given up.
            ("message.timeout.ms", "0"),
            ("allow.auto.create.topics", "false"),
            // The lane's batches bound it: a full queue would be a failure to it, where there is none.
            ("queue.buffering.max.messages", "0"),
            ("statistics.interval.ms", "0"),
            ("enable.metrics.push", "false"),
        ] {
            config.set(name, value);
        }
        self.secure(&mut config);
        config
    }

    fn secure(&self, config: &mut ClientConfig) {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            if let Some(ca) = &tls.ca {
                config.set("ssl.ca.pem", &**ca);
            }
            if let Some((cert, key)) = &tls.identity {
                config.set("ssl.certificate.pem", &**cert);
                config.set("ssl.key.pem", &**key);
            }
        }
        if let Some(login) = &self.sasl {
            config.set("sasl.mechanism", login.mechanism);
            if login.mechanism != OAUTHBEARER {
                config.set("sasl.username", &login.username);
                config.set("sasl.password", &login.password);
            }
        }
    }
}
