//! The brokers and services that version 1 of the file knows: which keys each may have in a
//! connection, a source and a destination. Which of them is built in is said in `guarantees`.

use super::keys::{Form, Key};
use super::kinds::{self, Make};

pub(super) struct Adapter {
    pub(super) name: &'static str,
    /// What a `[connections.*]` of this type has; the same keys may stand in what uses it.
    pub(super) connection: &'static [Key],
    /// `None`: there is no source of this type.
    pub(super) source: Option<&'static [Key]>,
    pub(super) destination: Option<&'static [Key]>,
    /// What a destination's keys become, for types whose settings are known.
    pub(super) make: Option<Make>,
}

pub(super) const ADAPTERS: [Adapter; 7] = [
    Adapter {
        name: "kafka",
        connection: KAFKA,
        source: Some(&[
            Key::required("topics", Form::Texts, "[\"clicks\"]"),
            Key::new("group", Form::Text),
        ]),
        destination: Some(&[
            Key::new("topic", Form::Text),
            Key::new("create", Form::Table(CREATE)),
            Key::new("partition_header", Form::Text),
        ]),
        make: Some(kinds::kafka),
    },
    Adapter {
        name: "rabbitmq",
        connection: RABBITMQ,
        source: Some(&[
            Key::required("queue", Form::Text, "\"jobs\""),
            Key::new("prefetch", Form::Count(1, 65_535)),
        ]),
        destination: Some(&[
            Key::new("topic", Form::Text),
            Key::new("exchange", Form::Table(EXCHANGE)),
            Key::new("queues", Form::Tables(QUEUE)),
            Key::new("unroutable", Form::Text),
        ]),
        make: Some(kinds::rabbitmq),
    },
    Adapter {
        name: "sns",
        connection: AWS,
        source: None,
        destination: Some(&[
            Key::required("topic_arn", Form::Text, TOPIC_ARN),
            Key::new("subject", Form::Template),
            Key::new("attributes", Form::Texts),
            Key::new("message_limit", Form::Size),
            Key::new("on_doubt", Form::Words(ON_DOUBT)),
        ]),
        make: None,
    },
    Adapter {
        name: "sqs",
        connection: AWS,
        source: Some(&[
            Key::required("queue_url", Form::Url(HTTP), QUEUE_URL),
            Key::new("wait_time", Form::Duration),
            Key::new("visibility_timeout", Form::Duration),
        ]),
        destination: Some(&[
            Key::required("queue_url", Form::Url(HTTP), QUEUE_URL),
            Key::new("attributes", Form::Texts),
            Key::new("message_limit", Form::Size),
            Key::new("on_doubt", Form::Words(ON_DOUBT)),
        ]),
        make: None,
    },
    Adapter {
        name: "webhook",
        connection: &[
            Key::required("url", Form::Url(HTTP), "\"https://localhost:8443/events\""),
            Key::new("tls", Form::Table(TLS)),
            Key::new("secrets", Form::Secrets),
        ],
        source: None,
        destination: Some(&[
            Key::new("format", Form::Words(&["binary", "structured", "raw"])),
            Key::new("headers", Form::Texts),
            Key::new("concurrency", Form::Count(1, 10_000)),
        ]),
        make: Some(kinds::webhook),
    },
    Adapter {
        name: "mqtt",
        connection: MQTT,
        source: Some(&[
            Key::required("topics", Form::Texts, "[\"plant/#\"]"),
            Key::new("qos", Form::Count(0, 2)),
        ]),
        destination: Some(&[
            Key::new("topic", Form::Text),
            Key::new("qos", Form::Count(0, 2)),
            Key::new("retain", Form::Boolean),
        ]),
        make: None,
    },
    Adapter {
        name: "grpc",
        connection: &[
            Key::required("url", Form::Url(HTTP), "\"http://localhost:50051\""),
            Key::new("tls", Form::Table(TLS)),
        ],
        source: None,
        destination: Some(&[]),
        make: Some(kinds::grpc),
    },
];

