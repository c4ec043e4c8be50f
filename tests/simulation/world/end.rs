//! How a process ends, and what the disk has then.

use super::World;
use crate::simulation::model::{Check, ensure};
use crate::simulation::shape::LANES;
use std::sync::atomic::Ordering;

/// How a process ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    PowerCut,
    Kill,
    CleanStop,
}

impl World {
    pub(super) fn end_anyhow(&mut self) -> Check {
        let failed = self.process().shared.failure().is_some();
        let end = match self.rng.u8(..4) {
            _ if self.disk.is_off() => End::PowerCut,
            0 => End::PowerCut,
            1 if !failed => End::CleanStop,
            _ => End::Kill,
        };
        self.end(end)
    }

    pub(super) fn end(&mut self, end: End) -> Check {
        if matches!(end, End::CleanStop) {
            self.stop_clean()?;
        }
        self.note(|| format!("{end:?}"));
        self.stats.ends_with_unsettled_work += u64::from(self.model.pending() > 0);
        let mut wrong = Vec::new();
        for lane in 0..LANES {
            let (lane, mut around) = self.around(lane, &mut wrong);
            lane.crash(&mut around)?;
        }
        self.count_of_process();
        self.process = None;
        self.model.dropping = [false; LANES];
        self.cut(end);
        Ok(())
    }

    /// What the disk has after the process.
    pub(super) fn cut(&mut self, end: End) {
        self.disk = match end {
            End::PowerCut => {
                self.stats.power_cuts += 1;
                self.disk.crash(&mut self.rng)
            }
            End::Kill | End::CleanStop => {
                self.stats.kills += 1;
                self.disk.kill(&mut self.rng)
            }
        };
    }

    pub(super) fn count_of_process(&mut self) {
        let counters = &self
            .process
            .as_ref()
            .expect("a process runs")
            .shared
            .counters;
        self.stats.compactions += counters.compactions.load(Ordering::Relaxed);
        self.stats.checkpoints += counters.checkpoints.load(Ordering::Relaxed);
        self.stats.evictions += counters.dedup_evictions.load(Ordering::Relaxed);
    }

    /// As the threads do it: what is queued is written, then a last checkpoint.
    fn stop_clean(&mut self) -> Check {
        self.disk.clear_faults();
        self.disk.set_capacity(None);
        let mut wrong = Vec::new();
        for _ in 0..100 {
            let process = self.process();
            if process.publishes.is_empty() && process.settlements.is_empty() {
                break;
            }
            self.journal_step(&mut wrong)?;
            self.keeper_step();
        }
        ensure!(wrong.is_empty(), "at a clean stop: {wrong:?}");
        self.keeper_step();
        self.checkpoint();
        // A checkpoint file that failed before takes no more.
        self.stopped_clean = self.process().keeper.problem().is_none();
        self.stats.clean_stops += 1;
        Ok(())
    }
}
