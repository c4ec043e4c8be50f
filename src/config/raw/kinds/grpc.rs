//! `type = "grpc"`

use super::super::values::Values;
use super::tls::read_tls;
use crate::config::reader::Reader;
use crate::config::settings::{Address, DestinationKind, Grpc};

pub(in crate::config::raw) fn grpc(
    values: &Values,
    reader: &Reader<'_>,
) -> Option<DestinationKind> {
    let url = values.text("url")?;
    Some(DestinationKind::Grpc(Box::new(Grpc {
        url: Address::new(url.to_owned()),
        tls: read_tls(values, reader, url.starts_with("https:")),
    })))
}
