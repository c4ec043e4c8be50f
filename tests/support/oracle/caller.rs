//! Publishers over gRPC, in each of its ways: they send their open messages, and again, with the same ids and
//! in the same order, until each has its receipt; now and then one behind them that repeats or contradicts
//! an earlier one.

use super::content::{FIRST_CALLER, How, Message, Name, POISON, message};
use super::publisher::{Acked, LAST_ANSWER_LIMIT, Published, Shared};
use super::violation::{Kind, Violation};
use crate::support::grpc::{self, Client, Why, endpoint, v1};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tonic::{Code, Status};

/// Many in flight: none waits for another's answer.
const MESSAGES: usize = 200;
/// Shorter than the longest pauses, so that some are sent again while the first still waits.
const ANSWER_LIMIT: Duration = Duration::from_millis(700);
/// Out of so many exchanges, one has a repetition (a conflict) as its last message.
const REPEAT_ONE_IN: u32 = 3;
const CONFLICT_ONE_IN: u32 = 8;

pub struct Caller<'a> {
    shared: &'a Shared,
    random: fastrand::Rng,
    number: u32,
    how: How,
    runtime: Runtime,
    client: Option<Client>,
    /// Of the next new message.
    next: u32,
    /// Without a receipt, in the order of their numbers.
    open: Vec<Open>,
    /// Of each key the last receipt.
    last: HashMap<String, Acked>,
    out: Published,
}

struct Open {
    name: Name,
    /// It may have been taken already, though no receipt came.
    in_doubt: bool,
}

/// A last message that must be answered like an earlier one.
#[derive(Clone, Copy)]
enum Probe {
    Repeat(Acked),
    Contradict(Acked),
}

/// What came back for one message; none if its connection broke or took too long.
type Answered = Option<Result<v1::Receipt, Why>>;

