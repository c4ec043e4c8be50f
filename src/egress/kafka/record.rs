//! A delivery as a record: docs/destinations/kafka.md. Pure.

use super::client::KafkaOptions;
use crate::egress::DeliveryNames;
use crate::message::{Delivery, MessageId, TopicNames};
use bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders};

/// What of a record isn't the delivery's as it is.
pub struct Record<'a> {
    pub topic: &'a str,
    /// Said by the delivery; else the key says it.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// None is a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub headers: OwnedHeaders,
}

impl<'a> Record<'a> {
    /// # Errors
    /// Why it can't be a record: it never will be.
    pub fn of(
        delivery: &'a Delivery,
        names: &DeliveryNames,
        options: &'a KafkaOptions,
    ) -> Result<Self, String> {
        let envelope = &delivery.message.envelope;
        let own = delivery.target().topic.as_deref();
        let topic = own.or(options.topic.as_deref()).unwrap_or(&envelope.topic);
        let unfit = |why: String| format!("the topic {topic:?}: {why}");
        TopicNames::Kafka.check(topic).map_err(unfit)?;
        let of_envelope = || envelope.payload.as_ref().ok();
        let payload = delivery.target().payload.as_ref().or_else(of_envelope);
        Ok(Self {
            topic,
            partition: partition(delivery, options)?,
            key: delivery.key().map(|key| &key[..]),
            payload: payload.map(|payload: &Bytes| &payload[..]),
            timestamp: i64::try_from(delivery.accepted.0).unwrap_or(i64::MAX),
            headers: headers(delivery, names)?,
        })
    }
}

fn partition(delivery: &Delivery, options: &KafkaOptions) -> Result<Option<i32>, String> {
    let Some(header) = &options.partition_header else {
        return Ok(None);
    };
    let mut found = Ok(None);
    delivery.headers().each(|name, value| {
        if name.eq_ignore_ascii_case(header) {
            let number = std::str::from_utf8(value).ok();
            let number = number.and_then(|text| text.parse().ok());
            found = match number {
                Some(number) if number >= 0 => Ok(Some(number)),
                _ => Err(format!("its header {header:?} is no number of a partition")),
            };
        }
    });
    found
}

/// Those that travel along, and ours behind them: Kafka's clients take the last of a name.
fn headers(delivery: &Delivery, names: &DeliveryNames) -> Result<OwnedHeaders, String> {
    let envelope = &delivery.message.envelope;
    let (mut all, mut has_nul) = (Some(OwnedHeaders::new_with_capacity(8)), false);
    let mut add = |key: &str, value: &[u8]| {
        // To clients in C it would be another name.
        has_nul |= key.contains('\0');
        let value = Some(value);
        all = all.take().map(|all| all.insert(Header { key, value }));
    };
    delivery.headers().each(&mut add);
    add("causeway-topic", envelope.topic.as_bytes());
    add("message-id", names.borrowed().delivery_id.as_bytes());
    if let MessageId::Publisher(id) = &envelope.id {
        add("publisher-id", id.as_bytes());
    }
    if let Some(content_type) = delivery.content_type() {
        add("content-type", content_type.as_bytes());
    }
    match has_nul {
        false => Ok(all.unwrap_or_default()),
        true => Err("a header's name has a NUL character in it".to_owned()),
    }
}
