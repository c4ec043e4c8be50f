//! Questions to the gateway, as values that it receives and answers.

use super::explanation::Explanation;
use super::letters::{
    Answer, LettersAsk, LettersError, Logs, Page, PageWanted, PurgeOrder, Purged, Redrive,
    RedriveOrder, Redrives,
};
use super::startup::Startup;
use super::status::Status;
use crate::door::taps;
use crate::message::{DeliveryId, Envelope};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Questions that wait at one time; further ones wait to be put.
const QUEUE: usize = 16;

/// Long enough for a busy machine; whoever asks shouldn't hang with the gateway.
const PATIENCE: Duration = Duration::from_secs(5);
/// A page may be looked for in all of a log; a purge stops by itself before.
const LETTERS_PATIENCE: Duration = Duration::from_secs(10);
/// A reload may open streams, and reads their ends.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);

pub enum Question {
    Status(oneshot::Sender<Status>),
    /// What would become of this message, which isn't taken.
    Explain {
        envelope: Box<Envelope>,
        answer: oneshot::Sender<Explanation>,
    },
    /// Answered when the lane begins to drop.
    DropLane {
        lane: String,
        discard: bool,
        answer: oneshot::Sender<Result<Dropping, DropError>>,
    },
    /// Answered when the lane has it.
    OrderLane {
        lane: String,
        order: LaneOrder,
        answer: oneshot::Sender<Result<LaneTold, LaneOrderError>>,
    },
    Letters(LettersAsk),
    /// Live copies of what passes, until the reader is dropped.
    Tap {
        wanted: Box<taps::Wanted>,
        answer: oneshot::Sender<Result<taps::TapReader, taps::OpenError>>,
    },
    /// Answered when the reload is made, or refused.
    Reload(oneshot::Sender<Result<Reloaded, ReloadError>>),
}

/// What a lane owed when it began to drop that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropping {
    pub lane: String,
    pub deliveries: u64,
    pub bytes: u64,
    /// Else into its dead letters.
    pub discard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneOrder {
    Pause,
    Resume,
    /// Gives one up that fails: this one, or the oldest.
    Skip(Option<DeliveryId>),
}

