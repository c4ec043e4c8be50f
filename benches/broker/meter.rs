//! What a run came to.

use crate::http::{cpu_seconds, cpu_seconds_of};
use std::fs;
use std::time::{Duration, Instant};

/// Messages a second, and CPU seconds for a million of them.
pub struct Run {
    pub rate: f64,
    /// Of the process that is measured.
    pub cpu_a_million: f64,
    pub broker_cpu_a_million: f64,
    /// In seconds, of publishes that were answered one by one.
    pub latencies: Vec<f64>,
}

/// Of one run, from its start to its stop.
pub struct Meter {
    process: u32,
    broker: u32,
    cpu: [f64; 2],
    started: Instant,
}

impl Meter {
    /// The broker may be several processes: those of this one's group.
    pub fn start(process: u32, broker: u32) -> Self {
        Self {
            process,
            broker,
            cpu: [cpu_seconds(process), group_cpu_seconds(broker)],
            started: Instant::now(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn stop(self, messages: u64, latencies: Vec<f64>) -> Run {
        let (took, messages) = (self.elapsed().as_secs_f64(), messages as f64);
        let now = [cpu_seconds(self.process), group_cpu_seconds(self.broker)];
        let a_million = |i: usize| (now[i] - self.cpu[i]) * 1e6 / messages;
        Run {
            rate: messages / took,
            cpu_a_million: a_million(0),
            broker_cpu_a_million: a_million(1),
            latencies,
        }
    }
}

/// Of all processes that are in it now.
fn group_cpu_seconds(group: u32) -> f64 {
    let entries = fs::read_dir("/proc").expect("it is Linux").flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let group = group.to_string();
    stats
        .filter_map(|stat| {
            // Behind the name, which may hold anything: state, parent, group.
            let fields = stat.rsplit(") ").next()?;
            (fields.split(' ').nth(2)? == group).then(|| cpu_seconds_of(&stat))
        })
        .sum()
}
