//! A server of a test's own: started, frozen, resumed, killed, started again with its data.

use crate::probe::Probe;
use crate::process::{Group, Launch, wait_until};
use crate::{Trouble, ports};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long a start may take on a machine under load.
pub const START_LIMIT: Duration = Duration::from_secs(90);
/// How long an orderly end may take.
pub const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long a server that answers may take to do so while others use the machine.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Where it runs from, and how one sees that it does.
#[derive(Clone, Debug)]
pub struct Plan {
    pub launch: Launch,
    pub probe: Probe,
    /// The first of its ports, which are in a row.
    pub address: SocketAddr,
    pub ports: u16,
}

impl Plan {
    /// A process that was killed may hold them a moment longer than its parent lives.
    fn wait_ports(&self) {
        let first = self.address.port();
        let all_free = || (first..first + self.ports).all(ports::is_free);
        // If they stay taken, the next start says so.
        wait_until(STOP_LIMIT, all_free);
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// What it said, when it ends first, or doesn't answer in time.
    pub fn wait_ready(
        &self,
        limit: Duration,
        mut ended: impl FnMut() -> Option<String>,
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            let Err(seen) = self.probe.ask(self.address, ANSWER_LIMIT) else {
                return Ok(());
            };
            let why = match ended() {
                Some(how) => format!("ended before it was ready: {how}"),
                None if Instant::now() > deadline => format!("not ready in {limit:?}: {seen}"),
                None => {
                    thread::sleep(crate::process::POLL);
                    continue;
                }
            };
            return Err(Trouble::Failed(format!("{why}\n{}", self.launch.tail())));
        }
    }
}

/// Ends with whoever holds it, in whatever way that ends.
#[derive(Debug)]
pub struct Server {
    plan: Plan,
    group: Option<Group>,
}

impl Server {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, group: None }
    }

    pub fn address(&self) -> SocketAddr {
        self.plan.address
    }

    pub fn log_tail(&self) -> String {
        self.plan.launch.tail()
    }

    /// While it runs.
    pub fn pid(&self) -> Option<u32> {
        self.group.as_ref().map(Group::pid)
    }

    /// Starts it, anew too, and waits until it answers.
    ///
    /// # Errors
    /// What it said, if it isn't ready in time.
    pub fn start(&mut self) -> Result<(), Trouble> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts it and doesn't wait.
    ///
    /// # Panics
    /// If it runs already.
    ///
    /// # Errors
    /// When its program can't be run.
    pub fn spawn(&mut self) -> Result<(), Trouble> {
        assert!(self.group.is_none(), "it runs already");
        self.group = Some(Group::start(&self.plan.launch)?);
        Ok(())
    }

    /// # Errors
    /// What it said, if it isn't ready in time.
    pub fn wait_ready(&mut self) -> Result<(), Trouble> {
        let Self { plan, group } = self;
        let group = group.as_mut().expect("it was started");
        plan.wait_ready(START_LIMIT, || {
            group.ended().map(|status| status.to_string())
        })
    }

    /// # Errors
    /// What came instead of an answer.
    pub fn answers(&self, limit: Duration) -> Result<(), String> {
        self.plan.probe.ask(self.plan.address, limit)
    }

    /// Its processes stand still; its sockets stay open.
    ///
    /// # Errors
    /// If it has ended.
    pub fn freeze(&self) -> Result<(), Trouble> {
        self.signal(Signal::STOP)
    }

    /// After a freeze.
    ///
    /// # Errors
    /// If it has ended.
    pub fn resume(&self) -> Result<(), Trouble> {
        self.signal(Signal::CONT)
    }

    /// As a machine's end: nothing is written any more. Its data stays.
    pub fn kill(&mut self) {
        if self.group.take().is_some() {
            self.plan.wait_ports();
        }
    }

    /// An orderly end. Its data stays.
    ///
    /// # Errors
    /// What it said, if it doesn't end in time; it is killed then.
    pub fn stop(&mut self) -> Result<(), Trouble> {
        let Some(mut group) = self.group.take() else {
            return Ok(());
        };
        group.signal(Signal::TERM)?;
        let ended = wait_until(STOP_LIMIT, || group.ended().is_some());
        drop(group);
        self.plan.wait_ports();
        if ended {
            return Ok(());
        }
        let tail = self.log_tail();
        Err(Trouble::Failed(format!(
            "runs {STOP_LIMIT:?} after SIGTERM\n{tail}"
        )))
    }

    fn signal(&self, signal: Signal) -> Result<(), Trouble> {
        let group = self.group.as_ref();
        let group = group.ok_or_else(|| Trouble::Failed("it doesn't run".to_owned()))?;
        group.signal(signal)
    }
}
