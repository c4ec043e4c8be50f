//! Reload: the file is loaded and checked as a whole, compared with what is in force, refused as a
//! whole if anything in it is wrong or can't be done now, else taken at once. One at a time.
//!
//! `plan` decides, `switch` does it, `watch` looks at the files, `board` says how it went.
//!
//! What must not live here: what a setting does.

mod board;
mod diff;
mod force;
mod plan;
mod switch;
mod watch;

pub use board::Board;
pub use switch::House;
pub use watch::Look;

use crate::admin::{ReloadError, Reloaded};
use crate::config::{self, Report, Sources};
use plan::{Refusal, Running, Steps};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use switch::SwitchError;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch as signal};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use watch::{LOOK_EVERY, Watch};

/// Reloads that wait to be made; who asks for another is told to come again.
const QUEUE: usize = 16;
/// Of a report, in the log and in the status.
const MAX_SHOWN_BYTES: usize = 8 << 10;

/// Lines of a summary, there too.
const MAX_SHOWN_CHANGES: usize = 100;

/// Who asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Signal,
    Admin,
    FileChange,
}

impl Trigger {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP",
            Self::Admin => "admin",
            Self::FileChange => "file change",
        }
    }
}

pub type Outcome = Result<Reloaded, ReloadError>;
/// Asks for a reload; the answer comes when it is made, or refused.
pub type Ask = oneshot::Sender<Outcome>;

#[must_use]
pub fn queue() -> (mpsc::Sender<Ask>, mpsc::Receiver<Ask>) {
    mpsc::channel(QUEUE)
}

/// Makes the reloads. It alone changes what is in force.
pub struct Reloader {
    pub file: PathBuf,
    pub house: House,
    pub board: Arc<Board>,
    watch: Watch,
}

enum Event {
    Stop,
    Asked(Option<Ask>),
    Signal,
    Look,
}

impl Reloader {
    /// `seen`: the files as they were before the start read them.
    #[must_use]
    pub fn new(file: PathBuf, house: House, board: Arc<Board>, seen: Look) -> Self {
        Self {
            file,
            house,
            board,
            watch: Watch::new(seen),
        }
    }

    /// Until the gateway stops. A reload that has begun ends before this does.
    pub async fn run(mut self, mut asked: mpsc::Receiver<Ask>, mut hangups: Signal) {
        let mut stop = self.house.stop.clone();
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            match self
                .next(&mut stop, &mut asked, &mut hangups, look_at)
                .await
            {
                Event::Stop | Event::Asked(None) => break,
                Event::Asked(Some(answer)) => {
                    let outcome = self.reload(Trigger::Admin).await;
                    // Whoever asked may be gone.
                    drop(answer.send(outcome));
                }
                Event::Signal => drop(self.reload(Trigger::Signal).await),
                Event::Look => {
                    if self.look().await {
                        drop(self.reload(Trigger::FileChange).await);
                    }
                    look_at = Instant::now() + LOOK_EVERY;
                }
            }
        }
        asked.close();
        while let Some(answer) = asked.recv().await {
            drop(answer.send(Err(ReloadError::Stopping)));
        }
    }

    async fn next(
        &self,
        stop: &mut signal::Receiver<bool>,
        asked: &mut mpsc::Receiver<Ask>,
        hangups: &mut Signal,
        look_at: Instant,
    ) -> Event {
        let watches = self.board.settings().gateway.reload_on_change;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            ask = asked.recv() => Event::Asked(ask),
            Some(()) = hangups.recv() => Event::Signal,
            () = sleep_until(look_at), if watches => Event::Look,
        }
    }

    /// Whether the files hold something new.
    async fn look(&mut self) -> bool {
        match self.seen().await {
            Some(now) => self.watch.look(now),
            None => false,
        }
    }

    async fn seen(&self) -> Option<Look> {
        let file = self.file.clone();
        spawn_blocking(move || Look::at(&file)).await.ok()
    }

    async fn reload(&mut self, by: Trigger) -> Outcome {
        // Before it is read: what is written meanwhile is seen as new.
        if let Some(now) = self.seen().await {
            self.watch.try_now(now);
        }
        let outcome = self.try_reload().await;
        let now = self.house.clock.wall();
        match outcome {
            Ok((steps, reloaded)) => {
                let settings = Arc::clone(&steps.settings);
                let shown = Reloaded {
                    changed: first_of(&reloaded.changed),
                    ..reloaded.clone()
                };
                self.board.taken(settings, &shown, by, now);
                tell(&shown, by);
                Ok(reloaded)
            }
            Err(refused) => {
                let error = shown(refused.to_string());
                self.board.refused(&error, by, now);
                let generation = self.board.status().generation;
                let by = by.as_str();
                tracing::error!(
                    generation,
                    by,
                    "the reload is refused, nothing changes: {error}"
                );
                Err(refused)
            }
        }
    }

    async fn try_reload(&self) -> Result<(Arc<Steps>, Reloaded), ReloadError> {
        let generation = self.board.status().generation;
        let refused = |report: &Report| refused(generation, report);
        let steps = self.plan().await.map_err(|report| refused(&report))?;
        match self.house.switch(&steps, generation + 1).await {
            Ok(()) => {}
            Err(SwitchError::Stopping) => return Err(ReloadError::Stopping),
            Err(SwitchError::Failed(why)) => {
                return Err(refused(&Report::not_taken(&self.file, vec![(why, None)])));
            }
        }
        let reloaded = Reloaded {
            generation: generation + 1,
            changed: steps.changed.clone(),
            restart_needed: steps.restart_needed.clone(),
        };
        Ok((steps, reloaded))
    }

    /// Beside the threads that serve: a file of ten thousand routes takes its time.
    async fn plan(&self) -> Result<Arc<Steps>, Report> {
        let (file, in_force) = (self.file.clone(), self.board.settings());
        let (site, lanes) = (Arc::clone(&self.house.site), Arc::clone(&self.house.lanes));
        let planned = spawn_blocking(move || {
            let (wanted, warnings) = load(&file)?;
            for problem in &warnings.problems {
                tracing::warn!("{}: {}", warnings.file, problem.message);
            }
            let running = Running {
                started: &site.started,
                in_force: &in_force,
                lanes: &switch::lanes(&lanes, &wanted),
            };
            let steps = plan::plan(running, wanted);
            steps.map(Arc::new).map_err(|refusals| {
                let why = |refusal: &Refusal| (refusal.to_string(), Some(refusal.help()));
                Report::not_taken(&file, refusals.iter().map(why).collect())
            })
        });
        match planned.await {
            Ok(planned) => planned,
            Err(e) => {
                let why = format!("a bug: {e}");
                Err(Report::not_taken(&self.file, vec![(why, None)]))
            }
        }
    }
}

