//! Questions to the gateway, as values that it receives and answers.

use super::explanation::Explanation;
use super::status::Status;
use crate::message::Envelope;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Questions that wait at one time; further ones wait to be put.
const QUEUE: usize = 16;

/// Long enough for a busy machine; whoever asks shouldn't hang with the gateway.
const PATIENCE: Duration = Duration::from_secs(5);

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
#[error("the gateway didn't answer within {} s", PATIENCE.as_secs())]
pub struct NoAnswer;

/// Where the listeners put their questions.
#[derive(Clone)]
pub struct Control(mpsc::Sender<Question>);

/// The asking end, and the one that the gateway receives from.
#[must_use]
pub fn control() -> (Control, mpsc::Receiver<Question>) {
    let (questions, received) = mpsc::channel(QUEUE);
    (Control(questions), received)
}

impl Control {
    pub async fn status(&self) -> Result<Status, NoAnswer> {
        self.ask(Question::Status).await
    }

    pub async fn explain(&self, envelope: Envelope) -> Result<Explanation, NoAnswer> {
        let envelope = Box::new(envelope);
        self.ask(|answer| Question::Explain { envelope, answer })
            .await
    }

    pub async fn drop_lane(
        &self,
        lane: String,
        discard: bool,
    ) -> Result<Result<Dropping, DropError>, NoAnswer> {
        self.ask(|answer| Question::DropLane {
            lane,
            discard,
            answer,
        })
        .await
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.0.send(question(answer)).await.map_err(|_| NoAnswer)?;
            answered.await.map_err(|_| NoAnswer)
        };
        timeout(PATIENCE, asked).await.unwrap_or(Err(NoAnswer))
    }
}
