//! The disk of the test build (feature `faults`): what was not synced is in this process's memory
//! alone, so that SIGKILL loses what a power cut would. Bytes reach the real file at `sync`; names
//! reach the real folder at `sync_dir`. Reads see everything at all times.
//!
//! Made for one process that owns its folder. Folders themselves are made at once. Files are renamed
//! within their folder only. A `sync_dir` that was made to fail may be tried again.

mod control;
mod file;
#[cfg(test)]
mod tests;

use super::disk::{Disk, DiskFile, RealDisk, parent};
pub use control::{VolatileCall, VolatileControl};
use file::VolatileFile;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
pub struct VolatileDisk {
    control: VolatileControl,
    names: Mutex<Names>,
}

/// What differs from the real folders.
#[derive(Default)]
struct Names {
    /// By visible name: every file that is open, has changes in memory, or isn't named so for real.
    files: BTreeMap<PathBuf, Arc<VolatileFile>>,
    /// Names that are gone, or that stand for another file than the real folder says.
    hidden: BTreeSet<PathBuf>,
    /// In order; no `sync_dir` covered them yet. They keep their files in `files`.
    pending: Vec<NameOp>,
}

enum NameOp {
    Create {
        path: PathBuf,
        file: Arc<VolatileFile>,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        _file: Arc<VolatileFile>,
    },
    Remove {
        path: PathBuf,
    },
}

impl VolatileDisk {
    #[must_use]
    pub fn new(control: VolatileControl) -> Self {
        Self {
            control,
            names: Mutex::default(),
        }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names
            .lock()
            .expect("no call panics with the names locked")
    }
}

impl NameOp {
    fn folder(&self) -> PathBuf {
        match self {
            Self::Create { path, .. } | Self::Remove { path } => parent(path),
            Self::Rename { from, .. } => parent(from),
        }
    }

    fn apply(&self) -> io::Result<()> {
        match self {
            Self::Create { path, file } => file.materialize(path),
            Self::Rename { from, to, .. } => fs::rename(from, to),
            Self::Remove { path } => fs::remove_file(path),
        }
    }
}

impl Names {
    /// The file that a name stands for now.
    fn lookup(&mut self, path: &Path, control: &VolatileControl) -> io::Result<Arc<VolatileFile>> {
        if let Some(file) = self.files.get(path) {
            return Ok(Arc::clone(file));
        }
        if self.hidden.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = Arc::new(VolatileFile::opened(path, control.clone())?);
        self.sweep();
        self.files.insert(path.to_path_buf(), Arc::clone(&file));
        Ok(file)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path) || (!self.hidden.contains(path) && path.exists())
    }

    /// Lets go of files that nobody uses and of which memory holds nothing.
    fn sweep(&mut self) {
        self.files
            .retain(|_, file| Arc::strong_count(file) > 1 || !file.is_settled());
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut result = Ok(());
        for op in pending {
            if result.is_ok() && op.folder() == dir {
                result = op.apply();
                if result.is_ok() {
                    continue;
                }
            }
            self.pending.push(op);
        }
        result?;
        self.hidden.retain(|path| parent(path) != dir);
        self.sweep();
        Ok(())
    }
}

impl Disk for VolatileDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = self.names();
        let mut seen: BTreeSet<String> = RealDisk.list(dir)?.into_iter().collect();
        seen.retain(|name| !names.hidden.contains(&dir.join(name)));
        let here = names.files.keys().filter(|path| parent(path) == dir);
        seen.extend(here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())));
        Ok(seen.into_iter().collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.names().lookup(path, &self.control)?)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut names = self.names();
        if names.exists(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !parent(path).is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = Arc::new(VolatileFile::created(path, self.control.clone()));
        names.files.insert(path.to_path_buf(), Arc::clone(&file));
        let path = path.to_path_buf();
        names.pending.push(NameOp::Create {
            path,
            file: Arc::clone(&file),
        });
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if parent(from) != parent(to) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut names = self.names();
        let file = names.lookup(from, &self.control)?;
        if from == to {
            return Ok(());
        }
        names.files.remove(from);
        names.hidden.insert(from.to_path_buf());
        names.files.insert(to.to_path_buf(), Arc::clone(&file));
        names.pending.push(NameOp::Rename {
            from: from.to_path_buf(),
            to: to.to_path_buf(),
            _file: file,
        });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut names = self.names();
        names.lookup(path, &self.control)?;
        names.files.remove(path);
        names.hidden.insert(path.to_path_buf());
        names.pending.push(NameOp::Remove {
            path: path.to_path_buf(),
        });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.control.judge(VolatileCall::SyncDir, dir)?;
        self.names().sync_dir(dir)?;
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.control
            .free_bytes()
            .map_or_else(|| RealDisk.free_bytes(dir), Ok)
    }
}