/// What sources of all types have.
pub(super) const SOURCE: &[Key] = &[
    Key::new("topic", Form::Template),
    Key::new("on_error", Form::Words(&["reject", "skip", "dead_letter"])),
];

const HTTP: &[&str] = &["http", "https"];
const ON_DOUBT: &[&str] = &["send", "dead_letter"];
const TOPIC_ARN: &str = "\"arn:aws:sns:eu-west-1:000000000000:alerts\"";
const QUEUE_URL: &str = "\"https://sqs.eu-west-1.amazonaws.com/000000000000/jobs\"";

const KAFKA: &[Key] = &[
    Key::required("brokers", Form::Addresses, "[\"localhost:9092\"]"),
    Key::new("properties", Form::Properties),
    Key::new("tls", Form::Table(KAFKA_TLS)),
    Key::new("sasl", Form::Table(SASL)),
];

const CREATE: &[Key] = &[
    Key::required("partitions", Form::Count(1, 100_000), "6"),
    Key::required("replication", Form::Count(1, 1_000), "3"),
];

const SASL: &[Key] = &[
    Key::required(
        "mechanism",
        Form::Words(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]),
        "\"SCRAM-SHA-512\"",
    ),
    Key::new("username", Form::Text),
    Key::new("password", Form::Secret),
];

/// Files of the machine's: the authorities that are trusted, and who we are.
const TLS: &[Key] = &[
    Key::new("ca", Form::File),
    Key::new("cert", Form::File),
    Key::new("key", Form::File),
    Key::new("server_name", Form::Text),
];

/// librdkafka knows no other name of a broker than that by which it is reached.
const KAFKA_TLS: &[Key] = &[
    Key::new("ca", Form::File),
    Key::new("cert", Form::File),
    Key::new("key", Form::File),
];

const RABBITMQ: &[Key] = &[
    Key::required(
        "url",
        Form::Urls(&["amqp", "amqps"]),
        "\"amqp://localhost:5672/%2f\"",
    ),
    Key::new("username", Form::Text),
    Key::new("password", Form::Secret),
    Key::new("tls", Form::Table(TLS)),
];

const EXCHANGE: &[Key] = &[
    Key::required("name", Form::Text, "\"tasks\""),
    Key::new(
        "kind",
        Form::Words(&["direct", "topic", "fanout", "headers"]),
    ),
    Key::new("declare", Form::Boolean),
];

const QUEUE: &[Key] = &[
    Key::required("name", Form::Text, "\"resize\""),
    Key::new("bind", Form::Texts),
    Key::new("bind_headers", Form::Properties),
    Key::new("bind_match", Form::Words(&["all", "any"])),
    Key::new("declare", Form::Boolean),
    Key::new("type", Form::Words(&["classic", "quorum"])),
    Key::new("max_priority", Form::Count(1, 255)),
    Key::new("max_length", Form::Count(1, u32::MAX as u64)),
    Key::new("ttl", Form::Duration),
    Key::new("dead_letter_exchange", Form::Text),
];

const AWS: &[Key] = &[
    Key::new("region", Form::Text),
    Key::new("endpoint", Form::Url(HTTP)),
    Key::new("profile", Form::Text),
    Key::new("access_key_id", Form::Text),
    Key::new("secret_access_key", Form::Secret),
    Key::new("session_token", Form::Secret),
    Key::new("role_arn", Form::Text),
];

/// Without a `url` a destination is for the subscribers of our own listener.
const MQTT: &[Key] = &[
    Key::new("url", Form::Url(&["mqtt", "mqtts", "ws", "wss"])),
    Key::new("client_id", Form::Text),
    Key::new("username", Form::Text),
    Key::new("password", Form::Secret),
    Key::new("tls", Form::Table(TLS)),
];

impl Adapter {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        const ALL: &[Adapter] = &ADAPTERS;
        ALL.iter().find(|adapter| adapter.name == name)
    }
}
