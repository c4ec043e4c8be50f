//! A disk in memory for deterministic simulation. It is as unkind as POSIX permits: what was not
//! synced survives a power cut in any part, torn at any byte; names are lost without a sync of
//! their folder; a failed sync forgets what it was to write while reads still show it.
//!
//! What lives here: the model and its scripting. What must not: anything that knows the log.
//!
//! Everything that is left to chance comes from the seed, or from the generator that `crash` and
//! `kill` are given. Changes (calls that are not mere reads) are counted, so that a test can
//! enumerate every point at which the power can go.

mod faults;
mod inode;
mod names;
#[cfg(test)]
mod tests;

use causeway::clock::Clock;
use causeway::log::disk::{Disk, DiskFile};
pub use faults::Call;
use faults::{Faults, Verdict};
use inode::Inode;
pub use inode::{BLOCK_BYTES, SECTOR_BYTES};
use names::{InodeId, Names};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What `free_bytes` says when no capacity is set.
const AMPLE_BYTES: u64 = 1 << 40;

/// A handle; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
}

struct SimFile {
    shared: Arc<Mutex<State>>,
    id: InodeId,
    /// The name it was opened by: what faults go by.
    path: PathBuf,
}

struct State {
    names: Names,
    inodes: BTreeMap<InodeId, Inode>,
    next_id: InodeId,
    faults: Faults,
    capacity_bytes: Option<u64>,
    /// Clean pages are dropped now and then: it shows where a failed sync lost some.
    evicts: bool,
    /// What moves on while a file is synced, and how far.
    sync_takes: Option<(Clock, Duration)>,
    rng: fastrand::Rng,
}

impl SimDisk {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_state(State {
            names: Names::new(),
            inodes: BTreeMap::new(),
            next_id: 0,
            faults: Faults::default(),
            capacity_bytes: None,
            evicts: false,
            sync_takes: None,
            rng: fastrand::Rng::with_seed(seed),
        })
    }

    fn from_state(state: State) -> Self {
        Self {
            shared: Arc::new(Mutex::new(state)),
        }
    }

    /// The disk after a power cut now: another disk, which has nothing in common with this one or
    /// its open files. Faults are forgotten and changes counted from 0.
    #[must_use]
    pub fn crash(&self, rng: &mut fastrand::Rng) -> Self {
        let mut after = self.successor(rng);
        after.names.crash(rng);
        for inode in after.inodes.values_mut() {
            inode.crash(rng);
        }
        after.drop_unreachable();
        Self::from_state(after)
    }

    /// The disk after the process alone died: unsynced changes are in the page cache still. What
    /// a failed sync lost is seen until its pages are dropped: at once, at any later read, or never.
    #[must_use]
    pub fn kill(&self, rng: &mut fastrand::Rng) -> Self {
        let mut after = self.successor(rng);
        for inode in after.inodes.values_mut() {
            if rng.bool() {
                inode.evict();
            }
        }
        after.evicts = rng.bool();
        after.drop_unreachable();
        Self::from_state(after)
    }

    fn successor(&self, rng: &mut fastrand::Rng) -> State {
        let state = self.state();
        let mut inodes = state.inodes.clone();
        for inode in inodes.values_mut() {
            inode.open = 0;
        }
        State {
            names: state.names.clone(),
            inodes,
            next_id: state.next_id,
            faults: Faults::default(),
            capacity_bytes: state.capacity_bytes,
            evicts: false,
            sync_takes: None,
            rng: rng.fork(),
        }
    }

    /// How many changes were called for so far; the next one has this number.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().faults.changes()
    }

    /// How many scripted calls failed so far.
    #[must_use]
    pub fn faults_hit(&self) -> u64 {
        self.state().faults.hits()
    }

    /// The power goes in the middle of the change with this number. Every later call fails.
    pub fn crash_at(&self, change: u64) {
        self.state().faults.crash_at(change);
    }

    /// Whether the power is out.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().faults.is_off()
    }

    /// The change with this number fails.
    pub fn fail_change(&self, change: u64, error: io::ErrorKind) {
        self.state().faults.fail_change(change, error);
    }

    /// After `skip` more calls of this kind the next one fails, once.
    pub fn fail_nth(&self, call: Call, skip: u64, error: io::ErrorKind) {
        self.fail_nth_under(Path::new("/"), call, skip, error);
    }

    /// As `fail_nth`, for calls on this path or below it.
    pub fn fail_nth_under(&self, path: &Path, call: Call, skip: u64, error: io::ErrorKind) {
        self.state()
            .faults
            .fail_nth(call, &absolute(path), skip, error);
    }

    /// Forgets all faults that were scripted and did not happen yet.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// From here on the sync of a file moves this clock on, before it returns.
    pub fn set_sync_takes(&self, takes: Option<(Clock, Duration)>) {
        self.state().sync_takes = takes;
    }

    /// Sets how much can be allocated in all; less than is allocated now means full.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// All files with their lengths, by name.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        let len = |id| state.inodes[&id].len() as u64;
        state
            .names
            .files()
            .map(|(path, id)| (path.to_path_buf(), len(id)))
            .collect()
    }

    /// What the platter has of a file, or `None` if there is no such name.
    #[must_use]
    pub fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let id = state.names.get(&absolute(path))?;
        Some(state.inodes[&id].durable().to_vec())
    }

    /// Flips bits of one durable byte.
    ///
    /// # Panics
    /// If there is no such byte on the platter.
    pub fn rot(&self, path: &Path, offset: u64, mask: u8) {
        let mut state = self.state();
        let id = state.names.get(&absolute(path)).expect("rot needs a file");
        let inode = state.inodes.get_mut(&id).expect("named files exist");
        inode.rot(
            usize::try_from(offset).expect("simulated files are small"),
            mask,
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }

    fn file(&self, state: &mut State, id: InodeId, path: PathBuf) -> Arc<dyn DiskFile> {
        state.inode(id).open += 1;
        Arc::new(SimFile {
            shared: self.shared.clone(),
            id,
            path,
        })
    }

    /// A change of names. If it fails, it may have happened nevertheless.
    fn change_names(
        &self,
        call: Call,
        path: &Path,
        change: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.state();
        match state.faults.judge(call, path) {
            Verdict::Proceed => change(&mut state),
            Verdict::Off(e) => Err(e),
            Verdict::Fail(e) | Verdict::PowerCut(e) => {
                if state.rng.bool() {
                    // The injected error is what the caller sees.
                    let _ = change(&mut state);
                }
                Err(e)
            }
        }
    }
}

