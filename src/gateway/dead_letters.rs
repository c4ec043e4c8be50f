//! Dead letters for operators: what is there, redriven, purged.
//!
//! What lives here: who is asked what, the redrives that run, and those that nobody ordered. What must not: what makes a letter
//! gone for good (the journal), which room that frees (`egress::stream`), JSON.

mod detour;
mod job;
mod make;
mod scan;

use super::lanes::{Lane, Lanes};
use super::reload::Board;
use crate::admin::letters::{
    Answer, DOOR_ALIAS, Hide, Letter, LettersAsk, LettersError, LogShown, Logs, Page, PageWanted,
    PurgeOrder, Purged, Received, Redrive, RedriveOrder, RedriveState, Redrives, Which,
};
use crate::clock::Clock;
use crate::door::Door;
use crate::egress::stream::{StreamRecord, origin};
use crate::journal::{DOOR_NAME, MAX_RUNS};
pub use detour::run as run_detours;
use job::Job;
use scan::{Letters, runs_of};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// Redrives that are told about when they are over: the last ones.
const KEPT_REDRIVES: usize = 100;
/// A purge by a filter reads so much, and says where to go on.
const PURGE_BYTES: usize = 64 << 20;
/// Letters that one purge may name.
const MAX_OFFSETS: usize = 100_000;

/// Cheap to clone: each question is answered by a task of its own, because it may read a disk.
#[derive(Clone)]
pub struct DeadLetterDesk {
    pub door: Arc<Door>,
    pub lanes: Arc<Lanes>,
    pub board: Arc<Board>,
    pub clock: Clock,
    pub stop: watch::Receiver<bool>,
    pub jobs: Arc<Jobs>,
}

/// The redrives since the start, the newest last.
#[derive(Default)]
pub struct Jobs(Mutex<Numbered>);

#[derive(Default)]
struct Numbered {
    jobs: VecDeque<Arc<Job>>,
    begun: u64,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Numbered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one, unless one of that lane runs.
    fn begin(
        &self,
        make: impl FnOnce(String) -> Job,
        clock: &Clock,
    ) -> Result<Arc<Job>, Box<Redrive>> {
        let mut all = self.lock();
        all.begun += 1;
        // A number of another run is never taken for one of this.
        let job = make(format!("{:x}-{}", clock.wall().0, all.begun));
        let mut running = all.jobs.iter().map(|job| job.shown());
        if let Some(other) = running
            .find(|other| other.name == job.shown().name && other.state == RedriveState::Running)
        {
            return Err(Box::new(other));
        }
        let job = Arc::new(job);
        all.jobs.push_back(Arc::clone(&job));
        let is_over = |job: &Arc<Job>| job.shown().state != RedriveState::Running;
        if all.jobs.len() > KEPT_REDRIVES
            && let Some(oldest) = all.jobs.iter().position(is_over)
        {
            all.jobs.remove(oldest);
        }
        Ok(job)
    }

    fn find(&self, id: &str) -> Option<Arc<Job>> {
        let all = self.lock();
        all.jobs.iter().find(|job| job.shown().id == id).cloned()
    }
}

impl DeadLetterDesk {
    /// Whoever asked may be gone when it is answered.
    pub fn answer(&self, ask: LettersAsk) {
        let desk = self.clone();
        tokio::spawn(async move {
            match ask {
                LettersAsk::Logs(answer) => tell(answer, Ok(desk.logs())),
                LettersAsk::Page {
                    name,
                    wanted,
                    answer,
                } => tell(answer, desk.page(name, wanted).await),
                LettersAsk::One {
                    name,
                    offset,
                    answer,
                } => tell(answer, desk.one(name, offset).await),
                LettersAsk::Redrive {
                    name,
                    order,
                    answer,
                } => tell(answer, desk.redrive(name, order).await),
                LettersAsk::Purge {
                    name,
                    order,
                    answer,
                } => tell(answer, desk.purge(name, order).await),
                LettersAsk::Redrives(answer) => tell(answer, Ok(desk.redrives())),
                LettersAsk::Progress { id, stop, answer } => {
                    tell(answer, desk.progress(&id, stop));
                }
            }
        });
    }

    fn lane(&self, name: &str) -> Result<(String, Arc<Lane>), LettersError> {
        let name = if name == DOOR_ALIAS { DOOR_NAME } else { name };
        match self.lanes.get(name) {
            Some(lane) => Ok((name.to_owned(), lane)),
            None => Err(LettersError::UnknownLane {
                lane: name.to_owned(),
                known: self.lanes.all().into_iter().map(|(name, _)| name).collect(),
            }),
        }
    }

    fn logs(&self) -> Logs {
        let log = |(name, lane): (String, Arc<Lane>)| LogShown {
            letters: Letters::of(&lane).count(),
            bytes: lane.dead_letter_bytes(),
            max_bytes: lane.dead_letters_max_bytes(),
            is_full: lane.dead_letters().is_full(),
            name,
        };
        Logs {
            logs: self.lanes.all().into_iter().map(log).collect(),
        }
    }

    fn hide(&self) -> Hide {
        let settings = self.board.settings();
        Hide {
            headers: settings.dead_letters.redact.clone().into(),
            payload: settings.dead_letters.redact_payload,
        }
    }

