//! The scriptable destination of the test build: it confirms, refuses, hangs and forgets as it
//! is told, and writes down what it received, so that an oracle can read order and doubles.

mod script;
#[cfg(test)]
mod tests;

pub use script::{Script, ScriptError};

use super::{Attempted, KeyOrder, Shape, Verdict};
use crate::message::{Delivery, DeliveryId, Epoch};
use bytes::Bytes;
use script::{Action, Rule};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Clones share everything: one of them in a test's hand controls the one in the lane.
#[derive(Clone, Debug)]
pub struct Faulty {
    key_order: KeyOrder,
    shape: Shape,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    script: Script,
    /// Of one attempt; `None` waits for ever.
    timeout: Option<Duration>,
    rng: fastrand::Rng,
    /// How often each rule met a delivery.
    met: Vec<u64>,
    /// Attempts of each delivery that a rule with `first` asked for.
    attempts: HashMap<DeliveryId, u64>,
    /// Of one that is pipelined: keys that failed in calls that haven't returned, how often.
    failing: HashMap<Bytes, u64>,
    received: Received,
}

#[derive(Debug)]
enum Received {
    Memory(Vec<Receipt>),
    File(File),
}

/// One delivery as it was received. In a file it is a line of its fields, in this order, parted by
/// tabs: numbers in decimal, bytes and hashes in hexadecimal, `-` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub at: DeliveryId,
    pub epoch: Epoch,
    pub id: Option<String>,
    pub key: Option<Vec<u8>>,
    /// XXH3 (64 bits) of the payload; none of a tombstone.
    pub payload: Option<u64>,
}

/// How a batch is to be treated.
#[derive(Clone, Copy, Debug)]
struct Asked {
    key_order: KeyOrder,
    strict: bool,
    timeout: Option<Duration>,
}

/// What the script says of one delivery.
#[derive(Clone, Debug)]
struct Decision {
    verdict: Verdict,
    applied: bool,
    wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    For(Duration),
    Ever,
}

impl Faulty {
    /// One that remembers what it received in memory.
    #[must_use]
    pub fn in_memory(script: Script, key_order: KeyOrder, timeout: Option<Duration>) -> Self {
        Self::new(script, key_order, timeout, Received::Memory(Vec::new()))
    }

