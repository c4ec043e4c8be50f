//! Waiting for what others do, without guessing how long it takes.

use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);

/// Looks again and again until there is something.
///
/// # Panics
/// With what was seen last, if nothing comes in time.
#[track_caller]
pub fn wait_for<T>(patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "{seen}: not in {patience:?}"),
        }
        thread::sleep(POLL);
    }
}

/// # Panics
/// With what is wanted, if it doesn't come true in time.
#[track_caller]
pub fn wait_until(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(patience, || is_so().then_some(()).ok_or(what.to_owned()));
}
