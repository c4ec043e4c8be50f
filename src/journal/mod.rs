//! Accepted envelopes: their identity, what is owed for them, and what became of them.
//!
//! What lives here: the dedup window, the lanes' ledgers, the catalog of names, the log they are
//! kept in, its two threads. What must not: protocols, and of tokio anything but channels.

mod catalog;
mod core;
mod feed;
pub mod fingerprint;
mod free_space;
mod idlog;
mod idtable;
mod inbox;
mod keeper;
mod ledger;
mod letters;
pub mod lookup;
mod memory;
mod modes;
mod open;
mod orders;
mod records;
mod repair;
mod replay;
mod replies;
mod restore;
mod secret;
mod settlements;
mod shapes;
mod snapshot;
mod state;
mod thread;
mod times;
mod verify;
mod waiters;
pub mod window;

pub use self::core::{Accepted, Answer, Journal, Step};
pub use catalog::{RouteEntry, memory_lane};
pub use feed::LaneFeed;
pub use free_space::FreeSpace;
pub use idtable::Targets;
pub use keeper::{CheckpointImage, Keeper};
pub use ledger::{Counts, LaneLedger};
pub use letters::{GoneLetters, LetterId, MAX_RUNS};
pub use memory::{Discard, Memory, MemoryCounts};
pub use modes::LaneModes;
pub use open::{DOOR_NAME, JournalOptions, Opened, Report, open, settlements_for};
pub use orders::Numbers;
pub use repair::{POSITION_GAP, RepairOptions, RepairReport, Span, advice, repair};
pub use replies::Mailbox;
pub use secret::read_hasher;
pub use settlements::SinkMarks;
pub use state::{Counters, LaneState, Shared, Space};
pub use thread::{Handle, Receipts, Running, send_receipts, start};
pub use verify::{LaneWalk, Walk, verify};
pub use window::WindowLimits;

use crate::log::{OpenError, Record};
use crate::message::{Chain, Fingerprint, Guarantee, LaneId, Message, RouteId, Settlement};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The lane of what the door itself dead-letters, and the route of what no route matched. They
/// are the first names of every journal.
pub const DOOR_LANE: LaneId = LaneId(0);
pub const DOOR_ROUTE: RouteId = RouteId(0);

/// An envelope with its plan, encoded, on its way to the journal's thread.
#[derive(Clone, Debug)]
pub struct Submission {
    message: Arc<Message>,
    record: Record,
    /// Where the plan has one plain target: the journal's thread then never looks into the message,
    /// which another core has just written.
    sole: Option<SoleTarget>,
    /// None: it came without an id, and no duplicate of it can be known.
    pub fingerprint: Option<Fingerprint>,
    /// By ordinal: whether a delivery goes to the door's dead letters where its lane's backlog is
    /// full. Empty: such an envelope is refused whole.
    pub dead_letter_when_full: Vec<bool>,
    /// The dead letter that this redrives: gone with the acceptance, and refused if it is gone before.
    pub redrives: Option<LetterId>,
    /// Those that are refused once one of them was.
    pub chain: Option<Chain>,
    /// When it was handed over, by `Clock::micros`.
    pub handed_micros: u64,
}

/// What the journal's thread needs to know of a plan's only target.
#[derive(Clone, Copy, Debug)]
struct SoleTarget {
    route: RouteId,
    lane: LaneId,
    exactly_once: bool,
}

impl Submission {
    #[must_use]
    pub const fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// Encodes and checksums the message: the one copy of its payload.
    #[must_use]
    pub fn new(message: Arc<Message>, fingerprint: Option<Fingerprint>) -> Self {
        let mut body = Vec::with_capacity(crate::message::record::usual_bytes(&message));
        crate::message::record::encode(&message, fingerprint.as_ref(), &mut body);
        let sole = match &message.plan.targets[..] {
            [only] if only.dead_letter.is_none() => Some(SoleTarget {
                route: only.route,
                lane: only.lane,
                exactly_once: only.guarantee == Guarantee::ExactlyOnce,
            }),
            _ => None,
        };
        Self {
            message,
            record: Record::new(body),
            sole,
            fingerprint,
            dead_letter_when_full: Vec::new(),
            redrives: None,
            chain: None,
            handed_micros: 0,
        }
    }
}

/// Settlements of one lane, in the order in which it gave them.
#[derive(Clone, Debug)]
pub struct SettleGroup {
    pub lane: LaneId,
    pub settlements: Vec<Settlement>,
    /// Offsets of the lane's sink and dead-letter log up to which everything is settled, once these are.
    pub marks: SinkMarks,
}

/// Why the journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: no checkpoint can be read: {detail}", dir.display())]
    Checkpoint { dir: PathBuf, detail: String },
    #[error("{}: no checkpoint can be written: {detail}", dir.display())]
    FirstCheckpoint { dir: PathBuf, detail: String },
    #[error(
        "{}: its checkpoint has version {found}; this program knows version {known}",
        dir.display()
    )]
    NewerCheckpoint { dir: PathBuf, found: u8, known: u8 },
    #[error("{}: {detail}", dir.display())]
    Record { dir: PathBuf, detail: String },
}

impl JournalError {
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

#[cfg(test)]
mod tests;
