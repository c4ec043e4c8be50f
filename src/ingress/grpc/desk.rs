//! What all calls of a listener share.

use super::counters::Counters;
use super::{ANONYMOUS, SOURCE};
use crate::clock::Clock;
use crate::ingress::in_flight::InFlight;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// A message may have so much beside its payload, headers and topic: id, key, content type, lengths.
const MESSAGE_SLACK_BYTES: usize = 64 << 10;
/// Of a call of PublishBatch: what gRPC libraries send at most by default. One message always fits.
const BATCH_BYTES: usize = 4 << 20;
/// In front of each message on the wire.
pub(super) const PREFIX_BYTES: usize = 5;
/// Readers of streams at one time.
pub(super) const SUBSCRIBERS: usize = 256;
/// Of them, so many read from the disk at one time: they share the threads that block on the disk with
/// the lanes, which must not wait for them.
const READS_AT_ONCE: usize = 4;

/// `[limits]`, as far as this listener keeps them itself.
#[derive(Clone, Debug)]
pub struct Limits {
    pub payload_bytes: usize,
    pub headers: usize,
    pub header_bytes: usize,
    pub topic_bytes: usize,
    pub in_flight: InFlight,
}

impl Limits {
    /// Of a message as it comes, decompressed.
    pub(super) fn message_bytes(&self) -> usize {
        let bytes = self.payload_bytes + self.header_bytes + self.topic_bytes;
        self.at_most(bytes + MESSAGE_SLACK_BYTES)
    }

    /// What is longer than all that may be in flight could never be taken.
    fn at_most(&self, bytes: usize) -> usize {
        bytes.min(self.in_flight.limit_bytes().saturating_sub(PREFIX_BYTES))
    }

    pub(super) fn batch_bytes(&self) -> usize {
        self.at_most(BATCH_BYTES).max(self.message_bytes())
    }
}

pub(super) struct Desk<F> {
    pub front: F,
    pub clock: Clock,
    pub limits: Limits,
    pub principal: Arc<str>,
    pub source: Arc<str>,
    pub counters: Arc<Counters>,
    pub subscribers: Arc<Semaphore>,
    pub reads: Semaphore,
    pub stop: watch::Receiver<bool>,
}

impl<F> Desk<F> {
    pub(super) fn new(
        front: F,
        clock: Clock,
        limits: Limits,
        counters: Arc<Counters>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            front,
            clock,
            limits,
            principal: ANONYMOUS.into(),
            source: SOURCE.into(),
            counters,
            subscribers: Arc::new(Semaphore::new(SUBSCRIBERS)),
            reads: Semaphore::new(READS_AT_ONCE),
            stop,
        }
    }
}
