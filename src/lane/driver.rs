//! The task that joins a lane's state, its feed, its destination and its dead-letter log.
//!
//! All decisions are the state's. This only carries: at any time at most one disk operation on
//! the feed, one on the dead-letter log, and as many batches as the state gives. A panic or a
//! final error ends this task alone, and its last view says so.

#[cfg(test)]
mod tests;

use super::feed::{DeadLetterSink, Feed, FeedError, Fresh, SinkError, SinkMarks, Written};
use super::handle::{Command, LaneHandle};
use super::settings::LaneSettings;
use super::state::{BatchId, DeadLetter, Lane, Wanted};
use super::view::{LaneState, LaneView};
use crate::clock::{Clock, Mono};
use crate::egress::{Attempted, Egress, KeyOrder, Verdict};
use crate::faults::Faults;
use crate::message::{Ack, Delivery, DeliveryId};
use crate::spans::Spans;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

/// A full dead-letter log is tried again this often.
const DEAD_LETTER_RETRY: Duration = Duration::from_secs(1);
/// Making a view looks at every key, so it isn't made after each batch.
const VIEW_INTERVAL: Duration = Duration::from_millis(100);
/// How long a driver that ends waits for dead letters that are being written: nobody can stop that.
const BURIAL_PATIENCE: Duration = Duration::from_secs(5);

/// What a lane's driver is made of.
pub struct Parts<F, D> {
    pub name: Arc<str>,
    pub settings: LaneSettings,
    /// Not this lane's alone where its destination has a second one: it outlives this driver.
    pub egress: Arc<Egress>,
    pub feed: Arc<F>,
    pub dead_letters: Arc<D>,
    pub clock: Clock,
    pub faults: Faults,
    pub spans: Spans,
    pub seed: u64,
    /// Obeyed before the first delivery is taken.
    pub first: Vec<Command>,
}

/// Why a driver ended before it was told to.
#[derive(Debug, thiserror::Error)]
enum DriverError {
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    DeadLetters(#[from] SinkError),
    #[error("a bug: {0}")]
    Panicked(String),
}

impl LaneHandle {
    /// Starts the lane on the runtime that this is called in.
    #[must_use]
    pub fn spawn<F: Feed, D: DeadLetterSink>(parts: Parts<F, D>) -> Self {
        parts.egress.enter();
        let rng = fastrand::Rng::with_seed(parts.seed);
        let lane = Lane::new(parts.settings.clone(), parts.faults, rng);
        let (shown, view) = watch::channel(lane.view());
        let (handle, inbox) = Self::new(view, Arc::clone(lane.times()));
        let shown = Arc::new(shown);
        let mut driver = Driver {
            name: parts.name,
            spans: parts.spans,
            lane,
            egress: parts.egress,
            feed: parts.feed,
            dead_letters: parts.dead_letters,
            clock: parts.clock,
            inbox,
            shown: Arc::clone(&shown),
            shown_at: None,
            changed: true,
            tasks: JoinSet::new(),
            in_turn: FuturesUnordered::new(),
            disk: Disk::Idle,
            read_last: false,
            burying: false,
            level: false,
            marks: SinkMarks::default(),
            rest_until: None,
            bury_at: None,
            end_at: None,
        };
        for command in parts.first {
            driver.obey(command);
        }
        driver.show();
        tokio::spawn(supervise(driver, shown));
        handle
    }
}

/// Runs the driver, and shows what ended it.
async fn supervise<F: Feed, D: DeadLetterSink>(
    driver: Driver<F, D>,
    shown: Arc<watch::Sender<LaneView>>,
) {
    let result = match tokio::spawn(driver.run()).await {
        Ok(result) => result,
        Err(e) => Err(panicked(e)),
    };
    if let Err(e) = result {
        let reason: Arc<str> = e.to_string().into();
        shown.send_modify(|view| view.state = LaneState::Stopped { reason });
    }
}

struct Driver<F, D> {
    name: Arc<str>,
    spans: Spans,
    lane: Lane,
    egress: Arc<Egress>,
    feed: Arc<F>,
    dead_letters: Arc<D>,
    clock: Clock,
    inbox: mpsc::Receiver<Command>,
    shown: Arc<watch::Sender<LaneView>>,
    shown_at: Option<Mono>,
    /// Since it was shown.
    changed: bool,
    tasks: JoinSet<Done>,
    /// Calls to a destination that keeps their order: driven here, so that what one says is known
    /// before the next begins.
    in_turn: FuturesUnordered<Attempt>,
    disk: Disk,
    /// The feed's last disk operation was a read: then it is the other's turn.
    read_last: bool,
    burying: bool,
    /// The feed had nothing more when it was asked last.
    level: bool,
    marks: SinkMarks,
    /// No batch begins before this: it grows meanwhile. None if somebody waits for its outcome.
    rest_until: Option<Mono>,
    /// When to try a full dead-letter log again.
    bury_at: Option<Mono>,
    end_at: Option<Mono>,
}

/// The one disk operation on the feed: two at once could fill more memory than there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Idle,
    Taking,
    Reading,
}

