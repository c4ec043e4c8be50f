//! A sealed segment's index file: its extent, and bytes that the log's user wants back at start-up.
//! Only a cache: all of it can be found by scanning the segment, and is if the file doesn't fit it.

use super::disk::Disk;
use super::segment::{Extent, Landmark, Segment};
use crate::message::Position;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"CWINDEX1";
/// Magic, eight numbers (salt and extent), landmark count, blob checksum and length, checksum.
const HEAD_BYTES: usize = 8 + 8 * 8 + 4 + 4 + 8 + 4;
const LANDMARK_BYTES: usize = 16;

/// What an index file says, its blob not yet read.
pub struct Index {
    pub extent: Extent,
    blob_at: u64,
    blob_bytes: u64,
    blob_crc: u32,
}

#[must_use]
pub fn path_of(segment: &Path) -> PathBuf {
    segment.with_extension("idx")
}

fn encode(segment: &Segment, blob: &[u8]) -> Vec<u8> {
    let extent = segment.extent();
    let mut out =
        Vec::with_capacity(HEAD_BYTES + extent.landmarks.len() * LANDMARK_BYTES + blob.len());
    out.extend_from_slice(MAGIC);
    for word in [
        segment.header.salt,
        extent.data_end,
        extent.first_batch,
        extent.end_batch,
        extent.first_position.0,
        extent.end_position.0,
        extent.running_ms,
        extent.wall_ms,
    ] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&(extent.landmarks.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(blob).to_le_bytes());
    out.extend_from_slice(&(blob.len() as u64).to_le_bytes());
    let mut landmarks = Vec::with_capacity(extent.landmarks.len() * LANDMARK_BYTES);
    for landmark in &extent.landmarks {
        landmarks.extend_from_slice(&landmark.position.0.to_le_bytes());
        landmarks.extend_from_slice(&landmark.offset.to_le_bytes());
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), &landmarks);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&landmarks);
    out.extend_from_slice(blob);
    out
}

/// Writes the index of a sealed segment, whole or not at all.
pub fn write(disk: &dyn Disk, segment: &Segment, blob: &[u8]) -> io::Result<()> {
    let path = path_of(&segment.path);
    let temporary = path.with_extension("idx.tmp");
    match disk.remove(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = disk.create(&temporary)?;
    file.write_at(&encode(segment, blob), 0)?;
    file.sync()?;
    disk.rename(&temporary, &path)?;
    disk.sync_dir(&super::disk::parent(&path))
}

/// Reads the head; `None` if there is none that fits the segment with this salt.
pub fn read(disk: &dyn Disk, segment_path: &Path, salt: u64) -> io::Result<Option<Index>> {
    let file = match disk.open(&path_of(segment_path)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let len = file.len()?;
    if len < HEAD_BYTES as u64 {
        return Ok(None);
    }
    let mut head = [0; HEAD_BYTES];
    file.read_at(&mut head, 0)?;
    let word = |i: usize| {
        let at = 8 + i * 8;
        u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"))
    };
    let half = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    let landmark_bytes = half(72) as u64 * LANDMARK_BYTES as u64;
    let blob_bytes = u64::from_le_bytes(head[80..88].try_into().expect("8 bytes"));
    let blob_at = HEAD_BYTES as u64 + landmark_bytes;
    if &head[..8] != MAGIC || word(0) != salt || blob_at.checked_add(blob_bytes) != Some(len) {
        return Ok(None);
    }
    let mut landmarks = vec![0; landmark_bytes as usize];
    file.read_at(&mut landmarks, HEAD_BYTES as u64)?;
    if crc32c::crc32c_append(crc32c::crc32c(&head[..88]), &landmarks) != half(88) {
        return Ok(None);
    }
    let landmarks = landmarks
        .chunks_exact(LANDMARK_BYTES)
        .map(|c| Landmark {
            position: Position(u64::from_le_bytes(c[..8].try_into().expect("8 bytes"))),
            offset: u64::from_le_bytes(c[8..].try_into().expect("8 bytes")),
        })
        .collect();
    let extent = Extent {
        data_end: word(1),
        first_batch: word(2),
        end_batch: word(3),
        first_position: Position(word(4)),
        end_position: Position(word(5)),
        running_ms: word(6),
        wall_ms: word(7),
        landmarks,
    };
    Ok(Some(Index {
        extent,
        blob_at,
        blob_bytes,
        blob_crc: half(76),
    }))
}

/// The same for a segment whose header is lost: with the salt that the index names.
pub(super) fn read_any(disk: &dyn Disk, segment_path: &Path) -> io::Result<Option<(u64, Index)>> {
    let file = match disk.open(&path_of(segment_path)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if file.len()? < HEAD_BYTES as u64 {
        return Ok(None);
    }
    let mut salt = [0; 8];
    file.read_at(&mut salt, MAGIC.len() as u64)?;
    let salt = u64::from_le_bytes(salt);
    Ok(read(disk, segment_path, salt)?.map(|index| (salt, index)))
}

/// The user's bytes; `None` if they are damaged.
pub fn read_blob(
    disk: &dyn Disk,
    segment_path: &Path,
    index: &Index,
) -> io::Result<Option<Vec<u8>>> {
    let file = disk.open(&path_of(segment_path))?;
    let mut blob = vec![0; index.blob_bytes as usize];
    file.read_at(&mut blob, index.blob_at)?;
    Ok((crc32c::crc32c(&blob) == index.blob_crc).then_some(blob))
}
