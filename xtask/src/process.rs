//! Running other programs, and what is said when that fails.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug)]
pub enum Failure {
    Usage(String),
    /// The command ran and failed; it has said why itself.
    Failed(String),
    NotStarted(String, io::Error),
    File(PathBuf, io::Error),
    /// Checked in, and not what is made from `proto/`.
    Outdated(PathBuf),
    /// What couldn't be fetched is said already.
    NotFetched(Vec<&'static str>),
    /// Why is said already.
    NotUp(Vec<&'static str>),
    NotDown(Vec<&'static str>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(problem) => f.write_str(problem),
            Self::Failed(command) => write!(f, "failed: {command}"),
            Self::NotStarted(command, e) => write!(f, "can't be started: {command}: {e}"),
            Self::File(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Outdated(path) => write!(
                f,
                "{} isn't what proto/ makes: run `cargo xtask proto` and check it in",
                path.display()
            ),
            Self::NotFetched(names) => write!(f, "not fetched: {}", names.join(", ")),
            Self::NotUp(names) => write!(f, "not up: {}", names.join(", ")),
            Self::NotDown(names) => write!(f, "not down: {}", names.join(", ")),
        }
    }
}

/// Runs cargo in the workspace's root, its output going where ours goes.
pub fn cargo(args: &[&str], variables: &[(&str, OsString)]) -> Result<(), Failure> {
    let shown = format!("cargo {}", args.join(" "));
    eprintln!("xtask: {shown}");
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program)
        .args(args)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(root())
        .status()
        .map_err(|e| Failure::NotStarted(shown.clone(), e))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Failed(shown))
    }
}

/// The next build with other features has the same name and would replace it.
pub fn keep_binary(profile: &str, name: &str) -> Result<PathBuf, Failure> {
    let built = target_dir().join(profile).join("causeway");
    let kept = target_dir().join(profile).join(name);
    // Removed first: a process may still run it, and its text can't be written over.
    match fs::remove_file(&kept) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::File(kept, e));
        }
        _ => {}
    }
    fs::copy(&built, &kept).map_err(|e| Failure::File(built, e))?;
    Ok(kept)
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