type Attempt = BoxFuture<'static, (BatchId, Attempted)>;

/// What a task that the driver started brings back.
enum Done {
    Attempted(BatchId, Attempted),
    Taken(Result<Vec<Delivery>, FeedError>),
    Read(Vec<DeliveryId>, Result<Vec<Delivery>, FeedError>),
    Buried(Vec<DeadLetter>, Result<Written, SinkError>),
}

enum Event {
    Command(Command),
    Done(Result<Done, JoinError>),
    More,
    Timer,
    /// Nobody can command it any more: as `Stop` without time to drain.
    Abandoned,
}

impl<F: Feed, D: DeadLetterSink> Driver<F, D> {
    async fn run(mut self) -> Result<(), DriverError> {
        let result = self.work().await;
        self.egress.leave().await;
        // What was confirmed by that.
        while let Some(Some((id, attempted))) = self.in_turn.next().now_or_never() {
            self.attempted(id, attempted);
        }
        let buried = self.last_burial().await;
        // What is known is kept; if even that fails it is delivered again after a restart.
        let settled = self.settle().await;
        self.show();
        result.and(buried).and(settled.map(drop))
    }

    /// A reload may start another driver on what this one leaves: what is in the dead letters by
    /// then must be settled, or it would be delivered, too.
    async fn last_burial(&mut self) -> Result<(), DriverError> {
        let end = tokio::time::Instant::now() + BURIAL_PATIENCE;
        while self.burying
            && let Ok(Some(done)) = tokio::time::timeout_at(end, self.tasks.join_next()).await
        {
            self.finish(done.map_err(panicked)?)?;
        }
        Ok(())
    }

    async fn work(&mut self) -> Result<(), DriverError> {
        loop {
            self.start_what_can_be().await?;
            if self.is_at_end() {
                return Ok(());
            }
            self.show_sometimes();
            match self.next_event().await {
                Event::Command(command) => self.obey(command),
                Event::Done(done) => self.finish(done.map_err(panicked)?)?,
                Event::More => self.level = false,
                Event::Timer => {}
                Event::Abandoned => self.end_at = Some(self.clock.mono()),
            }
            while let Some(done) = self.tasks.try_join_next() {
                self.finish(done.map_err(panicked)?)?;
            }
            while let Some(Some((id, attempted))) = self.in_turn.next().now_or_never() {
                self.attempted(id, attempted);
            }
        }
    }

    /// Feeds the lane, starts batches, reads and dead letters, until nothing more can be started.
    ///
    /// A round is at one time: a retry that fell due between its steps would have no timer any more,
    /// and nobody would read it before something else happens. What failed in a round may be due at once,
    /// and has none either: it has another round.
    async fn start_what_can_be(&mut self) -> Result<(), DriverError> {
        loop {
            let now = self.clock.mono();
            if !self.read_last {
                self.read_again(now);
            }
            self.feed_lane();
            self.read_again(now);
            let has_heard = self.start_batches(now).await;
            self.bury();
            if !self.settle().await? && !has_heard {
                return Ok(());
            }
        }
    }

    /// Whether a call has ended as it began.
    async fn start_batches(&mut self, now: Mono) -> bool {
        let rests = self.rest_until.is_some_and(|until| now < until);
        if rests && !self.lane.has_full_batch() {
            return false;
        }
        self.rest_until = None;
        let mut has_heard = false;
        while let Some(batch) = self.lane.next_batch(now, self.clock.wall()) {
            self.changed = true;
            let rest = self.egress.shape().rest;
            self.rest_until = (!rest.is_zero()).then(|| now.plus(rest));
            let egress = Arc::clone(&self.egress);
            let (clock, times) = (self.clock.clone(), Arc::clone(self.lane.times()));
            let (deliveries, span) = self.spans.attempt(&batch.deliveries, &self.name);
            let attempt = async move {
                let begun = clock.micros();
                let attempted = egress.deliver(&deliveries, batch.strict).await;
                let took = clock.micros().saturating_sub(begun);
                times.attempt.record(took);
                span.end(attempted.verdicts.iter().map(Verdict::failure));
                (batch.id, attempted)
            };
            if self.egress.key_order() == KeyOrder::Pipelined {
                has_heard |= self.begin_in_turn(Box::pin(attempt)).await;
            } else {
                let done = attempt.map(|(id, attempted)| Done::Attempted(id, attempted));
                self.tasks.spawn(done);
            }
        }
        has_heard
    }

