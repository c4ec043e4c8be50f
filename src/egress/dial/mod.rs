//! The way to a service: what its address says, TCP, and TLS where it is encrypted. For all clients.
//!
//! What must not live here: what is said on the connection.

mod tls;

pub use tls::TlsOptions;

use http_body_util::Full;
use hyper::Uri;
use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tls::Tls;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What most requests are.
pub type Body = Full<Bytes>;

/// An address, taken apart. It has no secret in it but `authorization`.
pub struct Place {
    pub is_encrypted: bool,
    /// An IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// Of the header `host`: the port only where it isn't the usual one.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// The header of that name, if the address has a user name.
    pub authorization: Option<String>,
}

impl Place {
    /// # Errors
    /// What is wrong with it, without what it says.
    pub fn of(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("its address: {e}"))?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("its address is neither http:// nor https://".to_owned()),
        };
        let authority = uri.authority().ok_or("its address has no host")?;
        let host = authority.host();
        if host.is_empty() {
            return Err("its address has no host".to_owned());
        }
        let usual = if is_encrypted { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(usual);
        let target = uri.path_and_query();
        Ok(Self {
            is_encrypted,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port,
            authority: match port == usual {
                true => host.to_owned(),
                false => format!("{host}:{port}"),
            },
            target: target.map_or_else(|| "/".to_owned(), ToString::to_string),
            authorization: authority
                .as_str()
                .rsplit_once('@')
                .map(|(user, _)| basic(user)),
        })
    }
}

/// `user:password` as in an address → the header.
fn basic(userinfo: &str) -> String {
    use base64::Engine as _;
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let base64 = base64::engine::general_purpose::STANDARD.encode(plain);
    format!("Basic {base64}")
}

/// Connects, again and again, to one place.
pub struct Dialer {
    host: String,
    port: u16,
    tls: Option<Tls>,
}

impl Dialer {
    /// # Errors
    /// If the files of `tls` can't be used, or the machine has no certificates of authorities.
    pub fn new(place: &Place, tls: &TlsOptions, protocols: &[&[u8]]) -> Result<Self, String> {
        let tls = place.is_encrypted.then_some(tls);
        Self::to(&place.host, place.port, tls, protocols)
    }

    /// Encrypted with `tls`.
    ///
    /// # Errors
    /// As `new`.
    pub fn to(
        host: &str,
        port: u16,
        tls: Option<&TlsOptions>,
        protocols: &[&[u8]],
    ) -> Result<Self, String> {
        let tls = tls.map(|tls| Tls::new(host, tls, protocols)).transpose()?;
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }

    /// # Errors
    /// Why there is no connection: nothing was sent on it.
    pub async fn dial(&self) -> Result<Stream, String> {
        let (host, port) = (&self.host, self.port);
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|e| format!("no connection to {host}:{port}: {e}"))?;
        stream
            .set_nodelay(true)
            .map_err(|e| format!("the connection to {host}:{port}: {e}"))?;
        match &self.tls {
            None => Ok(Stream::Plain(stream)),
            Some(tls) => match tls.shake(stream).await {
                Ok(stream) => Ok(Stream::Encrypted(Box::new(stream))),
                Err(e) => Err(format!("no TLS with {host}:{port}: {e}")),
            },
        }
    }
}

/// A connection.
pub enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Encrypted(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let place = Place::of("https://us%40er:p%3Aw@example.org/a/b?c=d").unwrap();
        assert!(place.is_encrypted);
        assert_eq!((place.host.as_str(), place.port), ("example.org", 443));
        assert_eq!(place.authority, "example.org");
        assert_eq!(place.target, "/a/b?c=d");
        // us@er:p:w
        let authorization = place.authorization.unwrap();
        assert_eq!(authorization, "Basic dXNAZXI6cDp3");

        let place = Place::of("http://[::1]:8080").unwrap();
        assert!(!place.is_encrypted && place.authorization.is_none());
        assert_eq!((place.host.as_str(), place.port), ("::1", 8080));
        assert_eq!((&*place.authority, &*place.target), ("[::1]:8080", "/"));
        let place = Place::of("http://localhost:80?x").unwrap();
        assert_eq!((&*place.authority, &*place.target), ("localhost", "/?x"));
    }

    #[test]
    fn what_is_no_address_is_told_without_what_it_says() {
        for url in [
            "",
            "ftp://hunter2",
            "http://",
            "hunter2",
            "http:///hunter2",
            "http://a b",
        ] {
            let why = Place::of(url).err().unwrap_or_else(|| panic!("{url:?}"));
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
