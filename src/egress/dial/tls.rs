//! Who is trusted, who we are, and the handshake. One provider: ring.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What a file says of TLS.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM: these authorities alone. `None`: those that the machine trusts.
    pub ca: Option<Arc<str>>,
    /// Our certificates and private key, both PEM.
    pub identity: Option<(Arc<str>, Arc<str>)>,
    /// If it isn't the host's.
    pub server_name: Option<String>,
}

/// Without the key.
impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(host: &str, tls: &TlsOptions, protocols: &[&[u8]]) -> Result<Self, String> {
        let name = tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{name:?} is no name of a server"))?;
        let roots = match &tls.ca {
            Some(pem) => authorities(pem)?,
            None => own_authorities()?,
        };
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS: {e}"))?
            .with_root_certificates(roots);
        let mut config = match &tls.identity {
            None => config.with_no_client_auth(),
            Some((cert, key)) => config
                .with_client_auth_cert(certificates(cert, "tls.cert")?, private_key(key)?)
                .map_err(|e| format!("`tls.cert` with `tls.key`: {e}"))?,
        };
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }

    pub(super) async fn shake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn certificates(pem: &str, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(format!("`{key}` has no certificate")),
        Err(e) => Err(format!("`{key}`: {e}")),
    }
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| format!("`tls.key`: {e}"))
}

fn authorities(pem: &str) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "tls.ca")? {
        roots
            .add(certificate)
            .map_err(|e| format!("`tls.ca`: {e}"))?;
    }
    Ok(Arc::new(roots))
}

/// Those of the machine, read once.
fn own_authorities() -> Result<Arc<RootCertStore>, String> {
    static OWN: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // Some that can't be read or used are usual; that there are none at all is told below.
        let found = rustls_native_certs::load_native_certs().certs;
        roots.add_parsable_certificates(found);
        Arc::new(roots)
    });
    match own.is_empty() {
        true => Err(
            "this machine has no certificates of authorities (ca-certificates): install them, or name \
             a file in `tls.ca`"
                .to_owned(),
        ),
        false => Ok(Arc::clone(own)),
    }
}
