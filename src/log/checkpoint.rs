//! Two fixed files, written in turn and in place: the newer valid one counts. Writing one needs no
//! new space once it has its size, so that a full disk doesn't stop checkpoints.

use super::disk::{Disk, DiskFile};
use super::error::OpenError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"CWCHECK1";
const HEADER_BYTES: usize = 32;
/// Files grow in steps of this, so that most writes change no size.
const STEP_BYTES: u64 = 64 * 1024;
const NAMES: [&str; 2] = ["checkpoint.a", "checkpoint.b"];

/// The pair of checkpoint files of one log.
pub struct Checkpoints {
    dir: PathBuf,
    files: [Arc<dyn DiskFile>; 2],
    generation: u64,
    failed: bool,
}

/// One file of the pair, as it is.
pub struct CheckpointCopy {
    pub path: PathBuf,
    /// 0 for one that isn't there or was never written.
    pub file_bytes: u64,
    /// Generation and content; `None` if they can't be read.
    pub content: Option<(u64, Vec<u8>)>,
}

impl Checkpoints {
    /// Looks at the pair and changes nothing.
    pub fn inspect(disk: &dyn Disk, dir: &Path) -> Result<[CheckpointCopy; 2], OpenError> {
        let look = |name: &str| {
            let path = dir.join(name);
            let file = match disk.open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                opened => Some(opened.map_err(OpenError::io(&path))?),
            };
            let (mut file_bytes, mut content) = (0, None);
            if let Some(file) = file {
                file_bytes = file.len().map_err(OpenError::io(&path))?;
                content = read(&*file).map_err(OpenError::io(&path))?;
            }
            Ok(CheckpointCopy {
                path,
                file_bytes,
                content,
            })
        };
        Ok([look(NAMES[0])?, look(NAMES[1])?])
    }

    /// Opens or makes the pair; returns the newest valid content.
    pub fn open(disk: &dyn Disk, dir: &Path) -> Result<(Self, Option<Vec<u8>>), OpenError> {
        let existing = disk.list(dir).map_err(OpenError::io(dir))?;
        let open = |name: &str| -> Result<Arc<dyn DiskFile>, OpenError> {
            let path = dir.join(name);
            if existing.iter().any(|n| n == name) {
                return disk.open(&path).map_err(OpenError::io(path));
            }
            let file = disk.create(&path).map_err(OpenError::io(&path))?;
            file.sync().map_err(OpenError::io(path))?;
            Ok(file)
        };
        let files = [open(NAMES[0])?, open(NAMES[1])?];
        disk.sync_dir(dir).map_err(OpenError::io(dir))?;
        let mut newest: Option<(u64, Vec<u8>)> = None;
        for (file, name) in files.iter().zip(NAMES) {
            let found = read(&**file).map_err(OpenError::io(dir.join(name)))?;
            if let Some((generation, content)) = found
                && newest.as_ref().is_none_or(|(g, _)| generation > *g)
            {
                newest = Some((generation, content));
            }
        }
        let generation = newest.as_ref().map_or(0, |(g, _)| *g);
        if let Some((_, content)) = &newest {
            // Promise 11: what was read may be in the page cache alone, and much is built upon it.
            let newest_at = (generation % 2) as usize;
            put(&*files[newest_at], generation, content)
                .map_err(OpenError::io(dir.join(NAMES[newest_at])))?;
        }
        let this = Self {
            dir: dir.to_path_buf(),
            files,
            generation,
            failed: false,
        };
        Ok((this, newest.map(|(_, content)| content)))
    }

    /// Writes the content over the older of the two and syncs it. A failure is final: the other
    /// one stays as it was, and nothing more is written.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier checkpoint write failed"));
        }
        let result = self.try_write(content);
        // A full disk is met before anything is written, so it isn't final.
        self.failed = matches!(&result, Err(e) if e.kind() != io::ErrorKind::StorageFull);
        result
    }

    fn try_write(&mut self, content: &[u8]) -> io::Result<()> {
        let generation = self.generation + 1;
        let file = &self.files[(generation % 2) as usize];
        let needed = (HEADER_BYTES + content.len()) as u64;
        if file.len()? < needed {
            let size = needed.next_multiple_of(STEP_BYTES);
            // Zeros rather than a hole: a later write in place must not need space.
            file.write_at(&vec![0; (size - file.len()?) as usize], file.len()?)?;
        }
        put(&**file, generation, content)?;
        self.generation = generation;
        Ok(())
    }

    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Writes over what is there and syncs it.
fn put(file: &dyn DiskFile, generation: u64, content: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(content).to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(content);
    file.write_at(&bytes, 0)?;
    file.sync()
}

fn read(file: &dyn DiskFile) -> io::Result<Option<(u64, Vec<u8>)>> {
    let len = file.len()?;
    if len < HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut head = [0; HEADER_BYTES];
    file.read_at(&mut head, 0)?;
    let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    let content_bytes = word(16);
    if &head[..8] != MAGIC
        || half(28) != crc32c::crc32c(&head[..28])
        || content_bytes > len - HEADER_BYTES as u64
    {
        return Ok(None);
    }
    let mut content = vec![0; content_bytes as usize];
    file.read_at(&mut content, HEADER_BYTES as u64)?;
    Ok((crc32c::crc32c(&content) == half(24)).then(|| (word(8), content)))
}
