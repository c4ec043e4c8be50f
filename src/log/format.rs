//! The bytes of a segment: its header, batch headers, record headers. docs/JOURNAL.md is this in prose.
//!
//! Little-endian throughout. Checksums (CRC-32C) are over raw bytes and are checked before anything is decoded.

use super::error::FormatError;
use crate::clock::Wall;
use crate::message::{Epoch, LogUuid, Position};

pub const FORMAT_VERSION: u32 = 1;
/// The segment header has this much to itself, so that data never shares its disk block.
pub const SEGMENT_HEADER_BYTES: u64 = 4096;
pub const BATCH_HEADER_BYTES: usize = 72;
pub const RECORD_HEADER_BYTES: usize = 16;
/// Batches start at multiples of this, so that a search for one has few places to look.
pub const BATCH_ALIGN: u64 = 8;
/// The `position` of a record that has none (settlements, catalog entries).
pub const NO_POSITION: u64 = u64::MAX;

const SEGMENT_MAGIC: &[u8; 8] = b"CAUSEWAY";
const SEGMENT_FIELDS_BYTES: usize = 64;
pub const BATCH_MAGIC: u32 = 0x3142_5743; // "CWB1"

/// Whose log it is: a journal is never mistaken for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    Journal,
    Stream,
    DeadLetters,
}

impl LogKind {
    const fn code(self) -> u32 {
        match self {
            Self::Journal => 1,
            Self::Stream => 2,
            Self::DeadLetters => 3,
        }
    }

    const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Journal),
            2 => Some(Self::Stream),
            3 => Some(Self::DeadLetters),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub kind: LogKind,
    pub uuid: LogUuid,
    /// The segment numbers that it stands for: one, or a run that compaction merged.
    pub first_seq: u64,
    pub last_seq: u64,
    /// Random for each use of a file: batches of its former life don't match it.
    pub salt: u64,
    /// Written by compaction: batch numbers and positions in it have gaps.
    pub compacted: bool,
}

impl SegmentHeader {
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_FIELDS_BYTES] {
        let mut out = [0; SEGMENT_FIELDS_BYTES];
        out[0..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.kind.code().to_le_bytes());
        out[16..32].copy_from_slice(&self.uuid.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        out[40..48].copy_from_slice(&self.last_seq.to_le_bytes());
        out[48..56].copy_from_slice(&self.salt.to_le_bytes());
        out[56..60].copy_from_slice(&u32::from(self.compacted).to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; SEGMENT_FIELDS_BYTES]) -> Result<Self, FormatError> {
        if &bytes[0..8] != SEGMENT_MAGIC {
            return Err(FormatError::NotASegment);
        }
        if u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(FormatError::HeaderDamaged);
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(FormatError::Version {
                found: version,
                known: FORMAT_VERSION,
            });
        }
        Ok(Self {
            kind: LogKind::from_code(u32_at(bytes, 12)).ok_or(FormatError::HeaderDamaged)?,
            uuid: LogUuid(u128::from_le_bytes(array_at(bytes, 16))),
            first_seq: u64_at(bytes, 32),
            last_seq: u64_at(bytes, 40),
            salt: u64_at(bytes, 48),
            compacted: u32_at(bytes, 56) != 0,
        })
    }

    pub const BYTES: usize = SEGMENT_FIELDS_BYTES;
}

/// What every batch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub salt: u64,
    /// The batch's dense number in the log.
    pub batch: u64,
    /// The position of its first positioned record, else the next one to be given.
    pub first_position: Position,
    /// The log's cumulated running time, in milliseconds.
    pub running_ms: u64,
    pub wall: Wall,
    pub epoch: Epoch,
    pub count: u32,
    /// How many of the records have positions.
    pub positioned: u32,
    /// Record headers and bodies, without the padding after them.
    pub body_bytes: u32,
    /// Over all record headers, in order.
    pub records_crc: u32,
}

