//! gRPC: calls ↔ envelopes and receipts. docs/GRPC.md says what clients see, `proto/` is the contract.
//!
//! What must not live here: what a topic, an id or a plan may be (the door), what is stored where.
//! Types of protobuf stay in here.

mod answer;
mod app;
mod batch;
mod body;
mod codec;
mod counters;
mod deadline;
mod desk;
mod envelope;
mod fault;
mod look_up;
mod publish;
mod reason;
mod stream;
mod subscribe;

/// Made from `proto/` by `cargo xtask proto`.
pub mod v1 {
    #![allow(clippy::all, clippy::pedantic)]
    include!("generated/causeway.v1.rs");
    /// As it stands in paths.
    pub const SERVICE: &str = "causeway.v1.Gateway";
    /// For reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!("generated/causeway.v1.bin");
}

pub use app::App;
pub use counters::{Called, Counters, Method, OK};
pub use desk::Limits;

use crate::clock::Clock;
use crate::ingress::front::Front;
use crate::ingress::listener::Guard;
use desk::Desk;
use std::sync::Arc;
use tokio::sync::watch;

/// Everybody, as long as there is no authentication.
const ANONYMOUS: &str = "anonymous";
/// This ingress in an envelope's `source` and in a route's `from`.
const SOURCE: &str = "grpc";

/// All that this listener answers, ready for `listener::serve`. `guard` turns away who isn't of this machine,
/// where there is no authentication.
pub fn app<F: Front>(
    front: F,
    clock: Clock,
    limits: Limits,
    guard: Option<Guard>,
    counters: Arc<Counters>,
    stop: watch::Receiver<bool>,
) -> App<F> {
    let desk = Desk::new(front, clock, limits, counters, stop);
    App::new(Arc::new(desk), guard)
}
