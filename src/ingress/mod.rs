//! One folder a protocol: the protocol ↔ envelopes and receipts. `listener` has the connections, `front`
//! what all protocols need of the house, `in_flight` the bytes that they have together.
//!
//! What must not live here: routing, identity, limits of content (the door has them), storage.

pub mod front;
pub mod grpc;
pub mod http;
pub mod in_flight;
pub mod listener;
pub mod outliving;
pub mod trace;
