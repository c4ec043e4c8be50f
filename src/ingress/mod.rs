//! One folder a protocol: the protocol ↔ envelopes and receipts.
//!
//! What must not live here: routing, identity, limits of content (the door has them), storage.

pub mod http;
