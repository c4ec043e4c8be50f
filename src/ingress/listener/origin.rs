//! Who a request is for and where it comes from, on a listener that lets in everybody on this
//! machine. A web page that somebody reads here can make the browser ask this listener, too: by
//! a name of the page's own that it lets point here (DNS rebinding), or just so, across origins.
//! Such requests are refused by what browsers can't leave out: Host, Origin, Sec-Fetch-Site.

use super::counters::{Counters, Foreign};
use axum::body::Body;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use tokio::net::TcpListener;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Turns foreign requests away.
#[derive(Clone, Debug)]
pub struct Guard {
    local_only: bool,
    counters: Arc<Counters>,
}

/// Why a request isn't served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForUs {
    /// Two headers `Host`.
    HostTwice,
    HostMissing,
    Foreign(Foreign),
}

impl Guard {
    /// Of a listener without authentication. On one that faces the network only one Host is asked for:
    /// who opened it to everybody has said so, and names for it can't be known.
    #[must_use]
    pub fn of(listener: &TcpListener, counters: Arc<Counters>) -> Self {
        let address = listener.local_addr();
        let open = address.is_ok_and(|address| !address.ip().to_canonical().is_loopback());
        Self {
            local_only: !open,
            counters,
        }
    }

    /// # Errors
    /// If the request isn't from a program that may ask here.
    pub fn check(&self, request: &Request<Body>) -> Result<(), NotForUs> {
        let host = host(request)?;
        if !self.local_only {
            return Ok(());
        }
        match foreign(request, host) {
            None => Ok(()),
            Some(foreign) => {
                self.counters.count_foreign(foreign);
                Err(NotForUs::Foreign(foreign))
            }
        }
    }
}

/// What the request's Host says: one, and in HTTP/1.1 no less (RFC 9112, 3.2).
fn host<B>(request: &Request<B>) -> Result<Option<&HeaderValue>, NotForUs> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(NotForUs::HostTwice);
    }
    if host.is_none() && request.version() == Version::HTTP_11 {
        return Err(NotForUs::HostMissing);
    }
    Ok(host)
}

/// What of the request says that it isn't from a program on this machine, for this machine.
fn foreign<B>(request: &Request<B>, host: Option<&HeaderValue>) -> Option<Foreign> {
    // In HTTP/2, and where the request line has a whole URI, the authority stands there.
    let target = request.uri().authority();
    if target.is_some_and(|authority| !is_local(authority.host())) {
        return Some(Foreign::Host);
    }
    if host.is_some_and(|host| !is_local_authority(host.as_bytes())) {
        return Some(Foreign::Host);
    }
    let headers = request.headers();
    let origins = headers.get_all(header::ORIGIN);
    if origins.iter().any(|o| !is_local_origin(o.as_bytes())) {
        return Some(Foreign::Origin);
    }
    is_cross_site(headers).then_some(Foreign::Site)
}

/// Another port of this machine is `same-site`.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let sites = headers.get_all(SEC_FETCH_SITE);
    sites
        .iter()
        .any(|s| s.as_bytes().eq_ignore_ascii_case(b"cross-site"))
}

/// `SCHEME://HOST[:PORT]`; `null` is what a browser writes for an origin that it hides.
fn is_local_origin(origin: &[u8]) -> bool {
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| is_local_authority(authority.as_bytes()))
}

fn is_local_authority(authority: &[u8]) -> bool {
    let authority = std::str::from_utf8(authority).unwrap_or_default();
    match Authority::from_str(authority) {
        // With a name of a user in it, it is no Host and no origin.
        Ok(parsed) => !authority.contains('@') && is_local(parsed.host()),
        Err(_) => false,
    }
}

/// Names that lead nowhere but here, whoever answers for names (RFC 6761, 6.3).
fn is_local(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return Ipv6Addr::from_str(address).is_ok_and(|a| a.to_canonical().is_loopback());
    }
    if let Ok(address) = IpAddr::from_str(host) {
        return address.is_loopback();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn verdict(target: &str, pairs: &[(&'static str, &str)]) -> Option<Foreign> {
        let mut request = Request::builder()
            .version(Version::HTTP_2)
            .uri(target)
            .body(Body::empty())
            .expect("legal");
        for (name, value) in pairs {
            let value = HeaderValue::from_str(value).expect("legal");
            request.headers_mut().append(*name, value);
        }
        let host = host(&request).expect("legal").cloned();
        foreign(&request, host.as_ref())
    }

    #[test]
    fn names_of_this_machine_are_known() {
        for (host, local) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("localhost.:8080", true),
            ("a.b.localhost", true),
            ("127.0.0.1", true),
            ("127.8.9.10:1", true),
            ("[::1]", true),
            ("[0:0:0:0:0:0:0:1]:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("", false),
            (":8080", false),
            ("localhost.evil.example", false),
            ("evil.example", false),
            ("notlocalhost", false),
            ("127.0.0.1.evil.example", false),
            ("128.0.0.1", false),
            ("0.0.0.0", false),
            ("127.1", false),
            ("2130706433", false),
            ("[::]", false),
            ("[fe80::1]", false),
            ("localhost@evil.example", false),
            ("evil.example@localhost", false),
            ("localhost, evil.example", false),
            ("localhost/evil.example", false),
            ("localhost\\.evil.example", false),
        ] {
            let found = verdict("/v1/topics/a", &[("host", host)]);
            assert_eq!(found.is_none(), local, "{host:?}");
        }
        let raw = HeaderValue::from_bytes(b"localhost\xff").expect("opaque");
        assert!(!is_local_authority(raw.as_bytes()));
    }

    #[test]
    fn origins_are_this_machine_or_none() {
        for (origin, local) in [
            ("http://localhost:3000", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:9", true),
            ("http://evil.example", false),
            ("http://localhost.evil.example:8080", false),
            ("http://localhost@evil.example", false),
            ("null", false),
            ("", false),
            ("localhost", false),
            ("http://localhost http://evil.example", false),
            ("file://", false),
        ] {
            let host = ("host", "localhost");
            let found = verdict("/", &[host, ("origin", origin)]);
            assert_eq!(found, (!local).then_some(Foreign::Origin), "{origin:?}");
        }
        let two = [
            ("origin", "http://localhost"),
            ("origin", "http://evil.example"),
        ];
        assert_eq!(verdict("/", &two), Some(Foreign::Origin));
    }

    #[test]
    fn the_site_and_the_target_count_too() {
        for (site, refused) in [
            ("cross-site", true),
            ("Cross-Site", true),
            ("same-site", false),
            ("same-origin", false),
            ("none", false),
        ] {
            let found = verdict("/", &[("sec-fetch-site", site)]);
            assert_eq!(found, refused.then_some(Foreign::Site), "{site}");
        }
        let here = [("host", "localhost")];
        assert_eq!(verdict("http://localhost:1/", &here), None);
        assert_eq!(verdict("http://evil.example/", &here), Some(Foreign::Host));
        assert_eq!(verdict("http://evil.example/", &[]), Some(Foreign::Host));
        let elsewhere = [("host", "evil.example")];
        assert_eq!(
            verdict("http://localhost/", &elsewhere),
            Some(Foreign::Host)
        );
    }
}
