//! Where is it? By position, or by identity.

use super::idtable::{self, IdEntry, Targets};
use super::state::Shared;
use crate::log::disk::Disk;
use crate::log::{Records, SEGMENT_HEADER_BYTES, Segment, read_index, read_index_blob};
use crate::message::{Position, record};
use std::io;

/// The ids of a sealed segment: from its index, else by a scan.
pub fn ids_of(disk: &dyn Disk, shared: &Shared, segment: &Segment) -> io::Result<Vec<IdEntry>> {
    if let Some(blob) = index_blob(disk, segment)? {
        return shared
            .with_shapes(|shapes| idtable::decode(&blob, shapes))
            .map_err(io::Error::other);
    }
    let mut found: Vec<IdEntry> = Vec::new();
    let end = segment.with_extent(|e| e.data_end);
    let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, end);
    let mut last_batch = 0;
    while let Some(batch) = scanner.next()? {
        // As in the replay: durable before the next batch was written.
        for id in &mut found[last_batch..] {
            id.running_ms = id.running_ms.max(batch.header.running_ms);
        }
        last_batch = found.len();
        for raw in Records::new(&batch.header, batch.body).flatten() {
            match raw.position {
                Some(position) => {
                    let peek = record::peek(raw.body).map_err(io::Error::other)?;
                    let Some(print) = peek.fingerprint else {
                        continue;
                    };
                    let targets: Targets = peek.targets.iter().map(|t| (t.route, t.lane)).collect();
                    found.push(IdEntry {
                        key: print.key,
                        content: print.content,
                        position,
                        running_ms: batch.header.running_ms,
                        shape: shared.with_shapes(|shapes| shapes.intern(targets.iter().copied())),
                        exactly_once: peek.is_exactly_once(),
                    });
                }
                None if raw.body.first() == Some(&idtable::IDS_V1) => {
                    let table =
                        shared.with_shapes(|shapes| idtable::decode(&raw.body[1..], shapes));
                    found.extend(table.map_err(io::Error::other)?);
                }
                None => {}
            }
        }
    }
    found.sort_by_key(|id| id.position);
    Ok(found)
}

fn index_blob(disk: &dyn Disk, segment: &Segment) -> io::Result<Option<Vec<u8>>> {
    match read_index(disk, &segment.path, segment.header.salt)? {
        Some(index) => read_index_blob(disk, &segment.path, &index),
        None => Ok(None),
    }
}

/// Where the deliveries of a position go, while its record or its id is in a segment.
pub fn targets_at(
    disk: &dyn Disk,
    shared: &Shared,
    position: Position,
) -> io::Result<Option<Found>> {
    if let Some(stored) = shared.reader.read(position)? {
        let (message, _) = record::decode(&stored.body).map_err(io::Error::other)?;
        let targets = message
            .plan
            .targets
            .iter()
            .map(|t| (t.route, t.lane))
            .collect();
        let id = message.envelope.id.as_str().map(str::to_owned);
        let principal = Some(message.envelope.principal.to_string());
        return Ok(Some(Found {
            targets,
            id,
            principal,
            epoch: Some(stored.epoch),
        }));
    }
    let Some(segment) = shared.reader.shared().segment_of(position) else {
        return Ok(None);
    };
    let targets = match index_blob(disk, &segment)? {
        Some(blob) => idtable::find(&blob, position).map_err(io::Error::other)?,
        None => {
            let ids = ids_of(disk, shared, &segment)?;
            let found = ids.iter().find(|id| id.position == position);
            found.map(|id| targets_of(shared, id))
        }
    };
    Ok(targets.map(|targets| Found {
        targets,
        id: None,
        principal: None,
        epoch: None,
    }))
}

fn targets_of(shared: &Shared, id: &IdEntry) -> Targets {
    shared.read_shapes(|shapes| shapes.get(id.shape).unwrap_or_default().to_vec())
}

/// What a segment still knows of a position.
pub struct Found {
    pub targets: Targets,
    /// None if only the id's hash is left.
    pub id: Option<String>,
    pub principal: Option<String>,
    pub epoch: Option<crate::message::Epoch>,
}

/// The newest position of an identity in sealed segments: for ids that left the window while their
/// envelope is pending, or still in a segment. Slow, and not on any publisher's way.
pub fn find_key(
    disk: &dyn Disk,
    shared: &Shared,
    key: u128,
) -> io::Result<Option<(Position, Targets)>> {
    // The ids of the active one are in the journal's memory.
    for segment in shared.reader.shared().segments().iter().rev().skip(1) {
        let found = match index_blob(disk, segment)? {
            Some(blob) => idtable::find_key(&blob, key).map_err(io::Error::other)?,
            None => {
                let ids = ids_of(disk, shared, segment)?;
                let newest = ids.iter().rev().find(|id| id.key == key);
                newest.map(|id| (id.position, targets_of(shared, id)))
            }
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