impl State {
    /// For calls that change nothing, and those whose failure does nothing.
    fn pass(&mut self, call: Call, path: &Path) -> io::Result<()> {
        match self.faults.judge(call, path) {
            Verdict::Proceed => Ok(()),
            Verdict::Fail(e) | Verdict::PowerCut(e) | Verdict::Off(e) => Err(e),
        }
    }

    fn inode(&mut self, id: InodeId) -> &mut Inode {
        self.inodes
            .get_mut(&id)
            .expect("a file lives as long as its names and handles")
    }

    fn lookup(&self, path: &Path) -> io::Result<InodeId> {
        self.names.get(path).ok_or_else(|| not_found(path))
    }

    fn check_folder(&self, dir: &Path) -> io::Result<()> {
        if self.names.is_folder(dir) {
            Ok(())
        } else {
            Err(not_found(dir))
        }
    }

    fn used_bytes(&self) -> u64 {
        let named: BTreeSet<InodeId> = self.names.files().map(|(_, id)| id).collect();
        self.inodes
            .iter()
            .filter(|(id, inode)| inode.open > 0 || named.contains(id))
            .map(|(_, inode)| inode.allocated_bytes())
            .sum()
    }

    fn free_bytes(&self) -> u64 {
        self.capacity_bytes
            .map_or(AMPLE_BYTES, |c| c.saturating_sub(self.used_bytes()))
    }

