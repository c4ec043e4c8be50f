//! Accepted envelopes: their identity, what is owed for them, and what became of them.
//!
//! What lives here: the dedup window, the lanes' ledgers, the catalog of names, the log they are
//! kept in. What must not: protocols, tokio.

pub mod catalog;
pub mod fingerprint;
pub mod ids;
pub mod ledger;
pub mod settlements;
pub mod shapes;
pub mod window;
