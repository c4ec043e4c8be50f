//! What one lane is fed with: fresh deliveries from its inbox, older ones from the segments, in
//! journal order.

use super::ledger::LaneLedger;
use super::records::diverted_reason;
use super::state::{LaneState, Shared};
use super::{DOOR_LANE, Handle, SettleGroup, SinkMarks};
use crate::log::{ReadError, StoredRecord};
use crate::message::{Delivery, DeliveryId, Message, Position, Settlement, record};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Deliveries that are looked up in one go when a lane reads from the segments.
const PAGE_DELIVERIES: usize = 1024;

/// One lane's way to the journal. Its calls may read the disk.
pub struct LaneFeed {
    shared: Arc<Shared>,
    lane: Arc<LaneState>,
    /// The next delivery that may be handed out.
    cursor: DeliveryId,
}

impl LaneFeed {
    #[must_use]
    pub fn new(shared: Arc<Shared>, lane: Arc<LaneState>) -> Self {
        Self {
            shared,
            lane,
            cursor: DeliveryId::default(),
        }
    }

    /// The next deliveries in journal order, up to the bounds. Empty if there are none for now.
    pub fn take(&mut self, max_count: usize, max_bytes: usize) -> io::Result<Vec<Delivery>> {
        loop {
            let (taken, lags) = self.lane.inbox.take(self.cursor, max_count, max_bytes);
            if let Some(last) = taken.last() {
                self.cursor = after(last.at);
                return Ok(taken);
            }
            if !lags {
                return Ok(taken);
            }
            let page = self.owed_page(max_count);
            if !page.is_empty() {
                let read = self.read_many(&page, max_bytes)?;
                if let Some(last) = read.last() {
                    self.cursor = after(last.at);
                }
                return Ok(read);
            }
            let (lane, cursor) = (&self.lane, self.cursor);
            lane.inbox
                .catch_up(|| lane.ledger().owed().next_from(cursor).is_none());
        }
    }

    fn owed_page(&self, max_count: usize) -> Vec<DeliveryId> {
        self.lane
            .ledger()
            .owed()
            .page_from(self.cursor, max_count.min(PAGE_DELIVERIES))
    }

    /// Reads deliveries that the lane owes, in the order given (ascending), until they come to `max_bytes`.
    pub fn read_many(&self, wanted: &[DeliveryId], max_bytes: usize) -> io::Result<Vec<Delivery>> {
        let mut positions: Vec<Position> = wanted.iter().map(|at| at.position).collect();
        positions.dedup();
        let records = self.shared.reader.read_many(&positions, max_bytes)?;
        let mut messages: HashMap<Position, (StoredRecord, Arc<Message>)> = HashMap::new();
        for stored in records {
            let (message, _) = record::decode(&stored.body).map_err(io::Error::other)?;
            messages.insert(stored.position, (stored, Arc::new(message)));
        }
        let mut deliveries = Vec::with_capacity(wanted.len());
        for at in wanted {
            match messages.get(&at.position) {
                Some((stored, message)) => deliveries.push(self.delivery(*at, stored, message)),
                // Cut off by `max_bytes`: what follows comes with the next call.
                None if !deliveries.is_empty() => break,
                None => return Err(missing(*at)),
            }
        }
        Ok(deliveries)
    }

    fn delivery(&self, at: DeliveryId, stored: &StoredRecord, message: &Arc<Message>) -> Delivery {
        let target = message.plan.targets.get(usize::from(at.ordinal.0));
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
            accepted: stored.wall,
            epoch: stored.epoch,
            size_bytes: (stored.body.len() + crate::log::RECORD_HEADER_BYTES) as u32,
            dead_letter,
            message: Arc::clone(message),
        }
    }

    /// Returns when more may be there.
    pub async fn more(&self) {
        self.lane.inbox.more().await;
    }

    /// What was said durably of the lane's sink.
    #[must_use]
    pub fn marks(&self) -> SinkMarks {
        self.lane.ledger().marks()
    }

    pub fn with_ledger<T>(&self, f: impl FnOnce(&LaneLedger) -> T) -> T {
        f(&self.lane.ledger())
    }

    #[must_use]
    pub fn lane(&self) -> &Arc<LaneState> {
        &self.lane
    }
}

impl Handle {
    /// The feed of a lane of the catalog.
    #[must_use]
    pub fn feed(&self, lane: crate::message::LaneId) -> Option<LaneFeed> {
        Some(LaneFeed::new(
            Arc::clone(self.shared()),
            self.shared().lane(lane)?,
        ))
    }

    pub fn settle_for(
        &self,
        lane: crate::message::LaneId,
        settlements: Vec<Settlement>,
        marks: SinkMarks,
    ) {
        self.settle(SettleGroup {
            lane,
            settlements,
            marks,
        });
    }
}

const fn after(at: DeliveryId) -> DeliveryId {
    DeliveryId {
        position: at.position,
        ordinal: crate::message::Ordinal(at.ordinal.0 + 1),
    }
}

fn missing(at: DeliveryId) -> io::Error {
    io::Error::other(format!(
        "delivery {at} is owed, but its record is not in the log"
    ))
}

/// Kept apart so that callers see what a read can fail with.
impl From<ReadError> for super::JournalError {
    fn from(e: ReadError) -> Self {
        Self::Io {
            path: std::path::PathBuf::from("journal"),
            source: io::Error::other(e),
        }
    }
}
