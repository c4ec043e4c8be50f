//! Certificates for the servers' TLS listeners: an authority of our own, a server's certificate for
//! localhost, a client's. PEM throughout; made once in a place.

use crate::fetch::Kit;
use crate::run::{run, write};
use crate::{Place, Trouble};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DAYS: &str = "3650";

#[derive(Clone, Debug)]
pub struct Tls {
    folder: PathBuf,
}

const KIT: fn() -> Kit = || Kit {
    name: "tls",
    pins: "1: ca, server, client".to_owned(),
    install,
};

impl Tls {
    pub(crate) fn find(place: &Place) -> Result<Self, Trouble> {
        KIT().find(place).map(|folder| Self { folder })
    }

    pub(crate) fn ensure(place: &Place) -> Result<Self, Trouble> {
        KIT().ensure(place).map(|folder| Self { folder })
    }

    /// The authority that clients trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// For `localhost` and 127.0.0.1.
    pub fn server_certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    pub fn server_key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    /// Key and certificate in one file, as Kafka wants them.
    pub(crate) fn server_both(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// Its name is `CN=causeway-client`.
    pub fn client_certificate(&self) -> PathBuf {
        self.folder.join("client.crt")
    }

    pub fn client_key(&self) -> PathBuf {
        self.folder.join("client.key")
    }
}

fn install(to: &Path) -> Result<(), Trouble> {
    let authority = [
        "-x509",
        "-subj",
        "/CN=causeway-test-authority",
        "-out",
        "ca.crt",
        "-addext",
        "keyUsage=critical,keyCertSign",
    ];
    request(to, "ca.key", &authority)?;
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";
    signed(to, "server", "/CN=localhost", names)?;
    signed(
        to,
        "client",
        "/CN=causeway-client",
        "extendedKeyUsage=clientAuth\n",
    )?;
    let read = |name: &str| {
        let path = to.join(name);
        fs::read_to_string(&path).map_err(|e| Trouble::file(&path, &e))
    };
    let both = read("server.key")? + &read("server.crt")?;
    write(&to.join("server.pem"), &both)
}

/// A new key, and a certificate or a request for one.
fn request(to: &Path, key: &str, words: &[&str]) -> Result<(), Trouble> {
    let mut openssl = Command::new("openssl");
    openssl
        .current_dir(to)
        .args(["req", "-newkey", "rsa:2048", "-nodes", "-days", DAYS])
        .args(["-keyout", key])
        .args(words);
    run(&mut openssl).map(drop)
}

fn signed(to: &Path, name: &str, subject: &str, extensions: &str) -> Result<(), Trouble> {
    let file = |ending: &str| format!("{name}.{ending}");
    request(to, &file("key"), &["-subj", subject, "-out", &file("csr")])?;
    write(&to.join(file("ext")), extensions)?;
    let mut openssl = Command::new("openssl");
    openssl
        .current_dir(to)
        .args(["x509", "-req", "-days", DAYS, "-CAcreateserial"])
        .args(["-CA", "ca.crt", "-CAkey", "ca.key"])
        .args(["-in", &file("csr"), "-out", &file("crt")])
        .args(["-extfile", &file("ext")]);
    run(&mut openssl).map(drop)
}
