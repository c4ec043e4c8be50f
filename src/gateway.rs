//! The one file that names every stage and wires them, in the order in which a message passes:
//! listeners, door, routing, journal, lanes, egress. It runs until it is told to stop.
//!
//! What must not live here: what a stage does.

mod data_dir;
mod dead_letters;
mod explain;
mod front;
mod lanes;
mod listeners;
mod news;
mod offline;
mod open;
mod process;
mod rehearsal;
mod reload;
mod signals;
mod status;
mod trials;
mod tryout;

pub use offline::{Told, admin_address, check, http_address, repair_journal, verify_journal};
pub use tryout::{explain, save_case, test};

use crate::admin::{self, Startup};
use crate::clock::Clock;
use crate::config::Settings;
use crate::door::{Door, Generations};
use crate::journal;
use crate::spans::Spans;
use dead_letters::{DeadLetterDesk, run_detours};
use front::Reception;
use futures_util::future::join_all;
use lanes::Lanes;
use listeners::{Counted, Listeners, Serving};
use reload::{Board, Look, Reloader};
use signals::{hangups, stop_on_signal};
use status::StatusDesk;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Streams and dead letters write on these, beside lanes that read from segments.
const BLOCKING_THREADS: usize = 16;
/// Connections have this long to end their requests once the drain is over.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Taps have this long to tell their ends.
const LAST_COPIES: Duration = Duration::from_millis(500);
/// A reload that has begun has this long; on a disk that hangs the stop goes on without it.
const LAST_RELOAD: Duration = Duration::from_secs(10);
/// Runs the gateway of this file until a signal; says so once it listens.
pub fn run(file: &Path, listens: &dyn Fn(&Settings)) -> Result<(), String> {
    // Before it is read: what is written while the gateway starts is seen as new.
    let seen = Look::at(file);
    let (settings, report) = offline::load(file)?;
    let (version, gateway) = (env!("CARGO_PKG_VERSION"), &settings.gateway.name);
    tracing::info!(version, %gateway, config = %file.display(), "starting");
    for problem in &report.problems {
        tracing::warn!("{}: {}", report.file, problem.message);
    }
    for note in &report.notes {
        tracing::info!("{note}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("worker")
        .build()
        .map_err(|e| explain::system("can't start threads", &e))?;
    let from = From {
        file: file.to_owned(),
        seen,
    };
    runtime.block_on(serve(settings, from, listens))
}

/// Where the settings came from, for reloads.
struct From {
    file: PathBuf,
    /// What stood there.
    seen: Look,
}

async fn serve(settings: Settings, from: From, listens: &dyn Fn(&Settings)) -> Result<(), String> {
    let clock = Clock::system();
    let spans = Spans::from_environment()?;
    let hangups = hangups().map_err(|e| explain::system("can't listen for signals", &e))?;
    let mut listeners = Listeners::bind(&settings.listen).await?;
    // Whoever asks is answered from the start: it may take its time.
    let (control, questions) = admin::control();
    let startup = Arc::new(Startup::new(&settings.gateway.name, clock.wall()));
    let control = control.during(Arc::clone(&startup));
    listeners.serve_health(&control);
    let house = open::open(&settings, &clock, startup.records())?;
    let stop = stop_on_signal().map_err(|e| explain::system("can't listen for signals", &e))?;

    let started = journal::start(house.journal, house.keeper, Arc::clone(&house.site.disk));
    let (running, handle, receipts) =
        started.map_err(|e| explain::system("can't start the journal's threads", &e))?;
    let receipts = tokio::spawn(journal::send_receipts(receipts));
    let lanes = Lanes::start(house.destinations, &handle, &clock, &spans);
    news::start(&lanes, &handle, &clock);
    let first = Generations::new(house.first);
    let door = Arc::new(Door::new(
        handle.clone(),
        first,
        clock.clone(),
        spans.clone(),
    ));
    let board = Arc::new(Board::new(settings.clone(), clock.wall()));
    let (reloads, asked) = reload::queue();
    let changes = reload::House {
        journal: handle.clone(),
        door: Arc::clone(&door),
        lanes: Arc::clone(&lanes),
        site: Arc::clone(&house.site),
        clock: clock.clone(),
        stop: stop.clone(),
    };
    let reloader = Reloader::new(from.file, changes, Arc::clone(&board), from.seen);
    let reloading = tokio::spawn(reloader.run(asked, hangups));
    let counted = Counted::default();
    let taps = Arc::clone(&door.taps);
    let reception = Reception::new(Arc::clone(&door), Arc::clone(&lanes));
    let mut serving = listeners.serve(
        &settings,
        reception,
        control,
        &counted,
        &clock,
        stop.clone(),
    );
    let letters = DeadLetterDesk {
        door: Arc::clone(&door),
        lanes: Arc::clone(&lanes),
        board: Arc::clone(&board),
        clock: clock.clone(),
        stop: stop.clone(),
        jobs: Arc::default(),
    };
    let detours = tokio::spawn(run_detours(letters.clone()));
    let desk = StatusDesk {
        letters,
        board: Arc::clone(&board),
        reloads,
        door,
        lanes: Arc::clone(&lanes),
        counters: counted.http,
        grpc: counted.grpc,
        clock: clock.clone(),
        started: startup.started(),
        listeners: serving.running(),
        disk: Arc::clone(&house.site.disk),
        stop: stop.clone(),
    };
    serving.others.push(tokio::spawn(desk.answer(questions)));
    serving.others.push(detours);
    startup.end();
    listens(&settings);

    wait_for(stop).await;
    taps.close();
    // A reload that has begun ends first: no lane starts behind the drain's back.
    let _ = tokio::time::timeout(LAST_RELOAD, reloading).await;
    let _ = tokio::time::timeout(LAST_COPIES, taps.all_gone()).await;
    drain(&board.settings(), serving, &lanes, &handle).await;
    stop_journal(running).await?;
    receipts.abort();
    shut_down(spans).await;
    drop(house.lock);
    let shared = handle.shared();
    let pending: u64 = shared.lanes().iter().map(|l| l.ledger().pending()).sum();
    let next_position = shared.reader.bounds().1.0;
    tracing::info!(next_position, pending, "stopped");
    Ok(())
}

async fn wait_for(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody can stop us better than now.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Nothing is accepted any more; lanes settle what they can in time.
async fn drain(settings: &Settings, serving: Serving, lanes: &Lanes, journal: &journal::Handle) {
    lanes.stop(settings.gateway.drain_timeout).await;
    journal.shared().waiters.give_up();
    let doors = serving.doors.into_iter().map(|(_, door)| door);
    let _ = tokio::time::timeout(LAST_ANSWERS, join_all(doors)).await;
    serving.end.send_replace(true);
    for listener in serving.others {
        listener.abort();
    }
}

/// The last spans are exported.
async fn shut_down(spans: Spans) {
    // A panic there is no reason to say that the gateway failed.
    let _ = tokio::task::spawn_blocking(move || spans.shut_down()).await;
}

async fn stop_journal(running: journal::Running) -> Result<(), String> {
    let stopped = tokio::task::spawn_blocking(move || running.stop());
    stopped
        .await
        .map_err(|e| format!("the journal did not stop in order: {e}"))
}
