//! Health, metrics and the control API: shows the gateway's `Status`, puts its operators' orders.
//!
//! What must not live here: anything that knows a journal or a lane. The gateway hands over values.

mod control;
pub mod explanation;
pub mod letters;
mod metrics;
mod startup;
pub mod status;
mod tap;
#[cfg(test)]
mod tests;

pub use control::{
    Control, DropError, Dropping, LaneOrder, LaneOrderError, LaneTold, NoAnswer, Question,
    ReloadError, Reloaded, SkippedDelivery, control,
};

pub use startup::Startup;

use crate::config::cases;
use crate::ingress::http::{Kind, Problem, no_such_method, no_such_path, read_message};
use crate::ingress::listener::ConnectionLimits;
use crate::message::DeliveryId;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use explanation::Explanation;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use status::Status;
use std::collections::BTreeMap;
use std::fmt;

/// Of an order or a question: the largest is a message to be explained.
const MAX_BODY_BYTES: usize = 2 << 20;

/// Where a message comes from if nothing is said.
const HTTP: &str = "http";

/// Of each of the two listeners.
pub const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 64,
    head_bytes: 16 << 10,
    head_lines: 100,
};

/// What may face the network without authentication.
pub fn health_router(control: Control) -> Router {
    with_fallbacks(health()).with_state(control)
}

/// For operators: the same, and the control API.
pub fn admin_router(control: Control) -> Router {
    let api = Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/explain", post(explain))
        .route("/api/v1/lanes/{name}/drop", post(drop_lane))
        .route("/api/v1/lanes/{name}/pause", post(pause_lane))
        .route("/api/v1/lanes/{name}/resume", post(resume_lane))
        .route("/api/v1/lanes/{name}/skip", post(skip_one))
        .route("/api/v1/reload", post(reload))
        .merge(letters())
        .route("/api/v1/tap", get(tap::open))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    with_fallbacks(health().merge(api)).with_state(control)
}

fn letters() -> Router<Control> {
    use letters::http as of;
    let log = "/api/v1/dead-letters/{name}";
    Router::new()
        .route("/api/v1/dead-letters", get(of::logs))
        .route(log, get(of::list))
        .route(&format!("{log}/{{offset}}"), get(of::show))
        .route(&format!("{log}/export"), get(of::export_all))
        .route(&format!("{log}/redrive"), post(of::redrive))
        .route(&format!("{log}/purge"), post(of::purge))
        .route("/api/v1/redrives", get(of::redrives))
        .route("/api/v1/redrives/{id}", get(of::progress))
        .route("/api/v1/redrives/{id}/stop", post(of::stop))
}

fn health() -> Router<Control> {
    Router::new()
        .route("/healthz", get(|| async { "live\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

fn with_fallbacks(router: Router<Control>) -> Router<Control> {
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
}

async fn ready(State(control): State<Control>) -> Response {
    let reasons = match control.starting() {
        Some(reason) => vec![reason],
        None => match control.status().await {
            Ok(status) => status.reasons(),
            Err(silent) => vec![silent.to_string()],
        },
    };
    let code = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons });
    (code, Json(body)).into_response()
}

async fn metrics(State(control): State<Control>) -> Result<Response, Problem> {
    let page = match control.first_metrics() {
        Some(page) => page,
        None => metrics::render(&control.status().await?),
    };
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response())
}

async fn status(State(control): State<Control>) -> Result<Json<Status>, Problem> {
    Ok(Json(control.status().await?))
}

/// A line of a batch, and `from`: where it is said to come from.
async fn explain(
    State(control): State<Control>,
    question: Result<Json<Members>, JsonRejection>,
) -> Result<Json<Explanation>, Problem> {
    let Json(Members(mut members)) =
        question.map_err(|rejection| bad_body(&rejection, "send a line of a batch"))?;
    let from = match members.remove("from") {
        None => HTTP.to_owned(),
        Some(from) => serde_json::from_str(from.get())
            .map_err(|_| Problem::malformed("from: it must be text").with("member", "from"))?,
    };
    let line = serde_json::to_vec(&members).map_err(|e| Problem::malformed(e.to_string()))?;
    let envelope = read_message(&line, &cases::source(&from))?;
    Ok(Json(control.explain(envelope).await?))
}

/// Of an object, each once: nobody is to guess which of two was meant.
struct Members(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            members.insert(name, value);
        }
        Ok(Members(members))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropOrder {
    #[serde(default)]
    discard: bool,
}

/// The body must be called JSON: a foreign web page can't send that here unasked.
async fn drop_lane(
    State(control): State<Control>,
    lane: Result<Path<String>, PathRejection>,
    order: Result<Json<DropOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<Dropping>), Problem> {
    let Path(lane) = lane.map_err(|_| Problem::malformed("the lane's name isn't UTF-8"))?;
    let Json(order) =
        order.map_err(|rejection| bad_body(&rejection, "send {\"discard\": false} or true"))?;
    let dropping = control.drop_lane(lane, order.discard).await??;
    Ok((StatusCode::ACCEPTED, Json(dropping)))
}

type LaneName = Result<Path<String>, PathRejection>;

async fn pause_lane(
    State(control): State<Control>,
    lane: LaneName,
    order: Result<Json<Nothing>, JsonRejection>,
) -> Result<Json<LaneTold>, Problem> {
    let Json(Nothing {}) = order.map_err(|rejection| bad_body(&rejection, "send {}"))?;
    order_lane(&control, lane, LaneOrder::Pause).await
}

async fn resume_lane(
    State(control): State<Control>,
    lane: LaneName,
    order: Result<Json<Nothing>, JsonRejection>,
) -> Result<Json<LaneTold>, Problem> {
    let Json(Nothing {}) = order.map_err(|rejection| bad_body(&rejection, "send {}"))?;
    order_lane(&control, lane, LaneOrder::Resume).await
}

/// Without a position it is the oldest that fails.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SkipOrder {
    position: Option<u64>,
    #[serde(default)]
    ordinal: u16,
}

