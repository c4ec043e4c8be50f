//! The table `tls` of all that connect: its files are read here, so that `check` says which can't be
//! and a reload sees which changed.

use super::super::values::Values;
use crate::config::reader::Reader;
use crate::config::secret::read_file;
use crate::config::settings::{Identity, Tls};
use std::sync::Arc;

/// `is_encrypted`: by the address, where that says so.
pub(super) fn read_tls(values: &Values, reader: &Reader<'_>, is_encrypted: bool) -> Option<Tls> {
    let tls = values.table("tls")?;
    if !is_encrypted {
        reader.key_error(
            &values.place("tls"),
            "`tls` is for an encrypted address, and this one isn't",
            "write https:// (amqps://) in the address, or take `tls` out",
        );
    }
    Some(Tls {
        ca: read_certificates(tls, reader, "ca"),
        identity: read_identity(tls, reader),
        server_name: tls.text("server_name").map(str::to_owned),
    })
}

fn read_identity(tls: &Values, reader: &Reader<'_>) -> Option<Identity> {
    for (key, other) in [("cert", "key"), ("key", "cert")] {
        if tls.has(key) && !tls.has(other) {
            reader.key_error(
                &tls.place(key),
                format!("`{key}` is of no use without `{other}`"),
                format!("name the file of the `{other}` too"),
            );
        }
    }
    let cert = read_certificates(tls, reader, "cert");
    let path = tls.place("key");
    let key = tls
        .text("key")
        .and_then(|file| read_file(reader, &path, file));
    if key
        .as_ref()
        .is_some_and(|key| !key.expose().contains("PRIVATE KEY-----"))
    {
        reader.error(
            &path,
            "there is no private key in this file",
            "name a file in PEM form: it has a line -----BEGIN PRIVATE KEY-----",
        );
    }
    Some(Identity {
        cert: cert?,
        key: key?,
    })
}

fn read_certificates(tls: &Values, reader: &Reader<'_>, key: &'static str) -> Option<Arc<str>> {
    let path = tls.place(key);
    let file = reader.folder_of(&path).join(tls.text(key)?);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            reader.error(
                &path,
                format!("the file {} can't be read: {error}", file.display()),
                "name a file that the gateway may read; it is looked for beside the file that names it",
            );
            return None;
        }
    };
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        reader.error(
            &path,
            "there is no certificate in this file",
            "name a file in PEM form: it has a line -----BEGIN CERTIFICATE-----",
        );
    }
    Some(text.into())
}
