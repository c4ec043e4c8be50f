//! The thread that keeps a destination's producer: it connects, asks about topics, and makes a new producer
//! where the old one can't go on. All that blocks is here.

use super::client::{BATCH_BYTES, KafkaOptions, OAUTHBEARER};
use super::courier::{Courier, nobody};
use super::producer::Producer;
use super::shared::{Phase, Shared, Task};
use super::topics::Standing;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer as _, PurgeConfig};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of brokers, to a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// While there is no connection.
const PAUSE: Duration = Duration::from_millis(100);
/// While our credentials are refused: whoever mends them isn't locked out for good by our tries.
const LOCKED_OUT_PAUSE: Duration = Duration::from_secs(3);
/// Between a producer that broke and the next.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);
/// What is in flight at the end of a lane may still be confirmed for so long.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// What a producer had sent when it failed for good may still be answered for so long: it sends nothing more.
const FATAL_LIMIT: Duration = Duration::from_secs(1);
/// What a purge gives back comes at once.
const PURGE_LIMIT: Duration = Duration::from_secs(5);
/// Asked for to see whether anybody answers, where no topic is known: every cluster answers something.
const ANY_TOPIC: &str = "__consumer_offsets";
/// What a topic takes that doesn't say it: Kafka's default.
const USUAL_RECORD_BATCH_BYTES: usize = 1_048_588;
/// What isn't a record in a batch.
const BATCH_HEAD_BYTES: usize = 256;

pub struct Keeper {
    shared: Arc<Shared>,
    options: Arc<KafkaOptions>,
    /// No larger batch is sent.
    batch_bytes: usize,
}

/// Why a producer is given up.
enum Why {
    Broken(Arc<str>),
    Adopt(Arc<KafkaOptions>),
    /// A topic takes smaller batches only.
    Smaller(usize),
    End,
}

impl Keeper {
    pub const fn new(shared: Arc<Shared>, options: Arc<KafkaOptions>) -> Self {
        Self {
            shared,
            options,
            batch_bytes: BATCH_BYTES,
        }
    }

    /// Until the destination is closed or dropped.
    pub fn run(self) {
        let shared = Arc::clone(&self.shared);
        self.keep();
        shared.has_ended();
    }

    fn keep(mut self) {
        loop {
            let why = match self.producer() {
                Ok(producer) => {
                    let why = self.serve(&producer);
                    self.retire(producer, &why);
                    why
                }
                Err(why) => self.without(why),
            };
            let why = match why {
                Why::Broken(_) => self.rest(),
                why => Some(why),
            };
            match why {
                Some(Why::End) => return,
                Some(Why::Smaller(bytes)) => self.batch_bytes = bytes,
                Some(Why::Adopt(options)) => {
                    (self.options, self.batch_bytes) = (options, BATCH_BYTES);
                    self.shared.state().topics.forget_all();
                }
                Some(Why::Broken(_)) | None => {}
            }
        }
    }

