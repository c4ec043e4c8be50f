//! What a reload asks of the journal's thread.
//!
//! Invariant: an order is obeyed when all that was queued before it is decided (publishes) and
//! applied (settlements), and before anything is decided that was queued after it. So it cuts
//! what is accepted in two, and what it asks for is known exactly. It is answered when all that it
//! changed is durable.

use super::core::Journal;
use super::letters::GoneLetters;
use super::thread::Handle;
use super::{LaneModes, SettleGroup, Submission};
use crate::message::{LaneId, LogUuid, Refusal, RouteId};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The numbers of names, in the order in which they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub lanes: Vec<LaneId>,
    pub routes: Vec<RouteId>,
}

pub(super) enum Order {
    Name {
        lanes: Vec<String>,
        routes: Vec<String>,
        reply: oneshot::Sender<Numbers>,
    },
    /// A lane is about to start, anew or for the first time.
    Open {
        lane: LaneId,
        is_strict: bool,
        sink: Option<LogUuid>,
        reply: oneshot::Sender<LaneModes>,
    },
    /// Dead letters are gone.
    Purge {
        gone: GoneLetters,
        reply: oneshot::Sender<()>,
    },
    /// From here on these lanes are strict, or not.
    Cut {
        strict: Vec<(LaneId, bool)>,
        reply: oneshot::Sender<()>,
    },
}

/// An answer that waits for the disk.
pub(super) enum Told {
    Numbers(oneshot::Sender<Numbers>, Numbers),
    Modes(oneshot::Sender<LaneModes>, LaneModes),
    Done(oneshot::Sender<()>),
}

/// How much was queued, or is done, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub publishes: u64,
    pub groups: u64,
}

/// An order with its place among the rest.
pub(super) struct Placed {
    pub after: Count,
    pub order: Order,
}

/// The orders on the journal's thread, and how far it is.
#[derive(Default)]
pub(super) struct Orders {
    waiting: VecDeque<Placed>,
    obeyed: Vec<Told>,
    done: Count,
}

impl Orders {
    pub fn append(&mut self, queued: &mut VecDeque<Placed>) {
        self.waiting.append(queued);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.obeyed.is_empty()
    }

    /// Obeys those whose turn it is.
    pub fn obey(&mut self, journal: &mut Journal) {
        let done = self.done;
        let is_due = |placed: &Placed| {
            placed.after.publishes <= done.publishes && placed.after.groups <= done.groups
        };
        while self.waiting.front().is_some_and(is_due)
            && let Some(placed) = self.waiting.pop_front()
        {
            self.obeyed.push(journal.obey(placed.order));
        }
    }

    /// Takes away the publishes that were queued behind the first order that waits.
    pub fn set_aside(&self, publishes: &mut VecDeque<Submission>) -> VecDeque<Submission> {
        let Some(first) = self.waiting.front() else {
            return VecDeque::new();
        };
        let before = first.after.publishes.saturating_sub(self.done.publishes);
        match usize::try_from(before) {
            Ok(before) if before < publishes.len() => publishes.split_off(before),
            _ => VecDeque::new(),
        }
    }

    pub fn count(&mut self, publishes: usize, groups: usize) {
        self.done.publishes += publishes as u64;
        self.done.groups += groups as u64;
    }

    /// Answers, if what was obeyed is durable; if it can't become that, nobody is answered.
    pub fn tell(&mut self, journal: &Journal) {
        if self.is_empty() {
            return;
        }
        if journal.shared().failure().is_some() {
            self.waiting.clear();
            self.obeyed.clear();
        } else if !journal.has_notices() {
            self.obeyed.drain(..).for_each(Told::send);
        }
    }
}

impl Told {
    /// Whoever asked may be gone.
    fn send(self) {
        match self {
            Self::Numbers(reply, numbers) => drop(reply.send(numbers)),
            Self::Modes(reply, modes) => drop(reply.send(modes)),
            Self::Done(reply) => drop(reply.send(())),
        }
    }
}

