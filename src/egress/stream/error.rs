//! What can go wrong with a stream or dead-letter log, and whether a retry can help.

use super::record::RecordError;
use crate::log;
use crate::message::{DeliveryId, LogUuid, Position};
use std::path::PathBuf;

/// Why it could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Log(#[from] log::OpenError),
    #[error(transparent)]
    Read(#[from] log::ReadError),
    #[error("{}: offset {offset}: {source}", dir.display())]
    Record {
        dir: PathBuf,
        offset: u64,
        source: RecordError,
    },
    #[error(
        "{}: delivery {at} of journal {journal} stands at offset {first} and again at {second}",
        dir.display()
    )]
    Double {
        dir: PathBuf,
        journal: LogUuid,
        at: DeliveryId,
        first: u64,
        second: u64,
    },
    #[error(
        "{}: offset {offset} holds delivery {at} of journal {journal}, whose next position is only \
         {next_position}: the journal was restored from an older copy or cut",
        dir.display()
    )]
    JournalBehind {
        dir: PathBuf,
        journal: LogUuid,
        offset: u64,
        at: DeliveryId,
        next_position: Position,
    },
    #[error(
        "{}: journal {journal} says that all before offset {mark} is settled, but what stands \
         before {earliest} is trimmed already: the journal was restored from an older copy",
        dir.display()
    )]
    Trimmed {
        dir: PathBuf,
        journal: LogUuid,
        mark: u64,
        earliest: u64,
    },
}

/// Why records were not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Nothing was written; it may fit later.
    #[error("{}: no room: {reason}", dir.display())]
    NoRoom { dir: PathBuf, reason: String },
    /// Final until it is opened anew: what the disk has is unknown.
    #[error("{}: it failed and takes no writes until a restart: {reason}", dir.display())]
    Failed { dir: PathBuf, reason: String },
    /// It will never fit.
    #[error("the record takes {bytes} bytes, more than the {limit} of a segment")]
    TooLarge { bytes: u64, limit: u64 },
}

impl StreamError {
    /// Whether the same append may succeed later without a restart.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::NoRoom { .. })
    }
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("what was there is trimmed: the earliest offset is {earliest}")]
    Gone { earliest: u64 },
    #[error("nothing was ever written there: the next offset is {next}")]
    Beyond { next: u64 },
    #[error(transparent)]
    Log(#[from] log::ReadError),
    #[error("offset {offset}: {source}")]
    Record { offset: u64, source: RecordError },
}
