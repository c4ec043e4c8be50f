//! The ids of segments whose index isn't written yet: the active one's, and those of sealed ones
//! on their way to the housekeeper.

use super::idtable::IdEntry;
use crate::log::Segment;
use crate::message::Position;
use std::sync::{Arc, Mutex, PoisonError};

/// Owned by the journal's thread.
pub struct IdLog {
    active: Vec<IdEntry>,
    sealed: Arc<SealedQueue>,
}

/// From the journal's thread to the housekeeper.
#[derive(Default)]
pub struct SealedQueue(Mutex<Vec<SealedIds>>);

/// A sealed segment and the ids of the envelopes in it.
pub struct SealedIds {
    pub segment: Arc<Segment>,
    pub ids: Vec<IdEntry>,
}

impl IdLog {
    #[must_use]
    pub fn new(active: Vec<IdEntry>, sealed: Arc<SealedQueue>) -> Self {
        Self { active, sealed }
    }

    pub fn add(&mut self, id: IdEntry) {
        self.active.push(id);
    }

    /// Position and shape of the newest with this key.
    #[must_use]
    pub fn find(&self, key: u128) -> Option<(Position, u32)> {
        let found = self.active.iter().rev().find(|id| id.key == key);
        found.map(|id| (id.position, id.shape))
    }

    /// The active segment is full: its ids go to the housekeeper.
    pub fn seal(&mut self, segment: &Arc<Segment>) {
        let ids = std::mem::take(&mut self.active);
        self.sealed.push(SealedIds {
            segment: Arc::clone(segment),
            ids,
        });
    }
}

impl SealedQueue {
    pub fn push(&self, sealed: SealedIds) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sealed);
    }

    #[must_use]
    pub fn take(&self) -> Vec<SealedIds> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
