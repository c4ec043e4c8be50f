//! What the listener answers: guarded, dispatched by path, limited, counted.

use super::body::{Arrived, Came, Charged, Silence};
use super::codec::{self, Raw};
use super::counters::Method;
use super::deadline::{self, Count, Held, Limited};
use super::desk::Desk;
use super::fault::{self, Fault};
use super::reason::Reason;
use super::{batch, look_up, publish, stream, subscribe, v1};
use crate::ingress::front::Front;
use crate::ingress::listener::{self, Foreign, Guard, NotForUs, Refused};
use crate::ingress::trace;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method as Verb, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::server::{Grpc, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Code, Status, Streaming};

type Reply = axum::http::Response<tonic::body::Body>;
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// A service of a library's, whose type has no name here.
type Handler = Arc<dyn Fn(Request<Body>) -> Pending<Reply> + Send + Sync>;

const CONTENT_TYPE: &str = "application/grpc";
/// Of a question to health or reflection: the name of a service or a file. They aren't charged to what
/// is in flight.
const QUESTION_BYTES: usize = 4 << 10;
/// How often it is looked whether publishes are taken.
const HEALTH_TICK: Duration = Duration::from_millis(500);

pub struct App<F> {
    desk: Arc<Desk<F>>,
    guard: Option<Arc<Guard>>,
    health: Handler,
    reflection: Handler,
    reflection_alpha: Handler,
}

impl<F> Clone for App<F> {
    fn clone(&self) -> Self {
        Self {
            desk: Arc::clone(&self.desk),
            guard: self.guard.clone(),
            health: Arc::clone(&self.health),
            reflection: Arc::clone(&self.reflection),
            reflection_alpha: Arc::clone(&self.reflection_alpha),
        }
    }
}

fn handler<S>(service: S) -> Handler
where
    S: Service<Request<Body>, Response = Reply, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    Arc::new(move |request| {
        let answer = service.clone().call(request);
        Box::pin(async move {
            let Ok(reply) = answer.await;
            reply
        })
    })
}

impl<F: Front> App<F> {
    pub(super) fn new(desk: Arc<Desk<F>>, guard: Option<Guard>) -> Self {
        let (reporter, health) = tonic_health::server::health_reporter();
        tokio::spawn(report_health(Arc::clone(&desk), reporter));
        let health = health.max_decoding_message_size(QUESTION_BYTES);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        };
        const SOUND: &str = "descriptors are made from the contract, and tested";
        let v1 = reflection().build_v1().expect(SOUND);
        let alpha = reflection().build_v1alpha().expect(SOUND);
        Self {
            desk,
            guard: guard.map(Arc::new),
            health: handler(health),
            reflection: handler(v1.max_decoding_message_size(QUESTION_BYTES)),
            reflection_alpha: handler(alpha.max_decoding_message_size(QUESTION_BYTES)),
        }
    }

    fn refused(&self, request: &Request<Body>) -> Option<Response> {
        if let Some(Err(why)) = self.guard.as_ref().map(|guard| guard.check(request)) {
            return Some(grpc(not_for_us(why).status()));
        }
        if request.version() != Version::HTTP_2 {
            let text =
                "this listener speaks gRPC, which needs HTTP/2; HTTP has its own in [listen]\n";
            return Some((StatusCode::HTTP_VERSION_NOT_SUPPORTED, text).into_response());
        }
        if request.method() != Verb::POST {
            let allow = [(header::ALLOW, HeaderValue::from_static("POST"))];
            let text = "a call is a POST\n";
            return Some((StatusCode::METHOD_NOT_ALLOWED, allow, text).into_response());
        }
        if !is_grpc(request.headers()) {
            let text = "a call has the content type application/grpc\n";
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
        }
        None
    }

    async fn call(self, method: Method, request: Request<Body>) -> Response {
        let limits = &self.desk.limits;
        let (message, batch) = (limits.message_bytes(), limits.batch_bytes());
        let desk = Arc::clone(&self.desk);
        match method {
            Method::Publish => {
                let call = move |bytes, came| publish::publish(desk, bytes, came);
                self.unary(request, message, call).await
            }
            Method::PublishBatch => {
                let call = move |bytes, came| batch::publish_batch(desk, bytes, came);
                self.unary(request, batch, call).await
            }
            Method::GetMessage => {
                let call = |bytes, _| async move {
                    look_up::get_message(&desk, codec::read(bytes)?).await
                };
                self.unary(request, message, call).await
            }
            Method::PublishStream => self.publish_stream(request, message).await,
            Method::Subscribe => self.subscribe(request, message).await,
            Method::Other => self.other(request).await,
        }
    }

    async fn other(self, request: Request<Body>) -> Response {
        let path = request.uri().path();
        let service = path.split('/').nth(1).unwrap_or_default();
        let handler = match service {
            "grpc.health.v1.Health" => self.health,
            "grpc.reflection.v1.ServerReflection" => self.reflection,
            "grpc.reflection.v1alpha.ServerReflection" => self.reflection_alpha,
            _ => {
                let text = format!("there is no method {path}");
                return grpc(Fault::new(Code::Unimplemented, Reason::UnknownMethod, text).status());
            }
        };
        shown(handler(request).await)
    }

    async fn unary<M, C, A>(&self, request: Request<Body>, limit: usize, call: C) -> Response
    where
        M: prost::Message + 'static,
        C: FnOnce(Bytes, Came) -> A + Send,
        A: Future<Output = Result<Answered<M>, Fault>> + Send + 'static,
    {
        let in_flight = self.desk.limits.in_flight.clone();
        let (request, came) = charged(request, in_flight, Silence::Never);
        let unary = Unary {
            call: Some(call),
            came,
        };
        told(server::<M>(limit).unary(unary, request).await, limit)
    }

    async fn publish_stream(self, request: Request<Body>, limit: usize) -> Response {
        let in_flight = self.desk.limits.in_flight.clone();
        let (request, came) = charged(request, in_flight, Silence::BetweenMessages);
        let desk = self.desk;
        let call = BothWays(Some(|messages| {
            stream::publish_stream(desk, messages, came)
        }));
        told(server(limit).streaming(call, request).await, limit)
    }

    async fn subscribe(self, request: Request<Body>, limit: usize) -> Response {
        let in_flight = self.desk.limits.in_flight.clone();
        let (request, _) = charged(request, in_flight, Silence::Never);
        let desk = self.desk;
        let call = OneWay(Some(|bytes| async {
            subscribe::subscribe(desk, codec::read(bytes)?).await
        }));
        told(server(limit).server_streaming(call, request).await, limit)
    }
}

