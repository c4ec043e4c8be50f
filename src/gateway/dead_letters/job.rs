//! One redrive: letters in small pieces through the journal's queue, as publishes go, so that fresh ones
//! wait for one piece at most; and no more on their way than lanes deliver soon.
//!
//! It remembers nothing that must survive: a letter that was redriven is gone by the journal's word, and
//! the same order again goes on with the rest.

use super::DeadLetterDesk;
use super::make::{Kept, Maker};
use super::scan::Letters;
use crate::admin::letters::{self, Matcher, Redrive, RedriveOrder, RedriveState};
use crate::clock::Clock;
use crate::door::Door;
use crate::egress::stream::{StreamRecord, origin};
use crate::gateway::lanes::{Lane, Lanes};
use crate::journal::{self, LetterId, Submission};
use crate::lane::LaneState;
use crate::message::{DeliveryId, DeliveryState, LaneId, Message, Refusal};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

/// Between two pieces publishes get their turn.
const PIECE_LETTERS: usize = 128;
const PIECE_BYTES: usize = 512 << 10;
/// Redriven deliveries that aren't settled: a fresh one stands behind no more than these in its lane.
const MAX_ON_THE_WAY: usize = 512;
/// How often is looked whether they are settled, or there is room.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const ROOM_EVERY: Duration = Duration::from_millis(100);
/// At the end it waits so long without any news for what becomes of the last ones.
const LAST_OUTCOMES: Duration = Duration::from_secs(10);
/// Of a lane's backlog a redrive leaves a quarter to publishes.
const BACKLOG_SHARE: (u64, u64) = (3, 4);
/// Letters that are told one by one.
const MAX_KEPT_FIRST: usize = 10;

/// How far it is, for whoever asks.
pub struct Job {
    shown: Mutex<Redrive>,
    is_told_to_stop: AtomicBool,
}

