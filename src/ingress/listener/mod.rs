//! Connections: accepting them, telling HTTP/1.1 from HTTP/2, their limits and their ends. What a
//! request means, and the words in which it is refused, is its `App`'s.
//!
//! What must not live here: paths, bodies, messages.

mod counters;
mod h2c;
mod origin;
mod serve;
mod sniff;
mod stall;

pub use counters::{Counters, Ended, Foreign};
pub use origin::{Guard, NotForUs};
pub use serve::{
    BindError, ConnectionLimits, HEAD_TIMEOUT, REFUSED_HEAD_TIMEOUT, WRITE_STALL_LIMIT, bind,
    serve, stopped,
};

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use std::future::Future;

/// What a listener serves.
pub trait App: Clone + Send + Sync + 'static {
    fn answer(self, request: Request<Body>) -> impl Future<Output = Response> + Send;

    /// Why the listener doesn't take a request, in the words of the protocol.
    fn refusal(&self, why: Refused) -> Response;
}

/// A limit of the listener that a request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// So many connections are there.
    Connections {
        limit: usize,
    },
    /// As many requests as there may be connections are under way.
    Requests {
        limit: usize,
    },
    HeaderLines {
        actual: usize,
        limit: usize,
    },
}
