//! Carries what a lane gives to the service and its answers back: one connection, one call, and while a call
//! is ended another beside it. One task, which nobody else's state is shared with.

use super::answer::{End, is_broken};
use super::connection::{Connection, Origin};
use super::desk::{CallId, Desk, Item};
use super::slot::Slot;
use super::v1::DeliverResponse;
use crate::clock::Clock;
use crate::egress::Verdict;
use crate::egress::dial::Dialer;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Then a call takes nothing new and ends when all is answered: a server that wants to stop waits for our calls,
/// and what is between us may lead the next one elsewhere.
const CALL_AGE: Duration = Duration::from_secs(10);
/// Without a call. Servers close silent connections too: then the next call finds that out before anything is sent.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Answers that weren't looked at yet.
const MAX_EVENTS: usize = 256;
/// Of the calls that are open when the lane ends.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Where it goes.
pub struct Site {
    pub dialer: Dialer,
    pub origin: Arc<Origin>,
    /// One attempt.
    pub timeout: Duration,
}

pub struct Worker {
    site: Arc<Site>,
    clock: Clock,
    batches: mpsc::Receiver<Vec<Item>>,
    /// There are other settings: nothing more is sent.
    retired: watch::Receiver<bool>,
    desk: Desk,
    connection: Option<Arc<Connection>>,
    /// Without a call it is let go then.
    idle_until: Option<Instant>,
    dialing: Option<Dialing>,
    /// It gets what is to be sent.
    current: Option<Call>,
    /// It gets nothing more.
    ending: Option<Call>,
    calls: u64,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    room: Arc<Notify>,
}

type Dialing = Pin<Box<dyn Future<Output = Result<Connection, String>> + Send>>;

struct Call {
    id: CallId,
    slot: Slot,
    connection: Arc<Connection>,
    /// The first on its connection.
    is_first: bool,
    /// From then on it gets nothing more.
    renew_at: Instant,
    /// When it must have ended, once it gets nothing more.
    end_at: Option<Instant>,
    task: AbortHandle,
}

struct Event {
    call: CallId,
    what: What,
}

enum What {
    Answered(DeliverResponse),
    Ended(Result<(), Status>),
}

/// What woke the worker.
enum Woken {
    Batch(Option<Vec<Item>>),
    Retired,
    Event(Event),
    Dialed(Result<Connection, String>),
    Other,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    pub fn new(
        site: Arc<Site>,
        clock: Clock,
        batches: mpsc::Receiver<Vec<Item>>,
        retired: watch::Receiver<bool>,
    ) -> Self {
        Self {
            desk: Desk::new(site.timeout),
            site,
            clock,
            batches,
            retired,
            connection: None,
            idle_until: None,
            dialing: None,
            current: None,
            ending: None,
            calls: 0,
            events: mpsc::channel(MAX_EVENTS),
            room: Arc::default(),
        }
    }

    /// Until nobody can give it anything any more.
    pub async fn run(mut self) {
        loop {
            self.tend();
            self.fill();
            match self.woken().await {
                Woken::Batch(Some(items)) => self.desk.push(items),
                Woken::Batch(None) => return self.end().await,
                Woken::Retired => self.retire(),
                Woken::Event(event) => self.take(event),
                Woken::Dialed(result) => self.dialed(result),
                Woken::Other => self.expire(),
            }
        }
    }

    async fn woken(&mut self) -> Woken {
        let due = self.due();
        let timer = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        let dialing = async {
            match &mut self.dialing {
                Some(dialing) => dialing.await,
                None => pending().await,
            }
        };
        tokio::select! {
            batch = self.batches.recv() => Woken::Batch(batch),
            // The sender goes together with that of batches.
            Ok(()) = self.retired.changed() => Woken::Retired,
            // We hold a sender.
            Some(event) = self.events.1.recv() => Woken::Event(event),
            result = dialing => Woken::Dialed(result),
            () = self.room.notified() => Woken::Other,
            () = timer => Woken::Other,
        }
    }

