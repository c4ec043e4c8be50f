//! Fills the dedup window at start: from the checkpoint, from index files, from the replay.

use super::JournalError;
use super::idlog::{SealedIds, SealedQueue};
use super::idtable::IdEntry;
use super::lookup::ids_of;
use super::open::JournalOptions;
use super::replay::ReplayedId;
use super::snapshot::{ExactlyOnceId, Snapshot};
use super::state::Shared;
use super::window::{Entry, Running, Window};
use crate::log::Segment;
use crate::log::disk::Disk;
use crate::message::Position;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What recovery found of ids.
pub(super) struct Found {
    /// Of segments from the checkpoint's on, by their number.
    pub ids: BTreeMap<u64, Vec<ReplayedId>>,
    pub tail_exactly_once: Vec<ReplayedId>,
    pub unindexed: Vec<Arc<Segment>>,
    pub active_seq: u64,
}

/// Fills the window, oldest first.
pub(super) struct Restore<'a> {
    window: Window,
    disk: &'a dyn Disk,
    shared: &'a Shared,
    running_ms: u64,
}

impl<'a> Restore<'a> {
    pub fn new(
        disk: &'a dyn Disk,
        shared: &'a Shared,
        options: &JournalOptions,
        running_ms: u64,
    ) -> Self {
        let window = Window::new(options.window, options.faults);
        Self {
            window,
            disk,
            shared,
            running_ms,
        }
    }

    /// The window, and the ids of the active segment. Those of sealed segments without an index
    /// go to the housekeeper.
    pub fn fill(
        mut self,
        snapshot: Option<&Snapshot>,
        mut found: Found,
        sealed: &SealedQueue,
    ) -> Result<(Window, Vec<IdEntry>), JournalError> {
        self.exactly_once(snapshot, &found.tail_exactly_once);
        let mut active = Vec::new();
        let segments = self.shared.reader.shared().segments();
        let ends: Vec<u64> = segments
            .iter()
            .map(|s| s.with_extent(|e| e.running_ms))
            .collect();
        for (i, segment) in segments.into_iter().enumerate() {
            // Its last batch is durable since some time before the next segment's last, if it has one.
            let next_ms = ends.get(i + 1).copied().filter(|ms| *ms > 0);
            let durable_ms = next_ms.unwrap_or(self.running_ms);
            let seq = segment.header.last_seq;
            let replayed = found.ids.remove(&seq);
            if seq == found.active_seq {
                active = self.local(replayed.unwrap_or_default());
                self.normal(&active);
            } else if let Some(replayed) = replayed {
                let ids = self.local(replayed);
                self.normal(&ids);
                sealed.push(SealedIds { segment, ids });
            } else if durable_ms + self.window_ms() >= self.running_ms {
                let ids = self.ids_of(&segment, durable_ms)?;
                self.normal(&ids);
            }
        }
        for segment in found.unindexed {
            let ids = self.ids_of(&segment, self.running_ms)?;
            sealed.push(SealedIds { segment, ids });
        }
        Ok((self.window, active))
    }

    /// Of a sealed segment, whose last batch was durable by `durable_ms`.
    fn ids_of(&self, segment: &Segment, durable_ms: u64) -> Result<Vec<IdEntry>, JournalError> {
        let ids = ids_of(self.disk, self.shared, segment);
        let mut ids = ids.map_err(JournalError::io(&segment.path))?;
        let last_ms = segment.with_extent(|e| e.running_ms);
        for id in ids.iter_mut().filter(|id| id.running_ms == last_ms) {
            id.running_ms = id.running_ms.max(durable_ms);
        }
        Ok(ids)
    }

    fn window_ms(&self) -> u64 {
        self.window.limits().window.as_millis() as u64
    }

    /// Interns the shapes of entries that replay kept with their targets.
    fn local(&self, found: Vec<ReplayedId>) -> Vec<IdEntry> {
        let intern = |found: ReplayedId| {
            let shape = self
                .shared
                .with_shapes(|shapes| shapes.intern(found.targets.iter().copied()));
            IdEntry {
                shape,
                ..found.entry
            }
        };
        found.into_iter().map(intern).collect()
    }

    fn normal(&mut self, ids: &[IdEntry]) {
        for id in ids.iter().filter(|id| !id.exactly_once) {
            let entry = entry_of(id, id.shape);
            self.window.restore(
                entry,
                Some(Running(id.running_ms)),
                Running(self.running_ms),
            );
        }
    }

    /// From the checkpoint, and what was accepted after it. One that is settled by now starts its
    /// window now: later than it did, never earlier.
    fn exactly_once(&mut self, snapshot: Option<&Snapshot>, tail: &[ReplayedId]) {
        let now = Running(self.running_ms);
        for saved in snapshot.map_or(&[][..], |s| &s.exactly_once) {
            let shape = self
                .shared
                .with_shapes(|shapes| shapes.intern(saved.targets.iter().copied()));
            let ExactlyOnceId {
                key,
                content,
                position,
                ..
            } = *saved;
            let entry = Entry {
                key,
                content,
                position,
                shape,
                exactly_once: true,
            };
            let started = saved
                .started
                .or_else(|| (!self.is_owed(position)).then_some(now));
            self.window.restore(entry, started, now);
        }
        for found in tail {
            let shape = self
                .shared
                .with_shapes(|shapes| shapes.intern(found.targets.iter().copied()));
            let started = (!self.is_owed(found.entry.position)).then_some(now);
            self.window
                .restore(entry_of(&found.entry, shape), started, now);
        }
    }

    fn is_owed(&self, position: Position) -> bool {
        self.shared
            .lanes()
            .iter()
            .any(|l| l.ledger().owed().contains_position(position))
    }
}

const fn entry_of(id: &IdEntry, shape: u32) -> Entry {
    let IdEntry {
        key,
        content,
        position,
        exactly_once,
        ..
    } = *id;
    Entry {
        key,
        content,
        position,
        shape,
        exactly_once,
    }
}
