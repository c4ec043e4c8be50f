//! Publishers of batches: each sends the first of its open lines in one request, and again, with
//! the same ids and in the same order, until each has its receipt; at the end of a batch now and
//! then a line that repeats or contradicts an earlier one.

use super::content::{Message, Name, POISON, message};
use super::publisher::{Acked, LAST_ANSWER_LIMIT, Published, Receipt, Shared, receipt};
use super::violation::{Kind, Violation};
use crate::support::batch::{self, Framing, Lines, Results};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LINES: usize = 200;
/// Shorter than the longest pauses, so that some lines are sent again while the first still waits.
const ANSWER_LIMIT: Duration = Duration::from_millis(700);
/// A body goes out in pieces up to this, with pauses between: most of the time a batch is under way.
const PIECE_BYTES: usize = 8_000;
const PIECE_PAUSE_MICROS: u64 = 20_000;
/// Out of so many batches, one has a repetition (a conflict) as its last line.
const REPEAT_ONE_IN: u32 = 3;
const CONFLICT_ONE_IN: u32 = 8;

pub struct Batcher<'a> {
    shared: &'a Shared,
    random: fastrand::Rng,
    number: u32,
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

/// A last line that must be answered like an earlier one.
#[derive(Clone, Copy)]
enum Probe {
    Repeat(Acked),
    Contradict(Acked),
}

/// One request, with what came back.
#[derive(Default)]
struct Exchange {
    /// So many lines may have been taken: the first byte was sent, or about to be.
    begun: usize,
    results: Vec<Value>,
    end: End,
}

#[derive(Default, PartialEq)]
enum End {
    /// Not even a head came; or it broke off, or took too long.
    #[default]
    Broken,
    Whole,
    /// Another answer than results, to the whole request.
    Refused(u16),
}

impl<'a> Batcher<'a> {
    pub fn new(shared: &'a Shared, number: u32) -> Self {
        Self {
            shared,
            random: fastrand::Rng::with_seed(shared.seed.wrapping_add(u64::from(number))),
            number,
            next: 0,
            open: Vec::new(),
            last: HashMap::new(),
            out: Published::default(),
        }
    }

