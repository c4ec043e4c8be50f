//! Answers the questions of health and control: what the gateway holds and owes.

use super::dead_letters::DeadLetterDesk;
use super::lanes::{Lane, Lanes, MemoryLane};
use super::news::shortage;
use super::process::process;
use super::rehearsal::Rehearsal;
use super::reload::{Ask, Board};
use crate::admin::explanation::Explanation;
use crate::admin::status::{
    DedupStatus, GrpcCalls, GrpcStatus, HttpAnswers, HttpStatus, JournalStatus, LaneState,
    LaneStatus, LaneTimes, MemoryStatus, Status, StreamStatus, Times,
};
use crate::admin::{
    DropError, Dropping, LaneOrder, LaneOrderError, LaneTold, Question, ReloadError,
    SkippedDelivery,
};
use crate::clock::{Clock, Wall};
use crate::config::Settings;
use crate::door::Door;
use crate::ingress::grpc::{self, Method, OK};
use crate::ingress::http::Counters;
use crate::journal::{Counts, Discard};
use crate::lane;
use crate::log::disk::Disk;
use crate::message::{DiscardReason, Envelope};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

pub struct StatusDesk {
    pub board: Arc<Board>,
    pub reloads: mpsc::Sender<Ask>,
    pub door: Arc<Door>,
    pub lanes: Arc<Lanes>,
    pub counters: Arc<Counters>,
    pub grpc: Arc<grpc::Counters>,
    pub clock: Clock,
    pub started: Wall,
    /// Those that take publishes, by name.
    pub listeners: Vec<(&'static str, AbortHandle)>,
    pub disk: Arc<dyn Disk>,
    pub stop: watch::Receiver<bool>,
    pub letters: DeadLetterDesk,
}

impl StatusDesk {
    pub async fn answer(self, mut questions: mpsc::Receiver<Question>) {
        while let Some(question) = questions.recv().await {
            match question {
                // Whoever asked may be gone.
                Question::Status(answer) => drop(answer.send(self.status())),
                Question::Explain { envelope, answer } => {
                    drop(answer.send(self.explain(*envelope)));
                }
                Question::DropLane {
                    lane,
                    discard,
                    answer,
                } => {
                    drop(answer.send(self.drop_lane(lane, discard).await));
                }
                Question::OrderLane {
                    lane,
                    order,
                    answer,
                } => {
                    drop(answer.send(self.order_lane(lane, order).await));
                }
                Question::Tap { wanted, answer } => {
                    drop(answer.send(self.door.taps.open(*wanted)));
                }
                Question::Letters(ask) => self.letters.answer(ask),
                Question::Reload(answer) => self.reload(answer),
            }
        }
    }

    /// Handed on, because it takes its time.
    fn reload(&self, answer: Ask) {
        let (answer, error) = match self.reloads.try_send(answer) {
            Ok(()) => return,
            Err(TrySendError::Full(answer)) => (answer, ReloadError::Busy),
            Err(TrySendError::Closed(answer)) => (answer, ReloadError::Stopping),
        };
        drop(answer.send(Err(error)));
    }

    /// By the rules that publishes meet at this moment.
    fn explain(&self, envelope: Envelope) -> Explanation {
        let shared = self.door.journal.shared();
        let running = self.door.generations.running();
        let rehearsal = Rehearsal {
            rules: running.rules(),
            hasher: Some(shared.hasher),
            now: self.clock.wall(),
        };
        rehearsal.explain(envelope)
    }

    async fn drop_lane(&self, name: String, discard: bool) -> Result<Dropping, DropError> {
        let Some(lane) = self.lanes.get(&name) else {
            let known = self.lanes.all().into_iter().map(|(name, _)| name).collect();
            return Err(DropError::UnknownLane { lane: name, known });
        };
        let (deliveries, bytes) = {
            let ledger = lane.state.ledger();
            (ledger.pending(), ledger.owed_bytes())
        };
        let until = self.door.journal.shared().reader.bounds().1;
        lane.drop_all(discard, until)
            .await
            .map_err(DropError::Failed)?;
        Ok(Dropping {
            lane: name,
            deliveries,
            bytes,
            discard,
        })
    }

    async fn order_lane(&self, name: String, order: LaneOrder) -> Result<LaneTold, LaneOrderError> {
        let Some(lane) = self.lanes.get(&name) else {
            let known = self.lanes.all().into_iter().map(|(name, _)| name).collect();
            return Err(LaneOrderError::UnknownLane { lane: name, known });
        };
        let skipped = lane.obey(order).await.map_err(LaneOrderError::Refused)?;
        let word = match order {
            LaneOrder::Pause => "pause",
            LaneOrder::Resume => "resume",
            LaneOrder::Skip(_) => "skip",
        };
        let ledger = lane.state.ledger();
        Ok(LaneTold {
            lane: name,
            order: word.into(),
            deliveries: ledger.pending(),
            bytes: ledger.owed_bytes(),
            skipped: skipped.map(|skipped| SkippedDelivery {
                position: skipped.at.position.0,
                ordinal: skipped.at.ordinal.0,
                attempts: skipped.attempts,
                last_error: skipped.last_error.map(|reason| reason.to_string()),
                in_flight: skipped.in_flight,
            }),
        })
    }

