//! Servers that the user names by environment variables: used, never started or stopped.

use crate::shared::Name;
use std::env;
use std::net::{SocketAddr, ToSocketAddrs};

/// What the user says of this one.
pub fn address(name: Name) -> Option<String> {
    let named = env::var(name.variable()?).ok()?;
    (!named.is_empty()).then_some(named)
}

/// Where to connect: `host:port`, or a URL's host and port, for AMQP 5672 if it has none.
pub fn socket(address: &str) -> Result<SocketAddr, String> {
    let host = host_and_port(address);
    let found = host.to_socket_addrs().map_err(|e| format!("{host}: {e}"))?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| format!("{host}: no address"))
}

fn host_and_port(address: &str) -> String {
    let Some((_, rest)) = address.split_once("://") else {
        // The first of several brokers.
        return address.split(',').next().unwrap_or_default().to_owned();
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((_, port)) if !port.contains(']') => host.to_owned(),
        _ => format!("{host}:5672"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_found_in_what_users_write() {
        let cases = [
            ("kafka:9092", "kafka:9092"),
            ("a:1,b:2", "a:1"),
            ("amqp://guest:g@st@rabbit:5673/%2f", "rabbit:5673"),
            ("amqp://rabbit", "rabbit:5672"),
            ("amqp://u:p@[::1]/v", "[::1]:5672"),
            ("amqps://[::1]:5671?x=y", "[::1]:5671"),
        ];
        for (address, wanted) in cases {
            assert_eq!(host_and_port(address), wanted, "{address}");
        }
    }
}
