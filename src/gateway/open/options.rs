//! What the file says of a service, as its client is told. Pure.

use crate::config::settings::{self, Tls};
use crate::egress::{KafkaLogin, KafkaOptions, TlsOptions, WebhookFormat, WebhookOptions};
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
