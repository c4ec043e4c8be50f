//! The durable primitive: append-only segments, group commit, recovery, compaction; the disk
//! behind a trait. docs/JOURNAL.md documents the format.
//!
//! What lives here: bytes, batches, segments, checksums, files.
//! What must not: what a record means. Journal, streams and dead-letter logs are users of it.

pub mod disk;