impl Journal {
    fn obey(&mut self, order: Order) -> Told {
        match order {
            Order::Name {
                lanes,
                routes,
                reply,
            } => {
                let numbers = Numbers {
                    lanes: lanes.iter().map(|name| self.intern_lane(name)).collect(),
                    routes: routes.iter().map(|name| self.intern_route(name)).collect(),
                };
                Told::Numbers(reply, numbers)
            }
            Order::Open {
                lane,
                is_strict,
                sink,
                reply,
            } => Told::Modes(reply, self.open_lane(lane, is_strict, sink)),
            Order::Purge { gone, reply } => {
                self.purge_letters(&gone);
                Told::Done(reply)
            }
            Order::Cut { strict, reply } => {
                for (lane, is_strict) in strict {
                    self.turn_lane(lane, is_strict);
                }
                Told::Done(reply)
            }
        }
    }

    fn open_lane(&mut self, id: LaneId, is_strict: bool, sink: Option<LogUuid>) -> LaneModes {
        let shared = Arc::clone(self.shared());
        let known = modes_of(&shared, id);
        let Some(lane) = shared.lane(id) else {
            return known;
        };
        lane.inbox.restart();
        let modes = known.from_start(is_strict, lane.owed(), self.next_position());
        self.describe_lane(id, modes.clone(), sink);
        modes
    }

    /// The lane is told by its inbox, before anything that is accepted from here on.
    fn turn_lane(&mut self, id: LaneId, is_strict: bool) {
        let shared = Arc::clone(self.shared());
        let Some(lane) = shared.lane(id) else {
            return;
        };
        let next = self.next_position();
        let modes = modes_of(&shared, id).turned(is_strict, lane.owed(), next);
        let sink = shared.read_catalog(|catalog| catalog.lane(id).and_then(|lane| lane.sink));
        self.describe_lane(id, modes, sink);
        lane.inbox.turn(next, is_strict);
    }
}

fn modes_of(shared: &super::Shared, id: LaneId) -> LaneModes {
    shared.read_catalog(|catalog| {
        catalog
            .lane(id)
            .map_or_else(LaneModes::default, |lane| lane.modes.clone())
    })
}

impl Handle {
    /// Gives names their numbers; returns when these are durable.
    pub async fn name(&self, lanes: Vec<String>, routes: Vec<String>) -> Result<Numbers, Refusal> {
        let (reply, told) = oneshot::channel();
        self.order(Order::Name {
            lanes,
            routes,
            reply,
        })?;
        told.await.map_err(|_| self.no_answer())
    }

    /// Readies a lane for its start: what it owes comes from the segments. Nobody may feed from
    /// it, and no plan name it that isn't decided yet.
    pub async fn open_lane(
        &self,
        lane: LaneId,
        is_strict: bool,
        sink: Option<LogUuid>,
    ) -> Result<LaneModes, Refusal> {
        let (reply, told) = oneshot::channel();
        self.order(Order::Open {
            lane,
            is_strict,
            sink,
            reply,
        })?;
        told.await.map_err(|_| self.no_answer())
    }

    /// What is submitted before this call is in the modes that the lanes have, what is submitted
    /// after it in these. Never blocks. The answer comes when all before it is decided.
    pub fn cut(&self, strict: Vec<(LaneId, bool)>) -> Result<oneshot::Receiver<()>, Refusal> {
        let (reply, told) = oneshot::channel();
        self.order(Order::Cut { strict, reply })?;
        Ok(told)
    }

    pub(super) async fn purge(&self, gone: GoneLetters) -> Result<(), Refusal> {
        let (reply, told) = oneshot::channel();
        self.order(Order::Purge { gone, reply })?;
        told.await.map_err(|_| self.no_answer())
    }

    /// Returns when the settlements that were given before are applied.
    pub async fn settled(&self, groups: Vec<SettleGroup>) -> Result<(), Refusal> {
        for group in groups {
            let settled = self.settle(group).await;
            settled.map_err(Refusal::JournalFailed)?;
        }
        let told = self.cut(Vec::new())?;
        told.await.map_err(|_| self.no_answer())
    }

