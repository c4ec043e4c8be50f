//! The control API of dead letters.

use super::{
    Filter, LettersError, Logs, Page, PageWanted, PurgeOrder, Purged, Redrive, RedriveOrder,
    Redrives, Show, export,
};
use crate::admin::{Control, bad_body};
use crate::ingress::http::{Kind, Problem};
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// Of the letters that are in memory for one answer.
const PAGE_BYTES: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct ListQuery {
    limit: Option<usize>,
    from: Option<u64>,
    until: Option<u64>,
    reason: Option<String>,
    topic: Option<String>,
    route: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct ExportQuery {
    #[serde(default)]
    redact: bool,
    from: Option<u64>,
    until: Option<u64>,
    reason: Option<String>,
    topic: Option<String>,
    route: Option<String>,
}

pub(in crate::admin) async fn logs(State(control): State<Control>) -> Result<Json<Logs>, Problem> {
    Ok(Json(control.letter_logs().await??))
}

pub(in crate::admin) async fn list(
    State(control): State<Control>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let name = name_of(name)?;
    let Query(query) = query.map_err(bad_query)?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_LIMIT {
        let words = format!("parameter limit: write a number from 1 to {MAX_LIMIT}");
        return Err(Problem::malformed(words));
    }
    let filter = Filter {
        from: query.from,
        until: query.until,
        reason: query.reason,
        topic: query.topic,
        route: query.route,
    };
    let wanted = PageWanted {
        filter,
        limit,
        max_bytes: PAGE_BYTES,
    };
    let page = control.letters(name, wanted).await??;
    Ok(as_json(&serde_json::json!({
        "letters": summaries(&page),
        "next": page.next,
    })))
}

fn summaries(page: &Page) -> Vec<serde_json::Value> {
    let value = |letter| serde_json::to_value(Show::Summary(letter));
    let values = page.letters.iter().map(value);
    values
        .map(|value| value.expect("keys are text, and nothing fails by itself"))
        .collect()
}

pub(in crate::admin) async fn show(
    State(control): State<Control>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((name, offset)) = path.map_err(|_| bad_name())?;
    let offset = offset
        .parse()
        .map_err(|_| Problem::malformed("an offset is a number"))?;
    let page = control.letter(name.clone(), offset).await??;
    match page.letters.first() {
        Some(letter) => Ok(as_json(&Show::Whole(letter, &page.hide))),
        None => Err(LettersError::UnknownLetter { name, offset }.into()),
    }
}

pub(in crate::admin) async fn export_all(
    State(control): State<Control>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let name = name_of(name)?;
    let Query(query) = query.map_err(bad_query)?;
    let filter = Filter {
        from: query.from,
        until: query.until,
        reason: query.reason,
        topic: query.topic,
        route: query.route,
    };
    export::start(control, name, filter, query.redact).await
}

/// The bodies must be called JSON: a foreign web page can't send that here unasked.
pub(in crate::admin) async fn redrive(
    State(control): State<Control>,
    name: Result<Path<String>, PathRejection>,
    order: Result<Json<RedriveOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<Redrive>), Problem> {
    let name = name_of(name)?;
    let help = "send {\"all\": true}, {\"offsets\": [1, 2]} or {\"filter\": {…}}";
    let Json(order) = order.map_err(|rejection| bad_body(&rejection, help))?;
    let redrive = control.redrive(name, order).await??;
    Ok((StatusCode::ACCEPTED, Json(redrive)))
}

pub(in crate::admin) async fn purge(
    State(control): State<Control>,
    name: Result<Path<String>, PathRejection>,
    order: Result<Json<PurgeOrder>, JsonRejection>,
) -> Result<Json<Purged>, Problem> {
    let name = name_of(name)?;
    let help = "send {\"all\": true}, {\"offsets\": [1, 2]} or {\"filter\": {…}}";
    let Json(order) = order.map_err(|rejection| bad_body(&rejection, help))?;
    Ok(Json(control.purge_letters(name, order).await??))
}

pub(in crate::admin) async fn redrives(
    State(control): State<Control>,
) -> Result<Json<Redrives>, Problem> {
    Ok(Json(control.redrives().await??))
}

pub(in crate::admin) async fn progress(
    State(control): State<Control>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Redrive>, Problem> {
    Ok(Json(control.progress(name_of(id)?, false).await??))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct StopOrder {}

pub(in crate::admin) async fn stop(
    State(control): State<Control>,
    id: Result<Path<String>, PathRejection>,
    order: Result<Json<StopOrder>, JsonRejection>,
) -> Result<Json<Redrive>, Problem> {
    let Json(StopOrder {}) = order.map_err(|rejection| bad_body(&rejection, "send {}"))?;
    Ok(Json(control.progress(name_of(id)?, true).await??))
}

fn name_of(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    path.map(|Path(name)| name).map_err(|_| bad_name())
}

fn bad_name() -> Problem {
    Problem::malformed("the name isn't UTF-8")
}

fn bad_query(rejection: QueryRejection) -> Problem {
    Problem::malformed(rejection.body_text())
}

fn as_json(body: &impl serde::Serialize) -> Response {
    let json = serde_json::to_vec(body).expect("keys are text, and nothing fails by itself");
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

impl From<LettersError> for Problem {
    fn from(error: LettersError) -> Self {
        let detail = error.to_string();
        let not_found = |kind, title| Self::new(StatusCode::NOT_FOUND, kind, title, &*detail);
        match error {
            LettersError::UnknownLane { .. } => not_found(Kind::UnknownLane, "Unknown lane"),
            LettersError::UnknownLetter { .. } => {
                not_found(Kind::UnknownDeadLetter, "Unknown dead letter")
            }
            LettersError::UnknownRedrive(_) => not_found(Kind::UnknownRedrive, "Unknown redrive"),
            LettersError::Malformed(_) => Self::malformed(detail),
            LettersError::RedriveRunning { id, .. } => Self::new(
                StatusCode::CONFLICT,
                Kind::RedriveRunning,
                "Not now",
                detail,
            )
            .with("redrive", id),
            LettersError::Stopping => Self::unavailable(Kind::Stopping, detail, 5),
            LettersError::Failed { .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Kind::DeadLettersFailed,
                "Failed",
                detail,
            ),
        }
    }
}
