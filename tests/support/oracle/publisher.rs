//! Publishers: each sends its messages one after another, with the same id until it is answered,
//! and now and then repeats, contradicts or looks up an earlier one.

use super::content::{Message, Name, message};
use super::violation::{Kind, Violation};
use crate::support::client::{Client, Response, Trouble, encoded};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Shorter than the longest pauses, so that some requests are repeated while the first still waits.
const ANSWER_LIMIT: Duration = Duration::from_millis(700);
/// How long a publisher goes on with its last message after the run's end.
pub const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Out of so many messages, one is followed by a repetition (a conflict, a look-up).
const REPEAT_ONE_IN: u32 = 12;
const CONFLICT_ONE_IN: u32 = 40;
const LOOK_UP_ONE_IN: u32 = 20;
/// Repetitions go back this far, so that they cross restarts.
const REPEAT_WITHIN: usize = 2_000;

/// `POISON`, as a header of the message.
const POISON_HEADER: &str = "causeway-header-poison";

/// What all publishers of a run share.
pub struct Shared {
    pub seed: u64,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// Set: no new messages.
    pub stop: AtomicBool,
    /// A publisher stops by itself after so many messages.
    pub messages_each: u32,
    /// Of the gateway, so far: counted right before each.
    pub kills: AtomicUsize,
}

impl Shared {
    pub fn new(seed: u64, http: SocketAddr, grpc: SocketAddr, messages_each: u32) -> Self {
        Self {
            seed,
            http,
            grpc,
            messages_each,
            stop: AtomicBool::new(false),
            kills: AtomicUsize::new(0),
        }
    }
}

/// A message whose receipt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    pub name: Name,
    pub position: u64,
}

#[derive(Debug, Default)]
pub struct Published {
    /// In the order of publishing.
    pub acked: Vec<Acked>,
    /// Sent, perhaps more than once, and never answered.
    pub unanswered: Vec<Name>,
    pub repeated: usize,
    pub conflicts: usize,
    pub looked_up: usize,
    pub refusals: usize,
    /// Lines that had to wait for an earlier one of their key.
    pub held_back: usize,
    pub batches: usize,
    /// Batches of which a kill left some lines with a result and some without.
    pub batches_cut: usize,
    pub violations: Vec<Violation>,
}

pub struct Publisher<'a> {
    shared: &'a Shared,
    number: u32,
    client: Client,
    random: fastrand::Rng,
    out: Published,
}

/// A request that may be sent again came to an end.
enum End {
    Answer { response: Response, sent: u32 },
    OutOfTime,
}

impl<'a> Publisher<'a> {
    pub fn new(shared: &'a Shared, number: u32) -> Self {
        Self {
            shared,
            number,
            client: Client::new(shared.http, ANSWER_LIMIT),
            random: fastrand::Rng::with_seed(shared.seed.wrapping_add(u64::from(number))),
            out: Published::default(),
        }
    }

    /// Publishes until the run stops; judges every answer.
    pub fn run(mut self) -> Published {
        for number in 0..self.shared.messages_each {
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let name = Name {
                publisher: self.number,
                number,
            };
            if !self.publish(name) {
                self.out.unanswered.push(name);
                break;
            }
            if self.random.u32(..REPEAT_ONE_IN) == 0 {
                self.repeat();
            }
            if self.random.u32(..CONFLICT_ONE_IN) == 0 {
                self.contradict();
            }
            if self.random.u32(..LOOK_UP_ONE_IN) == 0 {
                self.look_up();
            }
        }
        self.out
    }

    fn publish(&mut self, name: Name) -> bool {
        let message = message(self.shared.seed, name);
        let end = self.until_answered(&message);
        let End::Answer { response, sent } = end else {
            return false;
        };
        match single_receipt(&response, &message.id) {
            Ok(receipt) => {
                if receipt.duplicate && sent == 1 {
                    self.wrong(
                        Kind::Identity,
                        &message,
                        &response,
                        "sent once, yet a duplicate",
                    );
                }
                if let Some(last) = self.out.acked.last()
                    && last.position >= receipt.position
                {
                    let why = format!("{:?} was before it", *last);
                    self.wrong(Kind::Numbering, &message, &response, &why);
                }
                self.out.acked.push(Acked {
                    name,
                    position: receipt.position,
                });
            }
            Err(why) => self.wrong(Kind::Answer, &message, &response, &why),
        }
        true
    }

    fn earlier(&mut self) -> Option<Acked> {
        let all = &self.out.acked;
        let from = all.len().saturating_sub(REPEAT_WITHIN);
        self.random.choice(&all[from..]).copied()
    }

