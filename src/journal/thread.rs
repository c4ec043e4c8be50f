//! The journal's two threads and the handle that everybody else holds.
//!
//! Submissions queue while a batch is synced; the next batch takes them all. Receipts are handed
//! to one task of the runtime as a whole: waking tasks one by one from here costs more than the write.

mod guard;
#[cfg(test)]
mod tests;

use super::core::{Answer, Journal, Step};
use super::keeper::{CheckpointImage, Keeper};
use super::orders::{Count, Order, Orders, Placed};
use super::replies::{Mailbox, Outgoing, Replies, Reply, Run};
use super::state::Shared;
use super::{SettleGroup, Submission, lookup};
use crate::faults::Faults;
use crate::log::Record;
use crate::log::disk::Disk;
use crate::message::{Position, Refusal};
use guard::Guard;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};

/// Settlements wait this long for a publish to ride with.
const SETTLE_LINGER: Duration = Duration::from_millis(100);
/// How often the housekeeper looks without being called.
const KEEPER_TICK: Duration = Duration::from_millis(100);
/// While the log has no room its thread looks again this often.
const STALL_TICK: Duration = Duration::from_millis(20);
/// Publishes that may wait in the queue; more are refused. As many, and what was in the queue then,
/// may be left over by a step that had no room. Clients that stay meet the doors' own limits first.
const MAX_QUEUED: usize = 100_000;
/// Groups of settlements that may wait.
const MAX_SETTLE_GROUPS: usize = 1024;
/// So few receipts are sent straight away: the detour by a task would cost more.
const DIRECT_RECEIPTS: usize = 2;

type Find = (
    u128,
    oneshot::Sender<Option<(Position, super::idtable::Targets)>>,
);
/// Receipts on their way to the task that sends them, and records that it frees.
type Post = (Vec<Outgoing>, Vec<Record>);
pub type Receipts = mpsc::UnboundedReceiver<Post>;

#[derive(Default)]
struct Queue {
    publishes: VecDeque<Submission>,
    replies: Replies,
    settlements: VecDeque<SettleGroup>,
    settlements_since: Option<Instant>,
    finds: Vec<Find>,
    orders: VecDeque<Placed>,
    /// Ever.
    queued: Count,
    image_wanted: bool,
    image: Option<CheckpointImage>,
    keeper_called: bool,
    stopping: bool,
    keeper_stopping: bool,
}

struct Threads {
    queue: Mutex<Queue>,
    journal_wakes: Condvar,
    keeper_wakes: Condvar,
    settle_room: Notify,
}

/// Cheap to clone; given to the door, the feeds and the status page.
#[derive(Clone)]
pub struct Handle {
    threads: Arc<Threads>,
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    faults: Faults,
}

/// Ends the threads when asked to.
pub struct Running {
    handle: Handle,
    journal: JoinHandle<Journal>,
    keeper: JoinHandle<Keeper>,
}

impl Threads {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the threads.
pub fn start(
    journal: Journal,
    keeper: Keeper,
    disk: Arc<dyn Disk>,
) -> io::Result<(Running, Handle, Receipts)> {
    let threads = Arc::new(Threads {
        queue: Mutex::default(),
        journal_wakes: Condvar::new(),
        keeper_wakes: Condvar::new(),
        settle_room: Notify::new(),
    });
    let handle = Handle {
        threads: Arc::clone(&threads),
        faults: journal.faults(),
        shared: Arc::clone(journal.shared()),
        disk,
    };
    let (sender, receipts) = mpsc::unbounded_channel();
    let (for_journal, for_keeper) = (Arc::clone(&threads), Arc::clone(&handle.shared));
    let journal = std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || run_journal(journal, &for_journal, &sender))?;
    let keeper = std::thread::Builder::new()
        .name("keeper".into())
        .spawn(move || run_keeper(keeper, &threads, for_keeper))?;
    Ok((
        Running {
            handle: handle.clone(),
            journal,
            keeper,
        },
        handle,
        receipts,
    ))
}

/// Sends receipts from inside the runtime; ends when the journal's thread has.
pub async fn send_receipts(mut receipts: Receipts) {
    while let Some((batch, _spent)) = receipts.recv().await {
        for outgoing in batch {
            outgoing.send();
        }
    }
}

impl Running {
    /// Lets the threads finish what is queued, writes a last checkpoint, and ends them.
    pub fn stop(self) {
        {
            let mut queue = self.handle.threads.lock();
            queue.stopping = true;
            self.handle.threads.journal_wakes.notify_all();
        }
        let journal = self.journal.join();
        {
            let mut queue = self.handle.threads.lock();
            queue.keeper_stopping = true;
            self.handle.threads.keeper_wakes.notify_all();
        }
        if let (Ok(journal), Ok(mut keeper)) = (journal, self.keeper.join())
            && journal.shared().failure().is_none()
        {
            keeper.step();
            keeper.checkpoint(&journal.checkpoint_image());
        }
    }
}

impl Handle {
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Those planted in the test build; the lanes have theirs too.
    #[must_use]
    pub const fn faults(&self) -> Faults {
        self.faults
    }

