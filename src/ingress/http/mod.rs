//! HTTP/1.1 and HTTP/2: requests ↔ envelopes and receipts, stream pages, problems. docs/HTTP.md says what
//! clients see.
//!
//! What must not live here: what a topic, an id or a plan may be (the door), what is stored where.

mod accept;
mod answer;
mod app;
mod array;
mod batch;
mod body;
mod chunks;
mod cloudevents;
mod coding;
mod counters;
mod events;
mod kind;
mod line;
mod openapi;
mod page;
mod pieces;
mod problem;
mod refused;
mod request;
mod split;
mod stream;
#[cfg(test)]
mod tests;
mod time;

pub use app::{App, guarded};
pub use counters::{Answered, Counters, Endpoint, EventReadersCounted};
pub use kind::Kind;
pub(crate) use page::{Base64, Headers, write_data};
pub use problem::Problem;

use crate::clock::Clock;
use crate::ingress::front::Front;
use crate::ingress::in_flight::InFlight;
use crate::ingress::outliving::Outliving;
use crate::message::{Envelope, Position};
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cloudevents::Form;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Everybody, as long as there is no authentication.
const ANONYMOUS: &str = "anonymous";
/// This ingress in an envelope's `source` and in a route's `from`.
const SOURCE: &str = "http";

/// A message as a line of a batch has it (docs/HTTP.md), from everybody.
///
/// # Errors
/// If it can't be read.
pub fn read_message(json: &[u8], source: &str) -> Result<Envelope, Problem> {
    line::Line::read(json)?.envelope(&ANONYMOUS.into(), &source.into())
}

/// `[limits]`, as far as this listener keeps them itself.
#[derive(Clone, Debug)]
pub struct Limits {
    pub payload_bytes: usize,
    /// Of all bodies together; at least as much as one payload.
    pub in_flight: InFlight,
}

struct Http<F> {
    front: F,
    clock: Clock,
    /// The gateway's name: where events come from that are made here.
    gateway: Arc<str>,
    bodies: coding::Desk,
    principal: Arc<str>,
    source: Arc<str>,
    pages: Arc<Semaphore>,
    batches: Arc<Semaphore>,
    coded_batches: Arc<Semaphore>,
    events: events::EventReaders,
    counters: Arc<Counters>,
    stop: watch::Receiver<bool>,
}

impl<F> Http<F> {
    fn shape(&self, as_cloud_events: bool) -> page::Shape<'_> {
        match as_cloud_events {
            true => page::Shape::CloudEvent {
                gateway: &self.gateway,
            },
            false => page::Shape::Record,
        }
    }
}

/// All that this listener answers, ready for `serve`.
pub fn router<F: Front>(
    front: F,
    gateway: &str,
    clock: Clock,
    limits: Limits,
    counters: Arc<Counters>,
    stop: watch::Receiver<bool>,
) -> App {
    let http = Arc::new(Http {
        front,
        clock,
        gateway: gateway.into(),
        bodies: coding::Desk::new(&limits),
        principal: ANONYMOUS.into(),
        source: SOURCE.into(),
        pages: Arc::new(Semaphore::new(stream::PAGES_AT_ONCE)),
        batches: Arc::new(Semaphore::new(batch::BATCHES_AT_ONCE)),
        coded_batches: Arc::new(Semaphore::new(batch::CODED_BATCHES_AT_ONCE)),
        events: events::EventReaders::new(),
        counters: Arc::clone(&counters),
        stop,
    });
    let publisher = Arc::clone(&http);
    let publish: app::Publish = Arc::new(move |request| {
        let published = publish(Arc::clone(&publisher), request);
        Box::pin(async move { published.await.into_response() })
    });
    // A POST doesn't come here; the router knows what other methods are told.
    let by_router = Arc::clone(&publish);
    let topics = post(move |request| by_router(request));
    let router = Router::new()
        .route("/openapi.json", get(openapi::show))
        .route("/v1/topics/", topics.clone())
        .route("/v1/topics/{*topic}", topics)
        .route("/v1/batch", post(batch::publish::<F>))
        .route("/v1/messages", get(message_by_id::<F>))
        .route("/v1/messages/{position}", get(message_at::<F>))
        .route("/v1/streams/{name}", get(stream::read::<F>))
        .route("/v1/streams/{name}/{offset}", get(stream::read_one::<F>))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(http);
    App::of_messages(router, publish, counters)
}

pub(crate) async fn no_such_path() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        Kind::UnknownPath,
        "No such path",
        "nothing is served here",
    )
}

pub(crate) async fn no_such_method() -> Problem {
    let detail = "the header allow says what is served here";
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Kind::UnknownMethod,
        "No such method",
        detail,
    )
}

async fn publish<F: Front>(http: Arc<Http<F>>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let Head {
        envelope,
        form,
        coding,
    } = match Head::read(&http, &head) {
        Ok(read) => read,
        Err(problem) => {
            body::discard(body).await;
            return Err(problem);
        }
    };
    let limit = match form {
        Form::Payload | Form::Data(_) => http.bodies.payload_limit,
        Form::Event(_) => http.bodies.json_limit(),
        Form::Events => return batch::publish_events(http, head.headers, body, envelope).await,
    };
    drop(head);
    let received = http.bodies.receive(body, coding, limit).await?;
    let envelope = form.filled(envelope, received.payload)?;
    hand_over(http, envelope, received.share).await
}

/// What a publish's head says.
struct Head {
    /// Without the payload.
    envelope: Envelope,
    form: Form,
    coding: coding::Coding,
}

impl Head {
    fn read<F>(http: &Http<F>, head: &Parts) -> Result<Self, Problem> {
        let envelope = request::envelope(
            head.uri.path(),
            &head.headers,
            &http.principal,
            &http.source,
            http.clock.wall(),
        )?;
        Ok(Self {
            form: Form::of(&head.headers, envelope.content_type.as_deref())?,
            envelope,
            coding: coding::Coding::of(&head.headers)?,
        })
    }
}

async fn hand_over<F: Front>(
    http: Arc<Http<F>>,
    envelope: Envelope,
    share: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let publish = async move { http.front.publish(envelope, None).await };
    match Outliving::new(publish, share).await {
        Ok(Ok(published)) => Ok(answer::published(&published)),
        Ok(Err(refusal)) => Err(refusal.into()),
        Err(_) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Internal,
            "A fault of the gateway",
            "it is unknown whether the message is stored: send it again under the same id",
        )),
    }
}

async fn message_at<F: Front>(
    State(http): State<Arc<Http<F>>>,
    position: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(position) = position.map_err(|_| Problem::malformed("a position is a number"))?;
    match http
        .front
        .message_at(&http.principal, Position(position))
        .await
    {
        Some(receipt) => Ok(answer::found(&receipt)),
        None => Err(unknown_message()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
    topic: String,
}

async fn message_by_id<F: Front>(
    State(http): State<Arc<Http<F>>>,
    query: Result<Query<ById>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(ById { id, topic }) = query.map_err(bad_query)?;
    match http.front.message_by_id(&http.principal, &id, &topic).await {
        Some(receipt) => Ok(answer::found(&receipt)),
        None => Err(unknown_message()),
    }
}

fn unknown_message() -> Problem {
    let detail = "no such message is pending, in the dedup window or in the journal";
    Problem::new(
        StatusCode::NOT_FOUND,
        Kind::UnknownMessage,
        "Unknown message",
        detail,
    )
}

fn bad_query(rejection: QueryRejection) -> Problem {
    Problem::malformed(rejection.body_text())
}
