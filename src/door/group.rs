//! Publishes of one caller that are handed over together: one look at the running generation, one place
//! in the journal's queue, one wake-up for all that were stored at once.

use super::{Door, Prepared, Published, TargetMemo};
use crate::journal::{Accepted, Answer, Mailbox, Submission};
use crate::message::{Ack, Chain, Envelope, Message, Refusal};
use crate::spans::Accept;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a publish came to, under its tag.
pub type Outcome<T> = (T, Result<Published, Refusal>);

/// Publishes that are under way, each known to its caller by a tag.
pub struct Group<T> {
    door: Arc<Door>,
    mailbox: Arc<Mailbox>,
    /// In the journal's queue: in its order, which is that of the answers.
    queued: VecDeque<Slot<T>>,
    answers: VecDeque<Answer>,
    /// Stored; the outcome is waited for.
    settling: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome<T>> + Send>>>,
    done: VecDeque<Outcome<T>>,
    memo: TargetMemo,
}

struct Slot<T> {
    tag: T,
    message: Arc<Message>,
    called_micros: u64,
    span: Accept,
}

impl<T: Send + 'static> Group<T> {
    #[must_use]
    pub fn new(door: Arc<Door>) -> Self {
        Self {
            door,
            mailbox: Arc::default(),
            queued: VecDeque::new(),
            answers: VecDeque::new(),
            settling: FuturesUnordered::new(),
            done: VecDeque::new(),
            memo: TargetMemo::default(),
        }
    }

    /// That have no outcome yet, or one that wasn't asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued.len() + self.settling.len() + self.done.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands all over before it returns, in their order.
    pub fn hand_over(&mut self, came: impl IntoIterator<Item = (T, Envelope, Option<Chain>)>) {
        let door = Arc::clone(&self.door);
        let called_micros = door.clock.micros();
        let (mut submissions, mut slots) = (Vec::new(), Vec::new());
        let mut refused = Vec::new();
        // Kept until the submissions are in the journal's queue: see `Generations`.
        let running = door.generations.running();
        for (tag, mut envelope, chain) in came {
            let mut span = door.spans.accept(&mut envelope);
            match door.prepare(&running, envelope, chain) {
                Ok(Prepared::Submission(submission)) => {
                    span.handed_over();
                    let message = Arc::clone(submission.message());
                    slots.push(Slot {
                        tag,
                        message,
                        called_micros,
                        span,
                    });
                    submissions.push(submission);
                }
                Ok(Prepared::Forgotten(envelope)) => {
                    let result = Ok(door.forgotten(*envelope));
                    door.told(called_micros, span, &result);
                    self.done.push_back((tag, result));
                }
                Err(why) => refused.push((tag, why, span)),
            }
        }
        let left = self.queue(submissions, &mut slots);
        drop(running);
        self.queued.extend(slots);
        for (slot, refusal) in left {
            door.show_refused(&slot.message, &refusal);
            self.refuse(slot.tag, slot.span, refusal);
        }
        for (tag, why, span) in refused {
            let refusal = door.not_taken(why);
            self.refuse(tag, span, refusal);
        }
    }

    /// Takes out the slots of what the journal's queue doesn't take.
    fn queue(
        &self,
        mut submissions: Vec<Submission>,
        slots: &mut Vec<Slot<T>>,
    ) -> Vec<(Slot<T>, Refusal)> {
        if submissions.is_empty() {
            return Vec::new();
        }
        let journal = &self.door.journal;
        let Err(refusal) = journal.submit_all(&mut submissions, &self.mailbox) else {
            return Vec::new();
        };
        for chain in submissions.iter().filter_map(|left| left.chain.as_ref()) {
            chain.break_at_hand_over(refusal.is_retriable());
        }
        let left = slots.split_off(slots.len() - submissions.len());
        left.into_iter()
            .map(|slot| (slot, refusal.clone()))
            .collect()
    }

    fn refuse(&mut self, tag: T, span: Accept, refusal: Refusal) {
        let result = Err(refusal);
        self.door.told(0, span, &result);
        self.done.push_back((tag, result));
    }

    /// The next outcome, in the order in which they came; pending also while nothing is under way.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        loop {
            if let Some(outcome) = self.done.pop_front() {
                return Poll::Ready(outcome);
            }
            if let Poll::Ready(Some(outcome)) = self.settling.poll_next_unpin(cx) {
                return Poll::Ready(outcome);
            }
            let answers = &mut self.answers;
            if self.queued.is_empty() || self.mailbox.poll_take(cx, answers).is_pending() {
                return Poll::Pending;
            }
            self.take_answers();
        }
    }

    fn take_answers(&mut self) {
        let now = self.door.clock.micros();
        let mut times = self.door.accept_times.tally();
        for answer in std::mem::take(&mut self.answers) {
            let slot = self.queued.pop_front();
            let mut slot = slot.expect("each answer is to one that was queued");
            let accepted = self.door.heard(&slot.message, answer, &mut slot.span);
            match accepted {
                Ok(accepted) if slot.message.plan.ack == Ack::Delivered => {
                    self.settling
                        .push(Box::pin(settled(Arc::clone(&self.door), slot, accepted)));
                }
                Ok(accepted) => {
                    let published = self.door.stored(&slot.message, accepted, &mut self.memo);
                    times.record(now.saturating_sub(slot.called_micros));
                    slot.span.end(None);
                    self.done.push_back((slot.tag, Ok(published)));
                }
                Err(refusal) => self.refuse(slot.tag, slot.span, refusal),
            }
        }
        self.door.accept_times.add(&times);
    }
}

async fn settled<T>(door: Arc<Door>, slot: Slot<T>, accepted: Accepted) -> Outcome<T> {
    let result = Ok(door.delivered(&slot.message, accepted).await);
    door.told(slot.called_micros, slot.span, &result);
    (slot.tag, result)
}
