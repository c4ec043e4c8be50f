//! Scenarios that need something of the machine (ptrace, user namespaces) say so when it isn't there.

use std::env;
use std::io::{self, Write};

/// Says on standard error that a test is skipped and why; a failure where `CI=true`.
///
/// Written past the test harness, which would swallow the output of a test that passes.
///
/// # Panics
/// Where `CI=true`: there nothing may go untested unseen.
pub fn skipped(test: &str, reason: &str) {
    let in_ci = env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        !in_ci,
        "{test} can't run here, and CI=true forbids to skip it: {reason}"
    );
    let line = format!("skipped: {test}: {reason}\n");
    // Nothing better can be done if standard error is closed.
    let _ = io::stderr().write_all(line.as_bytes());
}
