//! Routes compiled; pure: envelope → plan, or why none.
//!
//! What lives here: topic patterns, the routes of the file with their names resolved, the making
//! of a plan. What must not: I/O, protocols, anything that a reader of the journal would need
//! again, because a decision is made once and the journal holds the plan.

pub mod pattern;
mod router;
mod spec;

pub use pattern::{Pattern, PatternError};
pub use router::{Catalog, CompileError, Planned, Routed, Router};
pub use spec::{
    HeaderMatch, HeaderSpec, OnError, OnFull, OnReject, RouteSpec, Span, TargetSpec, Unrouted,
};
