//! The bytes of what clients have sent and was not answered: one budget for all protocols
//! (`limits.in_flight_bytes`), charged as bytes come.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Clone, Debug)]
pub struct InFlight {
    free: Arc<Semaphore>,
    limit_bytes: usize,
}

impl InFlight {
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        // More than a semaphore counts is as good as no limit.
        let limit_bytes = limit_bytes.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit_bytes)),
            limit_bytes,
        }
    }

    #[must_use]
    pub const fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    #[must_use]
    pub fn semaphore(&self) -> &Arc<Semaphore> {
        &self.free
    }

    /// A share of so many bytes, if they are free.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.free).try_acquire_many_owned(bytes).ok()
    }
}