    /// After a producer that broke: what comes meanwhile.
    fn rest(&self) -> Option<Why> {
        let end = Instant::now() + RENEWAL_PAUSE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.shared.next_task(left) {
                Task::End => return Some(Why::End),
                Task::Adopt(options) => return Some(Why::Adopt(options)),
                _ if left.is_zero() => return None,
                Task::Look | Task::Renew(_) => {}
            }
        }
    }

    fn producer(&self) -> Result<Arc<Producer>, String> {
        let config = self.options.client(self.batch_bytes);
        let courier = Courier::of(&self.shared, self.options.sasl.clone());
        let producer = Arc::new(Producer::new(&config, courier)?);
        let mut state = self.shared.state();
        state.install(Arc::clone(&producer), &self.options);
        Ok(producer)
    }

    /// No producer can be made of these settings, or now.
    fn without(&self, why: String) -> Why {
        let why: Arc<str> = format!("no Kafka producer can be made: {why}").into();
        if self.shared.state().go_down(Phase::Down(Arc::clone(&why))) {
            tracing::error!(destination = %self.shared.name, "{why}");
        }
        Why::Broken(why)
    }

    /// Until the producer has to go.
    fn serve(&self, producer: &Producer) -> Why {
        loop {
            let pause = match self.look(producer) {
                Ok(Some(smaller)) => return Why::Smaller(smaller),
                Ok(None) => {
                    if self.shared.state().go_up() {
                        tracing::info!(destination = %self.shared.name, "connected to Kafka");
                    }
                    PAUSE
                }
                Err(error) => self.has_no_answer(&error),
            };
            match self.shared.next_task(pause) {
                Task::Look => {}
                Task::Renew(why) => return Why::Broken(why),
                Task::Adopt(options) => return Why::Adopt(options),
                Task::End => return Why::End,
            }
        }
    }

    /// How long it is no use to look again.
    fn has_no_answer(&self, error: &KafkaError) -> Duration {
        let mut state = self.shared.state();
        let why = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::OperationTimedOut) => {
                format!("no answer within {ANSWER_LIMIT:?}")
            }
            Some(code) => code.to_string(),
            None => error.to_string(),
        };
        let phase = state.without_answer(&why);
        if state.go_down(phase.clone()) {
            tracing::warn!(destination = %self.shared.name, "{}", phase.words());
        }
        match phase {
            Phase::LockedOut(_) => LOCKED_OUT_PAUSE,
            Phase::Up | Phase::Down(_) => PAUSE,
        }
    }

    /// Whether the brokers answer, and what they say of the topics that were asked for. The size of batches, if
    /// one of these takes only smaller ones than this producer makes.
    fn look(&self, producer: &Producer) -> Result<Option<usize>, KafkaError> {
        let asked = self.shared.state().topics.take_asked();
        if asked.is_empty() {
            let topic = self.options.topic.as_deref().unwrap_or(ANY_TOPIC);
            producer
                .client()
                .fetch_metadata(Some(topic), ANSWER_LIMIT)?;
            return Ok(None);
        }
        let mut standings = Vec::with_capacity(asked.len());
        for (n, name) in asked.iter().enumerate() {
            match self.standing(producer, name) {
                Ok(standing) => standings.push((Arc::clone(name), standing)),
                Err(error) => {
                    self.shared.state().topics.put_back(asked[n..].to_vec());
                    self.set(standings);
                    return Err(error);
                }
            }
        }
        let there = standings.iter().filter(|(_, s)| *s == Standing::There);
        let there: Vec<&str> = there.map(|(name, _)| &**name).collect();
        let smallest = self.smallest_batch(&there);
        let smaller = (smallest < self.batch_bytes).then_some(smallest);
        if smaller.is_some() {
            let why = "one of its topics takes smaller batches only";
            self.shared.state().take_producer(why.into());
        }
        self.set(standings);
        Ok(smaller)
    }

    fn set(&self, standings: Vec<(Arc<str>, Standing)>) {
        let mut state = self.shared.state();
        for (name, standing) in standings {
            state.topics.set(&name, standing);
        }
    }

    fn standing(&self, producer: &Producer, name: &str) -> Result<Standing, KafkaError> {
        let metadata = producer.client().fetch_metadata(Some(name), ANSWER_LIMIT)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        let code = topic.and_then(|topic| topic.error());
        let code = code.map(RDKafkaErrorCode::from);
        let say = |code: RDKafkaErrorCode| format!("the topic {name:?}: {code}").into();
        Ok(match code {
            None | Some(RDKafkaErrorCode::LeaderNotAvailable) => Standing::There,
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => match self.options.create {
                None => Standing::Missing(say(RDKafkaErrorCode::UnknownTopicOrPartition)),
                Some((partitions, copies)) => {
                    Standing::Missing(self.create(name, partitions, copies))
                }
            },
            Some(
                code
                @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::InvalidTopic),
            ) => Standing::Refused(say(code), Instant::now()),
            Some(code) => Standing::Missing(say(code)),
        })
    }

    /// What is to be said until it is there.
    fn create(&self, name: &str, partitions: i32, copies: i32) -> Arc<str> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
        let created = self
            .admin(|admin, options| async move { admin.create_topics([&topic], &options).await });
        match created.map(|results| results.into_iter().next()) {
            Ok(Some(Ok(_)) | None) => {
                tracing::info!(destination = %self.shared.name, topic = name, partitions, "created the topic");
                format!("the topic {name:?} is being created").into()
            }
            Ok(Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => {
                format!("the topic {name:?} is being created").into()
            }
            Ok(Some(Err((_, code)))) => {
                format!("the topic {name:?} can't be created: {code}").into()
            }
            Err(why) => format!("the topic {name:?} can't be created: {why}").into(),
        }
    }

    /// Kafka refuses a batch, with all that is in it, that is larger than its topic's `max.message.bytes`, and
    /// librdkafka doesn't take it apart: so none is made that the smallest of the topics wouldn't take.
    fn smallest_batch(&self, topics: &[&str]) -> usize {
        let login = self.options.sasl.as_ref();
        // Clients for questions never get a token: they would wait in vain.
        let has_no_answer = login.is_some_and(|login| login.mechanism == OAUTHBEARER);
        if topics.is_empty() || has_no_answer {
            return self.batch_bytes;
        }
        let specifiers: Vec<_> = topics
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let described = self.admin(|admin, options| async move {
            admin.describe_configs(&specifiers, &options).await
        });
        let limits = match described {
            Ok(results) => results,
            Err(why) => {
                tracing::debug!(destination = %self.shared.name, "the limits of topics aren't known: {why}");
                return self.batch_bytes;
            }
        };
        let limits = limits.into_iter().flatten().filter_map(|resource| {
            let entry = resource.get("max.message.bytes")?;
            entry.value.as_ref()?.parse().ok()
        });
        let smallest: usize = limits.min().unwrap_or(USUAL_RECORD_BATCH_BYTES);
        let bytes = smallest.saturating_sub(BATCH_HEAD_BYTES).max(1);
        bytes.min(self.batch_bytes)
    }

    /// A client of its own, for one question.
    fn admin<F, A, T>(&self, ask: F) -> Result<T, String>
    where
        F: FnOnce(Arc<AdminClient<Courier>>, AdminOptions) -> A,
        A: Future<Output = Result<T, KafkaError>>,
    {
        let config = self.options.client(self.batch_bytes);
        let admin: AdminClient<Courier> = config
            .create_with_context(nobody(self.options.sasl.clone()))
            .map_err(|e| e.to_string())?;
        let options = AdminOptions::new()
            .request_timeout(Some(ANSWER_LIMIT))
            .operation_timeout(Some(ANSWER_LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|e| e.to_string())?;
        let answer = runtime.block_on(ask(Arc::new(admin), options));
        answer.map_err(|e| e.to_string())
    }

    /// When this returns all that was handed to it is settled, and the calls that did it have returned.
    fn retire(&self, producer: Arc<Producer>, why: &Why) {
        let (patience, words): (_, Arc<str>) = match why {
            Why::Broken(why) if producer.client().fatal_error().is_some() => {
                (FATAL_LIMIT, Arc::clone(why))
            }
            // Its later records would overtake what failed.
            Why::Broken(why) => (Duration::ZERO, Arc::clone(why)),
            Why::Adopt(_) => (self.options.timeout, "its settings have changed".into()),
            Why::Smaller(_) => (self.options.timeout, "batches become smaller".into()),
            Why::End => (CLOSE_LIMIT, "it is closed".into()),
        };
        self.shared.state().take_producer(words);
        let is_done = !patience.is_zero() && producer.flush(patience).is_ok();
        if !is_done {
            self.take_back(&producer);
        }
        // The last one: its own threads end here.
        drop(producer);
        self.shared.wait_for_calls();
    }

    /// A call whose records aren't given back would never return, and with its lane nothing would go on: so
    /// the producer lives until they are. One of its threads may hang in a look-up of a name.
    fn take_back(&self, producer: &Producer) {
        producer.purge(PurgeConfig::default().queue().inflight());
        while let Err(error) = producer.flush(PURGE_LIMIT) {
            if self.shared.is_ending() {
                return;
            }
            tracing::warn!(destination = %self.shared.name, "what was in flight isn't given back yet: {error}");
            producer.purge(PurgeConfig::default().queue().inflight());
        }
    }
}
