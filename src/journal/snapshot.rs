//! The content of a checkpoint: all of the journal's state that isn't in index files or the log's tail.

use super::JournalError;
use super::catalog::{Catalog, CatalogError};
use super::idtable::Targets;
use super::ledger::LaneLedger;
use super::window::Running;
use crate::log::Cursor;
use crate::message::wire::{Problem, Reader, WireError, put_bytes, put_u64, put_u128, put_varint};
use crate::message::{LaneId, LogUuid, Position, RouteId};
use roaring::RoaringTreemap;
use std::path::Path;

const VERSION: u8 = 1;

pub struct Snapshot {
    pub uuid: LogUuid,
    /// Runs of the gateway over this journal so far.
    pub epochs: u32,
    /// Keys the hashes of identities. It never leaves this file.
    pub secret: [u8; 16],
    pub cursor: Cursor,
    /// At the time of the snapshot; no less than the cursor's.
    pub running_ms: u64,
    pub catalog: Catalog,
    /// By lane number.
    pub ledgers: Vec<LaneLedger>,
    /// The exactly-once part of the window: its times aren't in the records.
    pub exactly_once: Vec<ExactlyOnceId>,
}

/// An exactly-once id of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactlyOnceId {
    pub key: u128,
    pub content: u64,
    pub position: Position,
    /// When its plan was settled, if it is.
    pub started: Option<Running>,
    pub targets: Targets,
}

impl ExactlyOnceId {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u128(out, self.key);
        put_u64(out, self.content);
        put_u64(out, self.position.0);
        put_u64(out, self.started.map_or(0, |start| start.0 + 1));
        put_varint(out, self.targets.len() as u64);
        for (route, lane) in &self.targets {
            put_varint(out, u64::from(route.0));
            put_varint(out, u64::from(lane.0));
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let key = reader.u128("key of an id")?;
        let content = reader.u64("content hash of an id")?;
        let position = Position(reader.u64("position of an id")?);
        let started = reader.u64("start of an id")?.checked_sub(1).map(Running);
        let mut targets = Vec::new();
        for _ in 0..reader.varint("count of targets")? {
            let route = RouteId(reader.varint_as("route")?);
            targets.push((route, LaneId(reader.varint_as("lane")?)));
        }
        Ok(Self {
            key,
            content,
            position,
            started,
            targets,
        })
    }
}

impl Snapshot {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(VERSION);
        put_u128(&mut out, self.uuid.0);
        put_varint(&mut out, u64::from(self.epochs));
        out.extend_from_slice(&self.secret);
        for word in [
            self.cursor.segment,
            self.cursor.offset,
            self.cursor.batch,
            self.cursor.position.0,
            self.cursor.running_ms,
            self.cursor.wall_ms,
            self.running_ms,
        ] {
            put_u64(&mut out, word);
        }
        put_part(&mut out, |part| self.catalog.encode(part));
        put_varint(&mut out, self.ledgers.len() as u64);
        for ledger in &self.ledgers {
            put_part(&mut out, |part| ledger.encode(part));
        }
        put_varint(&mut out, self.exactly_once.len() as u64);
        for entry in &self.exactly_once {
            entry.encode(&mut out);
        }
        out
    }

    #[must_use]
    pub fn exactly_once_positions(&self) -> RoaringTreemap {
        self.exactly_once.iter().map(|id| id.position.0).collect()
    }

    /// The content of the newest checkpoint in a journal's folder.
    pub fn read(bytes: &[u8], dir: &Path) -> Result<Self, JournalError> {
        let dir = dir.to_path_buf();
        match bytes.first() {
            Some(&found) if found > VERSION => Err(JournalError::NewerCheckpoint {
                dir,
                found,
                known: VERSION,
            }),
            _ => Self::decode(bytes).map_err(|e| JournalError::Checkpoint {
                dir,
                detail: e.to_string(),
            }),
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CatalogError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("version of the checkpoint")? != VERSION {
            return Err(reader
                .error("version of the checkpoint", Problem::OutOfRange)
                .into());
        }
        let uuid = LogUuid(reader.u128("uuid")?);
        let epochs = reader.varint_as("epochs")?;
        let secret = reader.take("secret", 16)?.try_into().expect("16 bytes");
        let cursor = Cursor {
            segment: reader.u64("segment")?,
            offset: reader.u64("offset")?,
            batch: reader.u64("batch")?,
            position: Position(reader.u64("position")?),
            running_ms: reader.u64("running time")?,
            wall_ms: reader.u64("wall time")?,
        };
        let running_ms = reader.u64("running time")?;
        let catalog = Catalog::decode(&mut Reader::new(reader.bytes("catalog")?))?;
        let mut ledgers = Vec::new();
        for _ in 0..reader.varint("count of lanes")? {
            ledgers.push(LaneLedger::decode(&mut Reader::new(
                reader.bytes("ledger")?,
            ))?);
        }
        let mut exactly_once = Vec::new();
        for _ in 0..reader.varint("count of ids")? {
            exactly_once.push(ExactlyOnceId::decode(&mut reader)?);
        }
        reader.finish("the checkpoint")?;
        Ok(Self {
            uuid,
            epochs,
            secret,
            cursor,
            running_ms,
            catalog,
            ledgers,
            exactly_once,
        })
    }
}

fn put_part(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut part = Vec::new();
    write(&mut part);
    put_bytes(out, &part);
}
