//! What tests use that others wrote: other people's clients and judges of protocols.
//!
//! They are fetched at the versions that the files below `xtask/tools/` name, into `target/tools`, by each
//! language's own package manager. A stamp tells what is there, so that the next call only compares.

use crate::process::{Failure, root, target_dir};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

pub const ALL: [Kit; 3] = [Kit::Python, Kit::Go, Kit::Node];

/// The tools of one package manager.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kit {
    /// A virtual environment: `python/bin/python`.
    Python,
    /// Programs: `bin/grpcurl`, `bin/h2spec`.
    Go,
    /// Modules: `node/node_modules/.bin/buf`.
    Node,
}

impl Kit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Go => "go",
            Self::Node => "node",
        }
    }

    /// What has to be on the machine, and the word that makes it tell its version.
    fn manager(self) -> (&'static str, &'static str) {
        match self {
            Self::Python => ("python3", "--version"),
            Self::Go => ("go", "version"),
            Self::Node => ("npm", "--version"),
        }
    }

    /// Where the versions stand, below `xtask/tools/NAME`.
    fn pins(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["requirements.txt"],
            Self::Go => &["go.mod", "go.sum"],
            Self::Node => &["package.json", "package-lock.json"],
        }
    }

    /// Below `target/tools`.
    fn folder(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Go => "bin",
            Self::Node => "node",
        }
    }

    fn install(self, pins: &Path, to: &Path) -> Result<(), String> {
        match self {
            Self::Python => install_python(pins, to),
            Self::Go => {
                let mut go = Command::new("go");
                run(go
                    .current_dir(pins)
                    .env("GOBIN", to)
                    .args(["install", "tool"]))
            }
            Self::Node => install_node(pins, to),
        }
    }
}

/// Into here, whole.
pub fn folder() -> Result<PathBuf, Failure> {
    let folder = target_dir().join("tools");
    let made = fs::create_dir_all(&folder).and_then(|()| folder.canonicalize());
    made.map_err(|e| Failure::File(folder, e))
}

/// Those that are missing, or of other versions. One that can't be had doesn't keep the others away.
///
/// # Errors
/// What couldn't be had; why is said on standard error.
pub fn fetch(kits: &[Kit]) -> Result<(), Failure> {
    let folder = folder()?;
    let _lock = lock(&folder)?;
    let fetched = |kit: &Kit| fetch_one(*kit, &folder).is_err().then(|| kit.name());
    let missing: Vec<&str> = thread::scope(|scope| {
        let kits: Vec<_> = kits
            .iter()
            .map(|kit| scope.spawn(|| fetched(kit)))
            .collect();
        let joined = kits.into_iter().map(|kit| kit.join().expect("no panic"));
        joined.flatten().collect()
    });
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Failure::NotFetched(missing))
    }
}

/// Held until it is dropped: two of us would write over each other.
fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join("lock");
    let lock = File::create(&path).and_then(|file| {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("xtask: tools: another one fetches them; waiting for it");
                file.lock()?;
            }
            Err(TryLockError::Error(e)) => return Err(e),
        }
        Ok(file)
    });
    lock.map_err(|e| Failure::File(path, e))
}

/// Says why if it fails.
fn fetch_one(kit: Kit, folder: &Path) -> Result<(), ()> {
    let name = kit.name();
    let started = Instant::now();
    match ensure(kit, folder) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let seconds = started.elapsed().as_secs();
            eprintln!("xtask: tools: {name}: fetched in {seconds} s");
            Ok(())
        }
        Err(why) => {
            eprintln!("xtask: tools: {name}: {why}");
            Err(())
        }
    }
}

/// Whether it had to be fetched.
fn ensure(kit: Kit, folder: &Path) -> Result<bool, String> {
    let pins = root().join("xtask/tools").join(kit.name());
    let to = folder.join(kit.folder());
    let wanted = stamp(kit, &pins, &to)?;
    let stamp = folder.join(format!("{}.stamp", kit.name()));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(false);
    }
    eprintln!("xtask: tools: {}: fetching", kit.name());
    remove(&stamp, |path| fs::remove_file(path))?;
    remove(&to, |path| fs::remove_dir_all(path))?;
    if let Err(why) = kit.install(&pins, &to) {
        // Half of it would be taken for the whole by tests.
        remove(&to, |path| fs::remove_dir_all(path))?;
        return Err(format!("{why}\n(is its package registry within reach?)"));
    }
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(true)
}

/// All that what is installed hangs on: a virtual environment can't move, and is of one Python.
fn stamp(kit: Kit, pins: &Path, to: &Path) -> Result<String, String> {
    let (manager, word) = kit.manager();
    let version = Command::new(manager).arg(word).output();
    let version = version.map_err(|e| format!("{manager} can't be started: {e}"))?;
    let version = String::from_utf8_lossy(&version.stdout);
    let mut stamp = format!("{manager} {}\n{}\n", version.trim(), to.display());
    for pin in kit.pins() {
        let path = pins.join(pin);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        stamp.push_str(&text);
    }
    Ok(stamp)
}

fn install_python(pins: &Path, to: &Path) -> Result<(), String> {
    run(Command::new("python3").args(["-m", "venv"]).arg(to))?;
    // The list is whole: what isn't in it isn't wanted. Nothing is compiled here.
    let words = [
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--only-binary",
        ":all:",
    ];
    run(Command::new(to.join("bin/python"))
        .args(words)
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(pins.join("requirements.txt")))
}

fn install_node(pins: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|e| format!("{}: {e}", to.display()))?;
    for pin in Kit::Node.pins() {
        let copied = fs::copy(pins.join(pin), to.join(pin));
        copied.map_err(|e| format!("{}: {e}", to.join(pin).display()))?;
    }
    // Not `npm ci`: it refuses a list without the modules for other systems, of which each machine
    // wants one. Versions and checksums are those of the list all the same.
    let words = ["install", "--no-audit", "--no-fund", "--ignore-scripts"];
    let patience = ["--fetch-retries=2", "--fetch-retry-mintimeout=1000"];
    let mut npm = Command::new("npm");
    npm.current_dir(to).args(words).args(patience);
    run(npm.arg("--fetch-retry-maxtimeout=10000"))
}

/// What it says is shown only if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output();
    let output = output.map_err(|e| format!("{command:?} can't be started: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (said, errors) = (&output.stdout, &output.stderr);
    let (said, errors) = (
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(errors),
    );
    Err(format!("{command:?}: {}\n{said}{errors}", output.status))
}

fn remove(path: &Path, by: fn(&Path) -> io::Result<()>) -> Result<(), String> {
    match by(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display())),
        _ => Ok(()),
    }
}