/// As at the start. Blocks.
fn load(file: &Path) -> Result<(config::Settings, Report), Report> {
    config::load(&Sources::of_process(file, Vec::new()))
}

fn tell(reloaded: &Reloaded, by: Trigger) {
    let Reloaded {
        generation,
        changed,
        restart_needed,
    } = reloaded;
    let by = by.as_str();
    let summary = match changed.is_empty() {
        true => "nothing changed".to_owned(),
        false => changed.join(", "),
    };
    tracing::info!(generation, by, "reloaded: {summary}");
    if !restart_needed.is_empty() {
        let names = restart_needed.join(", ");
        tracing::warn!(generation, "these wait for a restart: {names}");
    }
}

/// What the log and the status keep of a summary: a file may have ten thousand new routes.
fn first_of(changed: &[String]) -> Vec<String> {
    let mut first: Vec<String> = changed.iter().take(MAX_SHOWN_CHANGES).cloned().collect();
    if changed.len() > first.len() {
        first.push(format!("… and {} more", changed.len() - first.len()));
    }
    first
}

/// What the log and the status keep of a report; who asked for the reload has all of it.
fn shown(mut report: String) -> String {
    if report.len() > MAX_SHOWN_BYTES {
        let mut ends = (0..=MAX_SHOWN_BYTES).rev();
        let end = ends.find(|end| report.is_char_boundary(*end));
        report.truncate(end.unwrap_or(0));
        report.push_str("…\n`causeway check` shows the rest");
    }
    report
}

fn refused(generation: u64, report: &Report) -> ReloadError {
    ReloadError::Refused {
        generation,
        text: report.to_text().trim_end().to_owned(),
        problems: report.to_json()["problems"].clone(),
    }
}

#[cfg(test)]
mod tests {
    //! What the tests of this folder share.

    use super::{MAX_SHOWN_BYTES, MAX_SHOWN_CHANGES, first_of, shown};
    use crate::config::{Settings, Sources, load};

    #[test]
    fn a_report_without_end_is_cut_between_characters() {
        assert_eq!(shown("é".into()), "é");
        let cut = shown("xé".repeat(MAX_SHOWN_BYTES));
        assert!(cut.len() < MAX_SHOWN_BYTES + 100);
        assert!(cut.ends_with("…\n`causeway check` shows the rest"), "{cut}");
    }

    #[test]
    fn a_long_summary_says_how_much_more_there_is() {
        let changed = |count: usize| vec!["+route r".to_owned(); count];
        let fits = changed(MAX_SHOWN_CHANGES);
        assert_eq!(first_of(&fits), fits);
        let cut = first_of(&changed(10_000));
        assert_eq!(cut.len(), MAX_SHOWN_CHANGES + 1);
        assert_eq!(cut.last().map(String::as_str), Some("… and 9900 more"));
    }

    /// The settings of a file with these lines.
    pub fn settings(lines: &str) -> Settings {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("routes.toml");
        std::fs::write(&file, format!("version = 1\n{lines}")).expect("writable");
        match load(&Sources::file(&file)) {
            Ok((settings, _)) => settings,
            Err(report) => panic!("{}", report.to_text()),
        }
    }

    pub fn stream(name: &str, lines: &str) -> String {
        format!("[destinations.{name}]\ntype = \"stream\"\n{lines}\n")
    }

    pub fn route(name: &str, topic: &str, to: &str) -> String {
        format!("[[routes]]\nname = \"{name}\"\ntopic = \"{topic}\"\nto = [\"{to}\"]\n")
    }
}
