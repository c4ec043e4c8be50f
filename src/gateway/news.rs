//! What operators should read in the log without asking for it: a destination that begins to fail
//! and has recovered, a lane that stops and goes on, a journal that refuses. Each is told when it
//! begins and when it ends, not at every attempt.
//!
//! What must not live here: what is done about it.

use super::lanes::{Lane, Lanes};
use crate::clock::{Clock, Mono};
use crate::journal::{self, Space};
use crate::lane::{LaneHandle, LaneState, LaneView};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Nothing new for so long is the end of a trouble: what comes and goes is told once.
const CALM: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);

/// Watches until the runtime ends, a lane until it ends.
pub fn start(lanes: &Lanes, journal: &journal::Handle, clock: &Clock) {
    for (name, lane) in lanes.all() {
        watch(name, lane, clock);
    }
    tokio::spawn(watch_journal(journal.clone()));
}

/// Watches a lane until it ends.
pub fn watch(name: String, lane: Arc<Lane>, clock: &Clock) {
    let handle = lane.handle().clone();
    tokio::spawn(watch_lane(name, lane, handle, clock.clone()));
}

async fn watch_lane(name: String, lane: Arc<Lane>, mut handle: LaneHandle, clock: Clock) {
    let mut eye = Eye::new(&handle.view());
    let mut has_ended = false;
    while !has_ended {
        // Without news the end of a trouble is news, too.
        has_ended = timeout(TICK, handle.changed())
            .await
            .is_ok_and(|changed| changed.is_err());
        for news in eye.look(&handle.view(), clock.mono()) {
            tell(&name, &lane, &news);
        }
    }
}

