//! A delivery as the contract has it. Pure.

use super::v1;
use crate::clock::Wall;
use crate::egress::DeliveryNames;
use crate::message::{Delivery, MessageId};
use bytes::Bytes;
use prost_types::Timestamp;

/// What every delivery of one destination has.
pub struct Form {
    /// The names of the two.
    pub gateway: String,
    pub destination: String,
}

impl Form {
    pub fn delivery(&self, delivery: &Delivery, names: &DeliveryNames) -> v1::Delivery {
        let names = names.borrowed();
        let (target, envelope) = (delivery.target(), &delivery.message.envelope);
        let mut headers = Vec::new();
        delivery.headers().each(|name, value| {
            headers.push(v1::DeliveryHeader {
                name: name.to_owned(),
                value: Bytes::copy_from_slice(value),
            });
        });
        let received = || envelope.payload.as_ref().ok();
        v1::Delivery {
            id: names.delivery_id.to_owned(),
            topic: target.topic.as_ref().unwrap_or(&envelope.topic).to_string(),
            key: delivery.key().cloned(),
            headers,
            content_type: delivery.content_type().unwrap_or_default().to_owned(),
            payload: target.payload.as_ref().or_else(received).cloned(),
            priority: target.priority.or(envelope.priority).map(u32::from),
            publisher_id: match &envelope.id {
                MessageId::Publisher(id) => id.clone(),
                _ => String::new(),
            },
            gateway: self.gateway.clone(),
            route: names.route.unwrap_or_default().to_owned(),
            destination: self.destination.clone(),
            position: delivery.at.position.0,
            accepted: Some(timestamp(delivery.accepted)),
        }
    }
}

pub fn timestamp(wall: Wall) -> Timestamp {
    let nanos = (wall.0 % 1000) * 1_000_000;
    Timestamp {
        seconds: i64::try_from(wall.0 / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}
