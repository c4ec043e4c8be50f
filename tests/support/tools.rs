//! What others wrote and tests use: `cargo xtask tools` fetches it.
//!
//! Where one is missing its test says so by `skip::skipped(TEST, tools::MISSING)`.

use std::env;
use std::path::{Path, PathBuf};

/// Why a test that needs one can't run.
pub const MISSING: &str = "its tools aren't there: `cargo xtask tools` fetches them";

/// A Python that has the packages of `xtask/tools/python/requirements.txt`.
pub fn python() -> Option<PathBuf> {
    there(folder().join("python/bin/python"))
}

/// A program: `grpcurl`, `h2spec`, `protoc-gen-go`, `buf`.
pub fn bin(name: &str) -> Option<PathBuf> {
    let folder = folder();
    let of_node = folder.join("node/node_modules/.bin");
    there(folder.join("bin").join(name)).or_else(|| there(of_node.join(name)))
}

/// Where `cargo xtask test` says, or has put them in an earlier run.
pub fn folder() -> PathBuf {
    let named = env::var_os("CAUSEWAY_TEST_TOOLS").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools"))
}

fn there(path: PathBuf) -> Option<PathBuf> {
    path.exists().then_some(path)
}