impl<F: Front> listener::App for App<F> {
    async fn answer(self, request: Request<Body>) -> Response {
        let method = Method::of_path(request.uri().path());
        let mut count = Count::begin(Arc::clone(&self.desk.counters), method);
        if let Some(refused) = self.refused(&request) {
            count.refuse();
            count.see(refused.headers());
            return refused;
        }
        let deadline = match deadline::of(request.headers()) {
            Ok(given) => given.and_then(|given| Instant::now().checked_add(given)),
            Err(fault) => {
                let refused = grpc(fault.status());
                count.see(refused.headers());
                return refused;
            }
        };
        let call = self.call(method, request);
        let mut response = match deadline {
            None => call.await,
            Some(deadline) => timeout_at(deadline, call)
                .await
                .unwrap_or_else(|_| grpc(deadline::exceeded())),
        };
        count.see(response.headers());
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        let held = response.extensions_mut().remove::<Held>();
        response.map(|body| Body::new(Limited::new(body, deadline, count).holding(held)))
    }

    fn refusal(&self, why: Refused) -> Response {
        let fault = match why {
            Refused::Connections { limit } | Refused::Requests { limit } => {
                let text = format!("all {limit} connections, or as many calls, are taken");
                Fault::exhausted(Reason::Connections, text, "limits.connections", 1)
                    .with("setting", "limits.connections")
                    .with("limit", limit)
            }
            Refused::HeaderLines { actual, limit } => {
                let text = format!("the call has {actual} headers, {limit} may be");
                Fault::new(Code::InvalidArgument, Reason::HeadTooLarge, text)
                    .with("actual", actual)
                    .with("limit", limit)
            }
        };
        grpc(fault.status())
    }
}

/// Tells the health service whether publishes are taken, until the gateway stops.
async fn report_health<F: Front>(
    desk: Arc<Desk<F>>,
    reporter: tonic_health::server::HealthReporter,
) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let mut stop = desk.stop.clone();
    loop {
        let stopping = *stop.borrow();
        let status = match desk.front.takes_publishes() && !stopping {
            true => Serving,
            false => NotServing,
        };
        reporter.set_service_status("", status).await;
        let name = v1::SERVICE;
        reporter.set_service_status(name, status).await;
        if stopping {
            return;
        }
        tokio::select! {
            () = listener::stopped(&mut stop) => {}
            () = sleep(HEALTH_TICK) => {}
        }
    }
}

