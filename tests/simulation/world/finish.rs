//! How every history ends: everything works again, and all that was accepted must be settled; before
//! that on a full disk, where the disk was full now and then.

use super::World;
use super::end::End;
use crate::simulation::model::{Check, Model, ensure};
use crate::simulation::shape::{FAULTY, HANGING, LANE_NAMES, LANES, STREAM, STRICT, Trouble};
use causeway::journal;
use causeway::lane::{LaneState, OnReject};
use causeway::log::disk::Disk;
use causeway::message::LaneId;
use std::path::Path;

/// After so long without progress there won't be any: longer than any delay, back-off or window.
const MAX_IDLE_MS: u64 = 90_000;
/// Nor after so many rounds, if time stands still.
const MAX_IDLE_ROUNDS: usize = 100_000;
/// At a time, until the disk is full.
const FILL_BURST: u8 = 20;
const MAX_FILL_ROUNDS: usize = 2_000;

impl World {
    /// Everything works from now on, but for the destination that hangs: then everything else is
    /// settled. Then it works too.
    pub(super) fn finish(&mut self) -> Check {
        let was_full = self.trouble.full;
        self.trouble = Trouble {
            failing: false,
            full: false,
        };
        self.disk.clear_faults();
        self.disk.set_capacity(None);
        self.recover()?;
        self.heal();
        if was_full {
            self.drain_what_filled_the_disk()?;
            self.drain_on_a_full_disk()?;
        }
        self.publish_everywhere();
        let hanging = HANGING.0 as usize;
        self.drain(&|model, i| model.lanes[i].pending == 0 || i == hanging)
            .map_err(|e| format!("while a destination hangs: {e}"))?;
        self.check_size()?;
        self.destinations[hanging].hangs = false;
        self.drain(&|model, i| model.lanes[i].pending == 0)?;
        self.check_size()?;
        self.end(End::PowerCut)?;
        self.recover()?;
        for position in 0..self.model.next_position() {
            self.check_lookup(position)?;
        }
        ensure!(
            self.model.pending() == 0,
            "what was settled is pending again"
        );
        self.model.check_outcomes()?;
        self.count_of_process();
        let walk =
            journal::verify(self.shared_disk(), self.options()).map_err(|e| e.to_string())?;
        self.check_walk(&walk)
    }

    fn heal(&mut self) {
        for destination in &mut self.destinations {
            destination.failures = 0;
        }
        // A record that no segment of its stream takes is rejected for ever.
        self.shape.on_reject = OnReject::Skip;
        for i in 0..LANES {
            let settings = self.shape.settings(LaneId(i as u32));
            self.process().lanes[i].lane.tune(&settings);
        }
    }

    /// Promise 2: what was accepted until the disk was full goes out nevertheless. Streams have room
    /// for it, as publishes stop before they do.
    fn drain_what_filled_the_disk(&mut self) -> Check {
        if self.shape.stream_segment_bytes != self.shape.sizes.min_segment_bytes {
            // The rule counts in segments of one size, as the gateway makes them.
            return Ok(());
        }
        let hanging = HANGING.0 as usize;
        self.drain(&|model, i| model.lanes[i].pending == 0 || i == hanging)
            .map_err(|e| format!("before the disk is full: {e}"))?;
        let used = self.disk.used_bytes();
        let more = self.rng.u64(0..60) * 4096;
        self.disk
            .set_capacity(Some(used + self.shape.keep_free_bytes + more));
        self.note(|| format!("{used} bytes are used, and {more} can be filled"));
        // Lanes that are slow owe a lot when it is full, unless their backlogs are full before.
        let may_fill = |lane: LaneId| self.shape.backlog_bytes[lane.0 as usize] >= 1 << 30;
        let is_slow = [STREAM, STRICT, FAULTY].into_iter().any(may_fill) && self.rng.bool();
        let refusals = self.stats.space_refusals;
        for _ in 0..MAX_FILL_ROUNDS {
            for _ in 0..self.rng.u8(1..FILL_BURST) {
                let lane = [STREAM, STRICT, FAULTY][self.rng.usize(..3)];
                self.publish_plain(lane);
            }
            let mut wrong = Vec::new();
            // The keeper's thread has its turn whenever a segment is full.
            let sealed = self.stats.rolls;
            self.journal_step(&mut wrong)?;
            if self.stats.rolls > sealed || self.rng.bool() {
                self.keeper_step();
            }
            for i in [STREAM, STRICT, FAULTY] {
                if !is_slow && self.rng.u8(..4) == 0 {
                    let (lane, mut around) = self.around(i.0 as usize, &mut wrong);
                    lane.work(&mut around)?;
                }
            }
            ensure!(wrong.is_empty(), "went wrong without a cause: {wrong:?}");
            if self.stats.space_refusals > refusals {
                break;
            }
        }
        ensure!(
            self.stats.space_refusals > refusals,
            "the disk is full, and nothing is refused"
        );
        self.stats.filled += 1;
        self.stats.owed_when_full += self.model.pending();
        self.drain(&|model, i| model.lanes[i].pending == 0 || i == hanging)
            .map_err(|e| format!("on a disk that publishes filled: {e}"))?;
        self.disk.set_capacity(None);
        Ok(())
    }

