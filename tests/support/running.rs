//! One of the program's other commands, while it runs.

use super::wait::wait_for;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Killed when the test ends, however it ends.
pub struct Running(pub Child);

impl Running {
    pub fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command.spawn().expect("it starts"))
    }

    /// Its lines of stdout, as they come.
    pub fn lines(&mut self) -> Receiver<String> {
        let stdout = self.0.stdout.take().expect("it is piped, and read once");
        let (lines, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// Its exit code.
    pub fn wait(&mut self, patience: Duration) -> i32 {
        let status = wait_for(patience, || {
            let ended = self.0.try_wait().expect("our own child");
            ended.ok_or_else(|| "its end".to_owned())
        });
        status.code().expect("it ends by itself")
    }

    pub fn read_stderr(&mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.0.stderr.take().expect("it is piped, and read once");
        stderr.read_to_string(&mut text).expect("it writes UTF-8");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