    /// Queues a publish. The answer comes when it is durable, or refused.
    pub fn submit(&self, submission: Submission) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let mut queue = self.threads.lock();
        if queue.stopping {
            return Err(Refusal::Stopping);
        }
        if queue.publishes.len() >= MAX_QUEUED {
            return Err(Refusal::Busy);
        }
        queue.publishes.push_back(submission);
        queue.replies.push(Reply::One(reply));
        queue.queued.publishes += 1;
        let first = queue.publishes.len() == 1;
        drop(queue);
        if first {
            self.threads.journal_wakes.notify_one();
        }
        Ok(answer)
    }

    /// Queues publishes in their order, as many as there is room for. Their answers come to the mailbox, in
    /// the same order.
    ///
    /// # Errors
    /// Why those that are left in `submissions` weren't taken.
    pub fn submit_all(
        &self,
        submissions: &mut Vec<Submission>,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(), Refusal> {
        let mut queue = self.threads.lock();
        if queue.stopping {
            return Err(Refusal::Stopping);
        }
        let before = queue.publishes.len();
        let count = submissions.len().min(MAX_QUEUED.saturating_sub(before));
        if count > 0 {
            queue.publishes.extend(submissions.drain(..count));
            queue.replies.push(Reply::Run(Run::new(mailbox, count)));
            queue.queued.publishes += count as u64;
        }
        drop(queue);
        if before == 0 {
            self.threads.journal_wakes.notify_one();
        }
        match submissions.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Busy),
        }
    }

    /// Queues settlements: they become durable with the next batch. Waits while too many are on
    /// their way; fails once the journal takes no writes.
    pub async fn settle(&self, group: SettleGroup) -> Result<(), String> {
        loop {
            if let Some(reason) = self.shared.failure() {
                return Err(reason);
            }
            let room = self.threads.settle_room.notified();
            if self.threads.lock().settlements.len() < MAX_SETTLE_GROUPS {
                break;
            }
            room.await;
        }
        self.push_settlements(group);
        Ok(())
    }

    fn push_settlements(&self, group: SettleGroup) {
        for settlement in &group.settlements {
            self.shared
                .waiters
                .settled(settlement.at, settlement.outcome.state());
        }
        let mut queue = self.threads.lock();
        queue.settlements.push_back(group);
        queue.queued.groups += 1;
        let first = queue.settlements_since.is_none();
        queue.settlements_since.get_or_insert_with(Instant::now);
        drop(queue);
        if first {
            self.threads.journal_wakes.notify_one();
        }
    }

    /// Queues an order behind all that is queued by now.
    pub(super) fn order(&self, order: Order) -> Result<(), Refusal> {
        let mut queue = self.threads.lock();
        if queue.stopping {
            return Err(Refusal::Stopping);
        }
        let after = queue.queued;
        queue.orders.push_back(Placed { after, order });
        drop(queue);
        self.threads.journal_wakes.notify_one();
        Ok(())
    }

    /// The newest position of an identity, while its id is in the window or in a segment.
    pub async fn find(&self, key: u128) -> io::Result<Option<(Position, super::idtable::Targets)>> {
        let (reply, found) = oneshot::channel();
        self.ask_thread((key, reply));
        if let Ok(Some(found)) = found.await {
            return Ok(Some(found));
        }
        let (disk, shared) = (Arc::clone(&self.disk), Arc::clone(&self.shared));
        tokio::task::spawn_blocking(move || lookup::find_key(&*disk, &shared, key))
            .await
            .map_err(io::Error::other)?
    }

    /// Else its thread has ended, or will: the log has it, or nothing has.
    fn ask_thread(&self, find: Find) {
        let mut queue = self.threads.lock();
        if !queue.stopping {
            queue.finds.push(find);
            drop(queue);
            self.threads.journal_wakes.notify_one();
        }
    }

    /// Where the deliveries of a position go.
    pub async fn targets_at(&self, position: Position) -> io::Result<Option<lookup::Found>> {
        let (disk, shared) = (Arc::clone(&self.disk), Arc::clone(&self.shared));
        tokio::task::spawn_blocking(move || lookup::targets_at(&*disk, &shared, position))
            .await
            .map_err(io::Error::other)?
    }
}

/// What the journal's thread took from the queue.
#[derive(Default)]
struct Work {
    publishes: VecDeque<Submission>,
    replies: Replies,
    settlements: VecDeque<SettleGroup>,
    orders: Orders,
    stalled: bool,
}

impl Work {
    /// The last step left something: it fills the next batch.
    fn is_left_over(&self) -> bool {
        let is_empty =
            self.publishes.is_empty() && self.settlements.is_empty() && self.orders.is_empty();
        !self.stalled && !is_empty
    }

    /// One batch, of what comes before the next order.
    fn step(&mut self, journal: &mut Journal) -> Step {
        let mut behind = self.orders.set_aside(&mut self.publishes);
        let groups = self.settlements.len();
        let step = journal.step(&mut self.publishes, &mut self.settlements);
        let settled = groups - self.settlements.len();
        self.orders.count(step.answers.len(), settled);
        self.publishes.append(&mut behind);
        self.stalled = step.stalled;
        step
    }
}

