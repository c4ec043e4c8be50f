//! The one test binary: a module for each family of scenarios, `support` for what they share.

mod support;

mod imports;
mod oracle;
mod shown_by;
