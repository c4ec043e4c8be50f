//! What is to be sent, what was sent and waits for its answer, and how much of that there may be. Pure: times come
//! as values, verdicts go to who waits for them.
//!
//! How many are open at once follows how soon they are answered: a service that takes one a second isn't sent
//! a thousand, which would all be answered too late. And where a service broke a call over something, each of those
//! that were open then is sent alone, once: so it shows which one it was, and the others go on.

use super::answer::{Course, End, verdict};
use super::message::timestamp;
use super::v1;
use super::v1::DeliverRequest;
use crate::clock::Wall;
use crate::egress::Verdict;
use crate::message::DeliveryId;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Open at once, at most.
const MAX_WINDOW: usize = 2048;
/// Given up, and still to be answered, in one call. A service that leaves out more has lost its way.
const MAX_LATE: usize = 256;
/// More can't be open when a call breaks.
const MAX_SUSPECTS: usize = 2 * MAX_WINDOW;

/// A call's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A delivery that is to be sent.
pub struct Item {
    pub at: DeliveryId,
    pub delivery: v1::Delivery,
    pub tell: oneshot::Sender<Verdict>,
}

pub struct Desk {
    /// Of one attempt, from its sending on.
    timeout: Duration,
    queue: VecDeque<Item>,
    /// Sent and not answered, by sequence: the first was sent first.
    open: BTreeMap<u64, Open>,
    /// Sent and given up, in calls that go on.
    late: BTreeMap<u64, CallId>,
    calls: BTreeMap<CallId, Progress>,
    sequence: u64,
    /// So many may be open.
    window: usize,
    suspects: HashSet<DeliveryId>,
}

struct Open {
    call: CallId,
    at: DeliveryId,
    tell: oneshot::Sender<Verdict>,
    sent: Instant,
}

#[derive(Default)]
struct Progress {
    /// When the last answer came.
    answered: Option<Instant>,
}

