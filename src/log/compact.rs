//! Rewrites sealed segments to what is still needed, positions kept.

use super::batch::{Batch, Stamp};
use super::format::{Records, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::segment::{Extent, Found, Segment};
use super::shared::{Shared, remove_if_there};
use super::{BATCH_HEADER_BYTES, Record};
use crate::message::Position;
use std::io;
use std::sync::Arc;

/// What the log's user says of the records of segments that are compacted.
pub trait Keep {
    /// Whether a record with a position is still needed. Records without one are dropped.
    fn keeps(&mut self, position: Position, body: &[u8]) -> bool;
    /// Called after all: records without position to put at the end, in place of what was dropped.
    fn instead(&mut self) -> Vec<Record>;
}

/// Writes what is kept of a run of neighbouring sealed segments into one new segment and puts it in
/// their place. `None` if nothing is left: then they are retired. On error the log is as it was, or
/// the new segment is in place and only the old files are still there, until the next start.
///
/// The caller has made sure that what is dropped is not needed, also after a crash.
pub fn compact(
    shared: &Shared,
    run: &[Arc<Segment>],
    keep: &mut dyn Keep,
) -> io::Result<Option<Arc<Segment>>> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return Ok(None);
    };
    let header = SegmentHeader {
        kind: shared.kind,
        uuid: shared.uuid,
        first_seq: first.header.first_seq,
        last_seq: last.header.last_seq,
        salt: shared.salt(),
        compacted: true,
    };
    let (bytes, extent) = rewrite(run, &header, keep)?;
    if !extent.has_batches() {
        shared.retire(run)?;
        return Ok(None);
    }
    let path = shared.path(header.first_seq, header.last_seq);
    let temporary = path.with_extension("compact.tmp");
    remove_if_there(&*shared.disk, &temporary)?;
    let file = shared.disk.create(&temporary)?;
    if let Err(e) = file.write_at(&bytes, 0).and_then(|()| file.sync()) {
        // Half a copy is of no use and takes room that others need.
        let _ = shared.disk.remove(&temporary);
        return Err(e);
    }
    shared.disk.rename(&temporary, &path)?;
    shared.disk.sync_dir(&shared.dir)?;
    let new = Arc::new(Segment::new(
        header,
        path.clone(),
        file,
        bytes.len() as u64,
        extent,
    ));
    swap(shared, run, &new);
    // What stays behind if this fails is removed at the next start: the new name covers it.
    for replaced in run.iter().filter(|s| s.path != path) {
        shared.discard_file(replaced)?;
    }
    Ok(Some(new))
}

fn swap(shared: &Shared, run: &[Arc<Segment>], new: &Arc<Segment>) {
    shared.with_segments(|all| {
        let at = all
            .iter()
            .position(|s| Arc::ptr_eq(s, &run[0]))
            .expect("the run is in the log");
        all.splice(at..at + run.len(), [Arc::clone(new)]);
    });
}

/// The new segment's bytes, in memory: what is kept is less than a segment.
fn rewrite(
    run: &[Arc<Segment>],
    header: &SegmentHeader,
    keep: &mut dyn Keep,
) -> io::Result<(Vec<u8>, Extent)> {
    let mut out = vec![0; SEGMENT_HEADER_BYTES as usize];
    out[..SegmentHeader::BYTES].copy_from_slice(&header.encode());
    let first = run[0].extent();
    let mut extent = Extent::empty(first.first_batch, first.first_position);
    let mut last = None;
    for segment in run {
        let end = segment.with_extent(|e| e.data_end);
        let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, end);
        while let Some(found) = scanner.next()? {
            let stamp = Stamp {
                running_ms: found.header.running_ms,
                wall: found.header.wall,
                epoch: found.header.epoch,
            };
            last = Some((found.header.batch, stamp));
            let mut batch = kept_of(&found, keep);
            add(
                &mut out,
                &mut extent,
                &mut batch,
                header.salt,
                found.header.batch,
                stamp,
            );
        }
        if scanner.offset() != end {
            return Err(io::Error::other(format!(
                "{}: damaged at byte {}",
                segment.path.display(),
                scanner.offset()
            )));
        }
    }
    let end_position = run
        .last()
        .expect("a run isn't empty")
        .with_extent(|e| e.end_position);
    if let Some((number, stamp)) = last {
        let mut batch = Batch::new(end_position);
        for record in keep.instead() {
            batch.push_unpositioned(&record);
        }
        add(
            &mut out,
            &mut extent,
            &mut batch,
            header.salt,
            number,
            stamp,
        );
    }
    // It stands for all positions of the run, so that a look-up finds it and learns that a record is gone.
    extent.first_position = first.first_position;
    extent.end_position = end_position;
    Ok((out, extent))
}

fn kept_of(found: &Found<'_>, keep: &mut dyn Keep) -> Batch {
    let mut batch = Batch::new(found.header.first_position);
    for record in Records::new(&found.header, found.body).flatten() {
        if let Some(position) = record.position
            && keep.keeps(position, record.body)
        {
            batch.push_at(position, record.body);
        }
    }
    batch
}

fn add(
    out: &mut Vec<u8>,
    extent: &mut Extent,
    batch: &mut Batch,
    salt: u64,
    number: u64,
    stamp: Stamp,
) {
    if batch.is_empty() {
        return;
    }
    let offset = out.len() as u64;
    let bytes = batch.seal(salt, number, stamp);
    let header = super::format::BatchHeader::decode(bytes, salt).expect("just sealed");
    let body = &bytes[BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + header.body_bytes as usize];
    let end_position = Found {
        header,
        offset,
        body,
    }
    .end_position();
    out.extend_from_slice(bytes);
    extent.add(&header, offset, end_position);
}