    fn due(&self) -> Option<Instant> {
        let renew = self.current.as_ref().map(|call| call.renew_at);
        // Until then the one that ends has the place.
        let renew = renew.filter(|_| self.ending.is_none());
        let end = self.ending.as_ref().and_then(|call| call.end_at);
        [self.desk.deadline(), renew, end]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends calls that are old, and sees that there is one if something is to be sent.
    fn tend(&mut self) {
        let now = Instant::now();
        if self
            .ending
            .as_ref()
            .is_some_and(|call| call.end_at.is_some_and(|at| at <= now))
        {
            self.break_off(
                self.ending.as_ref().map(|call| call.id),
                "the service doesn't end its call",
            );
        }
        if self.ending.is_none()
            && self
                .current
                .as_ref()
                .is_some_and(|call| call.renew_at <= now)
        {
            self.let_end(now);
        }
        if *self.retired.borrow() {
            return self.desk.fail_queue(&retired());
        }
        if self.current.is_some() || self.dialing.is_some() {
            return;
        }
        if !self.desk.has_queued() {
            return self.rest(now);
        }
        match self
            .connection
            .take()
            .filter(|connection| !connection.is_closed())
        {
            Some(connection) => self.begin(connection, false),
            None => self.dial(),
        }
    }

    /// Nothing is to be sent.
    fn rest(&mut self, now: Instant) {
        if self.connection.is_none() || self.ending.is_some() {
            self.idle_until = None;
            return;
        }
        let until = *self.idle_until.get_or_insert(now + IDLE_LIMIT);
        if until <= now {
            (self.connection, self.idle_until) = (None, None);
        }
    }

    /// The current call gets nothing more.
    fn let_end(&mut self, now: Instant) {
        if let Some(mut call) = self.current.take() {
            call.slot.close();
            // All that it got was answered by then, or was given up.
            call.end_at = Some(now + 2 * self.site.timeout);
            self.ending = Some(call);
        }
    }

    fn dial(&mut self) {
        let site = Arc::clone(&self.site);
        let limit = CONNECT_LIMIT.min(site.timeout);
        self.dialing = Some(Box::pin(async move {
            match timeout(limit, Connection::open(&site.dialer)).await {
                Ok(connection) => connection,
                Err(_) => Err("no connection in time".to_owned()),
            }
        }));
    }

    fn dialed(&mut self, result: Result<Connection, String>) {
        self.dialing = None;
        match result {
            Ok(connection) if !*self.retired.borrow() => self.begin(Arc::new(connection), true),
            Ok(_) => {}
            Err(why) => self.desk.fail_queue(&Verdict::retry(why)),
        }
    }

    fn begin(&mut self, connection: Arc<Connection>, is_first: bool) {
        self.idle_until = None;
        self.calls += 1;
        let id = CallId(self.calls);
        let slot = Slot::new(Arc::clone(&self.room));
        let mut client = connection.client(&self.site.origin);
        let (requests, events) = (slot.clone(), self.events.0.clone());
        let task = tokio::spawn(async move {
            let answered = |answer| Event {
                call: id,
                what: What::Answered(answer),
            };
            let talk = async {
                let mut answers = client.deliver(requests).await?.into_inner();
                while let Some(answer) = answers.message().await? {
                    // The worker has ended: then nobody listens.
                    let _ = events.send(answered(answer)).await;
                }
                Ok(())
            };
            let what = What::Ended(talk.await);
            let _ = events.send(Event { call: id, what }).await;
        });
        self.desk.begin(id);
        self.connection = Some(Arc::clone(&connection));
        self.current = Some(Call {
            id,
            slot,
            connection,
            is_first,
            renew_at: Instant::now() + CALL_AGE,
            end_at: None,
            task: task.abort_handle(),
        });
    }

    /// Gives the current call what it may have.
    fn fill(&mut self) {
        let Some(call) = &self.current else { return };
        let (now, wall) = (Instant::now(), self.clock.wall());
        while call.slot.has_room() {
            match self.desk.next(call.id, now, wall) {
                Some(request) => call.slot.put(request),
                None => return,
            }
        }
    }

    fn take(&mut self, event: Event) {
        let Event { call, what } = event;
        let ids = [&self.current, &self.ending].map(|of| of.as_ref().map(|of| of.id));
        if !ids.contains(&Some(call)) {
            // It was broken off meanwhile.
            return;
        }
        match what {
            What::Answered(answer) => {
                if let Err(why) = self.desk.answered(call, answer, Instant::now()) {
                    self.break_off(Some(call), &why);
                }
            }
            What::Ended(result) => self.ended(call, &result),
        }
    }

    fn expire(&mut self) {
        if let Some(call) = self.desk.expire(Instant::now()) {
            let why = self.desk.too_late();
            self.break_off(Some(call), &why);
        }
    }

    /// We end it: what was sent is in doubt.
    fn break_off(&mut self, id: Option<CallId>, why: &str) {
        if let Some((call, was_current)) = id.and_then(|id| self.remove(id)) {
            self.desk.put_back(call.slot.take_back());
            self.forget(&call.connection);
            self.desk.ended(call.id, End::broken(why), was_current);
        }
    }

    fn ended(&mut self, id: CallId, result: &Result<(), Status>) {
        let Some((call, was_current)) = self.remove(id) else {
            return;
        };
        self.desk.put_back(call.slot.take_back());
        let course = self.desk.course(id);
        let end = match result {
            Ok(()) => End::of_ok(course),
            Err(status) => {
                self.forget(&call.connection);
                let is_stale = !call.is_first && !call.slot.has_taken() && is_broken(status);
                let mut end = End::of(status, course);
                // It was closed while nothing went on: that says nothing of the service.
                if is_stale {
                    end.queued = None;
                }
                end
            }
        };
        self.desk.ended(id, end, was_current);
    }

    fn remove(&mut self, id: CallId) -> Option<(Call, bool)> {
        if let Some(call) = self.current.take_if(|call| call.id == id) {
            return Some((call, true));
        }
        self.ending
            .take_if(|call| call.id == id)
            .map(|call| (call, false))
    }

    /// The next call gets another connection.
    fn forget(&mut self, connection: &Arc<Connection>) {
        self.connection.take_if(|of| Arc::ptr_eq(of, connection));
    }

    fn retire(&mut self) {
        self.dialing = None;
        if let Some(call) = &self.current {
            self.desk.put_back(call.slot.take_back());
        }
        self.desk.fail_queue(&retired());
    }

    /// In order, as far as the service does its part.
    async fn end(mut self) {
        for call in [&self.current, &self.ending].into_iter().flatten() {
            call.slot.close();
        }
        let ended = async {
            while self.current.is_some() || self.ending.is_some() {
                match self.events.1.recv().await {
                    Some(event) => self.take(event),
                    None => return,
                }
            }
        };
        // What isn't answered by then comes again.
        let _ = timeout(END_LIMIT, ended).await;
    }
}

fn retired() -> Verdict {
    Verdict::retry("not sent: the destination has other settings now")
}
