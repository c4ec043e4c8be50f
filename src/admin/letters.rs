//! Dead letters as operators see them and what they ask of them: plain values that the gateway answers
//! with, and their JSON. docs/DEAD_LETTERS.md describes it.

mod export;
mod filter;
pub(super) mod http;
mod shown;

pub use filter::{Filter, FilterError, Matcher};
pub use shown::{Hide, Letter, Received, Show};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// What a program calls the door's own, beside the name that status has: shells take that for a variable.
pub const DOOR_ALIAS: &str = "@door";

pub type Answer<T> = oneshot::Sender<Result<T, LettersError>>;

/// A question of the dead letters of lanes.
pub enum LettersAsk {
    Logs(Answer<Logs>),
    Page {
        name: String,
        wanted: PageWanted,
        answer: Answer<Page>,
    },
    One {
        name: String,
        offset: u64,
        answer: Answer<Page>,
    },
    Redrive {
        name: String,
        order: RedriveOrder,
        answer: Answer<Redrive>,
    },
    Purge {
        name: String,
        order: PurgeOrder,
        answer: Answer<Purged>,
    },
    Redrives(Answer<Redrives>),
    /// How far it is; with `stop` it ends after what is on its way.
    Progress {
        id: String,
        stop: bool,
        answer: Answer<Redrive>,
    },
}

/// All logs, by their lanes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    pub logs: Vec<LogShown>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogShown {
    pub name: String,
    /// That can be listed now.
    pub letters: u64,
    pub bytes: u64,
    pub max_bytes: u64,
    /// Its lane is stopped for want of room here.
    pub is_full: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageWanted {
    pub filter: Filter,
    pub limit: usize,
    /// Stop once the letters have so many bytes.
    pub max_bytes: usize,
}

/// Some letters in a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub letters: Vec<Letter>,
    /// Where to go on; none: these were the last.
    pub next: Option<u64>,
    /// As `[dead_letters]` says.
    pub hide: Hide,
}

/// Which letters an order is for: exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Which {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    #[serde(default)]
    pub all: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedriveOrder {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    pub all: bool,
    /// Another delivery id than before.
    pub new_id: bool,
    /// By the routes of now, instead of to where it was planned.
    pub reroute: bool,
    /// Letters a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeOrder {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    pub all: bool,
}

impl RedriveOrder {
    #[must_use]
    pub fn which(&self) -> Which {
        Which {
            offsets: self.offsets.clone(),
            filter: self.filter.clone(),
            all: self.all,
        }
    }
}

impl PurgeOrder {
    #[must_use]
    pub fn which(&self) -> Which {
        Which {
            offsets: self.offsets.clone(),
            filter: self.filter.clone(),
            all: self.all,
        }
    }
}

/// What a purge did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    pub name: String,
    pub purged: u64,
    /// It looked no further: the same order with this as the filter's `from` goes on.
    pub next: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrives {
    pub redrives: Vec<Redrive>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedriveState {
    Running,
    Done,
    /// By an operator, or because the gateway stops.
    Stopped,
    Failed,
}

/// How far a redrive is. Counts of outcomes are of deliveries: a letter that is routed anew may become
/// several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    pub id: String,
    pub name: String,
    pub state: RedriveState,
    /// Letters that it is about; unknown where a filter chooses.
    pub total: Option<u64>,
    pub looked_at: u64,
    pub redriven: u64,
    /// Stay dead letters, and why the first of them do.
    pub kept: u64,
    pub kept_first: Vec<Kept>,
    pub delivered: u64,
    /// Once more.
    pub dead_lettered: u64,
    pub discarded: u64,
    pub pending: u64,
    /// What it waits for, if it does.
    pub waits_for: Option<String>,
    /// Why it failed or was stopped.
    pub ended_by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub offset: u64,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LettersError {
    #[error("there is no lane {lane:?}; there are: {}", known.join(", "))]
    UnknownLane { lane: String, known: Vec<String> },
    #[error(
        "the dead letters of {name} have none at offset {offset}: it never was, or is redriven or purged"
    )]
    UnknownLetter { name: String, offset: u64 },
    #[error("{0}")]
    Malformed(String),
    #[error("the dead letters of {name} are being redriven already: {id}")]
    RedriveRunning { name: String, id: String },
    #[error("no redrive {0:?} is known: it is long over, or the gateway was restarted since")]
    UnknownRedrive(String),
    #[error("the gateway is stopping")]
    Stopping,
    #[error("the dead letters of {name} can't be read: {why}")]
    Failed { name: String, why: String },
}

impl From<FilterError> for LettersError {
    fn from(error: FilterError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl Which {
    /// Says what is wrong, if it isn't exactly one.
    pub fn check(&self) -> Result<(), LettersError> {
        let given = [self.offsets.is_some(), self.filter.is_some(), self.all];
        if given.into_iter().filter(|is| *is).count() == 1 {
            return Ok(());
        }
        let words = "say which letters: one of offsets, filter and all = true";
        Err(LettersError::Malformed(words.to_owned()))
    }
}
