//! The real disk, with trouble on demand.

use crate::log::disk::{Disk, DiskFile, RealDisk};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    FailSync,
    FailWrite,
    /// Renames and removals fail.
    FailNames,
    /// Files shorter than this can't grow.
    FullFor(u64),
}

struct State {
    trouble: Trouble,
    free: u64,
}

#[derive(Clone)]
pub struct FailingDisk(Arc<Mutex<State>>);

struct FailingFile {
    file: Arc<dyn DiskFile>,
    disk: FailingDisk,
}

impl FailingDisk {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            trouble: Trouble::None,
            free: u64::MAX,
        })))
    }

    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    pub fn set(&self, trouble: Trouble) {
        self.0.lock().expect("no panic inside").trouble = trouble;
    }

    /// What the disk says is free.
    pub fn set_free(&self, bytes: u64) {
        self.0.lock().expect("no panic inside").free = bytes;
    }

    fn trouble(&self) -> Trouble {
        self.0.lock().expect("no panic inside").trouble
    }

    fn fails(&self, with: Trouble) -> io::Result<()> {
        if self.trouble() == with {
            return Err(io::Error::other(format!("{with:?}")));
        }
        Ok(())
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FailingFile {
            file,
            disk: self.clone(),
        })
    }
}

impl Disk for FailingDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path).map(|file| self.wrap(file))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.create(path).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fails(Trouble::FailNames)?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fails(Trouble::FailNames)?;
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fails(Trouble::FailSync)?;
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.lock().expect("no panic inside").free)
    }
}

impl DiskFile for FailingFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.fails(Trouble::FailWrite)?;
        if let Trouble::FullFor(len) = self.disk.trouble()
            && self.len()? < len
        {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.fails(Trouble::FailSync)?;
        self.file.sync()
    }
}
