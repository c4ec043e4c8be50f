//! What calls, callbacks and the keeper share: the producer in force, whether it may be used, and what the
//! keeper is to see to.
//!
//! Order: records are handed over under one lock, so that those of a key reach librdkafka as the lane gave
//! them. What isn't handed over bars the way for what follows it, until the call that says so has returned.

use super::call::{Call, Ticket};
use super::client::KafkaOptions;
use super::courier::words;
use super::producer::Producer;
use super::record::Record;
use super::topics::{Topics, Word};
use crate::egress::{NameBook, Verdict};
use crate::message::Delivery;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub struct Shared {
    pub name: Arc<str>,
    names: Arc<NameBook>,
    state: Mutex<State>,
    /// For the keeper.
    news: Condvar,
    /// The keeper has ended.
    over: watch::Sender<bool>,
}

pub struct State {
    options: Arc<KafkaOptions>,
    phase: Phase,
    producer: Option<Arc<Producer>>,
    pub topics: Topics,
    /// Calls that handed something over and haven't returned.
    calls: usize,
    /// Calls that couldn't hand all over and haven't returned.
    barred: usize,
    /// What the connection said last.
    complaint: Option<Complaint>,
    is_suspect: bool,
    /// That it is down was logged.
    is_told: bool,
    broken: Option<Arc<str>>,
    adopted: Option<Arc<KafkaOptions>>,
    is_ending: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Up,
    /// Nothing is handed over, and why.
    Down(Arc<str>),
    /// Likewise: the brokers say that we aren't who we should be.
    LockedOut(Arc<str>),
}

/// What a connection says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub words: Arc<str>,
    /// Of our credentials: no use to try again before something is mended.
    pub is_refusal: bool,
}

/// What the keeper is to do.
pub enum Task {
    /// To see whether the brokers answer, and to ask them about topics.
    Look,
    Renew(Arc<str>),
    Adopt(Arc<KafkaOptions>),
    End,
}

/// What one call has handed over. Dropped when it returns, also if nobody waits for it any more.
pub struct Sent {
    shared: Arc<Shared>,
    pub call: Arc<Call>,
    is_counted: bool,
    bars: bool,
}

