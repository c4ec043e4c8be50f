//! One file of the test build's disk: the real file, and the changes that are in memory alone.

use super::control::{VolatileCall, VolatileControl};
use crate::log::disk::DiskFile;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Writes that follow each other are joined up to this size.
const JOIN_BYTES: usize = 1024 * 1024;
/// What a power cut keeps or loses as one.
const SECTOR_BYTES: usize = 512;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

pub struct VolatileFile {
    /// The name it was opened by: what faults go by.
    path: PathBuf,
    control: VolatileControl,
    content: Mutex<Content>,
}

/// What reads see is `base` with all changes over it, in order. A change that is in `base` already
/// may be applied over it again; so those that must stay, because one before them is not in `base`,
/// do no harm.
#[derive(Default)]
struct Content {
    /// `None` while the file's name is in memory alone.
    base: Option<Arc<File>>,
    base_len: u64,
    changes: Vec<(Fate, Change)>,
    len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unsynced,
    /// In `base`, or to be put there as soon as the file has a durable name.
    Synced,
    /// Its sync failed: reads see it, and it never reaches `base`.
    Lost,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, data: Data },
    SetLen(u64),
}

#[derive(Debug)]
enum Data {
    Bytes(Vec<u8>),
    /// Files are filled with zeros before they are used: that costs no memory.
    Zeros(u64),
}

impl VolatileFile {
    pub fn opened(path: &Path, control: VolatileControl) -> io::Result<Self> {
        let base = OpenOptions::new().read(true).write(true).open(path)?;
        let len = base.metadata()?.len();
        let content = Content {
            base: Some(Arc::new(base)),
            base_len: len,
            changes: Vec::new(),
            len,
        };
        Ok(Self::new(path, control, content))
    }

    pub fn created(path: &Path, control: VolatileControl) -> Self {
        Self::new(path, control, Content::default())
    }

    fn new(path: &Path, control: VolatileControl, content: Content) -> Self {
        Self {
            path: path.to_path_buf(),
            control,
            content: Mutex::new(content),
        }
    }

    /// Makes the real file with what was synced so far.
    pub fn materialize(&self, path: &Path) -> io::Result<()> {
        let base = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        let mut content = self.content();
        for (fate, change) in &content.changes {
            if *fate == Fate::Synced {
                change.apply(&base)?;
            }
        }
        base.sync_data()?;
        content.base_len = base.metadata()?.len();
        content.base = Some(Arc::new(base));
        content.forget_synced();
        Ok(())
    }

    /// Whether the real file says all there is to say.
    pub fn is_settled(&self) -> bool {
        let content = self.content();
        content.base.is_some() && content.changes.is_empty()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content
            .lock()
            .expect("no call panics with the content locked")
    }
}

