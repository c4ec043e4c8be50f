//! Destinations: one file each, behind one closed enum.
//!
//! What lives here: how a batch of deliveries reaches a destination, and what it said.
//! What must not: when and in which order to try, retries, the journal.

mod verdict;

pub use verdict::{KeyOrder, Verdict};
