//! Servers that the gateway is measured beside: this program again, told by its first word what to be.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// `word`: what `main` knows it by. It says where it listens in its first line, and serves until
    /// it is killed.
    pub fn start(word: &str) -> Self {
        let this = std::env::current_exe().expect("we run");
        let child = Command::new(this).arg(word).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it starts as we did");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        let read = BufReader::new(stdout).read_line(&mut address);
        read.expect("it says where it listens");
        Self {
            child,
            address: address.trim().parse().expect("an address"),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
