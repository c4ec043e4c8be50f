//! `causeway journal verify`: walks the log and says whether everything adds up. Offline.
//!
//! The journal alone: streams and dead-letter logs are further right. Whoever knows them walks
//! them after this and puts their contradictions with these (`Walk::problems`).

use super::open::{JournalOptions, open};
use super::state::Shared;
use super::{Counts, JournalError, LaneState};
use crate::log::disk::Disk;
use crate::log::{Cut, Found, RECORD_HEADER_BYTES, Records, SEGMENT_HEADER_BYTES, Segment};
use crate::message::{DeliverySet, DiscardReason, record};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the walk found.
#[derive(Debug, Default)]
pub struct Walk {
    pub next_position: u64,
    pub segments: usize,
    pub bytes: u64,
    pub records: u64,
    pub ids: usize,
    pub cut: Option<Cut>,
    pub lanes: BTreeMap<String, LaneWalk>,
    /// Contradictions. Empty is what it should be.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct LaneWalk {
    pub counts: Counts,
    pub pending: u64,
    pub owed_bytes: u64,
    /// Of what is pending, found in the log.
    pub found: u64,
    pub found_bytes: u64,
}

/// Opens the journal as a start would (the torn tail is cut), and reads every record in it.
pub fn verify(disk: Arc<dyn Disk>, options: JournalOptions) -> Result<Walk, JournalError> {
    let opened = open(disk, options)?;
    let shared = opened.journal.shared();
    let mut walk = Walk {
        next_position: opened.report.next_position,
        ids: opened.report.ids,
        cut: opened.report.cut,
        ..Walk::default()
    };
    let states = shared.lanes();
    // What lives in memory leaves no trace (promise 14).
    let durable = states.iter().filter(|lane| lane.memory.is_none());
    let mut lanes: Vec<Lane> = durable.map(|lane| Lane::new(lane)).collect();
    for lane in &lanes {
        walk.problems.extend(lane.imbalance.clone());
    }
    walk.segments(shared, &mut lanes)?;
    for lane in lanes {
        walk.problems.extend(lane.contradiction());
        walk.lanes.insert(lane.name, lane.walk);
    }
    Ok(walk)
}

/// A lane's ledger, against what the log has of it.
struct Lane {
    name: String,
    owed: DeliverySet,
    imbalance: Option<String>,
    walk: LaneWalk,
}

impl Lane {
    fn new(state: &LaneState) -> Self {
        let ledger = state.ledger();
        let imbalance = ledger.check().err();
        Self {
            name: state.name.clone(),
            owed: ledger.owed().clone(),
            imbalance: imbalance.map(|e| format!("lane {}: {e}", state.name)),
            walk: LaneWalk {
                counts: *ledger.counts(),
                pending: ledger.pending(),
                owed_bytes: ledger.owed_bytes(),
                found: 0,
                found_bytes: 0,
            },
        }
    }

    fn record(&mut self, position: u64, size_bytes: u64) {
        let owed = self.owed.count_in(position..=position);
        self.walk.found += owed;
        self.walk.found_bytes += owed * size_bytes;
    }

    fn contradiction(&self) -> Option<String> {
        let (name, walk) = (&self.name, &self.walk);
        if walk.found != walk.pending {
            return Some(format!(
                "lane {name}: {} deliveries are pending, the log has {} of them",
                walk.pending, walk.found
            ));
        }
        (walk.found_bytes != walk.owed_bytes).then(|| {
            format!(
                "lane {name}: the backlog is charged {} bytes, the log has {}",
                walk.owed_bytes, walk.found_bytes
            )
        })
    }
}

impl Walk {
    /// False is the exit code of a failure.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn segments(&mut self, shared: &Shared, lanes: &mut [Lane]) -> Result<(), JournalError> {
        for segment in shared.reader.shared().segments() {
            self.segments += 1;
            self.bytes += segment.file_bytes;
            self.segment(&segment, lanes)?;
        }
        Ok(())
    }

    fn segment(&mut self, segment: &Segment, lanes: &mut [Lane]) -> Result<(), JournalError> {
        let end = segment.with_extent(|e| e.data_end);
        let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, end);
        while let Some(batch) = scanner.next().map_err(JournalError::io(&segment.path))? {
            self.batch(&batch, lanes);
        }
        if scanner.offset() != end {
            let (path, offset) = (segment.path.display(), scanner.offset());
            let problem = format!("{path}: damaged at byte {offset}");
            self.problems.push(problem);
        }
        Ok(())
    }

    fn batch(&mut self, batch: &Found<'_>, lanes: &mut [Lane]) {
        for raw in Records::new(&batch.header, batch.body).flatten() {
            let Some(position) = raw.position else {
                continue;
            };
            self.records += 1;
            if let Err(e) = record::decode(&bytes::Bytes::copy_from_slice(raw.body)) {
                self.problems.push(format!("position {position}: {e}"));
            }
            let size_bytes = (raw.body.len() + RECORD_HEADER_BYTES) as u64;
            for lane in &mut *lanes {
                lane.record(position.0, size_bytes);
            }
        }
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{} segments, {} bytes, {} records, {} ids in the window; the next position is {}\n",
            self.segments, self.bytes, self.records, self.ids, self.next_position
        );
        if let Some(cut) = &self.cut {
            let path = cut.path.display();
            text += &format!("a torn end was cut: {path}, byte {}\n", cut.offset);
        }
        for (name, lane) in &self.lanes {
            text += &lane.to_text(name);
        }
        for problem in &self.problems {
            text += &format!("problem: {problem}\n");
        }
        text += match self.is_sound() {
            true => "Everything adds up.\n",
            false => "It doesn't add up.\n",
        };
        text
    }

    /// For programs. Keys are added, never changed or taken away.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let lanes = self.lanes.iter().map(|(name, lane)| lane.to_json(name));
        let lanes: Vec<Value> = lanes.collect();
        let cut = self.cut.as_ref().map(|cut| {
            json!({
                "path": cut.path.display().to_string(),
                "offset": cut.offset,
            })
        });
        json!({
            "next_position": self.next_position,
            "segments": self.segments,
            "bytes": self.bytes,
            "records": self.records,
            "ids": self.ids,
            "cut": cut,
            "lanes": lanes,
            "problems": self.problems,
        })
    }
}

impl LaneWalk {
    fn to_text(&self, name: &str) -> String {
        let counts = &self.counts;
        let mut text = format!(
            "{name}: {} planned = {} delivered + {} dead-lettered",
            counts.planned, counts.delivered, counts.dead_lettered
        );
        for reason in DiscardReason::ALL {
            text += &format!(" + {} {}", counts.discarded_as(reason), reason.as_str());
        }
        text + &format!(" + {} pending\n", self.pending)
    }

    fn to_json(&self, name: &str) -> Value {
        let discarded: Map<String, Value> = DiscardReason::ALL
            .into_iter()
            .map(|reason| {
                let count = self.counts.discarded_as(reason);
                (reason.as_str().to_owned(), count.into())
            })
            .collect();
        json!({
            "name": name,
            "planned": self.counts.planned,
            "delivered": self.counts.delivered,
            "dead_lettered": self.counts.dead_lettered,
            "discarded": discarded,
            "pending": self.pending,
            "owed_bytes": self.owed_bytes,
        })
    }
}