impl<'a> Caller<'a> {
    pub fn new(shared: &'a Shared, number: u32) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            shared,
            random: fastrand::Rng::with_seed(shared.seed.wrapping_add(u64::from(number))),
            number,
            how: How::of(number - FIRST_CALLER),
            runtime: runtime.expect("a runtime"),
            client: None,
            next: 0,
            open: Vec::new(),
            last: HashMap::new(),
            out: Published::default(),
        }
    }

    /// Publishes until the run stops; judges every answer.
    pub fn run(mut self) -> Published {
        let mut give_up_at = None;
        loop {
            let size = match self.how {
                How::One => 1,
                _ => self.random.usize(1..=MESSAGES),
            };
            if self.shared.stop.load(Ordering::Relaxed) {
                let now = Instant::now();
                if now > *give_up_at.get_or_insert(now + LAST_ANSWER_LIMIT) {
                    break;
                }
            } else {
                self.open_new(size);
            }
            if self.open.is_empty() {
                break;
            }
            self.send(size);
            let pause = Duration::from_micros(self.random.u64(500..8_000));
            std::thread::sleep(pause);
        }
        let in_doubt = self.open.iter().filter(|open| open.in_doubt);
        self.out.unanswered = in_doubt.map(|open| open.name).collect();
        self.out
    }

    fn open_new(&mut self, size: usize) {
        while self.open.len() < size && self.next < self.shared.messages_each {
            let name = Name {
                publisher: self.number,
                number: self.next,
            };
            self.next += 1;
            self.open.push(Open {
                name,
                in_doubt: false,
            });
        }
    }

    /// The first `size` of the open messages.
    fn send(&mut self, size: usize) {
        let seed = self.shared.seed;
        let open = self.open.iter().take(size);
        let messages: Vec<Message> = open.map(|open| message(seed, open.name)).collect();
        let mut sent: Vec<v1::Message> = messages.iter().map(as_sent).collect();
        let probe = self.probe();
        sent.extend(probe.map(|probe| self.probe_message(probe)));
        let kills = self.shared.kills.load(Ordering::SeqCst);
        let Some(mut answers) = self.exchange(sent) else {
            return;
        };
        let was_killed = kills != self.shared.kills.load(Ordering::SeqCst);
        let answered = answers.iter().flatten().count();
        self.out.batches += 1;
        if was_killed && (1..answers.len()).contains(&answered) {
            self.out.batches_cut += 1;
        }
        if let Some(probe) = probe
            && let Some(Some(answer)) = answers.pop()
        {
            self.judge_probe(probe, answer);
        }
        self.judge(&messages, answers);
    }

    fn probe(&mut self) -> Option<Probe> {
        if self.how == How::One {
            // One message at a time is one message at a time.
            return None;
        }
        let earlier = self.random.choice(&self.out.acked).copied()?;
        if self.random.u32(..CONFLICT_ONE_IN) == 0 {
            return Some(Probe::Contradict(earlier));
        }
        (self.random.u32(..REPEAT_ONE_IN) == 0).then_some(Probe::Repeat(earlier))
    }

    fn probe_message(&self, probe: Probe) -> v1::Message {
        let (Probe::Repeat(earlier) | Probe::Contradict(earlier)) = probe;
        let mut message = message(self.shared.seed, earlier.name);
        if let Probe::Contradict(_) = probe {
            message.payload.push(b' ');
        }
        as_sent(&message)
    }

    /// An answer or none for each; none at all if nobody is there.
    fn exchange(&mut self, sent: Vec<v1::Message>) -> Option<Vec<Answered>> {
        let (grpc, how) = (self.shared.grpc, self.how);
        let client = self.client.take();
        let exchange = async {
            let mut client = match client {
                Some(client) => client,
                None => {
                    let connecting = timeout(ANSWER_LIMIT, endpoint(grpc).connect()).await;
                    Client::new(connecting.ok()?.ok()?)
                }
            };
            let (answers, is_whole) = match how {
                How::One | How::Batch => called(&mut client, how, sent).await,
                How::Ordered | How::Unordered => streamed(&mut client, how, sent).await,
            };
            Some((answers, is_whole.then_some(client)))
        };
        let (answers, client) = self.runtime.block_on(exchange)?;
        self.client = client;
        Some(answers)
    }

    fn judge(&mut self, messages: &[Message], answers: Vec<Answered>) {
        let mut refused_keys = HashSet::new();
        let mut is_broken = false;
        let mut is_closed = vec![false; messages.len()];
        for (i, (message, answer)) in messages.iter().zip(answers).enumerate() {
            let Some(answer) = answer else {
                self.open[i].in_doubt = true;
                continue;
            };
            match answer {
                Ok(receipt) => {
                    let is_behind = match self.how {
                        How::Ordered => is_broken,
                        How::Batch => message
                            .key
                            .as_ref()
                            .is_some_and(|k| refused_keys.contains(k)),
                        How::One | How::Unordered => false,
                    };
                    self.judge_receipt(i, message, &receipt, is_behind);
                    is_closed[i] = true;
                }
                Err(why) if why.is(Code::DeadlineExceeded, "OUTCOME_PENDING") => {
                    // Stored; asked again.
                    self.out.refusals += 1;
                    self.open[i].in_doubt = true;
                }
                Err(why) if is_for_later(&why) => {
                    self.out.refusals += 1;
                    self.out.held_back += usize::from(why.reason == "EARLIER_REFUSED");
                    refused_keys.extend(message.key.clone());
                    is_broken = true;
                }
                Err(why) => {
                    self.wrong(Kind::Answer, &message.id, &format!("refused: {why:?}"));
                    is_closed[i] = true;
                }
            }
        }
        let mut is_closed = is_closed.into_iter();
        self.open.retain(|_| !is_closed.next().unwrap_or(false));
    }

    fn judge_receipt(
        &mut self,
        open: usize,
        message: &Message,
        receipt: &v1::Receipt,
        is_behind: bool,
    ) {
        let Open { name, in_doubt } = self.open[open];
        let id = &message.id;
        let Some(position) = receipt.position else {
            return self.wrong(Kind::Answer, id, "a receipt without a position");
        };
        let acked = Acked { name, position };
        self.out.acked.push(acked);
        if receipt.id != *id {
            self.wrong(Kind::Answer, id, &format!("a receipt of {}", receipt.id));
        }
        if receipt.duplicate && !in_doubt {
            let why = format!("taken never before, yet a duplicate at {position}");
            self.wrong(Kind::Identity, id, &why);
        }
        if !receipt.duplicate && is_behind {
            let why = format!("taken at {position} behind a refused one that it must not overtake");
            self.wrong(Kind::OutOfOrder, id, &why);
        }
        if let Some(key) = &message.key
            && let Some(before) = self.last.insert(key.clone(), acked)
            && (before.name < name) != (before.position < position)
        {
            self.wrong(
                Kind::Numbering,
                id,
                &format!("{position}: {before:?} was before it"),
            );
        }
    }

    fn judge_probe(&mut self, probe: Probe, answer: Result<v1::Receipt, Why>) {
        if let Err(why) = &answer
            && (is_for_later(why) || why.reason == "OUTCOME_PENDING")
        {
            self.out.refusals += 1;
            return;
        }
        match (probe, answer) {
            (Probe::Repeat(earlier), Ok(receipt))
                if receipt.duplicate && receipt.position == Some(earlier.position) =>
            {
                self.out.repeated += 1;
            }
            (Probe::Contradict(_), Err(why)) if why.is(Code::AlreadyExists, "ID_CONFLICT") => {
                self.out.conflicts += 1;
            }
            (Probe::Repeat(earlier), answer) => {
                let why = format!("a repetition of position {}: {answer:?}", earlier.position);
                self.wrong(Kind::Identity, &earlier.name.id(), &why);
            }
            (Probe::Contradict(earlier), answer) => {
                let why = format!("contradicts position {}: {answer:?}", earlier.position);
                self.wrong(Kind::Identity, &earlier.name.id(), &why);
            }
        }
    }

    fn wrong(&mut self, kind: Kind, id: &str, why: &str) {
        let detail = format!("{:?} call of {id}: {why:.300}", self.how);
        self.out.violations.push(Violation::new(kind, detail));
    }
}

