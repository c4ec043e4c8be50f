//! What the gateway says of itself: plain values that the metrics, the control API and
//! `causeway status` show. Their JSON is the control API's.

use crate::histogram::Observed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Taken in one go, so that in every lane planned = delivered + dead-lettered + discarded + pending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub gateway: String,
    pub version: String,
    pub uptime_seconds: f64,
    #[serde(default)]
    pub process: ProcessStatus,
    /// Why nothing may be sent here now (starting, stopping …), a failed journal apart.
    pub not_ready: Vec<String>,
    pub config: ConfigStatus,
    pub journal: JournalStatus,
    pub dedup: DedupStatus,
    /// Publishes that were refused since the start, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// What `on_error = "skip"` passed over since the start, by route.
    #[serde(default)]
    pub route_skips: BTreeMap<String, u64>,
    pub lanes: Vec<LaneStatus>,
    pub streams: Vec<StreamStatus>,
    pub http: HttpStatus,
    #[serde(default)]
    pub grpc: GrpcStatus,
    /// For the metrics alone: nobody reads buckets.
    #[serde(skip)]
    pub times: Times,
}

/// As the system counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Since 1970.
    pub start_time_seconds: f64,
    pub cpu_seconds: f64,
    pub resident_memory_bytes: Option<u64>,
    pub open_fds: Option<u64>,
    pub max_fds: Option<u64>,
}

/// How long a publish takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// From the call at the door to the receipt.
    pub accept: Observed,
    /// From the hand-over to the journal until it is durable.
    pub store: Observed,
    /// Of a batch of the journal: its write and sync.
    pub sync: Observed,
}

/// What of routes.toml is in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The start is 1, each reload that was taken one more.
    pub generation: u64,
    pub since: String,
    /// Settings of the file that wait for a restart.
    pub restart_needed: Vec<String>,
    pub reloads_ok: u64,
    pub reloads_refused: u64,
    pub last_reload: Option<LastReload>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastReload {
    pub at: String,
    /// Who asked for it: `SIGHUP`, `admin`, `file change`.
    pub by: String,
    pub ok: bool,
    pub changed: Vec<String>,
    /// Why it was refused.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JournalStatus {
    pub uuid: String,
    pub next_position: u64,
    pub bytes: u64,
    pub max_bytes: u64,
    pub segments: u64,
    /// Of the file system that it is on.
    pub free_bytes: u64,
    pub syncs: u64,
    pub sync_seconds: f64,
    pub batches: u64,
    /// Records in all batches together.
    pub batch_records: u64,
    /// Why it takes no writes until a restart.
    pub failed: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DedupStatus {
    pub entries: u64,
    pub max_entries: u64,
    /// Publishes that were duplicates.
    pub hits: u64,
    pub conflicts: u64,
    /// Ids that had to go before their time.
    pub evictions: u64,
    pub window_seconds: f64,
    /// How far back every id is known now.
    pub true_window_seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneStatus {
    pub name: String,
    pub state: LaneState,
    /// Why it stopped, or why its circuit is open.
    pub stopped_by: Option<String>,
    pub planned: u64,
    pub delivered: u64,
    pub dead_lettered: u64,
    /// By reason.
    pub discarded: BTreeMap<String, u64>,
    pub pending: u64,
    pub owed_bytes: u64,
    pub backlog_bytes: u64,
    /// Age of the oldest that is pending.
    pub lag_seconds: f64,
    pub held_keys: u64,
    /// In this run, as those below.
    #[serde(default)]
    pub attempts: u64,
    pub retries: u64,
    /// Attempts whose outcome nobody knows.
    #[serde(default)]
    pub unknown: u64,
    #[serde(default)]
    pub rejected: u64,
    /// How often its circuit opened.
    #[serde(default)]
    pub circuit_opened: u64,
    /// Until a probe, the next by the rate, or a retry.
    #[serde(default)]
    pub next_try_seconds: Option<f64>,
    /// That can be listed now.
    #[serde(default)]
    pub dead_letters: u64,
    /// Of these, since the start.
    #[serde(default)]
    pub dead_letters_redriven: u64,
    #[serde(default)]
    pub dead_letters_purged: u64,
    pub dead_letter_bytes: u64,
    pub dead_letter_max_bytes: u64,
    pub last_error: Option<String>,
    /// Of at_most_once deliveries, where some target asked for them.
    #[serde(default)]
    pub memory: Option<MemoryStatus>,
    #[serde(skip)]
    pub times: LaneTimes,
}

/// Deliveries that live in memory, since the start: planned = delivered + discarded + pending.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryStatus {
    pub state: String,
    /// Why it stopped, or why its circuit is open.
    pub stopped_by: Option<String>,
    pub planned: u64,
    pub delivered: u64,
    /// By reason.
    pub discarded: BTreeMap<String, u64>,
    pub pending: u64,
    pub bytes: u64,
    pub max_bytes: u64,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneTimes {
    /// From acceptance until the destination confirmed.
    pub delivery: Observed,
    /// Of one batch at the destination.
    pub attempt: Observed,
}

/// An embedded stream, as its readers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStatus {
    pub name: String,
    pub earliest: u64,
    pub next_offset: u64,
    pub bytes: u64,
    /// Why it takes nothing, or trims nothing, until a restart.
    pub failed: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    Running,
    /// Strict, and its first delivery waits.
    Holding,
    Paused,
    /// Tries nothing until somebody acts.
    Stopped,
    /// Its destination is no longer in routes.toml.
    Orphaned,
    Dropping,
    /// The destination failed again and again: nothing is tried until a probe.
    Open,
    /// A probe is under way.
    HalfOpen,
    /// It waits for the destination's `rate`.
    RateLimited,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpStatus {
    pub answers: Vec<HttpAnswers>,
    pub refused_connections: u64,
    /// Who reads streams as events: now, ever, and refused.
    pub event_readers: u64,
    pub opened_event_readers: u64,
    pub refused_event_readers: u64,
    /// Requests that aren't from this machine or for it, by what showed that.
    pub foreign: BTreeMap<String, u64>,
    /// Problems that were answered, lines of batches included, by type.
    pub problems: BTreeMap<String, u64>,
    /// Connections that the listener ended itself, by reason.
    pub ended: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GrpcStatus {
    pub calls: Vec<GrpcCalls>,
    /// Calls that aren't ended, by method.
    pub open_calls: BTreeMap<String, u64>,
    pub refused_connections: u64,
    pub foreign: BTreeMap<String, u64>,
    pub ended: BTreeMap<String, u64>,
}

/// That were ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcCalls {
    pub method: String,
    /// As the names of the standard: `OK`, `UNAVAILABLE`.
    pub code: String,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAnswers {
    pub endpoint: String,
    /// 0 for the uncommon ones together.
    pub status: u16,
    pub count: u64,
}

impl Status {
    /// Why it isn't ready; empty if it is.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let journal = self.journal.failed.iter().map(|why| {
            format!("the journal takes no writes until the gateway is restarted: {why}")
        });
        self.not_ready.iter().cloned().chain(journal).collect()
    }
}

