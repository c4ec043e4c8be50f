//! A log that a lane writes deliveries to: embedded stream or dead letters.

use super::model::Held;
use causeway::clock::Wall;
use causeway::log::disk::Disk;
use causeway::log::{
    self, AppendError, Batch, Log, LogKind, OpenOptions, Record, Sizes, Stamp, Urgency,
};
use causeway::message::{Delivery, DeliveryId, Epoch, LogUuid, Position};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 32 * 1024;

/// What the journal that feeds it says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub journal: LogUuid,
    pub epoch: Epoch,
    /// Everything before it is durably settled.
    pub mark: u64,
}

pub struct Sink {
    log: Log,
    origin: Origin,
    held: BTreeSet<DeliveryId>,
}

/// How far an append came, and why no further.
pub struct Appended {
    pub done: usize,
    pub stopped: Option<Stop>,
}

pub enum Stop {
    NoRoom,
    Failed(String),
}

impl Sink {
    /// Opens it, and says what it holds from the mark on.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        kind: LogKind,
        origin: Origin,
        seed: u64,
    ) -> Result<(Self, Vec<DeliveryId>), String> {
        let options = OpenOptions {
            dir: dir.to_path_buf(),
            kind,
            sizes: Sizes {
                min_segment_bytes: SEGMENT_BYTES,
                max_segment_bytes: SEGMENT_BYTES,
                reserve_segments: 0,
            },
            from: None,
            skip_indexed: false,
            uuid: None,
            seed,
        };
        let recovered = log::open(disk, &options, &mut |_, _, _| {}).map_err(|e| e.to_string())?;
        let mut sink = Self {
            log: recovered.log,
            origin,
            held: BTreeSet::new(),
        };
        let tail = sink.content(origin.mark)?;
        let tail: Vec<DeliveryId> = tail.into_iter().map(|held| held.at).collect();
        sink.held = tail.iter().copied().collect();
        Ok((sink, tail))
    }

    pub fn next_offset(&self) -> u64 {
        self.log.end().position.0
    }

    /// One batch of what it doesn't hold yet.
    pub fn append(&mut self, deliveries: &[&Delivery], wall: Wall) -> Appended {
        let mut batch = Batch::new(self.log.end().position);
        let new = |at: &&&Delivery| !self.held.contains(&at.at);
        for delivery in deliveries.iter().filter(new) {
            batch.push(&encode(self.origin.journal, delivery));
        }
        let stopped = if batch.is_empty() {
            None
        } else {
            self.write(&mut batch, wall).err()
        };
        if stopped.is_none() {
            self.held.extend(deliveries.iter().map(|d| d.at));
        }
        let done = if stopped.is_none() {
            deliveries.len()
        } else {
            0
        };
        Appended { done, stopped }
    }

    fn write(&mut self, batch: &mut Batch, wall: Wall) -> Result<(), Stop> {
        if let Some(reason) = self.log.failure() {
            return Err(Stop::Failed(reason.to_owned()));
        }
        while self.log.room(Urgency::Essential) < batch.disk_bytes() {
            if let Err(e) = self.log.shared().prepare() {
                return Err(match e.kind() {
                    ErrorKind::StorageFull => Stop::NoRoom,
                    _ => Stop::Failed(e.to_string()),
                });
            }
        }
        let stamp = Stamp {
            running_ms: 0,
            wall,
            epoch: self.origin.epoch,
        };
        match self.log.append(batch, stamp, Urgency::Essential) {
            Ok(_) => Ok(()),
            Err(AppendError::NoRoom) => Err(Stop::NoRoom),
            Err(AppendError::Failed(reason)) => Err(Stop::Failed(reason)),
        }
    }

    /// Everything from an offset on.
    pub fn content(&self, from: u64) -> Result<Vec<Held>, String> {
        let reader = self.log.reader();
        let stored = reader
            .read_from(Position(from), usize::MAX, usize::MAX)
            .map_err(|e| e.to_string())?;
        Ok(stored.iter().map(|record| decode(&record.body)).collect())
    }
}

fn encode(journal: LogUuid, delivery: &Delivery) -> Record {
    let (target, envelope) = (delivery.target(), &delivery.message.envelope);
    let payload = target.payload.as_ref().or(envelope.payload.as_ref().ok());
    let mut body = journal.0.to_le_bytes().to_vec();
    body.extend(delivery.at.position.0.to_le_bytes());
    body.extend(delivery.at.ordinal.0.to_le_bytes());
    body.push(u8::from(payload.is_some()));
    body.extend(payload.map_or(&[][..], |p| &p[..]));
    Record::new(body)
}

fn decode(body: &[u8]) -> Held {
    let part = |at: usize, len: usize| &body[at..at + len];
    let position = u64::from_le_bytes(part(16, 8).try_into().expect("8 bytes"));
    let ordinal = u16::from_le_bytes(part(24, 2).try_into().expect("2 bytes"));
    Held {
        journal: LogUuid(u128::from_le_bytes(
            part(0, 16).try_into().expect("16 bytes"),
        )),
        at: DeliveryId::new(position, ordinal),
        payload: (body[26] == 1).then(|| body[27..].to_vec()),
    }
}
