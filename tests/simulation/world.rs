//! One seeded history: processes of the gateway's core on one simulated disk, each worked on step by
//! step and cut short, recovered, and judged by the model.

mod end;
mod finish;
mod recovery;
mod sinks;
mod steps;
mod trouble;

use super::lanes::{Around, Destination, SimLane};
use super::model::{Check, Model};
use super::publisher::Sent;
use super::shape::{HANGING, LANES, Shape, Trouble};
use super::stats::Stats;
use crate::support::sim_disk::SimDisk;
use causeway::clock::{Clock, Wall};
use causeway::faults::Faults;
use causeway::journal::{Journal, Keeper, SettleGroup, Shared, Submission};
use causeway::log::disk::Disk;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const JOURNAL: &str = "/data/journal";
const START: Wall = Wall(1_700_000_000_000);

/// A process of the gateway.
struct Process {
    journal: Journal,
    keeper: Keeper,
    shared: Arc<Shared>,
    lanes: Vec<SimLane>,
    publishes: VecDeque<Submission>,
    sent: VecDeque<Sent>,
    settlements: VecDeque<SettleGroup>,
}

/// Something that a fault of the disk excuses.
struct Trip(String);

pub struct World {
    rng: fastrand::Rng,
    planted: Faults,
    shape: Shape,
    trouble: Trouble,
    disk: SimDisk,
    clock: Clock,
    model: Model,
    destinations: [Destination; LANES],
    process: Option<Process>,
    numbers: u64,
    stopped_clean: bool,
    pub stats: Stats,
    trace: Option<Vec<String>>,
}

impl World {
    pub fn new(seed: u64, trouble: Trouble, planted: Faults, traced: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let shape = Shape::random(&mut rng);
        let disk = SimDisk::new(rng.u64(..));
        let data = Path::new("/data");
        for dir in [data, &data.join("streams"), &data.join("dead")] {
            disk.create_dir_all(dir).expect("no faults yet");
            disk.sync_dir(dir.parent().expect("not the root"))
                .expect("no faults yet");
        }
        let mut destinations = [Destination {
            hangs: false,
            failures: shape.failures,
        }; LANES];
        destinations[HANGING.0 as usize].hangs = shape.hangs && rng.bool();
        let mut world = Self {
            planted,
            trouble,
            disk,
            clock: Clock::manual(START),
            model: Model::new(&shape),
            destinations,
            process: None,
            numbers: 0,
            stopped_clean: false,
            stats: Stats::default(),
            trace: traced.then(Vec::new),
            rng,
            shape,
        };
        let shape = format!("{:?}", world.shape);
        world.note(|| shape);
        world
    }

    pub fn trace(&self) -> String {
        let lines = self.trace.as_deref().unwrap_or_default();
        lines.join("\n  ")
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (changes, now) = (self.disk.changes(), self.clock.mono().0);
            trace.push(format!("{changes:>5} {now:>7} ms {}", what()));
        }
    }

    /// A whole history.
    pub fn play(&mut self) -> Check {
        for _ in 0..self.shape.processes {
            self.recover()?;
            self.script_power_cut();
            for _ in 0..self.shape.steps {
                if self.disk.is_off() {
                    break;
                }
                self.step()?;
            }
            self.end_anyhow()?;
        }
        self.finish()
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a process runs")
    }

    fn around<'a>(
        &'a mut self,
        lane: usize,
        wrong: &'a mut Vec<String>,
    ) -> (&'a mut SimLane, Around<'a>) {
        let process = self.process.as_mut().expect("a process runs");
        let around = Around {
            model: &mut self.model,
            rng: &mut self.rng,
            clock: &self.clock,
            stats: &mut self.stats,
            shape: &self.shape,
            destination: self.destinations[lane],
            settlements: &mut process.settlements,
            wrong,
            trace: &mut self.trace,
        };
        (&mut process.lanes[lane], around)
    }

    fn advance(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.model.alive_ms += ms;
    }

    fn shared_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }
}
