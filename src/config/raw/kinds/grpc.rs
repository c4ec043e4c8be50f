//! `type = "grpc"`

use super::super::values::Values;
use super::tls::read_tls;
use crate::config::path::Path;
use crate::config::reader::Reader;
use crate::config::settings::{Address, DestinationKind, Grpc};
use hyper::Uri;

pub(in crate::config::raw) fn grpc(
    values: &Values,
    reader: &Reader<'_>,
) -> Option<DestinationKind> {
    let url = values.text("url")?;
    check_url(&values.place("url"), url, reader);
    Some(DestinationKind::Grpc(Box::new(Grpc {
        url: Address::new(url.to_owned()),
        tls: read_tls(values, reader, url.starts_with("https:")),
    })))
}

fn check_url(path: &Path, url: &str, reader: &Reader<'_>) {
    // What has blanks in it was refused already.
    if url.contains(char::is_whitespace) {
        return;
    }
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host);
    let has_path = uri
        .as_ref()
        .and_then(Uri::path_and_query)
        .is_some_and(|path| path != "/");
    if host.is_none_or(str::is_empty) || has_path || url.contains('#') {
        reader.error(
            path,
            format!("`{path}` is no address of a gRPC service"),
            "write it like \"https://host:port\", without a path",
        );
    }
}