fn run_journal(
    mut journal: Journal,
    threads: &Threads,
    receipts: &mpsc::UnboundedSender<Post>,
) -> Journal {
    let mut work = Work::default();
    // Dropped before the work: whoever hears that there is no answer can see why.
    let _guard = Guard::new(threads, Arc::clone(journal.shared()));
    loop {
        let (finds, image_wanted, stopping) = take_work(threads, &mut work);
        for (key, reply) in finds {
            let _ = reply.send(journal.find(key));
        }
        if image_wanted {
            let image = journal.checkpoint_image();
            threads.lock().image = Some(image);
            threads.keeper_wakes.notify_all();
        }
        work.orders.obey(&mut journal);
        if !work.publishes.is_empty() || !work.settlements.is_empty() || journal.has_notices() {
            let step = work.step(&mut journal);
            if step.sealed || step.stalled {
                threads.lock().keeper_called = true;
                threads.keeper_wakes.notify_all();
            }
            send(step, &mut work.replies, receipts);
        }
        work.orders.tell(&journal);
        let failed = journal.shared().failure().is_some();
        let idle = work.publishes.is_empty() && (work.settlements.is_empty() || failed);
        if stopping && idle && is_empty(threads) {
            return journal;
        }
    }
}

fn is_empty(threads: &Threads) -> bool {
    let queue = threads.lock();
    queue.publishes.is_empty() && queue.settlements.is_empty()
}

/// Waits until there is something to do, and takes it all.
fn take_work(threads: &Threads, work: &mut Work) -> (Vec<Find>, bool, bool) {
    let mut queue = threads.lock();
    loop {
        let linger = queue
            .settlements_since
            .map(|since| SETTLE_LINGER.saturating_sub(since.elapsed()));
        let ready = !queue.publishes.is_empty()
            || !queue.finds.is_empty()
            || !queue.orders.is_empty()
            || queue.image_wanted
            || queue.stopping
            || linger.is_some_and(|left| left.is_zero())
            || work.is_left_over();
        if ready && !work.stalled {
            break;
        }
        let wait = if work.stalled {
            Some(STALL_TICK)
        } else {
            linger
        };
        // Stalled: one look later it is tried again, whatever woke us.
        work.stalled = false;
        queue = match wait {
            Some(wait) => {
                let waited = threads.journal_wakes.wait_timeout(queue, wait);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => threads
                .journal_wakes
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner),
        };
    }
    if work.publishes.is_empty() {
        std::mem::swap(&mut work.publishes, &mut queue.publishes);
        work.replies.append(&mut queue.replies);
    } else if work.publishes.len() < MAX_QUEUED {
        work.publishes.append(&mut queue.publishes);
        work.replies.append(&mut queue.replies);
    }
    // Else what the last step left over goes first: the queue fills, and refuses.
    work.settlements.append(&mut queue.settlements);
    work.orders.append(&mut queue.orders);
    queue.settlements_since = None;
    threads.settle_room.notify_waiters();
    let image_wanted = std::mem::take(&mut queue.image_wanted);
    (
        std::mem::take(&mut queue.finds),
        image_wanted,
        queue.stopping,
    )
}

fn send(step: Step, replies: &mut Replies, receipts: &mpsc::UnboundedSender<Post>) {
    if step.answers.is_empty() {
        return;
    }
    let is_short = step.answers.len() <= DIRECT_RECEIPTS;
    let batch = replies.address(step.answers);
    // What goes to a mailbox always takes the same way: it is told apart by its order alone.
    let unsent = if is_short && batch.iter().all(Outgoing::is_alone) {
        batch
    } else {
        match receipts.send((batch, step.spent)) {
            Ok(()) => return,
            // The runtime is gone; so is everybody who waits.
            Err(mpsc::error::SendError((batch, _))) => batch,
        }
    };
    for outgoing in unsent {
        outgoing.send();
    }
}

fn run_keeper(mut keeper: Keeper, threads: &Threads, shared: Arc<Shared>) -> Keeper {
    let _guard = Guard::new(threads, shared);
    loop {
        keeper.step();
        threads.journal_wakes.notify_all();
        if keeper.checkpoint_is_due()
            && let Some(image) = request_image(threads)
        {
            keeper.checkpoint(&image);
        }
        let mut queue = threads.lock();
        if queue.keeper_stopping {
            return keeper;
        }
        if !queue.keeper_called {
            let waited = threads.keeper_wakes.wait_timeout(queue, KEEPER_TICK);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.keeper_called = false;
    }
}

/// Asks the journal's thread for a checkpoint image; `None` if it is stopping.
fn request_image(threads: &Threads) -> Option<CheckpointImage> {
    let mut queue = threads.lock();
    queue.image_wanted = true;
    threads.journal_wakes.notify_one();
    loop {
        if let Some(image) = queue.image.take() {
            return Some(image);
        }
        if queue.stopping || queue.keeper_stopping {
            return None;
        }
        let waited = threads.keeper_wakes.wait_timeout(queue, KEEPER_TICK);
        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}