    /// Polls a call once, which hands its batch over: `KeyOrder::Pipelined`. Whether it ended by that.
    async fn begin_in_turn(&mut self, mut attempt: Attempt) -> bool {
        let first = poll_fn(|context| Poll::Ready(attempt.as_mut().poll(context))).await;
        match first {
            Poll::Ready((id, attempted)) => {
                self.attempted(id, attempted);
                true
            }
            Poll::Pending => {
                self.in_turn.push(attempt);
                false
            }
        }
    }

    fn attempted(&mut self, id: BatchId, attempted: Attempted) {
        let (now, wall) = (self.clock.mono(), self.clock.wall());
        self.changed = true;
        self.marks.stream = attempted.mark.or(self.marks.stream);
        self.lane.outcome(id, attempted.verdicts, now, wall);
    }

    /// Hands over what the lane settled; false if that was nothing.
    async fn settle(&mut self) -> Result<bool, DriverError> {
        let settlements = self.lane.take_settlements();
        if settlements.is_empty() {
            return Ok(false);
        }
        self.changed = true;
        // All that the marks cover is in this group or in an earlier one.
        let marks = std::mem::take(&mut self.marks);
        self.feed.settle(settlements, marks).await?;
        Ok(true)
    }

    fn feed_lane(&mut self) {
        while !self.level
            && self.disk != Disk::Taking
            && let Some(room) = self.lane.room()
        {
            match self.feed.take_fresh(room) {
                Fresh::Deliveries(deliveries) => {
                    self.level = deliveries.is_empty();
                    self.offer(deliveries);
                }
                Fresh::Lagging if self.disk == Disk::Reading => return,
                Fresh::Lagging => {
                    self.disk = Disk::Taking;
                    let feed = Arc::clone(&self.feed);
                    self.tasks
                        .spawn_blocking(move || Done::Taken(feed.take_stored(room)));
                }
            }
        }
    }

    fn offer(&mut self, deliveries: Vec<Delivery>) {
        let wall = self.clock.wall();
        if deliveries.is_empty() {
            return;
        }
        self.changed = true;
        for (mode, barrier) in self.feed.turns() {
            self.lane.change_mode(mode, barrier);
        }
        for delivery in deliveries {
            if delivery.message.plan.ack == Ack::Delivered {
                self.rest_until = None;
            }
            self.lane.offer(delivery, wall);
        }
    }

    fn read_again(&mut self, now: Mono) {
        if self.disk != Disk::Idle {
            return;
        }
        let Wanted { ids, max_bytes } = self.lane.wanted(now, self.clock.wall());
        if ids.is_empty() {
            return;
        }
        self.disk = Disk::Reading;
        let feed = Arc::clone(&self.feed);
        self.tasks.spawn_blocking(move || {
            let read = feed.read(&ids, max_bytes);
            Done::Read(ids, read)
        });
    }

    fn bury(&mut self) {
        if self.bury_at.is_some_and(|at| at <= self.clock.mono()) {
            self.bury_at = None;
            self.lane.retry_dead_letters();
        }
        if self.burying {
            return;
        }
        let letters = self.lane.take_dead_letters();
        if letters.is_empty() {
            return;
        }
        self.burying = true;
        let sink = Arc::clone(&self.dead_letters);
        self.tasks.spawn_blocking(move || {
            let written = sink.write(&letters);
            Done::Buried(letters, written)
        });
    }

