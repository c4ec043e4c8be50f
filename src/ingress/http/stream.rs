//! `GET /v1/streams/{name}`: pages of a stream, waiting for its growth if asked to. To who wants
//! them, server-sent events instead. `GET /v1/streams/{name}/{offset}`: one record. Each is written as a record, or
//! as the CloudEvent that it is.

use super::kind::Kind;
use super::problem::Problem;
use super::{Http, accept, bad_query, events, page, time};
use crate::cloudevents::{BATCH, Event, STRUCTURED};
use crate::ingress::front::{Front, Page, ReadError, Start, StreamRead, StreamRecord};
use crate::ingress::listener;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

const DEFAULT_PAGE_RECORDS: usize = 100;
const MAX_PAGE_RECORDS: usize = 1_000;
/// Of the records of one page, before they are written as JSON.
const PAGE_BYTES: usize = 1 << 20;
/// Pages in memory at one time, from reading to the last byte sent.
pub(super) const PAGES_AT_ONCE: usize = 32;
/// How long a reader waits for one of these places.
const PLACE_PATIENCE: Duration = Duration::from_secs(10);
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    from: Option<String>,
    limit: Option<String>,
    wait: Option<String>,
    format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordQuery {
    format: Option<String>,
}

pub(super) async fn read<F: Front>(
    State(http): State<Arc<Http<F>>>,
    method: Method,
    headers: HeaderMap,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|_| Problem::malformed("the stream's name isn't UTF-8"))?;
    let Query(query) = query.map_err(bad_query)?;
    let form = accept::of_stream(&headers);
    let as_cloud_events = form == accept::Form::CloudEvents || query.format()?;
    if form == accept::Form::Events {
        let wanted = query.events(name, &headers, as_cloud_events)?;
        return match method {
            Method::HEAD => events::head(http, wanted).await,
            _ => events::open(http, wanted).await,
        };
    }
    let wait = query.wait()?;
    let read = StreamRead {
        from: query.from()?,
        max_records: query.limit()?,
        max_bytes: PAGE_BYTES,
    };
    let (page, place) = read_page(&http, &name, read).await?;
    if wait.is_zero() || !page.records.is_empty() {
        return Ok(http.answer(&page, as_cloud_events, place));
    }
    drop(place);
    let mut stop = http.stop.clone();
    tokio::select! {
        // Grown or not: the page tells.
        _ = timeout(wait, http.front.stream_reaches(&name, page.next)) => {}
        () = listener::stopped(&mut stop) => {}
    }
    let read = StreamRead {
        from: Start::Offset(page.next),
        ..read
    };
    let (page, place) = read_page(&http, &name, read).await?;
    Ok(http.answer(&page, as_cloud_events, place))
}

async fn read_page<F: Front>(
    http: &Http<F>,
    name: &str,
    read: StreamRead,
) -> Result<(Page, OwnedSemaphorePermit), Problem> {
    let place = timeout(PLACE_PATIENCE, Arc::clone(&http.pages).acquire_owned())
        .await
        .map_err(|_| too_many_pages())?
        .expect("the semaphore is never closed");
    Ok((http.front.read_stream(name, read).await?, place))
}

fn too_many_pages() -> Problem {
    let detail = format!("{PAGES_AT_ONCE} pages of streams are in memory now");
    Problem::unavailable(Kind::StreamPages, detail, 1).with("limit", PAGES_AT_ONCE)
}

/// What one record is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum One {
    Record,
    Structured,
    Binary,
}

pub(super) async fn read_one<F: Front>(
    State(http): State<Arc<Http<F>>>,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Path((name, offset)) =
        path.map_err(|_| Problem::malformed("the stream's name isn't UTF-8"))?;
    let Query(query) = query.map_err(bad_query)?;
    let offset: u64 = offset
        .parse()
        .map_err(|_| Problem::malformed("an offset is a number"))?;
    let form = match query.format.as_deref() {
        None if accept::is_cloud_event(&headers) => One::Structured,
        None => One::Record,
        Some("cloudevents") => One::Structured,
        Some("cloudevents-binary") => One::Binary,
        Some(_) => return Err(bad("format", "write cloudevents or cloudevents-binary")),
    };
    let read = StreamRead {
        from: Start::Offset(offset),
        max_records: 1,
        max_bytes: PAGE_BYTES,
    };
    let (mut page, place) = read_page(&http, &name, read).await?;
    match page.records.pop().filter(|record| record.offset == offset) {
        Some(record) => Ok(one(&record, form, &http.gateway, place)),
        None => {
            let detail = format!("the stream has no record at offset {offset} yet");
            Err(Problem::new(
                StatusCode::NOT_FOUND,
                Kind::UnknownMessage,
                "Unknown message",
                detail,
            ))
        }
    }
}

fn one(record: &StreamRecord, form: One, gateway: &str, place: OwnedSemaphorePermit) -> Response {
    let mut json = Vec::new();
    match form {
        One::Record => {
            page::write_record(record, &mut json);
            (JSON, placed(json.into(), place)).into_response()
        }
        One::Structured => {
            page::to_event(record, gateway).write(&mut json);
            let content_type = [(header::CONTENT_TYPE, STRUCTURED)];
            (content_type, placed(json.into(), place)).into_response()
        }
        One::Binary => binary(&page::to_event(record, gateway), place),
    }
}

