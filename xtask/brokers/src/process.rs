//! A server's processes: one group, so that a signal reaches all of them.

use crate::Trouble;
use crate::run::not_started;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Logs of earlier runs that are kept: `server.log.1` is the newest of them.
const LOGS_KEPT: u32 = 5;
const TAIL_LINES: usize = 25;
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// What to run; where its output goes.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub folder: PathBuf,
    pub log: PathBuf,
}

impl Launch {
    fn spawn(&self) -> Result<Child, Trouble> {
        rotate(&self.log)?;
        let log = File::create(&self.log).map_err(|e| Trouble::file(&self.log, &e))?;
        let errors = log.try_clone().map_err(|e| Trouble::file(&self.log, &e))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        command.spawn().map_err(|e| not_started(&command, &e))
    }

    /// Started, and left to itself: it outlives us. Its process id is its group's, too.
    pub(crate) fn detached(&self) -> Result<u32, Trouble> {
        Ok(self.spawn()?.id())
    }

    /// The last lines of the log, for an error's text.
    pub fn tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!(
            "--- the last {} lines of {}\n{}\n---",
            tail.len(),
            self.log.display(),
            tail.join("\n")
        )
    }
}

fn rotate(log: &Path) -> Result<(), Trouble> {
    let numbered = |n: u32| match n {
        0 => log.to_owned(),
        n => PathBuf::from(format!("{}.{n}", log.display())),
    };
    for n in (0..LOGS_KEPT).rev().filter(|n| numbered(*n).exists()) {
        fs::rename(numbered(n), numbered(n + 1)).map_err(|e| Trouble::file(log, &e))?;
    }
    Ok(())
}

/// A server's processes that end when this is dropped, and when this process ends in whatever way.
#[derive(Debug)]
pub struct Group {
    leader: Child,
    /// Reads a pipe that we hold: if we are killed it comes to the end, and kills the group.
    watchdog: Child,
}

impl Group {
    pub fn start(launch: &Launch) -> Result<Self, Trouble> {
        let mut leader = launch.spawn()?;
        match watchdog(leader.id()) {
            Ok(watchdog) => Ok(Self { leader, watchdog }),
            Err(trouble) => {
                let _ = signal_group(leader.id(), Signal::KILL);
                let _ = leader.wait();
                Err(trouble)
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.leader.id()
    }

    /// Its status if it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.leader
            .try_wait()
            .expect("our own child can be waited for")
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Trouble> {
        signal_group(self.leader.id(), signal)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // They may just have ended by themselves; a frozen one is killed all the same.
        let _ = self.signal(Signal::KILL);
        let _ = self.leader.wait();
        // Before its pipe is closed: the group's number may soon be another one's.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

fn watchdog(group: u32) -> Result<Child, Trouble> {
    let mut command = Command::new("sh");
    command
        .args(["-c", "read _; kill -s KILL -- \"-$1\"", "watchdog"])
        .arg(group.to_string())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map_err(|e| not_started(&command, &e))
}

fn id(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process has a positive id")
}

pub(crate) fn signal_group(leader: u32, signal: Signal) -> Result<(), Trouble> {
    kill_process_group(id(leader), signal)
        .map_err(|e| Trouble::Failed(format!("signal to process group {leader}: {e}")))
}

/// Whether the process runs that was started at that time. Its number may be another one's by now,
/// and one that has ended may wait for somebody to look at its status.
pub(crate) fn runs(pid: u32, started: Option<u64>) -> bool {
    match stat(pid) {
        Some((state, since)) => state != 'Z' && Some(since) == started,
        // A system without /proc.
        None => started.is_none() && test_kill_process(id(pid)).is_ok(),
    }
}

/// When it was started, in the kernel's ticks.
pub(crate) fn started(pid: u32) -> Option<u64> {
    stat(pid).map(|(_, since)| since)
}

fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    // Fields 3 (state) and 22 (start time) of proc(5).
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Looks until it is so or the time is over; says which.
pub(crate) fn wait_until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

#[cfg(test)]
mod tests;
