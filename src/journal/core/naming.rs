//! Names of the configuration get their numbers; new ones ride the next batch.

use super::Journal;
use crate::journal::LaneModes;
use crate::journal::ledger::LaneLedger;
use crate::log::Record;
use crate::message::{LaneId, LogUuid, RouteId};

impl Journal {
    /// The number of a destination's lane. A new name rides the next batch.
    pub fn intern_lane(&mut self, name: &str) -> LaneId {
        let (id, is_new) = self
            .shared
            .with_catalog(|catalog| catalog.intern_lane(name));
        if is_new {
            self.lanes
                .push(self.shared.add_lane(name, LaneLedger::default()));
            self.note_lane(id);
        }
        id
    }

    /// Which log the lane delivers to, and in which modes: kept, because both change only with care.
    pub fn describe_lane(&mut self, id: LaneId, modes: LaneModes, sink: Option<LogUuid>) {
        let changed = self.shared.with_catalog(|catalog| {
            let has_changed = catalog.set_modes(id, modes);
            catalog.set_sink(id, sink) || has_changed
        });
        if changed {
            self.note_lane(id);
        }
    }

    pub(super) fn note_lane(&mut self, id: LaneId) {
        let mut body = Vec::new();
        self.shared.read_catalog(|catalog| {
            if let Some(entry) = catalog.lane(id) {
                entry.encode(&mut body);
            }
        });
        self.notices.push_back(Record::new(body));
    }

    pub fn intern_route(&mut self, name: &str) -> RouteId {
        let (id, is_new) = self
            .shared
            .with_catalog(|catalog| catalog.intern_route(name));
        if is_new {
            let mut body = Vec::new();
            self.shared.read_catalog(|catalog| {
                if let Some(entry) = catalog.route(id) {
                    entry.encode(&mut body);
                }
            });
            self.notices.push_back(Record::new(body));
        }
        id
    }
}