    fn no_answer(&self) -> Refusal {
        match self.shared().failure() {
            Some(reason) => Refusal::JournalFailed(reason),
            None => Refusal::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{House, house};
    use super::super::{Running, start};
    use super::*;
    use crate::clock::{Clock, Wall};
    use crate::log::disk::RealDisk;
    use crate::message::Position;
    use std::path::Path;

    /// Its threads run; one submission to send again and again, and its lane.
    fn running(dir: &Path) -> (Running, Handle, Submission, LaneId) {
        let house = house(dir, &Clock::manual(Wall(1_000_000)));
        let (submission, lane) = (house.submission(None, "x"), house.lane);
        let House {
            journal, keeper, ..
        } = house;
        let started = start(journal, keeper, Arc::new(RealDisk));
        let (running, handle, receipts) = started.expect("threads start");
        tokio::spawn(crate::journal::send_receipts(receipts));
        (running, handle, submission, lane)
    }

    async fn stop(running: Running) {
        let stopped = tokio::task::spawn_blocking(move || running.stop()).await;
        stopped.expect("it stops in order");
    }

    /// Whatever the thread takes together: an order stands between what was submitted before and
    /// after it.
    #[tokio::test]
    async fn a_cut_parts_what_is_accepted_exactly() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (running, handle, submission, lane) = running(dir.path());
        let mut rng = fastrand::Rng::with_seed(5);
        let (mut accepted, mut answers, mut cuts) = (0, Vec::new(), Vec::new());
        for round in 0..200 {
            for _ in 0..rng.u64(1..20) {
                answers.push(handle.submit(submission.clone()).expect("there is room"));
                accepted += 1;
            }
            if rng.u8(..4) == 0 {
                tokio::task::yield_now().await;
            }
            let is_strict = round % 2 == 0;
            let told = handle.cut(vec![(lane, is_strict)]).expect("it runs");
            cuts.push((Position(accepted), is_strict, told));
        }
        let state = handle.shared().lane(lane).expect("it is there");
        let mut turns = Vec::new();
        for (position, is_strict, told) in cuts {
            told.await.expect("it is obeyed");
            turns.push((position, is_strict));
        }
        assert_eq!(state.inbox.take_turns(), turns);
        for answer in answers {
            answer.await.expect("an answer").expect("it is accepted");
        }
        let modes = modes_of(handle.shared(), lane);
        let barriers: Vec<Position> = turns.iter().map(|(position, _)| *position).collect();
        assert_eq!(modes, LaneModes::new(false, barriers).expect("they ascend"));
        stop(running).await;
    }

    #[tokio::test]
    async fn names_have_their_numbers_after_a_restart() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (running_now, handle, _, _) = running(dir.path());
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let asked = handle.name(names(&["a", "inbox"]), names(&["r", "s", "all"]));
        let numbers = asked.await.expect("it is durable");
        let again = handle.name(names(&["a", "inbox"]), names(&["r", "s", "all"]));
        assert_eq!(again.await.expect("it is durable"), numbers);
        stop(running_now).await;
        assert_eq!(handle.cut(Vec::new()).err(), Some(Refusal::Stopping));

        let (running, handle, _, _) = running(dir.path());
        let again = handle.name(names(&["a", "inbox"]), names(&["r", "s", "all"]));
        assert_eq!(again.await.expect("it is durable"), numbers);
        stop(running).await;
    }

    #[tokio::test]
    async fn a_lane_that_opens_anew_begins_with_all_that_it_owes() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (running, handle, submission, lane) = running(dir.path());
        for _ in 0..3 {
            let answer = handle.submit(submission.clone()).expect("there is room");
            answer.await.expect("an answer").expect("it is accepted");
        }
        let taken = |feed: crate::journal::LaneFeed| {
            let taken = feed.take(10, 1 << 20).expect("readable");
            taken.iter().map(|d| d.at.position.0).collect::<Vec<_>>()
        };
        let feed = || handle.feed(lane).expect("it is there");
        assert_eq!(taken(feed()), [0, 1, 2]);
        let sink = Some(LogUuid(7));
        let modes = handle.open_lane(lane, true, sink).await;
        // What is owed was accepted as keyed.
        let expected = LaneModes::new(false, vec![Position(3)]);
        assert_eq!(modes.ok(), expected);
        assert_eq!(taken(feed()), [0, 1, 2]);
        stop(running).await;
    }
}
