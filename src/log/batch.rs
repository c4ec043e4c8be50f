//! Records on their way in: encoded by whoever submits them, collected into one batch by the writer.

use super::format::{
    BATCH_ALIGN, BATCH_HEADER_BYTES, BatchHeader, NO_POSITION, RECORD_HEADER_BYTES, RawRecord,
    encode_record_header, padded,
};
use crate::clock::Wall;
use crate::message::{Epoch, Position};

/// An encoded record body with its checksum: computed by the submitter, so that the writer only copies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    body: Vec<u8>,
    crc: u32,
}

impl Record {
    #[must_use]
    pub fn new(body: Vec<u8>) -> Self {
        let crc = crc32c::crc32c(&body);
        Self { body, crc }
    }

    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, for its memory to be used again.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Bytes that it takes in a batch.
    #[must_use]
    pub const fn disk_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.body.len()
    }
}

/// When and by which run a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub running_ms: u64,
    pub wall: Wall,
    pub epoch: Epoch,
}

/// One batch in the making: a buffer that is written with one call.
#[derive(Debug)]
pub struct Batch {
    /// Room for the header, then record headers and bodies.
    bytes: Vec<u8>,
    count: u32,
    positioned: u32,
    first_position: Position,
    records_crc: u32,
}

impl Batch {
    /// `next` is the position that the first positioned record will get.
    #[must_use]
    pub fn new(next: Position) -> Self {
        Self::with_buffer(Vec::new(), next)
    }

    /// Reuses the buffer of a batch that was written.
    #[must_use]
    pub fn with_buffer(mut buffer: Vec<u8>, next: Position) -> Self {
        buffer.clear();
        buffer.resize(BATCH_HEADER_BYTES, 0);
        Self {
            bytes: buffer,
            count: 0,
            positioned: 0,
            first_position: next,
            records_crc: 0,
        }
    }

    /// The position of its first positioned record.
    #[must_use]
    pub const fn first_position(&self) -> Position {
        self.first_position
    }

    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Gives the record the next position.
    pub fn push(&mut self, record: &Record) -> Position {
        let position = self.next_position();
        self.add(&record.body, record.crc, position.0);
        self.positioned += 1;
        position
    }

    /// Adds a record without a position.
    pub fn push_unpositioned(&mut self, record: &Record) {
        self.add(&record.body, record.crc, NO_POSITION);
    }

    /// Adds a record that has its position already (compaction).
    pub(super) fn push_at(&mut self, position: Position, body: &[u8]) {
        if self.positioned == 0 {
            self.first_position = position;
        }
        self.positioned += 1;
        self.add(body, crc32c::crc32c(body), position.0);
    }

    /// Adds a record of another batch as it is (salvage).
    pub(super) fn push_raw(&mut self, record: &RawRecord<'_>) {
        match record.position {
            Some(position) => self.push_at(position, record.body),
            None => self.add(record.body, crc32c::crc32c(record.body), NO_POSITION),
        }
    }

    fn add(&mut self, body: &[u8], crc: u32, position: u64) {
        let len = u32::try_from(body.len()).expect("records are limited to less than 4 GiB");
        let head = encode_record_header(len, crc, position);
        self.records_crc = crc32c::crc32c_append(self.records_crc, &head);
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(body);
        self.count += 1;
    }

    #[must_use]
    pub fn next_position(&self) -> Position {
        Position(self.first_position.0 + u64::from(self.positioned))
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes that it will take on disk.
    #[must_use]
    pub const fn disk_bytes(&self) -> u64 {
        padded(self.bytes.len() as u64)
    }

    /// Fills in the header and the padding; the buffer is then the batch as it is written.
    pub(super) fn seal(&mut self, salt: u64, batch: u64, stamp: Stamp) -> &[u8] {
        let body = self.bytes.len() - BATCH_HEADER_BYTES;
        let header = BatchHeader {
            salt,
            batch,
            first_position: self.first_position,
            running_ms: stamp.running_ms,
            wall: stamp.wall,
            epoch: stamp.epoch,
            count: self.count,
            positioned: self.positioned,
            body_bytes: u32::try_from(body).expect("batches are limited to less than 4 GiB"),
            records_crc: self.records_crc,
        };
        self.bytes[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
        let padded = self.bytes.len().next_multiple_of(BATCH_ALIGN as usize);
        self.bytes.resize(padded, 0);
        &self.bytes
    }
}
