//! A lock against a second process on one data folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Held as long as the value lives; the kernel frees it when the process dies.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{path}: another process holds it{by}")]
    Held { path: String, by: String },
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
}

impl DirLock {
    /// Takes `dir/lock` or says who has it.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let shown = || path.display().to_string();
        let io = |source| LockError::Io {
            path: shown(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let by = match file.read_to_string(&mut text) {
                    Ok(_) if !text.trim().is_empty() => format!(" (process {})", text.trim()),
                    _ => String::new(),
                };
                return Err(LockError::Held { path: shown(), by });
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        // The process id is for people; a full disk mustn't keep the gateway from starting.
        let _ = file.rewind().and_then(|()| file.set_len(0));
        let _ = write!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}
