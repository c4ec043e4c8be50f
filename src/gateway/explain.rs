//! What keeps the gateway from opening its data folder: which path, why, and what to do about it.

use crate::egress::stream;
use crate::journal::{self, JournalError};
use crate::log::{self, FormatError, LockError};
use std::io;
use std::path::Path;

const NO_FOLDER: &str =
    "something that is no folder stands there: move it away, or name another data_dir";

const NO_ROOM: &str = "make room on that disk, or name a data_dir on another one";

/// The data folder can't be made.
pub fn folder(dir: &Path, error: &io::Error) -> String {
    let path = dir.display();
    let words = format!("can't make the data folder {path} ([gateway] data_dir): {error}");
    with_help(words, io_help(error))
}

pub fn locked(error: &LockError) -> String {
    let help = match error {
        LockError::Held { .. } => Some("stop that one, or give each gateway a data_dir of its own"),
        LockError::Io { source, .. } => io_help(source),
    };
    with_help(format!("[gateway] data_dir: {error}"), help)
}

pub fn journal(error: &JournalError) -> String {
    let words = format!("the journal can't be opened: {error}");
    match error {
        JournalError::Io { source, .. } | JournalError::Log(log::OpenError::Io { source, .. }) => {
            with_help(words, io_help(source))
        }
        JournalError::FirstCheckpoint { .. } => with_help(words, Some(NO_ROOM)),
        _ => with_help(words, journal::advice(error).as_deref()),
    }
}

/// A stream, or dead letters.
pub fn sink(what: &str, error: &stream::OpenError) -> String {
    use stream::OpenError;
    let help = match error {
        OpenError::Log(log) => log_help(log),
        OpenError::JournalBehind { .. } | OpenError::Trimmed { .. } => Some(
            "put back journal, streams and dead letters of one moment, or move this folder away: \
             it begins anew, and delivers what the journal still owes",
        ),
        OpenError::Read(_) | OpenError::Record { .. } | OpenError::Double { .. } => Some(MOVE_AWAY),
    };
    with_help(format!("{what}: {error}"), help)
}

const MOVE_AWAY: &str = "if the disk may recover, or there is a copy, try that first; or move this folder away: it \
     begins anew, and what was in it is there only";

fn log_help(error: &log::OpenError) -> Option<&'static str> {
    match error {
        log::OpenError::Io { source, .. } => io_help(source),
        log::OpenError::Format {
            source: FormatError::Version { .. },
            ..
        } => Some("a newer version of causeway wrote it: use that one"),
        log::OpenError::ForeignSegment { .. } => {
            Some("files of two logs are in one folder: move those of the other one away")
        }
        _ => Some(MOVE_AWAY),
    }
}

/// What else the system may say.
const LOOK_AT_THE_DISK: &str =
    "see that the disk is well, and that the gateway's user may read and write there";

fn io_help(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(NO_ROOM),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("the gateway's user must be able to write there; or name another data_dir")
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => Some(NO_FOLDER),
        _ => Some(LOOK_AT_THE_DISK),
    }
}

/// The system gives no threads, signals or sockets.
pub fn system(what: &str, error: &io::Error) -> String {
    let help = "see the limits of this user and machine (`ulimit -a`)";
    with_help(format!("{what}: {error}"), Some(help))
}

fn with_help(words: String, help: Option<&str>) -> String {
    match help {
        Some(help) => format!("{words}\nhelp: {help}"),
        None => words,
    }
}