    async fn page(&self, name: String, wanted: PageWanted) -> Result<Page, LettersError> {
        let (name, lane) = self.lane(&name)?;
        let matcher = wanted.filter.matcher()?;
        let found = blocking(&name, move || {
            Letters::of(&lane).page(&matcher, wanted.limit, wanted.max_bytes)
        })
        .await?;
        Ok(Page {
            letters: found.letters.into_iter().map(shown).collect(),
            next: found.next,
            hide: self.hide(),
        })
    }

    async fn one(&self, name: String, offset: u64) -> Result<Page, LettersError> {
        let (name, lane) = self.lane(&name)?;
        let found = blocking(&name, move || Letters::of(&lane).one(offset)).await?;
        Ok(Page {
            letters: found.into_iter().map(shown).collect(),
            next: None,
            hide: self.hide(),
        })
    }

    async fn redrive(&self, name: String, order: RedriveOrder) -> Result<Redrive, LettersError> {
        order.which().check()?;
        let (name, lane) = self.lane(&name)?;
        if order.rate == Some(0) {
            return Err(LettersError::Malformed(
                "rate: it must be 1 at least".into(),
            ));
        }
        if *self.stop.borrow() {
            return Err(LettersError::Stopping);
        }
        check_count(&order.which())?;
        let matcher = order.filter.clone().unwrap_or_default().matcher()?;
        let letters = Letters::of(&lane);
        let job = self
            .jobs
            .begin(|id| Job::new(id, name, &order, &letters), &self.clock)
            .map_err(|other| LettersError::RedriveRunning {
                name: other.name,
                id: other.id,
            })?;
        let shown = job.shown();
        let running = job::Running::new(self, job, lane, order, matcher, letters.end());
        tokio::spawn(running.run());
        Ok(shown)
    }

    async fn purge(&self, name: String, order: PurgeOrder) -> Result<Purged, LettersError> {
        order.which().check()?;
        check_count(&order.which())?;
        let (name, lane) = self.lane(&name)?;
        let matcher = order.filter.clone().unwrap_or_default().matcher()?;
        let lane_too = Arc::clone(&lane);
        let (runs, next) = blocking(&name, move || {
            let letters = Letters::of(&lane_too);
            Ok(match order.offsets {
                Some(offsets) => (letters.there(offsets), None),
                None if order.all => (letters.all(), None),
                None => {
                    let (offsets, next) = letters.matching(&matcher, PURGE_BYTES)?;
                    (runs_of(offsets), next)
                }
            })
        })
        .await?;
        let purged = runs.iter().map(|run| run.end - run.start).sum();
        for piece in runs.chunks(MAX_RUNS) {
            let journal = &self.door.journal;
            let noted = journal.purge_letters(lane.state.id, piece.to_vec()).await;
            noted.map_err(|refusal| LettersError::Failed {
                name: name.clone(),
                why: refusal.to_string(),
            })?;
        }
        tracing::info!(lane = %name, letters = purged, "dead letters purged");
        lane.count_purged(purged);
        Ok(Purged { name, purged, next })
    }

    fn redrives(&self) -> Redrives {
        let all = self.jobs.lock();
        Redrives {
            redrives: all.jobs.iter().map(|job| job.shown()).collect(),
        }
    }

    fn progress(&self, id: &str, stop: bool) -> Result<Redrive, LettersError> {
        let job = self.jobs.find(id);
        let job = job.ok_or_else(|| LettersError::UnknownRedrive(id.to_owned()))?;
        if stop {
            job.stop();
        }
        Ok(job.shown())
    }
}

fn check_count(which: &Which) -> Result<(), LettersError> {
    match &which.offsets {
        Some(offsets) if offsets.len() > MAX_OFFSETS => Err(LettersError::Malformed(format!(
            "offsets: {} of them, more than {MAX_OFFSETS}; use a filter, or several orders",
            offsets.len()
        ))),
        _ => Ok(()),
    }
}

fn tell<T>(answer: Answer<T>, result: Result<T, LettersError>) {
    drop(answer.send(result));
}

async fn blocking<T: Send + 'static>(
    name: &str,
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, LettersError> {
    let failed = |why: String| LettersError::Failed {
        name: name.to_owned(),
        why,
    };
    let read = spawn_blocking(read).await;
    read.map_err(|e| failed(format!("a bug: {e}")))?
        .map_err(failed)
}

fn shown((offset, record): (u64, StreamRecord)) -> Letter {
    let origin = origin::decode(&record).and_then(Result::ok);
    let reroute_only = make::planned(&record, origin.as_ref()).is_err();
    let redrive_of = origin
        .as_ref()
        .and_then(|origin| origin.message.envelope.redrive_of());
    let received = origin.map(|origin| {
        let envelope = origin.message.envelope;
        Received {
            principal: envelope.principal,
            source: envelope.source,
            topic: envelope.topic,
            key: envelope.key,
            headers: envelope.headers,
            content_type: envelope.content_type,
            payload: envelope.payload.ok(),
        }
    });
    Letter {
        offset,
        record,
        received,
        reroute_only,
        redrive_of,
    }
}
