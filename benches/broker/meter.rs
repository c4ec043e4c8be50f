//! What a run came to.

use crate::http::cpu_seconds;
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
    pids: [u32; 2],
    cpu: [f64; 2],
    started: Instant,
}

impl Meter {
    pub fn start(process: u32, broker: u32) -> Self {
        let pids = [process, broker];
        Self {
            pids,
            cpu: pids.map(cpu_seconds),
            started: Instant::now(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn stop(self, messages: u64, latencies: Vec<f64>) -> Run {
        let (took, messages) = (self.elapsed().as_secs_f64(), messages as f64);
        let now = self.pids.map(cpu_seconds);
        let a_million = |i: usize| (now[i] - self.cpu[i]) * 1e6 / messages;
        Run {
            rate: messages / took,
            cpu_a_million: a_million(0),
            broker_cpu_a_million: a_million(1),
            latencies,
        }
    }
}