/// Browsers must not take what a publisher calls HTML for a page of the gateway's.
const AS_DATA: [(HeaderName, &str); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

fn binary(event: &Event, place: OwnedSemaphorePermit) -> Response {
    let data = event.data().cloned().unwrap_or_default();
    let mut response = (AS_DATA, placed(data, place)).into_response();
    let headers = response.headers_mut();
    let of_data = event.content_type().map(HeaderValue::from_str);
    match of_data {
        Some(Ok(content_type)) => headers.insert(header::CONTENT_TYPE, content_type),
        // A media type of the rules stands in any header.
        Some(Err(_)) | None => headers.remove(header::CONTENT_TYPE),
    };
    for (name, value) in event.quoted_headers() {
        let name =
            HeaderName::try_from(name).expect("letters, digits and ce- make a header's name");
        let value = HeaderValue::try_from(value).expect("it is quoted: visible ASCII");
        headers.insert(name, value);
    }
    response
}

const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
const NEXT: HeaderName = HeaderName::from_static("causeway-next");

/// A body that gives its place back when its last byte is sent, or the connection is gone.
struct Placed {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn placed(bytes: Bytes, place: OwnedSemaphorePermit) -> Body {
    let placed = Placed {
        bytes,
        _place: place,
    };
    Body::from(Bytes::from_owner(placed))
}

impl<F> Http<F> {
    fn answer(&self, page: &Page, as_cloud_events: bool, place: OwnedSemaphorePermit) -> Response {
        let json = page::to_json(page, self.shape(as_cloud_events));
        let body = placed(json.into(), place);
        if !as_cloud_events {
            return (JSON, body).into_response();
        }
        // A list of events has no room for it.
        let next = [(NEXT, HeaderValue::from(page.next))];
        ([(header::CONTENT_TYPE, BATCH)], next, body).into_response()
    }
}

impl PageQuery {
    fn events(
        &self,
        name: String,
        headers: &HeaderMap,
        as_cloud_events: bool,
    ) -> Result<events::Wanted, Problem> {
        if self.wait.is_some() {
            return Err(bad("wait", "events come as long as the stream is read"));
        }
        let from = self.from()?;
        let limit = match self.limit.as_deref().map(str::parse) {
            None => None,
            Some(Ok(limit @ 1..)) => Some(limit),
            Some(_) => return Err(bad("limit", "write a number from 1 on")),
        };
        Ok(events::Wanted {
            name,
            from: events::resumes_at(headers)?.unwrap_or(from),
            limit,
            as_cloud_events,
        })
    }

    /// Whether CloudEvents are wanted.
    fn format(&self) -> Result<bool, Problem> {
        match self.format.as_deref() {
            None => Ok(false),
            Some("cloudevents") => Ok(true),
            Some(_) => Err(bad(
                "format",
                "write cloudevents, or leave it out for records",
            )),
        }
    }

    fn from(&self) -> Result<Start, Problem> {
        match self.from.as_deref() {
            None | Some("earliest") => Ok(Start::Earliest),
            Some("latest") => Ok(Start::Latest),
            Some(offset) => match offset.parse() {
                Ok(offset) => Ok(Start::Offset(offset)),
                Err(_) => Err(bad("from", "write earliest, latest or an offset")),
            },
        }
    }

    fn limit(&self) -> Result<usize, Problem> {
        match self.limit.as_deref().map(str::parse) {
            None => Ok(DEFAULT_PAGE_RECORDS),
            Some(Ok(limit @ 1..=MAX_PAGE_RECORDS)) => Ok(limit),
            Some(_) => Err(bad(
                "limit",
                &format!("write a number from 1 to {MAX_PAGE_RECORDS}"),
            )),
        }
    }

    fn wait(&self) -> Result<Duration, Problem> {
        let max = MAX_WAIT.as_secs();
        match self.wait.as_deref().map(time::parse_duration) {
            None => Ok(Duration::ZERO),
            Some(Some(wait)) if wait <= MAX_WAIT => Ok(wait),
            Some(_) => Err(bad(
                "wait",
                &format!("write a duration up to {max}s, as in 10s"),
            )),
        }
    }
}

fn bad(parameter: &str, why: &str) -> Problem {
    Problem::malformed(format!("parameter {parameter}: {why}")).with("parameter", parameter)
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        match error {
            ReadError::UnknownStream(name) => Self::new(
                StatusCode::NOT_FOUND,
                Kind::UnknownStream,
                "Unknown stream",
                detail,
            )
            .with("stream", name),
            ReadError::Gone { earliest } => {
                Self::new(StatusCode::GONE, Kind::OffsetGone, "No longer kept", detail)
                    .with("earliest", earliest)
            }
            ReadError::Failed(_) => Self::unavailable(Kind::StreamFailed, detail, 10),
        }
    }
}
