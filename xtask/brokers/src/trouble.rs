//! Why a server can't be had, in words for whoever reads the test's output.

use std::fmt;
use std::io;
use std::path::Path;

#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// This machine lacks something that the server needs: its tests are skipped.
    Absent(String),
    /// What is needed is there, and it doesn't do what it should: a failure.
    Failed(String),
}

impl Trouble {
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::Failed(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Trouble {}