fn tell(lane: &str, of: &Lane, news: &News) {
    // Of the first that is owed, if anything still is.
    let owed_from = || of.state.ledger().owed().first().map(|at| at.position.0);
    match news {
        News::Fails { error, position } => tracing::warn!(
            lane,
            position,
            %error,
            "the destination fails: the message at this position is tried again, and what waits for it"
        ),
        News::Recovered { retries } => {
            tracing::info!(lane, retries, "the destination takes messages again");
        }
        News::DeadLetters { error } => tracing::warn!(
            lane,
            %error,
            "messages are put into the dead letters"
        ),
        News::DeadLetteringEnds { count } => {
            tracing::info!(
                lane,
                count,
                "no more messages are put into the dead letters"
            );
        }
        News::Stopped { reason } => tracing::error!(
            lane,
            position = owed_from(),
            %reason,
            "the lane has stopped: what it owes waits from this position on"
        ),
        News::Turned { state } => {
            tracing::info!(lane, position = owed_from(), state, "the lane has changed");
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Fails {
        error: String,
        /// `None` can't be: what is retried has failed.
        position: Option<u64>,
    },
    Recovered {
        retries: u64,
    },
    DeadLetters {
        error: String,
    },
    DeadLetteringEnds {
        count: u64,
    },
    Stopped {
        reason: Arc<str>,
    },
    /// Paused, dropping, its circuit open, or running after one of them.
    Turned {
        state: &'static str,
    },
}

/// What was told of a lane.
struct Eye {
    state: LaneState,
    failing: Episode,
    dead_letters: Episode,
}

impl Eye {
    fn new(view: &LaneView) -> Self {
        Self {
            state: told_as(&view.state),
            failing: Episode::after(view.counts.retries),
            dead_letters: Episode::after(view.counts.dead_lettered),
        }
    }

    fn look(&mut self, view: &LaneView, now: Mono) -> Vec<News> {
        let mut news = Vec::new();
        let words = |reason: Option<&Arc<str>>| reason.map_or("unknown", |r| r).to_owned();
        let last_error = view.last_error.as_ref();
        let waits = view.held_keys > 0 || view.retrying > 0 || view.state == LaneState::Holding;
        match self.failing.step(view.counts.retries, !waits, now) {
            Some(Turn::Begins) => news.push(News::Fails {
                error: words(last_error.map(|e| &e.reason)),
                position: last_error.map(|e| e.position.0),
            }),
            Some(Turn::Ends(retries)) => news.push(News::Recovered { retries }),
            None => {}
        }
        match self.dead_letters.step(view.counts.dead_lettered, true, now) {
            Some(Turn::Begins) => news.push(News::DeadLetters {
                error: words(view.last_dead_letter.as_ref()),
            }),
            Some(Turn::Ends(count)) => news.push(News::DeadLetteringEnds { count }),
            None => {}
        }
        let state = told_as(&view.state);
        if state != self.state {
            news.push(match &state {
                LaneState::Stopped { reason } => News::Stopped {
                    reason: Arc::clone(reason),
                },
                other => News::Turned {
                    state: other.as_str(),
                },
            });
            self.state = state;
        }
        news
    }
}

/// That a strict lane waits is told as its destination's failure. A rate is as it should be, and
/// of an open circuit each probe is not told.
fn told_as(state: &LaneState) -> LaneState {
    match state {
        LaneState::Holding | LaneState::RateLimited => LaneState::Running,
        LaneState::Open { .. } | LaneState::HalfOpen { .. } => {
            LaneState::Open { reason: "".into() }
        }
        other => other.clone(),
    }
}

/// Something that is counted, and goes on while it is counted or something is left of it.
struct Episode {
    seen: u64,
    /// How much was counted before it began, if it goes on.
    began_at: Option<u64>,
    last: Mono,
}

enum Turn {
    Begins,
    /// So much was counted.
    Ends(u64),
}

impl Episode {
    const fn after(count: u64) -> Self {
        Self {
            seen: count,
            began_at: None,
            last: Mono(0),
        }
    }

    fn step(&mut self, count: u64, nothing_left: bool, now: Mono) -> Option<Turn> {
        let before = std::mem::replace(&mut self.seen, count);
        if count > before || !nothing_left {
            self.last = now;
        }
        match self.began_at {
            None if count > before => {
                self.began_at = Some(before);
                Some(Turn::Begins)
            }
            Some(first) if now.since(self.last) >= CALM => {
                self.began_at = None;
                Some(Turn::Ends(count - first))
            }
            _ => None,
        }
    }
}

async fn watch_journal(journal: journal::Handle) {
    let shared = journal.shared();
    let mut told = None;
    loop {
        if let Some(reason) = shared.failure() {
            tracing::error!(%reason, "the journal takes no writes until the gateway is restarted");
            return;
        }
        let shortage = shortage(shared.space());
        if shortage != told {
            let next_position = shared.reader.bounds().1.0;
            match shortage {
                Some(why) => tracing::warn!(next_position, "publishes are refused: {why}"),
                None => tracing::info!(next_position, "publishes are taken again"),
            }
            told = shortage;
        }
        sleep(TICK).await;
    }
}

/// Why publishes are refused, as `/readyz` says it.
pub(super) const fn shortage(space: Space) -> Option<&'static str> {
    match space {
        Space::Enough => None,
        Space::JournalFull => Some("[journal] max_bytes is reached"),
        Space::DiskShort | Space::DiskFull => Some("the disk is nearly full"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::lane::{LaneCounts, LaneError, Mode};
    use crate::message::Position;

    fn view(retries: u64, held_keys: usize, state: LaneState) -> LaneView {
        LaneView {
            mode: Mode::Keyed,
            changing_to: None,
            state,
            pending: 1,
            in_memory: 0,
            in_memory_bytes: 0,
            in_flight: 0,
            held_keys,
            blocked: 0,
            retrying: 0,
            delayed: 0,
            next_try: None,
            counts: LaneCounts {
                retries,
                ..LaneCounts::default()
            },
            last_error: Some(LaneError {
                position: Position(7),
                reason: "no answer".into(),
                at: Wall(0),
            }),
            last_dead_letter: Some("ugly".into()),
        }
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000)
    }

    #[test]
    fn a_failure_is_told_once_and_so_is_its_end() {
        use LaneState::Running;
        let mut eye = Eye::new(&view(5, 0, Running));
        let fails = News::Fails {
            error: "no answer".into(),
            position: Some(7),
        };
        assert_eq!(eye.look(&view(5, 0, Running), at(1)), []);
        assert_eq!(
            eye.look(&view(6, 1, Running), at(2)),
            std::slice::from_ref(&fails)
        );
        // Further attempts, and long waits between them, are no news.
        assert_eq!(eye.look(&view(9, 2, Running), at(3)), []);
        assert_eq!(eye.look(&view(9, 2, Running), at(60)), []);
        // It comes and goes.
        assert_eq!(eye.look(&view(9, 0, Running), at(65)), []);
        assert_eq!(eye.look(&view(10, 0, Running), at(68)), []);
        assert_eq!(eye.look(&view(10, 0, Running), at(77)), []);
        assert_eq!(
            eye.look(&view(10, 0, Running), at(78)),
            [News::Recovered { retries: 5 }]
        );
        assert_eq!(eye.look(&view(10, 0, Running), at(90)), []);
        assert_eq!(eye.look(&view(11, 0, Running), at(91)), [fails]);
    }

    #[test]
    fn a_strict_lane_that_holds_fails_as_long() {
        let mut eye = Eye::new(&view(0, 0, LaneState::Running));
        assert_eq!(eye.look(&view(1, 0, LaneState::Holding), at(1)).len(), 1);
        assert_eq!(eye.look(&view(1, 0, LaneState::Holding), at(90)), []);
        assert_eq!(eye.look(&view(1, 0, LaneState::Running), at(91)), []);
        assert_eq!(
            eye.look(&view(1, 0, LaneState::Running), at(100)),
            [News::Recovered { retries: 1 }]
        );
    }

    #[test]
    fn a_lane_that_stops_and_goes_on_is_told() {
        let stopped = LaneState::Stopped {
            reason: "full".into(),
        };
        let mut eye = Eye::new(&view(0, 0, LaneState::Running));
        assert_eq!(
            eye.look(&view(0, 0, stopped.clone()), at(1)),
            [News::Stopped {
                reason: "full".into()
            }]
        );
        assert_eq!(eye.look(&view(0, 0, stopped), at(2)), []);
        assert_eq!(
            eye.look(&view(0, 0, LaneState::Holding), at(3)),
            [News::Turned { state: "running" }]
        );
        // It was paused when the gateway started: `status` says so, and the log did.
        let mut paused = Eye::new(&view(0, 0, LaneState::Paused));
        assert_eq!(paused.look(&view(0, 0, LaneState::Paused), at(1)), []);
    }

    #[test]
    fn dead_letters_are_told_when_they_begin() {
        let with = |dead_lettered| {
            let mut view = view(0, 0, LaneState::Running);
            view.counts.dead_lettered = dead_lettered;
            view
        };
        let mut eye = Eye::new(&with(2));
        // With its own reason: the destination's last error may be of another message.
        let begins = News::DeadLetters {
            error: "ugly".into(),
        };
        assert_eq!(eye.look(&with(4), at(1)), [begins]);
        assert_eq!(eye.look(&with(9), at(2)), []);
        assert_eq!(
            eye.look(&with(9), at(12)),
            [News::DeadLetteringEnds { count: 7 }]
        );
    }
}
