//! What commands do without a running gateway: check a file, look after a journal.

use super::data_dir::disk;
use super::explain;
use super::open::journal_options;
use crate::clock::Clock;
use crate::config::{Listen, Report, Settings, Sources};
use crate::faults::Faults;
use crate::journal::{self, RepairOptions};
use crate::log::{DirLock, LockError};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a command waits for a gateway that ends.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_TICK: Duration = Duration::from_millis(50);

/// What a command has to say: to people, and to programs (`--json`).
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// False: a problem was found.
    pub ok: bool,
    pub text: String,
    pub json: Value,
}

/// Every problem of the file.
pub fn check(file: &Path) -> Told {
    let report = crate::config::check(&Sources::of_process(file, Vec::new()));
    Told {
        ok: !report.has_errors(),
        text: report.to_text(),
        json: report.to_json(),
    }
}

/// Where the file's admin listener is, if it has one.
pub fn admin_address(file: &Path) -> Result<Option<SocketAddr>, String> {
    address(file, |listen| listen.admin)
}

/// Where the file's http listener is, if it has one.
pub fn http_address(file: &Path) -> Result<Option<SocketAddr>, String> {
    address(file, |listen| listen.http)
}

/// Also of a file with problems; they are told if that can't be read.
fn address(
    file: &Path,
    of: fn(&Listen) -> Option<SocketAddr>,
) -> Result<Option<SocketAddr>, String> {
    let sources = Sources::of_process(file, Vec::new());
    match crate::config::listen(&sources).as_ref().and_then(of) {
        Some(address) => Ok(Some(address)),
        None => settings(file).map(|settings| of(&settings.listen)),
    }
}

fn settings(file: &Path) -> Result<Settings, String> {
    load(file).map(|(settings, _)| settings)
}

/// What is wrong is for people to read.
pub(super) fn load(file: &Path) -> Result<(Settings, Report), String> {
    // Whatever else is wrong with the file is for the report.
    if file.try_exists().is_ok_and(|exists| !exists) {
        return Err(format!(
            "there is no {}\nhelp: go where it is, or name it with --config FILE",
            file.display()
        ));
    }
    crate::config::load(&Sources::of_process(file, Vec::new())).map_err(|report| report.to_text())
}

/// A gateway that was told to stop may still be settling.
fn lock(settings: &Settings) -> Result<DirLock, String> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match DirLock::acquire(&settings.gateway.data_dir) {
            Err(LockError::Held { .. }) if Instant::now() < until => {
                std::thread::sleep(LOCK_TICK);
            }
            locked => return locked.map_err(|e| explain::locked(&e)),
        }
    }
}

/// Walks the journal's log and compares it with its counts.
pub fn verify_journal(file: &Path) -> Result<Told, String> {
    let settings = settings(file)?;
    let _lock = lock(&settings)?;
    let options = journal_options(&settings, &Clock::system(), Faults::none())?;
    let walk = journal::verify(disk()?, options).map_err(|e| explain::journal(&e))?;
    Ok(Told {
        ok: walk.is_sound(),
        text: walk.to_text(),
        json: walk.to_json(),
    })
}

/// Says what is damaged; if loss is accepted, repairs it. Damage that stays is a failure.
pub fn repair_journal(file: &Path, accept_loss: bool) -> Result<Told, String> {
    let settings = settings(file)?;
    let _lock = lock(&settings)?;
    let journal = journal_options(&settings, &Clock::system(), Faults::none())?;
    let options = RepairOptions {
        dir: journal.dir,
        accept_loss,
        segment_bytes: journal.sizes.min_segment_bytes,
        seed: journal.seed,
    };
    let report = journal::repair(&disk()?, &options).map_err(|e| explain::journal(&e))?;
    Ok(Told {
        ok: report.is_healthy || report.is_applied,
        text: report.to_string(),
        json: serde_json::to_value(&report).map_err(|e| e.to_string())?,
    })
}
