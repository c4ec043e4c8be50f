//! Opening a stream: what it holds of this journal since the mark counts as settled, and what
//! shows that the journal and the stream don't belong together is refused.

use super::error::OpenError;
use super::{JournalState, StreamLog, StreamOptions, record};
use crate::log::disk::Disk;
use crate::log::{self, Cut, Log, StoredRecord};
use crate::message::{DeliveryId, DeliverySet, Position};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// The tail is read in pieces of this.
const PIECE_RECORDS: usize = 4096;
const PIECE_BYTES: usize = 1024 * 1024;

/// What was found.
pub struct Opened {
    pub log: StreamLog,
    /// The journal's deliveries that it holds from the mark on: they are settled.
    pub held: Vec<DeliveryId>,
    pub next_offset: u64,
    /// A torn tail that was cut: nobody was told that it was delivered.
    pub cut: Option<Cut>,
    /// The journal's mark, if it lies beyond the end: the folder was deleted or is an older copy.
    /// All of the log was read instead, and new offsets begin at the mark: no offset is given
    /// twice, so that the mark never covers a record that it isn't about.
    pub lost_mark: Option<u64>,
}

impl StreamLog {
    pub fn open(
        disk: Arc<dyn Disk>,
        options: StreamOptions,
        journal: JournalState,
    ) -> Result<Opened, OpenError> {
        let mut scanned = HashSet::new();
        let mut recovered = log::open(
            Arc::clone(&disk),
            &log::OpenOptions {
                dir: options.dir.clone(),
                kind: options.kind,
                sizes: options.sizes,
                from: None,
                skip_indexed: true,
                uuid: None,
                seed: options.seed,
            },
            &mut |segment, _, _| {
                scanned.insert(segment.header.last_seq);
            },
        )?;
        let end = recovered.log.end().position.0;
        let lost_mark = (journal.mark > end).then_some(journal.mark);
        let journal = JournalState {
            mark: lost_mark.map_or(journal.mark, |_| 0),
            ..journal
        };
        let (tail, held) = read_tail(&recovered.log, &options, &journal)?;
        if let Some(mark) = lost_mark {
            recovered.log.skip_to(Position(mark));
        }
        let next_offset = recovered.log.end().position.0;
        let mut log = Self {
            base_running_ms: recovered.log.end().running_ms,
            disk,
            options,
            log: recovered.log,
            journal,
            tail,
            held,
            buffer: Vec::new(),
            end: watch::Sender::new(next_offset),
            failed: None,
            trim_failed: None,
            looked_at: super::release::LookedAt::new(),
        };
        log.index_scanned(&scanned);
        // What is set aside may come from what others would leave.
        log.refill_reserve(0);
        log.tell_room();
        Ok(Opened {
            held: log.tail.iter().map(|(_, at)| *at).collect(),
            log,
            next_offset,
            cut: recovered.cut,
            lost_mark,
        })
    }

    /// Sealed segments that had to be scanned get their index now.
    fn index_scanned(&self, scanned: &HashSet<u64>) {
        let mut segments = self.log.shared().segments();
        segments.pop();
        for segment in segments {
            if scanned.contains(&segment.header.last_seq) {
                self.index(&segment);
            }
        }
    }
}

type Held = (VecDeque<(u64, DeliveryId)>, DeliverySet);

/// This journal's records from the mark on, each checked.
fn read_tail(
    log: &Log,
    options: &StreamOptions,
    journal: &JournalState,
) -> Result<Held, OpenError> {
    let reader = log.reader();
    let (earliest, end) = reader.bounds();
    // Retention stops at the mark, but a journal without a mark never settled anything here.
    if journal.mark > 0 && journal.mark < earliest.0 {
        return Err(OpenError::Trimmed {
            dir: options.dir.clone(),
            journal: journal.uuid,
            mark: journal.mark,
            earliest: earliest.0,
        });
    }
    let (mut tail, mut held) = (VecDeque::new(), DeliverySet::new());
    let mut next = Position(journal.mark).max(earliest);
    while next < end {
        let piece = reader.read_from(next, PIECE_RECORDS, PIECE_BYTES)?;
        let Some(last) = piece.last() else {
            break;
        };
        next = last.position.next();
        for stored in &piece {
            let Some(at) = delivery_of(stored, options, journal)? else {
                continue;
            };
            if !held.insert(at) {
                return Err(double(stored.position.0, at, &tail, options, journal));
            }
            tail.push_back((stored.position.0, at));
        }
    }
    Ok((tail, held))
}

/// Which of this journal's deliveries a record is, if it is one.
fn delivery_of(
    stored: &StoredRecord,
    options: &StreamOptions,
    journal: &JournalState,
) -> Result<Option<DeliveryId>, OpenError> {
    let offset = stored.position.0;
    let (uuid, at) = record::peek(&stored.body).map_err(|source| OpenError::Record {
        dir: options.dir.clone(),
        offset,
        source,
    })?;
    // What lived in memory is never sent again, and its number says nothing in another run.
    if uuid != journal.uuid || at.position.is_in_memory() {
        return Ok(None);
    }
    if at.position >= journal.next_position {
        return Err(OpenError::JournalBehind {
            dir: options.dir.clone(),
            journal: uuid,
            offset,
            at,
            next_position: journal.next_position,
        });
    }
    Ok(Some(at))
}

fn double(
    second: u64,
    at: DeliveryId,
    tail: &VecDeque<(u64, DeliveryId)>,
    options: &StreamOptions,
    journal: &JournalState,
) -> OpenError {
    let (first, _) = tail
        .iter()
        .find(|(_, held)| *held == at)
        .expect("the set and the tail hold the same");
    OpenError::Double {
        dir: options.dir.clone(),
        journal: journal.uuid,
        at,
        first: *first,
        second,
    }
}