impl DiskFile for VolatileFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let verdict = self.control.judge(VolatileCall::Write, &self.path);
        // A write that fails has written a part.
        let part = if verdict.is_ok() {
            bytes
        } else {
            &bytes[..fastrand::usize(0..=bytes.len())]
        };
        self.content().write(part, offset);
        verdict
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.content().read(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.content();
        content.len = len;
        content.changes.push((Fate::Unsynced, Change::SetLen(len)));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if let Err(e) = self.control.judge(VolatileCall::Sync, &self.path) {
            self.content().lose();
            return Err(e);
        }
        let delay = self.control.sync_delay();
        if !delay.is_zero() {
            self.content().flush_some()?;
            std::thread::sleep(delay);
        }
        let base = self.content().flush()?;
        base.map_or(Ok(()), |base| base.sync_data())
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        self.len = self.len.max(offset + bytes.len() as u64);
        let is_zero = bytes.iter().all(|b| *b == 0);
        if let Some((
            Fate::Unsynced,
            Change::Write {
                offset: start,
                data,
            },
        )) = self.changes.last_mut()
            && *start + data.len() == offset
            && data.join(bytes, is_zero)
        {
            return;
        }
        let data = if is_zero {
            Data::Zeros(bytes.len() as u64)
        } else {
            Data::Bytes(bytes.to_vec())
        };
        self.changes
            .push((Fate::Unsynced, Change::Write { offset, data }));
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset
            .checked_add(buf.len() as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf.fill(0);
        let in_base = within(self.base_len.saturating_sub(offset), buf.len());
        if let Some(base) = &self.base {
            base.read_exact_at(&mut buf[..in_base], offset)?;
        }
        for (_, change) in &self.changes {
            match change {
                Change::SetLen(len) => {
                    let kept = within(len.saturating_sub(offset), buf.len());
                    buf[kept..].fill(0);
                }
                Change::Write {
                    offset: start,
                    data,
                } => data.overlay(*start, buf, offset),
            }
        }
        Ok(())
    }

    /// Brings all unsynced changes to the real file, if there is one.
    fn flush(&mut self) -> io::Result<Option<Arc<File>>> {
        if let Some(base) = &self.base {
            let mut unsynced = self.changes.iter().filter(|(f, _)| *f == Fate::Unsynced);
            let result = unsynced.try_for_each(|(_, change)| change.apply(base));
            self.base_len = base.metadata()?.len();
            if let Err(e) = result {
                self.lose();
                return Err(e);
            }
        }
        self.mark(Fate::Synced);
        if self.base.is_some() {
            self.forget_synced();
        }
        Ok(self.base.clone())
    }

    /// Brings any of the unsynced sectors to the real file: the state half-way through a sync.
    fn flush_some(&mut self) -> io::Result<()> {
        let Some(base) = &self.base else {
            return Ok(());
        };
        for (fate, change) in &self.changes {
            if *fate == Fate::Unsynced
                && let Change::Write {
                    offset,
                    data: Data::Bytes(bytes),
                } = change
            {
                for (i, piece) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if fastrand::bool() {
                        base.write_all_at(piece, offset + (i * SECTOR_BYTES) as u64)?;
                    }
                }
            }
        }
        self.base_len = base.metadata()?.len();
        Ok(())
    }

    /// What a failed sync does: the changes count as written, and aren't.
    fn lose(&mut self) {
        self.mark(Fate::Lost);
    }

    fn mark(&mut self, fate: Fate) {
        for (old, _) in &mut self.changes {
            if *old == Fate::Unsynced {
                *old = fate;
            }
        }
    }

    /// Drops changes that are in `base` and have none under them that isn't.
    fn forget_synced(&mut self) {
        let synced = self.changes.iter().take_while(|(f, _)| *f == Fate::Synced);
        let count = synced.count();
        self.changes.drain(..count);
    }
}

impl Change {
    fn apply(&self, file: &File) -> io::Result<()> {
        match self {
            Self::SetLen(len) => file.set_len(*len),
            Self::Write {
                offset,
                data: Data::Bytes(bytes),
            } => file.write_all_at(bytes, *offset),
            Self::Write {
                offset,
                data: Data::Zeros(len),
            } => {
                let mut done = 0;
                while done < *len {
                    let n = within(len - done, ZEROS.len());
                    file.write_all_at(&ZEROS[..n], offset + done)?;
                    done += n as u64;
                }
                Ok(())
            }
        }
    }
}

impl Data {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }

    /// Takes bytes that follow these; false if that would not save anything.
    fn join(&mut self, more: &[u8], is_zero: bool) -> bool {
        match self {
            Self::Zeros(len) if is_zero => *len += more.len() as u64,
            Self::Bytes(bytes) if !is_zero && bytes.len() + more.len() <= JOIN_BYTES => {
                bytes.extend_from_slice(more);
            }
            _ => return false,
        }
        true
    }

    /// Puts what of these bytes, which are at `start`, falls into the buffer, which is at `offset`.
    fn overlay(&self, start: u64, buf: &mut [u8], offset: u64) {
        let end = start + self.len();
        let from = start.max(offset);
        let to = end.min(offset + buf.len() as u64);
        if from >= to {
            return;
        }
        let target = &mut buf[index(from - offset)..index(to - offset)];
        match self {
            Self::Zeros(_) => target.fill(0),
            Self::Bytes(bytes) => {
                target.copy_from_slice(&bytes[index(from - start)..index(to - start)]);
            }
        }
    }
}

fn within(n: u64, max: usize) -> usize {
    usize::try_from(n).map_or(max, |n| n.min(max))
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("an index into a buffer")
}
