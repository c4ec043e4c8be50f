//! What can go wrong with a log, and whether it is final.

use crate::message::{LogUuid, Position};
use std::io;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("not a segment of a Causeway log")]
    NotASegment,
    #[error("its header is damaged")]
    HeaderDamaged,
    #[error("it has format version {found}; this program knows version {known}")]
    Version { found: u32, known: u32 },
}

/// Why a log could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Format { path: PathBuf, source: FormatError },
    #[error("{}: it belongs to log {found}, but this is log {expected}", path.display())]
    ForeignSegment {
        path: PathBuf,
        found: LogUuid,
        expected: LogUuid,
    },
    #[error(
        "{}: damaged at byte {offset}: everything before position {good_until} is whole, \
         and whole batches go on at position {valid_from}, but what is between can't be read",
        path.display()
    )]
    Corrupt {
        path: PathBuf,
        offset: u64,
        good_until: Position,
        valid_from: Position,
    },
    #[error("{}: segment {missing_seq} is missing between others", dir.display())]
    Gap { dir: PathBuf, missing_seq: u64 },
    #[error("{}: it ends before the checkpoint says: {detail}", path.display())]
    BehindCheckpoint { path: PathBuf, detail: String },
}

impl OpenError {
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Why an append did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written; it may fit later.
    #[error("no room: the next segment isn't ready")]
    NoRoom,
    /// Final for this log until it is opened anew: what the disk has is unknown.
    #[error("the log failed and takes no writes until a restart: {0}")]
    Failed(String),
}

/// Why a read did not work.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: damaged at byte {offset}", path.display())]
    Damaged { path: PathBuf, offset: u64 },
}
