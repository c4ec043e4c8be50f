//! The lanes of all destinations: started, kept, stopped.

use super::open::OpenDestination;
use crate::clock::Clock;
use crate::egress::stream::{StreamDestination, StreamReader, StreamStats};
use crate::egress::{DeadLetterLog, Egress};
use crate::journal::{self, LaneState};
use crate::lane::{Command, LaneHandle, LaneView, Parts};
use crate::message::Position;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

/// How often marks are passed on, and streams trimmed.
const HOUSEKEEP_EVERY: Duration = Duration::from_millis(200);

pub struct Lanes {
    lanes: BTreeMap<String, Arc<Lane>>,
    housekeeping: Mutex<Option<JoinHandle<()>>>,
}

pub struct Lane {
    pub state: Arc<LaneState>,
    pub is_orphan: bool,
    pub dead_letters_max_bytes: u64,
    handle: LaneHandle,
    dead_letters: Arc<DeadLetterLog>,
    stream: Option<StreamDestination>,
}

impl Lanes {
    /// Called inside the runtime.
    pub fn start(
        destinations: Vec<OpenDestination>,
        journal: &journal::Handle,
        clock: &Clock,
    ) -> Self {
        let mut lanes = BTreeMap::new();
        for destination in destinations {
            let name = destination.name.to_string();
            if let Some(lane) = start(destination, journal, clock) {
                lanes.insert(name, Arc::new(lane));
            }
        }
        let all: Vec<_> = lanes.values().cloned().collect();
        let housekeeping = tokio::spawn(housekeep(all));
        Self {
            lanes,
            housekeeping: Mutex::new(Some(housekeeping)),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &Arc<Lane>)> {
        self.lanes.iter()
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Lane>> {
        self.lanes.get(name)
    }

    /// Readers of the streams, by name.
    pub fn streams(&self) -> Arc<BTreeMap<String, StreamReader>> {
        let reader = |(name, lane): (&String, &Arc<Lane>)| {
            Some((name.clone(), lane.stream.as_ref()?.reader().clone()))
        };
        Arc::new(self.lanes.iter().filter_map(reader).collect())
    }

    /// Lets every lane settle what it can in time, and ends it.
    pub async fn stop(&self, drain: Duration) {
        let mut stopping = JoinSet::new();
        for lane in self.lanes.values() {
            stopping.spawn(lane.handle.clone().stop(drain));
        }
        while stopping.join_next().await.is_some() {}
        let housekeeping = self
            .housekeeping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = housekeeping {
            task.abort();
        }
    }
}

fn start(destination: OpenDestination, journal: &journal::Handle, clock: &Clock) -> Option<Lane> {
    let id = destination.lane.lane;
    let state = journal.shared().lane(id)?;
    state
        .backlog_bytes
        .store(destination.backlog_bytes, Ordering::Relaxed);
    let stream = match &destination.egress {
        Egress::Stream(stream) => Some(stream.clone()),
        _ => None,
    };
    let dead_letters = Arc::new(destination.dead_letters);
    let mut first = Vec::new();
    if destination.is_orphan {
        tracing::warn!(
            lane = %destination.name,
            pending = state.ledger().pending(),
            "its destination is no longer in the configuration: what the lane owes is held"
        );
        first.push(Command::Pause);
    }
    let changes = destination.changes.into_iter();
    first.extend(changes.map(|(mode, barrier)| Command::ChangeMode { mode, barrier }));
    let handle = LaneHandle::spawn(Parts {
        settings: destination.lane,
        egress: Arc::new(destination.egress),
        feed: Arc::new(journal.feed(id)?),
        dead_letters: Arc::clone(&dead_letters),
        clock: clock.clone(),
        faults: journal.faults(),
        seed: u64::from(id.0) ^ clock.wall().0,
        first,
    });
    Some(Lane {
        state,
        is_orphan: destination.is_orphan,
        dead_letters_max_bytes: destination.dead_letters_max_bytes,
        handle,
        dead_letters,
        stream,
    })
}

impl Lane {
    pub const fn handle(&self) -> &LaneHandle {
        &self.handle
    }

    pub fn view(&self) -> LaneView {
        self.handle.view()
    }

    pub fn dead_letter_bytes(&self) -> u64 {
        self.dead_letters.stats().bytes
    }

    pub fn stream_stats(&self) -> Option<StreamStats> {
        self.stream.as_ref().map(StreamDestination::stats)
    }

    /// Dead-letters or discards what is owed before `until`.
    pub async fn drop_all(&self, discard: bool, until: Position) -> Result<(), String> {
        let sent = self.handle.send(Command::Drop { discard, until }).await;
        sent.map_err(|e| e.to_string())
    }

    fn housekeep(&self) {
        let marks = self.state.ledger().marks();
        self.dead_letters.advance_mark(marks.dead_letters);
        if let Some(stream) = &self.stream {
            stream.housekeep(marks.sink);
        }
    }
}

async fn housekeep(lanes: Vec<Arc<Lane>>) {
    let mut tick = tokio::time::interval(HOUSEKEEP_EVERY);
    loop {
        tick.tick().await;
        let lanes = lanes.clone();
        let round = tokio::task::spawn_blocking(move || {
            for lane in &lanes {
                lane.housekeep();
            }
        });
        if let Err(e) = round.await {
            tracing::error!("housekeeping of lanes: {e}");
        }
    }
}
