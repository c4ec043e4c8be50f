//! What a listener answers: guarded, dispatched, counted.
//!
//! A publish goes straight to its handler. Through the router, with a layer that counts, it would take
//! a third more memory, in small pieces, and each of its two looks at it would go by all of them.

use super::counters::{Counters, Endpoint};
use super::kind::Kind;
use super::problem::Problem;
use super::request::TOPICS;
use crate::ingress::listener::{self, Guard, Refused};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;
/// Answers a POST below `TOPICS`.
pub(super) type Publish = Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>;

#[derive(Clone)]
pub struct App {
    router: Router,
    messages: Option<Messages>,
    /// Of who is foreign here, and who counts them.
    guard: Option<(Arc<Guard>, Arc<Counters>)>,
    /// Who counts what the listener refuses.
    counters: Option<Arc<Counters>>,
}

/// What the listener for messages has beside the router.
#[derive(Clone)]
struct Messages {
    publish: Publish,
    counters: Arc<Counters>,
}

impl From<Router> for App {
    fn from(router: Router) -> Self {
        Self {
            router,
            messages: None,
            guard: None,
            counters: None,
        }
    }
}

/// On a listener without authentication.
pub fn guarded(app: impl Into<App>, listener: &TcpListener, counters: Arc<Counters>) -> App {
    let guard = Guard::of(listener, Arc::clone(&counters.connections));
    App {
        guard: Some((Arc::new(guard), counters)),
        ..app.into()
    }
}

impl App {
    pub(super) fn of_messages(router: Router, publish: Publish, counters: Arc<Counters>) -> Self {
        Self {
            counters: Some(Arc::clone(&counters)),
            messages: Some(Messages { publish, counters }),
            ..router.into()
        }
    }
}

impl listener::App for App {
    async fn answer(self, request: Request<Body>) -> Response {
        if let Some((guard, counters)) = self.guard
            && let Err(why) = guard.check(&request)
        {
            let problem = Problem::from(why);
            counters.count_problem(problem.kind);
            return problem.into_response();
        }
        match self.messages {
            Some(messages) => messages.answer(self.router, request).await,
            None => by_router(self.router, request).await,
        }
    }

    fn refusal(&self, why: Refused) -> Response {
        let problem = Problem::from(why);
        if let Some(counters) = &self.counters {
            counters.count_problem(problem.kind);
        }
        problem.into_response()
    }
}

impl Messages {
    async fn answer(self, router: Router, request: Request<Body>) -> Response {
        let endpoint = Endpoint::of_path(request.uri().path());
        let response = if request.method() == Method::POST && is_topic(request.uri().path()) {
            (self.publish)(request).await
        } else {
            by_router(router, request).await
        };
        self.counters.count(endpoint, response.status());
        if let Some(kind) = response.extensions().get::<Kind>() {
            self.counters.count_problem(*kind);
        }
        response
    }
}

async fn by_router(router: Router, request: Request<Body>) -> Response {
    let Ok(response) = TowerToHyperService::new(router).call(request).await;
    response
}

fn is_topic(path: &str) -> bool {
    path.starts_with(TOPICS)
}