impl LaneStatus {
    #[must_use]
    pub fn memory_named(&self) -> Option<(&str, &MemoryStatus)> {
        Some((&self.name, self.memory.as_ref()?))
    }

    #[must_use]
    pub fn discarded_sum(&self) -> u64 {
        self.discarded.values().sum()
    }
}

impl LaneState {
    pub const ALL: [Self; 9] = [
        Self::Running,
        Self::Holding,
        Self::Paused,
        Self::Stopped,
        Self::Orphaned,
        Self::Dropping,
        Self::Open,
        Self::HalfOpen,
        Self::RateLimited,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Holding => "holding",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Orphaned => "orphaned",
            Self::Dropping => "dropping",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::RateLimited => "rate_limited",
        }
    }
}

/// One gateway with a busy lane and an orphaned one.
#[cfg(test)]
pub(crate) fn sample() -> Status {
    let discarded = |dropped| [("dropped", dropped), ("expired", 1), ("lost", 0)];
    let lane = |name: &str, state, dropped| LaneStatus {
        name: name.into(),
        state,
        stopped_by: None,
        planned: 20 + dropped,
        delivered: 14,
        dead_lettered: 2,
        discarded: discarded(dropped)
            .map(|(reason, n)| (reason.to_owned(), n))
            .into(),
        pending: 3,
        owed_bytes: 4_096,
        backlog_bytes: 1 << 30,
        lag_seconds: 1.5,
        held_keys: 1,
        attempts: 22,
        retries: 6,
        unknown: 1,
        rejected: 2,
        circuit_opened: 1,
        next_try_seconds: Some(2.5),
        dead_letters: 2,
        dead_letters_redriven: 4,
        dead_letters_purged: 5,
        dead_letter_bytes: 512,
        dead_letter_max_bytes: 1 << 28,
        last_error: Some("refused by \"inbox\"".into()),
        memory: (dropped == 0).then(|| MemoryStatus {
            state: "running".into(),
            planned: 9,
            delivered: 5,
            discarded: [("full".to_owned(), 1), ("unknown".to_owned(), 1)].into(),
            pending: 2,
            bytes: 2_048,
            max_bytes: 16 << 20,
            ..MemoryStatus::default()
        }),
        times: LaneTimes::default(),
    };
    Status {
        gateway: "edge-1".into(),
        version: "0.1.0".into(),
        uptime_seconds: 61.25,
        process: ProcessStatus {
            start_time_seconds: 1.5e9,
            cpu_seconds: 2.5,
            resident_memory_bytes: Some(20 << 20),
            open_fds: Some(17),
            max_fds: None,
        },
        not_ready: Vec::new(),
        config: ConfigStatus {
            generation: 3,
            since: "2026-11-21T18:00:00.000Z".into(),
            reloads_ok: 2,
            ..ConfigStatus::default()
        },
        journal: JournalStatus {
            next_position: 40,
            syncs: 9,
            ..JournalStatus::default()
        },
        dedup: DedupStatus {
            entries: 5,
            window_seconds: 600.0,
            ..DedupStatus::default()
        },
        refusals: [("no_route".to_owned(), 2)].into(),
        route_skips: [("orders".to_owned(), 7)].into(),
        lanes: vec![
            lane("inbox", LaneState::Running, 0),
            lane("old \"one\"", LaneState::Orphaned, 5),
        ],
        streams: vec![StreamStatus {
            name: "inbox".into(),
            earliest: 3,
            next_offset: 14,
            bytes: 8_192,
            failed: None,
        }],
        http: HttpStatus {
            answers: vec![HttpAnswers {
                endpoint: "publish".into(),
                status: 202,
                count: 38,
            }],
            refused_connections: 1,
            event_readers: 3,
            opened_event_readers: 8,
            refused_event_readers: 2,
            foreign: [("host".to_owned(), 2)].into(),
            problems: [("too-large".to_owned(), 4)].into(),
            ended: [("silent".to_owned(), 5)].into(),
        },
        grpc: GrpcStatus {
            calls: vec![GrpcCalls {
                method: "Publish".into(),
                code: "OK".into(),
                count: 12,
            }],
            open_calls: [("Subscribe".to_owned(), 1)].into(),
            refused_connections: 0,
            foreign: [("host".to_owned(), 0)].into(),
            ended: [("silent".to_owned(), 0)].into(),
        },
        times: Times::default(),
    }
}