    /// Promise 11: settlements have space set aside. What is all settled gives its space back.
    fn drain_on_a_full_disk(&mut self) -> Check {
        for _ in 0..self.rng.u8(1..100) {
            self.publish_plain(FAULTY);
        }
        for _ in 0..4 {
            self.journal_step(&mut Vec::new())?;
            self.keeper_step();
        }
        let used = self.disk.used_bytes();
        self.disk.set_capacity(Some(used));
        self.note(|| format!("{used} bytes are used, and there are no more"));
        let faulty = FAULTY.0 as usize;
        let drained = self.drain(&|model, i| model.lanes[i].pending == 0 || i != faulty);
        self.stats.drained_on_a_full_disk += u64::from(drained.is_ok());
        if let Err(e) = drained {
            let process = self.process();
            // What is set aside is not endless where others take all the rest.
            let is_used_up =
                !process.settlements.is_empty() && process.shared.reader.shared().ready() == 0;
            let view = process.lanes[faulty].lane.view();
            let has_no_grave = matches!(&view.state,
                LaneState::Stopped { reason } if reason.contains("/data/dead/faulty"));
            ensure!(is_used_up || has_no_grave, "on a full disk: {e}");
            self.stats.settlements_out_of_room += u64::from(is_used_up);
            self.stats.dead_letters_out_of_room += u64::from(has_no_grave);
        }
        self.disk.set_capacity(None);
        Ok(())
    }

    /// There is room again, so publishes are accepted again.
    fn publish_everywhere(&mut self) {
        for lane in [STREAM, STRICT, FAULTY, HANGING] {
            self.publish_plain(lane);
        }
    }

    fn publish_plain(&mut self, lane: LaneId) {
        self.submit(|publisher, number, hasher| publisher.plain(number, lane, hasher));
    }

    fn drain(&mut self, is_done: &dyn Fn(&Model, usize) -> bool) -> Check {
        let (mut progress_at, mut rounds, mut before) = (self.clock.mono().0, 0, (0, 0));
        while self.clock.mono().0 - progress_at < MAX_IDLE_MS && rounds < MAX_IDLE_ROUNDS {
            let process = self.process();
            let queued = process.publishes.len() + process.settlements.len();
            if queued == 0 && (0..LANES).all(|i| is_done(&self.model, i)) {
                return Ok(());
            }
            let mut wrong = Vec::new();
            self.journal_step(&mut wrong)?;
            self.keeper_step();
            if self.process().keeper.checkpoint_is_due() {
                self.checkpoint();
            }
            let mut worked = false;
            for i in 0..LANES {
                let (lane, mut around) = self.around(i, &mut wrong);
                worked |= lane.work(&mut around)?;
            }
            ensure!(wrong.is_empty(), "went wrong without a cause: {wrong:?}");
            if !worked {
                self.sleep();
            }
            let now = (self.model.pending(), queued);
            rounds += 1;
            if now != before {
                (progress_at, rounds) = (self.clock.mono().0, 0);
            }
            before = now;
        }
        Err(self.what_is_left())
    }

    fn what_is_left(&mut self) -> String {
        let left: Vec<_> = (0..LANES)
            .map(|i| (LANE_NAMES[i], self.model.lanes[i].pending))
            .collect();
        let free = self.disk.free_bytes(Path::new("/data"));
        let process = self.process();
        let queued = (process.publishes.len(), process.settlements.len());
        let views: Vec<_> = process.lanes.iter().map(|l| l.lane.view()).collect();
        let (space, problem) = (process.shared.space(), process.keeper.problem());
        format!(
            "not settled: {left:?}, queued {queued:?}, {space:?}, {problem:?}, {free:?} free\n{views:#?}"
        )
    }

    fn sleep(&mut self) {
        let process = self.process.as_ref().expect("a process runs");
        let wakes = process
            .lanes
            .iter()
            .filter_map(|l| l.next_wake(&self.clock));
        let ms = wakes.min().map_or(1_000, |wake| wake.as_millis() as u64);
        self.advance(ms.max(1));
    }

    /// Promise 6: the journal costs what is owed and a few segments.
    fn check_size(&mut self) -> Check {
        let window_ms = self.shape.window.window.as_millis() as u64;
        self.advance(window_ms + 1);
        for _ in 0..8 {
            let mut wrong = Vec::new();
            self.journal_step(&mut wrong)?;
            self.checkpoint();
            self.keeper_step();
        }
        let process = self.process();
        let total = process.shared.reader.shared().total_bytes();
        let problem = process.keeper.problem().map(str::to_owned);
        let sizes = self.shape.sizes;
        // The active one, two sealed that stay, two spares, those that are ready, two half empty.
        let few = (8 + sizes.reserve_segments as u64) * sizes.max_segment_bytes;
        let owed = self.model.owed_bytes();
        ensure!(
            total <= 3 * owed + few,
            "{owed} bytes are owed, and the journal takes {total}: more than {few} beyond \
             ({problem:?})"
        );
        Ok(())
    }
}
