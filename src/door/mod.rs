//! The door: every ingress hands envelopes over here and waits for receipts.
//!
//! What lives here: limits, identity, the way through routing into the journal, and the wait that
//! the ack asks for. What must not: protocols.

mod counts;
mod generation;
mod group;
pub mod identity;
pub mod limits;
mod memory;
mod rules;
pub mod taps;

pub use counts::{Refusals, Skips};
pub use generation::{Generation, Generations};
pub use group::Group;
pub use rules::{Decided, Rules, identity_key};

use crate::clock::Clock;
use crate::histogram::{Histogram, SHORT};
use crate::journal::{self, Accepted, Submission};
use crate::message::{
    self, Ack, Chain, DeliveryId, DeliveryState, Envelope, Fingerprint, LaneId, Message, MessageId,
    Position, Receipt, Refusal, RouteId, Target, TargetState,
};
use crate::routing::{OnFull, Planned, Routed};
use crate::spans::{Accept, Spans};
use identity::Scope;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use taps::{Became, Body, Passed, Taps};
use tokio::sync::oneshot;

/// A publish that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub receipt: Receipt,
    /// What the matched routes ask for: the strongest of them.
    pub ack: Ack,
    pub outcome: Awaited,
}

/// Whether the wait that the ack asks for came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// `Ack::Delivered` was asked for, and `ack_timeout` passed first: stored, outcome pending.
    Pending,
    Settled,
}

/// An envelope that went through the door.
enum Handed {
    Over(Waiting),
    /// Nothing of it is journalled.
    Taken(Box<Published>),
}

/// What is to be done with an envelope that may come in.
enum Prepared {
    Submission(Submission),
    /// All its targets are at_most_once.
    InMemory(Box<InMemory>),
    Forgotten(Box<Envelope>),
}

/// A message that is not journalled, and what its delivery ids are made of.
struct InMemory {
    message: Arc<Message>,
    identity: Option<u128>,
}

/// It goes no further.
struct NotTaken {
    envelope: Envelope,
    refusal: Refusal,
}

/// It is in the journal's queue.
struct Waiting {
    message: Arc<Message>,
    answer: oneshot::Receiver<journal::Answer>,
}

pub struct Door {
    pub journal: journal::Handle,
    pub generations: Generations,
    pub clock: Clock,
    pub refusals: Refusals,
    pub skips: Skips,
    pub taps: Arc<Taps>,
    /// From the call until the ack could be given, of what was taken.
    pub accept_times: Histogram,
    spans: Spans,
}

impl Door {
    #[must_use]
    pub fn new(
        journal: journal::Handle,
        generations: Generations,
        clock: Clock,
        spans: Spans,
    ) -> Self {
        Self {
            journal,
            generations,
            clock,
            refusals: Refusals::default(),
            skips: Skips::default(),
            taps: Arc::default(),
            accept_times: Histogram::new(SHORT),
            spans,
        }
    }

