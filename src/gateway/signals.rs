//! SIGTERM and SIGINT: the first stops the gateway in order, the second at once. SIGHUP is a reload.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// From here on SIGHUP ends nothing; several before the next look are one.
pub fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Says true at the first signal. The journal holds what the second cuts off.
pub fn stop_on_signal() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let signal = next().await;
        tracing::info!(signal, "stopping; once more to stop at once");
        stop.send_replace(true);
        let signal = next().await;
        tracing::warn!(signal, "stopped at once");
        std::process::exit(1);
    });
    Ok(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::time::Duration;

    #[tokio::test]
    async fn the_first_signal_says_stop() {
        let mut stop = stop_on_signal().expect("handlers are set");
        assert!(!*stop.borrow());
        kill_process(getpid(), Signal::TERM).expect("this process is there");
        let told = tokio::time::timeout(Duration::from_secs(20), stop.wait_for(|stop| *stop));
        told.await.expect("in time").expect("the watcher lives");
    }
}
