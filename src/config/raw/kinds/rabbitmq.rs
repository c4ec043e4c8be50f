//! `type = "rabbitmq"`

use super::super::values::Values;
use super::tls::read_tls;
use crate::config::reader::Reader;
use crate::config::settings::{
    Address, BindMatch, DestinationKind, Exchange, ExchangeKind, Queue, QueueKind, Rabbitmq,
    virtual_host,
};
use crate::message::TopicNames;

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
    let mut queues = Vec::new();
    for queue in values.tables("queues") {
        queues.push(read_queue(queue)?);
        check_queue(queue, exchange.is_some(), reader);
    }
    check_topic(values, reader);
    let urls: Vec<Address> = urls.into_iter().map(Address::new).collect();
    check_virtual_hosts(values, &urls, reader);
    Some(DestinationKind::Rabbitmq(Box::new(Rabbitmq {
        tls: read_tls(values, reader, is_encrypted),
        urls,
        username: values.text("username").map(str::to_owned),
        password: values.secret("password").cloned(),
        topic: values.text("topic").map(str::to_owned),
        exchange,
        queues,
        unroutable: values.text("unroutable").map(str::to_owned),
    })))
}

fn check_topic(values: &Values, reader: &Reader<'_>) {
    let said = values
        .text("topic")
        .map(|topic| TopicNames::Rabbitmq.check(topic));
    if let Some(Err(why)) = said {
        let help = "write a shorter routing key";
        reader.error(&values.place("topic"), why, help);
    }
}

/// Whichever of them is reached, messages must go to the same place.
fn check_virtual_hosts(values: &Values, urls: &[Address], reader: &Reader<'_>) {
    let mut hosts = urls.iter().map(virtual_host);
    let first = hosts.next();
    if hosts.any(|host| Some(host) != first) {
        reader.error(
            &values.place("url"),
            "these URLs have different virtual hosts: they must be of one cluster and one virtual host",
            "write the same path in each of them; another virtual host is another destination",
        );
    }
}

fn check_queue(values: &Values, has_exchange: bool, reader: &Reader<'_>) {
    let is_quorum = values.text("type") == Some("quorum");
    if is_quorum && values.has("max_priority") {
        reader.key_error(
            &values.place("max_priority"),
            "a quorum queue has no `max_priority`: from RabbitMQ 4.0 on it has two levels by itself, before none",
            "take it out, or write type = \"classic\"",
        );
    }
    if has_exchange {
        return;
    }
    for key in ["bind", "bind_headers"] {
        if values.has(key) {
            reader.key_error(
                &values.place(key),
                "there is no `exchange` to bind it to: the default exchange leads to each queue by its name",
                "name an `exchange`, or take this out",
            );
        }
    }
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
