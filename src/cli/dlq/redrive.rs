//! `dlq redrive`: gives the order, and watches until it is done.

use super::{Redrive as Asked, path_of};
use crate::admin::letters::{Redrive, RedriveOrder, RedriveState};
use crate::cli::client::Server;
use crate::cli::exit::Failure;
use crate::cli::operate::read;
use crate::cli::text::escaped;
use crate::gateway::Told;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn run(asked: &Asked, server: &Server) -> Result<Told, Failure> {
    let which = asked.which.which()?;
    let order = RedriveOrder {
        offsets: which.offsets,
        filter: which.filter,
        all: which.all,
        new_id: asked.new_id,
        reroute: asked.reroute,
        rate: asked.rate,
    };
    let path = path_of(&asked.name) + "/redrive";
    let mut json = server.post(&path, &order).await?;
    let mut now: Redrive = read(&json)?;
    let path = format!("/api/v1/redrives/{}", now.id);
    let progress = Progress::new();
    while now.state == RedriveState::Running {
        progress.show(&now);
        sleep(LOOK_EVERY).await;
        json = match server.get(&path).await {
            Ok(json) => json,
            Err(error) => {
                progress.clear();
                let failure = Failure::from(error);
                let help = "what was redriven is; the same command goes on with the rest";
                return Err(Failure {
                    help: format!("{}; {help}", failure.help),
                    ..failure
                });
            }
        };
        now = read(&json)?;
    }
    progress.clear();
    let is_done = now.state == RedriveState::Done;
    Ok(Told {
        ok: is_done && now.kept == 0 && now.dead_lettered == 0,
        text: words(&now),
        json,
    })
}

fn words(now: &Redrive) -> String {
    let mut text = format!("redriven {} dead letters of {:?}", now.redriven, now.name);
    let counts = [
        (now.delivered, "delivered"),
        (now.dead_lettered, "dead letters again"),
        (now.discarded, "discarded"),
        (now.pending, "still to be delivered"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !counts.is_empty() {
        write!(text, ": {}", counts.join(", ")).expect("memory takes all");
    }
    if let Some(why) = &now.ended_by {
        write!(text, "\nended before the last one: {}", escaped(why)).expect("memory takes all");
    }
    if now.kept > 0 {
        write!(text, "\nkept {} dead letters:", now.kept).expect("memory takes all");
    }
    for kept in &now.kept_first {
        write!(text, "\n  {}  {}", kept.offset, escaped(&kept.why)).expect("memory takes all");
    }
    text
}

/// How far it is, where stderr is a terminal.
struct Progress {
    is_seen: bool,
    started: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            is_seen: io::stderr().is_terminal(),
            started: Instant::now(),
        }
    }

    fn show(&self, now: &Redrive) {
        if self.is_seen {
            draw(&line(now, self.started.elapsed()));
        }
    }

    fn clear(&self) {
        if self.is_seen {
            draw("");
        }
    }
}

fn draw(line: &str) {
    let mut err = io::stderr();
    // It is an ornament: whether it can be shown changes nothing.
    let _ = write!(err, "\r{line}\x1b[K").and_then(|()| err.flush());
}

fn line(now: &Redrive, elapsed: Duration) -> String {
    let of = now.total.map_or_else(String::new, |all| {
        let percent = (now.looked_at * 100).checked_div(all).unwrap_or(100);
        format!(" of {all} ({} %)", percent.min(100))
    });
    let rate = now.redriven as f64 / elapsed.as_secs_f64().max(0.001);
    let mut line = format!("{}{of}, {rate:.0}/s", now.redriven);
    if let Some(what) = &now.waits_for {
        write!(line, ", waits: {}", escaped(what)).expect("memory takes all");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::letters::Kept;

    fn redrive() -> Redrive {
        Redrive {
            id: "1-1".into(),
            name: "shop".into(),
            state: RedriveState::Running,
            total: Some(400),
            looked_at: 100,
            redriven: 90,
            kept: 10,
            kept_first: vec![Kept {
                offset: 7,
                why: "no\nplan".into(),
            }],
            delivered: 80,
            dead_lettered: 4,
            discarded: 0,
            pending: 6,
            waits_for: Some("room".into()),
            ended_by: None,
        }
    }

    #[test]
    fn it_says_how_far_it_is_and_what_came_of_it() {
        let mut now = redrive();
        let two = Duration::from_secs(2);
        assert_eq!(line(&now, two), "90 of 400 (25 %), 45/s, waits: room");
        now.total = None;
        now.waits_for = None;
        assert_eq!(line(&now, two), "90, 45/s");
        assert_eq!(
            words(&now),
            "redriven 90 dead letters of \"shop\": 80 delivered, 4 dead letters again, \
             6 still to be delivered\nkept 10 dead letters:\n  7  no\\nplan"
        );
    }
}
