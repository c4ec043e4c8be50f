//! What one lane is fed with: fresh deliveries from its inbox, older ones from the segments, in
//! journal order.

use super::records::diverted_reason;
use super::state::{LaneState, Shared};
use super::{DOOR_LANE, Handle, SettleGroup, SinkMarks};
use crate::clock::Wall;
use crate::lane::{self, Feed, FeedError, Fresh, Mode, Room};
use crate::log::{RECORD_HEADER_BYTES, StoredRecord};
use crate::message::{
    Delivery, DeliveryId, Epoch, LaneId, Message, Ordinal, Position, Settlement, record,
};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Deliveries that are looked up in one go when a lane reads from the segments.
const PAGE_DELIVERIES: usize = 4096;

/// One lane's way to the journal. Its calls may read the disk.
pub struct LaneFeed {
    journal: Option<Handle>,
    shared: Arc<Shared>,
    lane: Arc<LaneState>,
    /// The next delivery that may be handed out.
    cursor: Mutex<DeliveryId>,
}

impl LaneFeed {
    /// Without a handle: what the lane settles is for the caller to hand over.
    #[must_use]
    pub fn new(shared: Arc<Shared>, lane: Arc<LaneState>, journal: Option<Handle>) -> Self {
        Self {
            journal,
            shared,
            lane,
            cursor: Mutex::default(),
        }
    }

    fn cursor(&self) -> MutexGuard<'_, DeliveryId> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next deliveries in journal order, up to the bounds, from wherever they are. Empty if
    /// there are none for now.
    pub fn take(&self, max_count: usize, max_bytes: usize) -> io::Result<Vec<Delivery>> {
        loop {
            if let Some(taken) = self.take_inbox(max_count, max_bytes) {
                return Ok(taken);
            }
            if let Some(read) = self.take_segments(max_count, max_bytes)? {
                return Ok(read);
            }
        }
    }

    /// From memory; `None` if the next ones aren't there.
    fn take_inbox(&self, max_count: usize, max_bytes: usize) -> Option<Vec<Delivery>> {
        let mut cursor = self.cursor();
        let (taken, lags) = self.lane.inbox.take(*cursor, max_count, max_bytes);
        if let Some(last) = taken.last() {
            *cursor = after(last.at);
        }
        (!taken.is_empty() || !lags).then_some(taken)
    }

    /// From the segments; `None` once the next ones are those of the inbox.
    fn take_segments(
        &self,
        max_count: usize,
        max_bytes: usize,
    ) -> io::Result<Option<Vec<Delivery>>> {
        let mut cursor = self.cursor();
        loop {
            let until = self.lane.inbox.gap_until();
            let page = self.owed_page(*cursor, until, max_count);
            if !page.is_empty() {
                let read = self.read_many(&page, max_bytes)?;
                if let Some(last) = read.last() {
                    *cursor = after(last.at);
                }
                return Ok(Some(read));
            }
            if let Some(until) = until {
                *cursor = (*cursor).max(until);
                return Ok(None);
            }
            let level = || self.lane.ledger().owed().next_from(*cursor).is_none();
            if self.lane.inbox.catch_up(level) {
                return Ok(None);
            }
        }
    }

    fn owed_page(
        &self,
        cursor: DeliveryId,
        until: Option<DeliveryId>,
        max_count: usize,
    ) -> Vec<DeliveryId> {
        let max_count = max_count.min(PAGE_DELIVERIES);
        let mut page = self.lane.ledger().owed().page_from(cursor, max_count);
        if let Some(until) = until {
            page.truncate(page.partition_point(|at| *at < until));
        }
        page
    }

    /// Reads deliveries that the lane owes, in the order given, until they come to `max_bytes`; at
    /// least one.
    pub fn read_many(&self, wanted: &[DeliveryId], max_bytes: usize) -> io::Result<Vec<Delivery>> {
        let mut deliveries: Vec<Delivery> = Vec::new();
        let mut left = max_bytes;
        // The log is read forwards: each run of ascending ones by itself, so that what is wanted
        // first is never what the bytes don't suffice for.
        for run in wanted.chunk_by(|a, b| a <= b) {
            if left == 0 && !deliveries.is_empty() {
                break;
            }
            let read = self.read_run(run, left)?;
            let is_whole = read.len() == run.len();
            let bytes: usize = read.iter().map(|d| d.size_bytes as usize).sum();
            left = left.saturating_sub(bytes);
            deliveries.extend(read);
            if !is_whole {
                break;
            }
        }
        Ok(deliveries)
    }

