//! What is made from the public contract: Rust and descriptors, by the package `codegen`.

use crate::process::{Failure, cargo, root, target_dir};
use std::fs;
use std::path::{Path, PathBuf};

const PROTO: &str = "proto";
/// Where the Rust of a file stands, and what of it: reflection serves the first one's descriptors.
const MADE: [(&str, &str, &[&str]); 2] = [
    (
        "causeway/v1/gateway.proto",
        "src/ingress/grpc/generated",
        &["causeway.v1.rs", "causeway.v1.bin"],
    ),
    (
        "causeway/v1/sink.proto",
        "src/egress/grpc/generated",
        &["causeway.v1.rs"],
    ),
];

pub fn make() -> Result<(), Failure> {
    for (proto, folder, files) in MADE {
        let made = codegen(proto)?;
        let folder = root().join(folder);
        fs::create_dir_all(&folder).map_err(|e| Failure::File(folder.clone(), e))?;
        for file in files {
            let to = folder.join(file);
            fs::write(&to, read(&made.join(file))?).map_err(|e| Failure::File(to, e))?;
        }
    }
    Ok(())
}

/// Whether what is checked in is what `make` makes.
pub fn check() -> Result<(), Failure> {
    for (proto, folder, files) in MADE {
        let made = codegen(proto)?;
        for file in files {
            let checked_in = root().join(folder).join(file);
            if read(&made.join(file))? != read(&checked_in)? {
                return Err(Failure::Outdated(checked_in));
            }
        }
    }
    Ok(())
}

/// The folder with what is made of a file.
fn codegen(proto: &str) -> Result<PathBuf, Failure> {
    let folder = target_dir().join("codegen").join(proto);
    let to = folder.to_string_lossy();
    cargo(
        &["run", "--package", "codegen", "--", PROTO, proto, &to],
        &[],
    )?;
    Ok(folder)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|e| Failure::File(path.to_owned(), e))
}
