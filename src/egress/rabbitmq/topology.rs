//! The exchange, queues and bindings that a file asks for, made or looked for when a connection is made.

use super::options::{RabbitmqExchange, RabbitmqKind, RabbitmqOptions, RabbitmqQueue};
use super::told::NoLink;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

/// # Errors
/// What there isn't or can't be made, in the server's words.
pub async fn ensure(channel: &Channel, options: &RabbitmqOptions) -> Result<(), NoLink> {
    if let Some(exchange) = &options.exchange {
        ensure_exchange(channel, exchange).await?;
    }
    for queue in &options.queues {
        ensure_queue(channel, queue).await?;
        if let Some(exchange) = &options.exchange {
            bind(channel, exchange, queue).await?;
        }
    }
    Ok(())
}

async fn ensure_exchange(channel: &Channel, exchange: &RabbitmqExchange) -> Result<(), NoLink> {
    let kind = match exchange.kind {
        None | Some(RabbitmqKind::Direct) => ExchangeKind::Direct,
        Some(RabbitmqKind::Topic) => ExchangeKind::Topic,
        Some(RabbitmqKind::Fanout) => ExchangeKind::Fanout,
        Some(RabbitmqKind::Headers) => ExchangeKind::Headers,
    };
    let options = ExchangeDeclareOptions {
        passive: !exchange.declare,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let name = short(&exchange.name)?;
    let declared = channel.exchange_declare(name, kind, options, FieldTable::default());
    let what = || format!("the exchange {:?}", exchange.name);
    declared.await.map_err(|e| failed(&what(), &e))
}

async fn ensure_queue(channel: &Channel, queue: &RabbitmqQueue) -> Result<(), NoLink> {
    let options = QueueDeclareOptions {
        passive: !queue.declare,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let arguments = match queue.declare {
        true => arguments(queue)?,
        false => FieldTable::default(),
    };
    let declared = channel.queue_declare(short(&queue.name)?, options, arguments);
    let what = || format!("the queue {:?}", queue.name);
    declared.await.map(drop).map_err(|e| failed(&what(), &e))
}

fn arguments(queue: &RabbitmqQueue) -> Result<FieldTable, NoLink> {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let number = |number: u64| AMQPValue::LongLongInt(i64::try_from(number).unwrap_or(i64::MAX));
    let ttl_ms = queue.ttl.map(|ttl| ttl.as_millis());
    let all = [
        (
            "x-queue-type",
            queue
                .is_quorum
                .map(|is| text(if is { "quorum" } else { "classic" })),
        ),
        (
            "x-max-priority",
            queue.max_priority.map(|n| number(n.into())),
        ),
        ("x-max-length", queue.max_length.map(|n| number(n.into()))),
        // Else a full queue would drop what it confirmed.
        (
            "x-overflow",
            queue.max_length.map(|_| text("reject-publish")),
        ),
        (
            "x-message-ttl",
            ttl_ms.map(|ms| number(u64::try_from(ms).unwrap_or(u64::MAX))),
        ),
        (
            "x-dead-letter-exchange",
            queue.dead_letter_exchange.as_deref().map(text),
        ),
    ];
    let mut table = FieldTable::default();
    for (name, value) in all {
        if let Some(value) = value {
            table.insert(short(name)?, value);
        }
    }
    Ok(table)
}

async fn bind(
    channel: &Channel,
    exchange: &RabbitmqExchange,
    queue: &RabbitmqQueue,
) -> Result<(), NoLink> {
    let mut keys: Vec<&str> = queue.bind.iter().map(String::as_str).collect();
    let takes_all = exchange.kind == Some(RabbitmqKind::Fanout);
    if keys.is_empty() && (takes_all || !queue.bind_headers.is_empty()) {
        keys.push("");
    }
    for key in keys {
        let bound = channel.queue_bind(
            short(&queue.name)?,
            short(&exchange.name)?,
            short(key)?,
            QueueBindOptions::default(),
            matches(queue)?,
        );
        let what = || {
            format!(
                "the binding {key:?} of the queue {:?} to the exchange {:?}",
                queue.name, exchange.name
            )
        };
        bound.await.map_err(|e| failed(&what(), &e))?;
    }
    Ok(())
}

/// Values are text, as those of all headers that we send.
fn matches(queue: &RabbitmqQueue) -> Result<FieldTable, NoLink> {
    let mut table = FieldTable::default();
    if queue.bind_headers.is_empty() {
        return Ok(table);
    }
    let word = if queue.bind_all { "all" } else { "any" };
    table.insert(short("x-match")?, AMQPValue::LongString(word.into()));
    for (name, value) in &queue.bind_headers {
        table.insert(short(name)?, AMQPValue::LongString(value.as_str().into()));
    }
    Ok(table)
}

fn failed(what: &str, error: &lapin::Error) -> NoLink {
    NoLink::of(&format!("{what}: "), error)
}

fn short(name: &str) -> Result<ShortString, NoLink> {
    ShortString::try_new(name).map_err(|_| NoLink {
        why: format!("the name {name:?} is longer than 255 bytes"),
        needs_mending: true,
    })
}