async fn skip_one(
    State(control): State<Control>,
    lane: LaneName,
    order: Result<Json<SkipOrder>, JsonRejection>,
) -> Result<Json<LaneTold>, Problem> {
    let help = "send {}, or {\"position\": 7, \"ordinal\": 0}";
    let Json(order) = order.map_err(|rejection| bad_body(&rejection, help))?;
    if order.position.is_none() && order.ordinal > 0 {
        return Err(Problem::malformed("an ordinal goes with a position"));
    }
    let which = order
        .position
        .map(|position| DeliveryId::new(position, order.ordinal));
    order_lane(&control, lane, LaneOrder::Skip(which)).await
}

async fn order_lane(
    control: &Control,
    lane: LaneName,
    order: LaneOrder,
) -> Result<Json<LaneTold>, Problem> {
    let Path(lane) = lane.map_err(|_| Problem::malformed("the lane's name isn't UTF-8"))?;
    Ok(Json(control.order_lane(lane, order).await??))
}

/// Nothing to say, but say it in JSON: see `drop_lane`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn reload(
    State(control): State<Control>,
    order: Result<Json<Nothing>, JsonRejection>,
) -> Result<Json<Reloaded>, Problem> {
    let Json(Nothing {}) = order.map_err(|rejection| bad_body(&rejection, "send {}"))?;
    Ok(Json(control.reload().await??))
}

fn bad_body(rejection: &JsonRejection, help: &str) -> Problem {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::ContentType,
            "Not JSON",
            format!("{help}, with content-type: application/json"),
        ),
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Kind::TooLarge,
            "Too large",
            format!("the body is longer than {MAX_BODY_BYTES} bytes"),
        ),
        other => Problem::malformed(other.body_text()),
    }
}

impl From<NoAnswer> for Problem {
    fn from(silent: NoAnswer) -> Self {
        Self::unavailable(Kind::NoAnswer, silent.to_string(), 5)
    }
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        let detail = error.to_string();
        match error {
            ReloadError::Refused {
                generation,
                problems,
                ..
            } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Kind::ReloadRefused,
                "Nothing was changed",
                detail,
            )
            .with("generation", generation)
            .with("problems", problems),
            ReloadError::Busy => Self::unavailable(Kind::Busy, detail, 1),
            ReloadError::Stopping => Self::unavailable(Kind::Stopping, detail, 5),
        }
    }
}

impl From<LaneOrderError> for Problem {
    fn from(error: LaneOrderError) -> Self {
        let detail = error.to_string();
        let (status, kind, title) = match error {
            LaneOrderError::UnknownLane { .. } => {
                (StatusCode::NOT_FOUND, Kind::UnknownLane, "Unknown lane")
            }
            LaneOrderError::Refused(_) => (StatusCode::CONFLICT, Kind::LaneRefused, "Not now"),
        };
        Self::new(status, kind, title, detail)
    }
}

impl From<DropError> for Problem {
    fn from(error: DropError) -> Self {
        let detail = error.to_string();
        match error {
            DropError::UnknownLane { .. } => Self::new(
                StatusCode::NOT_FOUND,
                Kind::UnknownLane,
                "Unknown lane",
                detail,
            ),
            DropError::Refused(_) => {
                Self::new(StatusCode::CONFLICT, Kind::DropRefused, "Not now", detail)
            }
            DropError::Failed(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Kind::DropFailed,
                "Failed",
                detail,
            ),
        }
    }
}
