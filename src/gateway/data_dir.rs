//! The data folder: made durably, and the disk that it is on.
//!
//! A folder whose name is lost in a power cut takes all that was synced in it along. So each folder
//! that is made here has its name synced in the one above it before anything is stored.

use crate::log::disk::{Disk, parent};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stands in the data folder and has folders of its own.
const WITH_FOLDERS: [&str; 2] = ["streams", "dead"];

/// Makes the data folder, with those above and in it that aren't there.
pub fn make(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let missing = missing_folders(dir);
    disk.create_dir_all(dir)?;
    for folder in WITH_FOLDERS {
        disk.create_dir_all(&dir.join(folder))?;
    }
    // Always: the process that made these may have been killed before it synced them.
    disk.sync_dir(dir)?;
    if missing.is_empty() {
        return sync_if_readable(disk, &parent(dir));
    }
    for folder in &missing {
        disk.sync_dir(&parent(folder))?;
    }
    Ok(())
}

/// What is above a folder that was there: if it isn't ours to read, we didn't make the folder.
fn sync_if_readable(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.sync_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// The folder and those above it that aren't there, the innermost first.
fn missing_folders(dir: &Path) -> Vec<PathBuf> {
    let ours = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    dir.ancestors()
        .take_while(ours)
        .map(Path::to_path_buf)
        .collect()
}

/// The test build's disk forgets at SIGKILL what a power cut would. `CAUSEWAY_SYNC_DELAY_MS` makes
/// its syncs as slow as a disk's: what waits for them is then often in doubt when a kill comes.
#[cfg(feature = "faults")]
pub fn disk() -> Result<Arc<dyn Disk>, String> {
    let control = crate::log::volatile::VolatileControl::default();
    if let Some(text) = std::env::var_os("CAUSEWAY_SYNC_DELAY_MS") {
        control.set_sync_delay(sync_delay(&text.to_string_lossy())?);
    }
    Ok(Arc::new(crate::log::volatile::VolatileDisk::new(control)))
}

#[cfg(feature = "faults")]
fn sync_delay(text: &str) -> Result<std::time::Duration, String> {
    let delay_ms = text
        .parse()
        .map_err(|e| format!("CAUSEWAY_SYNC_DELAY_MS: {text:?} is no number: {e}"))?;
    Ok(std::time::Duration::from_millis(delay_ms))
}

#[cfg(not(feature = "faults"))]
#[allow(clippy::unnecessary_wraps, reason = "the test build's can fail")]
pub fn disk() -> Result<Arc<dyn Disk>, String> {
    Ok(Arc::new(crate::log::disk::RealDisk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::{DiskFile, RealDisk};
    use std::sync::Mutex;

    /// The machine's, and remembers which folders were synced while what was in them.
    #[derive(Default)]
    struct Watched {
        synced: Mutex<Vec<(PathBuf, Vec<String>)>>,
    }

    impl Watched {
        fn synced_folders(&self) -> Vec<PathBuf> {
            let synced = self.synced.lock().expect("nobody panicked with it");
            synced.iter().map(|(dir, _)| dir.clone()).collect()
        }

        fn has_synced(&self, dir: &Path, entry: &str) -> bool {
            let synced = self.synced.lock().expect("nobody panicked with it");
            let mut of_dir = synced.iter().filter(|(synced, _)| synced == dir);
            of_dir.any(|(_, entries)| entries.iter().any(|e| e == entry))
        }
    }

    impl Disk for Watched {
        fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
            RealDisk.create_dir_all(dir)
        }
        fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
            RealDisk.list(dir)
        }
        fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            RealDisk.open(path)
        }
        fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            RealDisk.create(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.rename(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            RealDisk.remove(path)
        }
        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(dir)? {
                entries.push(entry?.file_name().to_string_lossy().into_owned());
            }
            let mut synced = self.synced.lock().expect("nobody panicked with it");
            synced.push((dir.to_path_buf(), entries));
            RealDisk.sync_dir(dir)
        }
        fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
            RealDisk.free_bytes(dir)
        }
    }

    #[test]
    fn every_folder_that_is_made_has_its_name_synced() {
        let top = tempfile::tempdir().expect("temp dir");
        let data = top.path().join("a/b/data");
        let disk = Watched::default();
        make(&disk, &data).expect("makes it");
        let at = |path: &str| top.path().join(path);
        for (folder, name) in [
            (top.path().to_path_buf(), "a"),
            (at("a"), "b"),
            (at("a/b"), "data"),
            (data.clone(), "streams"),
            (data.clone(), "dead"),
        ] {
            assert!(
                disk.has_synced(&folder, name),
                "{} {name}",
                folder.display()
            );
        }
        let mut synced = disk.synced_folders();
        let count = synced.len();
        synced.sort();
        synced.dedup();
        assert_eq!(synced.len(), count, "one was synced twice");
        // What a killed process made and didn't sync.
        let again = Watched::default();
        make(&again, &data).expect("it is there");
        assert!(again.has_synced(&at("a/b"), "data"));
        assert!(again.has_synced(&data, "streams"));
    }

    #[cfg(feature = "faults")]
    #[test]
    fn a_sync_delay_is_a_number() {
        assert_eq!(sync_delay("15").map(|d| d.as_millis()), Ok(15));
        let refused = sync_delay("15ms").expect_err("not a number");
        assert!(refused.contains("CAUSEWAY_SYNC_DELAY_MS"), "{refused}");
    }
}
