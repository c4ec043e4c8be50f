//! Spans of what happens to a message that belongs to a trace: accepting it, storing it, each attempt
//! to deliver it; for a collector (OTLP).
//!
//! What lives here: which spans there are, and the way out of the house. What must not: what is done.
//!
//! Only a build with the feature `otlp` has any. Without it the context that came with a message is
//! passed on as it came; with it the context that is delivered is that of the attempt's span.

#[cfg(feature = "otlp")]
mod client;
#[cfg(not(feature = "otlp"))]
mod none;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use none::{Accept, Attempt, Spans};
#[cfg(feature = "otlp")]
pub use otlp::{Accept, Attempt, Spans};
