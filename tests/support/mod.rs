//! What scenarios share: the real process, a client, the oracle; and a simulated disk.
//!
//! What lives here: driving the gateway from outside, and judging what came out. Only `sim_disk`
//! and `journal_house` know types of the gateway; the rest sees what users see (`grpc`, `sink`: types made from
//! the public contract).

pub mod asked;
pub mod batch;
pub mod brokers;
mod chunked;
pub mod client;
pub mod events;
pub mod grpc;
pub mod hook;
pub mod journal_house;
pub mod kafka;
pub mod load;
pub mod metrics;
pub mod metrics_lint;
pub mod oracle;
pub mod process;
pub mod rabbit;
pub mod rabbit_wire;
pub mod ratio;
pub mod raw_grpc;
pub mod running;
pub mod shape;
pub mod sim_disk;
pub mod sink;
pub mod skip;
pub mod streams;
pub mod tools;
pub mod tour;
pub mod wait;