impl BatchHeader {
    #[must_use]
    pub fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut out = [0; BATCH_HEADER_BYTES];
        out[0..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.salt.to_le_bytes());
        out[16..24].copy_from_slice(&self.batch.to_le_bytes());
        out[24..32].copy_from_slice(&self.first_position.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.running_ms.to_le_bytes());
        out[40..48].copy_from_slice(&self.wall.0.to_le_bytes());
        out[48..56].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[56..60].copy_from_slice(&self.count.to_le_bytes());
        out[60..64].copy_from_slice(&self.positioned.to_le_bytes());
        out[64..68].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[68..72].copy_from_slice(&self.records_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` unless these bytes are a batch header of the segment with this salt.
    #[must_use]
    pub fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes: &[u8; BATCH_HEADER_BYTES] = bytes.first_chunk()?;
        if u32_at(bytes, 0) != BATCH_MAGIC
            || u64_at(bytes, 8) != salt
            || u32_at(bytes, 4) != crc32c::crc32c(&bytes[8..])
        {
            return None;
        }
        Some(Self {
            salt,
            batch: u64_at(bytes, 16),
            first_position: Position(u64_at(bytes, 24)),
            running_ms: u64_at(bytes, 32),
            wall: Wall(u64_at(bytes, 40)),
            epoch: Epoch(u64_at(bytes, 48)),
            count: u32_at(bytes, 56),
            positioned: u32_at(bytes, 60),
            body_bytes: u32_at(bytes, 64),
            records_crc: u32_at(bytes, 68),
        })
    }

    /// The same whatever its salt: only for a segment whose own header is lost.
    #[must_use]
    pub fn decode_any(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; BATCH_HEADER_BYTES] = bytes.first_chunk()?;
        Self::decode(head, u64_at(head, 8))
    }

    /// Bytes of the whole batch on disk, padding included.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        padded(BATCH_HEADER_BYTES as u64 + u64::from(self.body_bytes))
    }

    /// The position after the last one in this batch, as long as it isn't compacted.
    #[must_use]
    pub fn end_position(&self) -> Position {
        Position(self.first_position.0 + u64::from(self.positioned))
    }
}

#[must_use]
pub const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BATCH_ALIGN)
}

/// One record of a batch, its checksum verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    pub position: Option<Position>,
    pub body: &'a [u8],
}

#[must_use]
pub fn encode_record_header(body_bytes: u32, crc: u32, position: u64) -> [u8; RECORD_HEADER_BYTES] {
    let mut out = [0; RECORD_HEADER_BYTES];
    out[0..4].copy_from_slice(&body_bytes.to_le_bytes());
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out[8..16].copy_from_slice(&position.to_le_bytes());
    out
}

/// The records of a batch body. Yields `None` in place of a record whose bytes don't match, and ends there.
pub struct Records<'a> {
    body: &'a [u8],
    left: u32,
}

impl<'a> Records<'a> {
    #[must_use]
    pub const fn new(header: &BatchHeader, body: &'a [u8]) -> Self {
        Self {
            body,
            left: header.count,
        }
    }

    /// The next record's header fields, and what follows it.
    fn split(&self) -> Option<(&'a [u8], u32, u64)> {
        let (head, rest) = self.body.split_first_chunk::<RECORD_HEADER_BYTES>()?;
        let len = u32_at(head, 0) as usize;
        (rest.len() >= len).then(|| (&rest[..len], u32_at(head, 4), u64_at(head, 8)))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<RawRecord<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let Some((body, crc, position)) = self.split() else {
            self.left = 0;
            return Some(None);
        };
        if crc32c::crc32c(body) != crc {
            self.left = 0;
            return Some(None);
        }
        self.left -= 1;
        self.body = &self.body[RECORD_HEADER_BYTES + body.len()..];
        let position = (position != NO_POSITION).then_some(Position(position));
        Some(Some(RawRecord { position, body }))
    }
}

/// Whether the body is exactly what its header says: all records and the checksum over their headers.
#[must_use]
pub fn body_matches(header: &BatchHeader, body: &[u8]) -> bool {
    let mut crc = 0;
    let mut rest = body;
    for _ in 0..header.count {
        let Some((head, tail)) = rest.split_first_chunk::<RECORD_HEADER_BYTES>() else {
            return false;
        };
        let len = u32_at(head, 0) as usize;
        if tail.len() < len || crc32c::crc32c(&tail[..len]) != u32_at(head, 4) {
            return false;
        }
        crc = crc32c::crc32c_append(crc, head);
        rest = &tail[len..];
    }
    rest.is_empty() && crc == header.records_crc
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
