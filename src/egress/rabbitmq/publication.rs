//! A delivery as a publish: routing key, properties, body. Pure.

use super::MAX_SHORT_BYTES;
use crate::clock::Wall;
use crate::egress::DeliveryNames;
use crate::message::{Delivery, MessageId};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use std::collections::BTreeMap;

const PUBLISHER_ID: &str = "publisher-id";
const TOPIC: &str = "causeway-topic";
const KEY: &str = "causeway-key";
/// A server adds routing keys that it finds in headers of these names.
const SENDER_SELECTED: [&str; 2] = ["CC", "BCC"];
const PERSISTENT: u8 = 2;
/// A server takes no longer one: 2³² - 1 ms.
const MAX_EXPIRATION_MS: u64 = u32::MAX as u64;
/// Around headers: the frame's own, the properties' flags, numbers and lengths.
const FRAME_OVERHEAD_BYTES: usize = 64;
/// Of a header: the lengths of name and value, and the value's type.
const HEADER_OVERHEAD_BYTES: usize = 6;

#[derive(Debug)]
pub struct Publication {
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// What makes publications of one destination.
pub struct Form<'a> {
    /// The routing key of targets that name no topic.
    pub topic: Option<&'a str>,
    pub max_frame_bytes: u32,
    pub now: Wall,
}

impl Form<'_> {
    /// # Errors
    /// Why this message can't be published: it never will be.
    pub fn publication(
        &self,
        delivery: &Delivery,
        names: &DeliveryNames,
    ) -> Result<Publication, String> {
        let envelope = &delivery.message.envelope;
        let target = delivery.target();
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(short("delivery id", names.borrowed().delivery_id)?)
            .with_timestamp(delivery.accepted.0 / 1000);
        if let Some(content_type) = delivery.content_type() {
            properties = properties.with_content_type(short("content type", content_type)?);
        }
        if let Some(priority) = target.priority.or(envelope.priority) {
            properties = properties.with_priority(priority);
        }
        let expires_at = target.expires_at.or(envelope.expires_at);
        let left = expires_at.map(|at| at.0.saturating_sub(self.now.0));
        if let Some(left) = left.filter(|left| *left <= MAX_EXPIRATION_MS) {
            properties = properties.with_expiration(short("ttl", left.to_string())?);
        }
        let (headers, bytes) = self.headers(delivery)?;
        if bytes + FRAME_OVERHEAD_BYTES + 6 * MAX_SHORT_BYTES > self.max_frame_bytes as usize {
            return Err(format!(
                "its headers have {bytes} bytes: with the properties more than RabbitMQ's frame_max of {}",
                self.max_frame_bytes
            ));
        }
        for (name, value) in headers.inner() {
            properties = of_header(properties, name.as_str(), value);
        }
        let received = || envelope.payload.as_ref().ok();
        let body = target.payload.as_ref().or_else(received);
        Ok(Publication {
            routing_key: self.routing_key(delivery)?,
            properties: properties.with_headers(headers),
            body: body.cloned().unwrap_or_default(),
        })
    }

    fn routing_key(&self, delivery: &Delivery) -> Result<ShortString, String> {
        match delivery.target().topic.as_deref().or(self.topic) {
            Some(own) => short("routing key", own),
            None => short(
                "routing key",
                delivery.message.envelope.topic.replace('/', "."),
            ),
        }
    }

    /// All that travel, and how many bytes they take.
    fn headers(&self, delivery: &Delivery) -> Result<(FieldTable, usize), String> {
        let envelope = &delivery.message.envelope;
        let mut all: BTreeMap<ShortString, Vec<LongString>> = BTreeMap::new();
        let mut problem = None;
        delivery.headers().each(|name, value| {
            match header_name(name) {
                Ok(name) => all.entry(name).or_default().push(value.into()),
                Err(why) => problem = Some(why),
            };
        });
        if let Some(why) = problem {
            return Err(why);
        }
        let mut own = vec![(TOPIC, envelope.topic.as_bytes())];
        if let MessageId::Publisher(id) = &envelope.id {
            own.push((PUBLISHER_ID, id.as_bytes()));
        }
        if let Some(key) = delivery.key() {
            own.push((KEY, key));
        }
        for (name, value) in own {
            all.insert(header_name(name)?, vec![value.into()]);
        }
        let mut bytes = 0;
        let mut table = FieldTable::default();
        for (name, values) in all {
            let of_values: usize = values.iter().map(LongString::len).sum();
            bytes += name.as_str().len() + of_values + HEADER_OVERHEAD_BYTES * (values.len() + 1);
            table.insert(name, value(values));
        }
        Ok((table, bytes))
    }
}

/// What stands several times is an array.
fn value(mut values: Vec<LongString>) -> AMQPValue {
    match values.len() {
        1 => AMQPValue::LongString(values.remove(0)),
        _ => {
            let values: Vec<_> = values.into_iter().map(AMQPValue::LongString).collect();
            AMQPValue::FieldArray(FieldArray::from(values))
        }
    }
}

/// Some properties are said by headers of their names. A value that can't be one is a header alone.
fn of_header(properties: BasicProperties, name: &str, value: &AMQPValue) -> BasicProperties {
    let text = match value {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok(),
        _ => None,
    };
    let Some(text) = text.and_then(|text| ShortString::try_new(text).ok()) else {
        return properties;
    };
    match name.to_ascii_lowercase().replace('-', "_").as_str() {
        "correlation_id" => properties.with_correlation_id(text),
        "reply_to" => properties.with_reply_to(text),
        "type" => properties.with_type(text),
        _ => properties,
    }
}

fn header_name(name: &str) -> Result<ShortString, String> {
    if SENDER_SELECTED.contains(&name) {
        return Err(format!(
            "its header {name:?} would be more routing keys to RabbitMQ"
        ));
    }
    short("name of a header", name)
}

fn short(what: &str, text: impl Into<String>) -> Result<ShortString, String> {
    let text = text.into();
    let bytes = text.len();
    ShortString::try_new(text).map_err(|_| {
        format!("its {what} has {bytes} bytes, more than AMQP's limit of {MAX_SHORT_BYTES}")
    })
}

#[cfg(test)]
pub(super) mod tests;
