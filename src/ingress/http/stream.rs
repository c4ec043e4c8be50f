//! `GET /v1/streams/{name}`: pages of a stream, waiting for its growth if asked to. To who wants
//! them, events instead.

use super::kind::Kind;
use super::problem::Problem;
use super::{Http, accept, bad_query, events, page, time};
use crate::ingress::front::{Front, Page, ReadError, Start, StreamRead};
use crate::ingress::listener;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
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
    if accept::wants_events(&headers) {
        let wanted = query.events(name, &headers)?;
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
        return Ok(answer(&page, place));
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
    Ok(answer(&page, place))
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

/// A body that gives its place back when its last byte is sent, or the connection is gone.
struct Placed {
    json: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

fn answer(page: &Page, place: OwnedSemaphorePermit) -> Response {
    let body = Bytes::from_owner(Placed {
        json: page::to_json(page),
        _place: place,
    });
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::from(body),
    )
        .into_response()
}

impl PageQuery {
    fn events(&self, name: String, headers: &HeaderMap) -> Result<events::Wanted, Problem> {
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
        })
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
