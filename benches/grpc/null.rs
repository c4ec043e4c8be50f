//! The gateway's gRPC front with a journal that does nothing: every publish is at once "stored".

use crate::http::null::Nothing;
use causeway::clock::Clock;
use causeway::ingress::grpc::{self, Counters, Limits};
use causeway::ingress::in_flight::InFlight;
use causeway::ingress::listener::{self, ConnectionLimits, Guard};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// What the bench calls itself with to be this server.
pub const SERVE: &str = "--serve-null-grpc";

/// As in the gateway without `[limits]`.
const PAYLOAD_BYTES: usize = 1 << 20;
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 16 << 10;
const TOPIC_BYTES: usize = 512;
const IN_FLIGHT_BYTES: usize = 64 << 20;
const CONNECTIONS: ConnectionLimits = ConnectionLimits {
    connections: 10_000,
    head_bytes: HEADER_BYTES + 3 * TOPIC_BYTES + (16 << 10),
    head_lines: HEADERS + 36,
};

/// Serves until it is killed.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listener::bind(any, "listen.grpc")
            .await
            .expect("a free port");
        println!("{}", listener.local_addr().expect("it is bound"));
        let counters = Arc::new(Counters::default());
        let connections = Arc::clone(&counters.connections);
        let (_running, stop) = watch::channel(false);
        let limits = Limits {
            payload_bytes: PAYLOAD_BYTES,
            headers: HEADERS,
            header_bytes: HEADER_BYTES,
            topic_bytes: TOPIC_BYTES,
            in_flight: InFlight::new(IN_FLIGHT_BYTES),
        };
        let guard = Guard::of(&listener, Arc::clone(&connections));
        let app = grpc::app(
            Nothing::default(),
            Clock::system(),
            limits,
            Some(guard),
            counters,
            stop.clone(),
        );
        listener::serve(listener, app, CONNECTIONS, connections, stop).await;
    });
}
