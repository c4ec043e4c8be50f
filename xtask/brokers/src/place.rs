//! The folder that holds what was fetched (`dist/`) and the shared servers, one folder each.

use std::env;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    /// What `CAUSEWAY_BROKERS_DIR` names; else `.brokers` in the workspace.
    pub fn of_workspace(root: &Path) -> Self {
        let named = env::var_os("CAUSEWAY_BROKERS_DIR").map(PathBuf::from);
        Self::at(named.unwrap_or_else(|| root.join(".brokers")))
    }

    pub fn at(folder: PathBuf) -> Self {
        // Servers run in folders of their own: a relative path would be another one there. And one folder
        // has one name: what was fetched into it holds that.
        let whole = std::path::absolute(&folder).unwrap_or(folder);
        let real = whole
            .canonicalize()
            .or_else(|e| match (whole.parent(), whole.file_name()) {
                (Some(parent), Some(name)) => parent.canonicalize().map(|parent| parent.join(name)),
                _ => Err(e),
            });
        Self(real.unwrap_or(whole))
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    pub fn dist(&self, name: &str) -> PathBuf {
        self.0.join("dist").join(name)
    }

    pub fn server(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