impl Job {
    pub fn new(id: String, name: String, order: &RedriveOrder, letters: &Letters) -> Self {
        let total = match &order.offsets {
            Some(offsets) => Some(offsets.len() as u64),
            None if order.all => Some(letters.count()),
            None => None,
        };
        Self {
            is_told_to_stop: AtomicBool::new(false),
            shown: Mutex::new(Redrive {
                id,
                name,
                state: RedriveState::Running,
                total,
                looked_at: 0,
                redriven: 0,
                kept: 0,
                kept_first: Vec::new(),
                delivered: 0,
                dead_lettered: 0,
                discarded: 0,
                pending: 0,
                waits_for: None,
                ended_by: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Redrive> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn shown(&self) -> Redrive {
        self.lock().clone()
    }

    pub fn stop(&self) {
        self.is_told_to_stop.store(true, Ordering::Relaxed);
    }

    fn keep(&self, offset: u64, why: &Kept) {
        let mut shown = self.lock();
        shown.kept += 1;
        if shown.kept_first.len() < MAX_KEPT_FIRST {
            let why = why.to_string();
            shown.kept_first.push(letters::Kept { offset, why });
        }
    }

    fn wait_for(&self, what: Option<String>) {
        self.lock().waits_for = what;
    }
}

/// Why it ends before the last letter.
enum End {
    Stopped(String),
    Failed(String),
}

type Piece = Vec<(u64, StreamRecord)>;

pub struct Running {
    job: Arc<Job>,
    door: Arc<Door>,
    lanes: Arc<Lanes>,
    lane: Arc<Lane>,
    clock: Clock,
    stop: watch::Receiver<bool>,
    order: RedriveOrder,
    goes_over: bool,
    matcher: Matcher,
    /// Letters from here on came since it began.
    end: u64,
    next: u64,
    /// Of the offsets that were asked for, those that are left, the least last.
    offsets: Option<Vec<u64>>,
    on_the_way: Vec<(LaneId, DeliveryId)>,
    began: Instant,
    submitted: u64,
}

impl Running {
    pub fn new(
        desk: &DeadLetterDesk,
        job: Arc<Job>,
        lane: Arc<Lane>,
        mut order: RedriveOrder,
        matcher: Matcher,
        end: u64,
    ) -> Self {
        let offsets = order.offsets.take().map(|mut offsets| {
            offsets.sort_unstable_by(|a, b| b.cmp(a));
            offsets.dedup();
            offsets
        });
        Self {
            job,
            door: Arc::clone(&desk.door),
            lanes: Arc::clone(&desk.lanes),
            lane,
            clock: desk.clock.clone(),
            stop: desk.stop.clone(),
            order,
            goes_over: false,
            next: matcher.from(),
            matcher,
            end,
            offsets,
            on_the_way: Vec::new(),
            began: Instant::now(),
            submitted: 0,
        }
    }

    /// What its destination can't route, to the alternate of that: nobody waits for the last outcomes.
    pub async fn go_over(mut self) -> Redrive {
        self.goes_over = true;
        let result = self.submit_all().await;
        self.ended(result)
    }

    pub async fn run(mut self) {
        let name = self.job.shown().name;
        tracing::info!(lane = %name, "a redrive begins");
        let result = match self.submit_all().await {
            Ok(()) => self.last_outcomes().await,
            Err(end) => Err(end),
        };
        self.settle();
        let Redrive {
            redriven,
            kept,
            state,
            ..
        } = self.ended(result);
        tracing::info!(lane = %name, redriven, kept, ?state, "a redrive ended");
    }

    fn ended(&self, result: Result<(), End>) -> Redrive {
        let mut shown = self.job.lock();
        shown.waits_for = None;
        (shown.state, shown.ended_by) = match result {
            Ok(()) => (RedriveState::Done, None),
            Err(End::Stopped(why)) => (RedriveState::Stopped, Some(why)),
            Err(End::Failed(why)) => (RedriveState::Failed, Some(why)),
        };
        shown.clone()
    }

    async fn submit_all(&mut self) -> Result<(), End> {
        while let Some(piece) = self.read().await? {
            self.redrive(piece).await?;
            self.pace().await?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), End> {
        if *self.stop.borrow() {
            return Err(End::Stopped("the gateway is stopping".into()));
        }
        if self.job.is_told_to_stop.load(Ordering::Relaxed) {
            return Err(End::Stopped("an operator stopped it".into()));
        }
        let now = self.lanes.get(&self.lane.state.name);
        if now.is_none_or(|now| !Arc::ptr_eq(&now, &self.lane)) {
            return Err(End::Stopped("a reload took its lane away".into()));
        }
        Ok(())
    }

    /// The next letters; none: there are no more.
    async fn read(&mut self) -> Result<Option<Piece>, End> {
        loop {
            self.check()?;
            let limit = match self.order.rate {
                Some(rate) => PIECE_LETTERS.min((rate / 10).max(1) as usize),
                None => PIECE_LETTERS,
            };
            let lane = Arc::clone(&self.lane);
            let read = match &mut self.offsets {
                Some(offsets) => {
                    let wanted = offsets.split_off(offsets.len().saturating_sub(limit));
                    if wanted.is_empty() {
                        return Ok(None);
                    }
                    let count = wanted.len() as u64;
                    let read = spawn_blocking(move || read_these(&lane, wanted)).await;
                    self.job.lock().looked_at += count;
                    read.map(|piece| piece.map(|piece| (piece, None)))
                }
                None if self.next >= self.end => return Ok(None),
                None => {
                    let matcher = self.matcher.between(self.next, self.end);
                    spawn_blocking(move || {
                        let page = Letters::of(&lane).page(&matcher, limit, PIECE_BYTES)?;
                        Ok((page.letters, Some(page.next)))
                    })
                    .await
                }
            };
            let (piece, next) = read
                .map_err(|e| End::Failed(format!("a bug: {e}")))?
                .map_err(End::Failed)?;
            if let Some(next) = next {
                self.next = next.unwrap_or(self.end);
                self.job.lock().looked_at += piece.len() as u64;
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// Each until it is accepted, or it is known why it stays.
    async fn redrive(&mut self, mut piece: Piece) -> Result<(), End> {
        while !piece.is_empty() {
            self.check()?;
            let (sent, left) = self.submit(piece)?;
            let mut again = left;
            for (letter, message, answer) in sent {
                let offset = letter.0;
                match answer.await.unwrap_or(Err(Refusal::Stopping)) {
                    Ok(accepted) => self.accepted(&accepted, &message),
                    Err(Refusal::Stopping) => return Err(stopping()),
                    Err(Refusal::JournalFailed(why)) => return Err(End::Failed(why)),
                    Err(refusal) if refusal.is_retriable() => {
                        self.job.wait_for(Some(refusal.to_string()));
                        again.push(letter);
                    }
                    // Purged, or redriven by an order before.
                    Err(_) if self.is_gone(offset) => {}
                    Err(refusal) => {
                        self.job.keep(offset, &Kept::Refused(refusal.to_string()));
                    }
                }
            }
            again.sort_by_key(|(offset, _)| *offset);
            piece = again;
            if piece.is_empty() {
                self.job.wait_for(None);
            } else {
                self.settle();
                sleep(ROOM_EVERY).await;
            }
        }
        Ok(())
    }

    /// Hands over what there is room for; the rest is given back.
    fn submit(&self, piece: Piece) -> Result<(Vec<Sent>, Piece), End> {
        let mut sent = Vec::with_capacity(piece.len());
        let mut left = Vec::new();
        let mut charged = HashMap::new();
        // Kept until all are in the journal's queue: see `Generations`.
        let running = self.door.generations.running();
        for (offset, record) in piece {
            if !left.is_empty() {
                left.push((offset, record));
                continue;
            }
            let maker = Maker {
                running: &running,
                shared: self.door.journal.shared(),
                lane: self.lane.state.id,
                order: &self.order,
                goes_over: self.goes_over,
                now: self.clock.wall(),
            };
            let message = match made(&maker, &record) {
                Ok(message) => Arc::new(message),
                Err(why) => {
                    self.job.keep(offset, &why);
                    continue;
                }
            };
            let mut submission = Submission::new(Arc::clone(&message), None);
            if let Some(full) = self.charge(&submission, &mut charged) {
                let words = format!("the backlog of {full} is nearly full");
                self.job.wait_for(Some(words));
                left.push((offset, record));
                continue;
            }
            submission.redrives = Some(LetterId {
                lane: self.lane.state.id,
                offset,
            });
            submission.handed_micros = self.clock.micros();
            match self.door.journal.submit(submission) {
                Ok(answer) => sent.push(((offset, record), message, answer)),
                Err(Refusal::Stopping) => return Err(stopping()),
                Err(refusal) => {
                    self.job.wait_for(Some(refusal.to_string()));
                    left.push((offset, record));
                }
            }
        }
        drop(running);
        Ok((sent, left))
    }

    /// The name of a lane that has no room for it, its share taken off.
    fn charge(
        &self,
        submission: &Submission,
        charged: &mut HashMap<LaneId, u64>,
    ) -> Option<String> {
        let bytes = u64::from(submission.size_bytes());
        let (part, whole) = BACKLOG_SHARE;
        let lanes = submission.message().plan.targets.iter().map(|t| t.lane);
        for id in lanes {
            let lane = self.door.journal.shared().lane(id)?;
            let share = lane.backlog_bytes.load(Ordering::Relaxed) / whole * part;
            let owed = lane.ledger().owed_bytes();
            let more = charged.entry(id).or_default();
            // One at least: it may be larger than that.
            if owed + *more > 0 && owed + *more + bytes > share {
                return Some(lane.name.clone());
            }
            *more += bytes;
        }
        None
    }

    fn accepted(&mut self, accepted: &journal::Accepted, message: &Message) {
        let targets = message.plan.targets.iter().enumerate();
        let at = |ordinal| DeliveryId::new(accepted.position.0, ordinal as u16);
        let deliveries = targets.map(|(ordinal, target)| (target.lane, at(ordinal)));
        self.on_the_way.extend(deliveries);
        self.submitted += 1;
        self.lane.count_redriven();
        let mut shown = self.job.lock();
        shown.redriven += 1;
        shown.pending = self.on_the_way.len() as u64;
    }

    fn is_gone(&self, offset: u64) -> bool {
        self.lane.state.ledger().gone_letters().contains(offset)
    }

    /// Waits until lanes have delivered enough of it, and for the rate.
    async fn pace(&mut self) -> Result<(), End> {
        loop {
            self.settle();
            let is_early = self.order.rate.is_some_and(|rate| {
                let due = self.submitted as f64 / f64::from(rate);
                self.began.elapsed().as_secs_f64() < due
            });
            let lane = self.slow_lane();
            if lane.is_none() && !is_early {
                self.job.wait_for(None);
                return Ok(());
            }
            let words = lane.map(|name| format!("{name} delivers what was redriven before"));
            self.job.wait_for(words);
            self.check()?;
            sleep(LOOK_EVERY).await;
        }
    }

    /// A lane that has enough of it. One that is stopped because its dead letters are full gets on: what
    /// is redriven makes room there, and it delivers nothing fresh meanwhile.
    fn slow_lane(&self) -> Option<String> {
        if self.on_the_way.len() < MAX_ON_THE_WAY {
            return None;
        }
        let mut counts: HashMap<LaneId, usize> = HashMap::new();
        for (lane, _) in &self.on_the_way {
            *counts.entry(*lane).or_default() += 1;
        }
        counts.retain(|_, count| *count >= MAX_ON_THE_WAY);
        let names = counts.keys().filter_map(|id| {
            let state = self.door.journal.shared().lane(*id)?;
            let lane = self.lanes.get(&state.name)?;
            let is_stopped = matches!(lane.view().state, LaneState::Stopped { .. });
            let is_full = is_stopped && lane.dead_letters().is_full();
            (!is_full).then(|| state.name.clone())
        });
        names.min()
    }

    /// Counts what became of it.
    fn settle(&mut self) {
        let shared = Arc::clone(self.door.journal.shared());
        let (mut delivered, mut dead_lettered, mut discarded) = (0, 0, 0);
        self.on_the_way.retain(|(lane, at)| {
            match shared.state_of(*at, *lane) {
                DeliveryState::Stored => return true,
                // In memory, where nobody says what became of it.
                DeliveryState::Received => {}
                DeliveryState::Delivered => delivered += 1,
                DeliveryState::DeadLettered => dead_lettered += 1,
                DeliveryState::Discarded | DeliveryState::Unknown => discarded += 1,
            }
            false
        });
        let mut shown = self.job.lock();
        shown.delivered += delivered;
        shown.dead_lettered += dead_lettered;
        shown.discarded += discarded;
        shown.pending = self.on_the_way.len() as u64;
    }

    async fn last_outcomes(&mut self) -> Result<(), End> {
        let mut news = Instant::now();
        let mut left = self.on_the_way.len();
        loop {
            self.settle();
            if self.on_the_way.is_empty() || news.elapsed() > LAST_OUTCOMES {
                return Ok(());
            }
            if self.on_the_way.len() < left {
                (news, left) = (Instant::now(), self.on_the_way.len());
            }
            self.check()?;
            self.job.wait_for(Some("the last outcomes".into()));
            sleep(LOOK_EVERY).await;
        }
    }
}

type Sent = (
    (u64, StreamRecord),
    Arc<Message>,
    oneshot::Receiver<journal::Answer>,
);

fn made(maker: &Maker<'_>, record: &StreamRecord) -> Result<Message, Kept> {
    let origin = origin::decode(record).transpose();
    let origin = origin.map_err(|e| Kept::Unreadable(e.to_string()))?;
    maker.message(record, origin)
}

fn read_these(lane: &Lane, mut wanted: Vec<u64>) -> Result<Piece, String> {
    let letters = Letters::of(lane);
    let mut piece = Vec::with_capacity(wanted.len());
    while let Some(offset) = wanted.pop() {
        piece.extend(letters.one(offset)?);
    }
    Ok(piece)
}

fn stopping() -> End {
    End::Stopped("the gateway is stopping".into())
}
