//! The second lane of a destination, for at_most_once deliveries: started, changed, stopped. What it has is
//! `journal::Memory`, which outlives it.

use super::{Lane, Lanes};
use crate::config::settings::Destination;
use crate::gateway::open::{OpenMemory, open_memory, tune};
use crate::journal::{Memory, SettleGroup, SinkMarks};
use crate::lane::{Command, LaneHandle, LaneSettings, LaneState, Parts, Seat};
use crate::message::LaneId;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

#[derive(Clone)]
pub struct MemoryLane {
    pub memory: Arc<Memory>,
    pub handle: LaneHandle,
    settings: LaneSettings,
}

impl Lanes {
    /// Starts the second lane of a destination where it has none yet. Called inside the runtime.
    pub fn open_memory(&self, name: &str, lane: &Lane, open: OpenMemory) {
        let id = open.lane.lane;
        let state = self.journal.shared().lane(id);
        let Some(memory) = state.and_then(|state| state.memory.clone()) else {
            return;
        };
        let mut place = lane.memory();
        if place.is_some() {
            return;
        }
        memory.open(open.max_bytes, lane.stream().is_some());
        // An operator's pause is for both.
        let is_paused = lane.view().state == LaneState::Paused;
        let handle = LaneHandle::spawn(Parts {
            name: name.into(),
            settings: open.lane.clone(),
            egress: Arc::clone(&lane.egress),
            feed: Arc::clone(&memory),
            dead_letters: Arc::clone(&memory),
            clock: self.clock.clone(),
            faults: self.journal.faults(),
            spans: self.spans.clone(),
            seed: u64::from(id.0) ^ self.clock.wall().0,
            first: is_paused.then_some(Command::Pause).into_iter().collect(),
        });
        *place = Some(MemoryLane {
            memory,
            handle,
            settings: open.lane,
        });
    }
}

impl Lane {
    pub(super) fn memory(&self) -> MutexGuard<'_, Option<MemoryLane>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn in_memory(&self) -> Option<MemoryLane> {
        self.memory().clone()
    }

    pub fn memory_settings(&self, id: LaneId, spec: &Destination) -> OpenMemory {
        open_memory(id, spec, &self.egress)
    }

    pub(super) fn tune_memory(&self, destination: &Destination, seat: Option<Seat>) {
        let mut place = self.memory();
        let Some(lane) = place.as_mut() else {
            return;
        };
        lane.memory.limit(destination.lane.memory_bytes);
        let settings = &mut lane.settings;
        tune(settings, destination, &self.egress, HashMap::new());
        if let Some(seat) = seat {
            seat.send(Command::Tune(Box::new(settings.clone())));
        }
    }

    /// Up to where a sink's mark may follow, if it may: of what lived in memory the journal has no
    /// settlement that would take it along.
    pub(super) fn mark_behind(&self) -> Option<SettleGroup> {
        self.in_memory()?;
        let sink = self.stream()?.settled_before();
        let known = self.state.ledger().marks();
        (known.sink < sink).then(|| SettleGroup {
            lane: self.state.id,
            settlements: Vec::new(),
            marks: SinkMarks { sink, ..known },
        })
    }
}

/// One that has ended takes no orders, and needs none: it tries nothing, and keeps nothing long.
impl MemoryLane {
    pub(super) async fn seat(&self) -> Option<Seat> {
        self.handle.seat().await.ok()
    }

    /// What an operator says to both lanes of a destination.
    pub(super) async fn obey(&self, command: &Command) {
        let command = match command {
            Command::Pause => Command::Pause,
            Command::Resume => Command::Resume,
            _ => return,
        };
        let _ended = self.handle.send(command).await;
    }

    /// Discards all that is there now.
    pub(super) async fn drop_all(&self) {
        let (discard, until) = (true, self.memory.end());
        let _ended = self.handle.send(Command::Drop { discard, until }).await;
    }

    /// Its task has ended: what is left is gone.
    pub(super) fn forget(&self, name: &str) {
        let left = self.memory.close();
        if left > 0 {
            tracing::warn!(
                lane = name,
                deliveries = left,
                "at_most_once deliveries were still in memory, and are gone"
            );
        }
    }
}