    /// Publishes until the run stops; judges every result.
    pub fn run(mut self) -> Published {
        let mut give_up_at = None;
        loop {
            let size = self.random.usize(1..=LINES);
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
            thread::sleep(Duration::from_micros(self.random.u64(500..8_000)));
        }
        let in_doubt = self.open.iter().filter(|line| line.in_doubt);
        self.out.unanswered = in_doubt.map(|line| line.name).collect();
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

    /// The first `size` of the open lines in one request.
    fn send(&mut self, size: usize) {
        let count = size.min(self.open.len());
        let seed = self.shared.seed;
        let messages: Vec<Message> = self.open[..count]
            .iter()
            .map(|line| message(seed, line.name))
            .collect();
        let mut lines: Vec<String> = Vec::new();
        for message in &messages {
            lines.push(line(message, self.random.bool()));
        }
        let probe = self.probe();
        lines.extend(probe.map(|probe| self.probe_line(probe)));
        let kills = self.shared.kills.load(Ordering::SeqCst);
        let exchange = self.exchange(&lines);
        let was_killed = kills != self.shared.kills.load(Ordering::SeqCst);
        self.count(&exchange, lines.len(), was_killed);
        self.judge(&exchange, &messages, probe);
    }

    fn probe(&mut self) -> Option<Probe> {
        let earlier = self.random.choice(&self.out.acked).copied()?;
        if self.random.u32(..CONFLICT_ONE_IN) == 0 {
            return Some(Probe::Contradict(earlier));
        }
        (self.random.u32(..REPEAT_ONE_IN) == 0).then_some(Probe::Repeat(earlier))
    }

    fn probe_line(&mut self, probe: Probe) -> String {
        match probe {
            Probe::Repeat(earlier) => {
                let message = message(self.shared.seed, earlier.name);
                line(&message, self.random.bool())
            }
            Probe::Contradict(earlier) => {
                let mut message = message(self.shared.seed, earlier.name);
                message.payload.push(b' ');
                line(&message, true)
            }
        }
    }

    fn exchange(&mut self, lines: &[String]) -> Exchange {
        let body = lines.concat();
        let framing = match self.random.bool() {
            true => Framing::Chunked,
            false => Framing::Length(body.len()),
        };
        // An error: it is down.
        let Ok((sender, mut results)) = batch::open(self.shared.http, "", framing, ANSWER_LIMIT)
        else {
            return Exchange::default();
        };
        let is_over = AtomicBool::new(false);
        let (sent_bytes, (results, end)) = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let read = read(&mut results);
                is_over.store(true, Ordering::Relaxed);
                read
            });
            let sent_bytes = self.write(sender, body.as_bytes(), &is_over);
            (sent_bytes, reader.join().expect("a reader panicked"))
        });
        let mut start = 0;
        let begun = lines.iter().take_while(|line| {
            let is_begun = start < sent_bytes;
            start += line.len();
            is_begun
        });
        Exchange {
            begun: begun.count(),
            results,
            end,
        }
    }

    /// Sends until the answer is over; how many bytes at most went out.
    fn write(&mut self, mut sender: Lines, body: &[u8], is_over: &AtomicBool) -> usize {
        let mut sent = 0;
        while sent < body.len() {
            let end = body.len().min(sent + self.random.usize(1..PIECE_BYTES));
            let written = sender.send(&body[sent..end]);
            sent = end;
            if written.is_err() || is_over.load(Ordering::Relaxed) {
                return sent;
            }
            thread::sleep(Duration::from_micros(self.random.u64(..PIECE_PAUSE_MICROS)));
        }
        // An error shows in the answer.
        let _ = sender.finish();
        sent
    }

    fn count(&mut self, exchange: &Exchange, lines: usize, was_killed: bool) {
        let answered = exchange.results.len();
        self.out.batches += 1;
        if exchange.end == End::Broken && was_killed && (1..lines).contains(&answered) {
            self.out.batches_cut += 1;
        }
    }

    fn judge(&mut self, exchange: &Exchange, messages: &[Message], probe: Option<Probe>) {
        let Exchange {
            begun,
            results,
            end,
        } = exchange;
        if let End::Refused(status) = end {
            self.out.refusals += 1;
            if !matches!(status, 429 | 503) {
                let detail = format!("a batch was answered with {status}");
                self.out
                    .violations
                    .push(Violation::new(Kind::Answer, detail));
            }
            return;
        }
        self.judge_count(results, messages.len() + usize::from(probe.is_some()), end);
        let mut refused_keys = HashSet::new();
        let mut is_closed = vec![false; messages.len()];
        for (i, message) in messages.iter().enumerate() {
            match results.get(i) {
                Some(result) => is_closed[i] = self.take(i, message, result, &mut refused_keys),
                None => self.open[i].in_doubt |= i < *begun,
            }
        }
        if let (Some(probe), Some(result)) = (probe, results.get(messages.len())) {
            self.judge_probe(probe, result);
        }
        let mut is_closed = is_closed.into_iter();
        self.open.retain(|_| !is_closed.next().unwrap_or(false));
    }

    /// A whole answer has a result for each line, or says last why it has not.
    fn judge_count(&mut self, results: &[Value], lines: usize, end: &End) {
        let is_stopped = results
            .last()
            .is_some_and(|last| last["type"] == "urn:causeway:problem:stopping");
        let is_right = match end {
            End::Whole if !is_stopped => results.len() == lines,
            _ => results.len() <= lines + usize::from(is_stopped),
        };
        if !is_right {
            let last = results.last();
            let detail = format!("{} results for {lines} lines: {last:?}", results.len());
            self.out
                .violations
                .push(Violation::new(Kind::Answer, detail));
        }
    }

    /// Whether the line came to its end.
    fn take(
        &mut self,
        open: usize,
        message: &Message,
        result: &Value,
        refused_keys: &mut HashSet<String>,
    ) -> bool {
        match result["status"].as_u64() {
            Some(429 | 503) => {
                self.out.refusals += 1;
                let is_held_back = result["type"] == "urn:causeway:problem:earlier-refused";
                self.out.held_back += usize::from(is_held_back);
                refused_keys.extend(message.key.clone());
                false
            }
            // Stored; asked again, like a single publish.
            Some(504) => {
                self.out.refusals += 1;
                self.open[open].in_doubt = true;
                false
            }
            status => {
                match receipt(status.unwrap_or_default(), result, &message.id) {
                    Ok(receipt) => self.judge_receipt(open, message, &receipt, refused_keys),
                    Err(why) => self.wrong(Kind::Answer, &message.id, &why, result),
                }
                true
            }
        }
    }

    fn judge_receipt(
        &mut self,
        open: usize,
        message: &Message,
        receipt: &Receipt,
        refused_keys: &HashSet<String>,
    ) {
        let Open { name, in_doubt } = self.open[open];
        let Receipt {
            position,
            duplicate,
        } = *receipt;
        let acked = Acked { name, position };
        self.out.acked.push(acked);
        let mut wrong = |kind, why: &str| {
            let detail = format!("line {} at {position}: {why}", message.id);
            self.out.violations.push(Violation::new(kind, detail));
        };
        if duplicate && !in_doubt {
            wrong(Kind::Identity, "taken never before, yet a duplicate");
        }
        let Some(key) = &message.key else {
            return;
        };
        if !duplicate && refused_keys.contains(key) {
            wrong(
                Kind::OutOfOrder,
                "taken behind a refused line of the same key",
            );
        }
        if let Some(before) = self.last.insert(key.clone(), acked)
            && (before.name < name) != (before.position < position)
        {
            wrong(Kind::Numbering, &format!("{before:?} was before it"));
        }
    }

    fn judge_probe(&mut self, probe: Probe, result: &Value) {
        let status = result["status"].as_u64().unwrap_or_default();
        if matches!(status, 429 | 503 | 504) {
            self.out.refusals += 1;
            return;
        }
        match probe {
            Probe::Repeat(earlier) => {
                self.out.repeated += 1;
                let id = earlier.name.id();
                match receipt(status, result, &id) {
                    Ok(Receipt {
                        position,
                        duplicate: true,
                    }) if position == earlier.position => {}
                    Ok(_) => {
                        let why = format!("a repetition of position {}", earlier.position);
                        self.wrong(Kind::Identity, &id, &why, result);
                    }
                    Err(why) => self.wrong(Kind::Answer, &id, &why, result),
                }
            }
            Probe::Contradict(earlier) => {
                self.out.conflicts += 1;
                if result["type"] != "urn:causeway:problem:id-conflict" {
                    let why = format!("contradicts position {}", earlier.position);
                    self.wrong(Kind::Identity, &earlier.name.id(), &why, result);
                }
            }
        }
    }

    fn wrong(&mut self, kind: Kind, id: &str, why: &str, result: &Value) {
        let detail = format!("line {id}: {why}: {result:.300}");
        self.out.violations.push(Violation::new(kind, detail));
    }
}

