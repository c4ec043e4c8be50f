//! How far an upload is: only where stdin is a file and stderr a terminal.

use crate::cli::table::bytes;
use std::fs::File;
use std::io::{self, IsTerminal, Seek, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(200);

pub(super) struct Progress {
    total: u64,
    done: u64,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// None where nobody would see it, or nobody knows how long it is.
    pub fn of_stdin() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let stdin = io::stdin().as_fd().try_clone_to_owned().ok()?;
        let mut file = File::from(stdin);
        let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        // Somebody may have read a part of it before.
        let start = file.stream_position().ok()?;
        Some(Self {
            total: meta.len().saturating_sub(start),
            done: 0,
            started: Instant::now(),
            drawn: None,
        })
    }

    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.drawn.is_none_or(|drawn| drawn.elapsed() >= TICK) {
            self.drawn = Some(Instant::now());
            self.draw(&self.line(self.started.elapsed()));
        }
    }

    /// Off the screen, for other words.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            self.draw("");
        }
    }

    fn draw(&self, line: &str) {
        let mut err = io::stderr();
        // It is an ornament: whether it can be shown changes nothing.
        let _ = write!(err, "\r{line}\x1b[K").and_then(|()| err.flush());
    }

    fn line(&self, elapsed: Duration) -> String {
        let rate = self.done as f64 / elapsed.as_secs_f64().max(0.001);
        let percent = (self.done * 100)
            .checked_div(self.total)
            .unwrap_or(100)
            .min(100);
        format!(
            "{} of {} ({percent} %), {}/s",
            bytes(self.done),
            bytes(self.total),
            bytes(rate as u64)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_much_of_how_much_and_how_fast() {
        let mut progress = Progress {
            total: 4 << 20,
            done: 1 << 20,
            started: Instant::now(),
            drawn: None,
        };
        let line = progress.line(Duration::from_secs(2));
        assert_eq!(line, "1.0 MiB of 4.0 MiB (25 %), 512.0 KiB/s");
        progress.total = 0;
        assert!(progress.line(Duration::ZERO).contains("(100 %)"));
    }
}
