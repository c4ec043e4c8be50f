//! What the file says of a service, as its client is told. Pure.

use crate::config::settings::{self, Address, BindMatch, ExchangeKind, QueueKind, Tls};
use crate::egress::{
    GrpcOptions, KafkaLogin, KafkaOptions, RabbitmqExchange, RabbitmqKind, RabbitmqOptions,
    RabbitmqQueue, TlsOptions, WebhookFormat, WebhookOptions,
};
use std::time::Duration;

/// `timeout`: of one attempt.
pub fn webhook_options(hook: &settings::Webhook, timeout: Duration) -> WebhookOptions {
    let secrets = hook.secrets.iter();
    WebhookOptions {
        url: hook.url.expose().to_owned(),
        tls: tls_options(hook.tls.as_ref()),
        secrets: secrets.map(|secret| secret.expose().to_owned()).collect(),
        format: match hook.format {
            settings::WebhookFormat::Binary => WebhookFormat::Binary,
            settings::WebhookFormat::Structured => WebhookFormat::Structured,
            settings::WebhookFormat::Raw => WebhookFormat::Raw,
        },
        headers: hook.headers.clone(),
        concurrency: hook.concurrency,
        timeout,
    }
}

/// `gateway`: what the client calls itself. `timeout`: of one attempt.
pub fn kafka_options(kafka: &settings::Kafka, gateway: &str, timeout: Duration) -> KafkaOptions {
    let properties = kafka.properties.iter();
    let login = |sasl: &settings::Sasl| KafkaLogin {
        mechanism: sasl.mechanism.as_str(),
        username: sasl.user().to_owned(),
        password: sasl.secret().to_owned(),
    };
    KafkaOptions {
        brokers: kafka.brokers.clone(),
        client_id: gateway.to_owned(),
        properties: properties
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect(),
        tls: kafka.tls.as_ref().map(|tls| tls_options(Some(tls))),
        sasl: kafka.sasl.as_ref().map(login),
        topic: kafka.topic.clone(),
        create: kafka.create.map(|it| (it.partitions, it.replication)),
        partition_header: kafka.partition_header.clone(),
        timeout,
    }
}

/// `timeout`: of one attempt.
pub fn rabbitmq_options(broker: &settings::Rabbitmq, timeout: Duration) -> RabbitmqOptions {
    let urls = broker.urls.iter().map(Address::expose);
    let exchange = broker.exchange.as_ref();
    RabbitmqOptions {
        urls: urls.map(str::to_owned).collect(),
        username: broker.username.clone(),
        password: (broker.password.as_ref()).map(|secret| secret.expose().to_owned()),
        tls: tls_options(broker.tls.as_ref()),
        topic: broker.topic.clone(),
        exchange: exchange.map(|exchange| RabbitmqExchange {
            name: exchange.name.clone(),
            kind: exchange.kind.map(|kind| match kind {
                ExchangeKind::Direct => RabbitmqKind::Direct,
                ExchangeKind::Topic => RabbitmqKind::Topic,
                ExchangeKind::Fanout => RabbitmqKind::Fanout,
                ExchangeKind::Headers => RabbitmqKind::Headers,
            }),
            declare: exchange.declare,
        }),
        queues: broker.queues.iter().map(rabbitmq_queue).collect(),
        timeout,
    }
}

fn rabbitmq_queue(queue: &settings::Queue) -> RabbitmqQueue {
    let headers = queue.bind_headers.iter();
    RabbitmqQueue {
        name: queue.name.clone(),
        bind: queue.bind.clone(),
        bind_headers: headers
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect(),
        bind_all: queue.bind_match == BindMatch::All,
        declare: queue.declare,
        is_quorum: queue.kind.map(|kind| kind == QueueKind::Quorum),
        max_priority: queue.max_priority,
        max_length: queue.max_length,
        ttl: queue.ttl,
        dead_letter_exchange: queue.dead_letter_exchange.clone(),
    }
}

/// `timeout`: of one attempt.
pub fn grpc_options(sink: &settings::Grpc, timeout: Duration) -> GrpcOptions {
    GrpcOptions {
        url: sink.url.expose().to_owned(),
        tls: tls_options(sink.tls.as_ref()),
        timeout,
    }
}

fn tls_options(tls: Option<&Tls>) -> TlsOptions {
    let Some(tls) = tls else {
        return TlsOptions::default();
    };
    let identity = tls.identity.as_ref();
    TlsOptions {
        ca: tls.ca.clone(),
        identity: identity.map(|it| (it.cert.clone(), it.key.expose().into())),
        server_name: tls.server_name.clone(),
    }
}