impl Shared {
    pub fn new(name: Arc<str>, names: Arc<NameBook>, options: Arc<KafkaOptions>) -> Arc<Self> {
        let mut topics = Topics::default();
        ask_for_own(&mut topics, &options);
        Arc::new(Self {
            name,
            names,
            state: Mutex::new(State {
                options,
                phase: Phase::Down("not connected yet".into()),
                producer: None,
                topics,
                calls: 0,
                barred: 0,
                complaint: None,
                is_suspect: false,
                is_told: false,
                broken: None,
                adopted: None,
                is_ending: false,
            }),
            news: Condvar::new(),
            over: watch::Sender::new(false),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Doesn't wait for anything.
    pub fn hand_over(self: &Arc<Self>, deliveries: &[Delivery]) -> Sent {
        let call = Call::of(deliveries.len());
        let mut sent = Sent {
            shared: Arc::clone(self),
            call: Arc::clone(&call),
            is_counted: false,
            bars: false,
        };
        let mut state = self.state();
        for (index, delivery) in deliveries.iter().enumerate() {
            let ticket = Box::new(Ticket {
                call: Arc::clone(&call),
                index,
            });
            match state.send(delivery, &self.names, &self.name, ticket, &mut sent) {
                Ok(()) => sent.is_counted = true,
                Err(verdict) => call.fail(index, verdict),
            }
        }
        state.calls += usize::from(sent.is_counted);
        let has_asked = state.topics.is_asked();
        drop(state);
        if has_asked {
            self.news.notify_all();
        }
        call.count_down();
        sent
    }

    /// A record of this call has failed because of it: no later one of its key goes on before the lane knows.
    pub fn topic_is_gone(&self, topic: &str, call: &Call) {
        let topics = &mut self.state().topics;
        topics.forget(topic);
        call.hold(topic, || topics.hold(topic));
    }

    /// No broker is there.
    pub fn is_down(&self) {
        let mut state = self.state();
        if state.phase == Phase::Up {
            let phase = state.without_answer("no broker is there");
            // Brokers close what is idle: whether they answer is seen next.
            tracing::debug!(destination = %self.name, "{}", phase.words());
            state.phase = phase;
        }
        state.is_suspect = true;
        self.news.notify_all();
    }

    /// Something is wrong with a connection.
    pub fn is_suspect(&self, complaint: Complaint) {
        let mut state = self.state();
        state.complaint = Some(complaint);
        state.is_suspect = true;
        self.news.notify_all();
    }

    /// The producer can't be used any more.
    pub fn is_broken(&self, reason: &str) {
        let mut state = self.state();
        let why: Arc<str> = format!("a new producer is needed: {reason}").into();
        state.phase = Phase::Down(Arc::clone(&why));
        state.broken.get_or_insert(why);
        self.news.notify_all();
    }

    pub fn adopt(&self, options: Arc<KafkaOptions>) {
        let mut state = self.state();
        state.phase = Phase::Down("its settings have changed".into());
        state.adopted = Some(options);
        self.news.notify_all();
    }

    pub fn end(&self) {
        self.state().is_ending = true;
        self.news.notify_all();
    }

    pub fn is_ending(&self) -> bool {
        self.state().is_ending
    }

    pub fn has_ended(&self) {
        self.over.send_replace(true);
    }

    /// Waits until the keeper has ended.
    pub async fn ended(&self) {
        // The sender is here: there is no other end.
        let _ = self.over.subscribe().wait_for(|is_over| *is_over).await;
    }

    /// For the keeper: waits until there is something to do, which while it is down is to look again after a
    /// pause.
    pub fn next_task(&self, pause: Duration) -> Task {
        let again = Instant::now() + pause;
        let mut state = self.state();
        loop {
            if state.is_ending {
                return Task::End;
            }
            if let Some(options) = state.adopted.take() {
                return Task::Adopt(options);
            }
            if let Some(why) = state.broken.take() {
                return Task::Renew(why);
            }
            let is_up = state.phase == Phase::Up;
            let left = again.saturating_duration_since(Instant::now());
            if is_up && (state.is_suspect || state.topics.is_asked()) || !is_up && left.is_zero() {
                state.is_suspect = false;
                return Task::Look;
            }
            let wait = if is_up { Duration::MAX } else { left };
            state = self.wait(state, wait);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, wait: Duration) -> MutexGuard<'a, State> {
        /// No clock takes more.
        const LONGEST: Duration = Duration::from_secs(3_600);
        let waited = self.news.wait_timeout(state, wait.min(LONGEST));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until every call that handed something over has returned, so that nothing of the next producer
    /// overtakes it. Ends by itself: its callers are driven or dropped.
    pub fn wait_for_calls(&self) {
        let mut state = self.state();
        while state.calls > 0 && !state.is_ending {
            state = self.wait(state, Duration::MAX);
        }
    }
}

impl State {
    fn send(
        &mut self,
        delivery: &Delivery,
        names: &NameBook,
        name: &str,
        ticket: Box<Ticket>,
        sent: &mut Sent,
    ) -> Result<(), Verdict> {
        match &self.phase {
            Phase::Up => {}
            Phase::Down(why) => return Err(self.bar(sent, Arc::clone(why))),
            Phase::LockedOut(why) => {
                let why = Arc::clone(why);
                self.bar(sent, Arc::clone(&why));
                return Err(Verdict::fatal(why));
            }
        }
        if self.barred > 0 {
            return Err(self.bar(sent, "not sent: an earlier one is to be sent again".into()));
        }
        let options = Arc::clone(&self.options);
        let names = names.of(delivery, name);
        let record = Record::of(delivery, &names, &options).map_err(Verdict::reject)?;
        let topic = record.topic;
        match self.topics.word(topic, Instant::now()) {
            Word::HandOver => {}
            Word::Wait(why) => return Err(self.hold(sent, topic, why)),
            Word::Refuse(why) => return Err(Verdict::reject(why)),
        }
        let Some(producer) = &self.producer else {
            return Err(self.bar(sent, "a bug: there is no producer".into()));
        };
        let Err((error, _)) = producer.send(to_send(record, ticket)) else {
            return Ok(());
        };
        use RDKafkaErrorCode as Code;
        let code = match &error {
            KafkaError::MessageProduction(code) => *code,
            _ => return Err(Verdict::reject(error.to_string())),
        };
        let why = words(code);
        Err(match code {
            Code::MessageSizeTooLarge | Code::UnknownPartition | Code::InvalidTopic => {
                Verdict::reject(why)
            }
            Code::UnknownTopic | Code::UnknownTopicOrPartition => {
                self.topics.forget(topic);
                self.hold(sent, topic, why.into())
            }
            Code::QueueFull => self.bar(sent, why.into()),
            _ => {
                let why: Arc<str> = format!("a new producer is needed: {why}").into();
                self.phase = Phase::Down(Arc::clone(&why));
                self.broken.get_or_insert_with(|| Arc::clone(&why));
                self.bar(sent, why)
            }
        })
    }

    /// Nothing goes on before this call has returned.
    fn bar(&mut self, sent: &mut Sent, why: Arc<str>) -> Verdict {
        if !sent.bars {
            sent.bars = true;
            self.barred += 1;
        }
        Verdict::retry(why)
    }

    /// Nothing for this topic goes on before this call has returned.
    fn hold(&mut self, sent: &mut Sent, topic: &str, why: Arc<str>) -> Verdict {
        sent.call.hold(topic, || self.topics.hold(topic));
        Verdict::retry(why)
    }

    /// What it is in while no broker answers, by what the connection said last; else for this reason.
    pub fn without_answer(&self, reason: &str) -> Phase {
        let brokers = self.options.brokers.join(", ");
        let said = self.complaint.as_ref();
        let why = said.map_or(reason, |complaint| &complaint.words);
        let why = format!("no connection to Kafka at {brokers}: {why}").into();
        match said.is_some_and(|complaint| complaint.is_refusal) {
            true => Phase::LockedOut(why),
            false => Phase::Down(why),
        }
    }

    /// What is handed over goes to this one from now on.
    pub fn install(&mut self, producer: Arc<Producer>, options: &Arc<KafkaOptions>) {
        self.producer = Some(producer);
        self.options = Arc::clone(options);
        (self.broken, self.complaint) = (None, None);
        ask_for_own(&mut self.topics, options);
    }

    pub fn take_producer(&mut self, why: Arc<str>) {
        self.producer = None;
        self.phase = Phase::Down(why);
    }

    /// Unless something came up meanwhile that it has to see to first. Whether that is news.
    pub fn go_up(&mut self) -> bool {
        if self.broken.is_some() || self.adopted.is_some() || self.phase == Phase::Up {
            return false;
        }
        self.phase = Phase::Up;
        self.complaint = None;
        std::mem::take(&mut self.is_told)
    }

    /// Whether that is news.
    pub fn go_down(&mut self, phase: Phase) -> bool {
        self.phase = phase;
        !std::mem::replace(&mut self.is_told, true)
    }
}

impl Phase {
    /// Why nothing is handed over.
    pub fn words(&self) -> &str {
        match self {
            Self::Up => "",
            Self::Down(why) | Self::LockedOut(why) => why,
        }
    }
}

fn ask_for_own(topics: &mut Topics, options: &KafkaOptions) {
    if let Some(topic) = &options.topic {
        topics.word(topic, Instant::now());
    }
}

fn to_send(record: Record<'_>, ticket: Box<Ticket>) -> BaseRecord<'_, [u8], [u8], Box<Ticket>> {
    BaseRecord {
        topic: record.topic,
        partition: record.partition,
        payload: record.payload,
        key: record.key,
        timestamp: Some(record.timestamp),
        headers: Some(record.headers),
        delivery_opaque: ticket,
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.calls -= usize::from(self.is_counted);
        state.barred -= usize::from(self.bars);
        for topic in self.call.returns() {
            state.topics.release(&topic);
        }
        if state.calls == 0 {
            self.shared.news.notify_all();
        }
    }
}
