//! Sends the load: a connection a task, each with a tally of its own.
//!
//! Open loop: a thread of its own says when requests are due, to the tenth of a millisecond, whatever
//! became of earlier ones; the next free connection sends the next one, and its latency counts from when
//! it was due. So a gateway that stalls makes all that waited behind the stall slow, as it is for those
//! who publish.

use super::payload::{Messages, Way};
use super::schedule::{Due, Schedule, Until};
use super::tally::{Tally, why};
use crate::cli::client::{Answer, ClientError, Connection, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// After a connection that broke.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// After the end what was due before it is still sent for so long: some always is, at the last moment.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// The pacer looks for a signal at least so often.
const MAX_NAP: Duration = Duration::from_millis(50);

/// What all connections share.
pub(super) struct Load {
    pub server: Server,
    pub messages: Messages,
    pub way: Way,
    pub schedule: Schedule,
    pub start: Instant,
    /// The next request, of the open loop.
    next_request: AtomicU64,
    /// The next message's number: of its id.
    next_message: AtomicU64,
    /// Of the closed loop, with `Until::Messages`.
    taken: AtomicU64,
    /// A permit a request that is due.
    due: Semaphore,
    pub stopped: AtomicBool,
    /// For who watches.
    pub settled: AtomicU64,
}

/// Both parts of what connections did.
pub(super) struct Parts {
    pub warm_up: Tally,
    pub measured: Tally,
}

/// A request that a connection is to send now.
struct Turn {
    intended: Instant,
    messages: u64,
    is_measured: bool,
}

impl Load {
    pub fn new(server: Server, messages: Messages, way: Way, schedule: Schedule) -> Self {
        Self {
            server,
            messages,
            way,
            schedule,
            start: Instant::now(),
            next_request: AtomicU64::new(0),
            next_message: AtomicU64::new(1),
            taken: AtomicU64::new(0),
            due: Semaphore::new(0),
            stopped: AtomicBool::new(false),
            settled: AtomicU64::new(0),
        }
    }

    /// Until all is sent, or the time is over, or it is stopped; and answered.
    pub async fn run(self: &Arc<Self>, connections: Vec<Connection>) -> Parts {
        let mut tasks = JoinSet::new();
        let pacer = self.schedule.rate.map(|rate| {
            let (load, count) = (Arc::clone(self), connections.len());
            std::thread::spawn(move || load.pace(rate, count))
        });
        for connection in connections {
            let load = Arc::clone(self);
            tasks.spawn(async move { load.connection(connection).await });
        }
        let mut all = Parts {
            warm_up: Tally::new(),
            measured: Tally::new(),
        };
        while let Some(ended) = tasks.join_next().await {
            // A task that panicked has said so on stderr.
            if let Ok(parts) = ended {
                all.warm_up.merge(&parts.warm_up);
                all.measured.merge(&parts.measured);
            }
        }
        if let Some(pacer) = pacer {
            // It ends with the load.
            drop(pacer.join());
        }
        all
    }

    /// How many requests were taken by connections.
    pub fn requests(&self) -> u64 {
        self.next_request.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn end(&self) -> Option<Instant> {
        match self.schedule.until {
            Until::After(duration) => Some(self.start + self.schedule.warm_up + duration),
            Until::Messages(_) => None,
        }
    }

    /// Says which requests are due; blocks its thread.
    fn pace(&self, rate: f64, connections: usize) {
        let mut number = 0;
        while !self.is_stopped() {
            let now = self.start.elapsed();
            let mut due = 0;
            let next = loop {
                match self.schedule.due(number, rate) {
                    Some(request) if request.at <= now => {
                        number += 1;
                        due += 1;
                    }
                    next => break next,
                }
            };
            self.due.add_permits(due);
            let Some(Due { at, .. }) = next else { break };
            std::thread::sleep((at - now).min(MAX_NAP));
        }
        match self.is_stopped() {
            true => self.due.close(),
            // One more each, to learn that nothing is left.
            false => self.due.add_permits(connections),
        }
    }

    async fn connection(&self, connection: Connection) -> Parts {
        let mut connection = Some(connection);
        let mut parts = Parts {
            warm_up: Tally::new(),
            measured: Tally::new(),
        };
        while let Some(turn) = self.turn().await {
            let tally = match turn.is_measured {
                true => &mut parts.measured,
                false => &mut parts.warm_up,
            };
            tally.sent += turn.messages;
            let first = self
                .next_message
                .fetch_add(turn.messages, Ordering::Relaxed);
            let ask = self.messages.ask(self.way, first, turn.messages);
            let answer = match connection.take() {
                Some(open) => answer(open, ask).await,
                None => match self.server.open().await {
                    Ok(open) => answer(open, ask).await,
                    Err(error) => Err(error),
                },
            };
            let now = Instant::now();
            match answer {
                Ok((open, answer)) => {
                    connection = open;
                    let settled = tally.settled;
                    self.count(tally, &turn, &answer, now);
                    self.settled
                        .fetch_add(tally.settled - settled, Ordering::Relaxed);
                }
                Err(error) => {
                    tally.failed(why(&error), turn.messages);
                    sleep(RECONNECT_PAUSE).await;
                }
            }
        }
        parts
    }

    async fn turn(&self) -> Option<Turn> {
        if self.is_stopped() {
            return None;
        }
        match self.schedule.rate {
            Some(rate) => self.open_turn(rate).await,
            None => self.closed_turn(),
        }
    }

    async fn open_turn(&self, rate: f64) -> Option<Turn> {
        // Closed: it is stopped.
        self.due.acquire().await.ok()?.forget();
        if self.end().is_some_and(|end| Instant::now() >= end + GRACE) {
            return None;
        }
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let due = self.schedule.due(number, rate)?;
        Some(Turn {
            intended: self.start + due.at,
            messages: due.messages,
            is_measured: due.is_measured,
        })
    }

    fn closed_turn(&self) -> Option<Turn> {
        let now = Instant::now();
        let batch = self.way.batch();
        let turn = |messages, is_measured| Turn {
            intended: now,
            messages,
            is_measured,
        };
        if now < self.start + self.schedule.warm_up {
            return Some(turn(batch, false));
        }
        match self.schedule.until {
            Until::After(_) => {
                let is_over = self.end().is_some_and(|end| now >= end);
                (!is_over).then(|| turn(batch, true))
            }
            Until::Messages(all) => {
                let before = self.taken.fetch_add(batch, Ordering::Relaxed);
                let left = all.checked_sub(before).filter(|left| *left > 0)?;
                Some(turn(left.min(batch), true))
            }
        }
    }

    fn count(&self, tally: &mut Tally, turn: &Turn, answer: &Answer, now: Instant) {
        let latency = now - turn.intended;
        let bytes = self.messages.payload_bytes();
        tally.last_answer = Some(now);
        if self.way == Way::Publish {
            tally.answered(answer.status, &answer.body, latency, bytes);
            return;
        }
        if !answer.is_success() {
            for _ in 0..turn.messages {
                tally.answered(answer.status, &answer.body, latency, bytes);
            }
            return;
        }
        let lines = answer.body.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        let mut missing = turn.messages;
        for line in lines.take(usize::try_from(turn.messages).unwrap_or(usize::MAX)) {
            tally.answered(answer.status, line, latency, bytes);
            missing -= 1;
        }
        tally.failed("broken", missing);
    }
}

/// And the connection, if it can be used again.
async fn answer(
    mut open: Connection,
    ask: crate::cli::client::Ask,
) -> Result<(Option<Connection>, Answer), ClientError> {
    let answer = open.ask(ask).await?;
    let open = open.is_open().then_some(open);
    Ok((open, answer))
}