    fn create(&mut self, path: &Path) -> io::Result<InodeId> {
        self.check_folder(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        if self.names.get(path).is_some() || self.names.is_folder(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.next_id;
        self.next_id += 1;
        self.inodes.insert(id, Inode::default());
        self.names.create(path, id);
        Ok(id)
    }

    fn drop_unreachable(&mut self) {
        let reachable = self.names.reachable();
        self.inodes
            .retain(|id, inode| inode.open > 0 || reachable.contains(id));
    }

    /// Writes as much as there is room for.
    fn write(&mut self, id: InodeId, bytes: &[u8], offset: u64) -> io::Result<()> {
        let free = self.free_bytes();
        let inode = self.inode(id);
        if inode.growth_bytes(bytes.len(), offset) <= free {
            inode.write(bytes, offset);
            return Ok(());
        }
        let mut fits = bytes.len();
        while fits > 0 && inode.growth_bytes(fits, offset) > free {
            fits = fits.saturating_sub(SECTOR_BYTES);
        }
        inode.write(&bytes[..fits], offset);
        Err(io::ErrorKind::StorageFull.into())
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let dir = absolute(dir);
        self.change_names(Call::CreateDir, &dir, |state| {
            state.names.create_folder(&dir);
            Ok(())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let dir = absolute(dir);
        let mut state = self.state();
        state.pass(Call::List, &dir)?;
        state.check_folder(&dir)?;
        let mut names: Vec<String> = state
            .names
            .in_folder(&dir)
            .filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()))
            .collect();
        state.rng.shuffle(&mut names);
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let path = absolute(path);
        let mut state = self.state();
        state.pass(Call::Open, &path)?;
        let id = state.lookup(&path)?;
        Ok(self.file(&mut state, id, path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let path = absolute(path);
        let mut created = None;
        self.change_names(Call::Create, &path, |state| {
            created = Some(state.create(&path)?);
            Ok(())
        })?;
        let id = created.expect("create gave an id");
        Ok(self.file(&mut self.state(), id, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (absolute(from), absolute(to));
        self.change_names(Call::Rename, &from, |state| {
            if from.parent() != to.parent() {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "the simulated disk renames within one folder only",
                ));
            }
            let id = state.lookup(&from)?;
            state.names.rename(&from, &to, id);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = absolute(path);
        self.change_names(Call::Remove, &path, |state| {
            let id = state.lookup(&path)?;
            state.names.remove(&path, id);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = absolute(dir);
        let mut guard = self.state();
        let state = &mut *guard;
        match state.faults.judge(Call::SyncDir, &dir) {
            Verdict::Proceed => {
                state.check_folder(&dir)?;
                state.names.sync_dir(&dir);
                Ok(())
            }
            Verdict::Fail(e) => {
                state.names.fail_sync_dir(&dir, &mut state.rng);
                Err(e)
            }
            Verdict::PowerCut(e) | Verdict::Off(e) => Err(e),
        }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.pass(Call::FreeBytes, &absolute(dir))?;
        Ok(state.free_bytes())
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.shared);
        match state.faults.judge(Call::Write, &self.path) {
            Verdict::Proceed => state.write(self.id, bytes, offset),
            Verdict::Off(e) => Err(e),
            Verdict::PowerCut(e) => {
                // All of it may have been under way: `crash` decides what arrived.
                state.write(self.id, bytes, offset).and(Err(e))
            }
            Verdict::Fail(e) => {
                let part = state.rng.usize(0..=bytes.len());
                state.write(self.id, &bytes[..part], offset).and(Err(e))
            }
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.shared);
        state.pass(Call::Read, &self.path)?;
        if state.evicts && state.rng.u8(0..8) == 0 {
            state.inode(self.id).evict();
        }
        state.inode(self.id).read(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = lock(&self.shared);
        state.pass(Call::Len, &self.path)?;
        Ok(state.inode(self.id).len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.shared);
        let (happens, result) = match state.faults.judge(Call::SetLen, &self.path) {
            Verdict::Proceed => (true, Ok(())),
            Verdict::Off(e) => (false, Err(e)),
            Verdict::Fail(e) | Verdict::PowerCut(e) => (state.rng.bool(), Err(e)),
        };
        if happens {
            state.inode(self.id).set_len(len);
        }
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut guard = lock(&self.shared);
        let state = &mut *guard;
        match state.faults.judge(Call::Sync, &self.path) {
            Verdict::Proceed => {
                if let Some((clock, time)) = &state.sync_takes {
                    clock.advance(*time);
                }
                state.inode(self.id).sync();
                Ok(())
            }
            Verdict::Fail(e) => {
                let mut rng = state.rng.fork();
                state.inode(self.id).fail_sync(&mut rng);
                Err(e)
            }
            Verdict::PowerCut(e) | Verdict::Off(e) => Err(e),
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        // A handle may be dropped by a test that panics with the lock held.
        if let Ok(mut state) = self.shared.lock()
            && let Some(inode) = state.inodes.get_mut(&self.id)
        {
            inode.open -= 1;
        }
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().expect("no call panics with the lock held")
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("{} is not there", path.display()),
    )
}

/// The process's folder is the root.
fn absolute(path: &Path) -> PathBuf {
    let parts = path
        .components()
        .filter(|c| matches!(c, Component::Normal(_)));
    std::iter::once(Component::RootDir).chain(parts).collect()
}