    fn status(&self) -> Status {
        let settings = self.board.settings();
        let lanes = self.lanes.all();
        Status {
            gateway: settings.gateway.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: Duration::from_millis(self.clock.mono().0).as_secs_f64(),
            process: process(self.started),
            not_ready: self.not_ready(),
            config: self.board.status(),
            journal: self.journal(&settings),
            dedup: self.dedup(&settings),
            refusals: self.refusals(),
            route_skips: self.door.skips.counts(),
            lanes: lanes
                .iter()
                .map(|(name, lane)| self.lane(name, lane))
                .collect(),
            streams: lanes
                .iter()
                .filter_map(|(name, lane)| stream(name, lane))
                .collect(),
            http: self.http(),
            grpc: self.grpc(),
            times: self.times(),
        }
    }

    fn times(&self) -> Times {
        let shared = self.door.journal.shared();
        Times {
            accept: self.door.accept_times.observed(),
            store: shared.store_times.observed(),
            sync: shared.sync_times.observed(),
        }
    }

    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if *self.stop.borrow() {
            reasons.push("the gateway is stopping".to_owned());
        } else {
            let ended = self.listeners.iter().filter(|(_, task)| task.is_finished());
            reasons.extend(ended.map(|(name, _)| format!("the {name} listener has ended")));
        }
        let shortage = shortage(self.door.journal.shared().space());
        reasons.extend(shortage.map(str::to_owned));
        reasons
    }

    fn journal(&self, settings: &Settings) -> JournalStatus {
        let shared = self.door.journal.shared();
        let log = shared.reader.shared();
        let counters = &shared.counters;
        let batches = counters.batches.load(Ordering::Relaxed);
        let sync_times = shared.sync_times.observed();
        JournalStatus {
            uuid: shared.reader.uuid().to_string(),
            next_position: shared.reader.bounds().1.0,
            bytes: log.total_bytes(),
            max_bytes: settings.journal.max_bytes,
            segments: log.segments().len() as u64,
            free_bytes: self.disk.free_bytes(log.dir()).unwrap_or(0),
            syncs: batches,
            sync_seconds: sync_times.sum_seconds,
            batches,
            batch_records: counters.records.load(Ordering::Relaxed),
            failed: shared.failure(),
        }
    }

    fn dedup(&self, settings: &Settings) -> DedupStatus {
        let counters = &self.door.journal.shared().counters;
        let true_window_ms = counters.true_window_ms.load(Ordering::Relaxed);
        DedupStatus {
            entries: counters.dedup_entries.load(Ordering::Relaxed),
            max_entries: settings.dedup.max_entries as u64,
            hits: counters.duplicates.load(Ordering::Relaxed),
            conflicts: counters.conflicts.load(Ordering::Relaxed),
            evictions: counters.dedup_evictions.load(Ordering::Relaxed),
            window_seconds: settings.dedup.window.as_secs_f64(),
            true_window_seconds: Duration::from_millis(true_window_ms).as_secs_f64(),
        }
    }

    fn refusals(&self) -> BTreeMap<String, u64> {
        let counts = self.door.refusals.counts();
        counts
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect()
    }

    fn http(&self) -> HttpStatus {
        let answers = self
            .counters
            .answered()
            .into_iter()
            .map(|answered| HttpAnswers {
                endpoint: answered.endpoint.as_str().into(),
                status: answered.status,
                count: answered.count,
            });
        let connections = &self.counters.connections;
        let foreign = connections.foreign();
        let problems = self.counters.problems();
        let problems = problems.map(|(kind, count)| (kind.as_str().to_owned(), count));
        let ended = connections.ended();
        let ended = ended.map(|(why, count)| (why.as_str().to_owned(), count));
        let event_readers = self.counters.event_readers();
        HttpStatus {
            answers: answers.collect(),
            refused_connections: connections.refused_connections(),
            event_readers: event_readers.now,
            opened_event_readers: event_readers.opened,
            refused_event_readers: event_readers.refused,
            foreign: foreign
                .map(|(by, count)| (by.as_str().to_owned(), count))
                .into(),
            problems: problems.into(),
            ended: ended.into(),
        }
    }

    fn grpc(&self) -> GrpcStatus {
        let calls = |method: Method, code: &str, count| GrpcCalls {
            method: method.as_str().to_owned(),
            code: code.to_owned(),
            count,
        };
        let open = self.grpc.open();
        let called = self.grpc.called();
        let succeeded = |m| called.iter().any(|c| c.method == m && c.code_name() == OK);
        // What is nought now may be wanted.
        let never = open.iter().filter(|(method, _)| !succeeded(*method));
        let never = never.map(|(method, _)| calls(*method, OK, 0));
        let ended = called
            .iter()
            .map(|c| calls(c.method, c.code_name(), c.count));
        let connections = &self.grpc.connections;
        GrpcStatus {
            calls: ended.chain(never).collect(),
            open_calls: open
                .map(|(method, n)| (method.as_str().to_owned(), n))
                .into(),
            refused_connections: connections.refused_connections(),
            foreign: connections
                .foreign()
                .map(|(by, count)| (by.as_str().to_owned(), count))
                .into(),
            ended: connections
                .ended()
                .map(|(why, count)| (why.as_str().to_owned(), count))
                .into(),
        }
    }