    fn read_run(&self, wanted: &[DeliveryId], max_bytes: usize) -> io::Result<Vec<Delivery>> {
        let mut positions: Vec<Position> = wanted.iter().map(|at| at.position).collect();
        positions.dedup();
        let mut records = self
            .shared
            .reader
            .read_many(&positions, max_bytes)?
            .into_iter();
        let mut deliveries = Vec::with_capacity(wanted.len());
        for of_one in wanted.chunk_by(|a, b| a.position == b.position) {
            let source = match records.next() {
                Some(stored) if stored.position == of_one[0].position => Source::of(stored)?,
                // Cut off by `max_bytes`: what follows comes with the next call.
                None if !deliveries.is_empty() => break,
                _ => return Err(missing(of_one[0])),
            };
            deliveries.extend(of_one.iter().map(|at| self.delivery(*at, &source)));
        }
        Ok(deliveries)
    }

    fn delivery(&self, at: DeliveryId, source: &Source) -> Delivery {
        let target = source.message.plan.targets.get(usize::from(at.ordinal.0));
        let diverted = self.lane.id == DOOR_LANE && target.is_some_and(|t| t.lane != DOOR_LANE);
        let dead_letter = match target {
            Some(target) if diverted => {
                let name = self
                    .shared
                    .read_catalog(|c| c.lane(target.lane).map(|l| l.name.to_string()));
                Some(diverted_reason(&name.unwrap_or_default()))
            }
            Some(target) => target.dead_letter.as_deref().map(Arc::from),
            None => None,
        };
        Delivery {
            at,
            accepted: source.accepted,
            epoch: source.epoch,
            identity: source.identity,
            size_bytes: source.size_bytes,
            dead_letter,
            message: Arc::clone(&source.message),
        }
    }

    /// What was said durably of the lane's sinks.
    #[must_use]
    pub fn marks(&self) -> SinkMarks {
        self.lane.ledger().marks()
    }
}

/// What the deliveries of one position have in common.
struct Source {
    accepted: Wall,
    epoch: Epoch,
    identity: Option<u128>,
    size_bytes: u32,
    message: Arc<Message>,
}

impl Source {
    fn of(stored: StoredRecord) -> io::Result<Self> {
        let (message, print) = record::decode(&stored.body).map_err(io::Error::other)?;
        Ok(Self {
            accepted: stored.wall,
            epoch: stored.epoch,
            identity: print.map(|print| print.key),
            size_bytes: (stored.body.len() + RECORD_HEADER_BYTES) as u32,
            message: Arc::new(message),
        })
    }
}

impl Feed for LaneFeed {
    fn take_fresh(&self, room: Room) -> Fresh {
        let max_bytes = usize::try_from(room.bytes).unwrap_or(usize::MAX);
        self.take_inbox(room.count, max_bytes)
            .map_or(Fresh::Lagging, Fresh::Deliveries)
    }

    fn take_stored(&self, room: Room) -> Result<Vec<Delivery>, FeedError> {
        let max_bytes = usize::try_from(room.bytes).unwrap_or(usize::MAX);
        self.take(room.count, max_bytes).map_err(unreadable)
    }

    fn read(&self, ids: &[DeliveryId], max_bytes: u64) -> Result<Vec<Delivery>, FeedError> {
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        self.read_many(ids, max_bytes).map_err(unreadable)
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        marks: lane::SinkMarks,
    ) -> Result<(), FeedError> {
        let Some(journal) = &self.journal else {
            return Err(FeedError::Failed(
                "there is no journal to settle with".into(),
            ));
        };
        let marks = SinkMarks {
            sink: marks.stream.map_or(0, |p| p.0),
            dead_letters: marks.dead_letters.map_or(0, |p| p.0),
        };
        let group = SettleGroup {
            lane: self.lane.id,
            settlements,
            marks,
        };
        journal.settle(group).await.map_err(FeedError::Failed)
    }

    fn turns(&self) -> Vec<(Mode, Position)> {
        let turns = self.lane.inbox.take_turns().into_iter();
        turns
            .map(|(barrier, is_strict)| (Mode::of(is_strict), barrier))
            .collect()
    }

    async fn more(&self) {
        self.lane.inbox.more().await;
    }
}

impl Handle {
    /// The feed of a lane of the catalog.
    #[must_use]
    pub fn feed(&self, lane: LaneId) -> Option<LaneFeed> {
        let state = self.shared().lane(lane)?;
        Some(LaneFeed::new(
            Arc::clone(self.shared()),
            state,
            Some(self.clone()),
        ))
    }
}

const fn after(at: DeliveryId) -> DeliveryId {
    DeliveryId {
        position: at.position,
        ordinal: Ordinal(at.ordinal.0 + 1),
    }
}

fn missing(at: DeliveryId) -> io::Error {
    io::Error::other(format!(
        "delivery {at} is owed, but its record is not in the log"
    ))
}

fn unreadable(e: io::Error) -> FeedError {
    FeedError::Unreadable(e.to_string())
}