fn read(results: &mut Results) -> (Vec<Value>, End) {
    let mut all = Vec::new();
    match results.head() {
        Ok(head) if head.status == 200 => {}
        Ok(refusal) => return (all, End::Refused(refusal.status)),
        Err(_) => return (all, End::Broken),
    }
    loop {
        match results.next() {
            Ok(Some(result)) => all.push(result),
            Ok(None) => return (all, End::Whole),
            Err(_) => return (all, End::Broken),
        }
    }
}

/// The message as a line; the payload in base64 if it has to be or is to be.
fn line(message: &Message, as_base64: bool) -> String {
    let mut line = json!({
        "topic": message.topic,
        "id": message.id,
        "key": message.key,
        "content_type": message.content_type,
    });
    if message.poisoned {
        line["headers"] = json!({ POISON: "1" });
    }
    let mut line = line.to_string();
    line.pop();
    let payload = std::str::from_utf8(&message.payload);
    let data = match (message.content_type, payload) {
        ("application/json", Ok(json)) if !as_base64 => format!("\"data\":{json}"),
        ("text/plain", Ok(text)) if !as_base64 => format!("\"data\":{}", json!(text)),
        _ => {
            let base64 = BASE64_STANDARD.encode(&message.payload);
            format!("\"data_base64\":\"{base64}\"")
        }
    };
    format!("{line},{data}}}\n")
}

#[cfg(test)]
mod tests;
