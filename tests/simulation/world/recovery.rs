//! How a process starts: the journal opens through whatever goes wrong at that, and the model judges
//! what it found.

use super::end::End;
use super::{JOURNAL, Process, Trip, World};
use crate::simulation::model::{Check, ensure};
use crate::simulation::shape::{LANE_NAMES, STRICT};
use causeway::clock::{Clock, Wall};
use causeway::journal::{self, JournalOptions, LaneModes, Walk};
use causeway::message::{LaneId, RouteId};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl World {
    /// Starts a process, through whatever goes wrong at that.
    pub(super) fn recover(&mut self) -> Check {
        for attempt in 0.. {
            self.disk.clear_faults();
            let scripted = attempt < 3 && self.rng.u8(..3) == 0;
            let wall = self.clock.wall().0 + self.rng.u64(0..5_000);
            self.clock = Clock::manual(Wall(wall - self.rng.u64(0..1_000)));
            match self.try_recover(scripted)? {
                Ok(process) => {
                    self.process = Some(process);
                    self.disk.clear_faults();
                    return Ok(());
                }
                Err(Trip(what)) => {
                    self.note(|| format!("recovery failed: {what}"));
                    let full = what.contains("no storage space") || what.contains("storage full");
                    let excused = self.disk.faults_hit() > 0 || self.disk.is_off();
                    ensure!(excused || full, "recovery failed: {what}");
                    self.disk.set_capacity(None);
                    self.stats.power_cuts_in_recovery += u64::from(self.disk.is_off());
                    let end = if self.disk.is_off() || self.rng.bool() {
                        End::PowerCut
                    } else {
                        End::Kill
                    };
                    self.cut(end);
                }
            }
        }
        Ok(())
    }

    fn try_recover(&mut self, scripted: bool) -> Check<Result<Process, Trip>> {
        self.script_recovery(scripted);
        let walk = if self.rng.u8(..3) == 0 {
            match journal::verify(self.shared_disk(), self.options()) {
                Ok(walk) => Some(walk),
                Err(e) => return Ok(Err(Trip(e.to_string()))),
            }
        } else {
            None
        };
        let opened = match journal::open(self.shared_disk(), self.options()) {
            Ok(opened) => opened,
            Err(e) => return Ok(Err(Trip(e.to_string()))),
        };
        if self.disk.is_off() {
            return Ok(Err(Trip("the power went at the last moment".into())));
        }
        self.disk.clear_faults();
        let report = opened.report.clone();
        self.note(|| format!("opened: {report:?}"));
        self.stats.torn_batches += u64::from(report.cut.is_some());
        if std::mem::take(&mut self.stopped_clean) {
            ensure!(report.replayed == 0, "after a clean stop: {report:?}");
        }
        let shared = Arc::clone(opened.journal.shared());
        self.model
            .recovered(&shared, report.next_position, &mut self.stats)?;
        if let Some(walk) = walk {
            self.check_walk(&walk)?;
        }
        let mut process = Process {
            journal: opened.journal,
            keeper: opened.keeper,
            shared,
            lanes: Vec::new(),
            publishes: VecDeque::new(),
            sent: VecDeque::new(),
            settlements: VecDeque::new(),
        };
        self.name_everything(&mut process)?;
        self.script_recovery(scripted);
        self.start_lanes(process)
    }

    pub(super) fn check_walk(&mut self, walk: &Walk) -> Check {
        self.stats.walks += 1;
        ensure!(
            walk.problems.is_empty(),
            "the walk finds {:?}",
            walk.problems
        );
        for (i, name) in LANE_NAMES.iter().enumerate() {
            let totals = &self.model.lanes[i];
            let Some(lane) = walk.lanes.get(*name) else {
                ensure!(totals.planned == 0, "the walk doesn't know {name}");
                continue;
            };
            ensure!(
                (lane.found, lane.found_bytes) == (totals.pending, totals.owed_bytes),
                "the walk finds {} deliveries of {} bytes of {name}; it should be {} of {}",
                lane.found,
                lane.found_bytes,
                totals.pending,
                totals.owed_bytes
            );
        }
        Ok(())
    }

    pub(super) fn options(&mut self) -> JournalOptions {
        JournalOptions {
            dir: PathBuf::from(JOURNAL),
            sizes: self.shape.sizes,
            max_bytes: self.shape.max_bytes,
            keep_free_bytes: self.shape.keep_free_bytes,
            window: self.shape.window,
            clock: self.clock.clone(),
            seed: self.rng.u64(..),
            faults: self.planted,
            progress: Arc::default(),
        }
    }

    /// Names get the same numbers in every run.
    fn name_everything(&mut self, process: &mut Process) -> Check {
        for (i, name) in LANE_NAMES.iter().enumerate() {
            let id = process.journal.intern_lane(name);
            ensure!(id == LaneId(i as u32), "lane {name} has become {id:?}");
            let lane = process.shared.lane(id).ok_or("an interned lane is there")?;
            let limit = self.shape.backlog_bytes[i];
            lane.backlog_bytes.store(limit, Ordering::Relaxed);
            process
                .journal
                .describe_lane(id, LaneModes::always(id == STRICT), None);
        }
        let route = process.journal.intern_route("all");
        ensure!(route == RouteId(1), "the route has become {route:?}");
        Ok(())
    }
}
