//! What is made from the public contract: Rust and descriptors, by the package `codegen`.

use crate::process::{Failure, cargo, root, target_dir};
use std::fs;
use std::path::Path;

const PROTO: &str = "proto";
const GENERATED: &str = "src/ingress/grpc/generated";
const FILES: [&str; 2] = ["causeway.v1.rs", "causeway.v1.bin"];

pub fn make() -> Result<(), Failure> {
    codegen(GENERATED)
}

/// Whether what is checked in is what `make` makes.
pub fn check() -> Result<(), Failure> {
    let folder = target_dir().join("codegen");
    codegen(&folder.to_string_lossy())?;
    for file in FILES {
        let checked_in = root().join(GENERATED).join(file);
        if read(&folder.join(file))? != read(&checked_in)? {
            return Err(Failure::Outdated(checked_in));
        }
    }
    Ok(())
}

fn codegen(to: &str) -> Result<(), Failure> {
    cargo(&["run", "--package", "codegen", "--", PROTO, to], &[])
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|e| Failure::File(path.to_owned(), e))
}