    fn lane(&self, name: &str, lane: &Lane) -> LaneStatus {
        let view = lane.view();
        // One lock: the equation of promise 12 holds in what is shown.
        let (counts, pending, owed_bytes, oldest) = {
            let ledger = lane.state.ledger();
            (
                *ledger.counts(),
                ledger.pending(),
                ledger.owed_bytes(),
                ledger.owed().first(),
            )
        };
        let (state, stopped_by) = state_of(lane, &view);
        let times = lane.handle().times();
        LaneStatus {
            name: name.to_owned(),
            state,
            stopped_by,
            planned: counts.planned,
            delivered: counts.delivered,
            dead_lettered: counts.dead_lettered,
            discarded: discarded(&counts),
            pending,
            owed_bytes,
            backlog_bytes: lane.state.backlog_bytes.load(Ordering::Relaxed),
            lag_seconds: oldest.map_or(0.0, |at| self.age_of(at.position)),
            held_keys: view.held_keys as u64,
            attempts: view.counts.attempts,
            retries: view.counts.retries,
            unknown: view.counts.unknown,
            rejected: view.counts.rejected,
            circuit_opened: view.counts.circuit_opened,
            next_try_seconds: view
                .next_try
                .map(|due| due.since(self.clock.mono()).as_secs_f64()),
            dead_letters: lane.letters(),
            dead_letters_redriven: lane.letters_redriven(),
            dead_letters_purged: lane.letters_purged(),
            dead_letter_bytes: lane.dead_letter_bytes(),
            dead_letter_max_bytes: lane.dead_letters_max_bytes(),
            last_error: view.last_error.map(|e| e.reason.to_string()),
            memory: lane.in_memory().map(|lane| memory(&lane)),
            times: LaneTimes {
                delivery: times.delivery.observed(),
                attempt: times.attempt.observed(),
            },
        }
    }

    /// Seconds since the envelope at a position was accepted.
    fn age_of(&self, position: crate::message::Position) -> f64 {
        let accepted = self.door.journal.shared().accepted_at(position);
        let age_ms = accepted.map_or(0, |wall| self.clock.wall().0.saturating_sub(wall.0));
        Duration::from_millis(age_ms).as_secs_f64()
    }
}

fn memory(lane: &MemoryLane) -> MemoryStatus {
    let (counts, view) = (lane.memory.counts(), lane.handle.view());
    let discarded = Discard::ALL.map(|why| (why.as_str().to_owned(), counts.discarded_as(why)));
    MemoryStatus {
        state: view.state.as_str().to_owned(),
        stopped_by: match view.state {
            lane::LaneState::Stopped { reason }
            | lane::LaneState::Open { reason }
            | lane::LaneState::HalfOpen { reason } => Some(reason.to_string()),
            _ => None,
        },
        planned: counts.planned,
        delivered: counts.delivered,
        discarded: discarded.into(),
        pending: counts.pending,
        bytes: counts.pending_bytes,
        max_bytes: lane.memory.max_bytes(),
        last_error: view.last_error.map(|e| e.reason.to_string()),
    }
}

fn stream(name: &str, lane: &Lane) -> Option<StreamStatus> {
    let stats = lane.stream_stats()?;
    Some(StreamStatus {
        name: name.to_owned(),
        earliest: stats.earliest,
        next_offset: stats.next_offset,
        bytes: stats.bytes,
        failed: stats.failure.or(stats.trim_failure),
    })
}

fn state_of(lane: &Lane, view: &lane::LaneView) -> (LaneState, Option<String>) {
    match &view.state {
        lane::LaneState::Paused if lane.is_orphan => (LaneState::Orphaned, None),
        lane::LaneState::Running => (LaneState::Running, None),
        lane::LaneState::Holding => (LaneState::Holding, None),
        lane::LaneState::Paused => (LaneState::Paused, None),
        lane::LaneState::Dropping => (LaneState::Dropping, None),
        lane::LaneState::Stopped { reason } => (LaneState::Stopped, Some(reason.to_string())),
        lane::LaneState::Open { reason } => (LaneState::Open, Some(reason.to_string())),
        lane::LaneState::HalfOpen { reason } => (LaneState::HalfOpen, Some(reason.to_string())),
        lane::LaneState::RateLimited => (LaneState::RateLimited, None),
    }
}

fn discarded(counts: &Counts) -> BTreeMap<String, u64> {
    let of = |(reason, count): (DiscardReason, u64)| (reason.as_str().to_owned(), count);
    DiscardReason::ALL
        .into_iter()
        .zip(counts.discarded)
        .map(of)
        .collect()
}