    fn finish(&mut self, done: Done) -> Result<(), DriverError> {
        let wall = self.clock.wall();
        self.changed = true;
        match done {
            Done::Attempted(id, attempted) => self.attempted(id, attempted),
            Done::Taken(taken) => {
                (self.disk, self.read_last) = (Disk::Idle, false);
                self.offer(taken?);
            }
            Done::Read(ids, read) => {
                (self.disk, self.read_last) = (Disk::Idle, true);
                let read = read?;
                let count = read.len();
                if let (0, Some(first)) = (count, ids.first()) {
                    return Err(FeedError::Gone(*first).into());
                }
                for delivery in read {
                    self.lane.reload(delivery, wall);
                }
                self.lane.unread(&ids[count.min(ids.len())..]);
            }
            Done::Buried(letters, written) => {
                self.burying = false;
                self.buried(letters, written)?;
            }
        }
        Ok(())
    }

    fn buried(
        &mut self,
        mut letters: Vec<DeadLetter>,
        written: Result<Written, SinkError>,
    ) -> Result<(), DriverError> {
        match written {
            Ok(Written { count: 0, .. }) => {
                Err(SinkError::Failed("it wrote nothing".into()).into())
            }
            Ok(Written { count, next }) => {
                self.marks.dead_letters = Some(next);
                let rest = letters.split_off(count.min(letters.len()));
                let ids: Vec<_> = letters.iter().map(|letter| letter.delivery.at).collect();
                self.lane.dead_lettered(&ids, self.clock.wall());
                self.lane.put_back_dead_letters(rest);
                Ok(())
            }
            Err(e @ SinkError::Full(_)) => {
                self.lane
                    .dead_letters_refused(letters, e.to_string().into());
                self.bury_at = Some(self.clock.mono().plus(DEAD_LETTER_RETRY));
                Ok(())
            }
            Err(e @ SinkError::Failed(_)) => Err(e.into()),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Pause => self.lane.pause(),
            Command::Resume => self.lane.resume(),
            Command::Skip { which, answer } => {
                // Whoever asked may be gone.
                let _ = answer.send(self.lane.skip(which));
            }
            Command::Drop { discard, until } => self.lane.drop_all(discard, until),
            Command::ChangeMode { mode, barrier } => self.lane.change_mode(mode, barrier),
            Command::Tune(settings) => self.lane.tune(&settings),
            Command::Stop { drain } => self.end_at = Some(self.clock.mono().plus(drain)),
        }
        (self.shown_at, self.changed) = (None, true);
    }

    async fn next_event(&mut self) -> Event {
        let sleep = self.time_to_wake();
        let timer = async {
            match sleep {
                Some(sleep) => tokio::time::sleep(sleep).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = self.inbox.recv() => command.map_or(Event::Abandoned, Event::Command),
            Some(done) = self.tasks.join_next() => Event::Done(done),
            Some((id, attempted)) = self.in_turn.next() => {
                Event::Done(Ok(Done::Attempted(id, attempted)))
            }
            () = self.feed.more(), if self.level => Event::More,
            () = timer => Event::Timer,
        }
    }

    fn time_to_wake(&self) -> Option<Duration> {
        let now = self.clock.mono();
        let show_at = self
            .shown_at
            .filter(|_| self.changed)
            .map(|at| at.plus(VIEW_INTERVAL));
        let ends = [show_at, self.end_at]
            .into_iter()
            .flatten()
            .map(|at| at.since(now));
        ends.chain(self.time_to_work()).min()
    }

    /// When there is something to do though nothing happens.
    fn time_to_work(&self) -> Option<Duration> {
        let now = self.clock.mono();
        let own = [self.bury_at, self.rest_until].into_iter().flatten();
        own.map(|at| at.since(now))
            .chain(self.lane.next_wake(now, self.clock.wall()))
            .min()
    }

    /// Told to stop, and the time is over or there is nothing to do in it.
    fn is_at_end(&self) -> bool {
        let Some(end) = self.end_at else { return false };
        let left = end.since(self.clock.mono());
        let fed = self.level || self.lane.room().is_none();
        let idle = self.tasks.is_empty()
            && self.in_turn.is_empty()
            && fed
            && self.time_to_work().is_none_or(|t| t > left);
        idle || left.is_zero()
    }

    fn show_sometimes(&mut self) {
        let since = self.shown_at.map(|at| self.clock.mono().since(at));
        if self.changed && since.is_none_or(|since| since >= VIEW_INTERVAL) {
            self.show();
        }
    }

    fn show(&mut self) {
        (self.shown_at, self.changed) = (Some(self.clock.mono()), false);
        self.shown.send_replace(self.lane.view());
    }
}

fn panicked(e: JoinError) -> DriverError {
    DriverError::Panicked(e.to_string())
}
