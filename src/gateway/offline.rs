//! What commands do without a running gateway: check a file, look after a journal.

use super::open::{disk, journal_options};
use crate::clock::Clock;
use crate::config::{Settings, Sources};
use crate::faults::Faults;
use crate::journal;
use crate::log::DirLock;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;

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
    Ok(settings(file)?.listen.admin)
}

fn settings(file: &Path) -> Result<Settings, String> {
    let loaded = crate::config::load(&Sources::of_process(file, Vec::new()));
    loaded
        .map(|(settings, _)| settings)
        .map_err(|report| report.to_text())
}

/// Walks the journal's log and compares it with its counts.
pub fn verify_journal(file: &Path) -> Result<Told, String> {
    let settings = settings(file)?;
    let _lock = DirLock::acquire(&settings.gateway.data_dir).map_err(|e| e.to_string())?;
    let options = journal_options(&settings, &Clock::system(), Faults::none())?;
    let walk = journal::verify(disk(), options).map_err(|e| e.to_string())?;
    Ok(Told {
        ok: walk.problems.is_empty(),
        text: walk.to_text(),
        json: walk.to_json(),
    })
}

/// Cuts out what is corrupt.
pub fn repair_journal(_file: &Path) -> Result<Told, String> {
    Err("not built in yet".into())
}
