//! CEL: in `when`, `transform`, `id` and `${…}`.
//!
//! What lives here: expressions compiled, and evaluated over one envelope within a budget of
//! steps. The crate `cel` parses; the rest is ours (docs/adr/0008).
//! What must not: routes, refusals, what becomes of a failure.
//!
//! ```text
//! source ─ scan ─ parse (cel) ─ compile ─► ir ─┐
//! envelope ─────── scope ─ json (at need) ─────┴─ eval ─► value ─► bool, text, JSON
//! ```

mod budget;
mod compile;
mod error;
mod eval;
mod ir;
mod json;
mod names;
mod parse;
mod program;
mod scan;
mod scope;
mod template;
mod value;

pub use budget::{MAX_BUILT_BYTES, MAX_STEPS};
pub use error::{CompileError, EvalError, Kind};
pub use ir::MAX_LOOPS;
pub use json::MAX_PAYLOAD_DEPTH;
pub use names::is_reserved;
pub use program::Program;
pub use scan::{MAX_DEPTH, MAX_SOURCE_BYTES};
pub use scope::{Scope, Transformed};
pub use template::{MAX_TEMPLATE_BYTES, Template};

#[cfg(test)]
mod tests;
