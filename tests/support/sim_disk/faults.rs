//! What is scripted to go wrong on the simulated disk, and the count of calls that scripts go by.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    CreateDir,
    Create,
    Rename,
    Remove,
    SyncDir,
    Write,
    SetLen,
    Sync,
    Open,
    List,
    Read,
    Len,
    FreeBytes,
}

impl Call {
    /// One that a script may let fail, syncs twice as often.
    pub fn to_fail(rng: &mut fastrand::Rng) -> Self {
        let calls = [
            Self::Write,
            Self::Sync,
            Self::Sync,
            Self::SyncDir,
            Self::Create,
            Self::Rename,
            Self::Remove,
            Self::Read,
        ];
        calls[rng.usize(..calls.len())]
    }

    /// Calls that change something: the ones that are counted, and at which the power can go.
    #[must_use]
    pub const fn is_change(self) -> bool {
        !matches!(
            self,
            Self::Open | Self::List | Self::Read | Self::Len | Self::FreeBytes
        )
    }
}

/// One call that fails, once.
#[derive(Clone, Debug)]
struct Fault {
    when: When,
    error: io::ErrorKind,
}

#[derive(Clone, Debug)]
enum When {
    /// The change with this number.
    Change(u64),
    /// The call of this kind on a path that starts so, after `skip` others.
    Kind {
        call: Call,
        under: PathBuf,
        skip: u64,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Faults {
    script: Vec<Fault>,
    crash_at: Option<u64>,
    changes: u64,
    hits: u64,
    is_off: bool,
}

/// What becomes of one call.
pub enum Verdict {
    Proceed,
    /// It fails; what it did before it failed is not known.
    Fail(io::Error),
    /// The power went in the middle of it.
    PowerCut(io::Error),
    /// The power was out already: nothing happens.
    Off(io::Error),
}

impl Faults {
    pub fn changes(&self) -> u64 {
        self.changes
    }

    pub fn hits(&self) -> u64 {
        self.hits
    }

    pub fn is_off(&self) -> bool {
        self.is_off
    }

    pub fn crash_at(&mut self, change: u64) {
        self.crash_at = Some(change);
    }

    pub fn fail_change(&mut self, change: u64, error: io::ErrorKind) {
        self.script.push(Fault {
            when: When::Change(change),
            error,
        });
    }

    pub fn fail_nth(&mut self, call: Call, under: &Path, skip: u64, error: io::ErrorKind) {
        let when = When::Kind {
            call,
            under: under.to_path_buf(),
            skip,
        };
        self.script.push(Fault { when, error });
    }

    pub fn clear(&mut self) {
        self.script.clear();
        self.crash_at = None;
    }

    /// Counts the call and says what becomes of it.
    pub fn judge(&mut self, call: Call, path: &Path) -> Verdict {
        if self.is_off {
            return Verdict::Off(io::Error::other("the simulated power is out"));
        }
        let number = self.changes;
        if call.is_change() {
            self.changes += 1;
            if self.crash_at == Some(number) {
                self.is_off = true;
                return Verdict::PowerCut(io::Error::other("the simulated power went out"));
            }
        }
        let Some(i) = self
            .script
            .iter_mut()
            .position(|f| f.hits(call, path, number))
        else {
            return Verdict::Proceed;
        };
        self.hits += 1;
        let error = self.script.remove(i).error;
        let text = format!("injected into {call:?} of {}", path.display());
        Verdict::Fail(io::Error::new(error, text))
    }
}

impl Fault {
    fn hits(&mut self, call: Call, path: &Path, number: u64) -> bool {
        match &mut self.when {
            When::Change(n) => call.is_change() && *n == number,
            When::Kind {
                call: kind,
                under,
                skip,
            } => {
                if *kind != call || !path.starts_with(under) {
                    return false;
                }
                let hit = *skip == 0;
                *skip = skip.saturating_sub(1);
                hit
            }
        }
    }
}
