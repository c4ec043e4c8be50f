//! What an oracle run found wrong.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An acknowledged message isn't where it should be.
    Lost,
    /// One message twice where doubles are excluded.
    Doubled,
    /// Another payload, key or topic than was published.
    Altered,
    /// A message that nobody published there.
    Foreign,
    /// Messages of one key in another order than they were accepted in.
    OutOfOrder,
    /// Offsets or positions that leave out, repeat or go back.
    Numbering,
    /// A reader saw what was gone or different later.
    NotDurable,
    /// An id taken twice, or a fresh one called a duplicate, or a conflict taken.
    Identity,
    /// An answer that the documented surface doesn't allow here.
    Answer,
    /// A look-up that contradicts the receipt.
    LookUp,
    /// Something was still pending long after the last publish.
    Unsettled,
    /// The counts contradict each other or the logs.
    Counts,
    /// It didn't start, or ended by itself.
    Process,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub kind: Kind,
    pub detail: String,
}

impl Violation {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.detail)
    }
}
