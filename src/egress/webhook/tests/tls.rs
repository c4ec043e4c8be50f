//! Who is trusted, and who we are. The certificates of tests/fixtures/tls hold until 2126.

use super::*;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

const CA: &str = include_str!("../../../../tests/fixtures/tls/ca.crt");
const OTHER_CA: &str = include_str!("../../../../tests/fixtures/tls/other.crt");
const SERVER: &str = include_str!("../../../../tests/fixtures/tls/server.crt");
const SERVER_KEY: &str = include_str!("../../../../tests/fixtures/tls/server.key");
const CLIENT: &str = include_str!("../../../../tests/fixtures/tls/client.crt");
const CLIENT_KEY: &str = include_str!("../../../../tests/fixtures/tls/client.key");

/// One that knows only clients of its authority.
fn acceptor() -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(CA.as_bytes()).expect("a certificate");
    roots.add(ca).expect("an authority");
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(SERVER.as_bytes()).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).expect("a key"),
        )
        .expect("they fit");
    TlsAcceptor::from(Arc::new(config))
}

/// What becomes of one delivery to a server that asks who we are.
async fn tried(host: &str, tls: TlsOptions) -> Verdict {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let stream = accept(&listener).await;
        let Ok(mut stream) = acceptor().accept(stream).await else {
            return false;
        };
        read_request(&mut stream).await.expect("a request");
        stream.write_all(OK.as_bytes()).await.expect("written");
        stream.flush().await.expect("written");
        true
    });
    let mut options = options(url.replace("http://127.0.0.1", &format!("https://{host}")));
    options.tls = tls;
    let verdict = one(&webhook(&options), 1).await;
    let is_asked = server.await.expect("no panic");
    assert_eq!(is_asked, verdict == Verdict::Delivered, "{verdict:?}");
    verdict
}

fn us() -> TlsOptions {
    TlsOptions {
        ca: Some(CA.into()),
        identity: Some((CLIENT.into(), CLIENT_KEY.into())),
        server_name: None,
    }
}

#[tokio::test]
async fn a_server_that_is_trusted_and_knows_us() {
    assert_eq!(tried("127.0.0.1", us()).await, Verdict::Delivered);
    let named = TlsOptions {
        server_name: Some("hook.test".to_owned()),
        ..us()
    };
    assert_eq!(tried("127.0.0.1", named).await, Verdict::Delivered);
}

#[tokio::test]
async fn anybody_else_gets_nothing() {
    let stranger = TlsOptions {
        ca: Some(OTHER_CA.into()),
        ..us()
    };
    let own = TlsOptions { ca: None, ..us() };
    let misnamed = TlsOptions {
        server_name: Some("other.test".to_owned()),
        ..us()
    };
    for (tls, words) in [
        (stranger, "UnknownIssuer"),
        (own, "UnknownIssuer"),
        (misnamed, "other.test"),
    ] {
        let verdict = tried("127.0.0.1", tls).await;
        let (kind, why) = kind(&verdict);
        assert_eq!(kind, "retry", "{why}");
        assert!(why.contains("no TLS with") && why.contains(words), "{why}");
    }
}

/// With TLS 1.3 the server says so only after our handshake has ended.
#[tokio::test]
async fn a_server_that_does_not_know_us_takes_nothing() {
    let nobody = TlsOptions {
        identity: None,
        ..us()
    };
    let verdict = tried("127.0.0.1", nobody).await;
    let (kind, why) = kind(&verdict);
    assert!(matches!(kind, "retry" | "unknown"), "{verdict:?}");
    assert!(
        why.contains("CertificateRequired") || why.contains("onnection"),
        "{why}"
    );
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let with = |change: fn(&mut TlsOptions)| {
        let mut options = options("https://localhost".to_owned());
        options.tls = us();
        change(&mut options.tls);
        let made = Webhook::new(
            &options,
            names(),
            "hook".into(),
            "gw".into(),
            Clock::system(),
        );
        made.err().unwrap_or_default()
    };
    assert_eq!(with(|_| {}), "");
    assert_eq!(
        with(|tls| tls.ca = Some("".into())),
        "`tls.ca` has no certificate"
    );
    let mixed = with(|tls| tls.identity = Some((CLIENT.into(), SERVER_KEY.into())));
    assert!(mixed.starts_with("`tls.cert` with `tls.key`: "), "{mixed}");
    let bad = with(|tls| tls.identity = Some((CLIENT.into(), "hunter2".into())));
    assert!(
        bad.starts_with("`tls.key`: ") && !bad.contains("hunter2"),
        "{bad}"
    );
    let name = with(|tls| tls.server_name = Some("a b".to_owned()));
    assert!(name.contains("\"a b\""), "{name}");
}