impl Desk {
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            queue: VecDeque::new(),
            open: BTreeMap::new(),
            late: BTreeMap::new(),
            calls: BTreeMap::new(),
            sequence: 0,
            window: 1,
            suspects: HashSet::new(),
        }
    }

    pub fn push(&mut self, items: Vec<Item>) {
        self.queue.extend(items);
    }

    /// Whether anything is to be sent that somebody still waits for.
    pub fn has_queued(&mut self) -> bool {
        while self.queue.front().is_some_and(|item| item.tell.is_closed()) {
            self.queue.pop_front();
        }
        !self.queue.is_empty()
    }

    pub fn begin(&mut self, call: CallId) {
        self.calls.insert(call, Progress::default());
    }

    /// The next one, if it may be sent now in this call.
    pub fn next(&mut self, call: CallId, now: Instant, wall: Wall) -> Option<DeliverRequest> {
        if !self.has_queued() {
            return None;
        }
        let front = self.queue.front()?;
        let alone = self.open.is_empty();
        let may = match self.suspects.is_empty() {
            true => self.open.len() < self.window,
            false => self.may_suspicious(front.at),
        };
        if !may && !alone {
            return None;
        }
        let item = self.queue.pop_front()?;
        self.sequence += 1;
        self.open.insert(
            self.sequence,
            Open {
                call,
                at: item.at,
                tell: item.tell,
                sent: now,
            },
        );
        Some(DeliverRequest {
            sequence: self.sequence,
            delivery: Some(item.delivery),
            attempted: Some(timestamp(wall)),
        })
    }

    /// A suspect goes alone: nothing is open when it goes, and nothing follows while it is.
    fn may_suspicious(&self, next: DeliveryId) -> bool {
        let is_open = self
            .open
            .values()
            .any(|open| self.suspects.contains(&open.at));
        self.open.len() < self.window && !is_open && !self.suspects.contains(&next)
    }

    /// # Errors
    /// What is wrong with the answer: the call can't go on.
    pub fn answered(
        &mut self,
        call: CallId,
        answer: v1::DeliverResponse,
        now: Instant,
    ) -> Result<(), String> {
        let sequence = answer.sequence;
        if let Some(progress) = self.calls.get_mut(&call) {
            progress.answered = Some(now);
        }
        if self.late.get(&sequence) == Some(&call) {
            self.late.remove(&sequence);
            return Ok(());
        }
        if self
            .open
            .get(&sequence)
            .is_none_or(|open| open.call != call)
        {
            return Err(format!(
                "the service answered the sequence {sequence}, which isn't open: the call was ended"
            ));
        }
        let Some(open) = self.open.remove(&sequence) else {
            return Ok(());
        };
        self.suspects.remove(&open.at);
        self.pace(now.duration_since(open.sent));
        open.tell(verdict(answer.outcome));
        Ok(())
    }

    /// One more at once if this one was answered soon, one fewer if late.
    fn pace(&mut self, took: Duration) {
        if took < self.timeout / 4 {
            // What isn't made use of isn't known to be good.
            let is_used = self.open.len() + 1 > self.window / 2;
            self.window = (self.window + usize::from(is_used)).min(MAX_WINDOW);
        } else if took > self.timeout / 2 {
            self.window = (self.window - 1).max(1);
        }
    }

    /// When one that is open will have waited too long.
    pub fn deadline(&self) -> Option<Instant> {
        let first = self.open.values().next()?;
        Some(first.sent + self.timeout)
    }

    /// Gives up what has waited too long. A call in which nothing was answered since it was sent, or that owes too
    /// many answers: it can't go on.
    pub fn expire(&mut self, now: Instant) -> Option<CallId> {
        while let Some(first) = self.open.first_entry() {
            let (call, sent) = (first.get().call, first.get().sent);
            if now < sent + self.timeout {
                return None;
            }
            let progress = self.calls.get(&call).and_then(|call| call.answered);
            if progress.is_none_or(|answered| answered < sent) {
                return Some(call);
            }
            let (sequence, open) = first.remove_entry();
            self.window = 1;
            open.tell(Verdict::unknown(self.too_late()));
            self.late.insert(sequence, call);
            if self.late.values().filter(|of| **of == call).count() > MAX_LATE {
                return Some(call);
            }
        }
        None
    }

    pub fn too_late(&self) -> String {
        format!("no answer within {:?}", self.timeout)
    }

    /// Never sent, in their order: they are the next ones.
    pub fn put_back(&mut self, requests: VecDeque<DeliverRequest>) {
        for request in requests.into_iter().rev() {
            let open = self.open.remove(&request.sequence);
            if let (Some(open), Some(delivery)) = (open, request.delivery) {
                self.queue.push_front(Item {
                    at: open.at,
                    delivery,
                    tell: open.tell,
                });
            }
        }
    }

    /// How far it has come, after `put_back`.
    pub fn course(&self, call: CallId) -> Course {
        let progress = self.calls.get(&call);
        let mut open = self.open.values();
        let only = open.next().filter(|_| open.next().is_none());
        Course {
            has_answered: progress.is_some_and(|call| call.answered.is_some()),
            was_alone: only.is_some_and(|open| open.call == call),
        }
    }

    /// After `put_back`. With `is_current` the next call would go the same way.
    pub fn ended(&mut self, call: CallId, end: End, is_current: bool) {
        self.calls.remove(&call);
        self.late.retain(|_, of| *of != call);
        let open = std::mem::take(&mut self.open);
        let (was_open, open): (BTreeMap<_, _>, BTreeMap<_, _>) =
            open.into_iter().partition(|(_, open)| open.call == call);
        self.open = open;
        if end.is_suspicious && self.suspects.len() + was_open.len() > MAX_SUSPECTS {
            self.suspects.clear();
        }
        if end.queued.is_some() || !was_open.is_empty() {
            self.window = 1;
        }
        // Without any that was sent the next call would be as this one.
        let is_useless = was_open.is_empty() && end.is_suspicious;
        for (_, open) in was_open {
            match (&end.sent, end.is_suspicious) {
                (Verdict::Reject { .. }, _) => drop(self.suspects.remove(&open.at)),
                (_, true) => drop(self.suspects.insert(open.at)),
                _ => {}
            }
            open.tell(end.sent.clone());
        }
        if !is_current {
            return;
        }
        if let Some(verdict) = end.queued {
            self.fail_queue(&verdict);
        } else if is_useless {
            let (_, why) = end.sent.failure().unwrap_or_default();
            self.fail_queue(&Verdict::retry(why));
        }
    }

    /// Tells all that weren't sent.
    pub fn fail_queue(&mut self, verdict: &Verdict) {
        for item in self.queue.drain(..) {
            // Nobody waits any more: the lane has ended.
            let _ = item.tell.send(verdict.clone());
        }
    }
}

impl Open {
    fn tell(self, verdict: Verdict) {
        // Nobody waits any more: the lane has ended.
        let _ = self.tell.send(verdict);
    }
}

#[cfg(test)]
mod tests;
