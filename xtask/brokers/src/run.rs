//! Other people's commands run to their end, and files written: each error says which and why.

use crate::Trouble;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// What it wrote to standard output.
///
/// # Errors
/// `Absent` if the program isn't on this machine; `Failed`, with what it said, if it fails.
pub fn run(command: &mut Command) -> Result<String, Trouble> {
    let output = command.output().map_err(|e| not_started(command, &e))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(said.into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::Failed(format!(
        "{command:?}: {}\n{said}{errors}",
        output.status
    )))
}

pub(crate) fn not_started(command: &Command, error: &io::Error) -> Trouble {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Trouble::Absent(format!("{program} isn't here{}", hint(&program)))
        }
        _ => Trouble::Failed(format!("{program} can't be started: {error}")),
    }
}

fn hint(program: &str) -> &'static str {
    match program {
        "java" => {
            ": Kafka needs Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)"
        }
        "mvn" => ": Kafka's jars are fetched by Maven (Debian: apt-get install maven)",
        "apt-get" | "dpkg" => ": RabbitMQ and kcat are taken from Debian's packages",
        "openssl" => ": certificates are made by it (Debian: apt-get install openssl)",
        "sha256sum" => ": it checks what was fetched (coreutils)",
        _ => "",
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    fs::write(path, text).map_err(|e| Trouble::file(path, &e))
}

pub(crate) fn make_folder(path: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(path).map_err(|e| Trouble::file(path, &e))
}

pub(crate) fn remove_folder(path: &Path) -> Result<(), Trouble> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Trouble::file(path, &e)),
        _ => Ok(()),
    }
}

/// A script that can be run.
pub(crate) fn write_script(path: &Path, text: &str) -> Result<(), Trouble> {
    use std::os::unix::fs::PermissionsExt;
    write(path, text)?;
    let runs = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, runs).map_err(|e| Trouble::file(path, &e))
}
