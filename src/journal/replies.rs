//! The way back of the journal's answers: to one who waits, or to many in one mailbox.
//!
//! Answers come in the order of the submissions. A mailbox gets those of a batch together: one lock and
//! one wake-up for all of them.

use super::core::Answer;
use crate::message::Refusal;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// Answers to submissions of one place, in the order in which they were queued.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    answers: Vec<Answer>,
    waker: Option<Waker>,
}

impl Mailbox {
    /// All that came since the last call, put behind what `into` holds; pending if that is nothing.
    pub fn poll_take(&self, cx: &mut Context<'_>, into: &mut VecDeque<Answer>) -> Poll<()> {
        let mut inside = self.inside();
        if inside.answers.is_empty() {
            let known = inside.waker.as_ref();
            if known.is_none_or(|waker| !waker.will_wake(cx.waker())) {
                inside.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        into.extend(inside.answers.drain(..));
        Poll::Ready(())
    }

    fn put(&self, answers: impl Iterator<Item = Answer>) {
        let mut inside = self.inside();
        inside.answers.extend(answers);
        let waker = inside.waker.take();
        drop(inside);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for the next answers.
#[derive(Debug)]
pub(super) enum Reply {
    One(oneshot::Sender<Answer>),
    Run(Run),
}

/// The next `count` answers go to one mailbox. Dropped before they came, it says that none will.
#[derive(Debug)]
pub struct Run {
    mailbox: Arc<Mailbox>,
    count: usize,
}

impl Run {
    pub fn new(mailbox: &Arc<Mailbox>, count: usize) -> Self {
        Self {
            mailbox: Arc::clone(mailbox),
            count,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.count > 0 {
            let never = (0..self.count).map(|_| Err(Refusal::Stopping));
            self.mailbox.put(never);
        }
    }
}

/// Answers on their way to who waits for them.
pub enum Outgoing {
    One(oneshot::Sender<Answer>, Answer),
    Run(Run, Vec<Answer>),
}

impl Outgoing {
    /// It goes to one who waits for no other.
    pub const fn is_alone(&self) -> bool {
        matches!(self, Self::One(..))
    }

    /// A client that went away changes nothing.
    pub fn send(self) {
        match self {
            Self::One(reply, answer) => drop(reply.send(answer)),
            Self::Run(mut run, answers) => {
                run.count = 0;
                run.mailbox.put(answers.into_iter());
            }
        }
    }
}

/// Who waits for what is queued, in its order.
#[derive(Default)]
pub(super) struct Replies(VecDeque<Reply>);

impl Replies {
    pub fn push(&mut self, reply: Reply) {
        self.0.push_back(reply);
    }

    pub fn append(&mut self, more: &mut Self) {
        self.0.append(&mut more.0);
    }

    /// Pairs the answers with the first who wait.
    pub fn address(&mut self, answers: Vec<Answer>) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        let mut answers = answers.into_iter();
        while answers.len() > 0 {
            match self.0.front_mut() {
                Some(Reply::Run(run)) => {
                    let count = run.count.min(answers.len());
                    run.count -= count;
                    let part = Run::new(&run.mailbox, count);
                    outgoing.push(Outgoing::Run(part, answers.by_ref().take(count).collect()));
                    if run.count == 0 {
                        self.0.pop_front();
                    }
                }
                _ => {
                    let answer = answers.next();
                    if let (Some(Reply::One(reply)), Some(answer)) = (self.0.pop_front(), answer) {
                        outgoing.push(Outgoing::One(reply, answer));
                    }
                }
            }
        }
        outgoing
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        let count = |reply: &Reply| match reply {
            Reply::One(_) => 1,
            Reply::Run(run) => run.count,
        };
        self.0.iter().map(count).sum()
    }

    #[cfg(test)]
    pub fn pop(&mut self) {
        self.0.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Accepted;
    use crate::message::Position;

    fn accepted(position: u64) -> Answer {
        Ok(Accepted {
            position: Position(position),
            original: None,
        })
    }

    fn taken(mailbox: &Mailbox) -> Vec<Answer> {
        let mut all = VecDeque::new();
        let mut cx = Context::from_waker(Waker::noop());
        let _ = mailbox.poll_take(&mut cx, &mut all);
        all.into()
    }

    /// Batches end where they end: in the middle of a run, behind some of them.
    #[test]
    fn answers_go_to_those_who_wait_in_the_order_of_the_queue() {
        let (one, two) = (Arc::new(Mailbox::default()), Arc::new(Mailbox::default()));
        let (reply, mut alone) = oneshot::channel();
        let mut replies = Replies::default();
        replies.push(Reply::Run(Run::new(&one, 3)));
        replies.push(Reply::One(reply));
        replies.push(Reply::Run(Run::new(&two, 2)));
        let mut next = 0;
        for count in [2, 3, 1] {
            let answers = (next..next + count).map(accepted).collect();
            next += count;
            for outgoing in replies.address(answers) {
                outgoing.send();
            }
        }
        assert_eq!(replies.len(), 0);
        assert_eq!(taken(&one), (0..3).map(accepted).collect::<Vec<_>>());
        assert_eq!(alone.try_recv(), Ok(accepted(3)));
        assert_eq!(taken(&two), (4..6).map(accepted).collect::<Vec<_>>());
    }

    /// The journal's thread is gone: nobody waits for ever.
    #[test]
    fn whoever_is_not_answered_is_told_so() {
        let mailbox = Arc::new(Mailbox::default());
        let mut replies = Replies::default();
        replies.push(Reply::Run(Run::new(&mailbox, 3)));
        let outgoing = replies.address(vec![accepted(0)]);
        drop((outgoing, replies));
        assert_eq!(taken(&mailbox), vec![Err(Refusal::Stopping); 3]);
    }
}
