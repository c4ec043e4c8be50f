//! Ports for servers: below those that the system gives to outgoing connections, so that none of
//! these takes a server's port while it is down; and apart from those of the gateways under test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Servers of one test.
const FIRST: u16 = 30_000;
const PORTS: u16 = 2_000;

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Nobody listens there.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(local(port)).is_ok()
}

/// The first of so many in a row that were free a moment ago; other ones for each caller in this process.
///
/// # Panics
/// When two thousand ports are taken.
pub fn free(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side start far from each other.
    let start = process::id().wrapping_mul(7919);
    for _ in 0..PORTS {
        let step = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        let offset = start.wrapping_add(step) % u32::from(PORTS - count);
        let first = FIRST + u16::try_from(offset).expect("below PORTS");
        if (first..first + count).all(is_free) {
            return first;
        }
    }
    panic!("no {count} free ports in a row from {FIRST} on");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_ports_of_their_own() {
        let (a, b) = (free(5), free(5));
        assert!(a.abs_diff(b) >= 5, "{a} {b}");
        let listener = TcpListener::bind(local(a)).unwrap();
        assert!(!is_free(a));
        drop(listener);
        assert!(is_free(a));
    }
}
