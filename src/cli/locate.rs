//! Where a running gateway is: as it was said, else as the configuration's `[listen]` says.

use super::client::{SAY_ADMIN, SAY_SERVER, Server};
use super::exit::{Code, Failure, Kind};
use super::{Admin, House, ServerArg};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

pub(super) fn admin(admin: &Admin, config: &Path, house: &House) -> Result<Server, Failure> {
    let listens = || (house.admin_address)(config);
    find(admin.url.as_deref(), listens, config, "admin", SAY_ADMIN)
}

pub(super) fn server(arg: &ServerArg, config: &Path, house: &House) -> Result<Server, Failure> {
    let listens = || (house.http_address)(config);
    find(arg.url.as_deref(), listens, config, "http", SAY_SERVER)
}

fn find(
    url: Option<&str>,
    listens: impl FnOnce() -> Result<Option<SocketAddr>, String>,
    config: &Path,
    setting: &str,
    how: &'static str,
) -> Result<Server, Failure> {
    if let Some(url) = url {
        return Ok(Server::parse(url, how)?);
    }
    let listens = listens().map_err(|why| {
        let failure = Failure::local(&why);
        match config.exists() {
            true => failure,
            false => Failure {
                help: format!("{}, or say where the gateway is with {how}", failure.help),
                ..failure
            },
        }
    })?;
    let Some(listens) = listens else {
        let file = config.display();
        return Err(Failure::new(
            Code::Failed,
            Kind::NoListener,
            format!("{file} has no {setting} listener"),
            format!("add one to its [listen], or say where a gateway's is with {how}"),
        ));
    };
    Ok(Server::parse(&reachable(listens).to_string(), how)?)
}

/// What listens on every address is reached on this machine's own.
pub(super) fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:9190", "127.0.0.1:9190"),
            ("[::]:9190", "[::1]:9190"),
            ("10.0.0.1:9190", "10.0.0.1:9190"),
        ] {
            assert_eq!(
                reachable(listens.parse().expect("legal")).to_string(),
                reached
            );
        }
    }
}
