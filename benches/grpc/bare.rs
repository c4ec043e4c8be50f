//! Tonic alone: its own transport, and a service that takes requests apart and answers each message
//! with a receipt of the gateway's shape. What a gateway could do at most that is built on it.

use causeway::ingress::grpc::v1::publish_result::Result::Receipt;
use causeway::ingress::grpc::v1::{self, DeliveryState};
use futures_util::{Stream, TryStreamExt};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

/// What the bench calls itself with to be this server.
pub const SERVE: &str = "--serve-bare-grpc";

/// Serves until it is killed.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let incoming = TcpIncoming::bind(any).expect("a free port");
        println!("{}", incoming.local_addr().expect("it is bound"));
        let incoming = incoming.with_nodelay(Some(true));
        let served = Server::builder().serve_with_incoming(Calls::default(), incoming);
        served.await.expect("it serves until it is killed");
    });
}

/// Dispatches calls, as generated code does.
#[derive(Clone, Default)]
struct Calls(Receipts);

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let receipts = self.0.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/causeway.v1.Gateway/Publish" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(One(receipts), request).await
                }
                "/causeway.v1.Gateway/PublishBatch" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(Many(receipts), request).await
                }
                "/causeway.v1.Gateway/PublishStream" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.streaming(BothWays(receipts), request).await
                }
                _ => Status::unimplemented("no such call").into_http(),
            })
        })
    }
}

type Answer<M> = Ready<Result<tonic::Response<M>, Status>>;

struct One(Receipts);

impl UnaryService<v1::PublishRequest> for One {
    type Response = v1::PublishResponse;
    type Future = Answer<v1::PublishResponse>;

    fn call(&mut self, request: tonic::Request<v1::PublishRequest>) -> Self::Future {
        let receipt = Some(self.0.of(request.into_inner().message));
        ready(Ok(tonic::Response::new(v1::PublishResponse { receipt })))
    }
}

struct Many(Receipts);

impl UnaryService<v1::PublishBatchRequest> for Many {
    type Response = v1::PublishBatchResponse;
    type Future = Answer<v1::PublishBatchResponse>;

    fn call(&mut self, request: tonic::Request<v1::PublishBatchRequest>) -> Self::Future {
        let messages = request.into_inner().messages.into_iter();
        let results = messages.map(|m| self.0.result(Some(m))).collect();
        ready(Ok(tonic::Response::new(v1::PublishBatchResponse {
            results,
        })))
    }
}

struct BothWays(Receipts);

type Answers = Pin<Box<dyn Stream<Item = Result<v1::PublishStreamResponse, Status>> + Send>>;

impl StreamingService<v1::PublishStreamRequest> for BothWays {
    type Response = v1::PublishStreamResponse;
    type ResponseStream = Answers;
    type Future = Answer<Answers>;

    fn call(
        &mut self,
        request: tonic::Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Self::Future {
        let receipts = self.0.clone();
        let answers = request
            .into_inner()
            .map_ok(move |request| v1::PublishStreamResponse {
                sequence: request.sequence,
                result: Some(receipts.result(request.message)),
            });
        ready(Ok(tonic::Response::new(Box::pin(answers))))
    }
}

/// Numbers what it is given.
#[derive(Clone, Default)]
struct Receipts(Arc<AtomicU64>);

impl Receipts {
    fn of(&self, message: Option<v1::Message>) -> v1::Receipt {
        let target = v1::Target {
            route: "all".to_owned(),
            destination: "inbox".to_owned(),
            state: DeliveryState::Stored.into(),
        };
        v1::Receipt {
            id: message.expect("the load sends one").id,
            position: Some(self.0.fetch_add(1, Ordering::Relaxed)),
            duplicate: false,
            state: DeliveryState::Stored.into(),
            targets: vec![target],
        }
    }

    fn result(&self, message: Option<v1::Message>) -> v1::PublishResult {
        v1::PublishResult {
            result: Some(Receipt(self.of(message))),
        }
    }
}
