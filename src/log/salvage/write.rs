//! New files with what was found whole, copies of the old ones.

use super::Surveyed;
use crate::log::batch::{Batch, Stamp};
use crate::log::disk::{Disk, parent};
use crate::log::format::{LogKind, RawRecord, Records, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::index;
use crate::log::segment::Segment;
use crate::log::shared::{Shared, remove_if_there};
use crate::message::LogUuid;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const COPY_BYTES: u64 = 1024 * 1024;

/// Puts a new file in the place of a segment, with its whole batches and of those the records that
/// `keep` says; removes it if nothing is left.
pub fn rewrite(
    disk: &dyn Disk,
    file: &Surveyed,
    uuid: LogUuid,
    keep: &dyn Fn(&RawRecord<'_>) -> bool,
) -> io::Result<()> {
    let bytes = match &file.segment {
        Some(segment) => what_is_left(file, segment, uuid, keep)?,
        None => Vec::new(),
    };
    for leftover in &file.leftovers {
        remove_if_there(disk, &index::path_of(leftover))?;
        remove_if_there(disk, leftover)?;
    }
    remove_if_there(disk, &index::path_of(&file.path))?;
    if bytes.is_empty() {
        remove_if_there(disk, &file.path)?;
    } else {
        let temporary = file.path.with_extension("repair.tmp");
        remove_if_there(disk, &temporary)?;
        let new = disk.create(&temporary)?;
        new.write_at(&bytes, 0)?;
        new.sync()?;
        disk.rename(&temporary, &file.path)?;
    }
    disk.sync_dir(&parent(&file.path))
}

fn what_is_left(
    file: &Surveyed,
    segment: &Segment,
    uuid: LogUuid,
    keep: &dyn Fn(&RawRecord<'_>) -> bool,
) -> io::Result<Vec<u8>> {
    let header = SegmentHeader {
        uuid,
        compacted: true,
        ..segment.header
    };
    let mut out = vec![0; SEGMENT_HEADER_BYTES as usize];
    out[..SegmentHeader::BYTES].copy_from_slice(&header.encode());
    for run in &file.whole {
        let mut scanner = segment.scan(run.start, run.end);
        while let Some(found) = scanner.next()? {
            let mut batch = Batch::new(found.header.first_position);
            for record in Records::new(&found.header, found.body).flatten() {
                if keep(&record) {
                    batch.push_raw(&record);
                }
            }
            if !batch.is_empty() {
                let stamp = Stamp {
                    running_ms: found.header.running_ms,
                    wall: found.header.wall,
                    epoch: found.header.epoch,
                };
                out.extend_from_slice(batch.seal(header.salt, found.header.batch, stamp));
            }
        }
        if scanner.offset() != run.end {
            return Err(io::Error::other("it changed while it was read"));
        }
    }
    if out.len() as u64 == SEGMENT_HEADER_BYTES {
        out.clear();
    }
    Ok(out)
}

/// Adds an empty segment with this number.
pub fn add_segment(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    header: (LogKind, LogUuid, u64),
    bytes: u64,
    seed: u64,
) -> io::Result<()> {
    let (kind, uuid, seq) = header;
    let dir = dir.to_path_buf();
    let shared = Shared::new(Arc::clone(disk), dir, kind, uuid, bytes, seed);
    shared.set_next_seq(seq);
    shared.prepare()
}

/// Copies a file into a folder, durably.
pub fn copy_into(disk: &dyn Disk, path: &Path, folder: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let copy = folder.join(name);
    let from = disk.open(path)?;
    let to = disk.create(&copy)?;
    let (len, mut at) = (from.len()?, 0);
    let mut piece = vec![0; COPY_BYTES.min(len) as usize];
    while at < len {
        let take = piece.len().min((len - at) as usize);
        from.read_at(&mut piece[..take], at)?;
        to.write_at(&piece[..take], at)?;
        at += take as u64;
    }
    to.sync()?;
    Ok(copy)
}
