//! The gateway's HTTP front with a journal that does nothing: every publish is at once "stored".

use causeway::clock::Clock;
use causeway::door::{Awaited, Published};
use causeway::ingress::front::{Front, Page, ReadError, StreamRead};
use causeway::ingress::http::{self, Counters, Limits};
use causeway::ingress::in_flight::InFlight;
use causeway::ingress::listener::{self, ConnectionLimits};
use causeway::message::{
    Ack, Chain, DeliveryState, Envelope, Position, Receipt, Refusal, TargetState,
};
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// What the bench calls itself with to be this server.
pub const SERVE: &str = "--serve-null";

/// Serves until it is killed.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listener::bind(any, "listen.http")
            .await
            .expect("a free port");
        println!("{}", listener.local_addr().expect("it is bound"));
        let counters = Arc::new(Counters::default());
        let (_running, stop) = watch::channel(false);
        let limits = Limits {
            payload_bytes: 1 << 20,
            in_flight: InFlight::new(64 << 20),
        };
        let front = Nothing::default();
        let router = http::router(
            front,
            "bench",
            Clock::system(),
            limits,
            Arc::clone(&counters),
            stop.clone(),
        );
        let connections = Arc::clone(&counters.connections);
        let app = http::guarded(router, &listener, Arc::clone(&counters));
        let limits = ConnectionLimits {
            connections: 10_000,
            head_bytes: 64 << 10,
            head_lines: 100,
        };
        listener::serve(listener, app, limits, connections, stop).await;
    });
}

#[derive(Default)]
pub struct Nothing(AtomicU64);

impl Front for Nothing {
    fn publish(
        &self,
        envelope: Envelope,
        _: Option<Chain>,
    ) -> impl Future<Output = Result<Published, Refusal>> + Send + 'static + use<> {
        let position = self.0.fetch_add(1, Ordering::Relaxed);
        let target = TargetState {
            route: "all".into(),
            destination: "inbox".into(),
            state: DeliveryState::Stored,
        };
        let id = envelope.id.as_str().map(str::to_owned);
        ready(Ok(Published {
            receipt: Receipt {
                id: Some(id.unwrap_or_else(|| format!("{position:032x}"))),
                position: Some(Position(position)),
                duplicate: false,
                targets: vec![target],
            },
            ack: Ack::Stored,
            outcome: Awaited::Settled,
        }))
    }

    async fn message_at(&self, _: &str, _: Position) -> Option<Receipt> {
        None
    }

    async fn message_by_id(&self, _: &str, _: &str, _: &str) -> Option<Receipt> {
        None
    }

    fn takes_publishes(&self) -> bool {
        true
    }

    async fn read_stream(&self, name: &str, _: StreamRead) -> Result<Page, ReadError> {
        Err(ReadError::UnknownStream(name.to_owned()))
    }

    async fn stream_reaches(&self, _: &str, _: u64) {}
}
