//! Segments made ready before they are needed, as far as `max_bytes` and the disk allow.

use super::Keeper;
use crate::journal::catalog::destination_of;
use crate::journal::free_space::{SegmentSizes, Sink};
use crate::journal::memory::MemoryCounts;
use crate::journal::state::{LaneState, Space};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Ready beyond the reserve, so that the writer never waits.
const READY_AHEAD: usize = 1;

/// What is free on the disk, by the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    None,
    /// Enough for what is ready, not for another segment.
    NoSegment,
    /// Less than what others need for what is accepted already.
    Full,
}

impl Keeper {
    /// Keeps segments ready, within `max_bytes` and without using up the disk.
    pub(super) fn make_ready(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let log = shared.reader.shared();
        let reserve = self.sizes.reserve_segments;
        let max_bytes = shared.max_bytes.load(Ordering::Relaxed);
        loop {
            self.look_at_disk()?;
            let ready = log.ready();
            // Within the reserve it is better to use up the disk than to have no room for settlements.
            let essential = ready < reserve;
            let max_reached = log.total_bytes() + log.next_segment_bytes() > max_bytes;
            let wanted = ready < reserve + READY_AHEAD;
            let from_spares = log.has_fitting_spare();
            shared.set_space(match self.shortage {
                Shortage::Full => Space::DiskFull,
                _ if max_reached && wanted => Space::JournalFull,
                Shortage::NoSegment if wanted && !from_spares => Space::DiskShort,
                _ => Space::Enough,
            });
            let is_short = self.shortage != Shortage::None;
            if !wanted || (!essential && !from_spares && (is_short || max_reached)) {
                return if is_short { log.drop_spares() } else { Ok(()) };
            }
            if let Err(e) = log.prepare() {
                shared.set_space(Space::DiskFull);
                return Err(e);
            }
        }
    }

    /// Finds out how short of room the disk is. Where it is, the next segments are small.
    fn look_at_disk(&mut self) -> io::Result<()> {
        let log = self.shared.reader.shared();
        let least = self.sizes.min_segment_bytes;
        loop {
            // What is needed first: what a sink takes of the disk in between counts twice then, not never.
            let sizes = self.segment_sizes();
            let needs = self.free_space.accepting_needs(sizes, self.sinks());
            let free = self.disk.free_bytes(log.dir())?;
            self.shortage = if free < needs {
                Shortage::Full
            } else if free < needs.saturating_add(sizes.next_bytes) {
                Shortage::NoSegment
            } else {
                Shortage::None
            };
            if self.shortage == Shortage::None || sizes.next_bytes <= least {
                return Ok(());
            }
            log.set_next_segment_bytes(least);
        }
    }

    pub(super) fn segment_sizes(&self) -> SegmentSizes {
        let log = self.shared.reader.shared();
        let segments = log.segments();
        SegmentSizes {
            next_bytes: log.next_segment_bytes(),
            largest_bytes: segments.iter().map(|s| s.file_bytes).max().unwrap_or(0),
        }
    }

    fn sinks(&self) -> Vec<Sink> {
        let lanes = self.shared.lanes();
        // What lives in memory goes to the same sink as what its destination's other lane owes.
        let in_memory: HashMap<&str, MemoryCounts> = lanes
            .iter()
            .filter_map(|lane| Some((destination_of(&lane.name)?, lane.memory.as_ref()?.counts())))
            .collect();
        let sink = |lane: &Arc<LaneState>| {
            // Owed first: what is settled meanwhile counts twice then, not never.
            let (owed, owed_bytes) = {
                let ledger = lane.ledger();
                (ledger.pending(), ledger.owed_bytes())
            };
            let more = in_memory.get(lane.name.as_str());
            Sink {
                owed: owed + more.map_or(0, |more| more.pending),
                owed_bytes: owed_bytes.saturating_add(more.map_or(0, |more| more.pending_bytes)),
                room_bytes: lane.sink_room.load(Ordering::Relaxed),
            }
        };
        let durable = lanes.iter().filter(|lane| lane.memory.is_none());
        durable.map(sink).collect()
    }
}
