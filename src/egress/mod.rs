//! Destinations: one file each, behind one closed enum.
//!
//! What lives here: how a batch of deliveries reaches a destination, and what it said.
//! What must not: when and in which order to try, retries, the journal.

mod dial;
#[cfg(any(test, feature = "faults"))]
pub mod faulty;
pub mod grpc;
pub mod kafka;
mod names;
mod rabbitmq;
pub mod stream;
mod users;
mod verdict;
mod webhook;
mod words;

pub use dial::TlsOptions;
pub use grpc::{GrpcOptions, GrpcSink};
pub use kafka::{Kafka, KafkaLogin, KafkaOptions};
pub use names::{DeliveryNames, NameBook, Names};
pub use rabbitmq::{Rabbitmq, RabbitmqExchange, RabbitmqKind, RabbitmqOptions, RabbitmqQueue};
pub use stream::{BuriedLetters, DeadLetterLog, Letter};
pub use verdict::{KeyOrder, Shape, Verdict};
pub use webhook::{Webhook, WebhookFormat, WebhookOptions};
pub use words::UNROUTABLE;

use crate::message::{Delivery, Position};
#[cfg(any(test, feature = "faults"))]
use faulty::Faulty;
use std::time::Duration;
use stream::StreamDestination;
use users::Users;

/// Every kind of destination that is built in.
pub enum Egress {
    Stream(StreamDestination),
    Rabbitmq(Rabbitmq),
    Webhook(Webhook),
    Grpc(GrpcSink),
    Kafka(Kafka),
    /// Of a lane whose destination is gone, and of the door's lane: nothing is ever tried there.
    Nowhere,
    #[cfg(any(test, feature = "faults"))]
    Faulty(Faulty),
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// One for each delivery, in the batch's order.
    pub verdicts: Vec<Verdict>,
    /// The offset after the last record of a destination that counts its own.
    pub mark: Option<Position>,
}

impl Egress {
    /// Tries a batch. How long an attempt may take is the destination's own matter: only it knows
    /// whether what it gave up may still be applied. With `strict` it applies nothing after the
    /// first that it doesn't deliver.
    pub async fn deliver(&self, deliveries: &[Delivery], strict: bool) -> Attempted {
        match self {
            // After a failure it applies nothing anyway.
            Self::Stream(stream) => stream.deliver(deliveries).await,
            Self::Rabbitmq(rabbitmq) => rabbitmq.deliver(deliveries, strict).await,
            Self::Webhook(webhook) => webhook.deliver(deliveries, strict).await,
            Self::Grpc(sink) => sink.deliver(deliveries, strict).await,
            Self::Kafka(kafka) => kafka.deliver(deliveries, strict).await,
            Self::Nowhere => Attempted {
                verdicts: vec![Verdict::halt("there is no such destination"); deliveries.len()],
                mark: None,
            },
            #[cfg(any(test, feature = "faults"))]
            Self::Faulty(faulty) => faulty.deliver(deliveries, strict).await,
        }
    }

    /// At the start of a lane that delivers to it: there may be two, and a new one begins while an old one ends.
    pub fn enter(&self) {
        if let Some(users) = self.users() {
            users.enter();
        }
    }

    /// At the end of a lane: the last one closes it, in bounded time.
    pub async fn leave(&self) {
        if !self.users().is_some_and(Users::leave) {
            return;
        }
        match self {
            Self::Kafka(kafka) => kafka.close().await,
            Self::Rabbitmq(rabbitmq) => rabbitmq.close().await,
            _ => {}
        }
    }

    /// Of a destination that is to be closed.
    const fn users(&self) -> Option<&Users> {
        match self {
            Self::Kafka(kafka) => Some(kafka.users()),
            Self::Rabbitmq(rabbitmq) => Some(rabbitmq.users()),
            _ => None,
        }
    }

    /// How a lane batches for it. A stream syncs the disk that the journal is on, and pays for each
    /// batch what it pays for a hundred records.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self {
            Self::Stream(_) => Shape {
                batch_count: 4096,
                rest: Duration::from_millis(2),
                ..Shape::BULK
            },
            // Each batch has a channel of its own.
            Self::Rabbitmq(_) => Shape {
                batch_count: 256,
                flights: 16,
                ..Shape::BULK
            },
            Self::Webhook(webhook) => Shape {
                batch_count: 1,
                flights: webhook.concurrency(),
                ..Shape::BULK
            },
            Self::Grpc(_) => GrpcSink::SHAPE,
            Self::Kafka(_) => Kafka::SHAPE,
            Self::Nowhere => Shape::BULK,
            #[cfg(any(test, feature = "faults"))]
            Self::Faulty(faulty) => faulty.shape(),
        }
    }

    #[must_use]
    pub fn key_order(&self) -> KeyOrder {
        match self {
            Self::Stream(_) | Self::Nowhere => KeyOrder::PrefixPerKey,
            Self::Rabbitmq(_) | Self::Webhook(_) | Self::Grpc(_) => KeyOrder::OneAtATime,
            Self::Kafka(_) => KeyOrder::Pipelined,
            #[cfg(any(test, feature = "faults"))]
            Self::Faulty(faulty) => faulty.key_order(),
        }
    }
}
