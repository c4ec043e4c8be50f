//! The writes of a repair. Their order makes each moment safe to stop at: copies first, then the
//! checkpoint that knows of the losses, and only then the segments. Until the checkpoint is
//! written the journal is as damaged as it was; from then on a second repair does the rest.

use super::RepairOptions;
use super::rebuild;
use crate::journal::JournalError;
use crate::journal::snapshot::Snapshot;
use crate::log::disk::Disk;
use crate::log::salvage::{self, Survey, Surveyed};
use crate::log::{CheckpointCopy, Checkpoints, Cursor, LogKind};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a repair changes.
pub(super) struct Changes {
    /// By their place in the survey.
    rewritten: Vec<usize>,
    /// Segments that were made ready: the added one comes behind them.
    empty: Vec<PathBuf>,
    checkpoints: Vec<PathBuf>,
    paths: Vec<PathBuf>,
}

/// Whether a torn end is what a crash leaves: the next start cuts it.
pub(super) fn is_left_torn(file: &Surveyed, cursor: Option<Cursor>) -> bool {
    let is_tail = cursor.is_none_or(|c| file.last_seq >= c.segment);
    is_tail && file.torn.as_ref().is_some_and(|torn| torn.is_usual)
}

impl Changes {
    pub fn new(survey: &Survey, unreadable: &BTreeSet<u64>, copies: &[CheckpointCopy; 2]) -> Self {
        let is_rewritten =
            |f: &Surveyed| f.is_damaged() || f.torn.is_some() || unreadable.contains(&f.last_seq);
        let files = survey.files.iter().enumerate();
        let rewritten: Vec<usize> = files
            .filter(|(_, f)| is_rewritten(f))
            .map(|(i, _)| i)
            .collect();
        let empty = survey.files.iter().filter(|f| f.is_empty());
        let checkpoints: Vec<PathBuf> = copies
            .iter()
            .filter(|c| c.file_bytes > 0)
            .map(|c| c.path.clone())
            .collect();
        let mut paths = Vec::new();
        for i in &rewritten {
            paths.push(survey.files[*i].path.clone());
            paths.extend(survey.files[*i].leftovers.iter().cloned());
        }
        Self {
            rewritten,
            empty: empty.map(|f| f.path.clone()).collect(),
            checkpoints,
            paths,
        }
    }

    /// The files that are rewritten or taken away.
    pub fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.display().to_string();
        self.paths.iter().map(name).collect()
    }

    /// Does it; the folder with the files as they were.
    pub fn apply(
        &self,
        disk: &Arc<dyn Disk>,
        options: &RepairOptions,
        survey: &Survey,
        snapshot: &Snapshot,
    ) -> Result<String, JournalError> {
        let dir = &options.dir;
        let kept_in = self.keep(&**disk, dir).map_err(JournalError::io(dir))?;
        if survey.uuid.is_some() {
            self.begin_anew(disk, options, snapshot)?;
        } else {
            for path in &self.checkpoints {
                disk.remove(path).map_err(JournalError::io(path))?;
            }
        }
        let keep = |raw: &crate::log::RawRecord<'_>| rebuild::check(raw).is_ok();
        for i in &self.rewritten {
            let file = &survey.files[*i];
            salvage::rewrite(&**disk, file, snapshot.uuid, &keep)
                .map_err(JournalError::io(&file.path))?;
        }
        Ok(kept_in.display().to_string())
    }

    /// Copies what will be changed. Nothing else was touched yet.
    fn keep(&self, disk: &dyn Disk, dir: &Path) -> io::Result<PathBuf> {
        let folder = unused_folder(disk, dir)?;
        disk.create_dir_all(&folder)?;
        disk.sync_dir(dir)?;
        for path in self.paths.iter().chain(&self.checkpoints) {
            salvage::copy_into(disk, path, &folder)?;
        }
        disk.sync_dir(&folder)?;
        Ok(folder)
    }

    /// The segment where the log goes on, and the checkpoint that stands at its beginning. Both
    /// copies are written: an older one would not know of the losses.
    fn begin_anew(
        &self,
        disk: &Arc<dyn Disk>,
        options: &RepairOptions,
        snapshot: &Snapshot,
    ) -> Result<(), JournalError> {
        let dir = &options.dir;
        for path in &self.empty {
            disk.remove(path).map_err(JournalError::io(path))?;
        }
        disk.sync_dir(dir).map_err(JournalError::io(dir))?;
        let header = (LogKind::Journal, snapshot.uuid, snapshot.cursor.segment);
        salvage::add_segment(disk, dir, header, options.segment_bytes, options.seed)
            .map_err(JournalError::io(dir))?;
        let (mut checkpoints, _) = Checkpoints::open(&**disk, dir)?;
        let content = snapshot.encode();
        for _ in 0..2 {
            checkpoints.write(&content).map_err(JournalError::io(dir))?;
        }
        Ok(())
    }
}

fn unused_folder(disk: &dyn Disk, dir: &Path) -> io::Result<PathBuf> {
    for number in 1u32.. {
        let folder = dir.join(format!("damaged-{number}"));
        match disk.list(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(folder),
            Err(e) => return Err(e),
            // An earlier repair that didn't come to copy anything.
            Ok(names) if names.is_empty() => return Ok(folder),
            Ok(_) => {}
        }
    }
    Err(io::Error::other(
        "there are too many folders of damaged files",
    ))
}
