//! What the test build's disk is told to do: be slow, fail, look full.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolatileCall {
    Write,
    Sync,
    SyncDir,
}

/// A handle on the script of one `VolatileDisk`; clones are the same script.
#[derive(Clone, Debug, Default)]
pub struct VolatileControl {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    faults: Vec<Fault>,
    sync_delay: Duration,
    free_bytes: Option<u64>,
}

/// One call that fails with EIO, once.
#[derive(Debug)]
struct Fault {
    call: VolatileCall,
    under: PathBuf,
    skip: u64,
}

impl VolatileControl {
    /// After `skip` more calls of this kind on paths that start with `under`, the next one fails.
    pub fn fail_nth(&self, call: VolatileCall, under: &Path, skip: u64) {
        let under = under.to_path_buf();
        self.script().faults.push(Fault { call, under, skip });
    }

    /// How long each sync of a file takes at least. Half-way through, some of its bytes are in the
    /// real file and some are not, so that a kill tears what was being synced.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.script().sync_delay = delay;
    }

    /// What the disk says is free, instead of the truth.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        self.script().free_bytes = bytes;
    }

    pub(super) fn sync_delay(&self) -> Duration {
        self.script().sync_delay
    }

    pub(super) fn free_bytes(&self) -> Option<u64> {
        self.script().free_bytes
    }

    /// Fails if this call is scripted to.
    pub(super) fn judge(&self, call: VolatileCall, path: &Path) -> io::Result<()> {
        let faults = &mut self.script().faults;
        let hit = faults.iter_mut().position(|fault| {
            if fault.call != call || !path.starts_with(&fault.under) {
                return false;
            }
            let hit = fault.skip == 0;
            fault.skip = fault.skip.saturating_sub(1);
            hit
        });
        match hit {
            Some(i) => {
                faults.remove(i);
                Err(rustix::io::Errno::IO.into())
            }
            None => Ok(()),
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script
            .lock()
            .expect("no call panics with the script locked")
    }
}
