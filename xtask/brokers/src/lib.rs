//! Real servers for tests: fetched at pinned versions, started, frozen, killed, started again.
//!
//! What lives here: Apache Kafka and RabbitMQ, as servers of a test's own (`kafka::Kafka`,
//! `rabbitmq::Rabbitmq`: they end with the test in whatever way it ends) and as shared ones that stay
//! (`shared`: what `cargo xtask brokers` does). What must not: clients of these servers, and what a test
//! makes of them (`tests/support/brokers.rs`).

pub mod debian;
mod docker;
mod fetch;
pub mod kafka;
mod named;
mod place;
mod ports;
mod probe;
mod process;
pub mod rabbitmq;
mod run;
mod server;
pub mod shared;
mod state;
pub mod tls;
mod trouble;

pub use place::Place;
pub use probe::Probe;
pub use process::Launch;
pub use server::{ANSWER_LIMIT, Plan, START_LIMIT, Server};
pub use trouble::Trouble;
