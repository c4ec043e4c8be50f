//! Values of an adapter's keys → the settings of a destination: one file a kind. What one key alone
//! can say wrong is checked by `keys`; here is checked what several say together.

mod grpc;
mod kafka;
mod rabbitmq;
mod tls;
mod webhook;

pub(super) use grpc::grpc;
pub(super) use kafka::kafka;
pub(super) use rabbitmq::rabbitmq;
pub(super) use webhook::webhook;

use super::values::Values;
use crate::config::reader::Reader;
use crate::config::settings::DestinationKind;

/// `None` after an error, which is reported here or was while the keys were read.
pub(super) type Make = fn(&Values, &Reader<'_>) -> Option<DestinationKind>;

#[cfg(test)]
mod tests;
