//! TLS by the file: who is trusted, who we are. The certificates of tests/fixtures/tls hold until 2126.

use super::*;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

const CA: &str = include_str!("../fixtures/tls/ca.crt");
const SERVER: &str = include_str!("../fixtures/tls/server.crt");
const SERVER_KEY: &str = include_str!("../fixtures/tls/server.key");

/// One that knows only clients of its authority.
fn acceptor() -> TlsAcceptor {
    let certificate =
        |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate(CA)).expect("an authority");
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(
            vec![certificate(SERVER)],
            PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).expect("a key"),
        )
        .expect("they fit");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[test]
fn a_server_gets_what_it_may_see_from_whom_it_knows() {
    let sink = Sink::encrypted(acceptor());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    let file = |name: &str| format!("{:?}", folder.join(name));
    let url = format!("url = \"https://{}\"\n", sink.address());
    let (ca, cert, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
    let nobody = format!("{url}tls = {{ ca = {ca} }}\n");
    let stranger = format!(
        "{url}tls = {{ ca = {}, cert = {cert}, key = {key} }}\n",
        file("other.crt")
    );
    let known = format!("{url}tls = {{ ca = {ca}, cert = {cert}, key = {key} }}\n");

    let gateway = started(&stranger);
    publish(&gateway, 0..10);
    let failed = |words: &[&str]| {
        wait_for(PATIENCE, || {
            let lane = lane(&gateway);
            let error = lane["last_error"].as_str().unwrap_or_default();
            match words.iter().any(|words| error.contains(words)) {
                true => Ok(()),
                false => Err(format!("none of {words:?}: {lane}")),
            }
        });
    };
    failed(&["UnknownIssuer"]);
    let reload = |keys: &str| {
        gateway.configure(&settings(keys));
        let reload = gateway.run(&["reload"]);
        assert!(reload.status.success(), "{reload:?}");
    };
    reload(&nobody);
    // With TLS 1.3 the server says so only after our handshake has ended.
    failed(&["CertificateRequired", "onnection", "broken pipe"]);
    assert_eq!(sink.asked(), 0);
    reload(&known);
    wait_settled(&gateway, 10, 0);
    assert_eq!(times(&sink.took()).len(), 10);
}