/// One of Publish, or one of PublishBatch; and whether its connection may go on.
async fn called(client: &mut Client, how: How, sent: Vec<v1::Message>) -> (Vec<Answered>, bool) {
    let count = sent.len();
    let call = async {
        if how == How::Batch {
            let request = v1::PublishBatchRequest { messages: sent };
            let answer = client.publish_batch(request).await?.into_inner();
            return Ok(answer
                .results
                .into_iter()
                .map(|r| grpc::result(Some(r)))
                .collect());
        }
        let message = sent.into_iter().next().expect("one");
        let answer = client.publish(grpc::publish(message)).await?.into_inner();
        Ok::<_, Status>(vec![Ok(answer.receipt.expect("a receipt"))])
    };
    match timeout(ANSWER_LIMIT, call).await {
        Ok(Ok(results)) => {
            let mut answers: Vec<Answered> = results.into_iter().map(Some).collect();
            answers.resize_with(count, || None);
            (answers, true)
        }
        Ok(Err(status)) if is_told(&status) => {
            let why = grpc::why(&status);
            (vec![Some(Err(why)); count], true)
        }
        Ok(Err(_)) | Err(_) => (std::iter::repeat_with(|| None).take(count).collect(), false),
    }
}

async fn streamed(client: &mut Client, how: How, sent: Vec<v1::Message>) -> (Vec<Answered>, bool) {
    let mut answers: Vec<Answered> = vec![None; sent.len()];
    let requests = sent
        .into_iter()
        .enumerate()
        .map(move |(i, message)| v1::PublishStreamRequest {
            sequence: i as u64,
            message: Some(message),
            ordered: how == How::Ordered,
        });
    let requests = futures_util::stream::iter(requests.collect::<Vec<_>>());
    let Ok(Ok(stream)) = timeout(ANSWER_LIMIT, client.publish_stream(requests)).await else {
        return (answers, false);
    };
    let mut stream = stream.into_inner();
    let mut expected = 0;
    loop {
        match timeout(ANSWER_LIMIT, stream.message()).await {
            Ok(Ok(Some(answer))) => {
                let at = usize::try_from(answer.sequence).expect("ours");
                assert!(answers[at].is_none(), "{at} was answered twice");
                assert!(
                    how == How::Unordered || at == expected,
                    "{at} before {expected}"
                );
                expected += 1;
                answers[at] = Some(grpc::result(answer.result));
            }
            Ok(Ok(None)) => return (answers, true),
            Ok(Err(_)) | Err(_) => return (answers, false),
        }
    }
}

/// Whether it is the gateway's own word, and not of a connection that broke.
fn is_told(status: &Status) -> bool {
    use tonic_types::StatusExt;
    status.get_error_details().error_info().is_some()
}

/// Not taken now: the same may be taken later.
fn is_for_later(why: &Why) -> bool {
    matches!(why.code, Code::ResourceExhausted | Code::Unavailable)
        || why.is(Code::Aborted, "EARLIER_REFUSED")
}

fn as_sent(message: &Message) -> v1::Message {
    let poison = v1::Header {
        name: POISON.to_owned(),
        value: "1".into(),
    };
    v1::Message {
        topic: message.topic.clone(),
        id: message.id.clone(),
        key: message.key.clone().unwrap_or_default().into(),
        headers: message.poisoned.then_some(poison).into_iter().collect(),
        content_type: message.content_type.to_owned(),
        payload: Some(message.payload.clone().into()),
        ..v1::Message::default()
    }
}