fn server<M: prost::Message + 'static>(limit: usize) -> Grpc<Raw<M>> {
    Grpc::new(Raw::default())
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limit)
}

fn charged(
    request: Request<Body>,
    in_flight: crate::ingress::in_flight::InFlight,
    silence: Silence,
) -> (Request<Body>, Came) {
    let arrived = Arrived::default();
    let came = Came {
        arrived: arrived.clone(),
        trace: trace::context(request.headers()),
    };
    let request = request.map(|body| Body::new(Charged::new(body, arrived, in_flight, silence)));
    (request, came)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let rest = value.and_then(|value| value.as_bytes().strip_prefix(CONTENT_TYPE.as_bytes()));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn not_for_us(why: NotForUs) -> Fault {
    match why {
        NotForUs::HostTwice => Fault::malformed("host", "it stands there more than once"),
        NotForUs::HostMissing => Fault::malformed("host", "it is missing"),
        NotForUs::Foreign(Foreign::Host) => Fault::new(
            Code::PermissionDenied,
            Reason::ForeignHost,
            "this listener serves this machine only: ask for localhost or a loopback address",
        ),
        NotForUs::Foreign(Foreign::Origin | Foreign::Site) => Fault::new(
            Code::PermissionDenied,
            Reason::ForeignOrigin,
            "this listener serves this machine only, and no page of another site",
        ),
    }
}

/// A status alone.
fn grpc(status: Status) -> Response {
    shown(status.into_http())
}

fn shown(reply: Reply) -> Response {
    reply.map(Body::new)
}

/// An answer, with a refusal that is the library's own in our words.
fn told(reply: Reply, limit: usize) -> Response {
    // A message that the library doesn't read never came to us.
    let refused = Status::from_header_map(reply.headers());
    match refused.filter(|status| status.details().is_empty() && status.code() != Code::Ok) {
        Some(status) => grpc(fault::of_decoding(status, limit)),
        None => shown(reply),
    }
}

/// What a call of one answer ends with.
pub(super) struct Answered<M> {
    pub message: M,
    /// Held until the answer is sent: a long one may have to wait for its client.
    pub share: Option<OwnedSemaphorePermit>,
}

impl<M> Answered<M> {
    pub(super) const fn alone(message: M) -> Self {
        Self {
            message,
            share: None,
        }
    }

    fn response(self) -> tonic::Response<M> {
        let mut response = tonic::Response::new(self.message);
        if let Some(share) = self.share {
            response.extensions_mut().insert(Held::new(share));
        }
        response
    }
}

/// One message in, one out.
struct Unary<C> {
    call: Option<C>,
    came: Came,
}

/// Each is made for one call.
const ONCE: &str = "a call is made once";

impl<M, C, A> UnaryService<Bytes> for Unary<C>
where
    C: FnOnce(Bytes, Came) -> A,
    A: Future<Output = Result<Answered<M>, Fault>> + Send + 'static,
{
    type Response = M;
    type Future = Pending<Result<tonic::Response<M>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let call = self.call.take().expect(ONCE);
        let answer = call(request.into_inner(), self.came.clone());
        Box::pin(async move { answer.await.map(Answered::response).map_err(Fault::status) })
    }
}

struct BothWays<C>(Option<C>);

impl<M, C, S> StreamingService<Bytes> for BothWays<C>
where
    C: FnOnce(Streaming<Bytes>) -> S,
    S: futures_util::Stream<Item = Result<M, Status>> + Send + 'static,
{
    type Response = M;
    type ResponseStream = S;
    type Future = std::future::Ready<Result<tonic::Response<S>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let call = self.0.take().expect(ONCE);
        std::future::ready(Ok(tonic::Response::new(call(request.into_inner()))))
    }
}

struct OneWay<C>(Option<C>);

impl<M, C, A, S> ServerStreamingService<Bytes> for OneWay<C>
where
    C: FnOnce(Bytes) -> A,
    A: Future<Output = Result<S, Fault>> + Send + 'static,
    S: futures_util::Stream<Item = Result<M, Status>> + Send + 'static,
{
    type Response = M;
    type ResponseStream = S;
    type Future = Pending<Result<tonic::Response<S>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let call = self.0.take().expect(ONCE);
        let answer = call(request.into_inner());
        Box::pin(async move {
            answer
                .await
                .map(tonic::Response::new)
                .map_err(Fault::status)
        })
    }
}
