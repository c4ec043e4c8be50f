//! The durable primitive: append-only segments, group commit, recovery, compaction; the disk
//! behind a trait. docs/JOURNAL.md documents the format.
//!
//! What lives here: bytes, batches, segments, checksums, files.
//! What must not: what a record means. Journal, streams and dead-letter logs are users of it.

mod batch;
mod checkpoint;
mod compact;
mod damage;
pub mod disk;
mod error;
mod format;
mod index;
mod lock;
mod reader;
mod recover;
pub mod salvage;
mod segment;
mod shared;
#[cfg(feature = "faults")]
pub mod volatile;
mod writer;

pub use batch::{Batch, Record, Stamp};
pub use checkpoint::{CheckpointCopy, Checkpoints};
pub use compact::{Keep, compact};
pub use error::{AppendError, FormatError, OpenError, ReadError};
pub use format::{
    BATCH_HEADER_BYTES, LogKind, RECORD_HEADER_BYTES, RawRecord, Records, SEGMENT_HEADER_BYTES,
};
pub use index::{read as read_index, read_blob as read_index_blob, write as write_index};
pub use lock::{DirLock, LockError};
pub use reader::{LogReader, StoredRecord};
pub use recover::{Cut, Known, OpenOptions, Recovered, Visit, open};
pub use segment::{Extent, Found, Segment};
pub use shared::Shared;
pub use writer::{Appended, Cursor, Log, Sizes, Urgency};

#[cfg(test)]
mod tests;
