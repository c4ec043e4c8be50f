//! The lanes of a process that starts: their streams and dead-letter logs open, and what these hold
//! is settled before any lane works.

use super::{Process, Trip, World};
use crate::simulation::lanes::{Exit, SimLane};
use crate::simulation::model::{Check, DEAD_LETTER_LOG, STREAM_LOG, ensure};
use crate::simulation::shape::{LANE_NAMES, LANES, STREAM, STRICT};
use causeway::egress::stream::{
    From, JournalState, Retention, StreamDestination, StreamLog, StreamOptions,
};
use causeway::egress::{DeadLetterLog, NameBook};
use causeway::journal::{self, DOOR_LANE, FreeSpace, LaneFeed, SettleGroup, SinkMarks};
use causeway::lane::Lane;
use causeway::log::{LogKind, Sizes};
use causeway::message::{LaneId, Outcome};
use std::path::Path;
use std::sync::Arc;

impl World {
    /// Opens the sinks; what they hold is settled before any lane starts.
    pub(super) fn start_lanes(&mut self, mut process: Process) -> Check<Result<Process, Trip>> {
        for i in 0..LANES {
            match self.open_lane(&mut process, LaneId(i as u32))? {
                Ok(lane) => process.lanes.push(lane),
                Err(trip) => return Ok(Err(trip)),
            }
        }
        self.process = Some(process);
        let settled = self.write_settlements()?;
        let process = self.process.take().expect("it was just put there");
        Ok(settled.map(|()| process))
    }

    fn open_lane(&mut self, process: &mut Process, id: LaneId) -> Check<Result<SimLane, Trip>> {
        let shared = Arc::clone(&process.shared);
        let state = shared.lane(id).ok_or("an interned lane is there")?;
        let routes = shared.read_catalog(|c| c.routes().iter().map(|r| r.name.clone()).collect());
        let names = Arc::new(NameBook::new(shared.reader.uuid(), routes));
        let name: Arc<str> = LANE_NAMES[id.0 as usize].into();
        let dead = match self.open_log(process, id, DEAD_LETTER_LOG)? {
            Ok(log) => log,
            Err(trip) => return Ok(Err(trip)),
        };
        let clock = self.clock.clone();
        let dead_letters = DeadLetterLog::new(dead, names.clone(), name.clone(), clock.clone());
        let exit = match id {
            DOOR_LANE => Exit::Nowhere,
            STREAM | STRICT => match self.open_log(process, id, STREAM_LOG)? {
                Ok(log) => Exit::Stream(StreamDestination::new(log, names, name, clock)),
                Err(trip) => return Ok(Err(trip)),
            },
            _ => Exit::Machine,
        };
        let settings = self.shape.settings(id);
        let lane = Lane::new(settings, self.planted, self.rng.fork());
        let feed = LaneFeed::new(Arc::clone(&shared), state, None);
        Ok(Ok(SimLane::new(id, lane, feed, exit, dead_letters)))
    }

    /// Opens a lane's stream or dead-letter log; what it holds counts as settled.
    fn open_log(
        &mut self,
        process: &mut Process,
        lane: LaneId,
        which: usize,
    ) -> Check<Result<StreamLog, Trip>> {
        let shared = Arc::clone(&process.shared);
        let marks = shared.lane(lane).ok_or("it is there")?.ledger().marks();
        let is_dead = which == DEAD_LETTER_LOG;
        let state = JournalState {
            uuid: shared.reader.uuid(),
            epoch: shared.epoch,
            next_position: process.journal.next_position(),
            mark: if is_dead {
                marks.dead_letters
            } else {
                marks.sink
            },
        };
        let options = self.log_options(process, lane, is_dead);
        let opened = match StreamLog::open(self.shared_disk(), options, state) {
            Ok(opened) => opened,
            Err(e) => return Ok(Err(Trip(e.to_string()))),
        };
        ensure!(
            opened.lost_mark.is_none(),
            "{lane:?} ends before {:?}",
            opened.lost_mark
        );
        let content = match opened
            .log
            .reader()
            .read(From::Earliest, usize::MAX, usize::MAX)
        {
            Ok(page) => page.records,
            Err(e) => return Ok(Err(Trip(e.to_string()))),
        };
        self.stats.held_in_sinks += opened.held.len() as u64;
        self.model
            .check_log(lane, &content, which, &mut self.stats)?;
        let (outcome, marks) = if is_dead {
            let dead_letters = opened.next_offset;
            (
                Outcome::DeadLettered,
                SinkMarks {
                    sink: 0,
                    dead_letters,
                },
            )
        } else {
            let sink = opened.next_offset;
            (
                Outcome::Delivered,
                SinkMarks {
                    sink,
                    dead_letters: 0,
                },
            )
        };
        match journal::settlements_for(&shared, lane, &opened.held, outcome, &process.settlements) {
            Ok(settlements) if settlements.is_empty() => {}
            Ok(settlements) => process.settlements.push_back(SettleGroup {
                lane,
                settlements,
                marks,
            }),
            Err(e) => return Ok(Err(Trip(e.to_string()))),
        }
        Ok(Ok(opened.log))
    }

    fn log_options(&mut self, process: &Process, lane: LaneId, is_dead: bool) -> StreamOptions {
        let name = LANE_NAMES[lane.0 as usize];
        let least = self.shape.sizes.min_segment_bytes;
        let rule = FreeSpace::new(least, self.shape.keep_free_bytes);
        let (folder, kind, bytes) = if is_dead {
            ("/data/dead", LogKind::DeadLetters, 32 * 1024)
        } else {
            (
                "/data/streams",
                LogKind::Stream,
                self.shape.stream_segment_bytes,
            )
        };
        StreamOptions {
            dir: Path::new(folder).join(name),
            kind,
            sizes: Sizes {
                min_segment_bytes: bytes,
                max_segment_bytes: bytes,
                reserve_segments: 0,
            },
            retention: if is_dead {
                Retention::default()
            } else {
                self.shape.retention
            },
            max_bytes: None,
            keep_free_bytes: if is_dead {
                rule.dead_letters_leave()
            } else {
                rule.streams_leave()
            },
            room_told: (!is_dead)
                .then(|| Arc::clone(&process.shared.lane(lane).expect("it is there").sink_room)),
            seed: self.rng.u64(..),
        }
    }

    fn write_settlements(&mut self) -> Check<Result<(), Trip>> {
        for _ in 0..20 {
            self.keeper_step();
            if self.process().settlements.is_empty() && !self.process().journal.has_notices() {
                return Ok(Ok(()));
            }
            let mut wrong = Vec::new();
            self.journal_step(&mut wrong)?;
            if let Some(what) = wrong.pop() {
                return Ok(Err(Trip(what)));
            }
        }
        // Only a disk without any room excuses this.
        Ok(Err(Trip(
            "no room for settlements: no storage space".into(),
        )))
    }
}
