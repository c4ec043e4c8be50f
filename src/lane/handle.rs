//! The way to a running lane, and what it can be told.
//!
//! What must not live here: how it is obeyed.

use super::settings::{LaneSettings, Mode};
use super::state::{SkipError, Skipped};
use super::view::{LaneTimes, LaneView};
use crate::message::{DeliveryId, Position};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that wait.
const COMMANDS: usize = 16;

#[derive(Debug)]
pub enum Command {
    Pause,
    Resume,
    /// Gives one up that fails: this one, or the oldest.
    Skip {
        which: Option<DeliveryId>,
        answer: oneshot::Sender<Result<Skipped, SkipError>>,
    },
    /// Everything that is owed before `until`, without a try.
    Drop {
        discard: bool,
        until: Position,
    },
    /// From `barrier` on.
    ChangeMode {
        mode: Mode,
        barrier: Position,
    },
    Tune(Box<LaneSettings>),
    /// Goes on for so long as there is something to do, at most; then it ends.
    Stop {
        drain: Duration,
    },
}

/// The way to a running lane. It outlives its task.
#[derive(Clone, Debug)]
pub struct LaneHandle {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<LaneView>,
    times: Arc<LaneTimes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lane has ended")]
pub struct LaneEnded;

/// With it a command surely finds room.
pub struct Seat(mpsc::OwnedPermit<Command>);

impl Seat {
    pub fn send(self, command: Command) {
        self.0.send(command);
    }
}

impl LaneHandle {
    /// With where the commands come out.
    pub(super) fn new(
        view: watch::Receiver<LaneView>,
        times: Arc<LaneTimes>,
    ) -> (Self, mpsc::Receiver<Command>) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let handle = Self {
            commands,
            view,
            times,
        };
        (handle, inbox)
    }

    #[must_use]
    pub fn view(&self) -> LaneView {
        self.view.borrow().clone()
    }

    #[must_use]
    pub fn times(&self) -> &LaneTimes {
        &self.times
    }

    /// Waits until there is a view that wasn't looked at here.
    pub async fn changed(&mut self) -> Result<(), LaneEnded> {
        self.view.changed().await.map_err(|_| LaneEnded)
    }

    /// Waits until the view is as wanted; with the last view there was if the lane ends before.
    pub async fn wait_for(&mut self, wanted: impl FnMut(&LaneView) -> bool) -> LaneView {
        if let Ok(view) = self.view.wait_for(wanted).await {
            return view.clone();
        }
        self.view()
    }

    /// Its task: no command is taken any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    pub async fn send(&self, command: Command) -> Result<(), LaneEnded> {
        self.commands.send(command).await.map_err(|_| LaneEnded)
    }

    /// A place for one command: waits while others wait.
    pub async fn seat(&self) -> Result<Seat, LaneEnded> {
        let seat = self.commands.clone().reserve_owned().await;
        seat.map(Seat).map_err(|_| LaneEnded)
    }

    /// Lets the lane settle what it can for up to `drain`, and waits for its end.
    pub async fn stop(mut self, drain: Duration) -> LaneView {
        let _ended_already = self.send(Command::Stop { drain }).await;
        self.wait_for(|_| false).await
    }
}
