//! `type = "webhook"`

use super::super::values::Values;
use super::tls::read_tls;
use crate::config::path::Path;
use crate::config::reader::Reader;
use crate::config::settings::{Address, DestinationKind, Webhook, WebhookFormat};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderName;

const CONCURRENCY: usize = 16;
/// What Standard Webhooks ask for.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const SECRET_PREFIX: &str = "whsec_";
/// What a request needs itself, or what tells of the delivery: no message may say otherwise.
const OWN_HEADERS: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const OWN_PREFIXES: [&str; 3] = ["ce-", "webhook-", "causeway-"];

pub(in crate::config::raw) fn webhook(
    values: &Values,
    reader: &Reader<'_>,
) -> Option<DestinationKind> {
    let url = values.text("url")?;
    check_url(&values.place("url"), url, reader);
    for (path, secret) in values.secrets("secrets") {
        check_secret(path, secret.expose(), reader);
    }
    for (path, name) in values.texts("headers") {
        check_header(path, name, reader);
    }
    let format = match values.text("format") {
        Some("structured") => WebhookFormat::Structured,
        Some("raw") => WebhookFormat::Raw,
        _ => WebhookFormat::Binary,
    };
    let secrets = values.secrets("secrets").iter();
    let headers = values.texts("headers").iter();
    Some(DestinationKind::Webhook(Box::new(Webhook {
        url: Address::new(url.to_owned()),
        tls: read_tls(values, reader, url.starts_with("https:")),
        secrets: secrets.map(|(_, secret)| secret.clone()).collect(),
        format,
        headers: headers.map(|(_, name)| name.to_ascii_lowercase()).collect(),
        concurrency: values.count("concurrency").unwrap_or(CONCURRENCY),
    })))
}

fn check_url(path: &Path, url: &str, reader: &Reader<'_>) {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host);
    // What has blanks in it was refused already.
    let has_blanks = url.contains(char::is_whitespace);
    if !has_blanks && (host.is_none_or(str::is_empty) || url.contains('#')) {
        reader.error(
            path,
            format!("`{path}` is no address that can be asked for"),
            "write it like \"https://host:port/path\", with what is special in it percent-encoded",
        );
    }
}

fn check_secret(path: &Path, secret: &str, reader: &Reader<'_>) {
    let text = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    const HELP: &str = "make one: echo whsec_$(openssl rand -base64 32)";
    match STANDARD.decode(text) {
        Err(_) => reader.error(path, "this secret is no base64", HELP),
        Ok(key) if !SECRET_BYTES.contains(&key.len()) => {
            let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
            let message = format!("this secret isn't of {least} to {most} bytes");
            reader.error(path, message, HELP);
        }
        Ok(_) => {}
    }
}

fn check_header(path: &Path, name: &str, reader: &Reader<'_>) {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        reader.error(
            path,
            "this is no name of an HTTP header",
            "use letters, digits and `-`",
        );
        return;
    }
    let name = name.to_ascii_lowercase();
    let is_own = OWN_HEADERS.contains(&name.as_str())
        || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if is_own {
        reader.error(
            path,
            format!("`{name}` is a header of the request's own: no message sets it"),
            "take it out, or let a target rename it: headers = { x-name = \"${…}\" }",
        );
    }
}