    /// Hands an envelope over before it returns: those that are published one after the other keep
    /// their order. The future is ready when the ack can be given; a client that goes away, and
    /// with it the future, changes nothing.
    pub fn publish(
        self: Arc<Self>,
        mut envelope: Envelope,
        chain: Option<Chain>,
    ) -> impl Future<Output = Result<Published, Refusal>> + Send + 'static {
        let called_micros = self.clock.micros();
        let mut span = self.spans.accept(&mut envelope);
        let handed = self.hand_over(envelope, chain);
        if matches!(handed, Ok(Handed::Over(_))) {
            span.handed_over();
        }
        async move {
            let result = match handed {
                Ok(Handed::Over(waiting)) => self.published(waiting, &mut span).await,
                Ok(Handed::Taken(published)) => Ok(*published),
                Err(refusal) => Err(refusal),
            };
            self.told(called_micros, span, &result);
            result
        }
    }

    /// Counts what a publish came to.
    fn told(&self, called_micros: u64, span: Accept, result: &Result<Published, Refusal>) {
        match result {
            Ok(_) => {
                let took = self.clock.micros().saturating_sub(called_micros);
                self.accept_times.record(took);
            }
            Err(refusal) => self.refusals.count(refusal),
        }
        span.end(result.as_ref().err().map(Refusal::reason));
    }

    fn hand_over(&self, envelope: Envelope, chain: Option<Chain>) -> Result<Handed, Refusal> {
        // Kept until the submission is in the journal's queue: see `Generations`.
        let running = self.generations.running();
        let submission = match self.prepare(&running, envelope, chain) {
            Ok(Prepared::Submission(submission)) => submission,
            Ok(Prepared::Forgotten(envelope)) => {
                drop(running);
                return Ok(Handed::Taken(Box::new(self.forgotten(*envelope))));
            }
            Ok(Prepared::InMemory(taken)) => {
                return Ok(Handed::Taken(Box::new(self.take_in_memory(*taken))));
            }
            Err(refused) => {
                drop(running);
                return Err(self.not_taken(refused));
            }
        };
        let (message, chain) = (Arc::clone(submission.message()), submission.chain.clone());
        match self.journal.submit(submission) {
            Ok(answer) => Ok(Handed::Over(Waiting { message, answer })),
            Err(refusal) => {
                drop(running);
                if let Some(chain) = chain {
                    chain.break_at_hand_over(refusal.is_retriable());
                }
                self.show_refused(&message, &refusal);
                Err(refusal)
            }
        }
    }

    /// What is to be done with an envelope, by the running generation. Of one that is refused the rest of
    /// its chain is, too.
    fn prepare(
        &self,
        running: &Generation,
        mut envelope: Envelope,
        chain: Option<Chain>,
    ) -> Result<Prepared, Box<NotTaken>> {
        if let Some(refusal) = chain.as_ref().and_then(Chain::broken_at_hand_over) {
            return Err(Box::new(NotTaken { envelope, refusal }));
        }
        let mut skips = Vec::new();
        let decided = running
            .rules()
            .decide(&envelope, self.clock.wall(), &mut skips);
        self.skips.count(skips);
        let Decided { id, scope, routed } = match decided {
            Ok(decided) => decided,
            Err(refusal) => {
                if let Some(chain) = chain {
                    chain.break_at_hand_over(refusal.is_retriable());
                }
                return Err(Box::new(NotTaken { envelope, refusal }));
            }
        };
        envelope.id = id;
        Ok(match routed {
            Routed::To(planned) if planned.plan.is_in_memory() => {
                Prepared::InMemory(Box::new(self.in_memory(envelope, planned, scope)))
            }
            Routed::To(planned) => {
                let mut submission = self.submission(envelope, planned, scope);
                submission.chain = chain;
                submission.handed_micros = self.clock.micros();
                Prepared::Submission(submission)
            }
            Routed::Drop => Prepared::Forgotten(Box::new(envelope)),
        })
    }

    async fn published(&self, waiting: Waiting, span: &mut Accept) -> Result<Published, Refusal> {
        let Waiting { message, answer } = waiting;
        let answer = answer.await.unwrap_or(Err(Refusal::Stopping));
        let accepted = self.heard(&message, answer, span)?;
        Ok(match message.plan.ack {
            Ack::Delivered => self.delivered(&message, accepted).await,
            Ack::Received | Ack::Stored => {
                self.stored(&message, accepted, &mut TargetMemo::default())
            }
        })
    }

    /// The journal's answer, shown to whoever watches.
    fn heard(
        &self,
        message: &Arc<Message>,
        answer: journal::Answer,
        span: &mut Accept,
    ) -> Result<Accepted, Refusal> {
        let accepted = answer.inspect_err(|refusal| self.show_refused(message, refusal))?;
        let position = accepted.position;
        span.stored(position);
        let duplicate = accepted.is_duplicate();
        self.show(message, || Became::Stored {
            position,
            duplicate,
        });
        Ok(accepted)
    }

    /// Nobody waits for more than that it is stored: all that a fresh one owes is pending.
    fn stored(&self, message: &Message, accepted: Accepted, memo: &mut TargetMemo) -> Published {
        let shared = self.journal.shared();
        let targets = match &accepted.original {
            Some(original) => shared.target_states(accepted.position, original).into(),
            None => memo.pending(shared, &message.plan.targets),
        };
        self.taken(message, &accepted, targets, Awaited::Settled)
    }

    async fn delivered(&self, message: &Message, accepted: Accepted) -> Published {
        let (position, plan) = (accepted.position, &message.plan);
        let targets = accepted.original.clone();
        let targets = targets.unwrap_or_else(|| planned_targets(message));
        let states = self.journal.shared().target_states(position, &targets);
        // What lives in memory isn't awaited: nobody will say what became of it.
        let is_awaited = |at: &usize| states[*at].state != DeliveryState::Received;
        let awaited: Vec<usize> = (0..targets.len()).filter(is_awaited).collect();
        let lanes: Vec<_> = awaited.iter().map(|at| (*at, targets[*at].1)).collect();
        let words = self.outcome(position, &lanes, plan.ack_timeout).await;
        let outcome = match words {
            Some(_) => Awaited::Settled,
            None => Awaited::Pending,
        };
        let shared = self.journal.shared();
        let mut targets = shared.target_states(position, &targets);
        for (at, state) in awaited.into_iter().zip(words.unwrap_or_default()) {
            // Heard from the lane: the journal has it a moment later.
            targets[at].state = state;
        }
        self.taken(message, &accepted, targets.into(), outcome)
    }

    fn taken(
        &self,
        message: &Message,
        accepted: &Accepted,
        targets: Arc<[TargetState]>,
        outcome: Awaited,
    ) -> Published {
        let receipt = Receipt {
            id: Some(self.id_of(message, accepted.position)),
            position: Some(accepted.position),
            duplicate: accepted.is_duplicate(),
            targets,
        };
        Published {
            receipt,
            ack: message.plan.ack,
            outcome,
        }
    }

    /// `[unrouted] action = "drop"`: taken, and nothing is kept of it.
    fn forgotten(&self, envelope: Envelope) -> Published {
        let receipt = Receipt {
            id: envelope.id.as_str().map(str::to_owned),
            position: None,
            duplicate: false,
            targets: Arc::default(),
        };
        self.show_bare(envelope, || Became::Dropped);
        Published {
            receipt,
            ack: Ack::Received,
            outcome: Awaited::Settled,
        }
    }

    fn show_refused(&self, message: &Arc<Message>, refusal: &Refusal) {
        self.show(message, || Became::Refused(refusal.clone()));
    }

    /// To whoever watches.
    fn show(&self, message: &Arc<Message>, became: impl FnOnce() -> Became) {
        if !self.taps.is_watched() {
            return;
        }
        let became = became();
        let is_refused = matches!(became, Became::Refused(_));
        let copy = || {
            let id = match became {
                Became::Stored { position, .. } => Some(self.id_of(message, position)),
                _ => message.envelope.id.as_str().map(str::to_owned),
            };
            Passed {
                at: self.clock.wall(),
                became,
                id: id.map(Arc::from),
                body: Body::Planned(Arc::clone(message)),
            }
        };
        let topic = &message.envelope.topic;
        self.taps.offer(self.clock.mono(), topic, is_refused, copy);
    }

    /// The same of an envelope that goes no further.
    fn show_bare(&self, envelope: Envelope, became: impl FnOnce() -> Became) {
        if !self.taps.is_watched() {
            return;
        }
        let became = became();
        let is_refused = matches!(became, Became::Refused(_));
        let envelope = Arc::new(envelope);
        let copy = || Passed {
            at: self.clock.wall(),
            became,
            id: envelope.id.as_str().map(Arc::from),
            body: Body::Bare(Arc::clone(&envelope)),
        };
        self.taps
            .offer(self.clock.mono(), &envelope.topic, is_refused, copy);
    }

    fn not_taken(&self, not_taken: Box<NotTaken>) -> Refusal {
        let NotTaken { envelope, refusal } = *not_taken;
        self.show_bare(envelope, || Became::Refused(refusal.clone()));
        refusal
    }

    /// The id that a message came with, else the one that its position makes.
    fn id_of(&self, message: &Message, position: Position) -> String {
        let shared = self.journal.shared();
        match message.envelope.id.as_str() {
            Some(id) => id.to_owned(),
            None => message::generated_id(shared.reader.uuid(), shared.epoch, position),
        }
    }

    /// Encodes and checksums on the caller's thread: the journal's only copies.
    fn submission(&self, envelope: Envelope, planned: Planned, scope: Scope) -> Submission {
        let fingerprint = self.fingerprint(&envelope, scope);
        let message = Arc::new(Message {
            envelope,
            plan: planned.plan,
        });
        let mut submission = Submission::new(message, fingerprint);
        if planned.on_full.contains(&OnFull::DeadLetter) {
            let dead_letters = planned
                .on_full
                .iter()
                .map(|what| *what == OnFull::DeadLetter);
            submission.dead_letter_when_full = dead_letters.collect();
        }
        submission
    }

    fn fingerprint(&self, envelope: &Envelope, scope: Scope) -> Option<Fingerprint> {
        let id = envelope.id.as_str()?;
        let hasher = &self.journal.shared().hasher;
        let key = self.key(&envelope.principal, &envelope.topic, id, scope);
        let derived = matches!(envelope.id, MessageId::Derived(_));
        Some(Fingerprint {
            key,
            content: hasher.content(envelope),
            derived,
        })
    }

    fn key(&self, principal: &str, topic: &str, id: &str, scope: Scope) -> u128 {
        let hasher = &self.journal.shared().hasher;
        identity_key(hasher, principal, topic, id, scope)
    }

    /// Waits until these ordinals are settled, and says how; `None` if the time is over first, or the
    /// gateway stops: then it must be answered while there are connections.
    async fn outcome(
        &self,
        position: Position,
        targets: &[(usize, LaneId)],
        ack_timeout: Duration,
    ) -> Option<Vec<DeliveryState>> {
        let shared = self.journal.shared();
        let at = |ordinal: usize| DeliveryId::new(position.0, ordinal as u16);
        let all = targets.iter().map(|(ordinal, _)| at(*ordinal)).collect();
        let waiting = shared.waiters.register(position, all);
        for (ordinal, lane) in targets {
            let state = shared.state_of(at(*ordinal), *lane);
            if state != DeliveryState::Stored {
                waiting.already_settled(at(*ordinal), state);
            }
        }
        tokio::select! {
            settled = tokio::time::timeout(ack_timeout, waiting.wait()) => settled.ok(),
            () = shared.waiters.over() => None,
        }
    }

    /// What became of the envelope at a position; `None` if nothing of it is left.
    pub async fn message_at(
        &self,
        principal: &str,
        position: Position,
    ) -> io::Result<Option<Receipt>> {
        let Some(found) = self.journal.targets_at(position).await? else {
            return Ok(None);
        };
        if found.principal.as_deref().is_some_and(|p| p != principal) {
            return Ok(None);
        }
        let shared = self.journal.shared();
        let made = found
            .epoch
            .map(|epoch| message::generated_id(shared.reader.uuid(), epoch, position));
        Ok(Some(Receipt {
            id: found.id.or(made),
            position: Some(position),
            duplicate: false,
            targets: shared.target_states(position, &found.targets).into(),
        }))
    }

    /// The same by id: a publisher's or derived one in its scope, or one that the journal made.
    pub async fn message_by_id(
        &self,
        principal: &str,
        id: &str,
        topic: &str,
    ) -> io::Result<Option<Receipt>> {
        let scope = self.generations.running().identities.scope_of(topic);
        let key = self.key(principal, topic, id, scope);
        if let Some((position, targets)) = self.journal.find(key).await? {
            return Ok(Some(Receipt {
                id: Some(id.to_owned()),
                position: Some(position),
                duplicate: false,
                targets: self
                    .journal
                    .shared()
                    .target_states(position, &targets)
                    .into(),
            }));
        }
        let Some((prefix, _, position)) = message::parse_generated(id) else {
            return Ok(None);
        };
        if prefix != message::uuid_prefix(self.journal.shared().reader.uuid()) {
            return Ok(None);
        }
        let found = self.message_at(principal, position).await?;
        Ok(found.filter(|receipt| receipt.id.as_deref() == Some(id)))
    }
}

fn planned_targets(message: &Message) -> Vec<(RouteId, LaneId)> {
    let targets = message.plan.targets.iter();
    targets.map(|t| (t.route, t.lane)).collect()
}

/// The targets of the last receipt: those of the next are mostly the same.
#[derive(Default)]
struct TargetMemo {
    planned: Vec<(RouteId, LaneId)>,
    shown: Arc<[TargetState]>,
}

impl TargetMemo {
    fn pending(&mut self, shared: &journal::Shared, targets: &[Target]) -> Arc<[TargetState]> {
        let planned = targets.iter().map(|target| (target.route, target.lane));
        if !planned.clone().eq(self.planned.iter().copied()) {
            self.planned = planned.collect();
            self.shown = shared.targets_in(DeliveryState::Stored, &self.planned);
        }
        Arc::clone(&self.shown)
    }
}