    /// One that appends what it received to a file. Lines are in the file before they are
    /// confirmed; they survive the process, not the machine.
    pub fn to_file(
        script: Script,
        key_order: KeyOrder,
        timeout: Option<Duration>,
        path: &Path,
    ) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self::new(script, key_order, timeout, Received::File(file)))
    }

    fn new(
        script: Script,
        key_order: KeyOrder,
        timeout: Option<Duration>,
        received: Received,
    ) -> Self {
        let state = State {
            rng: fastrand::Rng::with_seed(script.seed),
            met: vec![0; script.rules.len()],
            script,
            timeout,
            attempts: HashMap::new(),
            failing: HashMap::new(),
            received,
        };
        Self {
            key_order,
            shape: Shape::BULK,
            state: Arc::new(Mutex::new(state)),
        }
    }

    #[must_use]
    pub fn key_order(&self) -> KeyOrder {
        self.key_order
    }

    #[must_use]
    pub fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// From now on it behaves by another script.
    pub fn follow(&self, script: Script) {
        let mut state = self.state();
        state.rng = fastrand::Rng::with_seed(script.seed);
        state.met = vec![0; script.rules.len()];
        state.attempts.clear();
        state.script = script;
    }

    /// From now on an attempt takes so long at most.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.state().timeout = timeout;
    }

    /// All that was received in memory, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Receipt> {
        match &self.state().received {
            Received::Memory(all) => all.clone(),
            Received::File(_) => Vec::new(),
        }
    }

    pub async fn deliver(&self, deliveries: &[Delivery], strict: bool) -> Attempted {
        let asked = Asked {
            key_order: self.key_order,
            strict,
            timeout: self.state().timeout,
        };
        if asked.is_pipelined() {
            return self.deliver_in_turn(deliveries, asked).await;
        }
        let decisions = self.state().decide_all(deliveries, asked);
        wait(&decisions).await;
        self.conclude(deliveries, decisions)
    }

    /// What is applied is applied when the call begins. Until it returns later calls apply nothing
    /// of a key that failed in it.
    async fn deliver_in_turn(&self, deliveries: &[Delivery], asked: Asked) -> Attempted {
        let decisions = self.state().decide_all(deliveries, asked);
        let failed: Vec<Bytes> = deliveries
            .iter()
            .zip(&decisions)
            .filter(|(_, decision)| decision.breaks_order())
            .filter_map(|(delivery, _)| key_of(delivery).cloned())
            .collect();
        for key in &failed {
            *self.state().failing.entry(key.clone()).or_default() += 1;
        }
        let waits = decisions.clone();
        let attempted = self.conclude(deliveries, decisions);
        wait(&waits).await;
        for key in &failed {
            self.state().has_returned(key);
        }
        attempted
    }

    /// The same without waiting, for simulations: what would hang has no known outcome.
    pub fn step(&self, deliveries: &[Delivery], strict: bool) -> Attempted {
        let timeout = self.state().timeout.or(Some(Duration::MAX));
        let asked = Asked {
            key_order: self.key_order,
            strict,
            timeout,
        };
        let decisions = self.state().decide_all(deliveries, asked);
        self.conclude(deliveries, decisions)
    }

    fn conclude(&self, deliveries: &[Delivery], decisions: Vec<Decision>) -> Attempted {
        let applied: Vec<Receipt> = deliveries
            .iter()
            .zip(&decisions)
            .filter(|(_, decision)| decision.applied)
            .map(|(delivery, _)| Receipt::of(delivery))
            .collect();
        let written = self.state().received.add(applied);
        let verdicts = decisions.into_iter().map(|decision| match &written {
            Ok(()) => decision.verdict,
            Err(e) => Verdict::fatal(format!("the record of what was received: {e}")),
        });
        Attempted {
            verdicts: verdicts.collect(),
            mark: None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn is_pipelined(self) -> bool {
        self.key_order == KeyOrder::Pipelined && !self.strict
    }
}

impl State {
    fn decide_all(&mut self, deliveries: &[Delivery], asked: Asked) -> Vec<Decision> {
        let mut decisions: Vec<Decision> = Vec::with_capacity(deliveries.len());
        // What failed in this batch: later ones of the same order are not applied.
        let mut failed_keys = Vec::new();
        let mut failed = false;
        for delivery in deliveries {
            let key = key_of(delivery);
            let failed_before = |key| failed_keys.contains(&key);
            let follows = match (asked.strict, asked.key_order) {
                (true, _) => failed,
                (false, KeyOrder::PrefixPerKey) => key.is_some_and(failed_before),
                (false, KeyOrder::Pipelined) => {
                    key.is_some_and(|key| failed_before(key) || self.failing.contains_key(key))
                }
                (false, KeyOrder::OneAtATime) => false,
            };
            let decision = if follows {
                Decision::at_once(Verdict::retry("not tried: an earlier one failed"))
            } else {
                self.decide(delivery).within(asked.timeout)
            };
            failed |= decision.verdict != Verdict::Delivered;
            let holds = match asked.is_pipelined() {
                true => decision.breaks_order(),
                false => decision.verdict != Verdict::Delivered,
            };
            failed_keys.extend(key.filter(|_| holds));
            decisions.push(decision);
        }
        decisions
    }

    /// A call in which this key failed has returned.
    fn has_returned(&mut self, key: &Bytes) {
        if let Some(calls) = self.failing.get_mut(key) {
            *calls -= 1;
            if *calls == 0 {
                self.failing.remove(key);
            }
        }
    }

    fn decide(&mut self, delivery: &Delivery) -> Decision {
        let mut decision = Decision::at_once(Verdict::Delivered);
        decision.applied = true;
        for i in 0..self.script.rules.len() {
            let rule = self.script.rules[i].clone();
            if !rule.selector.matches(delivery) || !self.fires(i, &rule, delivery) {
                continue;
            }
            let (verdict, applied) = match rule.action {
                Action::Delay(from, to) => {
                    decision.wait = Wait::For(Duration::from_millis(self.rng.u64(from..=to)));
                    continue;
                }
                Action::Confirm => (Verdict::Delivered, true),
                Action::Hang => {
                    decision.wait = Wait::Ever;
                    (Verdict::Delivered, false)
                }
                Action::Retry => (Verdict::retry("the script says retry"), false),
                Action::Reject => (Verdict::reject("the script says reject"), false),
                Action::Unknown => (Verdict::unknown("the script says unknown"), true),
                Action::Lost => (Verdict::unknown("the script says lost"), false),
                Action::Fatal => (Verdict::fatal("the script says fatal"), false),
                Action::Halt => (Verdict::halt("the script says halt"), false),
            };
            decision.verdict = verdict;
            decision.applied = applied;
            return decision;
        }
        decision
    }

    fn fires(&mut self, i: usize, rule: &Rule, delivery: &Delivery) -> bool {
        use script::Frequency;
        self.met[i] += 1;
        match rule.frequency {
            Frequency::Always => true,
            Frequency::Every(n) => self.met[i].is_multiple_of(n),
            Frequency::Percent(percent) => self.rng.u8(..100) < percent,
            Frequency::First(n) => {
                let attempts = self.attempts.entry(delivery.at).or_default();
                *attempts += 1;
                *attempts <= n
            }
        }
    }
}

impl Decision {
    fn at_once(verdict: Verdict) -> Self {
        Self {
            verdict,
            applied: false,
            wait: Wait::For(Duration::ZERO),
        }
    }

    /// Whether a later one of the key would overtake it.
    fn breaks_order(&self) -> bool {
        !self.applied && !matches!(self.verdict, Verdict::Reject { .. })
    }

    /// What takes longer than an attempt may has no known outcome; here it isn't applied.
    fn within(mut self, timeout: Option<Duration>) -> Self {
        if let Some(timeout) = timeout.filter(|timeout| self.wait > Wait::For(*timeout)) {
            self.wait = Wait::For(timeout);
            self.applied = false;
            self.verdict = Verdict::unknown(format!("no answer within {timeout:?}"));
        }
        self
    }
}

impl Received {
    fn add(&mut self, receipts: Vec<Receipt>) -> io::Result<()> {
        match self {
            Self::Memory(all) => all.extend(receipts),
            // One write, so that a kill leaves whole lines.
            Self::File(file) => {
                let lines: String = receipts.iter().map(Receipt::to_line).collect();
                file.write_all(lines.as_bytes())?;
            }
        }
        Ok(())
    }
}

impl Receipt {
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        let envelope = &delivery.message.envelope;
        let of_envelope = || envelope.payload.as_ref().ok();
        let payload = delivery.target().payload.as_ref().or_else(of_envelope);
        Self {
            at: delivery.at,
            epoch: delivery.epoch,
            id: envelope.id.as_str().map(str::to_owned),
            key: delivery.key().map(|key| key.to_vec()),
            payload: payload.map(|payload| xxh3_64(payload)),
        }
    }

    #[must_use]
    pub fn to_line(&self) -> String {
        let id = self
            .id
            .as_ref()
            .map_or_else(|| "-".into(), |id| format!("={}", hex(id.as_bytes())));
        let key = self
            .key
            .as_ref()
            .map_or_else(|| "-".into(), |key| format!("={}", hex(key)));
        let payload = self
            .payload
            .map_or_else(|| "-".into(), |hash| format!("{hash:016x}"));
        let (position, ordinal, epoch) = (self.at.position, self.at.ordinal, self.epoch.0);
        format!("{position}\t{ordinal}\t{epoch}\t{id}\t{key}\t{payload}\n")
    }

    /// A line without its end; `None` if it isn't one (the last of a file may be cut).
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let position = fields.next()?.parse().ok()?;
        let at = DeliveryId::new(position, fields.next()?.parse().ok()?);
        let epoch = Epoch(fields.next()?.parse().ok()?);
        let id = unhex_field(fields.next()?)?
            .map(String::from_utf8)
            .transpose()
            .ok()?;
        let key = unhex_field(fields.next()?)?;
        let payload = match fields.next()? {
            "-" => None,
            hash if hash.len() == 16 => Some(u64::from_str_radix(hash, 16).ok()?),
            _ => return None,
        };
        fields.next().is_none().then_some(Self {
            at,
            epoch,
            id,
            key,
            payload,
        })
    }
}

/// The key whose order holds for it.
fn key_of(delivery: &Delivery) -> Option<&Bytes> {
    delivery.key().filter(|_| delivery.is_ordered())
}

/// As long as the slowest takes.
async fn wait(decisions: &[Decision]) {
    match decisions.iter().map(|decision| decision.wait).max() {
        None => {}
        Some(Wait::Ever) => std::future::pending().await,
        Some(Wait::For(wait)) if wait.is_zero() => {}
        Some(Wait::For(wait)) => tokio::time::sleep(wait).await,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// `-` is none, `=` and an even number of digits are bytes.
fn unhex_field(field: &str) -> Option<Option<Vec<u8>>> {
    if field == "-" {
        return Some(None);
    }
    let digits = field.strip_prefix('=')?.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair)
            .ok()
            .filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    pairs.collect::<Option<Vec<u8>>>().map(Some)
}
