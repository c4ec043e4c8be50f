//! Errors as clients parse them: `application/problem+json` (RFC 9457).

use super::kind::Kind;
use crate::message::{Refusal, text};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

const CONTENT_TYPE: &str = "application/problem+json";

/// One error answer. `kind` is what programs tell errors apart by.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub status: StatusCode,
    pub kind: Kind,
    pub title: &'static str,
    pub detail: String,
    retry_after_seconds: Option<u32>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
    extras: Map<String, Value>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// Seconds: of a batch's line, which has no headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(flatten)]
    extras: &'a Map<String, Value>,
}

impl Problem {
    pub fn new(
        status: StatusCode,
        kind: Kind,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        Self {
            status,
            kind,
            title,
            detail,
            retry_after_seconds: None,
            header: None,
            extras: Map::new(),
        }
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Kind::Malformed,
            "The request can't be read",
            text::shown(detail.into()),
        )
    }

    /// A header that can't be read: named in the text and as a member.
    #[must_use]
    pub fn bad_header(name: &str, why: &str) -> Self {
        Self::malformed(format!("header {name}: {why}")).with("header", name)
    }

    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extras.insert(member.to_owned(), value.into());
        self
    }

    /// One more header of the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// 503: the same request may succeed later.
    pub fn unavailable(kind: Kind, detail: impl Into<String>, retry_seconds: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, "Not now", detail)
            .retry_after(retry_seconds)
    }
}

impl Problem {
    /// The members of a limit that was met.
    fn over(self, what: &str, actual: usize, limit: usize, setting: &str) -> Self {
        self.with("what", what)
            .with("actual", actual)
            .with("limit", limit)
            .with("setting", setting)
    }

    /// Its JSON.
    pub(super) fn body(&self) -> impl Serialize + '_ {
        Body {
            r#type: format!("urn:causeway:problem:{}", self.kind.as_str()),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            retry_after: self.retry_after_seconds,
            extras: &self.extras,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body());
        let body = body.expect("a problem has text keys and plain values");
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))];
        let mut response = (self.status, content_type, body).into_response();
        // For who counts answers.
        response.extensions_mut().insert(self.kind);
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Malformed(_) => Self::malformed(detail),
            Refusal::TooLarge {
                what,
                actual,
                limit,
                setting,
            } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Kind::TooLarge,
                "Too large",
                detail,
            )
            .over(what, actual, limit, setting),
            Refusal::TooMany {
                what,
                actual,
                limit,
                setting,
            } => Self::new(StatusCode::BAD_REQUEST, Kind::TooMany, "Too many", detail)
                .over(what, actual, limit, setting),
            Refusal::IdNeeded(_) => Self::new(
                StatusCode::BAD_REQUEST,
                Kind::IdNeeded,
                "An id is needed",
                detail,
            ),
            Refusal::NoRoute { topic } => {
                Self::new(StatusCode::NOT_FOUND, Kind::NoRoute, "No route", detail)
                    .with("topic", topic)
            }
            Refusal::RouteRefused { route, .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Kind::RouteRefused,
                "A route refuses the message",
                detail,
            )
            .with("route", route),
            Refusal::Conflict { id, position } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Kind::IdConflict,
                "The id was used for another message",
                detail,
            )
            .with("id", id)
            .with("position", position.0),
            Refusal::BacklogFull { lane, limit_bytes } => {
                Self::unavailable(Kind::BacklogFull, detail, 5)
                    .with("destination", lane)
                    .with("limit", limit_bytes)
                    .with("setting", "backlog")
            }
            Refusal::JournalFull(_) => Self::unavailable(Kind::JournalFull, detail, 10),
            Refusal::DedupFull { entries } => Self::unavailable(Kind::DedupFull, detail, 10)
                .with("entries", entries)
                .with("setting", "dedup.max_entries"),
            Refusal::Busy => Self::unavailable(Kind::Busy, detail, 1),
            Refusal::Stopping => Self::unavailable(Kind::Stopping, detail, 5),
            Refusal::JournalFailed(_) => Self::unavailable(Kind::JournalFailed, detail, 30),
            Refusal::EarlierRefused { is_retriable: true } => {
                Self::unavailable(Kind::EarlierRefused, detail, 1)
            }
            Refusal::EarlierRefused { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Kind::EarlierRefused,
                "An earlier line was refused",
                detail,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Position;
    use http_body_util::BodyExt;

    async fn shown(problem: Problem) -> (Response<()>, Value) {
        let (parts, body) = problem.into_response().into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        (
            Response::from_parts(parts, ()),
            serde_json::from_slice(&body).expect("JSON"),
        )
    }

    #[tokio::test]
    async fn a_problem_carries_its_members() {
        let (response, body) = shown(
            Refusal::Conflict {
                id: "a".into(),
                position: Position(7),
            }
            .into(),
        )
        .await;
        assert_eq!(response.status(), 422);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert!(!response.headers().contains_key("retry-after"));
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:causeway:problem:id-conflict",
                "title": "The id was used for another message",
                "status": 422,
                "detail": "the id \"a\" was used for another payload, key or content type at position 7",
                "id": "a",
                "position": 7,
            })
        );
    }

    #[tokio::test]
    async fn the_route_that_refuses_is_named() {
        let refusal = Refusal::RouteRefused {
            route: "orders".into(),
            reason: "`when`: why".into(),
        };
        let (response, body) = shown(refusal.into()).await;
        assert_eq!(response.status(), 422);
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:causeway:problem:route-refused",
                "title": "A route refuses the message",
                "status": 422,
                "detail": "the route \"orders\" refuses it: `when`: why",
                "route": "orders",
            })
        );
    }

    #[tokio::test]
    async fn whatever_may_succeed_later_is_503_with_retry_after() {
        let text = || "why".to_owned();
        let all = [
            Refusal::Malformed(text()),
            Refusal::TooLarge {
                what: "topic",
                actual: 2,
                limit: 1,
                setting: "limits.topic_bytes",
            },
            Refusal::TooMany {
                what: "headers",
                actual: 2,
                limit: 1,
                setting: "limits.headers",
            },
            Refusal::IdNeeded(text()),
            Refusal::NoRoute { topic: text() },
            Refusal::RouteRefused {
                route: text(),
                reason: text(),
            },
            Refusal::Conflict {
                id: text(),
                position: Position(0),
            },
            Refusal::BacklogFull {
                lane: text(),
                limit_bytes: 1,
            },
            Refusal::JournalFull(text()),
            Refusal::DedupFull { entries: 1 },
            Refusal::Busy,
            Refusal::Stopping,
            Refusal::JournalFailed(text()),
            Refusal::EarlierRefused { is_retriable: true },
            Refusal::EarlierRefused {
                is_retriable: false,
            },
        ];
        for refusal in all {
            let retriable = refusal.is_retriable();
            let (response, body) = shown(refusal.clone().into()).await;
            assert_eq!(response.status() == 503, retriable, "{refusal:?}");
            assert_eq!(
                response.headers().contains_key("retry-after"),
                retriable,
                "{refusal:?}"
            );
            assert_eq!(body["status"], response.status().as_u16());
            let kind = refusal
                .reason()
                .replace('_', "-")
                .replace("conflict", "id-conflict");
            assert_eq!(body["type"], format!("urn:causeway:problem:{kind}"));
        }
    }
}
