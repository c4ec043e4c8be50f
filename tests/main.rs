//! All integration tests, one binary: a module a scenario family.

mod log_sim;
mod support;
