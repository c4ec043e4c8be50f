//! The one test binary: a module for each family of scenarios.

mod config_errors;
