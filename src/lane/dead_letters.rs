//! A lane's dead-letter log: the same sink as a stream, with the reason beside each message.

use super::feed::{DeadLetterSink, SinkError, Written};
use super::state::DeadLetter;
use crate::clock::Clock;
use crate::egress::NameBook;
use crate::egress::stream::{self, NewRecord, StreamError, StreamLog, StreamStats};
use crate::message::Position;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct DeadLetterLog {
    log: Mutex<StreamLog>,
    names: Arc<NameBook>,
    destination: Arc<str>,
    clock: Clock,
}

impl DeadLetterLog {
    #[must_use]
    pub fn new(log: StreamLog, names: Arc<NameBook>, destination: Arc<str>, clock: Clock) -> Self {
        Self {
            log: Mutex::new(log),
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

    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.log().stats()
    }
}

impl DeadLetterSink for DeadLetterLog {
    fn write(&self, letters: &[DeadLetter]) -> Result<Written, SinkError> {
        let named: Vec<_> = letters
            .iter()
            .map(|l| self.names.of(&l.delivery, &self.destination))
            .collect();
        let reasons: Vec<_> = letters
            .iter()
            .map(|letter| stream::DeadLetter {
                destination: self.destination.to_string(),
                reason: letter.reason.to_string(),
                attempts: letter.attempts,
                first_attempt: letter.first_attempt,
                last_attempt: letter.last_attempt,
            })
            .collect();
        let records: Vec<_> = letters
            .iter()
            .zip(&named)
            .zip(&reasons)
            .map(|((letter, names), reason)| {
                NewRecord::of(&letter.delivery, names.borrowed()).dead(reason)
            })
            .collect();
        let mut log = self.log();
        let appended = log.append(&records, self.clock.mono(), self.clock.wall());
        let next = Position(log.next_offset());
        drop(log);
        match appended.stopped {
            _ if appended.done > 0 => Ok(Written {
                count: appended.done,
                next,
            }),
            Some(e @ StreamError::NoRoom { .. }) => Err(SinkError::Full(e.to_string())),
            Some(e) => Err(SinkError::Failed(e.to_string())),
            None => Err(SinkError::Failed("it wrote nothing".into())),
        }
    }
}
