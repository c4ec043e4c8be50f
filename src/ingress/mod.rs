//! One folder a protocol: the protocol ↔ envelopes and receipts. `listener` has the connections, `front`
//! what all protocols need of the house.
//!
//! What must not live here: routing, identity, limits of content (the door has them), storage.

pub mod front;
pub mod http;
pub mod listener;