/// What a lane was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneTold {
    pub lane: String,
    /// `pause`, `resume` or `skip`.
    pub order: String,
    /// What it owes.
    pub deliveries: u64,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkippedDelivery>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedDelivery {
    pub position: u64,
    pub ordinal: u16,
    /// Attempts that failed since the gateway started.
    pub attempts: u32,
    pub last_error: Option<String>,
    /// It is being tried, and is skipped if that fails.
    pub in_flight: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneOrderError {
    #[error("there is no lane {lane:?}; there are: {}", known.join(", "))]
    UnknownLane { lane: String, known: Vec<String> },
    /// Not in the state that the lane is in: why, and what to do first.
    #[error("{0}")]
    Refused(String),
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Counted from the start, which is 1.
    pub generation: u64,
    /// A line a thing: `+destination events`, `~route orders`, `-route old`.
    pub changed: Vec<String>,
    /// Settings of the file that go by what they were at the start until there is another.
    pub restart_needed: Vec<String>,
}

/// Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReloadError {
    /// As `check` says it, or why not now.
    #[error("{text}")]
    Refused {
        /// The one that stays.
        generation: u64,
        text: String,
        problems: Value,
    },
    #[error("other reloads wait already")]
    Busy,
    #[error("the gateway is stopping")]
    Stopping,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DropError {
    #[error("there is no lane {lane:?}; there are: {}", known.join(", "))]
    UnknownLane { lane: String, known: Vec<String> },
    /// Not in the state that the lane is in: why, and what to do first.
    #[error("{0}")]
    Refused(String),
    #[error("the lane can't drop what it owes: {0}")]
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway didn't answer within {} s", .0.as_secs())]
pub struct NoAnswer(Duration);

/// Where the listeners put their questions.
#[derive(Clone)]
pub struct Control {
    questions: mpsc::Sender<Question>,
    startup: Option<Arc<Startup>>,
}

/// The asking end, and the one that the gateway receives from.
#[must_use]
pub fn control() -> (Control, mpsc::Receiver<Question>) {
    let (questions, received) = mpsc::channel(QUEUE);
    let control = Control {
        questions,
        startup: None,
    };
    (control, received)
}

impl Control {
    /// Until the start is over it says what there is to say.
    #[must_use]
    pub fn during(self, startup: Arc<Startup>) -> Self {
        Self {
            startup: Some(startup),
            ..self
        }
    }

    /// Why nobody can be asked yet.
    pub(super) fn starting(&self) -> Option<String> {
        self.startup.as_ref()?.reason()
    }

    /// The metrics while nobody can be asked yet.
    pub(super) fn first_metrics(&self) -> Option<String> {
        let startup = self.startup.as_ref()?;
        startup.reason().map(|_| startup.metrics())
    }

    pub async fn status(&self) -> Result<Status, NoAnswer> {
        self.ask(PATIENCE, Question::Status).await
    }

    pub async fn explain(&self, envelope: Envelope) -> Result<Explanation, NoAnswer> {
        let envelope = Box::new(envelope);
        let question = |answer| Question::Explain { envelope, answer };
        self.ask(PATIENCE, question).await
    }

    pub async fn drop_lane(
        &self,
        lane: String,
        discard: bool,
    ) -> Result<Result<Dropping, DropError>, NoAnswer> {
        self.ask(PATIENCE, |answer| Question::DropLane {
            lane,
            discard,
            answer,
        })
        .await
    }

    pub async fn order_lane(
        &self,
        lane: String,
        order: LaneOrder,
    ) -> Result<Result<LaneTold, LaneOrderError>, NoAnswer> {
        self.ask(PATIENCE, |answer| Question::OrderLane {
            lane,
            order,
            answer,
        })
        .await
    }

    pub async fn tap(
        &self,
        wanted: taps::Wanted,
    ) -> Result<Result<taps::TapReader, taps::OpenError>, NoAnswer> {
        let wanted = Box::new(wanted);
        self.ask(PATIENCE, |answer| Question::Tap { wanted, answer })
            .await
    }

    /// It goes on if this gives up.
    pub async fn reload(&self) -> Result<Result<Reloaded, ReloadError>, NoAnswer> {
        self.ask(RELOAD_PATIENCE, Question::Reload).await
    }

    pub async fn letter_logs(&self) -> Result<Result<Logs, LettersError>, NoAnswer> {
        self.ask_letters(LettersAsk::Logs).await
    }

    pub async fn letters(
        &self,
        name: String,
        wanted: PageWanted,
    ) -> Result<Result<Page, LettersError>, NoAnswer> {
        self.ask_letters(|answer| LettersAsk::Page {
            name,
            wanted,
            answer,
        })
        .await
    }

    pub async fn letter(
        &self,
        name: String,
        offset: u64,
    ) -> Result<Result<Page, LettersError>, NoAnswer> {
        self.ask_letters(|answer| LettersAsk::One {
            name,
            offset,
            answer,
        })
        .await
    }

    /// It goes on if this gives up.
    pub async fn redrive(
        &self,
        name: String,
        order: RedriveOrder,
    ) -> Result<Result<Redrive, LettersError>, NoAnswer> {
        self.ask_letters(|answer| LettersAsk::Redrive {
            name,
            order,
            answer,
        })
        .await
    }

    /// It goes on if this gives up.
    pub async fn purge_letters(
        &self,
        name: String,
        order: PurgeOrder,
    ) -> Result<Result<Purged, LettersError>, NoAnswer> {
        self.ask_letters(|answer| LettersAsk::Purge {
            name,
            order,
            answer,
        })
        .await
    }

    pub async fn redrives(&self) -> Result<Result<Redrives, LettersError>, NoAnswer> {
        self.ask_letters(LettersAsk::Redrives).await
    }

    pub async fn progress(
        &self,
        id: String,
        stop: bool,
    ) -> Result<Result<Redrive, LettersError>, NoAnswer> {
        self.ask_letters(|answer| LettersAsk::Progress { id, stop, answer })
            .await
    }

    async fn ask_letters<T>(
        &self,
        ask: impl FnOnce(Answer<T>) -> LettersAsk,
    ) -> Result<Result<T, LettersError>, NoAnswer> {
        let question = |answer| Question::Letters(ask(answer));
        self.ask(LETTERS_PATIENCE, question).await
    }

    async fn ask<T>(
        &self,
        patience: Duration,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let silent = || NoAnswer(patience);
            let asked = self.questions.send(question(answer)).await;
            asked.map_err(|_| silent())?;
            answered.await.map_err(|_| silent())
        };
        timeout(patience, asked)
            .await
            .unwrap_or(Err(NoAnswer(patience)))
    }
}
