//! What keys a journal's hashes, read from beside it: of one that may be running.

use super::JournalError;
use super::fingerprint::Hasher;
use super::snapshot::Snapshot;
use crate::log::Checkpoints;
use crate::log::disk::Disk;
use std::path::Path;

/// Changes nothing, and needs no lock: the secret of a journal never changes, and of the two
/// copies that hold it only one is ever being written. `None`: there is no journal, or neither
/// copy can be read at this moment.
pub fn read_hasher(disk: &dyn Disk, dir: &Path) -> Result<Option<Hasher>, JournalError> {
    let copies = Checkpoints::inspect(disk, dir)?;
    let newest = copies.into_iter().filter_map(|copy| copy.content).max();
    match newest {
        None => Ok(None),
        Some((_, content)) => Ok(Some(Hasher::new(Snapshot::read(&content, dir)?.secret))),
    }
}
