//! Whether the files of the configuration changed. Their content is read and compared, every second:
//! it works on every file system, over any chain of symlinks that is swapped as a whole (a
//! Kubernetes ConfigMap), and doesn't trust times.

use crate::config::{self, Sources};
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// How often they are read. A change counts when two looks in a row show the same: somebody may be
/// writing, or swap one file after the other.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No file of a configuration is larger; of one that is, so much is compared.
const MAX_FILE_BYTES: u64 = 64 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// What the files held at one moment: for each its path and a hash, or why it can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look(Vec<(PathBuf, Result<u64, io::ErrorKind>)>);

impl Look {
    /// Blocks.
    pub fn at(config: &Path) -> Self {
        let files = config::files(&Sources::file(config));
        let seen = files.into_iter().map(|file| {
            let hash = hash(&file).map_err(|e| e.kind());
            (file, hash)
        });
        Self(seen.collect())
    }
}

/// A pipe is left alone: to look would wait for who writes it, and take what it says from the load.
fn hash(file: &Path) -> io::Result<u64> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut reader = BufReader::with_capacity(PIECE_BYTES, File::open(file)?.take(MAX_FILE_BYTES));
    let mut hash = Xxh3::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hash.finish()),
            count => hash.update(&piece[..count]),
        }
    }
}

/// Says once for each new content, when it has come to rest.
pub struct Watch {
    /// What the last reload was made from, or the start.
    tried: Look,
    last: Look,
}

impl Watch {
    pub fn new(tried: Look) -> Self {
        Self {
            last: tried.clone(),
            tried,
        }
    }

    /// True: this is new, and no longer changes.
    pub fn look(&mut self, now: Look) -> bool {
        let is_at_rest = now == self.last;
        self.last = now;
        is_at_rest && self.last != self.tried
    }

    /// A reload is made from this, whoever asked for it.
    pub fn try_now(&mut self, now: Look) {
        self.last = now.clone();
        self.tried = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::sync::mpsc;

    #[test]
    fn a_change_counts_once_and_when_it_is_at_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("routes.toml");
        let write = |text: &str| fs::write(&file, text).expect("writable");
        write("a");
        let mut watch = Watch::new(Look::at(&file));
        assert!(!watch.look(Look::at(&file)));
        write("b");
        assert!(!watch.look(Look::at(&file)), "it may be half written");
        write("c");
        assert!(!watch.look(Look::at(&file)), "it goes on");
        assert!(watch.look(Look::at(&file)));
        watch.try_now(Look::at(&file));
        assert!(!watch.look(Look::at(&file)));
        // Back to what was tried before anybody saw it.
        write("d");
        assert!(!watch.look(Look::at(&file)));
        write("c");
        assert!(!watch.look(Look::at(&file)));
        assert!(!watch.look(Look::at(&file)));
        fs::remove_file(&file).expect("it is there");
        assert!(!watch.look(Look::at(&file)));
        assert!(watch.look(Look::at(&file)), "that it is gone is told, too");
    }

    #[test]
    fn a_pipe_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let made = Command::new("mkfifo").arg(at("pipe.toml")).status();
        assert!(made.expect("mkfifo runs").success());
        let text = "include = [\"pipe.toml\"]\n";
        fs::write(at("routes.toml"), text).expect("writable");
        for config in [at("routes.toml"), at("pipe.toml")] {
            let (tell, looked) = mpsc::channel();
            std::thread::spawn(move || tell.send(Look::at(&config)));
            let look = looked.recv_timeout(Duration::from_secs(10));
            assert!(look.is_ok(), "it waits for somebody to write");
        }
    }

    /// As the kubelet does it: `routes.toml` → `..data/routes.toml`, `..data` → a folder of its own
    /// for each version, and a rename over `..data`. Size and times of the files are the same.
    #[test]
    fn a_swap_of_a_symlink_above_the_file_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(at(version)).expect("new");
            fs::write(at(version).join("routes.toml"), text).expect("writable");
        }
        symlink("..1", at("..data")).expect("new");
        symlink("..data/routes.toml", at("routes.toml")).expect("new");
        let config = at("routes.toml");
        let mut watch = Watch::new(Look::at(&config));
        symlink("..2", at("..data_tmp")).expect("new");
        fs::rename(at("..data_tmp"), at("..data")).expect("it is replaced");
        assert!(!watch.look(Look::at(&config)));
        assert!(watch.look(Look::at(&config)));
    }
}
