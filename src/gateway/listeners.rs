//! The listeners: bound before anything is opened, served when all is open.
//!
//! What must not live here: what a protocol means.

use super::front::Reception;
use super::status::StatusDesk;
use crate::admin;
use crate::clock::Clock;
use crate::config::Settings;
use crate::config::settings::Listen;
use crate::door::limits::Limits;
use crate::ingress::in_flight::InFlight;
use crate::ingress::listener::{self, BindError, ConnectionLimits, Guard};
use crate::ingress::{grpc, http};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A request's head may have so much beside `[limits]` headers and topic.
const HEAD_SLACK_BYTES: usize = 16 * 1024;
/// Header lines beside the ones that `[limits]` counts. With its default they are 100: for more
/// hyper takes memory anew with every request.
const HEAD_SLACK_LINES: usize = 36;

fn not_bound(error: &BindError) -> String {
    let help = match error.source.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there, perhaps a gateway that runs already: stop it, or write \
             another address"
        }
        ErrorKind::AddrNotAvailable => "this machine has no such address: write another",
        ErrorKind::PermissionDenied => "ports below 1024 need a privilege: write another",
        _ => "write another address",
    };
    format!(
        "{error}\nhelp: {help} at {} in the configuration",
        error.setting
    )
}

/// Bound before anything is opened, so that a port in use changes nothing.
pub(super) struct Listeners {
    http: Option<TcpListener>,
    grpc: Option<TcpListener>,
    admin: Option<TcpListener>,
    health: Option<TcpListener>,
}

pub(super) struct Serving {
    /// Where messages come in.
    pub doors: Vec<JoinHandle<()>>,
    pub others: Vec<JoinHandle<()>>,
    /// Ends health and control.
    pub end: watch::Sender<bool>,
}

impl Listeners {
    pub(super) async fn bind(listen: &Listen) -> Result<Self, String> {
        Ok(Self {
            http: bind(listen.http, "[listen] http").await?,
            grpc: bind(listen.grpc, "[listen] grpc").await?,
            admin: bind(listen.admin, "[listen] admin").await?,
            health: bind(listen.health, "[listen] health").await?,
        })
    }

    pub(super) fn serve(
        self,
        settings: &Settings,
        reception: Reception,
        desk: StatusDesk,
        clock: &Clock,
        stop: watch::Receiver<bool>,
    ) -> Serving {
        let (control, questions) = admin::control();
        let counters = Arc::clone(&desk.counters);
        let of_grpc = Arc::clone(&desk.grpc);
        let mut others = vec![tokio::spawn(desk.answer(questions))];
        let limits = &settings.limits;
        let in_flight_bytes = usize::try_from(limits.in_flight_bytes).unwrap_or(usize::MAX);
        let in_flight = InFlight::new(in_flight_bytes.max(limits.payload_bytes));
        let mut doors = Vec::new();
        if let Some(listener) = self.http {
            let of_bodies = http::Limits {
                payload_bytes: limits.payload_bytes,
                in_flight: in_flight.clone(),
            };
            let counted = Arc::clone(&counters);
            let front = reception.clone();
            let app = http::router(front, clock.clone(), of_bodies, counted, stop.clone());
            let app = http::guarded(app, &listener, Arc::clone(&counters));
            let connections = Arc::clone(&counters.connections);
            let heads = of_heads(limits);
            let served = listener::serve(listener, app, heads, connections, stop.clone());
            doors.push(tokio::spawn(served));
        }
        if let Some(listener) = self.grpc {
            let connections = Arc::clone(&of_grpc.connections);
            let guard = Guard::of(&listener, Arc::clone(&connections));
            let of_messages = grpc::Limits {
                payload_bytes: limits.payload_bytes,
                headers: limits.headers,
                header_bytes: limits.header_bytes,
                topic_bytes: limits.topic_bytes,
                in_flight,
            };
            let (clock, ends) = (clock.clone(), stop.clone());
            let app = grpc::app(reception, clock, of_messages, Some(guard), of_grpc, ends);
            let heads = of_heads(limits);
            let served = listener::serve(listener, app, heads, connections, stop);
            doors.push(tokio::spawn(served));
        }
        // Health and control stay up while lanes drain.
        let (end, never) = watch::channel(false);
        let admin = self.admin.map(|listener| {
            let router = admin::admin_router(control.clone());
            let router = http::guarded(router, &listener, Arc::clone(&counters));
            (listener, router)
        });
        let health = self
            .health
            .map(|listener| (listener, http::App::from(admin::health_router(control))));
        for (listener, router) in [admin, health].into_iter().flatten() {
            let counters = Arc::default();
            let serve = listener::serve(listener, router, admin::LIMITS, counters, never.clone());
            others.push(tokio::spawn(serve));
        }
        Serving { doors, others, end }
    }
}

async fn bind(
    address: Option<SocketAddr>,
    setting: &'static str,
) -> Result<Option<TcpListener>, String> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bound = listener::bind(address, setting).await;
    bound.map(Some).map_err(|e| not_bound(&e))
}

fn of_heads(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        connections: limits.connections,
        head_bytes: limits.header_bytes + 3 * limits.topic_bytes + HEAD_SLACK_BYTES,
        head_lines: limits.headers + HEAD_SLACK_LINES,
    }
}
