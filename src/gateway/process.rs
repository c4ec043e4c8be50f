//! What the system says of this process. What it doesn't say is left out.

use crate::admin::status::ProcessStatus;
use crate::clock::Wall;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

/// Reads a few small files of /proc.
pub fn process(started: Wall) -> ProcessStatus {
    ProcessStatus {
        start_time_seconds: Duration::from_millis(started.0).as_secs_f64(),
        cpu_seconds: cpu().as_secs_f64(),
        resident_memory_bytes: kibibytes("VmRSS:").map(|kib| kib * 1024),
        open_fds: fs::read_dir("/proc/self/fd")
            .ok()
            .map(|fds| fds.count() as u64),
        max_fds: getrlimit(Resource::Nofile).current,
    }
}

/// Of all its threads since it began.
fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

fn kibibytes(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_takes_time() {
        let process = process(Wall(60_000));
        assert_eq!(process.start_time_seconds, 60.0);
        assert!(process.cpu_seconds > 0.0);
        let memory = process.resident_memory_bytes.expect("Linux tells it");
        assert!(memory > 1 << 20 && memory < 1 << 40, "{memory}");
        assert!(process.open_fds.expect("Linux tells it") >= 3);
    }
}