    /// The same id and content again: the same position, and it says that it is a duplicate.
    fn repeat(&mut self) {
        let Some(earlier) = self.earlier() else {
            return;
        };
        let message = message(self.shared.seed, earlier.name);
        let End::Answer { response, .. } = self.until_answered(&message) else {
            return;
        };
        self.out.repeated += 1;
        match single_receipt(&response, &message.id) {
            Ok(receipt) if receipt.duplicate && receipt.position == earlier.position => {}
            Ok(_) => {
                let why = format!("a repetition of position {}", earlier.position);
                self.wrong(Kind::Identity, &message, &response, &why);
            }
            Err(why) => self.wrong(Kind::Answer, &message, &response, &why),
        }
    }

    /// The same id with another payload: refused.
    fn contradict(&mut self) {
        let Some(earlier) = self.earlier() else {
            return;
        };
        let mut message = message(self.shared.seed, earlier.name);
        message.payload.extend_from_slice(b" ");
        let End::Answer { response, .. } = self.until_answered(&message) else {
            return;
        };
        self.out.conflicts += 1;
        if response.status != 422 {
            let why = format!("contradicts position {}", earlier.position);
            self.wrong(Kind::Identity, &message, &response, &why);
        }
    }

    fn look_up(&mut self) {
        let Some(earlier) = self.earlier() else {
            return;
        };
        let message = message(self.shared.seed, earlier.name);
        if let Some(response) = look_up(&mut self.client, &message) {
            self.out.looked_up += 1;
            if let Err(why) = looked_up(&response, earlier) {
                self.wrong(Kind::LookUp, &message, &response, &why);
            }
        }
    }

    /// Sends it until there is an answer that isn't "later".
    fn until_answered(&mut self, message: &Message) -> End {
        let target = format!("/v1/topics/{}", message.topic);
        let mut headers = vec![
            ("idempotency-key", message.id.as_str()),
            ("content-type", message.content_type),
        ];
        if let Some(key) = &message.key {
            headers.push(("causeway-key", key));
        }
        if message.poisoned {
            headers.push((POISON_HEADER, "1"));
        }
        let mut sent = 0;
        let mut stop_at = None;
        loop {
            match self.client.post(&target, &headers, &message.payload) {
                Ok(response) if matches!(response.status, 429 | 503 | 504) => {
                    // Not taken, or taken with its outcome pending: both are asked again.
                    sent += u32::from(response.status == 504);
                    self.out.refusals += 1;
                }
                Ok(response) => {
                    return End::Answer {
                        response,
                        sent: sent + 1,
                    };
                }
                Err(Trouble::InDoubt(_)) => sent += 1,
                Err(Trouble::NotSent(_)) => {}
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                let now = Instant::now();
                if now > *stop_at.get_or_insert(now + LAST_ANSWER_LIMIT) {
                    return End::OutOfTime;
                }
            }
            thread::sleep(Duration::from_micros(self.random.u64(500..8_000)));
        }
    }

    fn wrong(&mut self, kind: Kind, message: &Message, response: &Response, why: &str) {
        let detail = format!("publish of {}: {why}: {response}", message.id);
        self.out.violations.push(Violation::new(kind, detail));
    }
}

fn single_receipt(response: &Response, id: &str) -> Result<Receipt, String> {
    receipt(response.status.into(), &response.json()?, id)
}

pub struct Receipt {
    pub position: u64,
    pub duplicate: bool,
}

/// # Errors
/// What is wrong with it, if it doesn't say that the message is taken.
pub fn receipt(status: u64, json: &Value, id: &str) -> Result<Receipt, String> {
    if !matches!(status, 200 | 202) {
        return Err("refused".to_owned());
    }
    let position = json["position"].as_u64().ok_or("no position")?;
    let duplicate = json["duplicate"].as_bool().ok_or("no duplicate")?;
    let state = json["state"].as_str().ok_or("no state")?;
    if json["id"].as_str() != Some(id) {
        return Err("another id".to_owned());
    }
    if status == 200 && state != "delivered" {
        return Err("200 is for what is delivered".to_owned());
    }
    Ok(Receipt {
        position,
        duplicate,
    })
}

/// None if there was no answer: the gateway may be down.
pub fn look_up(client: &mut Client, message: &Message) -> Option<Response> {
    let (id, topic) = (encoded(&message.id), encoded(&message.topic));
    let answer = client.get(&format!("/v1/messages?id={id}&topic={topic}"));
    answer.ok().filter(|response| response.status != 503)
}

/// The state that a look-up gave, if it agrees with the receipt.
///
/// # Errors
/// How it contradicts it.
pub fn looked_up(response: &Response, acked: Acked) -> Result<String, String> {
    let json: Value = match response.status {
        200 => response.json()?,
        _ => return Err(format!("acknowledged at {}, not found", acked.position)),
    };
    if json["position"].as_u64() != Some(acked.position) {
        return Err(format!("acknowledged at {}", acked.position));
    }
    let state = json["state"].as_str().ok_or("no state")?;
    if !matches!(
        state,
        "stored" | "delivered" | "dead_lettered" | "discarded"
    ) {
        return Err(format!("neither pending nor settled but {state:?}"));
    }
    Ok(state.to_owned())
}
