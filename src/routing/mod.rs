//! Routes compiled to an index; pure: envelope → plan, or why none.
//!
//! What lives here: topic patterns, the routes of the file with their names resolved, the making
//! of a plan and its explanation. What must not: I/O, protocols, anything that a reader of the
//! journal would need again, because a decision is made once and the journal holds the plan.

mod compile;
mod draft;
mod explain;
mod index;
pub mod pattern;
mod render;
mod router;
mod spec;
mod words;

pub use compile::{CompileError, in_memory};
pub use explain::{DOOR_NAME, Explanation, Found, NamedTarget, Why};
pub use pattern::{Mismatch, Pattern, PatternError};
pub use router::{Alternate, Arrival, Catalog, PlanLimits, Planned, Routed, Router, Skip};
pub use spec::{
    HeaderMatch, HeaderSpec, OnError, OnFull, OnReject, RouteSpec, Span, TargetSpec, Unrouted,
};
