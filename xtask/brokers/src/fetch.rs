//! What is fetched once, at pinned versions, and lies ready: a stamp tells whether it is whole and the
//! wanted one. Tests only look; `cargo xtask brokers up` and `cargo xtask test` fetch.

use crate::run::{make_folder, remove_folder, write};
use crate::{Place, Trouble};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// One folder below `dist/`.
pub(crate) struct Kit {
    pub name: &'static str,
    /// All that its content hangs on, but the place.
    pub pins: String,
    pub install: fn(&Path) -> Result<(), Trouble>,
}

impl Kit {
    /// # Errors
    /// `Absent` if it isn't there or isn't the wanted one.
    pub fn find(&self, place: &Place) -> Result<PathBuf, Trouble> {
        let to = place.dist(self.name);
        if self.is_whole(&to) {
            return Ok(to);
        }
        Err(Trouble::Absent(format!(
            "{} isn't in {}: `cargo xtask brokers up` fetches it",
            self.name,
            place.folder().display()
        )))
    }

    /// Fetches it if need be.
    pub fn ensure(&self, place: &Place) -> Result<PathBuf, Trouble> {
        let to = place.dist(self.name);
        if self.is_whole(&to) {
            return Ok(to);
        }
        let _lock = lock(place, self.name)?;
        // Another one may have fetched it while we waited.
        if self.is_whole(&to) {
            return Ok(to);
        }
        eprintln!("brokers: {}: fetching", self.name);
        remove_folder(&to)?;
        make_folder(&to)?;
        if let Err(trouble) = (self.install)(&to) {
            // Half of it would use room, and help nobody.
            remove_folder(&to)?;
            return Err(trouble);
        }
        write(&to.join("stamp"), &self.stamp(&to))?;
        Ok(to)
    }

    fn is_whole(&self, to: &Path) -> bool {
        fs::read_to_string(to.join("stamp")).is_ok_and(|found| found == self.stamp(to))
    }

    /// What is unpacked holds its own path and can't move.
    fn stamp(&self, to: &Path) -> String {
        format!("{}\n{}", to.display(), self.pins)
    }
}

/// Held until it is dropped: two of us would write over each other.
pub(crate) fn lock(place: &Place, name: &str) -> Result<File, Trouble> {
    make_folder(&place.dist(""))?;
    let path = place.dist(&format!("{name}.lock"));
    let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|e| Trouble::file(&path, &e))
}
