//! A dead-letter log: the same sink as a stream, with the reason beside each message.

use super::{
    DeadLetter, NewRecord, StreamError, StreamLog, StreamReader, StreamStats, origin, record,
};
use crate::clock::{Clock, Wall};
use crate::egress::NameBook;
use crate::log::{BATCH_HEADER_BYTES, RECORD_HEADER_BYTES};
use crate::message::{Delivery, Position};
use roaring::RoaringTreemap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct DeadLetterLog {
    log: Mutex<StreamLog>,
    reader: StreamReader,
    /// The last write found no room.
    is_full: AtomicBool,
    names: Arc<NameBook>,
    destination: Arc<str>,
    clock: Clock,
}

/// A delivery that is given up, and why.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    pub delivery: &'a Delivery,
    pub reason: &'a str,
    pub attempts: u32,
    pub first_attempt: Option<Wall>,
    pub last_attempt: Option<Wall>,
}

/// What a write came to.
#[derive(Clone, Debug)]
pub struct BuriedLetters {
    /// So many, from the first on, are durable.
    pub count: usize,
    /// The log's next offset.
    pub next: Position,
    pub stopped: Option<StreamError>,
}

impl DeadLetterLog {
    #[must_use]
    pub fn new(log: StreamLog, names: Arc<NameBook>, destination: Arc<str>, clock: Clock) -> Self {
        Self {
            reader: log.reader(),
            log: Mutex::new(log),
            is_full: AtomicBool::new(false),
            names,
            destination,
            clock,
        }
    }

    fn log(&self) -> MutexGuard<'_, StreamLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The journal has everything before the mark durably settled.
    pub fn advance_mark(&self, mark: u64) {
        self.log().advance_mark(mark);
    }

    /// Waits for a write that goes on.
    pub fn set_max_bytes(&self, max_bytes: u64) {
        self.log().set_max_bytes(max_bytes);
    }

    #[must_use]
    pub const fn reader(&self) -> &StreamReader {
        &self.reader
    }

    /// The journal has durably noted that these letters are gone: their room may be given back. True if
    /// there may be more to do.
    pub fn release(&self, gone: &RoaringTreemap) -> bool {
        self.log().release(gone)
    }

    /// Whether its lane is stopped for want of room here.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.log().stats()
    }

    /// Makes letters durable, each at most once over all runs. Blocks.
    #[must_use]
    pub fn bury(&self, letters: &[Letter<'_>]) -> BuriedLetters {
        let names: Vec<_> = letters
            .iter()
            .map(|l| self.names.of(l.delivery, &self.destination))
            .collect();
        let mut log = self.log();
        let most = log.max_batch_bytes() as usize - BATCH_HEADER_BYTES - RECORD_HEADER_BYTES - 8;
        let reasons: Vec<_> = (letters.iter().zip(&names))
            .map(|(letter, names)| {
                let mut reason = self.reason(letter);
                let record = NewRecord::of(letter.delivery, names.borrowed());
                // Without it the letter fits whatever its journal's record has.
                if record::most_bytes(&record.dead(&reason)) > most {
                    reason.origin = None;
                }
                reason
            })
            .collect();
        let records: Vec<_> = (letters.iter().zip(&names).zip(&reasons))
            .map(|((letter, names), reason)| {
                NewRecord::of(letter.delivery, names.borrowed()).dead(reason)
            })
            .collect();
        let appended = log.append(&records, self.clock.mono(), self.clock.wall());
        let is_full = matches!(appended.stopped, Some(StreamError::NoRoom { .. }));
        self.is_full.store(is_full, Ordering::Relaxed);
        BuriedLetters {
            count: appended.done,
            next: Position(log.next_offset()),
            stopped: appended.stopped,
        }
    }

    fn reason(&self, letter: &Letter<'_>) -> DeadLetter {
        DeadLetter {
            destination: self.destination.to_string(),
            reason: letter.reason.to_owned(),
            attempts: letter.attempts,
            first_attempt: letter.first_attempt,
            last_attempt: letter.last_attempt,
            origin: Some(origin::encode(letter.delivery)),
        }
    }
}
