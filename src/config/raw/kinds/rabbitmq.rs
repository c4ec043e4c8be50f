//! `type = "rabbitmq"`

use super::super::values::Values;
use super::tls::read_tls;
use crate::config::reader::Reader;
use crate::config::settings::{
    Address, BindMatch, DestinationKind, Exchange, ExchangeKind, Queue, QueueKind, Rabbitmq,
};

pub(in crate::config::raw) fn rabbitmq(
    values: &Values,
    reader: &Reader<'_>,
) -> Option<DestinationKind> {
    let urls = values.plain_texts("url");
    let is_encrypted = urls.iter().all(|url| url.starts_with("amqps:"));
    let exchange = match values.table("exchange") {
        Some(exchange) => Some(read_exchange(exchange, reader)?),
        None => None,
    };
    let queues = values.tables("queues").iter().map(read_queue);
    Some(DestinationKind::Rabbitmq(Box::new(Rabbitmq {
        tls: read_tls(values, reader, is_encrypted),
        urls: urls.into_iter().map(Address::new).collect(),
        username: values.text("username").map(str::to_owned),
        password: values.secret("password").cloned(),
        topic: values.text("topic").map(str::to_owned),
        exchange,
        queues: queues.collect::<Option<_>>()?,
        unroutable: values.text("unroutable").map(str::to_owned),
    })))
}

fn read_exchange(values: &Values, reader: &Reader<'_>) -> Option<Exchange> {
    let kind = match values.text("kind") {
        Some("direct") => Some(ExchangeKind::Direct),
        Some("topic") => Some(ExchangeKind::Topic),
        Some("fanout") => Some(ExchangeKind::Fanout),
        Some("headers") => Some(ExchangeKind::Headers),
        _ => None,
    };
    let declare = values.boolean("declare").unwrap_or_default();
    if declare && !values.has("kind") {
        reader.error(
            &values.place("declare"),
            "to declare an exchange its `kind` is needed",
            "write kind = \"topic\" beside it, or \"direct\", \"fanout\" or \"headers\"",
        );
    }
    Some(Exchange {
        name: values.text("name")?.to_owned(),
        kind,
        declare,
    })
}

fn read_queue(values: &Values) -> Option<Queue> {
    let kind = match values.text("type") {
        Some("classic") => Some(QueueKind::Classic),
        Some("quorum") => Some(QueueKind::Quorum),
        _ => None,
    };
    let bind_match = match values.text("bind_match") {
        Some("any") => BindMatch::Any,
        _ => BindMatch::All,
    };
    Some(Queue {
        name: values.text("name")?.to_owned(),
        bind: values.plain_texts("bind"),
        bind_headers: values.properties("bind_headers"),
        bind_match,
        declare: values.boolean("declare").unwrap_or(true),
        kind,
        max_priority: values.count("max_priority"),
        max_length: values.count("max_length"),
        ttl: values.duration("ttl"),
        dead_letter_exchange: values.text("dead_letter_exchange").map(str::to_owned),
    })
}
