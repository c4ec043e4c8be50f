//! `causeway journal verify`: walks the logs and says whether everything adds up. Offline.

use super::open::{JournalOptions, open};
use super::{Counts, JournalError};
use crate::log::disk::Disk;
use crate::log::{Cut, Records, SEGMENT_HEADER_BYTES};
use crate::message::record;
use std::collections::BTreeMap;
use std::path::PathBuf;
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
    let dir = options.dir.clone();
    let opened = open(disk, options)?;
    let shared = opened.journal.shared();
    let mut walk = Walk {
        next_position: opened.report.next_position,
        ids: opened.report.ids,
        cut: opened.report.cut,
        ..Walk::default()
    };
    for lane in shared.lanes() {
        let ledger = lane.ledger();
        if let Err(e) = ledger.check() {
            walk.problems.push(format!("lane {}: {e}", lane.name));
        }
        let (counts, pending) = (*ledger.counts(), ledger.pending());
        let lane_walk = LaneWalk {
            counts,
            pending,
            owed_bytes: ledger.owed_bytes(),
            found: 0,
            found_bytes: 0,
        };
        walk.lanes.insert(lane.name.clone(), lane_walk);
    }
    for segment in shared.reader.shared().segments() {
        walk.segments += 1;
        walk.bytes += segment.file_bytes;
        let end = segment.with_extent(|e| e.data_end);
        let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, end);
        while let Some(batch) = scanner.next().map_err(JournalError::io(&segment.path))? {
            for raw in Records::new(&batch.header, batch.body).flatten() {
                let Some(position) = raw.position else {
                    continue;
                };
                walk.records += 1;
                if let Err(e) = record::decode(&bytes::Bytes::copy_from_slice(raw.body)) {
                    walk.problems.push(format!("position {position}: {e}"));
                }
                let size = (raw.body.len() + crate::log::RECORD_HEADER_BYTES) as u64;
                for lane in shared.lanes() {
                    let owed = lane.ledger().owed().count_in(position.0..=position.0);
                    if let Some(lane) = walk.lanes.get_mut(&lane.name) {
                        lane.found += owed;
                        lane.found_bytes += owed * size;
                    }
                }
            }
        }
        if scanner.offset() != end {
            let place = PathBuf::from(&segment.path);
            walk.problems.push(format!(
                "{}: damaged at byte {}",
                place.display(),
                scanner.offset()
            ));
        }
    }
    for (name, lane) in &walk.lanes {
        if lane.found != lane.pending {
            walk.problems.push(format!(
                "lane {name}: {} deliveries are pending, the log in {} has {} of them",
                lane.pending,
                dir.display(),
                lane.found
            ));
        } else if lane.found_bytes != lane.owed_bytes {
            walk.problems.push(format!(
                "lane {name}: the backlog is charged {} bytes, the log has {}",
                lane.owed_bytes, lane.found_bytes
            ));
        }
    }
    Ok(walk)
}

impl Walk {
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{self:#?}")
    }

    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let lanes: Vec<_> = self
            .lanes
            .iter()
            .map(|(name, lane)| {
                let counts = &lane.counts;
                let discarded: serde_json::Map<_, _> = crate::message::DiscardReason::ALL
                    .iter()
                    .zip(counts.discarded)
                    .map(|(reason, n)| (reason.as_str().to_owned(), n.into()))
                    .collect();
                serde_json::json!({
                    "name": name, "planned": counts.planned, "delivered": counts.delivered,
                    "dead_lettered": counts.dead_lettered, "discarded": discarded,
                    "pending": lane.pending,
                })
            })
            .collect();
        serde_json::json!({
            "next_position": self.next_position, "segments": self.segments, "bytes": self.bytes,
            "records": self.records, "ids": self.ids, "problems": self.problems, "lanes": lanes,
        })
    }
}
