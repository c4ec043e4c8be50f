//! What scenarios share: the real process, a client, the oracle.
//!
//! What lives here: driving the gateway from outside, and judging what came out.
//! What must not: the gateway's own types: what is judged here is what users see.

pub mod client;
pub mod metrics;
pub mod oracle;
pub mod process;
pub mod skip;
